//! Clients that stop reading: they are closed, and nobody else notices (W-16, W-37).

use crate::{
    game::{self, ECHO, World, text},
    rig::{self, Got, Server, Threads},
};
use std::time::{Duration, Instant};
use yumen_cluster::{
    cluster::Cluster,
    gate::{GateBuilder, GateStats},
    node::{Audience, NodeHandle},
};
use yumen_proto::{ConnState, UserId};

const NEWS: i32 = 99;
const STOPPED: usize = 5;
const READING: usize = 20;

fn server(gate: impl FnOnce(GateBuilder) -> GateBuilder) -> (Server, NodeHandle, World) {
    let (cluster, world) = (Cluster::in_process(), World::default());
    let state = world.clone();
    let routes = game::with_events(game::routes());
    let node = rig::node(&cluster, "node", routes, move || state.clone()).build().unwrap();
    let handle = node.handles()[0].clone();
    let gate = gate(rig::gate(&cluster)).build().unwrap();
    (Server::start(Threads::Two, gate, node), handle, world)
}

fn closed_slow(stats: &GateStats) -> u64 {
    stats.closed_backlog + stats.closed_stalled
}

/// Pushes to everybody until `enough`; those who read get everything, in order, and are answered.
fn push_until(
    (server, node, world): (Server, NodeHandle, World),
    enough: impl Fn(u64) -> bool,
) -> Duration {
    let mut stopped: Vec<_> = (0..STOPPED).map(|_| server.client()).collect();
    stopped.iter_mut().for_each(|client| assert_eq!(client.call(ECHO, "x").text(), "x"));
    let mut readers: Vec<_> = (0..READING).map(|_| server.client()).collect();
    readers.iter_mut().for_each(|client| assert_eq!(client.call(ECHO, "x").text(), "x"));
    let (mut slowest, mut round) = (Duration::ZERO, 0u32);
    while !enough(closed_slow(&server.stats())) {
        round += 1;
        assert!(round < 4000, "never closed: {:?}", server.stats());
        let news = format!("{round:0>32768}");
        rig::block_on(node.broadcast(Audience::Everybody, NEWS, &text(news.as_str()))).unwrap();
        let began = Instant::now();
        readers[round as usize % READING].send(ECHO, 1, "still here");
        for (n, reader) in readers.iter_mut().enumerate() {
            assert_eq!(reader.read().text(), news);
            if n == round as usize % READING {
                assert_eq!(reader.read().text(), "still here");
            }
        }
        slowest = slowest.max(began.elapsed());
    }
    let is_end = |line: &&String| line.contains("disconnect");
    let log = world.log.until("every stopped one's disconnect event", |log| {
        log.iter().filter(is_end).count() == STOPPED
    });
    for conn in 1..=STOPPED {
        assert!(log.contains(&format!("{conn} disconnect -")), "{log:?}");
    }
    let stats = server.stats();
    assert_eq!((stats.connections, stats.closed, closed_slow(&stats)), (20, 5, 5));
    // The stopped ones, when they read again, find the beginning and then the end.
    for client in &mut stopped {
        assert!(matches!(client.read(), Got::Message { .. }));
        client.read_to_end();
    }
    server.rig.stop().unwrap();
    slowest
}

#[test]
fn w16_clients_that_stop_reading_are_closed_by_the_backlog_limit() {
    let gate =
        |gate: GateBuilder| gate.backlog_max(256 * 1024).write_stall_max(Duration::from_secs(3600));
    let slowest = push_until(server(gate), |closed| closed == STOPPED as u64);
    assert!(slowest < Duration::from_secs(2), "the others waited {slowest:?}");
}

#[test]
fn w37_clients_that_stop_reading_are_closed_by_the_write_stall_limit() {
    let gate = |gate: GateBuilder| {
        gate.backlog_max(1024 * 1024 * 1024).write_stall_max(Duration::from_millis(500))
    };
    let slowest = push_until(server(gate), |closed| closed == STOPPED as u64);
    assert!(slowest < Duration::from_secs(2), "the others waited {slowest:?}");
}

#[test]
fn a_connection_that_is_being_closed_takes_nothing_more_and_is_not_counted() {
    let (server, node, _world) = server(|gate| gate.backlog_max(256 * 1024 * 1024));
    let mut clients: Vec<_> = (1..=3)
        .map(|user: i64| {
            let mut client = server.client();
            assert_eq!(client.call(game::LOGIN, user.to_string()).text(), "welcome");
            client
        })
        .collect();
    // The first reads nothing, so its close has much to write before.
    let long = text("x".repeat(60_000));
    let mut pushed = 0;
    while rig::block_on(server.gate.sessions(1))[0].backlog < 1024 * 1024 {
        rig::block_on(node.push_acked(UserId(1), NEWS, &long)).unwrap();
        pushed += 1;
    }
    rig::block_on(node.close(UserId(1))).unwrap();
    assert_eq!(rig::block_on(server.gate.sessions(1))[0].state, ConnState::Closing);
    let users = [1, 2, 3].map(UserId).to_vec();
    let reached = rig::block_on(async {
        let news = text("n");
        let reached = node.multicast_acked(users, NEWS, &news).await.unwrap();
        (reached, node.broadcast_acked(Audience::Everybody, NEWS, &news).await.unwrap())
    });
    assert_eq!(reached, (2, 2));
    let got = clients[0].read_to_end();
    let long = got.iter().filter(|got| matches!(got, Got::Message { body, .. } if body.len() > 1));
    assert_eq!(long.count(), pushed, "everything before the close arrived");
    assert!(matches!(got.last(), Some(Got::Closing(..))));
    assert_eq!(clients[1].read().text(), "n");
}
