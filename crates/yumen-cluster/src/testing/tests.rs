//! What a whole cluster promises, in virtual time; and what a message costs in memory.

#[path = "tests/layouts.rs"]
mod layouts;
#[cfg(feature = "ws")]
#[path = "tests/reasons.rs"]
mod reasons;

use super::SimApp;
use crate::{
    cluster::Cluster,
    gate::{Gate, Tcp},
    node::{Head, Node, Raw, Router, on},
};
use bytes::Bytes;
use std::{future::poll_fn, time::Duration};
use yumen_net::{
    env::Env,
    socket::Socket,
    testing::{Peer, Sim},
};
use yumen_proto::{id::RouteId, packet::Layout};

async fn pong(_: Head) -> Raw {
    Raw(Bytes::from_static(&[7; 100]))
}

async fn slow(head: Head) -> Raw {
    tokio::time::sleep(Duration::from_secs(1)).await;
    Raw(Bytes::copy_from_slice(&head.seq.to_be_bytes()))
}

async fn started(sim: &Sim) -> SimApp {
    let cluster = Cluster::in_process();
    let router = Router::new().route(1, on(pong)).route(2, on(slow));
    let node = Node::builder(&cluster, "n", |_| ()).routes(router).build().unwrap();
    let gate = Gate::builder(&cluster).id("g").listen(Tcp::on("gate")).build_unbound().unwrap();
    let mut app = SimApp::new(sim);
    app.start(node).await.unwrap();
    app.start(gate).await.unwrap();
    app
}

/// Requests 1 to `count` for a route.
fn requests(route: i32, count: i32) -> Vec<u8> {
    let mut wire = Vec::new();
    for seq in 1..=count {
        Layout::default().encode_data(RouteId(route), seq, &[1; 100], &mut wire).unwrap();
    }
    wire
}

/// Writes `ask` and reads `len` bytes of answers, over and over, without touching the heap.
async fn rounds(socket: &mut Socket, ask: &[u8], space: &mut [u8], rounds: usize) {
    for _ in 0..rounds {
        assert_eq!(socket.try_write(ask).unwrap(), ask.len());
        let mut read = 0;
        while read < space.len() {
            read += poll_fn(|cx| socket.poll_read(cx, &mut space[read..])).await.unwrap();
        }
    }
}

#[test]
fn a_message_through_gate_and_node_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    let (ask, mut space) = (requests(1, 16), vec![0; 16 * (4 + 1 + 2 + 2 + 100)]);
    let (mut socket, _app) = runtime.block_on(async {
        let sim = Sim::smooth(1);
        let app = started(&sim).await;
        let env: Env = sim.env();
        let mut socket = env.net.dial("gate").await.unwrap();
        rounds(&mut socket, &ask, &mut space, 100).await;
        (socket, app)
    });
    let measured = allocation_counter::measure(|| {
        runtime.block_on(rounds(&mut socket, &ask, &mut space, 1000));
    });
    // The sweep passes while time jumps; it may list late sessions, of which there are none.
    assert_eq!(measured.count_total, 0, "in 16,000 messages, client and node included");
}

#[test]
fn handlers_that_wait_answer_in_order_in_virtual_time() {
    Sim::run(5, async |sim| {
        let app = started(&sim).await;
        let env = sim.env();
        let mut peer = Peer::new(env.net.dial("gate").await.unwrap());
        let before = env.clock.now().mono;
        peer.send(&requests(2, 5)).await.unwrap();
        let len = 4 + 1 + 2 + 2 + 4;
        while peer.seen.len() < 5 * len {
            assert!(peer.more().await);
        }
        let seqs: Vec<u8> = peer.seen.chunks(len).map(|packet| packet[8]).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5]);
        let took = env.clock.now().mono - before;
        assert!((5..7).contains(&took.as_secs()), "one after the other: {took:?}");
        app.stop().await.unwrap();
        peer.end().await;
    });
}

async fn short(head: Head) -> Raw {
    tokio::time::sleep(Duration::from_millis(10)).await;
    Raw(Bytes::copy_from_slice(&head.seq.to_be_bytes()))
}

#[test]
fn a_session_that_waits_again_and_again_is_noted_once() {
    Sim::run(7, async |sim| {
        let cluster = Cluster::in_process();
        let router = Router::new().route(1, on(short));
        let node = Node::builder(&cluster, "n", |_| ()).routes(router).build().unwrap();
        let gate = Gate::builder(&cluster).listen(Tcp::on("gate")).in_flight_max(300);
        let gate = gate.build_unbound().unwrap();
        let (handle, mut app) = (gate.handle(), SimApp::new(&sim));
        app.start(node).await.unwrap();
        app.start(gate).await.unwrap();
        let mut peer = Peer::new(sim.env().net.dial("gate").await.unwrap());
        peer.send(&requests(1, 2000)).await.unwrap();
        let stats = handle.stats().await;
        assert!(stats.held > 100, "it has waited {} times", stats.held);
        assert!(stats.waiting <= 1, "{} notes for one session", stats.waiting);
    });
}

#[test]
fn a_stopping_gate_answers_what_is_in_flight_before_it_says_goodbye() {
    Sim::run(6, async |sim| {
        let app = started(&sim).await;
        let env = sim.env();
        let mut peer = Peer::new(env.net.dial("gate").await.unwrap());
        peer.send(&requests(2, 1)).await.unwrap();
        env.clock.sleep(Duration::from_millis(100)).await;
        app.stop().await.unwrap();
        peer.end().await;
        assert_eq!(peer.seen.len(), 4 + 1 + 2 + 2 + 4, "the answer, then the end of the stream");
    });
}
