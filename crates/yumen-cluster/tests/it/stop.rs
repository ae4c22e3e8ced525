//! Starting and stopping: hooks that panic, churn, what is in flight, instances that fail.

use crate::{
    game::{self, ECHO, LOGIN, SLOW, World},
    rig::{self, Got, Peer, Rig, Server, Threads},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use yumen_cluster::{
    app::{App, AppError},
    cluster::Cluster,
    instance::InstanceError,
    node::{Clients, Router, State},
};
use yumen_core::{cluster::Kind, status::Code};
use yumen_proto::NoticeReason;

#[test]
fn w36_panicking_hooks_end_neither_the_start_nor_the_stop() {
    for threads in Threads::ALL {
        let ((here, there), world) = (threads.clusters(), World::default());
        let state = world.clone();
        async fn panics(_: State<World>, _: Clients) {
            panic!("on purpose");
        }
        async fn panics_later(_: State<World>, clients: Clients) {
            clients.clock().sleep(Duration::from_millis(1)).await;
            panic!("on purpose, after waiting");
        }
        async fn counts(State(world): State<World>, _: Clients) {
            world.started.bump();
        }
        let node = rig::node(&there, "node", game::routes(), move || state.clone())
            .on_start(panics)
            .on_start(panics_later)
            .on_start(counts)
            .on_stop(panics)
            .on_stop(panics_later)
            .on_stop(counts)
            .build()
            .unwrap();
        let server = Server::start(threads, rig::gate(&here).build().unwrap(), node);
        assert_eq!(server.client().call(ECHO, "x").text(), "x");
        assert_eq!(world.started.get(), 1);
        server.rig.stop().unwrap();
        assert_eq!(world.started.get(), 2, "{threads:?}: the hooks behind the panics ran");
    }
}

#[test]
fn a_stop_answers_what_is_in_flight_and_then_says_goodbye() {
    for threads in Threads::ALL {
        let ((here, there), world) = (threads.clusters(), World::default());
        let state = world.clone();
        let node = rig::node(&there, "node", game::routes(), move || state.clone());
        let gate = rig::gate(&here).build().unwrap();
        let mut server = Server::start(threads, gate, node.build().unwrap());
        let (mut client, mut idle) = (server.client(), server.client());
        let mut due = Peer::due(server.addr);
        assert_eq!(due.call(LOGIN, "3").text(), "welcome");
        client.send(SLOW, 5, "in flight");
        while world.started.get() == 0 {
            assert_eq!(idle.call(ECHO, "x").text(), "x");
        }
        server.rig.tell_to_stop();
        // From now on everything new is refused.
        while let Got::Message { .. } = idle.call(ECHO, "x") {}
        let stopping = |got: Got| match got {
            Got::Status { code, text, .. } => {
                assert_eq!(code, Code::UNAVAILABLE, "{text}");
                text == "the gate is stopping"
            }
            other => panic!("{other:?}"),
        };
        let began = Instant::now();
        while !stopping(idle.call(ECHO, "x")) {
            assert!(began.elapsed() < rig::PATIENCE, "the gate does not refuse");
        }
        world.latch.open(1);
        assert_eq!(client.read().text(), "in flight", "{threads:?}");
        for client in [&mut client, &mut idle] {
            let reason = client.read().closing();
            assert_eq!((reason, reason.number()), (NoticeReason::Shutdown, 8));
            assert_eq!(client.read(), Got::End);
        }
        assert_eq!(due.read(), Got::End, "a due client only sees the end");
        server.rig.wait().unwrap();
        let left = |kind| rig::block_on(here.registry().watch(kind)).unwrap().current().len();
        assert_eq!((left(Kind::Gate), left(Kind::Node)), (0, 0));
        assert!(std::net::TcpStream::connect(server.addr).is_err(), "nobody listens any more");
    }
}

#[test]
fn w41_a_stop_under_churn_ends_in_time_and_without_an_error() {
    for round in 0..6 {
        let threads = Threads::ALL[usize::from(round / 2)];
        let ((here, there), world) = (threads.clusters(), World::default());
        let state = world.clone();
        let routes = game::with_events(game::routes());
        let node = rig::node(&there, "node", routes, move || state.clone()).build().unwrap();
        let gate = rig::gate(&here).instances(1 + round % 2).build().unwrap();
        let server = Server::start(threads, gate, node);
        let over = Arc::new(AtomicBool::new(false));
        let churn: Vec<_> = (0..4)
            .map(|worker| {
                let (over, addr) = (Arc::clone(&over), server.addr);
                std::thread::spawn(move || {
                    let mut user = worker * 1_000_000;
                    while !over.load(Ordering::Relaxed) {
                        user += 1;
                        if churn_once(addr, user).is_err() {
                            return; // the gate is gone
                        }
                    }
                })
            })
            .collect();
        world.log.until("churn", |log| {
            log.iter().filter(|line| line.contains("disconnect")).count() > 50
        });
        server.rig.stop().unwrap();
        over.store(true, Ordering::Relaxed);
        churn.into_iter().for_each(|worker| worker.join().unwrap());
        let log = world.log.lines();
        let count = |what: &str| log.iter().filter(|line| line.contains(what)).count();
        assert_eq!(count(" connect"), count(" disconnect"), "round {round}");
    }
}

/// One short life; an error once the server stops.
fn churn_once(addr: std::net::SocketAddr, user: u32) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(rig::PATIENCE))?;
    let mut packets = Peer::packet(LOGIN, 1, user.to_string().as_bytes());
    packets.extend(Peer::packet(ECHO, 2, b"hello"));
    socket.write_all(&packets)?;
    let mut answer = vec![0; 64];
    if !user.is_multiple_of(3) && socket.read(&mut answer)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

#[test]
fn an_instance_that_cannot_start_stops_the_others_and_is_named() {
    let cluster = Cluster::in_process();
    let gate = rig::gate(&cluster).build().unwrap();
    let good = rig::node(&cluster, "good", game::routes(), World::default).build().unwrap();
    let bad = rig::node(&cluster, "bad", Router::<World>::new(), || panic!("on purpose"));
    let app = App::default().with(good).with(bad.build().unwrap()).with(gate);
    let error = Rig::start(app).wait().unwrap_err();
    let AppError::Instance { id, source: InstanceError::StatePanicked } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(id.as_str(), "bad");
    let nodes = rig::block_on(cluster.registry().watch(Kind::Node)).unwrap().current();
    assert!(nodes.is_empty(), "{nodes:?}");
}

#[test]
fn an_id_that_is_taken_is_refused_and_the_first_is_not_harmed() {
    let cluster = Cluster::in_process();
    let node = || rig::node(&cluster, "same", game::routes(), World::default).build().unwrap();
    let server = Server::start(Threads::Two, rig::gate(&cluster).build().unwrap(), node());
    let mut client = server.client();
    assert_eq!(client.call(ECHO, "x").text(), "x");
    let error = Rig::start(App::default().with(node())).wait().unwrap_err();
    assert!(error.to_string().contains("same"), "{error}");
    assert_eq!(client.call(ECHO, "x").text(), "x");
    assert!(!rig::block_on(cluster.registry().watch(Kind::Node)).unwrap().current().is_empty());
}

/// Something whose end panics where no user code is expected: a fault of an instance's own task.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn an_instance_that_fails_while_it_runs_stops_the_others_and_is_named() {
    for threads in [Threads::One, Threads::Two] {
        let cluster = Cluster::in_process();
        let node = rig::node(&cluster, "node", game::routes(), World::default).build().unwrap();
        let handle = node.handles()[0].clone();
        let mut server = Server::start(threads, rig::gate(&cluster).build().unwrap(), node);
        let mut client = server.client();
        assert_eq!(client.call(ECHO, "x").text(), "x");
        // Nobody waits for the result any more, so it is dropped on the instance.
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        drop(handle.run(|_: Clients| async {
            let _asker_gone = gone.await;
            Ok(Bomb)
        }));
        go.send(()).unwrap();
        let error = server.rig.wait().unwrap_err();
        let crashed = |error: &AppError| {
            matches!(error, AppError::Instance { id, source: InstanceError::Crashed }
                if id.as_str() == "node")
        };
        assert!(crashed(&error), "{threads:?}: {error:?}");
        let end = client.read_to_end();
        assert!(
            end.iter().all(|got| matches!(got, Got::Closing(NoticeReason::Shutdown, _))),
            "{threads:?}: {end:?}"
        );
        for kind in [Kind::Gate, Kind::Node] {
            let left = rig::block_on(cluster.registry().watch(kind)).unwrap().current();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}
