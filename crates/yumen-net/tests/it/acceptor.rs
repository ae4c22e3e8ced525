//! The acceptor: who gets a connection, who is refused, and when it ends.

use crate::{not_here, run};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinHandle, spawn_local, yield_now},
};
use yumen_net::{
    acceptor::{Arrival, Counts, Door, Entrance, ListenerCounts, Rules, accept, door},
    limit::Limiter,
    socket::Socket,
    tcp::bind,
};

struct Rig {
    addr: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Rig {
    fn start(rules: impl Into<Rules>, entrances: Vec<Entrance>) -> Self {
        Self::on("127.0.0.1:0", rules.into(), entrances)
    }

    fn on(addr: &str, rules: Rules, entrances: Vec<Entrance>) -> Self {
        let listener = bind(addr).unwrap();
        let (addr, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::new(1)));
        let task = spawn_local(accept(listener, 0, rules, entrances, Arc::clone(&counts)));
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

/// Believes load balancers on this machine.
fn behind_balancers(limiter: Limiter) -> Rules {
    Rules { balancers: ["127.0.0.0/8".parse().unwrap()].into(), ..limiter.into() }
}

async fn read(socket: &mut Socket, len: usize) -> Vec<u8> {
    let (mut space, mut seen) = ([0; 64], Vec::new());
    while seen.len() < len {
        let n = std::future::poll_fn(|cx| socket.poll_read(cx, &mut space)).await.unwrap();
        assert!(n > 0, "the stream ended after {seen:?}");
        seen.extend_from_slice(&space[..n]);
    }
    seen
}

async fn until(counter: &AtomicU64, count: u64) {
    while counter.load(Ordering::Relaxed) < count {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";

#[test]
fn a_header_names_the_client_in_either_version_and_takes_nothing_of_what_follows() {
    run(async {
        let (entrance, mut door) = door();
        let rig = Rig::start(behind_balancers(Limiter::new(0, 0)), vec![entrance]);
        let v1 = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n";
        for (header, expected) in [(&v1[..], "[2001:db8::7]:56324"), (V2, "192.0.2.7:56324")] {
            // As a whole, and byte by byte.
            for size in [header.len(), 1] {
                let mut client = rig.dial().await;
                client.set_nodelay(true).unwrap();
                for part in header.chunks(size) {
                    client.write_all(part).await.unwrap();
                    yield_now().await;
                }
                client.write_all(b"PROXY hello").await.unwrap();
                let arrival = one(&mut door).await;
                assert_eq!(arrival.peer, expected.parse().unwrap());
                let (mut socket, _permit) = arrival.settle().unwrap();
                assert_eq!(read(&mut socket, 11).await, b"PROXY hello");
            }
        }
        assert_eq!(rig.counts().refused_header.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn limits_count_the_client_and_not_the_load_balancer() {
    run(async {
        let (entrance, mut door) = door();
        let rig = Rig::start(behind_balancers(Limiter::new(0, 1)), vec![entrance]);
        let (mut clients, mut held) = (Vec::new(), Vec::new());
        for last in 1..=3 {
            let mut client = rig.dial().await;
            let header = format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 1 2\r\n");
            client.write_all(header.as_bytes()).await.unwrap();
            held.push(one(&mut door).await);
            clients.push(client);
        }
        let mut again = rig.dial().await;
        again.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n").await.unwrap();
        assert_eq!(again.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed");
        assert_eq!(rig.counts().refused_address.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_header_that_does_not_come_keeps_nobody_waiting_and_is_refused_after_three_seconds() {
    run(async {
        let (entrance, mut door) = door();
        let rig = Rig::start(behind_balancers(Limiter::new(0, 0)), vec![entrance]);
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(rig.dial().await);
        }
        let mut slow = rig.dial().await;
        slow.write_all(b"PROXY TCP4 192.0").await.unwrap();
        let mut client = rig.dial().await;
        client.write_all(V2).await.unwrap();
        assert_eq!(one(&mut door).await.peer, "192.0.2.7:56324".parse().unwrap());
        assert_eq!(rig.counts().refused_header.load(Ordering::Relaxed), 0);
        assert_eq!(slow.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed in the end");
        until(&rig.counts().refused_header, 21).await;
        assert_eq!(rig.counts().accepted.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_load_balancer_that_sends_no_header_is_refused_at_once_and_its_health_check_is_not_counted() {
    run(async {
        let (entrance, mut door) = door();
        let rig = Rig::start(behind_balancers(Limiter::new(0, 0)), vec![entrance]);
        drop(rig.dial().await); // a health check
        let mut plain = rig.dial().await;
        plain.write_all(b"\0\0\0\x01\x80").await.unwrap();
        assert_eq!(plain.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed");
        until(&rig.counts().refused_header, 1).await;
        // LOCAL is the load balancer itself.
        let mut local = rig.dial().await;
        local.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await.unwrap();
        assert_eq!(one(&mut door).await.peer, local.local_addr().unwrap());
        assert_eq!(rig.counts().refused_header.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn from_elsewhere_a_header_is_bytes_like_any_others() {
    run(async {
        let (entrance, mut door) = door();
        let balancers = ["192.0.2.0/24".parse().unwrap()].into();
        let rules = Rules { balancers, ..Limiter::new(0, 0).into() };
        let rig = Rig::start(rules, vec![entrance]);
        let mut client = rig.dial().await;
        client.write_all(V2).await.unwrap();
        let arrival = one(&mut door).await;
        assert_eq!(arrival.peer, client.local_addr().unwrap());
        let (mut socket, _permit) = arrival.settle().unwrap();
        assert_eq!(read(&mut socket, V2.len()).await, V2);
    });
}

#[test]
fn a_listener_for_both_families_gives_each_client_the_address_of_its_own() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return not_here("::1");
    }
    run(async {
        let (entrance, mut door) = door();
        let rig = Rig::on("[::]:0", Limiter::new(0, 0).into(), vec![entrance]);
        for local in ["127.0.0.1", "::1"] {
            let client = TcpStream::connect((local, rig.addr.port())).await.unwrap();
            let peer = one(&mut door).await.peer;
            assert_eq!(
                (peer, peer.ip().to_string().as_str()),
                (client.local_addr().unwrap(), local)
            );
        }
    });
}
