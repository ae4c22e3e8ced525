//! The metrics of an `App` over real sockets. What a whole scenario counts is proved in virtual time.

#[path = "../../src/metrics/strict.rs"]
mod strict;

use crate::{
    game::{ECHO, World, routes},
    rig::{Got, PATIENCE, Peer, Rig, block_on, node, until_stats},
};
use std::time::Instant;
use strict::Parsed;
use yumen_cluster::{
    app::{App, Control, Phase},
    cluster::Cluster,
    gate::{Gate, Tcp, Ws},
    metrics,
};

fn scrape(control: &Control) -> Parsed {
    Parsed::new(&block_on(metrics::render(control)))
}

/// Scrapes until the page is right.
fn until(control: &Control, what: &str, right: impl Fn(&Parsed) -> bool) -> Parsed {
    let began = Instant::now();
    loop {
        let page = scrape(control);
        if right(&page) {
            return page;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {page:#?}");
    }
}

#[test]
fn an_app_shows_its_listeners_threads_and_phases() {
    let cluster = Cluster::in_process();
    let node = node(&cluster, "lobby", routes(), World::default).instances(2).build().unwrap();
    let gate = Gate::builder(&cluster)
        .id("gate")
        .name("door")
        .listen(Tcp::on("127.0.0.1:0").connections_max(2))
        .listen(Ws::on("127.0.0.1:0"));
    let gate = gate.build().unwrap();
    let (handle, addresses) = (gate.handle(), gate.addresses().to_vec());
    let app = App::default().pairs(gate, node);
    let control = app.control();
    let phase =
        |page: &Parsed, phase: Phase| page.value("yumen_app_phase", &[("phase", phase.name())]);
    let before = scrape(&control);
    assert_eq!((phase(&before, Phase::Starting), phase(&before, Phase::Serving)), (1.0, 0.0));
    assert_eq!(before.matching("yumen_instance_stale", &[]).count(), 0, "nobody is there to ask");
    let rig = Rig::start(app);
    let mut peers: Vec<_> = (0..2).map(|_| Peer::announced(addresses[0])).collect();
    let mut third = Peer::due(addresses[0]);
    assert_eq!(third.read(), Got::End, "one more than there may be");
    assert_eq!(peers[0].call(ECHO, "hello").text(), "hello");
    let half = Peer::due(addresses[1]);
    until_stats(&handle, "three connections", |stats| stats.connections == 3);
    let page = until(&control, "beats", |page| {
        let beats = page.matching("yumen_loop_stall_seconds_count", &[("service", "lobby")]);
        beats.filter(|(_, count)| *count > 0.0).count() == 2
    });
    assert_eq!(phase(&page, Phase::Serving), 1.0);
    let (tcp, ws) = (addresses[0].to_string(), addresses[1].to_string());
    let connections = |listener: &str, transport, state| {
        let labels = [("listener", listener), ("transport", transport), ("state", state)];
        page.value("yumen_gate_connections", &labels)
    };
    assert_eq!(connections(&tcp, "tcp", "active"), 2.0);
    assert_eq!(connections(&ws, "ws", "opening"), 1.0, "it has not asked for the upgrade");
    let refused = |reason| {
        let labels = [("listener", tcp.as_str()), ("reason", reason)];
        page.value("yumen_gate_refused_total", &labels)
    };
    assert_eq!((refused("listener"), refused("address")), (1.0, 0.0));
    let echoes = page.matching("yumen_node_messages_total", &[("route", "1")]);
    assert_eq!(echoes.map(|(_, count)| count).sum::<f64>(), 1.0, "by either instance");
    let store = |operation, outcome| {
        let labels = [("operation", operation), ("outcome", outcome)];
        page.value("yumen_store_requests_total", &labels)
    };
    assert_eq!((store("open", "ok"), store("open", "failed")), (3.0, 0.0), "one life each");
    assert!(store("join", "ok") >= 3.0);
    assert_eq!(page.value("yumen_backend_requests_limit", &[("state", "in_flight")]), 4096.0);
    assert_eq!(page.value("yumen_settings_reloads_total", &[("outcome", "failed")]), 0.0);
    assert!(page.value("yumen_process_open_fds", &[]) > 5.0);
    assert!(page.families.len() > 50, "{:?}", page.families);
    assert!(page.label_names().all(|(_, labels)| !labels.contains(&"region")));
    drop((peers, half));
    rig.stop().unwrap();
    let after = scrape(&control);
    assert_eq!(phase(&after, Phase::Ended), 1.0);
    assert_eq!(after.matching("yumen_gate_users", &[]).count(), 0, "nobody is there to ask");
}
