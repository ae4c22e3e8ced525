//! What sessions, clients and handles send and ask, without a link.

use crate::node::{
    Audience, Clients, Msg, Raw, Router, Session, SessionRemote, State, To, on,
    testing::{Bench, DUE_GATE, GATE, NODE, Paper},
};
use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
};
use yumen_core::{
    Code, Outcome,
    locator::{Locator, Place, Role},
};
use yumen_proto::{id::UserId, link::Reply};

/// What the handler under test leaves behind.
#[derive(Default)]
struct Notes {
    session: RefCell<Option<Session>>,
    clients: RefCell<Option<Clients>>,
}

async fn leave(State(notes): State<Notes>, session: Session, clients: Clients) {
    notes.session.replace(Some(session));
    notes.clients.replace(Some(clients));
}

fn run(test: impl AsyncFnOnce(&Bench<Notes>, Session, Clients)) {
    let router = Router::new().route(1, on(leave));
    Bench::run(
        router,
        Notes::default,
        |_| (),
        async |b| {
            b.send(1, 5, "");
            b.log();
            let session = b.front.state().session.take().unwrap();
            let clients = b.front.state().clients.take().unwrap();
            test(&b, session, clients).await;
        },
    );
}

fn log(paper: &Paper) -> Vec<String> {
    paper.lines.take()
}

const SEVEN: UserId = UserId(7);

#[test]
fn a_session_speaks_to_its_own_connection() {
    run(async |b, session, _| {
        assert_eq!(session.gate().unwrap().as_str(), "gate-1");
        session.push(9, &Msg("hi")).unwrap();
        session.push_and_close(9, &Raw("bye".into())).unwrap();
        session.close().unwrap();
        session.kick().unwrap();
        let sent = log(&b.paper);
        assert_eq!(sent[..2], [r#"push 5 9/0 "hi""#, "push and close 5 9/0 bye"]);
        assert!(sent[2].contains("Conn(ConnId(5)), force: false"), "{}", sent[2]);
        assert!(sent[3].contains("Conn(ConnId(5)), force: true"), "{}", sent[3]);
        let flushed = b.paper.flushes.get();
        tokio::task::yield_now().await;
        assert_eq!(b.paper.flushes.get(), flushed + 1, "once, although nobody ended a batch");
    });
}

#[test]
fn a_push_into_a_full_link_fails_and_sends_nothing() {
    run(async |b, session, _| {
        b.paper.full.set(true);
        let error = session.push(9, &Msg("hi")).unwrap_err();
        assert_eq!((error.code(), error.outcome()), (Code::BUSY, Outcome::NotSent));
        b.paper.full.set(false);
        session.room().await;
        session.push(9, &Msg("hi")).unwrap();
        assert_eq!(log(&b.paper).len(), 1);
    });
}

#[test]
fn a_bind_changes_the_session_only_if_the_gate_agrees() {
    run(async |b, session, _| {
        b.paper.answers.borrow_mut().push_back((1, Reply::Done));
        assert_eq!(session.bind(UserId(8)).await.unwrap_err().code(), Code::NOT_FOUND);
        assert_eq!(session.user(), Some(SEVEN));
        assert_eq!(session.bind(UserId(-1)).await.unwrap_err().code(), Code::INVALID_ARGUMENT);
        session.bind(UserId(8)).await.unwrap();
        assert_eq!(session.user(), Some(UserId(8)));
        session.unbind().await.unwrap();
        assert_eq!(session.unbind().await.unwrap_err().code(), Code::UNAUTHORIZED);
        assert_eq!(log(&b.paper).len(), 3, "what cannot succeed is not asked");
    });
}

#[test]
fn a_user_is_bound_to_this_node_and_released_again() {
    run(async |b, session, clients| {
        assert_eq!(session.bind_node().await.unwrap(), None);
        let found = b.locator.find(SEVEN, &Role::node("lobby")).await.unwrap().unwrap();
        assert_eq!(found.place, Place::node("lobby", "node-1"));
        let known = clients.locate_node(SEVEN, "lobby").await.unwrap();
        assert_eq!(known.unwrap().as_str(), "node-1");
        assert!(session.unbind_node().await.unwrap());
        assert!(!session.unbind_node().await.unwrap());
        assert_eq!(clients.locate_node(SEVEN, "lobby").await.unwrap(), None);
    });
}

#[test]
fn a_push_to_a_user_goes_to_its_gate_and_a_second_one_asks_nobody() {
    run(async |b, _, clients| {
        assert_eq!(clients.push(SEVEN, 9, &Msg(1)).await.unwrap_err().code(), Code::NOT_FOUND);
        b.online(7, "gate-2").await;
        clients.push(SEVEN, 9, &Msg(1)).await.unwrap();
        clients.push(SEVEN, 9, &Msg(2)).await.unwrap();
        assert_eq!(log(&b.paper), ["[2] push 7 9/0 1", "[2] push 7 9/0 2"]);
    });
}

#[test]
fn a_user_who_moved_is_found_at_the_new_gate() {
    run(async |b, _, clients| {
        b.online(7, "gate-2").await;
        clients.push(SEVEN, 9, &Msg(1)).await.unwrap();
        b.online(7, "gate-1").await;
        // The move is not heard of here: the old gate says that it does not know the user.
        b.paper.answers.borrow_mut().push_back((1, Reply::Done));
        clients.push_acked(SEVEN, 9, &Msg(2)).await.unwrap();
        assert_eq!(log(&b.paper)[1..], ["call [2] push 7 9/0 2", "call push 7 9/0 2"]);
    });
}

#[test]
fn moves_of_users_are_followed() {
    run(async |b, _, clients| {
        let hub = Rc::clone(&b.front.hub);
        b.env.spawn.local(async move { hub.follow_moves().await });
        tokio::task::yield_now().await;
        b.online(7, "gate-2").await;
        clients.push(SEVEN, 9, &Msg(1)).await.unwrap();
        b.online(7, "gate-1").await;
        tokio::task::yield_now().await;
        clients.push(SEVEN, 9, &Msg(2)).await.unwrap();
        assert_eq!(log(&b.paper), ["[2] push 7 9/0 1", "push 7 9/0 2"]);
        let gate = "gate-1".into();
        let life = b.locator.open(&gate).await.unwrap();
        b.locator.close(&gate, life).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(clients.locate(SEVEN).await.unwrap(), None, "its gate is gone");
    });
}

#[test]
fn w47_a_list_of_users_costs_one_frame_per_gate() {
    run(async |b, _, clients| {
        for user in 1..=1000 {
            b.online(user, if user % 2 == 0 { "gate-1" } else { "gate-2" }).await;
        }
        let users: Vec<UserId> = (1..=1001).map(UserId).collect();
        clients.multicast(&users, 9, &Msg("all")).await.unwrap();
        let expected =
            [r#"[2] multicast 500 from 1 9/0 "all""#, r#"multicast 500 from 2 9/0 "all""#];
        assert_eq!(log(&b.paper), expected);
        b.paper.answers.borrow_mut().extend([(0, Reply::Total(3)), (0, Reply::Total(4))]);
        assert_eq!(clients.multicast_acked(&users, 9, &Msg("all")).await.unwrap(), 7);
    });
}

#[test]
fn w08_ten_thousand_users_at_a_due_gate_are_reached_in_frames_that_it_can_read() {
    run(async |b, _, clients| {
        b.locator.open(&"due".into()).await.unwrap();
        for user in 1..=10_000 {
            b.online(user, "due").await;
        }
        let users: Vec<UserId> = (1..=10_000).map(UserId).collect();
        clients.multicast(&users, 9, &Msg("all")).await.unwrap();
        let expected =
            [r#"[4] multicast 8189 from 1 9/0 "all""#, r#"[4] multicast 1811 from 8190 9/0 "all""#];
        assert_eq!(log(&b.paper), expected);
        b.paper.answers.borrow_mut().extend([(0, Reply::Total(8189)), (0, Reply::Total(1811))]);
        assert_eq!(clients.multicast_acked(&users, 9, &Msg("all")).await.unwrap(), 10_000);
    });
}

#[test]
fn everybody_is_reached_through_every_gate_and_counted() {
    run(async |b, _, clients| {
        clients.broadcast(Audience::Users, 9, &Msg(1)).unwrap();
        clients.publish("room", 9, &Msg(2)).unwrap();
        let expected = [
            "broadcast User 9/0 1",
            "[2] broadcast User 9/0 1",
            "publish room 9/0 2",
            "[2] publish room 9/0 2",
        ];
        assert_eq!(log(&b.paper), expected);
        let answers = [(0, Reply::Total(40)), (2, Reply::Done)];
        b.paper.answers.borrow_mut().extend(answers);
        assert_eq!(clients.count(Audience::Everybody).await.unwrap(), 40, "one gate failed");
        b.paper.answers.borrow_mut().extend([(2, Reply::Done), (2, Reply::Done)]);
        assert!(clients.publish_acked("room", 9, &Msg(3)).await.is_err(), "all failed");
    });
}

#[test]
fn everybody_is_also_whoever_is_at_a_gate_that_only_its_link_tells_of() {
    run(async |b, _, clients| {
        b.paper.dialled_us.borrow_mut().extend([DUE_GATE, GATE]);
        clients.broadcast(Audience::Everybody, 9, &Msg(1)).unwrap();
        let every =
            ["broadcast Conn 9/0 1", "[2] broadcast Conn 9/0 1", "[4] broadcast Conn 9/0 1"];
        assert_eq!(log(&b.paper), every);
    });
}

#[test]
fn a_client_is_asked_for() {
    run(async |b, session, clients| {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        b.paper.answers.borrow_mut().push_back((0, Reply::Address(Some(here))));
        assert_eq!(session.address().await.unwrap(), here);
        // What a gate of due says of a client with IPv6 is no address.
        b.paper.answers.borrow_mut().push_back((0, Reply::Ip(Some(Ipv4Addr::UNSPECIFIED))));
        assert_eq!(session.address().await.unwrap_err().code(), Code::NOT_FOUND);
        assert!(!clients.is_online(SEVEN).await.unwrap());
        b.online(7, "gate-1").await;
        b.paper.answers.borrow_mut().push_back((0, Reply::Online(true)));
        assert!(clients.is_online(SEVEN).await.unwrap());
        assert_eq!(clients.locate(SEVEN).await.unwrap().unwrap().as_str(), "gate-1");
    });
}

#[test]
fn w04_a_message_for_a_user_who_is_bound_to_no_node_fails_with_a_defined_error() {
    run(async |b, _, clients| {
        let to = To::BoundNode("board".to_owned());
        let error = clients.deliver(to, Some(SEVEN), 9, &Msg(1)).await.unwrap_err();
        assert_eq!(error.code(), Code::NOT_BOUND);
        let own = To::Node("node-1".into());
        let error = clients.deliver(own, None, 9, &Msg(1)).await.unwrap_err();
        assert_eq!(error.code(), Code::ILLEGAL_INVOKE);
        clients.deliver(To::Node("node-2".into()), Some(SEVEN), 9, &Msg(1)).await.unwrap();
        assert_eq!(log(&b.paper), ["call [3] deliver 7 9/0 1"]);
    });
}

#[test]
fn w05_a_place_that_is_gone_or_wrong_is_asked_for_once_more() {
    run(async |b, _, clients| {
        let deliver = || clients.deliver(To::BoundNode("board".into()), Some(SEVEN), 9, &Msg(1));
        let claim = async |place: Place| {
            b.locator.open(&place.instance).await.unwrap();
            b.locator.claim(SEVEN, &place, None).await.unwrap();
        };
        claim(Place::node("board", "dead")).await;
        assert_eq!(deliver().await.unwrap_err().code(), Code::UNAVAILABLE, "it is nowhere else");
        claim(Place::node("board", "node-2")).await;
        deliver().await.unwrap();
        // That node says that it has not the user, and no news of the move has come.
        claim(Place::node("board", "due")).await;
        b.paper.answers.borrow_mut().push_back((1, Reply::Done));
        deliver().await.unwrap();
        let calls = ["[3]", "[3]", "[4]"].map(|link| format!("call {link} deliver 7 9/0 1"));
        assert_eq!(log(&b.paper), calls);
        // The same for pushes to a gate.
        claim(Place::gate("dead")).await;
        assert_eq!(clients.push(SEVEN, 9, &Msg(1)).await.unwrap_err().code(), Code::UNAVAILABLE);
        claim(Place::gate("gate-1")).await;
        clients.push(SEVEN, 9, &Msg(1)).await.unwrap();
        assert_eq!(log(&b.paper), ["push 7 9/0 1"]);
    });
}

#[test]
fn w05_a_node_that_logs_a_user_in_knows_where_before_any_news_of_it() {
    run(async |b, session, clients| {
        b.online(7, "gate-2").await;
        clients.push(SEVEN, 9, &Msg(1)).await.unwrap();
        assert_eq!(log(&b.paper), ["[2] push 7 9/0 1"], "it is remembered");
        // The user comes to another gate, which claims it there, and no news of that has come. What is
        // sent at once comes in order: nobody is asked first.
        b.online(7, "gate-1").await;
        session.bind(SEVEN).await.unwrap();
        log(&b.paper);
        clients.push(SEVEN, 9, &Msg(2)).await.unwrap();
        assert_eq!(log(&b.paper), ["push 7 9/0 2"]);
        b.locator.release(SEVEN, &Place::gate("gate-1"), epoch_of(b).await).await.unwrap();
        session.unbind().await.unwrap();
        let gone = clients.push(SEVEN, 9, &Msg(3)).await.unwrap_err();
        assert_eq!(gone.code(), Code::NOT_FOUND);
    });
}

async fn epoch_of(b: &Bench<Notes>) -> yumen_proto::id::Epoch {
    b.locator.find(SEVEN, &Role::Gate).await.unwrap().unwrap().epoch
}

#[test]
fn a_session_of_another_node_has_no_connection() {
    run(async |b, _, _| {
        b.send_as(NODE, 1, 0, Some(7), "");
        let session = b.front.state().session.take().unwrap();
        assert_eq!(session.push(9, &Msg(1)).unwrap_err().code(), Code::ILLEGAL_INVOKE);
        assert_eq!(session.bind(SEVEN).await.unwrap_err().code(), Code::ILLEGAL_INVOKE);
    });
}

fn is_for_threads<T: Send + Sync + 'static>(value: T) -> T {
    value
}

#[test]
fn handles_work_from_another_thread_and_keep_the_order() {
    let router = Router::new().route(1, on(leave));
    Bench::run(
        router,
        Notes::default,
        |_| (),
        async |mut b| {
            b.send(1, 5, "");
            b.online(7, "gate-2").await;
            let session = b.front.state().session.take().unwrap();
            let remote: SessionRemote = is_for_threads(session.remote());
            let inbox = b.inbox.take().unwrap();
            b.env.spawn.local(inbox.serve(Rc::clone(&b.front.hub)));
            let (done, mut over) = tokio::sync::mpsc::channel::<()>(1);
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async move {
                    remote.push(9, &Msg("first")).await.unwrap();
                    remote.node().push(SEVEN, 9, &Msg("by user")).await.unwrap();
                    remote.push(9, &Msg("second")).await.unwrap();
                    remote
                        .run(|session| async move { session.bind(UserId(8)).await })
                        .await
                        .unwrap();
                    let broken = remote.node().run(|_| async { panic!("expected by this test") });
                    assert_eq!(Result::<(), _>::unwrap_err(broken.await).code(), Code::INTERNAL);
                });
                drop(done);
            });
            over.recv().await;
            thread.join().unwrap();
            let pushed: Vec<_> = b.log().into_iter().filter(|line| line.contains("push")).collect();
            let expected =
                [r#"push 5 9/0 "first""#, r#"[2] push 7 9/0 "by user""#, r#"push 5 9/0 "second""#];
            assert_eq!(pushed, expected);
            assert_eq!(b.count("panics"), 1);
        },
    );
}

#[test]
fn a_full_inbox_refuses_and_a_stopped_node_says_so() {
    let router = Router::new().route(1, on(leave));
    Bench::run(
        router,
        Notes::default,
        |plan| plan.inbox_max = 400,
        async |mut b| {
            b.send(1, 5, "");
            let handle = b.front.state().clients.take().unwrap().handle();
            let waiting = [handle.locate(SEVEN), handle.locate(SEVEN), handle.locate(SEVEN)];
            let error = handle.locate(SEVEN).await.unwrap_err();
            assert_eq!((error.code(), error.outcome()), (Code::BUSY, Outcome::Rejected));
            drop(b.inbox.take());
            for one in waiting {
                assert_eq!(one.await.unwrap_err().code(), Code::UNAVAILABLE);
            }
            assert_eq!(handle.locate(SEVEN).await.unwrap_err().code(), Code::UNAVAILABLE);
            assert_eq!(handle.node_id().as_str(), "node-1");
        },
    );
}

#[test]
fn a_task_of_the_users_may_panic() {
    run(async |b, _, clients| {
        clients.spawn(async { panic!("expected by this test") });
        clients.spawn(async {});
        tokio::task::yield_now().await;
        assert_eq!(b.count("panics"), 1);
        assert!(b.front.hub.peer(GATE).is_some());
    });
}
