//! The acceptor: who gets a connection, who is refused, and when it ends.

use crate::run;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    task::{JoinHandle, spawn_local, yield_now},
};
use yumen_net::{
    acceptor::{Arrival, Counts, Door, Entrance, ListenerCounts, accept, door},
    limit::Limiter,
    tcp::bind,
};

struct Rig {
    addr: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Rig {
    fn start(limiter: Limiter, entrances: Vec<Entrance>) -> Self {
        let listener = bind("127.0.0.1:0").unwrap();
        let (addr, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::new(1)));
        let task = spawn_local(accept(listener, 0, limiter, entrances, Arc::clone(&counts)));
        Self { addr, counts, task }
    }

    fn counts(&self) -> &ListenerCounts {
        &self.counts.listeners()[0]
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }
}

async fn one(door: &mut Door) -> Arrival {
    let mut into = Vec::new();
    assert!(door.next(&mut into, 1).await);
    into.pop().unwrap()
}

#[test]
fn an_arrival_knows_its_peer_and_its_listener_and_speaks() {
    run(async {
        let (entrance, mut door) = door();
        let rig = Rig::start(Limiter::new(0, 0), vec![entrance]);
        let mut client = rig.dial().await;
        let arrival = one(&mut door).await;
        assert_eq!((arrival.peer, arrival.listener), (client.local_addr().unwrap(), 0));
        let (mut socket, _permit) = arrival.settle().unwrap();
        std::future::poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
        assert_eq!(socket.try_write(b"hello").unwrap(), 5);
        let mut seen = [0; 5];
        client.read_exact(&mut seen).await.unwrap();
        assert_eq!((&seen, rig.counts().accepted.load(Ordering::Relaxed)), (b"hello", 1));
    });
}

#[test]
fn whoever_has_the_fewest_connections_gets_the_next() {
    run(async {
        let ((a, mut busy), (b, mut calm)) = (door(), door());
        let rig = Rig::start(Limiter::new(0, 0), vec![a, b]);
        busy.set_load(5);
        calm.set_load(2);
        let (mut held, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            clients.push(rig.dial().await);
            held.push(one(&mut calm).await);
        }
        // Now both have five: the next two are shared, whoever is asked first.
        for _ in 0..2 {
            clients.push(rig.dial().await);
        }
        held.push(one(&mut busy).await);
        held.push(one(&mut calm).await);
    });
}

#[test]
fn those_that_wait_at_a_door_count_for_its_load() {
    run(async {
        let ((a, mut first), (b, mut second)) = (door(), door());
        let rig = Rig::start(Limiter::new(0, 0), vec![a, b]);
        let mut clients = Vec::new();
        for n in 0..6 {
            clients.push(rig.dial().await);
            while rig.counts().accepted.load(Ordering::Relaxed) <= n {
                yield_now().await;
            }
        }
        first.set_load(0); // it has looked at none of its three yet
        clients.push(rig.dial().await);
        clients.push(rig.dial().await);
        while rig.counts().accepted.load(Ordering::Relaxed) < 8 {
            yield_now().await;
        }
        let (mut at_first, mut at_second) = (Vec::new(), Vec::new());
        first.next(&mut at_first, 10).await;
        second.next(&mut at_second, 10).await;
        assert_eq!((at_first.len(), at_second.len()), (4, 4));
    });
}

#[test]
fn an_instance_that_takes_nothing_does_not_hold_up_the_others() {
    run(async {
        let ((a, stuck), (b, mut other)) = (door(), door());
        let rig = Rig::start(Limiter::new(0, 0), vec![a, b]);
        stuck.set_load(0);
        other.set_load(100_000); // so that the stuck one is preferred as long as it can be
        let mut arrivals = Vec::new();
        let mut dialled = 0;
        while arrivals.is_empty() {
            // Dropped at once: the acceptor hands it on all the same.
            drop(rig.dial().await);
            dialled += 1;
            while rig.counts().accepted.load(Ordering::Relaxed) < dialled {
                yield_now().await;
            }
            if dialled > 1024 {
                assert!(other.next(&mut arrivals, 10).await);
            }
        }
        assert_eq!(dialled, 1025, "as many as wait at a door");
    });
}

#[test]
fn limits_in_total_and_per_address_refuse_by_closing_and_make_room_again() {
    run(async {
        for (limiter, refusals) in [(Limiter::new(3, 0), (1, 0)), (Limiter::new(0, 3), (0, 1))] {
            let (entrance, mut door) = door();
            let rig = Rig::start(limiter.clone(), vec![entrance]);
            let (mut held, mut clients) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                clients.push(rig.dial().await);
                held.push(one(&mut door).await);
            }
            let mut refused = rig.dial().await;
            assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at once");
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let counts = rig.counts();
            assert_eq!((read(&counts.refused_total), read(&counts.refused_address)), refusals);
            let (socket, permit) = held.pop().unwrap().settle().unwrap();
            drop(socket);
            assert_eq!(limiter.total(), 3, "the permit counts, not the socket");
            drop(permit);
            clients.push(rig.dial().await);
            held.push(one(&mut door).await);
            assert_eq!(limiter.total(), 3);
        }
    });
}

#[test]
fn it_ends_when_no_instance_is_left_and_passes_over_those_that_have_gone() {
    run(async {
        let ((a, gone), (b, mut left)) = (door(), door());
        let limiter = Limiter::new(0, 0);
        let rig = Rig::start(limiter.clone(), vec![a, b]);
        left.set_load(1000);
        drop(gone);
        let _client = rig.dial().await;
        let arrival = one(&mut left).await;
        drop((arrival, left));
        rig.task.await.unwrap().unwrap();
        assert!(TcpStream::connect(rig.addr).await.is_err(), "the port is free again");
        assert_eq!(limiter.total(), 0);
    });
}
