//! The thread did not run for a while, or the wall clock jumped: nobody is blamed for it.

use super::*;
use tokio::time::advance;
use yumen_proto::conn::{ClientConn, ClientEvent};

const PAUSE: Duration = Duration::from_secs(60);

async fn second(rig: &Rig) {
    rig.env.clock.sleep(Duration::from_secs(1)).await;
}

#[test]
fn after_a_pause_of_our_own_nobody_is_closed_as_idle_before_it_was_read() {
    run(async |rig| {
        let ((mut alive, _), (mut silent, gone)) = (rig.client(1024), rig.client(1024));
        for _ in 0..15 {
            second(&rig).await;
            alive.send(&HEARTBEAT).await.unwrap();
        }
        let before = rig.env.clock.now().mono;
        advance(PAUSE).await;
        // What it sent meanwhile is found a moment later.
        alive.send(&HEARTBEAT).await.unwrap();
        second(&rig).await;
        assert_eq!((rig.driver.len(), rig.driver.stats.pauses.get()), (2, 1));
        // The other had been silent for 15 s of the 20 that it may: it has five more.
        silent.end().await;
        let took = rig.env.clock.now().mono - before - PAUSE;
        assert!((5..=7).contains(&took.as_secs()), "{took:?}");
        assert_eq!(rig.ended().await, [(gone, CloseReason::Idle)]);
        alive.send(&packet(5, b"ping")).await.unwrap();
        while recv(&mut alive).await != Some((5, b"ping".to_vec())) {}
    });
}

#[test]
fn a_pause_counts_for_no_deadline_and_each_still_holds_afterwards() {
    let settings = Settings { login_max: Duration::from_secs(5), ..Settings::default() };
    Rig::with(settings, 3, async |rig| {
        let ((_anonymous, late), (_deaf, stalled)) = (rig.client(1024), rig.client(16));
        rig.driver.with(stalled, |machine, _, _| machine.bound(rig.env.clock.now()));
        rig.push(stalled, 1, 1000);
        rig.driver.flush();
        second(&rig).await;
        advance(PAUSE).await;
        second(&rig).await;
        assert_eq!(rig.driver.len(), 2, "{:?}", rig.echo.ended.borrow());
        for _ in 0..5 {
            second(&rig).await;
        }
        assert_eq!(rig.ended().await, [(late, CloseReason::LoginDeadline)]);
        for _ in 0..5 {
            second(&rig).await;
        }
        assert_eq!(rig.ended().await, [(stalled, CloseReason::Stalled)]);
    });
}

#[cfg(feature = "ws")]
#[test]
fn a_pause_counts_for_no_handshake() {
    run(async |rig| {
        let (_peer, conn) = rig.web(1024);
        second(&rig).await;
        advance(PAUSE).await;
        for _ in 0..8 {
            second(&rig).await;
        }
        assert_eq!(rig.driver.len(), 1);
        for _ in 0..3 {
            second(&rig).await;
        }
        let timed_out = CloseReason::Handshake(yumen_proto::conn::HandshakeFault::TimedOut);
        assert_eq!(rig.ended().await, [(conn, timed_out)]);
    });
}

#[test]
fn a_thread_that_is_always_late_closes_who_is_silent_all_the_same() {
    run(async |rig| {
        let (_silent, conn) = rig.client(1024);
        for _ in 0..40 {
            advance(Duration::from_secs(3)).await;
            for _ in 0..10 {
                yield_now().await;
            }
        }
        assert!(rig.driver.stats.pauses.get() >= 38);
        let ended: Vec<_> = rig.echo.ended.take().into_iter().map(|end| (end.0, end.2)).collect();
        assert_eq!(ended, [(conn, CloseReason::Idle)]);
    });
}

/// Listens to a gate, and is told nothing.
struct Client(RefCell<Vec<CloseReason>>);

impl Service<ClientConn, ()> for Client {
    fn on_event(&self, _: ConnId, _: ClientEvent<'_>) -> Turn {
        Turn::Go
    }

    fn on_closed(&self, _: ConnId, (): (), reason: CloseReason) {
        self.0.borrow_mut().push(reason);
    }
}

#[test]
fn a_client_that_was_suspended_reads_before_it_gives_up() {
    Sim::run(4, async |sim| {
        let env = sim.env();
        let driver: Rc<Driver<ClientConn, ()>> = Driver::new(&env);
        let client = Rc::new(Client(RefCell::default()));
        driver.start(&(Rc::clone(&client) as Rc<dyn Service<ClientConn, ()>>));
        let (near, far) = pair(1024, sim.dice());
        let mut out = Out::default();
        let settings = Arc::new(Settings::default());
        let machine = ClientConn::new(settings, env.clock.now(), false, &mut out);
        driver.accept(near, Transport::Stream, machine, ());
        let mut gate = Peer::new(far);
        env.clock.sleep(Duration::from_secs(12)).await;
        advance(PAUSE).await;
        gate.send(&HEARTBEAT).await.unwrap();
        env.clock.sleep(Duration::from_secs(15)).await;
        assert_eq!((driver.len(), client.0.borrow().len()), (1, 0));
        env.clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(client.0.take(), [CloseReason::Idle]);
    });
}

#[test]
fn jumps_of_the_wall_clock_move_no_deadline() {
    const DAY_NS: i64 = 86_400_000_000_000;
    for off_ns in [-DAY_NS, DAY_NS] {
        run(async |rig| {
            let ((mut alive, _), (mut silent, gone)) = (rig.client(1024), rig.client(1024));
            let start = rig.env.clock.now();
            for n in 0..15 {
                second(&rig).await;
                alive.send(&HEARTBEAT).await.unwrap();
                if n == 7 {
                    rig.env.clock.set_wall(off_ns);
                }
            }
            let (now, passed) = (rig.env.clock.now(), Duration::from_secs(15));
            assert_eq!(now.mono - start.mono, passed);
            let wall = now.unix_ns - start.unix_ns - i64::try_from(passed.as_nanos()).unwrap();
            assert_eq!(wall, off_ns, "the clock did jump");
            assert_eq!(rig.driver.len(), 2);
            silent.end().await;
            let took = rig.env.clock.now().mono - start.mono;
            assert!((20..=22).contains(&took.as_secs()), "{took:?}");
            assert_eq!(rig.ended().await, [(gone, CloseReason::Idle)]);
        });
    }
}
