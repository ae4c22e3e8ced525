//! Settings in files reach a running gate and node when the files change.

use crate::{
    game::{self, ECHO, World},
    rig::{self, Got, PATIENCE, Peer, Rig, Server},
};
use std::{fs, path::Path, time::Instant};
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    gate::{Gate, GateBuilder, Tcp},
    node::{Node, NodeBuilder},
};
use yumen_core::cluster::Kind;
use yumen_settings::Loader;

/// A server whose settings stand in a file.
struct Followed {
    dir: tempfile::TempDir,
    cluster: Cluster,
    server: Server,
}

/// As an editor saves: the new file is written beside the old one and takes its place.
fn write(dir: &Path, text: &str) {
    fs::write(dir.join(".new"), text).unwrap();
    fs::rename(dir.join(".new"), dir.join("etc.toml")).unwrap();
}

impl Followed {
    fn start(
        text: &str,
        gate: impl FnOnce(GateBuilder) -> GateBuilder,
        node: impl FnOnce(NodeBuilder<World>) -> NodeBuilder<World>,
    ) -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        write(dir.path(), text);
        let watcher = Loader::new().dir(dir.path()).watch().unwrap();
        let settings = watcher.settings();
        let cluster = Cluster::in_process();
        let builder = Node::builder(&cluster, "", |_| World::default()).routes(game::routes());
        let node = node(builder.settings(&settings)).build().unwrap();
        let gate = gate(Gate::builder(&cluster).settings(&settings)).build().unwrap();
        let (addr, handle) = (gate.addresses()[0], gate.handle());
        let rig = Rig::start(App::default().with(gate).with(node).follow(watcher));
        Self { dir, cluster, server: Server { addr, gate: handle, rig } }
    }

    fn rewrite(&self, text: &str) {
        write(self.dir.path(), text);
    }

    /// Whether a client that connects now is let in.
    fn lets_in(&self) -> bool {
        let mut client = Peer::due(self.server.addr);
        client.send(ECHO, 1, "x");
        client.read() != Got::End
    }

    /// Waits until the node is known with this weight.
    fn until_weight(&self, wanted: u32) {
        rig::block_on(async {
            let mut nodes = self.cluster.registry().watch(Kind::Node).await.unwrap();
            while nodes.current().iter().all(|node| node.weight != wanted) {
                assert!(nodes.changed().await);
            }
        });
    }

    /// Whether one of many messages that come at once is refused.
    fn limits_messages(&self) -> bool {
        // The one before may not have left yet.
        let mut client = rig::until("a client that is let in", || {
            let mut client = Peer::due(self.server.addr);
            client.announce();
            (client.read() != Got::End).then_some(client)
        });
        for n in 1..=20 {
            client.send(ECHO, n, "x");
        }
        (0..20).map(|_| client.read()).any(|got| matches!(got, Got::Status { .. }))
    }
}

/// Asks until the answer is `wanted`.
fn until(what: &str, wanted: bool, ask: impl Fn() -> bool) {
    let began = Instant::now();
    while ask() != wanted {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
    }
}

const ADDR: &str = "network.tcp.server.addr = '127.0.0.1:0'\n";

#[test]
fn a_gate_listens_and_a_node_is_named_where_and_as_the_file_says() {
    let text = format!("{ADDR}cluster.node.name = 'hall'\ncluster.gate.metadata.zone = 'b'");
    let followed = Followed::start(&text, |gate| gate, |node| node);
    assert!(followed.server.addr.ip().is_loopback());
    assert!(followed.lets_in());
    let records = |kind| {
        rig::block_on(async { followed.cluster.registry().watch(kind).await.unwrap().current() })
    };
    assert_eq!(records(Kind::Node)[0].alias, "hall");
    assert_eq!(records(Kind::Gate)[0].metadata["zone"], "b");
}

#[test]
fn limits_follow_the_file_while_the_gate_runs() {
    let followed = Followed::start(ADDR, |gate| gate, |node| node);
    assert!(followed.lets_in() && !followed.limits_messages());
    let _one = followed.server.client();
    followed.rewrite(&format!("{ADDR}network.tcp.server.maxConnNum = 1"));
    until("no more connections", false, || followed.lets_in());
    followed.rewrite(&format!("{ADDR}yumen.gate.perAddressMax = 1"));
    let two = rig::until("a connection that counts", || {
        let mut client = Peer::due(followed.server.addr);
        client.send(ECHO, 1, "x");
        (client.read() != Got::End).then_some(client)
    });
    until("no more connections of one address", false, || followed.lets_in());
    drop(two);
    followed.rewrite(&format!("{ADDR}yumen.gate.messagesPerSecondMax = 2"));
    until("room again", true, || followed.lets_in());
    until("fewer messages", true, || followed.limits_messages());
    followed.rewrite(ADDR);
    until("all messages", false, || followed.limits_messages());
}

#[test]
fn a_weight_follows_the_file_into_the_registry() {
    let followed = Followed::start(ADDR, |gate| gate, |node| node);
    followed.until_weight(1);
    followed.rewrite(&format!("{ADDR}cluster.node.weight = 7"));
    followed.until_weight(7);
    // More than a node may have: as it was, and the next good one counts.
    followed.rewrite(&format!("{ADDR}cluster.node.weight = 5000"));
    followed.rewrite(&format!("{ADDR}cluster.node.weight = 9"));
    followed.until_weight(9);
    followed.rewrite(ADDR);
    followed.until_weight(1);
}

#[test]
fn what_code_says_is_left_alone_when_the_file_changes() {
    let strict = "cluster.node.weight = 7\nnetwork.tcp.server.maxConnNum = 1
        yumen.gate = { perAddressMax = 1, messagesPerSecondMax = 1 }";
    let listen = Tcp::on("127.0.0.1:0").connections_max(0).per_address_max(0);
    let gate = |gate: GateBuilder| gate.listen(listen).messages_per_second_max(0);
    let followed = Followed::start("", gate, |node| node);
    let _one = followed.server.client();
    followed.rewrite(strict);
    followed.until_weight(7);
    for _ in 0..20 {
        assert!(followed.lets_in() && !followed.limits_messages());
    }
    let followed = Followed::start(ADDR, |gate| gate, |node| node.weight(3));
    followed
        .rewrite(&format!("{ADDR}yumen.gate.messagesPerSecondMax = 1\ncluster.node.weight = 7"));
    until("fewer messages", true, || followed.limits_messages());
    followed.until_weight(3);
}
