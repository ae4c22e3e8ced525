//! What the driver promises, over pipes in memory and in virtual time.

#[path = "tests/inside.rs"]
mod inside;
#[path = "tests/limits.rs"]
mod limits;
#[path = "tests/pause.rs"]
mod pause;
#[cfg(feature = "tls")]
#[path = "tests/tls.rs"]
mod tls;
#[cfg(feature = "ws")]
#[path = "tests/ws.rs"]
mod ws;

use super::*;
use crate::testing::{Peer, Sim, pair};
use std::{sync::Arc, time::Duration};
use tokio::task::yield_now;
use yumen_proto::{
    conn::{ServerConn, ServerEvent, Settings},
    extension::Announce,
    id::RouteId,
    packet::{Data, Layout, Packet},
};

type OnEvent = dyn Fn(&Echo, ConnId, &Data<'_>) -> Turn;
type OnConn = dyn Fn(&Echo, ConnId);

/// Echoes every message unless a test says otherwise, and remembers what it was told.
struct Echo {
    driver: Rc<Driver<ServerConn, u64>>,
    events: RefCell<Vec<(ConnId, i32)>>,
    opened: RefCell<Vec<ConnId>>,
    ended: RefCell<Vec<(ConnId, u64, CloseReason)>>,
    on_event: RefCell<Option<Rc<OnEvent>>>,
    on_open: RefCell<Option<Rc<OnConn>>>,
    on_closed: RefCell<Option<Rc<OnConn>>>,
    inside: Cell<bool>,
}

impl Service<ServerConn, u64> for Echo {
    fn on_open(&self, conn: ConnId) {
        self.opened.borrow_mut().push(conn);
        let then = self.on_open.borrow().clone();
        then.inspect(|then| then(self, conn));
    }

    fn on_event(&self, conn: ConnId, event: ServerEvent<'_>) -> Turn {
        let ServerEvent::Message(data) = event else { return Turn::Go };
        assert!(!self.inside.replace(true), "events are never nested");
        let then = self.on_event.borrow().clone();
        let turn = match then {
            Some(then) => then(self, conn, &data),
            None => self.echo(conn, &data),
        };
        if turn != Turn::Hold {
            self.events.borrow_mut().push((conn, data.route.0));
        }
        self.inside.set(false);
        turn
    }

    fn on_closed(&self, conn: ConnId, data: u64, reason: CloseReason) {
        assert!(!self.inside.get(), "the end is never told from inside an event");
        self.ended.borrow_mut().push((conn, data, reason));
        let then = self.on_closed.borrow().clone();
        then.inspect(|then| then(self, conn));
    }
}

impl Echo {
    fn echo(&self, conn: ConnId, data: &Data<'_>) -> Turn {
        self.driver.append(conn, data.raw);
        Turn::Go
    }
}

struct Rig {
    env: Env,
    sim: Sim,
    driver: Rc<Driver<ServerConn, u64>>,
    echo: Rc<Echo>,
    settings: Arc<Settings>,
}

impl Rig {
    fn with(settings: Settings, seed: u64, test: impl AsyncFnOnce(Self)) {
        Sim::run(seed, async |sim| {
            let env = sim.env();
            let driver = Driver::new(&env);
            let echo = Rc::new(Echo {
                driver: Rc::clone(&driver),
                events: RefCell::default(),
                opened: RefCell::default(),
                ended: RefCell::default(),
                on_event: RefCell::default(),
                on_open: RefCell::default(),
                on_closed: RefCell::default(),
                inside: Cell::new(false),
            });
            let service = Rc::clone(&echo) as Rc<dyn Service<ServerConn, u64>>;
            driver.start(&service);
            drop(service);
            let test = test(Self { env, sim, driver, echo, settings: Arc::new(settings) });
            // Virtual time: a test that waits for what never comes fails at once.
            tokio::time::timeout(Duration::from_secs(600), test).await.expect("it waits in vain");
        });
    }

    fn machine(&self) -> ServerConn {
        ServerConn::new(Arc::clone(&self.settings), self.env.clock.now())
    }

    /// A connection whose pipes hold `room` bytes each way. Its data is its own id.
    fn client(&self, room: usize) -> (Peer, ConnId) {
        let (near, far) = pair(room, self.sim.dice());
        (Peer::new(near), self.accept(far, Transport::Stream))
    }

    fn accept(&self, socket: Socket, transport: Transport) -> ConnId {
        let next = u64::try_from(self.driver.ids.get() + 1).unwrap();
        let id = self.driver.accept(socket, transport, self.machine(), next);
        assert_eq!(id.0, i64::try_from(next).unwrap());
        id
    }

    fn push(&self, conn: ConnId, route: i32, len: usize) -> bool {
        self.driver.append(conn, &packet(route, &vec![1; len]))
    }

    fn on_event(&self, then: impl Fn(&Echo, ConnId, &Data<'_>) -> Turn + 'static) {
        self.echo.on_event.replace(Some(Rc::new(then)));
    }

    /// Waits until every connection there was has ended, and checks that each ended once.
    async fn all_ended(&self) {
        let accepted = self.driver.ids.get();
        let count = usize::try_from(accepted).unwrap();
        self.until(|rig| rig.echo.ended.borrow().len() >= count).await;
        let mut ids: Vec<_> = self.ended().await.into_iter().map(|(id, _)| id.0).collect();
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(1..=accepted), "each ended once: {} {accepted}", ids.len());
        assert!(self.driver.is_empty() && self.driver.slots.borrow().is_empty());
    }

    /// Waits until `done`, for at most a minute of virtual time.
    async fn until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..60_000 {
            if done(self) {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(1)).await;
        }
        panic!("waited for a minute");
    }

    /// What was told about ended connections since the last call. The hub gets a few turns first.
    async fn ended(&self) -> Vec<(ConnId, CloseReason)> {
        for _ in 0..5 {
            yield_now().await;
        }
        let ended = self.echo.ended.take();
        assert!(ended.iter().all(|(id, data, _)| i64::try_from(*data) == Ok(id.0)));
        ended.into_iter().map(|(id, _, reason)| (id, reason)).collect()
    }
}

fn run(test: impl AsyncFnOnce(Rig)) {
    Rig::with(Settings::default(), 3, test);
}

fn packet(route: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Layout::default().encode_data(RouteId(route), 1, body, &mut bytes).unwrap();
    bytes
}

const HEARTBEAT: [u8; 5] = [0, 0, 0, 1, 0x80];

/// The next message from the gate; `None` at the end of the stream.
async fn recv(peer: &mut Peer) -> Option<(i32, Vec<u8>)> {
    loop {
        let mut rest = peer.seen.as_slice();
        let all = rest.len();
        if let Some(packet) = Layout::default().decode(&mut rest).unwrap() {
            let data = match packet {
                Packet::Data(data) => Some((data.route.0, data.body.to_vec())),
                Packet::Empty | Packet::Control { .. } => None,
            };
            let used = all - rest.len();
            peer.seen.drain(..used);
            match data {
                Some(data) => return Some(data),
                None => continue,
            }
        }
        if !peer.more().await {
            return None;
        }
    }
}

async fn route(peer: &mut Peer) -> i32 {
    recv(peer).await.expect("the stream has ended").0
}

#[test]
fn an_idle_connection_holds_no_buffer_and_no_task() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(64 * 1024);
        for n in 0..20 {
            peer.send(&packet(n, &[7; 3000])).await.unwrap();
        }
        for n in 0..20 {
            assert_eq!(route(&mut peer).await, n);
        }
        assert_eq!(rig.driver.buffered(conn), Some(0));
        assert_eq!(rig.env.spawn.len(), 2, "hub and sweep");
        assert_eq!(*rig.echo.opened.borrow(), [conn]);
    });
}

#[test]
fn a_batch_is_written_once_per_session() {
    run(async |rig| {
        let ((mut a, first), (mut b, second)) = (rig.client(64 * 1024), rig.client(64 * 1024));
        for n in 0..50 {
            rig.push(first, n, 10);
            rig.push(second, n, 10);
        }
        for n in 0..50 {
            assert_eq!((route(&mut a).await, route(&mut b).await), (n, n));
        }
        assert_eq!(rig.driver.stats.writes.get(), 2);
    });
}

#[test]
fn a_read_with_many_packets_is_answered_with_one_write() {
    run(async |rig| {
        let (mut peer, _) = rig.client(64 * 1024);
        let blob: Vec<u8> = (0..100).flat_map(|n| packet(n, b"x")).collect();
        peer.send(&blob).await.unwrap();
        for n in 0..100 {
            assert_eq!(route(&mut peer).await, n);
        }
        let (reads, writes) = (rig.driver.stats.reads.get(), rig.driver.stats.writes.get());
        assert!(writes <= reads && reads <= 5, "{writes} writes for {reads} reads");
    });
}

#[test]
fn what_a_batch_causes_for_others_is_written_at_its_end() {
    run(async |rig| {
        let ((mut a, _), (mut b, other)) = (rig.client(1024), rig.client(1024));
        rig.on_event(move |echo, _, data| {
            echo.driver.append(other, data.raw);
            Turn::Go
        });
        for n in 0..10 {
            let start = rig.env.clock.now().mono;
            a.send(&packet(n, b"for the other")).await.unwrap();
            assert_eq!(route(&mut b).await, n);
            assert_eq!(rig.env.clock.now().mono, start, "it waited for the sweep");
        }
    });
}

#[test]
fn a_broadcast_is_written_in_slices_and_a_reply_does_not_queue_behind_it() {
    run(async |rig| {
        let mut all: Vec<_> = (0..1000).map(|_| rig.client(1024)).collect();
        all.iter().for_each(|(_, conn)| assert!(rig.push(*conn, 9, 10)));
        rig.driver.flush();
        assert_eq!(rig.driver.stats.writes.get(), 16, "a long list is left to housekeeping");
        let (_peer, conn) = rig.client(1024);
        rig.push(conn, 5, 10);
        rig.driver.flush();
        // Only its own: if whoever comes paid for more of the broadcast, reads would queue behind it.
        assert_eq!((rig.driver.stats.writes.get(), rig.driver.backlog(conn)), (17, Some(0)));
        for (peer, _) in &mut all {
            assert_eq!(route(peer).await, 9);
        }
        assert_eq!(rig.driver.stats.writes.get(), 1001);
    });
}

#[test]
fn silence_is_closed_by_the_sweep_and_reported_once() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(1024);
        let start = rig.env.clock.now().mono;
        assert_eq!(recv(&mut peer).await, None);
        let took = rig.env.clock.now().mono - start;
        assert!((20..=21).contains(&took.as_secs()), "{took:?}");
        assert_eq!(rig.ended().await, [(conn, CloseReason::Idle)]);
        assert!(rig.driver.is_empty());
    });
}

#[test]
fn what_arrived_before_the_end_of_the_stream_is_handled_first() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(64 * 1024);
        for n in 0..10 {
            peer.send(&packet(n, b"x")).await.unwrap();
        }
        drop(peer);
        rig.until(|rig| rig.driver.is_empty()).await;
        let events = rig.echo.events.take();
        assert_eq!(events, (0..10).map(|n| (conn, n)).collect::<Vec<_>>());
        // Nobody takes the answers: the stream broke.
        assert_eq!(rig.ended().await, [(conn, CloseReason::Reset)]);
    });
}

#[test]
fn a_mixed_downlink_keeps_its_order_while_the_socket_is_full() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(64);
        for n in 0..300 {
            match n % 3 {
                0 => peer.send(&packet(n, b"a")).await.unwrap(), // echoed by the read's batch
                1 => assert!(rig.push(conn, n, 90)),
                _ => {
                    rig.push(conn, n, 5); // a push from a batch that ends here
                    rig.driver.flush();
                }
            }
            assert_eq!(route(&mut peer).await, n);
        }
        assert!((0..200).all(|n| rig.push(conn, n, 40)));
        for n in 0..200 {
            assert_eq!(route(&mut peer).await, n);
        }
        assert!(rig.driver.stats.blocked.get() > 100);
        assert_eq!(rig.driver.buffered(conn), Some(0));
    });
}

#[test]
fn a_batch_that_is_cut_short_goes_on_by_itself() {
    run(async |rig| {
        rig.on_event(|echo, conn, data| {
            echo.echo(conn, data);
            Turn::Yield
        });
        let (mut peer, conn) = rig.client(64 * 1024);
        let blob: Vec<u8> = (0..100).flat_map(|n| packet(n, b"x")).collect();
        peer.send(&blob).await.unwrap();
        for n in 0..100 {
            assert_eq!(route(&mut peer).await, n);
        }
        assert_eq!(rig.driver.buffered(conn), Some(0));
    });
}

#[test]
fn a_held_connection_loses_nothing_repeats_nothing_and_reads_nothing() {
    run(async |rig| {
        let open = Rc::new(Cell::new(0)); // messages that may pass
        let gate = Rc::clone(&open);
        rig.on_event(move |echo, conn, data| {
            if gate.get() == 0 {
                return Turn::Hold;
            }
            gate.set(gate.get() - 1);
            echo.echo(conn, data)
        });
        let (mut peer, conn) = rig.client(8192);
        let (mut next, mut sent) = (0, 0);
        while next < 200 {
            while sent < next + 20 {
                peer.send(&packet(sent, &vec![2; usize::try_from(sent % 90).unwrap()]))
                    .await
                    .unwrap();
                peer.send(&HEARTBEAT).await.unwrap();
                sent += 1;
                rig.env.clock.sleep(Duration::from_millis(1)).await;
                if sent % 4 == 0 {
                    break;
                }
            }
            open.set(i32::try_from(rig.sim.dice().below(7)).unwrap());
            rig.driver.resume(conn);
            rig.until(|rig| {
                open.get() == 0 || rig.echo.events.borrow().len() == usize::try_from(sent).unwrap()
            })
            .await;
            open.set(0);
            while next < i32::try_from(rig.echo.events.borrow().len()).unwrap() {
                assert_eq!(route(&mut peer).await, next);
                next += 1;
            }
        }
        assert!(rig.driver.stats.holds.get() > 20);
    });
}

#[test]
fn a_held_connection_takes_no_more_than_one_read_from_its_peer() {
    run(async |rig| {
        rig.on_event(|_, _, _| Turn::Hold);
        let (mut peer, conn) = rig.client(4096);
        let blob = packet(1, &[0; 1000]).repeat(100);
        let stuck = tokio::time::timeout(Duration::from_secs(5), peer.send(&blob)).await;
        assert!(stuck.is_err(), "the pipe fills up");
        assert!(rig.driver.is_held(conn));
        assert!(rig.driver.stats.bytes_in.get() <= 4096 && rig.driver.stats.reads.get() == 1);
        assert!(rig.driver.buffered(conn).unwrap() <= 8192);
    });
}

#[test]
fn a_held_connection_is_written_to_and_not_read() {
    run(async |rig| {
        let offers = Rc::new(Cell::new(0));
        let count = Rc::clone(&offers);
        rig.on_event(move |_, _, _| {
            count.set(count.get() + 1);
            Turn::Hold
        });
        let (mut peer, conn) = rig.client(100);
        peer.send(&packet(1, b"x")).await.unwrap();
        rig.until(|rig| rig.driver.is_held(conn)).await;
        (0..20).for_each(|n| assert!(rig.push(conn, n, 90)));
        for n in 0..20 {
            assert_eq!(route(&mut peer).await, n);
        }
        assert!(rig.driver.stats.blocked.get() > 10);
        assert_eq!(offers.get(), 1, "offered again though nobody resumed it");
        rig.push(conn, 1, 1000);
        rig.driver.flush();
        rig.driver.close(conn, CloseReason::ByGame, "");
        assert!(!rig.driver.is_held(conn), "one that closes is read, so that its end is seen");
    });
}

#[test]
fn a_held_connection_is_not_idle() {
    run(async |rig| {
        rig.on_event(|_, _, _| Turn::Hold);
        let (mut peer, conn) = rig.client(4096);
        peer.send(&packet(1, b"x")).await.unwrap();
        rig.env.clock.sleep(Duration::from_secs(100)).await;
        assert!(rig.driver.is_held(conn));
        rig.echo.on_event.take();
        rig.driver.resume(conn);
        assert_eq!(route(&mut peer).await, 1);
    });
}

#[test]
fn a_peer_that_sends_without_a_pause_does_not_keep_others_from_running() {
    /// Always has another 64 KiB.
    #[derive(Debug)]
    struct Endless(Rc<Cell<u32>>);

    impl crate::socket::Stream for Endless {
        fn poll_read(
            &mut self,
            _: &mut std::task::Context<'_>,
            space: &mut [u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            space.fill(0);
            self.0.set(self.0.get() + 1);
            let ends = self.0.get() > 500; // or a test that fails would not end
            std::task::Poll::Ready(Ok(if ends { 0 } else { space.len() }))
        }
        fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn poll_writable(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn finish(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    run(async |rig| {
        let reads = Rc::new(Cell::new(0));
        rig.accept(Socket::Virtual(Box::new(Endless(Rc::clone(&reads)))), Transport::Stream);
        for _ in 0..10 {
            yield_now().await;
        }
        assert!((1..100).contains(&reads.get()), "{} reads", reads.get());
    });
}

#[test]
fn the_end_of_a_driver_ends_its_connections() {
    run(async |rig| {
        let (mut peer, _) = rig.client(1024);
        yield_now().await;
        rig.env.spawn.abort_all();
        rig.env.spawn.idle().await;
        let Rig { driver, echo, .. } = rig;
        assert_eq!(Rc::strong_count(&echo), 1, "no task is left that knows the service");
        drop((driver, echo));
        assert_eq!(recv(&mut peer).await, None);
    });
}
