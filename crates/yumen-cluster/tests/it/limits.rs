//! What bounds a client, and what it is told when it is beyond them.

use crate::{
    game::{self, ECHO, SLOW, SLOW_ANY, World},
    rig::{self, Got, Peer, Server, Threads},
};
use yumen_cluster::{
    cluster::Cluster,
    gate::{Gate, GateBuilder, Tcp},
};
use yumen_core::status::Code;
use yumen_proto::Outcome;

/// A gate and a node on a thread each, and the node's world.
fn server(gate: impl FnOnce(GateBuilder) -> GateBuilder) -> (Server, World) {
    let (cluster, world) = (Cluster::in_process(), World::default());
    let state = world.clone();
    let routes = game::with_events(game::routes());
    let node = rig::node(&cluster, "node", routes, move || state.clone()).build().unwrap();
    let gate = gate(rig::gate(&cluster)).build().unwrap();
    (Server::start(Threads::Two, gate, node), world)
}

fn listening(listener: Tcp) -> Server {
    let cluster = Cluster::in_process();
    let node = rig::node(&cluster, "node", game::routes(), World::default).build().unwrap();
    let gate = Gate::builder(&cluster).listen(listener).build().unwrap();
    Server::start(Threads::Two, gate, node)
}

#[test]
fn connections_beyond_the_total_or_the_address_limit_are_closed_and_counted() {
    let total = Tcp::on("127.0.0.1:0").connections_max(3);
    let address = Tcp::on("127.0.0.1:0").per_address_max(3);
    for listener in [total, address] {
        let server = listening(listener);
        let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
        for n in 1..=2 {
            assert_eq!(Peer::due(server.addr).read(), Got::End);
            assert_eq!(server.until("refused", |stats| stats.refused == n).connections, 3);
        }
        assert_eq!(clients[0].call(ECHO, "x").text(), "x");
        drop(clients.pop());
        server.until("room again", |stats| stats.connections == 2);
        // The place is given back with the session.
        let mut next = server.client();
        assert_eq!(next.call(ECHO, "x").text(), "x");
    }
}

#[test]
fn messages_beyond_the_rate_are_answered_and_others_are_not_touched() {
    let (server, _world) = server(|gate| gate.messages_per_second_max(10));
    let (mut fast, mut calm) = (server.client(), server.client());
    for n in 1..=40 {
        fast.send(ECHO, n, "x");
    }
    let got: Vec<_> = (0..40).map(|_| fast.read()).collect();
    let refused = got.iter().filter(|got| matches!(got, Got::Status { .. })).count();
    // Ten at once; a slow machine may have let a few more seconds' worth through.
    assert!((10..=30).contains(&refused), "{refused}");
    let first_ten = |got: &Got| matches!(got, Got::Status { seq: 1..=10, .. });
    assert!(!got.iter().any(first_ten), "{got:?}");
    let Some(Got::Status { code, outcome, .. }) =
        got.iter().find(|got| matches!(got, Got::Status { .. }))
    else {
        panic!()
    };
    assert_eq!((*code, *outcome), (Code::TOO_MANY_REQUESTS, Outcome::Rejected));
    assert_eq!(calm.call(ECHO, "calm").text(), "calm");
    let stats = server.stats();
    assert_eq!((stats.dropped_rate, stats.messages_in), (refused as u64, 41));
}

#[test]
fn a_session_with_too_much_in_flight_is_held_and_then_refused_while_others_flow() {
    let (server, world) = server(|gate| gate.in_flight_max(1000));
    let (mut slow, mut other) = (server.client(), server.client());
    let body = [7; 91]; // packets of 100 bytes
    for n in 1..=30 {
        slow.send(SLOW_ANY, n, body);
    }
    // Ten are in flight; the eleventh is held, and everything behind it.
    server.until("the session is held", |stats| stats.held == 1);
    assert_eq!(other.call(ECHO, "flows").text(), "flows");
    let sessions = rig::block_on(server.gate.sessions(10));
    assert!(sessions[0].in_flight <= 1000 && sessions[0].in_flight > 900, "{sessions:?}");
    let in_flight = sessions[0].in_flight / 100;
    assert_eq!(world.started.get(), u64::from(in_flight));
    // After a second without progress the rest is refused.
    let busy: Vec<_> = (in_flight..30).map(|_| slow.read()).collect();
    assert!(busy.iter().all(|got| got.code() == Code::BUSY), "{busy:?}");
    assert_eq!(other.call(ECHO, "still").text(), "still");
    let stats = server.stats();
    assert_eq!(stats.dropped_busy, u64::from(30 - in_flight));
    assert_eq!(stats.messages_in, 32, "a message that was held is counted once");
    // With room again it is served as if nothing had been.
    world.latch.open(100);
    for _ in 0..in_flight {
        assert!(matches!(slow.read(), Got::Message { .. }));
    }
    for _ in 0..50 {
        assert!(matches!(slow.call(SLOW_ANY, body), Got::Message { .. }));
    }
    assert_eq!(rig::block_on(server.gate.sessions(10))[0].in_flight, 0);
}

#[test]
fn a_held_session_goes_on_in_order_when_there_is_room() {
    let (server, world) = server(|gate| gate.in_flight_max(1000));
    let mut slow = server.client();
    let body = |n: i32| format!("{n:091}");
    for n in 1..=200 {
        slow.send(SLOW, n, body(n));
    }
    server.until("the session is held", |stats| stats.held >= 1);
    world.latch.open(200);
    for n in 1..=200 {
        assert_eq!(slow.read(), Got::Message { route: SLOW, seq: n, body: body(n).into() });
    }
    let stats = server.stats();
    assert_eq!((stats.dropped_busy, stats.messages_in), (0, 200));
}

#[test]
fn a_client_that_leaves_while_it_is_held_is_gone_soon() {
    let (server, world) = server(|gate| gate.in_flight_max(500));
    let mut slow = server.client();
    for n in 1..=20 {
        slow.send(SLOW_ANY, n, [7; 91]);
    }
    server.until("the session is held", |stats| stats.held == 1);
    drop(slow);
    server.until("its end is seen", |stats| stats.connections == 0);
    world.latch.open(20);
    world.log.until("and told", |log| log.iter().any(|line| line == "1 disconnect -"));
    let mut other = server.client();
    assert_eq!(other.call(ECHO, "x").text(), "x");
}
