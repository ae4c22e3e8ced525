//! A node whose thread is stuck: what the gate has for it waits within bounds, and nobody else does.

use crate::{
    game::{self, ECHO, World},
    rig::{self, Got, Peer, Rig, Server},
};
use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    node::{Raw, Router, State, on},
};
use yumen_core::status::Code;

/// Stops the whole thread of the instance.
const BLOCK: i32 = 50;
/// Answers with the first four bytes.
const SWALLOW: i32 = 51;
const SENDERS: i32 = 12;
const EACH: i32 = 20;
const SMALL: i32 = 2000;

async fn swallow(body: Raw) -> Raw {
    Raw(body.0.slice(..4))
}

/// A gate, a node that can be stuck until something is sent, and one that is not.
fn server(world: &World) -> (Server, SyncSender<()>) {
    let cluster = Cluster::in_process();
    let (release, released) = sync_channel::<()>(0);
    let released: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(released));
    let block = move |State(world): State<World>| {
        let released = Arc::clone(&released);
        async move {
            world.started.bump();
            let _go = released.lock().unwrap().recv();
        }
    };
    let routes =
        Router::<World>::new().route(BLOCK, on(block)).route(SWALLOW, on(swallow).concurrent());
    let state = world.clone();
    let stuck = rig::node(&cluster, "stuck", game::with_events(routes), move || state.clone());
    let free = rig::node(&cluster, "free", game::routes(), World::default);
    let gate = rig::gate(&cluster).in_flight_max(1024 * 1024).build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let app = App::default().with(stuck.build().unwrap()).with(free.build().unwrap()).with(gate);
    (Server { addr, gate: handle, rig: Rig::start(app) }, release)
}

/// Sends 0.6 MB and reads every answer.
fn flood(mut sender: Peer) -> JoinHandle<(Peer, Vec<Got>)> {
    std::thread::spawn(move || {
        for n in 1..=EACH {
            sender.send(SWALLOW, n, [b'x'; 30_000]);
        }
        let answers = (1..=EACH).map(|_| sender.read()).collect();
        (sender, answers)
    })
}

#[test]
fn a_full_lane_holds_its_senders_loses_no_event_and_delays_nobody_else() {
    let world = World::default();
    let (server, release) = server(&world);
    let mut first = server.client();
    first.send(BLOCK, 0, "");
    while world.started.get() == 0 {
        assert_eq!(first.call(ECHO, "up").text(), "up");
    }
    // More than the 4 MiB that a lane takes; then small ones, which fill it to the brim: the first
    // answer to those can only be that it is full.
    let threads: Vec<_> = (0..SENDERS).map(|_| flood(server.client())).collect();
    server.until("sessions wait for the lane", |stats| stats.held > 3);
    let mut small = server.client();
    for n in 1..=SMALL {
        small.send(SWALLOW, n, "xxxx");
    }
    assert_eq!(small.read().code(), Code::BUSY);
    let mut quick = server.client();
    assert_eq!(quick.call(ECHO, "quick").text(), "quick", "another lane is not touched");
    // These come and go while the lane is full: the node must hear of both.
    let before = server.stats().closed;
    (0..50).for_each(|_| drop(server.client()));
    server.until("they are gone", |stats| stats.closed == before + 50);
    release.send(()).unwrap();

    let mut answers: Vec<_> = (1..SMALL).map(|_| small.read()).collect();
    let mut open = vec![first, quick, small];
    for thread in threads {
        let (sender, its) = thread.join().unwrap();
        open.push(sender);
        answers.extend(its);
    }
    let served = answers.iter().filter(|got| matches!(got, Got::Message { .. })).count();
    let busy = answers.iter().filter(|got| matches!(got, Got::Status { .. })).count() + 1;
    assert_eq!(served + busy, (SENDERS * EACH + SMALL) as usize, "every message is answered");
    assert!(served > 100, "{served}");
    let stats = server.stats();
    assert_eq!((stats.events_lost, stats.dropped_busy), (0, busy as u64));
    drop(open);
    every_connection_was_told(&world, 65);
}

fn every_connection_was_told(world: &World, count: usize) {
    let ended =
        |log: &[String]| log.iter().filter(|line| line.contains("disconnect")).count() == count;
    let log = world.log.until("every end", ended);
    for conn in 1..=count {
        let head = format!("{conn} ");
        let mine: Vec<_> = log.iter().filter_map(|line| line.strip_prefix(&head)).collect();
        assert_eq!(mine, ["connect", "disconnect -"], "connection {conn}");
    }
}
