//! Nodes that stand in the registry and are not there.

use crate::{
    apart::Stores,
    rig::{self, Peer, Rig},
};
use std::net::TcpListener;
use yumen_cluster::app::App;
use yumen_core::{
    cluster::{Event, Instance, Kind, RouteInfo},
    status::Code,
};

const LOST: i32 = 1;

#[test]
fn w03_an_event_for_a_node_that_is_dead_is_counted_and_its_messages_are_answered() {
    let stores = Stores::default();
    let gate = stores.process();
    // Somebody was killed here: nobody listens, and the record has not gone yet.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("drpc://127.0.0.1:{port}?is_secure=false");
    let mut dead = Instance::new("dead".into(), Kind::Node, endpoint);
    dead.metadata.insert("yumen".to_owned(), "1".to_owned());
    dead.events = vec![Event::Connect, Event::Disconnect];
    dead.routes = vec![RouteInfo::new(LOST.into())];
    rig::block_on(gate.registry().join(&dead)).unwrap();
    let gate = rig::gate(&gate).link_addr("127.0.0.1:0").build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let rig = Rig::serving(App::default().with(gate));
    let mut client = Peer::announced(addr);
    assert_eq!(client.call(LOST, "").code(), Code::UNAVAILABLE);
    rig::until_stats(&handle, "the connect is counted as lost", |stats| stats.events_lost == 1);
    drop(client);
    rig::until_stats(&handle, "and the disconnect", |stats| stats.events_lost == 2);
    rig.stop().unwrap();
}
