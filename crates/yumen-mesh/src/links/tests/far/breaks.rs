//! What happens when lines break, peers vanish, come back, or say nothing.

use super::{lines::Lines, *};

/// An instance whose lines can be harmed, and one that answers.
async fn harmed(world: &World) -> (Rc<End>, Rc<Lines>, Rc<End>) {
    harmed_as(world, "a", "b").await
}

async fn harmed_as(world: &World, here: &str, there: &str) -> (Rc<End>, Rc<Lines>, Rc<End>) {
    let (env, lines) = Lines::of(world.sim.env());
    let a = world.open_in(&env, Plan::new(here)).await;
    let b = world.open(Plan::new(there)).await;
    b.on_frame(answer);
    (a, lines, b)
}

#[test]
fn calls_in_flight_end_as_unknown_and_what_was_never_written_is_reported() {
    world(1, async |world| {
        let (a, lines, b) = harmed(&world).await;
        b.on_frame(|_, _, _| {}); // it answers nothing
        let to_b = a.link(&b);
        let asked = a.links.call(to_b, is_online(1));
        let cut = async {
            world.settle().await;
            lines.block(true);
            a.push(to_b, 10, 5).unwrap(); // not flushed
            a.push(to_b, 11, 5).unwrap();
            lines.cut();
        };
        let (answer, ()) = tokio::join!(asked, cut);
        assert_eq!(answer, Err(CallError::Unknown));
        assert_eq!((a.lost.borrow().len(), a.unsent.take()), (1, vec![10, 11]));
        assert_eq!(a.push(to_b, 1, 1), Err(Unsent::Closed));
        a.links.room(to_b).await;
        let load = a.links.load();
        assert_eq!((load.counts.broken, load.counts.unsent, load.calls), (1, 2, 0));
    });
}

#[test]
fn a_call_that_waits_for_a_dial_which_fails_was_not_sent() {
    world(1, async |world| {
        let (a, lines, b) = harmed(&world).await;
        lines.refuses.set(true);
        let to_b = a.link(&b);
        a.push(to_b, 5, 5).unwrap();
        let start = a.links.now();
        let answer = a.links.call(to_b, is_online(1)).await;
        assert_eq!(answer, Err(CallError::NotSent(Unsent::Closed)));
        assert!(a.links.now() - start < Duration::from_millis(100), "it is told at once");
        assert_eq!((lines.dials.get(), a.unsent.take()), (3, vec![5]), "three attempts");
        assert_eq!(a.links.load().counts.dials_failed.of("unreachable"), 3);
    });
}

#[test]
fn where_only_one_side_can_dial_its_link_is_taken_although_both_want_one() {
    for (here, there) in [("a", "b"), ("b", "a")] {
        for seed in 0..10 {
            world(seed, async |world| {
                let (env, lines) = Lines::of(world.sim.env());
                let a = world.open_in(&env, Plan::new(here)).await;
                let b = world.open(Plan::new(there)).await;
                let dead_end = seed % 2 == 0;
                lines.black_hole.set(dead_end);
                lines.refuses.set(!dead_end);
                let start = a.links.now();
                while a.seen.borrow().is_empty() {
                    for (from, to) in [(&a, &b), (&b, &a)] {
                        if let Ok(link) = from.links.link(to.links.me()) {
                            let _lost = from.push(link, 1, 5);
                            from.links.flush();
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let took = a.links.now() - start;
                assert!(took < Duration::from_millis(1600), "{here} {seed}: {took:?}");
            });
        }
    }
}

#[test]
fn without_a_limit_a_call_waits_as_long_as_its_link_lives() {
    world(1, async |world| {
        let (env, lines) = Lines::of(world.sim.env());
        let zero = Duration::ZERO;
        let tuning = Tuning { call_max: zero, dial_max: zero, ..Tuning::default() };
        let a = world.open_in(&env, Plan { tuning, ..Plan::new("a") }).await;
        let b = world.open(Plan::new("b")).await; // it answers nothing
        let start = a.links.now();
        let later = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            lines.cut();
        };
        let asks = async {
            let answer = a.links.call(a.link(&b), is_online(1)).await;
            (answer, (a.links.now() - start).as_secs())
        };
        let (answer, ()) = tokio::join!(asks, later);
        assert_eq!(answer, (Err(CallError::Unknown), 40));
    });
}

#[test]
fn a_peer_that_never_answers_a_dial_is_given_up_in_time() {
    world(1, async |world| {
        let (a, lines, b) = harmed(&world).await;
        lines.black_hole.set(true);
        let start = a.links.now();
        let answer = a.links.call(a.link(&b), is_online(1)).await;
        assert_eq!(answer, Err(CallError::Unknown), "the caller's own time was over first");
        while a.lost.borrow().is_empty() {
            world.settle().await;
        }
        let took = (a.links.now() - start).as_secs();
        assert!((9..10).contains(&took), "three times three seconds: {took}");
        assert_eq!(a.links.load().counts.dials_failed.of("timed_out"), 3);
    });
}

#[test]
fn a_peer_that_accepts_and_says_nothing_is_given_up_in_time() {
    world(1, async |world| {
        let env = world.sim.env();
        let a = world.open(Plan::new("a")).await;
        let _mute = env.net.listen("b:1").await.unwrap(); // the system accepts, nobody reads
        world.records.borrow_mut().insert("b".into(), record("b", "b:1"));
        world.publish();
        let start = a.links.now();
        let link = a.links.link(&"b".into()).unwrap();
        a.push(link, 1, 5).unwrap();
        while a.lost.borrow().is_empty() {
            world.settle().await;
        }
        let took = (a.links.now() - start).as_secs();
        assert!((9..14).contains(&took), "{took}");
        assert_eq!(a.unsent.take(), [1]);
        assert_eq!(a.links.load().counts.dials_failed.of("silent"), 3);
        assert_eq!(a.links.load().conns, 0);
    });
}

#[test]
fn a_link_that_was_lost_is_dialled_again_at_its_next_use() {
    world(1, async |world| {
        let (a, lines, b) = harmed(&world).await;
        for n in 0..20 {
            let to_b = loop {
                match a.links.link(&"b".into()) {
                    Ok(link) => break link,
                    Err(_) => world.settle().await, // it owes a pause
                }
            };
            a.push(to_b, n, 5).unwrap();
            a.links.flush();
            world.settle().await;
            lines.cut();
            world.settle().await;
        }
        assert!(b.seen.borrow().iter().copied().eq(0..20));
        assert_eq!((a.lost.borrow().len(), b.lost.borrow().len()), (20, 20));
        assert_eq!(a.links.load().conns + b.links.load().conns, 0);
    });
}

#[test]
fn a_loss_that_only_one_side_has_seen_is_settled_by_its_next_dial() {
    // Either may be the one that decides.
    for (here, there) in [("a", "b"), ("b", "a")] {
        world(1, async |world| {
            let (a, lines, b) = harmed_as(&world, here, there).await;
            let old = a.link(&b);
            a.push(old, 1, 5).unwrap();
            a.links.flush();
            tokio::time::sleep(Duration::from_secs(6)).await;
            lines.cut_here();
            world.settle().await;
            assert_eq!((a.lost.borrow().len(), b.lost.borrow().len()), (1, 0));
            let new = a.link(&b);
            a.push(new, 2, 5).unwrap();
            a.links.flush();
            world.settle().await;
            assert_eq!(*b.seen.borrow(), [1, 2]);
            assert_eq!((b.lost.borrow().len(), b.links.load().links), (1, 1));
        });
    }
}

#[test]
fn the_side_that_was_dialled_may_dial_when_it_alone_has_seen_a_loss() {
    for (here, there) in [("a", "b"), ("b", "a")] {
        world(1, async |world| {
            let (env, lines) = Lines::of(world.sim.env());
            let a = world.open_in(&env, Plan::new(here)).await;
            let b = world.open(Plan::new(there)).await;
            let to_b = a.link(&b);
            a.push(to_b, 1, 5).unwrap();
            a.links.flush();
            tokio::time::sleep(Duration::from_secs(6)).await;
            // The lines are dead, a knows nothing, and b has given up on them.
            lines.block(true);
            let b_to_a = b.link(&a);
            let pair = b.links.pair(b_to_a).unwrap();
            b.links.drop_link(b_to_a);
            drop(pair);
            let b_to_a = b.link(&a);
            b.push(b_to_a, 2, 5).unwrap();
            b.links.flush();
            world.settle().await;
            assert_eq!(*a.seen.borrow(), [2], "{here} {there}");
            assert_eq!((a.lost.borrow().len(), a.links.load().links), (1, 1));
        });
    }
}

#[test]
fn a_process_that_comes_back_under_its_old_id_gets_links_of_its_own() {
    for (here, there) in [("a", "b"), ("b", "a")] {
        world(1, async |world| {
            let a = world.open(Plan::new(here)).await;
            let env = world.sim.env();
            let b = world.open_in(&env, Plan::new(there)).await;
            let old = a.link(&b);
            a.push(old, 1, 5).unwrap();
            a.links.flush();
            world.settle().await;
            // It dies without a word: its sockets stay as they were.
            env.spawn.freeze();
            let next = world.open(Plan::new(there)).await;
            let to_a = next.link(&a);
            next.push(to_a, 5, 5).unwrap();
            next.links.flush();
            world.settle().await;
            assert_eq!(*a.lost.borrow(), [(old, there.into())]);
            assert_eq!(*a.seen.borrow(), [5]);
            let new = a.link(&next);
            assert_ne!(new, old);
            a.push(new, 2, 5).unwrap();
            a.links.flush();
            world.settle().await;
            assert_eq!(*next.seen.borrow(), [2]);
            env.spawn.thaw();
        });
    }
}

#[test]
fn another_instance_at_the_address_is_not_talked_to() {
    world(1, async |world| {
        let (a, lines, b) = harmed(&world).await;
        let c = world.open(Plan::new("c")).await;
        lines.instead.replace(Some("c:1".to_owned()));
        let to_b = a.link(&b);
        a.push(to_b, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!((c.seen.borrow().len(), a.unsent.take()), (0, vec![1]));
        assert_eq!(a.links.load().counts.dials_failed.of("wrong_peer"), 3);
        lines.instead.replace(None); // its new record
        tokio::time::sleep(Duration::from_secs(1)).await;
        let to_b = a.link(&b);
        a.push(to_b, 2, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!(*b.seen.borrow(), [2]);
    });
}

#[test]
fn a_silent_peer_is_noticed_although_its_sockets_are_open() {
    world(1, async |world| {
        let (a, lines, b) = harmed(&world).await;
        let to_b = a.link(&b);
        a.push(to_b, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        lines.block(true);
        tokio::time::sleep(Duration::from_secs(23)).await;
        assert_eq!((a.lost.borrow().len(), b.lost.borrow().len()), (1, 1));
        assert_eq!(a.links.load().conns + b.links.load().conns, 0);
    });
}

#[test]
fn a_link_is_up_while_it_rests_or_is_open_and_not_while_it_is_dialled_or_silent() {
    world(1, async |world| {
        let (a, lines, b) = harmed(&world).await;
        let to_b = a.link(&b);
        assert!(!a.links.is_up(to_b), "it is dialled");
        world.settle().await;
        assert!(a.links.is_up(to_b));
        let kind = a.links.peer(to_b).unwrap().kind;
        assert_eq!((a.links.up(kind), a.links.up(Kind::Mesh)), (vec![to_b], vec![]));
        tokio::time::sleep(Duration::from_secs(320)).await;
        assert_eq!(a.links.load().conns, 0, "it rests");
        assert!(a.links.is_up(to_b), "sending dials it");
        a.push(to_b, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert!(a.links.is_up(to_b));
        lines.block(true);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(!a.links.is_up(to_b) && a.links.up(kind).is_empty(), "nothing comes");
        lines.block(false);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(a.links.is_up(to_b), "heard again");
        lines.cut();
        world.settle().await;
        assert!(a.lost.borrow().len() == 1 && !a.links.is_up(to_b), "the link is gone");
    });
}

#[test]
fn an_idle_link_parts_in_peace_and_keeps_its_id() {
    for (here, there) in [("a", "b"), ("b", "a")] {
        world(1, async |world| {
            let (a, _lines, b) = harmed_as(&world, here, there).await;
            let to_b = a.link(&b);
            a.push(to_b, 1, 5).unwrap();
            a.links.flush();
            world.settle().await;
            let to_a = b.link(&a);
            tokio::time::sleep(Duration::from_secs(290)).await;
            assert_eq!(a.links.load().conns, 2, "not before its time");
            b.push(to_a, 9, 5).unwrap(); // it is used by the other side
            b.links.flush();
            tokio::time::sleep(Duration::from_secs(290)).await;
            assert_eq!(a.links.load().conns, 2);
            tokio::time::sleep(Duration::from_secs(15)).await;
            assert_eq!((a.links.load().conns, b.links.load().conns), (0, 0));
            assert!(a.lost.borrow().is_empty() && b.lost.borrow().is_empty());
            // Whoever speaks first opens it again, as the same link.
            b.push(to_a, 2, 5).unwrap();
            b.links.flush();
            world.settle().await;
            a.push(to_b, 3, 5).unwrap();
            a.links.flush();
            world.settle().await;
            assert_eq!((a.seen.take(), b.seen.take()), (vec![9, 2], vec![1, 3]));
            assert_eq!((a.link(&b), b.link(&a)), (to_b, to_a));
            assert!(a.lost.borrow().is_empty() && b.lost.borrow().is_empty());
        });
    }
}

#[test]
fn what_is_sent_while_an_idle_link_parts_is_neither_lost_nor_doubled() {
    for seed in 0..40 {
        world(seed, async |world| {
            let idle = |id| {
                let tuning = Tuning { idle_max: Duration::from_secs(3), ..Tuning::default() };
                Plan { tuning, ..Plan::new(id) }
            };
            let (a, b) = (world.open(idle("a")).await, world.open(idle("b")).await);
            let (to_b, to_a) = (a.link(&b), b.link(&a));
            let dice = world.sim.dice().clone();
            for n in 0..40 {
                a.push(to_b, n, 5).unwrap();
                a.links.flush();
                if dice.below(2) == 0 {
                    yield_now().await;
                }
                b.push(to_a, n, 5).unwrap();
                b.links.flush();
                // Around the moment at which the sweep finds it idle.
                let pause = Duration::from_millis(2995 + dice.below(1010));
                tokio::time::sleep(pause).await;
                for _ in 0..dice.below(30) {
                    yield_now().await;
                }
            }
            world.settle().await;
            for end in [&a, &b] {
                assert!(end.seen.borrow().iter().copied().eq(0..40), "{:?}", end.seen);
                assert!(end.lost.borrow().is_empty() && end.unsent.borrow().is_empty());
            }
            assert!(a.links.load().counts.opened > 5, "it did part");
        });
    }
}

#[test]
fn what_was_sent_on_an_idle_link_is_read_before_what_follows_on_the_next() {
    world(1, async |world| {
        let (env, lines) = Lines::of(world.sim.env());
        let tuning = Tuning { idle_max: Duration::from_secs(3), ..Tuning::default() };
        let a = world.open_in(&env, Plan { tuning, ..Plan::new("a") }).await;
        let b = world.open(Plan::new("b")).await;
        let (to_b, to_a) = (a.link(&b), b.link(&a));
        a.push(to_b, 0, 5).unwrap();
        a.links.flush();
        world.settle().await;
        lines.deafen(true);
        b.push(to_a, 1, 5).unwrap();
        b.links.flush();
        while b.links.load().conns > 0 {
            world.settle().await;
        }
        b.push(to_a, 2, 5).unwrap();
        b.links.flush();
        world.settle().await;
        assert!(a.seen.borrow().is_empty(), "the old lines are slow");
        lines.deafen(false);
        world.settle().await;
        assert_eq!(*a.seen.borrow(), [1, 2]);
        assert!(a.lost.borrow().is_empty() && b.lost.borrow().is_empty());
    });
}

#[test]
fn an_idle_peer_that_has_left_the_registry_is_lost() {
    world(1, async |world| {
        let (a, _lines, b) = harmed(&world).await;
        let to_b = a.link(&b);
        a.push(to_b, 1, 5).unwrap();
        a.links.flush();
        tokio::time::sleep(Duration::from_secs(310)).await;
        a.links.set_peers(Kind::Node, &[record("b", "b:1")].into());
        assert!(a.lost.borrow().is_empty());
        a.links.set_peers(Kind::Node, &[].into());
        assert_eq!(*a.lost.borrow(), [(to_b, "b".into())]);
        assert_eq!(a.links.link(&"b".into()), Err(Unsent::Closed));
    });
}

#[test]
fn one_that_leaves_is_heard_to_the_end_on_both_lanes() {
    world(1, async |world| {
        let (a, _lines, b) = harmed(&world).await;
        let to_b = a.link(&b);
        a.push(to_b, 0, 5).unwrap();
        a.links.flush();
        world.settle().await;
        let to_a = b.link(&a);
        for n in 0..30 {
            b.push(to_a, n, 60_000).unwrap();
        }
        let order = Frame::Request { seq: 0, command: is_online(7) };
        b.links.send(to_a, order).unwrap();
        b.links.close();
        b.links.drained().await;
        world.settle().await;
        let seen = a.seen.take();
        assert!(seen.iter().copied().filter(|n| *n < 1_000_000).eq(0..30));
        assert!(seen.contains(&1_000_007));
        assert_eq!(*a.lost.borrow(), [(to_b, "b".into())]);
        assert_eq!(a.links.load().conns, 0);
    });
}

#[test]
fn closed_links_leave_no_connection_and_no_instance_behind() {
    world(1, async |world| {
        let (env, _lines) = Lines::of(world.sim.env());
        let a = world.open_in(&env, Plan::new("a")).await;
        let b = world.open(Plan::new("b")).await;
        let to_b = a.link(&b);
        a.push(to_b, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        a.links.close();
        a.links.drained().await;
        env.spawn.abort_all();
        env.spawn.idle().await;
        world.ends.borrow_mut().clear();
        let links = Rc::downgrade(&a.links);
        drop(a);
        assert_eq!(links.strong_count(), 0);
        assert_eq!(b.links.load().conns, 0);
    });
}
