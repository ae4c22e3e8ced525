//! Defects of links that were reproduced elsewhere, each as a test that would show it here.

use super::{lines::Lines, *};
use std::collections::BTreeSet;
use yumen_proto::id::UserId;

async fn two(world: &World) -> (Rc<End>, Rc<End>) {
    let a = world.open(Plan::new("a")).await;
    let b = world.open(Plan::new("b")).await;
    b.on_frame(answer);
    (a, b)
}

fn pushed(end: &End) -> Vec<i64> {
    end.seen.borrow().iter().copied().filter(|n| (0..1_000_000).contains(n)).collect()
}

#[test]
fn w06_calls_cancelled_under_back_pressure_stop_no_flow() {
    world(6, async |world| {
        let (a, b) = two(&world).await;
        let to_b = a.link(&b);
        let mut cancelled = 0;
        for n in 0..400 {
            while a.push(to_b, n, 64 * 1024).is_err() {
                a.links.room(to_b).await;
            }
            // Some are dropped before they are written, some after.
            let call = a.links.call(to_b, is_online(n));
            tokio::select! {
                biased;
                _ = call => {}
                () = async { for _ in 0..n % 4 { yield_now().await } } => cancelled += 1,
            }
            assert_eq!(a.links.load().calls, 0, "what nobody waits for is forgotten at once");
        }
        a.links.flush();
        let start = a.links.now();
        while pushed(&b).len() < 400 && a.links.now() - start < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(pushed(&b).len(), 400, "it waits for something");
        assert!(cancelled >= 100, "{cancelled}");
        assert!(pushed(&b).into_iter().eq(0..400));
        assert_eq!((a.links.load().calls, a.links.load().counts.broken), (0, 0));
        assert_eq!(a.links.call(to_b, is_online(2)).await, Ok((0, Reply::Online(true))));
    });
}

#[test]
fn w07_a_peer_that_is_down_is_not_stormed_with_dials() {
    world(7, async |world| {
        let (env, lines) = Lines::of(world.sim.env());
        let a = world.open_in(&env, Plan::new("a")).await;
        let b = world.open(Plan::new("b")).await;
        lines.refuses.set(true);
        let mut refused = 0;
        for _ in 0..60_000 {
            // A thousand users a second want to talk to it.
            match a.links.link(b.links.me()) {
                Ok(link) => {
                    let _full_or_closed = a.push(link, 1, 5);
                    a.links.flush();
                }
                Err(_) => refused += 1,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let dials = lines.dials.get();
        assert!((60..200).contains(&dials), "{dials} in a minute");
        assert!(refused > 50_000, "and nobody waited for them: {refused}");
        assert_eq!(u64::try_from(refused), Ok(a.links.load().counts.held_back));
        lines.refuses.set(false);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let link = a.link(&b);
        a.push(link, 2, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!(*b.seen.borrow(), [2]);
    });
}

#[test]
fn w07_a_peer_that_hangs_up_at_once_is_not_stormed_either() {
    world(7, async |world| {
        let (env, lines) = Lines::of(world.sim.env());
        let a = world.open_in(&env, Plan::new("a")).await;
        let b = world.open(Plan::new("b")).await;
        for _ in 0..30_000 {
            if let Ok(link) = a.links.link(b.links.me()) {
                let _closed = a.push(link, 1, 5);
                a.links.flush();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            if a.links.pair_of(b.links.me()).is_some_and(|_| lines.dials.get() % 2 == 0) {
                lines.cut();
            }
        }
        let dials = lines.dials.get();
        assert!((40..300).contains(&dials), "{dials} in a minute");
    });
}

#[test]
fn w31_cut_a_hundred_times_under_load_nobody_freezes() {
    for seed in 0..3 {
        world(seed, async |world| {
            let (env, lines) = Lines::of(world.sim.env());
            let a = world.open_in(&env, Plan::new("a")).await;
            let b = world.open(Plan::new("b")).await;
            let dice = world.sim.dice().clone();
            let done = Rc::new(Cell::new(false));
            let pause = Rc::new(Cell::new(Duration::from_millis(3)));
            let sent = Rc::new(Cell::new(0_i64));
            // 64 senders, and a receiver that answers from inside its deliveries.
            b.on_frame(|b, link, frame| {
                let _lost = b.push(link, number(&frame) % 1_000_000, 100);
            });
            for _ in 0..64 {
                let (a, done, sent) = (Rc::clone(&a), Rc::clone(&done), Rc::clone(&sent));
                let (clock, pause) = (env.clock.clone(), Rc::clone(&pause));
                env.spawn.local(async move {
                    while !done.get() {
                        let Ok(link) = a.links.link(&"b".into()) else {
                            clock.sleep(Duration::from_millis(1)).await;
                            continue;
                        };
                        match a.push(link, sent.get(), 1000) {
                            Ok(()) => sent.set(sent.get() + 1),
                            Err(Unsent::Full) => a.links.room(link).await,
                            Err(_) => clock.sleep(Duration::from_millis(1)).await,
                        }
                        if sent.get() % 7 == 0 {
                            a.links.flush();
                            clock.sleep(pause.get()).await;
                        }
                    }
                });
            }
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
                lines.block(dice.below(2) == 0);
                tokio::time::sleep(Duration::from_millis(dice.below(10))).await;
                if dice.below(2) == 0 { lines.cut() } else { lines.cut_here() }
            }
            pause.set(Duration::from_millis(400));
            tokio::time::sleep(Duration::from_secs(25)).await; // what only one side has seen
            let (before, heard) = (b.seen.borrow().len(), a.seen.borrow().len());
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(b.seen.borrow().len() > before + 100, "seed {seed}: it flows again");
            assert!(a.seen.borrow().len() > heard + 100, "seed {seed}: and back");
            done.set(true);
            world.settle().await;
            a.links.flush();
            world.settle().await;
            assert_eq!((a.links.load().links, b.links.load().links), (1, 1));
            // At most once, and in order.
            let seen = pushed(&b);
            assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}");
        });
    }
}

#[test]
fn w32_answers_that_come_too_late_disturb_no_later_call() {
    world(32, async |world| {
        let (a, b) = two(&world).await;
        let to_b = a.link(&b);
        let slow = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&slow);
        b.on_frame(move |b, link, frame| {
            let Frame::Request { seq, command } = frame else { return };
            let Command::IsOnline { target: Target::Conn(conn) } = command else { return };
            if conn.0 >= 1000 {
                kept.borrow_mut().push((link, seq)); // as if a store took its time
            } else {
                answer(b, link, frame);
            }
        });
        for round in 0..20 {
            let calls = (0..5).map(|n| a.links.call(to_b, is_online(1000 + n)));
            let mut calls = calls.collect::<Vec<_>>().into_iter();
            let five = [(); 5].map(|()| calls.next().unwrap());
            let [c, d, e, f, g] = five;
            let (c, d, e, f, g) = tokio::join!(c, d, e, f, g);
            assert!([c, d, e, f, g].iter().all(|answer| *answer == Err(CallError::Unknown)));
            for (link, seq) in slow.take() {
                let (route, reply) = (is_online(0).row().code, Reply::Online(true));
                b.links.send(link, Frame::Reply { seq, route, code: 0, reply }).unwrap();
            }
            b.links.flush();
            for n in 0..20 {
                let answer = a.links.call(to_b, is_online(n)).await;
                assert_eq!(answer, Ok((0, Reply::Online(n % 2 == 0))), "round {round}");
            }
        }
        assert_eq!((a.links.late.get(), a.links.load().calls), (100, 0));
    });
}

/// Every kind of command on the data lane, with a number.
fn of_kind(kind: usize, n: i64, packet: &[u8], then: &mut dyn FnMut(Command<'_>)) {
    let (conn, user) = (Target::Conn(ConnId(n)), Target::User(UserId(n)));
    let ids = [n];
    let targets = yumen_proto::link::Targets::from(&ids[..]);
    let channel = n.to_string();
    then(match kind {
        0 => Command::Push { target: conn, packet, disconnect: false },
        1 => Command::Push { target: user, packet, disconnect: false },
        2 => Command::Multicast { kind: TargetKind::User, targets, packet, disconnect: false },
        3 => Command::Publish { channel: &channel, packet, disconnect: false },
        4 => Command::Deliver { conn: ConnId(n), user: None, packet },
        5 => Command::Subscribe { kind: TargetKind::Conn, targets, channel: &channel },
        _ => Command::Disconnect { target: conn, force: false },
    });
}

const KINDS: usize = 7;

#[expect(clippy::wildcard_enum_match_arm, reason = "no other kind is sent")]
fn number_of(command: &Command<'_>) -> i64 {
    let target = |target: &Target| match target {
        Target::Conn(conn) => conn.0,
        Target::User(user) => user.0,
    };
    match command {
        Command::Push { target: to, .. } | Command::Disconnect { target: to, .. } => target(to),
        Command::Multicast { targets, .. } | Command::Subscribe { targets, .. } => {
            targets.iter().next().unwrap()
        }
        Command::Publish { channel, .. } => channel.parse().unwrap(),
        Command::Deliver { conn, .. } => conn.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn w46_every_mix_of_kinds_acknowledged_or_not_keeps_its_order() {
    world(46, async |world| {
        let (a, b) = two(&world).await;
        let seen = Rc::new(RefCell::new(Vec::new()));
        let known = Rc::clone(&seen);
        b.on_frame(move |b, link, frame| {
            let Frame::Request { seq, command } = frame else { return };
            known.borrow_mut().push(number_of(&command));
            if seq != 0 {
                let route = command.row().code;
                let reply = match route {
                    9 | 11 => Reply::Total(1),
                    _ => Reply::Done,
                };
                b.links.send(link, Frame::Reply { seq, route, code: 0, reply }).unwrap();
            }
        });
        let to_b = a.link(&b);
        let mut n = 0;
        // Every pair of kinds, back to back; of each pair either may be a call.
        for pair in 0..KINDS * KINDS * 4 {
            let (first, second) = (pair % KINDS, pair / KINDS % KINDS);
            let asks = pair / KINDS / KINDS;
            for (kind, asks) in [(first, asks & 1 != 0), (second, asks & 2 != 0)] {
                of_kind(kind, n, &[n as u8; 30], &mut |command| {
                    let seq = if asks { 1_000_000 + n.unsigned_abs() } else { 0 };
                    a.links.send(to_b, Frame::Request { seq, command }).unwrap();
                });
                n += 1;
            }
            if pair % 3 == 0 {
                a.links.flush();
                yield_now().await;
            }
        }
        a.links.flush();
        world.settle().await;
        assert!(seen.borrow().iter().copied().eq(0..n), "{:?}", seen.borrow());
        assert!(n > 390);
    });
}

#[test]
fn w49_sixty_four_callers_with_mixed_limits_get_their_own_answers() {
    world(49, async |world| {
        let (a, b) = two(&world).await;
        let to_b = a.link(&b);
        let dice = world.sim.dice().clone();
        // Answers come after a while of their own, in any order.
        let (env, slow) = (world.sim.env(), dice.clone());
        b.on_frame(move |b, link, frame| {
            let Frame::Request { seq: seq @ 1.., command } = frame else { return };
            let Command::IsOnline { target: Target::Conn(conn) } = command else { return };
            let (route, code) = (command.row().code, u16::try_from(conn.0 % 60_000).unwrap());
            let (links, clock) = (Rc::clone(&b.links), env.clock.clone());
            let pause = Duration::from_millis(slow.below(40));
            env.spawn.local(async move {
                clock.sleep(pause).await;
                let reply = Frame::Reply { seq, route, code, reply: Reply::Online(true) };
                let _lost = links.send(link, reply);
                links.flush();
            });
        });
        let (right, late) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks = world.sim.env();
        for caller in 0..64 {
            let (a, dice) = (Rc::clone(&a), dice.clone());
            let (right, late) = (Rc::clone(&right), Rc::clone(&late));
            let clock = tasks.clock.clone();
            tasks.spawn.local(async move {
                for n in 0..100 {
                    let question = caller * 100 + n;
                    let limit = Duration::from_millis(dice.below(60));
                    tokio::select! {
                        biased;
                        answer = a.links.call(to_b, is_online(question)) => {
                            let (code, _) = answer.unwrap();
                            assert_eq!(i64::from(code), question % 60_000);
                            right.set(right.get() + 1);
                        }
                        () = clock.sleep(limit) => late.set(late.get() + 1),
                    }
                }
            });
        }
        tasks.spawn.idle().await;
        world.settle().await;
        assert_eq!(right.get() + late.get(), 6400);
        assert!(right.get() > 2000 && late.get() > 1000, "{} {}", right.get(), late.get());
        assert_eq!(a.links.late.get(), late.get());
    });
}

#[test]
fn w50_a_bind_that_takes_its_time_delays_no_push() {
    world(50, async |world| {
        let (a, b) = two(&world).await;
        let to_b = a.link(&b);
        // A bind goes to a store that takes 200 ms; pushes are served as they come.
        let env = world.sim.env();
        let late = Rc::new(RefCell::new(BTreeSet::new()));
        let (known, clock) = (Rc::clone(&late), env.clock.clone());
        let times = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&times);
        b.on_frame(move |b, link, frame| match frame {
            Frame::Request { seq, command: Command::Bind { user, .. } } => {
                let (links, later) = (Rc::clone(&b.links), clock.clone());
                known.borrow_mut().insert(user.0);
                env.spawn.local(async move {
                    later.sleep(Duration::from_millis(200)).await;
                    let reply = Frame::Reply { seq, route: 2, code: 0, reply: Reply::Done };
                    links.send(link, reply).unwrap();
                    links.flush();
                });
            }
            Frame::Request { .. } | Frame::Reply { .. } | Frame::Heartbeat => {
                seen.borrow_mut().push(clock.now().mono);
            }
        });
        let binds = async {
            for n in 1..=20 {
                let bind = Command::Bind { conn: ConnId(n), user: UserId(n) };
                assert_eq!(a.links.call(to_b, bind).await, Ok((0, Reply::Done)));
            }
        };
        let pushes = async {
            let mut sent = Vec::new();
            for n in 0..4000 {
                sent.push(a.links.now());
                a.push(to_b, n, 50).unwrap();
                a.links.flush();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            sent
        };
        let ((), sent) = tokio::join!(binds, pushes);
        world.settle().await;
        let times = times.borrow();
        assert_eq!((sent.len(), times.len(), late.borrow().len()), (4000, 4000, 20));
        // But for the first ones, which wait for the dial.
        let worst = sent.iter().zip(times.iter()).skip(100).map(|(sent, seen)| *seen - *sent).max();
        assert!(worst.unwrap() < Duration::from_millis(5), "{worst:?}");
    });
}

#[test]
fn control_waits_for_one_batch_of_data_and_not_for_those_of_all_peers() {
    world(50, async |world| {
        let b = world.open(Plan::new("b")).await;
        let mut peers = Vec::new();
        for id in ["a", "c", "d", "e", "f", "g", "h", "i"] {
            peers.push(world.open(Plan::new(id)).await);
        }
        for peer in &peers {
            peer.push(peer.link(&b), 0, 5).unwrap();
            peer.links.flush();
        }
        world.settle().await;
        // A frame takes 100 us, and each peer has a thousand.
        let clock = b.links.env.clock.clone();
        b.on_frame(move |_, _, _| clock.skip(Duration::from_micros(100)));
        for peer in &peers {
            (0..1000).for_each(|n| peer.push(peer.link(&b), n, 20).unwrap());
            peer.links.flush();
        }
        let served = || b.seen.borrow().len();
        while served() < 200 {
            yield_now().await;
        }
        let asker = &peers[5];
        let order = Frame::Request { seq: 0, command: is_online(1) };
        asker.links.send(asker.link(&b), order).unwrap();
        let before = served();
        asker.links.flush();
        while served() < 8008 {
            yield_now().await;
        }
        let at = b.seen.borrow().iter().position(|n| *n == 1_000_001).unwrap();
        assert!(at <= before + 64, "{} frames went first", at - before);
    });
}
