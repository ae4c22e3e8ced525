//! What a link promises, over every carrier.

#[path = "tests/far.rs"]
mod far;
#[path = "tests/near.rs"]
mod near;

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::task::yield_now;
use yumen_net::testing::Sim;
use yumen_proto::{
    id::ConnId,
    link::{State, Target, TargetKind},
};

type Hook = dyn Fn(&End, LinkId, Frame<'_>);

/// An instance with nothing but its links: remembers what it was told.
struct End {
    links: Rc<Links>,
    seen: RefCell<Vec<i64>>,
    batches: Cell<u32>,
    lost: RefCell<Vec<(LinkId, InstanceId)>>,
    unsent: RefCell<Vec<i64>>,
    on_frame: RefCell<Option<Rc<Hook>>>,
    inside: Cell<bool>,
}

impl Receive for End {
    fn on_frame(&self, link: LinkId, frame: Frame<'_>) {
        assert!(self.links.peer(link).is_some(), "a frame of a link that is gone");
        self.seen.borrow_mut().push(number(&frame));
        let then = self.on_frame.borrow().clone();
        then.inspect(|then| then(self, link, frame));
    }
    fn on_batch_end(&self) {
        self.batches.set(self.batches.get() + 1);
        self.links.flush();
    }
    fn on_lost(&self, link: LinkId, peer: &InstanceId) {
        self.lost.borrow_mut().push((link, peer.clone()));
    }
    fn on_unsent(&self, peer: &InstanceId, frame: Frame<'_>) {
        assert!(self.lost.borrow().iter().any(|(_, lost)| lost == peer), "before the loss");
        self.unsent.borrow_mut().push(number(&frame));
    }
}

impl End {
    fn closed(env: &Env, id: &str, board: &Switchboard, neighbours: &Rc<Neighbours>) -> Rc<Self> {
        Self::of_kind(env, (Kind::Node, id), board, neighbours)
    }

    fn of_kind(
        env: &Env,
        (kind, id): (Kind, &str),
        board: &Switchboard,
        neighbours: &Rc<Neighbours>,
    ) -> Rc<Self> {
        let links = Links::open(env, &id.into(), kind, board, neighbours).unwrap();
        Rc::new(Self {
            links,
            seen: RefCell::default(),
            batches: Cell::new(0),
            lost: RefCell::default(),
            unsent: RefCell::default(),
            on_frame: RefCell::default(),
            inside: Cell::new(false),
        })
    }

    fn open(env: &Env, id: &str, board: &Switchboard, neighbours: &Rc<Neighbours>) -> Rc<Self> {
        let end = Self::closed(env, id, board, neighbours);
        end.links.start(Rc::clone(&end) as Rc<dyn Receive>);
        end
    }

    fn on_frame(&self, then: impl Fn(&Self, LinkId, Frame<'_>) + 'static) {
        self.on_frame.replace(Some(Rc::new(then)));
    }

    fn link(&self, to: &Self) -> LinkId {
        self.links.link(to.links.me()).unwrap()
    }

    fn push(&self, link: LinkId, n: i64, len: usize) -> Result<(), Unsent> {
        self.links.send(link, data(n, &vec![n as u8; len]))
    }
}

fn data(n: i64, packet: &[u8]) -> Frame<'_> {
    let command = Command::Deliver { conn: ConnId(n), user: None, packet };
    Frame::Request { seq: 0, command }
}

/// The number a frame carries; what is no data counts from 1,000,000.
fn number(frame: &Frame<'_>) -> i64 {
    match frame {
        Frame::Request { command: Command::Deliver { conn, packet, .. }, .. } => {
            assert!(packet.iter().all(|byte| *byte == conn.0 as u8), "harmed on its way");
            conn.0
        }
        Frame::Request { command: Command::IsOnline { target: Target::Conn(conn) }, .. } => {
            1_000_000 + conn.0
        }
        Frame::Request { .. } | Frame::Reply { .. } | Frame::Heartbeat => -1,
    }
}

/// Two instances of one process, on one thread or as if on two.
struct Rig {
    env: Env,
    board: Switchboard,
    rooms: [Rc<Neighbours>; 2],
    a: Rc<End>,
    b: Rc<End>,
}

impl Rig {
    async fn settle(&self) {
        for _ in 0..100 {
            yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await; // for whoever dials
    }
}

fn run_on(one_thread: bool, test: impl AsyncFnOnce(Rig)) {
    Sim::run(1, async |sim| {
        let env = sim.env();
        let board = Switchboard::default();
        let first = Rc::new(Neighbours::default());
        let second = if one_thread { Rc::clone(&first) } else { Rc::default() };
        let a = End::open(&env, "a", &board, &first);
        let b = End::open(&env, "b", &board, &second);
        let test = test(Rig { env, board, rooms: [first, second], a, b });
        // Virtual time: a test that waits for what never comes fails at once.
        tokio::time::timeout(Duration::from_secs(600), test).await.expect("it waits in vain");
    });
}

fn run(test: impl AsyncFn(Rig)) {
    run_on(true, &test);
    run_on(false, &test);
}

/// Also between two processes.
fn run_everywhere(test: impl AsyncFn(Rig)) {
    run(&test);
    far::run_far(&test);
}

#[test]
fn what_is_sent_arrives_in_order_and_a_link_is_duplex() {
    run_everywhere(async |rig| {
        let (to_b, to_a) = (rig.a.link(&rig.b), rig.b.link(&rig.a));
        for n in 0..3000 {
            rig.a.push(to_b, n, usize::try_from(n * 37 % 300).unwrap()).unwrap();
            rig.b.push(to_a, -n, 3).unwrap();
            if n % 17 == 0 {
                rig.a.links.flush();
                rig.b.links.flush();
            }
            if n % 64 == 0 {
                yield_now().await;
            }
        }
        rig.a.links.flush();
        rig.b.links.flush();
        rig.settle().await;
        assert!(rig.b.seen.borrow().iter().copied().eq(0..3000));
        assert!(rig.a.seen.borrow().iter().copied().eq((0..3000).map(|n| -n)));
        assert!(rig.a.batches.get() > 0 && rig.b.batches.get() > 0);
        let Peer { id, kind, .. } = rig.a.links.peer(to_b).unwrap();
        assert_eq!((id.as_str(), kind), ("b", Kind::Node));
    });
}

#[test]
fn dials_that_cross_end_in_one_pair() {
    run_everywhere(async |rig| {
        let (to_b, to_a) = (rig.a.link(&rig.b), rig.b.link(&rig.a));
        rig.settle().await;
        assert_eq!((rig.a.link(&rig.b), rig.b.link(&rig.a)), (to_b, to_a));
        assert_eq!((rig.a.links.peers.borrow().len(), rig.b.links.peers.borrow().len()), (1, 1));
    });
}

#[test]
fn a_call_is_answered_with_its_own_reply() {
    run_everywhere(async |rig| {
        rig.b.on_frame(|b, link, frame| {
            let Frame::Request { seq, command } = frame else { return };
            let Command::IsOnline { target: Target::Conn(conn) } = command else { return };
            let (route, reply) = (command.row().code, Reply::Online(conn.0 % 2 == 0));
            b.links.send(link, Frame::Reply { seq, route, code: 0, reply }).unwrap();
        });
        let to_b = rig.a.link(&rig.b);
        for n in 0..20 {
            let command = Command::IsOnline { target: Target::Conn(ConnId(n)) };
            let answer = rig.a.links.call(to_b, command).await;
            assert_eq!(answer, Ok((0, Reply::Online(n % 2 == 0))));
        }
        assert!(rig.a.links.calls.borrow().is_empty() && rig.a.seen.borrow().is_empty());
    });
}

#[test]
fn an_answer_that_comes_too_late_is_counted_and_disturbs_no_other_call() {
    run_everywhere(async |rig| {
        let to_b = rig.a.link(&rig.b);
        let asked = Rc::new(RefCell::new(Vec::new()));
        let known = Rc::clone(&asked);
        rig.b.on_frame(move |_, link, frame| {
            if let Frame::Request { seq, command } = frame {
                known.borrow_mut().push((link, seq, command.row().code));
            }
        });
        let start = rig.env.clock.now().mono;
        let answer = rig.a.links.call(to_b, Command::GetState).await;
        assert_eq!(answer, Err(CallError::Unknown));
        assert_eq!((rig.env.clock.now().mono - start).as_secs(), 3);
        let second = rig.a.links.call(to_b, Command::GetState);
        let answers = async {
            rig.settle().await;
            for (link, seq, route) in asked.take() {
                let reply = Reply::State(State::Work);
                let code = u16::try_from(seq).unwrap();
                rig.b.links.send(link, Frame::Reply { seq, route, code, reply }).unwrap();
            }
            rig.b.links.flush();
        };
        let (answer, ()) = tokio::join!(second, answers);
        assert_eq!(answer, Ok((2, Reply::State(State::Work))));
        assert_eq!(rig.a.links.late.get(), 1);
    });
}

#[test]
fn an_answer_from_another_peer_than_the_one_asked_is_not_taken() {
    run(async |rig| {
        let c = End::open(&rig.env, "c", &rig.board, &rig.rooms[1]);
        let (to_b, c_to_a) = (rig.a.link(&rig.b), c.link(&rig.a));
        let forged = async {
            let route = Command::GetState.row().code;
            let reply = Reply::State(State::Shut);
            c.links.send(c_to_a, Frame::Reply { seq: 1, route, code: 9, reply }).unwrap();
            c.links.flush();
        };
        let call = rig.a.links.call(to_b, Command::GetState);
        let (answer, ()) = tokio::join!(call, forged);
        assert_eq!((answer, rig.a.links.late.get()), (Err(CallError::Unknown), 1));
    });
}

#[test]
fn ten_thousand_dropped_calls_leave_nothing_behind() {
    run_everywhere(async |rig| {
        let to_b = rig.a.link(&rig.b);
        for _ in 0..10_000 {
            let command = Command::Stat { kind: TargetKind::Conn };
            let call = rig.a.links.call(to_b, command);
            tokio::select! {
                biased;
                _ = call => panic!("nobody answers"),
                () = yield_now() => {}
            }
        }
        assert!(rig.a.links.calls.borrow().is_empty());
        rig.settle().await;
        assert_eq!(rig.b.seen.borrow().len(), 10_000);
    });
}

#[test]
fn a_peer_that_leaves_ends_its_links_and_the_calls_that_wait_for_it() {
    run(async |rig| {
        let to_b = rig.a.link(&rig.b);
        rig.a.push(to_b, 1, 10).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        let b_to_a = rig.b.link(&rig.a);
        rig.b.push(b_to_a, 7, 10).unwrap(); // sent before the close, not flushed: it arrives
        let leave = async {
            yield_now().await;
            rig.b.links.close();
        };
        let start = rig.env.clock.now().mono;
        let (answer, ()) = tokio::join!(rig.a.links.call(to_b, Command::GetState), leave);
        assert_eq!(answer, Err(CallError::Unknown));
        rig.settle().await;
        assert!((rig.env.clock.now().mono - start).as_secs() < 3, "it was not waited for");
        assert_eq!(*rig.a.seen.borrow(), [7]);
        assert_eq!(*rig.a.lost.borrow(), [(to_b, "b".into())]);
        assert_eq!(*rig.b.lost.borrow(), [(b_to_a, "a".into())]);
        assert_eq!((rig.a.links.peer(to_b), rig.a.push(to_b, 2, 1)), (None, Err(Unsent::Closed)));
        assert_eq!(rig.a.links.link(&"b".into()), Err(Unsent::Closed));
        assert_eq!(rig.b.links.link(&"a".into()), Err(Unsent::Closed), "who has left stays away");
        rig.a.links.room(to_b).await;
    });
}

#[test]
fn an_instance_that_comes_back_under_its_old_id_gets_links_of_its_own() {
    run(async |rig| {
        let old = rig.a.link(&rig.b);
        rig.a.push(old, 1, 10).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        // So much that its end is still being read when its next life dials.
        let b_to_a = rig.b.link(&rig.a);
        (0..40).for_each(|n| rig.b.push(b_to_a, 100 + n, 64 * 1024).unwrap());
        rig.b.links.close();
        // Before anybody had the time to notice.
        let b = End::open(&rig.env, "b", &rig.board, &rig.rooms[1]);
        let b_to_a = b.link(&rig.a);
        b.push(b_to_a, 5, 10).unwrap();
        b.links.flush();
        rig.settle().await;
        let new = rig.a.link(&b);
        assert_ne!(new, old, "a link id is never used again");
        assert_eq!(*rig.a.lost.borrow(), [(old, "b".into())]);
        rig.a.push(new, 2, 10).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        let seen = rig.a.seen.take();
        assert_eq!(b.seen.take(), [2]);
        assert!(seen.iter().filter(|n| **n != 5).copied().eq(100..140) && seen.len() == 41);
        assert_eq!(rig.a.links.peers.borrow().len(), 1);
    });
}

#[test]
fn one_that_leaves_from_inside_a_delivery_is_heard_to_the_end() {
    run_on(true, async |rig| {
        rig.b.on_frame(|b, link, frame| b.push(link, number(&frame), 0).unwrap_or_default());
        rig.a.on_frame(|a, link, frame| {
            if number(&frame) == 1 {
                a.push(link, 2, 5).unwrap(); // held while 1 is delivered
                a.links.close();
            }
        });
        let to_b = rig.a.link(&rig.b);
        rig.a.push(to_b, 1, 5).unwrap();
        assert_eq!(rig.b.seen.take(), [1, 2]);
        assert_eq!((rig.a.lost.borrow().len(), rig.b.lost.borrow().len()), (1, 1));
        assert!(rig.b.links.peers.borrow().is_empty());
    });
}

#[test]
fn a_knock_at_the_door_of_one_that_leaves_is_answered_with_the_end() {
    run_on(false, async |rig| {
        let to_b = rig.a.link(&rig.b);
        rig.b.links.close(); // it never looked
        rig.settle().await;
        assert_eq!(*rig.a.lost.borrow(), [(to_b, "b".into())]);
    });
}

#[test]
fn what_is_sent_to_one_that_does_not_receive_yet_waits_at_its_door() {
    run(async |rig| {
        let late = End::closed(&rig.env, "late", &rig.board, &rig.rooms[1]);
        let link = rig.a.link(&late);
        rig.a.push(link, 1, 10).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        late.links.start(Rc::clone(&late) as Rc<dyn Receive>);
        late.push(late.link(&rig.a), 2, 10).unwrap();
        late.links.flush();
        rig.settle().await;
        assert_eq!((late.seen.take(), rig.a.seen.take()), (vec![1], vec![2]));
        assert_eq!((rig.a.link(&late), rig.a.links.peers.borrow().len()), (link, 1));
    });
}

#[test]
fn an_instance_may_send_to_itself() {
    run_everywhere(async |rig| {
        let itself = rig.a.link(&rig.a);
        rig.a.push(itself, 4, 10).unwrap();
        rig.a.links.flush();
        rig.settle().await;
        assert_eq!(rig.a.seen.take(), [4]);
        rig.a.links.close();
        assert_eq!(*rig.a.lost.borrow(), [(itself, "a".into())]);
    });
}

#[test]
fn an_id_is_taken_until_its_instance_leaves_or_is_dropped() {
    run(async |rig| {
        let open =
            |id: &str| Links::open(&rig.env, &id.into(), Kind::Gate, &rig.board, &rig.rooms[0]);
        assert_eq!(open("b").err(), Some(Unsent::Closed));
        rig.b.links.close();
        drop(open("b").unwrap());
        drop(open("b").unwrap());
    });
}

#[test]
fn links_that_were_closed_are_freed_with_their_receiver() {
    run(async |rig| {
        let to_b = rig.a.link(&rig.b);
        rig.a.push(to_b, 1, 10).unwrap();
        rig.a.links.close();
        rig.b.links.close();
        rig.settle().await;
        assert!(rig.env.spawn.is_empty(), "no task is left");
        let (a, b) = (Rc::downgrade(&rig.a.links), Rc::downgrade(&rig.b.links));
        drop(rig);
        assert_eq!((a.strong_count(), b.strong_count()), (0, 0));
    });
}

#[test]
fn what_is_sent_from_inside_a_delivery_is_delivered_right_after_it() {
    run_on(true, async |rig| {
        // B sends back at once; A answers the first ones with two more each, from inside that call.
        rig.b.on_frame(|b, link, frame| {
            assert!(!b.inside.replace(true), "a delivery is never nested");
            b.push(link, number(&frame), 1).unwrap();
            b.inside.set(false);
        });
        rig.a.on_frame(|a, link, frame| {
            let n = number(&frame);
            assert!(!a.inside.replace(true), "a delivery is never nested");
            if n < 10 {
                a.push(link, n * 10 + 10, 1).unwrap();
                a.push(link, n * 10 + 11, 1).unwrap();
            }
            a.inside.set(false);
        });
        let to_b = rig.a.link(&rig.b);
        for n in [1, 2] {
            rig.a.push(to_b, n, 1).unwrap();
        }
        assert_eq!(rig.b.seen.take(), [1, 20, 21, 2, 30, 31]);
    });
}

#[test]
fn the_end_of_a_batch_asked_for_from_inside_a_delivery_is_told_after_it() {
    run_on(true, async |rig| {
        rig.b.on_frame(|b, link, frame| b.push(link, number(&frame), 1).unwrap());
        rig.a.on_frame(|a, link, frame| {
            if number(&frame) == 1 {
                a.push(link, 2, 1).unwrap();
                a.links.flush(); // as a call does
            }
        });
        let to_b = rig.a.link(&rig.b);
        rig.a.push(to_b, 1, 1).unwrap();
        assert_eq!((rig.b.seen.take(), rig.b.batches.get()), (vec![1, 2], 1));
    });
}

#[test]
fn what_is_held_inside_a_delivery_is_bounded() {
    run_on(true, async |rig| {
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        rig.b.on_frame(|b, link, frame| b.push(link, number(&frame), 0).unwrap_or_default());
        rig.a.on_frame(move |a, link, frame| {
            if number(&frame) == 1 {
                while a.push(link, 0, 64 * 1024) != Err(Unsent::Full) {
                    count.set(count.get() + 1);
                }
            }
        });
        let to_b = rig.a.link(&rig.b);
        rig.a.push(to_b, 1, 1).unwrap();
        assert!((60..64).contains(&sent.get()), "{} of 64 KiB", sent.get());
        rig.a.links.room(to_b).await;
        rig.a.push(to_b, 2, 1).unwrap();
        assert_eq!(rig.b.seen.borrow().last(), Some(&2));
    });
}

#[test]
fn a_panic_in_the_receiver_leaves_the_lane_usable_and_in_order() {
    run_on(true, async |rig| {
        rig.b.on_frame(|b, link, frame| {
            let n = number(&frame);
            b.push(link, n, 0).unwrap();
            assert!(n != 1 && n != 3, "expected by this test");
        });
        rig.a.on_frame(|a, link, frame| {
            if number(&frame) == 1 {
                (2..6).for_each(|n| a.push(link, n, 1).unwrap()); // held while 1 is delivered
            }
        });
        let to_b = rig.a.link(&rig.b);
        for n in [1, 6, 7] {
            let _panics = catch_unwind(AssertUnwindSafe(|| rig.a.push(to_b, n, 1)));
        }
        assert_eq!(rig.b.seen.take(), [1, 2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn links_may_be_closed_from_inside_a_delivery() {
    run_everywhere(async |rig| {
        rig.b.on_frame(|b, _, frame| {
            if number(&frame) == 3 {
                b.links.close();
            }
        });
        let to_b = rig.a.link(&rig.b);
        for n in 0..10 {
            let _closed = rig.a.push(to_b, n, 10);
        }
        rig.a.links.flush();
        rig.settle().await;
        assert_eq!(*rig.b.seen.borrow(), [0, 1, 2, 3]);
        assert_eq!((rig.a.lost.borrow().len(), rig.b.lost.borrow().len()), (1, 1));
        assert_eq!(rig.a.push(to_b, 11, 1), Err(Unsent::Closed));
    });
}
