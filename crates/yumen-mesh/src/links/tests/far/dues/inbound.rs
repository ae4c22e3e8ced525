//! What due's instances dial: whom we serve, what we answer and when, and who takes whose place.

use super::*;
use yumen_proto::link::HEARTBEAT;

/// A connection that a due process has dialled to `to`, introduced.
async fn dialled(world: &World, to: &str, (kind, id): (Kind, &str)) -> Raw {
    let socket = world.sim.env().net.dial(&format!("{to}:1")).await.unwrap();
    let mut raw = Raw::new(socket);
    ask(&mut raw, 1, Command::Handshake { kind, id }).await;
    while raw.seen.len() < 16 {
        assert!(raw.more().await, "it is refused");
    }
    assert_eq!(raw.seen, [0, 0, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    raw.seen.clear();
    raw
}

async fn ask(raw: &mut Raw, seq: u64, command: Command<'_>) {
    let mut bytes = Vec::new();
    Frame::Request { seq, command }.encode_as(Flow::Requests, &mut bytes).unwrap();
    raw.send(&bytes).await.unwrap();
}

/// The answers on a connection: their sequence numbers.
async fn told(raw: &mut Raw) -> Vec<(u64, u16, Reply)> {
    let mut told = Vec::new();
    let _nothing_more = tokio::time::timeout(Duration::from_millis(200), raw.end()).await;
    let mut rest = raw.seen.as_slice();
    while let Some(frame) = Frame::decode_as(Flow::Replies, &mut rest, 1 << 20).unwrap() {
        if let Frame::Reply { seq, code, reply, .. } = frame {
            told.push((seq, code, reply));
        }
    }
    assert!(rest.is_empty());
    raw.seen.clear();
    told
}

#[test]
fn answers_go_back_on_the_connection_of_their_question() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        a.on_frame(answer);
        let mut raws = Vec::new();
        for _ in 0..9 {
            raws.push(dialled(&world, "a", (Kind::Gate, "d")).await);
        }
        for (n, raw) in raws.iter_mut().enumerate() {
            ask(raw, 77, is_online(n as i64)).await; // the same number on each
            ask(raw, 0, is_online(2)).await; // no answer is wanted
            ask(raw, 78, is_online(2)).await;
        }
        world.settle().await;
        for (n, raw) in raws.iter_mut().enumerate() {
            let expected = [(77, 0, Reply::Online(n % 2 == 0)), (78, 0, Reply::Online(true))];
            assert_eq!(told(raw).await, expected);
        }
        let load = a.links.load();
        assert_eq!((load.links, load.far, load.conns), (1, 1, 9), "one link");
        raws.pop();
        world.settle().await;
        assert!(a.lost.borrow().is_empty());
        raws.clear();
        world.settle().await;
        assert_eq!(a.lost.borrow()[0].1, "d".into());
    });
}

#[test]
fn an_answer_that_comes_too_late_is_never_given() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        let waits = Rc::new(RefCell::new(Vec::new()));
        let asked = Rc::clone(&waits);
        a.on_frame(move |_, link, frame| {
            let Frame::Request { seq, command } = frame else { panic!("{frame:?}") };
            asked.borrow_mut().push((link, seq, command.code()));
        });
        let mut raw = dialled(&world, "a", (Kind::Gate, "d")).await;
        ask(&mut raw, 5, is_online(1)).await;
        tokio::time::sleep(Duration::from_millis(2000)).await;
        ask(&mut raw, 6, is_online(2)).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        for (link, seq, route) in waits.take() {
            let reply = Reply::Online(true);
            a.links.send(link, Frame::Reply { seq, route, code: 0, reply }).unwrap();
        }
        a.links.flush();
        assert_eq!(told(&mut raw).await, [(6, 0, Reply::Online(true))]);
        assert_eq!(a.links.load().counts.answered_late, 1);
    });
}

#[test]
fn codes_that_due_does_not_know_become_the_one_for_everything_else() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        a.on_frame(|a, link, frame| {
            let Frame::Request { seq, command: Command::Bind { conn, .. } } = frame else { return };
            let code = conn.0 as u16;
            let reply = Frame::Reply { seq, route: 2, code, reply: Reply::Done };
            a.links.send(link, reply).unwrap();
        });
        let mut raw = dialled(&world, "a", (Kind::Node, "d")).await;
        for code in 0..5 {
            let bind = Command::Bind { conn: ConnId(code), user: UserId(1) };
            ask(&mut raw, 10 + code as u64, bind).await;
        }
        let codes: Vec<_> = told(&mut raw).await.iter().map(|(_, code, _)| *code).collect();
        assert_eq!(codes, [0, 1, 2, 2, 2]);
    });
}

#[test]
fn a_node_tells_its_state_even_to_who_wants_no_answer() {
    for (kind, expected) in [(Kind::Node, 2), (Kind::Gate, 0)] {
        world(1, async |world| {
            let mut plan = Plan::new("a");
            plan.settings.kind = kind;
            let a = world.open(plan).await;
            a.on_frame(|a, link, frame| {
                let Frame::Request { seq, command } = frame else { return };
                if seq == 0 {
                    return;
                }
                let asks = command == Command::GetState;
                let reply = if asks { Reply::State(State::Work) } else { Reply::Done };
                let reply = Frame::Reply { seq, route: command.code(), code: 0, reply };
                a.links.send(link, reply).unwrap();
            });
            let mut raw = dialled(&world, "a", (Kind::Gate, "d")).await;
            ask(&mut raw, 0, Command::GetState).await;
            ask(&mut raw, 0, Command::SetState { state: State::Busy }).await;
            let told = told(&mut raw).await;
            assert_eq!(told.len(), expected);
            assert!(told.iter().all(|(seq, ..)| *seq == 0));
        });
    }
}

#[test]
fn whoever_proves_nothing_cannot_pass_for_one_of_ours() {
    world(1, async |world| {
        let (a, b) = (world.open(Plan::new("a")).await, world.open(Plan::new("b")).await);
        b.on_frame(answer);
        let to_b = a.link(&b);
        world.open(Plan::new("c")).await;
        for id in ["a", "b", "c", ""] {
            let mut raw = dialled(&world, "a", (Kind::Node, id)).await;
            ask(&mut raw, 2, is_online(1)).await;
            raw.end().await;
            assert!(raw.seen.is_empty(), "{id}: {:?}", raw.seen);
        }
        assert_eq!(a.links.call(to_b, is_online(2)).await, Ok((0, Reply::Online(true))));
        assert_eq!(a.links.load().counts.refused.of("id_taken"), 4);
        assert!(a.seen.borrow().is_empty());
    });
}

#[test]
fn w10_due_peers_need_insecure_where_there_is_a_secret_and_an_allowed_address() {
    let secret = &["a secret of the cluster"][..];
    for (insecure, allow, served) in [
        (false, None, false),
        (true, None, true),
        (true, Some("10.0.0.0/8"), false),
        (true, Some("0.0.0.0/0"), true),
    ] {
        world(1, async |world| {
            let mut plan = Plan::new("a").secret(secret);
            plan.settings.insecure = insecure;
            plan.allow =
                allow.iter().map(|block| block.parse::<crate::NetBlock>().unwrap()).collect();
            let a = world.open(plan).await;
            let due = Process::listen(&world, "d").await;
            a.on_frame(answer);
            let socket = world.sim.env().net.dial("a:1").await.unwrap();
            let mut raw = Raw::new(socket);
            let _refused = ask(&mut raw, 1, Command::Handshake { kind: Kind::Node, id: "x" }).await;
            let mut question = Vec::new();
            let frame = Frame::Request { seq: 2, command: is_online(2) };
            frame.encode_as(Flow::Requests, &mut question).unwrap();
            let _refused = raw.send(&question).await;
            let answers = told(&mut raw).await;
            assert_eq!(answers.iter().any(|(seq, ..)| *seq == 2), served, "{insecure} {allow:?}");
            assert_eq!(a.seen.borrow().len(), usize::from(served));
            let refused = a.links.load().counts.refused;
            let why = if insecure { "not_allowed" } else { "stranger" };
            assert_eq!(refused.of(why), u64::from(!served), "{refused:?}");
            // And what is not trusted is not dialled.
            assert_eq!(a.links.link(&"d".into()).is_ok(), insecure);
            world.settle().await;
            assert_eq!(due.conns.get(), if insecure { 5 } else { 0 });
        });
    }
}

#[test]
fn one_that_only_says_it_is_there_is_not_shown_out() {
    world(1, async |world| {
        let mut plan = Plan::new("a");
        plan.tuning.half_open_max = 2;
        let a = world.open(plan).await;
        let mut raws = Vec::new();
        for _ in 0..5 {
            let mut raw = dialled(&world, "a", (Kind::Gate, "d")).await;
            raw.send(&HEARTBEAT).await.unwrap();
            world.settle().await;
            raws.push(raw);
        }
        assert_eq!(a.links.load().conns, 5);
        assert_eq!(a.links.load().counts.refused.of("half_open"), 0);
    });
}

#[test]
fn one_of_ours_takes_the_place_of_one_of_dues_under_its_id() {
    for heard_first in [true, false] {
        world(1, async |world| {
            let (a, due, link) = both(&world).await;
            let mut asks = dialled(&world, "a", (Kind::Node, "d")).await;
            ask(&mut asks, 0, is_online(1)).await;
            world.settle().await;
            assert_eq!(a.links.load().conns, 6);
            due.env.spawn.abort_all();
            drop(asks);
            yield_now().await;
            // Its record reaches nobody but itself.
            let ends = world.ends.take();
            let d = world.open(Plan::new("d")).await;
            world.ends.borrow_mut().extend(ends);
            d.on_frame(answer);
            a.on_frame(answer);
            if heard_first {
                world.publish();
                let to_d = a.link(&d);
                assert_eq!(a.links.call(to_d, is_online(2)).await, Ok((0, Reply::Online(true))));
            } else {
                let to_a = d.link(&a);
                assert_eq!(d.links.call(to_a, is_online(2)).await, Ok((0, Reply::Online(true))));
                assert_ne!(a.link(&d), link);
            }
            assert_eq!(a.lost.borrow().iter().filter(|(lost, _)| *lost == link).count(), 1);
            let to_d = a.link(&d);
            assert_eq!(a.links.call(to_d, is_online(2)).await, Ok((0, Reply::Online(true))));
            assert!(a.links.peer(to_d).unwrap().ours);
            world.settle().await;
            assert_eq!((a.links.load().links, a.links.load().conns), (1, 2));
        });
    }
}

#[test]
fn closing_sends_what_is_queued_to_due() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        world.settle().await;
        (1..=9).for_each(|conn| send(&a, link, deliver(conn, 0)).unwrap());
        a.links.close();
        a.links.drained().await;
        world.settle().await;
        assert!((1..=9).all(|conn| due.conns_of((15, conn)).len() == 1));
        assert!(a.unsent.borrow().is_empty());
    });
}
