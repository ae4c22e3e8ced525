//! What only a lane with a queue promises: its bound, control first, and two real threads.

use super::*;
use std::sync::{Arc, Barrier, atomic::AtomicUsize};

#[test]
fn a_lane_is_bounded_in_bytes_and_says_when_there_is_room_again() {
    run_on(false, async |rig| {
        let to_b = rig.a.link(&rig.b);
        let (mut full, mut room) = (0, 0);
        for n in 0..1000 {
            while let Err(why) = rig.a.push(to_b, n, 64 * 1024) {
                assert_eq!(why, Unsent::Full);
                full += 1;
                let behind = usize::try_from(n).unwrap() - rig.b.seen.borrow().len();
                assert!((62..66).contains(&behind) || room > 0, "{behind} of 64 KiB");
                rig.a.links.room(to_b).await; // flushes, or it would wait for ever
                room += 1;
            }
        }
        rig.a.links.flush();
        rig.settle().await;
        assert!(rig.b.seen.borrow().iter().copied().eq(0..1000));
        assert!(full > 10 && full == room, "{full}, {room}");
    });
}

#[test]
fn the_board_makes_one_pair_of_lanes_for_two_instances() {
    run_on(false, async |rig| {
        let (a, b) = (InstanceId::from("a"), InstanceId::from("b"));
        let first = rig.board.dial((&a, Kind::Node), &b);
        assert!(first.is_some());
        assert!(rig.board.dial((&b, Kind::Node), &a).is_none(), "its ends lie at b's door");
        rig.board.part(&b, &a);
        assert!(rig.board.dial((&b, Kind::Node), &a).is_some());
        assert!(rig.board.dial((&a, Kind::Node), &"nobody".into()).is_none());
    });
}

#[test]
fn a_knock_is_answered_also_by_one_whose_tasks_have_ended() {
    run_on(false, async |rig| {
        let env = Env { spawn: yumen_net::spawn::Spawn::default(), ..rig.env.clone() };
        let c = End::open(&env, "c", &rig.board, &Rc::default());
        let to_c = rig.a.link(&c);
        c.links.close();
        env.spawn.abort_all();
        rig.settle().await;
        assert_eq!(*rig.a.lost.borrow(), [(to_c, "c".into())]);
    });
}

#[test]
fn a_frame_larger_than_the_bound_is_sent_when_nothing_else_is_on_its_way() {
    run_on(false, async |rig| {
        let to_b = rig.a.link(&rig.b);
        rig.a.push(to_b, 1, LANE_MAX + 10).unwrap();
        assert_eq!(rig.a.push(to_b, 2, 1), Err(Unsent::Full));
        rig.a.links.room(to_b).await;
        rig.a.push(to_b, 2, 1).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        assert_eq!(rig.b.seen.take(), [1, 2]);
    });
}

#[test]
fn a_full_lane_still_takes_control_frames() {
    run_on(false, async |rig| {
        let to_b = rig.a.link(&rig.b);
        while rig.a.push(to_b, 1, 64 * 1024).is_ok() {}
        while rig.a.push(to_b, 1, 0).is_ok() {}
        let command = Command::IsOnline { target: Target::Conn(ConnId(1)) };
        rig.a.links.send(to_b, Frame::Request { seq: 0, command }).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        assert_eq!(rig.b.seen.borrow().first(), Some(&1_000_001), "and they are served first");
    });
}

#[test]
fn control_is_served_between_the_slices_of_a_long_batch() {
    run_on(false, async |rig| {
        let to_b = rig.a.link(&rig.b);
        // The receiver asks for more control while it is in the middle of the data.
        (0..200).for_each(|n| rig.a.push(to_b, n, 10_000).unwrap());
        rig.a.links.flush();
        while rig.b.seen.borrow().is_empty() {
            yield_now().await;
        }
        let before = rig.b.seen.borrow().len();
        assert!(before < 20, "a slice is about 64 KiB");
        let command = Command::IsOnline { target: Target::Conn(ConnId(5)) };
        rig.a.links.send(to_b, Frame::Request { seq: 0, command }).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        let at = rig.b.seen.borrow().iter().position(|n| *n == 1_000_005).unwrap();
        assert!(at < before + 20, "{before}, {at}");
        let data =
            rig.b.seen.borrow().iter().copied().filter(|n| *n < 1_000_000).collect::<Vec<_>>();
        assert!(data.into_iter().eq(0..200), "the data keeps its order");
    });
}

#[test]
fn control_does_not_wait_for_handlers_that_take_their_time() {
    run_on(false, async |rig| {
        let clock = rig.env.clock.clone();
        rig.b.on_frame(move |_, _, _| clock.skip(Duration::from_micros(100)));
        let to_b = rig.a.link(&rig.b);
        (0..1000).for_each(|n| rig.a.push(to_b, n, 10).unwrap());
        rig.a.links.flush();
        while rig.b.seen.borrow().is_empty() {
            yield_now().await;
        }
        let served = rig.b.seen.borrow().len();
        assert!(served < 20, "{served} before others had a turn");
        rig.settle().await;
        assert!(rig.b.seen.borrow().iter().copied().eq(0..1000));
    });
}

#[test]
fn a_waiter_for_room_learns_that_either_side_has_left() {
    for we_leave in [true, false] {
        run_on(false, async |rig| {
            let to_b = rig.a.link(&rig.b);
            rig.settle().await;
            rig.env.spawn.freeze(); // nothing is received any more
            while rig.a.push(to_b, 1, 64 * 1024).is_ok() {}
            let leave = async {
                yield_now().await;
                if we_leave { rig.a.links.close() } else { rig.b.links.close() }
            };
            if we_leave {
                tokio::join!(rig.a.links.room(to_b), leave);
            } else {
                rig.env.spawn.thaw();
                tokio::join!(rig.a.links.room(to_b), leave);
                rig.settle().await;
            }
            assert_eq!(rig.a.push(to_b, 1, 1), Err(Unsent::Closed));
        });
    }
}

#[test]
fn a_panic_in_the_receiver_ends_its_lane_and_no_sender_waits_for_ever() {
    run_on(false, async |rig| {
        rig.b.on_frame(|_, _, _| panic!("expected by this test"));
        let to_b = rig.a.link(&rig.b);
        while rig.a.push(to_b, 1, 64 * 1024).is_ok() {}
        rig.a.links.room(to_b).await;
        rig.env.spawn.crashed().await;
        assert_eq!(rig.a.push(to_b, 1, 1), Err(Unsent::Closed));
        rig.b.links.close(); // as whoever runs the instance does now
        rig.settle().await;
        assert_eq!(*rig.a.lost.borrow(), [(to_b, "b".into())]);
    });
}

#[test]
fn the_memory_of_a_burst_is_given_up_when_the_lane_is_idle() {
    run_on(false, async |rig| {
        let to_b = rig.a.link(&rig.b);
        for n in 0..300 {
            while rig.a.push(to_b, n, 64 * 1024).is_err() {
                rig.a.links.room(to_b).await;
            }
        }
        rig.a.links.flush();
        rig.settle().await;
        let peers = rig.a.links.peers.borrow();
        let Carrier::Near(lane) = peers[&to_b].carrier.as_ref() else { panic!("not near") };
        assert!(lane.held() <= 2 * 1024 * 1024, "{}", lane.held());
    });
}

/// One thread with one instance, that echoes or counts.
fn on_a_thread(
    board: &Switchboard,
    id: &'static str,
    test: impl AsyncFnOnce(Rc<End>) + Send + 'static,
) -> std::thread::JoinHandle<()> {
    let board = board.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let env = Env { net: Rc::new(yumen_net::tcp::Tcp), ..Env::real() };
            let end = End::open(&env, id, &board, &Rc::default());
            test(Rc::clone(&end)).await;
            end.links.close();
            env.spawn.abort_all();
            env.spawn.idle().await;
        });
    })
}

#[test]
fn two_threads_keep_order_there_and_back_within_the_bound() {
    const FRAMES: i64 = 20_000;
    let (board, done) = (Switchboard::default(), Arc::new(tokio::sync::Notify::new()));
    let (opened, stop) = (Arc::new(Barrier::new(2)), Arc::clone(&done));
    let ready = Arc::clone(&opened);
    let echo = on_a_thread(&board, "echo", async move |end| {
        end.on_frame(|end, link, frame| end.push(link, number(&frame), 100).unwrap());
        ready.wait();
        stop.notified().await;
        assert!(end.seen.borrow().iter().copied().eq(0..FRAMES));
    });
    let client = on_a_thread(&board, "client", async move |end| {
        opened.wait();
        let link = end.links.link(&"echo".into()).unwrap();
        for n in 0..FRAMES {
            // At most 1,000 unanswered, so that the echo finds room.
            while n - i64::try_from(end.seen.borrow().len()).unwrap() > 1000 {
                end.links.flush();
                yield_now().await;
            }
            while end.push(link, n, usize::try_from(n * 37 % 3000).unwrap()).is_err() {
                end.links.room(link).await;
            }
            if n % 8 == 0 {
                end.links.flush();
            }
        }
        end.links.flush();
        while end.seen.borrow().len() < usize::try_from(FRAMES).unwrap() {
            yield_now().await;
        }
        assert!(end.seen.borrow().iter().copied().eq(0..FRAMES));
        done.notify_one();
    });
    client.join().unwrap();
    echo.join().unwrap();
}

#[test]
fn threads_that_dial_each_other_at_once_end_with_one_pair_and_lose_nothing() {
    for round in 0..50 {
        let (board, opened) = (Switchboard::default(), Arc::new(Barrier::new(2)));
        let finished = Arc::new(AtomicUsize::new(0));
        let threads = [("a", "b"), ("b", "a")].map(|(me, peer)| {
            let (opened, finished) = (Arc::clone(&opened), Arc::clone(&finished));
            on_a_thread(&board, me, async move |end| {
                opened.wait();
                let link = end.links.link(&peer.into()).unwrap();
                (0..100).for_each(|n| end.push(link, n, 10).unwrap());
                end.links.flush();
                while end.seen.borrow().len() < 100 {
                    yield_now().await;
                }
                assert!(end.seen.borrow().iter().copied().eq(0..100), "round {round}");
                assert_eq!(end.links.peers.borrow().len(), 1);
                finished.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                while finished.load(std::sync::atomic::Ordering::SeqCst) < 2 {
                    yield_now().await;
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
