//! What a test of a user's own game looks like.

use bytes::Bytes;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use yumen_cluster::{
    gate::{Gate, Tcp},
    node::{Node, Raw, Router, on},
};
use yumen_sim::cluster::{Boot, Sim};

async fn shout(body: Raw) -> Raw {
    Raw(Bytes::from(body.0.to_ascii_uppercase()))
}

#[test]
fn a_client_is_served_again_after_its_only_node_was_killed() {
    Sim::run(5, false, async |sim| {
        sim.start("node", |boot: &Boot| {
            let node = Node::builder(&boot.cluster, "game", |_| ()).id("node");
            node.routes(Router::new().route(1, on(shout))).build_unbound().unwrap().into()
        });
        sim.start("gate", |boot: &Boot| {
            let gate = Gate::builder(&boot.cluster).id("gate").listen(Tcp::on("0.0.0.0:3553"));
            gate.build_unbound().unwrap().into()
        });
        sleep(Duration::from_secs(1)).await;
        let clients = sim.clients("phone");
        let client = clients.connect("tcp://gate:3553").await.unwrap();
        assert_eq!(client.call_raw(1, b"hello").await.unwrap(), "HELLO");
        sim.kill("node");
        assert!(client.call_raw(1, b"hello").await.is_err());
        sim.restart("node");
        let again = async {
            while client.call_raw(1, b"again").await.is_err() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(20), again).await.unwrap();
        assert!(sim.stop(&["gate", "node"], Duration::from_secs(60)).await.is_empty());
    });
}
