//! Answers: every message gets one where one is due, whatever becomes of its handler.

use crate::node::{
    Clients, Head, Next, Request, Response, Router, Session, on,
    testing::{
        Bench, DUE_GATE, GATE, NODE,
        lobby::{Lobby, echo, fall, knock, run},
    },
};
use std::{rc::Rc, time::Duration};
use yumen_core::Status;
use yumen_mesh::Receive;
use yumen_proto::{
    id::{ConnId, UserId},
    link::{Command, Event, Frame},
};

#[test]
fn a_ready_handler_is_answered_before_the_frame_is_done() {
    run(async |b| {
        let tasks = b.env.spawn.len();
        b.send(1, 1, r#"{"name":"bo"}"#);
        assert_eq!(b.log(), [r#"push 1 1/1 {"text":"hi bo (7)"}"#]);
        assert_eq!((b.env.spawn.len(), b.seats().len()), (tasks, 1));
    });
}

#[test]
fn refusals_are_answered_before_the_handler_runs() {
    run(async |b| {
        b.send_as(GATE, 1, 1, None, "{}");
        b.send(1, 1, "{");
        b.send(99, 1, "");
        b.send(13, 1, "");
        let log = b.log();
        assert_eq!(log[0], "status 1 1/1 7 not logged in");
        assert!(log[1].starts_with("status 1 1/1 3 json body: "), "{}", log[1]);
        assert_eq!(log[2], "status 1 99/1 1004 no handler for this route");
        assert_eq!(log[3], "status 1 13/1 9 the route is internal");
        assert!(b.seats().is_empty());
        let counts = ["forbidden", "refused", "unknown_routes"].map(|name| b.count(name));
        assert_eq!(counts, [2, 1, 1]);
    });
}

#[test]
fn w04_a_message_that_cannot_be_served_gets_a_defined_error() {
    run(async |b| {
        b.send_as(GATE, 1, 5, None, "{}");
        assert_eq!(b.log(), ["status 5 1/1 7 not logged in"]);
        b.deliver(NODE, 44, 99, (0, Some(7)), "");
        assert_eq!(b.log(), ["reply 44: 2 Done"], "the node that sent it is told too");
    });
}

#[test]
fn a_value_out_of_bounds_is_refused_by_the_name_of_its_field() {
    run(async |b| {
        b.send(8, 1, r#"{"name":"a name that is too long"}"#);
        b.send(8, 1, r#"{"name":"bo"}"#);
        let expected = ["status 1 8/1 3 name: must have 1 to 8 bytes", r#"push 1 8/1 "bo""#];
        assert_eq!(b.log(), expected);
    });
}

#[test]
fn an_error_of_the_game_reaches_the_client_with_its_code() {
    run(async |b| {
        b.send(9, 1, "");
        assert_eq!(b.log(), ["status 1 9/1 2001 the table is full"]);
    });
}

#[test]
fn a_push_of_a_handler_comes_before_its_reply() {
    run(async |b| {
        b.send(10, 1, "");
        assert_eq!(b.log(), ["push 1 50/0 before", "push 1 10/1 after"]);
    });
}

#[test]
fn a_panic_ends_one_message() {
    run(async |b| {
        b.send(5, 1, "");
        b.send(11, 1, "");
        b.send(2, 1, "still here");
        b.lobby().door.notify_one();
        b.idle().await;
        let expected = [
            "status 1 5/1 6 the handler failed",
            "status 1 11/1 6 the handler failed",
            "push 1 2/1 still here",
        ];
        assert_eq!(b.log(), expected);
        assert_eq!(b.count("panics"), 2);
    });
}

#[test]
fn w11_a_panic_in_middleware_or_behind_it_ends_one_message() {
    async fn falls(_: Request<Lobby>, _: Next<Lobby>) -> Response {
        panic!("expected by this test");
    }
    async fn passes(request: Request<Lobby>, next: Next<Lobby>) -> Response {
        tokio::task::yield_now().await;
        next.run(request).await
    }
    let router = Router::new()
        .group(|g| g.layer(falls).route(1, on(echo)))
        .group(|g| g.layer(passes).route(2, on(fall)))
        .route(3, on(echo));
    Bench::run(
        router,
        Lobby::new,
        |_| (),
        async |b| {
            (1..=3).for_each(|route| b.send(route, 1, "x"));
            b.idle().await;
            let expected = [
                "status 1 1/1 6 the handler failed",
                "status 1 2/1 6 the handler failed",
                "push 1 3/1 x",
            ];
            assert_eq!(b.log(), expected);
            assert_eq!(b.count("panics"), 2);
        },
    );
}

#[test]
fn w36_a_panicking_event_handler_or_hook_ends_only_itself() {
    let falls = async |_: ConnId| -> () { panic!("expected by this test") };
    let router = Router::new().route(2, on(echo)).event(Event::Connect, falls);
    Bench::run(
        router,
        Lobby::new,
        |_| (),
        async |b| {
            b.trigger(Event::Connect, 1);
            b.send(2, 1, "served");
            assert_eq!(b.log(), ["push 1 2/1 served"]);
            b.front.hooks(&[std::sync::Arc::new(|_, _| Box::pin(fall()))]).await;
            assert_eq!(b.count("panics"), 2);
        },
    );
}

#[test]
fn middleware_stops_changes_and_comes_in_order() {
    async fn outer(request: Request<Lobby>, next: Next<Lobby>) -> Response {
        request.state().write("outer in");
        let state = Rc::clone(request.state());
        let response = next.run(request).await;
        state.write(format!("outer out {:?}", response.as_body().map(<[u8]>::len)));
        response
    }
    async fn stop(request: Request<Lobby>, next: Next<Lobby>) -> Result<Response, Status> {
        match request.body().starts_with(b"stop") {
            true => Err(Status::busy("not now")),
            false => Ok(next.run(request).await),
        }
    }
    async fn double(mut request: Request<Lobby>, next: Next<Lobby>) -> Response {
        request.set_body([&request.body()[..], &request.body()[..]].concat());
        let response = next.run(request).await;
        let mut body = response.as_body().unwrap_or_default().to_vec();
        body.push(b'!');
        Response::body(body)
    }
    let router = Router::new()
        .route(1, on(echo))
        .group(|g| g.route(2, on(knock)).layer(stop).layer(double))
        .layer(outer);
    Bench::run(
        router,
        Lobby::new,
        |_| (),
        async |b| {
            b.send(2, 1, "stop");
            b.send(2, 1, "go");
            b.send(1, 1, "plain, behind the one that waits");
            b.lobby().door.notify_one();
            b.idle().await;
            let expected = [
                "status 1 2/1 1001 not now",
                "push 1 2/1 gogo!",
                "push 1 1/1 plain, behind the one that waits",
            ];
            assert_eq!(b.log(), expected);
            assert_eq!(b.seats()[..2], ["outer in", "outer out None"]);
            assert_eq!(b.seats().len(), 6);
        },
    );
}

#[test]
fn a_handler_over_its_time_limit_is_answered_and_dropped() {
    run(async |b| {
        b.send(12, 1, "");
        b.send(2, 1, "next");
        b.idle().await;
        let expected = ["status 1 12/1 4 the handler took too long", "push 1 2/1 next"];
        assert_eq!(b.log(), expected);
        b.lobby().door.notify_one();
        tokio::task::yield_now().await;
        assert_eq!((b.count("timeouts"), b.lobby().runs.get()), (1, 0));
    });
}

#[test]
fn a_slow_poll_is_counted_with_its_route() {
    let heavy = async |clients: Clients| clients.clock().skip(Duration::from_millis(11));
    let router = Router::new().route(2, on(echo)).route(3, on(heavy));
    Bench::run(
        router,
        Lobby::new,
        |_| (),
        async |b| {
            b.send(2, 1, "quick");
            b.send(3, 1, "slow");
            b.send(2, 1, "quick");
            let slow = b.front.hub.stats.slow_by_route();
            assert_eq!((b.count("slow_polls"), slow), (1, vec![("route 3".to_owned(), 1)]));
        },
    );
}

#[test]
fn workers_keep_the_order_are_bounded_in_bytes_and_survive_a_panic() {
    run(async |b| {
        b.send(6, 1, "heavy");
        b.send(2, 1, "after");
        b.send(6, 2, &"x".repeat(60));
        assert_eq!(b.log(), ["status 2 6/1 1001 the workers are busy"]);
        b.idle().await;
        assert_eq!(b.log(), ["push 1 6/1 heavyheavy", "push 1 2/1 after"]);
        b.send(14, 1, "");
        b.idle().await;
        assert_eq!(b.log(), ["status 1 14/1 6 the handler failed"]);
        assert_eq!((b.count("panics"), b.count("busy")), (1, 1));
    });
}

#[test]
fn a_due_gate_gets_none_of_our_commands() {
    run(async |b| {
        b.send_as(DUE_GATE, 2, 1, None, "hello");
        b.send_as(DUE_GATE, 1, 1, None, "{}");
        b.front.on_batch_end();
        assert_eq!(b.paper.lines.take(), ["[4] push 1 2/1 hello"]);
        assert_eq!(b.count("forbidden"), 1);
    });
}

#[test]
fn a_reply_waits_for_room_and_holds_back_its_connection_only() {
    run(async |b| {
        b.paper.full.set(true);
        b.send(2, 1, "first");
        b.send(2, 1, "second");
        b.send(99, 2, "");
        assert_eq!(b.log(), [""; 0]);
        b.paper.full.set(false);
        b.paper.room.notify_waiters();
        b.idle().await;
        tokio::task::yield_now().await;
        let mut log = b.log();
        log.sort();
        let expected = [
            "push 1 2/1 first",
            "push 1 2/1 second",
            "status 2 99/1 1004 no handler for this route",
        ];
        assert_eq!(log, expected);
        assert_eq!(b.count("answers_delayed"), 1);
    });
}

#[test]
fn what_a_gate_must_learn_survives_a_full_link() {
    run(async |b| {
        b.send(7, 1, "");
        b.paper.full.set(true);
        b.front.on_batch_end();
        b.send(7, 1, "");
        b.front.on_batch_end();
        assert!(b.paper.lines.borrow().is_empty());
        b.paper.full.set(false);
        b.paper.room.notify_waiters();
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let told: u32 = b
            .paper
            .lines
            .take()
            .iter()
            .map(|line| {
                let bytes = line.strip_prefix("consumed 1 ").expect("an amount");
                bytes.parse::<u32>().expect("a number")
            })
            .sum();
        assert_eq!(told, 18);
    });
}

#[test]
fn an_internal_route_is_answered_to_the_node_that_sent_it() {
    run(async |b| {
        b.deliver(NODE, 9, 13, (0, Some(7)), "ping");
        assert_eq!(b.log(), ["[3] deliver 7 13/1 ping", "reply 9: 0 Done"]);
        let probe = async |head: Head, session: Session| {
            assert!(head.is_from_node());
            session.push(1, b"x".as_slice())
        };
        let router = Router::new().route(1, on(probe));
        let _typed: Router<Lobby> = router;
    });
}

#[test]
fn a_packet_of_another_layout_is_counted_and_finished() {
    run(async |b| {
        let command = Command::Deliver { conn: ConnId(1), user: None, packet: b"\0\0\0\x02ab" };
        b.front.on_frame(GATE, Frame::Request { seq: 3, command });
        b.front.on_batch_end();
        assert_eq!(b.count("malformed"), 1);
        assert_eq!(b.paper.lines.take(), ["reply 3: 2 Done", "consumed 1 6"]);
    });
}

#[test]
fn a_node_answers_for_its_state_and_serves_no_command_of_gates() {
    run(async |b| {
        let ask = |seq, command| b.front.on_frame(GATE, Frame::Request { seq, command });
        ask(1, Command::GetState);
        ask(2, Command::Unbind { user: UserId(1) });
        assert_eq!(b.log(), ["reply 1: 0 State(Work)", "reply 2: 2 Done"]);
        assert_eq!(b.count("unserved"), 1);
        ask(3, Command::SetState { state: yumen_core::State::Busy });
        b.front.hub.standing.stop();
        ask(4, Command::SetState { state: yumen_core::State::Work });
        ask(5, Command::GetState);
        let log = ["reply 3: 0 Done", "reply 4: 2 Done", "reply 5: 0 State(Hang)"];
        assert_eq!(b.log(), log, "one that stops takes no work again");
    });
}
