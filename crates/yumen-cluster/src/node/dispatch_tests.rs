//! What dispatch promises, without a link.

use crate::node::{
    Clients, Head, Msg, Next, Raw, Request, Response, Router, Session, State, Valid,
    message::{Invalid, Validate},
    on,
    testing::{Bench, DUE_GATE, GATE, NODE, OTHER_GATE},
};
use serde::{Deserialize, Serialize};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};
use yumen_core::{Code, Status};
use yumen_mesh::Receive;
use yumen_proto::{
    id::{ConnId, UserId},
    link::{Command, Event, Frame, Reply},
};

#[derive(Deserialize)]
struct Greet {
    name: String,
}

impl Validate for Greet {
    fn validate(&self) -> Result<(), Invalid> {
        match self.name.len() {
            1..=8 => Ok(()),
            _ => Err(Invalid::new("name", "must have 1 to 8 bytes")),
        }
    }
}

#[derive(Serialize)]
struct Greeting {
    text: String,
}

/// `!Send` on purpose: state belongs to one instance.
struct Lobby {
    seats: RefCell<Vec<String>>,
    door: Notify,
    gate: Semaphore,
    runs: Rc<Cell<u32>>,
}

impl Lobby {
    fn new() -> Self {
        let (seats, door) = (RefCell::default(), Notify::new());
        Self { seats, door, gate: Semaphore::new(1), runs: Rc::default() }
    }

    fn write(&self, line: impl Into<String>) {
        self.seats.borrow_mut().push(line.into());
    }
}

async fn greet(
    user: UserId,
    State(lobby): State<Lobby>,
    Msg(req): Msg<Greet>,
) -> Result<Msg<Greeting>, Status> {
    lobby.write(req.name.clone());
    Ok(Msg(Greeting { text: format!("hi {} ({user})", req.name) }))
}

async fn checked(Valid(req): Valid<Greet>) -> Msg<String> {
    Msg(req.name)
}

async fn echo(Raw(body): Raw) -> Raw {
    Raw(body)
}

/// Holds an `Rc` across its await: not `Send`, and need not be.
async fn knock(State(lobby): State<Lobby>, Raw(body): Raw) -> Raw {
    lobby.door.notified().await;
    lobby.runs.set(lobby.runs.get() + 1);
    Raw(body)
}

/// Uses a tokio resource that is free, so it never waits.
async fn permit(State(lobby): State<Lobby>) {
    let _free = lobby.gate.acquire().await;
}

async fn fall() {
    panic!("expected by this test");
}

async fn fall_later(State(lobby): State<Lobby>) {
    lobby.door.notified().await;
    panic!("expected by this test");
}

async fn refuse() -> Result<(), Status> {
    Err(Status::new(Code(2_001), "the table is full"))
}

async fn chatty(session: Session) -> Raw {
    session.push(50, b"before".as_slice()).unwrap();
    Raw("after".into())
}

async fn came(State(lobby): State<Lobby>, conn: ConnId) {
    lobby.write(format!("connect {conn}"));
}

async fn came_back(State(lobby): State<Lobby>, user: UserId) {
    lobby.write(format!("reconnect {user}"));
}

async fn left(State(lobby): State<Lobby>, session: Session) {
    lobby.write(format!("disconnect {}", session.conn()));
}

fn router() -> Router<Lobby> {
    let twice = async |Raw(body): Raw| Raw([&body[..], &body[..]].concat().into());
    Router::new()
        .route(1, on(greet).login())
        .route(2, on(echo))
        .route(3, on(knock))
        .route(4, on(knock).concurrent())
        .route(5, on(fall))
        .route(6, on(twice).on_workers())
        .route(7, on(permit))
        .route(8, on(checked))
        .route(9, on(refuse))
        .route(10, on(chatty))
        .route(11, on(fall_later))
        .route(12, on(knock).timeout(Duration::from_secs(5)))
        .route(13, on(echo).internal())
        .route(14, on(fall).on_workers())
        .event(Event::Connect, came)
        .event(Event::Reconnect, came_back)
        .event(Event::Disconnect, left)
}

fn run(test: impl AsyncFnOnce(Bench<Lobby>)) {
    Bench::run(router(), Lobby::new, |_| (), test);
}

impl Bench<Lobby> {
    fn lobby(&self) -> &Lobby {
        self.front.state()
    }

    fn seats(&self) -> Vec<String> {
        self.lobby().seats.borrow().clone()
    }
}

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
fn a_waiting_handler_holds_back_its_own_connection_only() {
    run(async |b| {
        b.send(3, 1, "first");
        b.send(2, 1, "second");
        b.send(2, 2, "other");
        b.send_as(OTHER_GATE, 2, 1, None, "same number, other gate");
        assert_eq!(b.log(), ["push 2 2/1 other", "[2] push 1 2/1 same number, other gate"]);
        b.lobby().door.notify_one();
        b.idle().await;
        assert_eq!(b.log(), ["push 1 3/1 first", "push 1 2/1 second"]);
        assert_eq!(b.front.dispatch.lines.len(), 0, "nothing stays behind");
    });
}

#[test]
fn messages_that_wait_again_and_again_keep_their_order() {
    run(async |b| {
        let order: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        order.iter().for_each(|n| b.send(3, 1, n));
        for _ in &order {
            b.lobby().door.notify_one();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        b.idle().await;
        let pushed: Vec<String> = order.iter().map(|n| format!("push 1 3/1 {n}")).collect();
        assert_eq!(b.log(), pushed);
    });
}

#[test]
fn a_concurrent_route_neither_waits_nor_holds_back() {
    run(async |b| {
        b.send(4, 1, "slow");
        b.send(2, 1, "quick");
        assert_eq!(b.log(), ["push 1 2/1 quick"]);
        b.lobby().door.notify_one();
        b.idle().await;
        assert_eq!(b.log(), ["push 1 4/1 slow"]);
    });
}

#[test]
fn what_is_held_is_bounded_in_bytes() {
    let held_max = 2 * (super::super::line::HELD_OVERHEAD + 4);
    Bench::run(
        router(),
        Lobby::new,
        |plan| plan.bounds.held_max = held_max,
        async |b| {
            b.send(3, 1, "wait");
            ["aaaa", "bbbb", "cccc"].iter().for_each(|body| b.send(2, 1, body));
            assert_eq!(b.log(), ["status 1 2/1 1001 earlier messages are waiting"]);
            assert_eq!(b.count("busy"), 1);
            b.lobby().door.notify_one();
            b.idle().await;
            b.send(2, 1, "dddd");
            assert_eq!(
                b.log(),
                ["push 1 3/1 wait", "push 1 2/1 aaaa", "push 1 2/1 bbbb", "push 1 2/1 dddd"]
            );
        },
    );
}

#[test]
fn the_number_of_waiting_handlers_is_bounded() {
    Bench::run(
        router(),
        Lobby::new,
        |plan| plan.bounds.waiting_max = 1,
        async |b| {
            b.send(3, 1, "wait");
            b.send(2, 2, "no room");
            assert_eq!(b.log(), ["status 2 2/1 1001 too many messages are waiting"]);
            b.lobby().door.notify_one();
            b.idle().await;
            assert_eq!(b.log(), ["push 1 3/1 wait"]);
        },
    );
}

#[test]
fn w42_events_are_in_order_with_the_messages_of_their_connection() {
    run(async |b| {
        b.trigger(Event::Connect, 1);
        b.send(3, 1, "running");
        b.trigger(Event::Reconnect, 1);
        b.send(1, 1, r#"{"name":"held"}"#);
        b.send(2, 1, "held");
        assert_eq!(b.seats(), ["connect 1"], "the others wait behind the handler");
        b.trigger(Event::Disconnect, 1);
        assert_eq!(b.count("held_dropped"), 2);
        b.lobby().door.notify_one();
        b.idle().await;
        assert_eq!(b.seats(), ["connect 1", "reconnect 7", "disconnect 1"]);
        assert_eq!(b.log(), ["push 1 3/1 running"], "the handler that was running ran on");
        assert_eq!(b.front.dispatch.lines.len(), 0);
    });
}

#[test]
fn w42_a_message_behind_an_event_that_waits_is_held() {
    let slow = async |State(lobby): State<Lobby>| lobby.door.notified().await;
    let router = Router::new().route(2, on(echo)).event(Event::Connect, slow);
    Bench::run(
        router,
        Lobby::new,
        |_| (),
        async |b| {
            b.trigger(Event::Connect, 1);
            b.send(2, 1, "first message");
            assert_eq!(b.log(), [""; 0]);
            b.lobby().door.notify_one();
            b.idle().await;
            assert_eq!(b.log(), ["push 1 2/1 first message"]);
        },
    );
}

#[test]
fn w42_reconnects_are_bounded_and_the_disconnect_is_still_heard() {
    run(async |b| {
        b.send(3, 1, "running");
        (0..100).for_each(|_| b.trigger(Event::Reconnect, 1));
        b.trigger(Event::Disconnect, 1);
        assert_eq!(b.count("events_dropped"), 84);
        b.lobby().door.notify_one();
        b.idle().await;
        assert_eq!(b.seats().last().map(String::as_str), Some("disconnect 1"));
        assert_eq!(b.seats().len(), 17);
    });
}

#[test]
fn a_lost_link_drops_what_was_held_for_it() {
    run(async |b| {
        b.send(3, 1, "running");
        b.send(2, 1, "held");
        b.front.on_lost(GATE, &"gate-1".into());
        assert_eq!(b.count("held_dropped"), 1);
        b.lobby().door.notify_one();
        b.idle().await;
        assert_eq!(b.lobby().runs.get(), 1);
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
fn a_large_batch_of_ready_handlers_needs_no_task() {
    run(async |b| {
        (0..1000).for_each(|_| b.send(7, 1, ""));
        assert_eq!(b.count("waited"), 0);
    });
}

#[test]
fn what_is_finished_is_reported_once_per_connection_and_batch() {
    run(async |b| {
        (0..3).for_each(|_| b.send(2, 1, "abc"));
        b.send(99, 2, "refused, and finished all the same");
        b.send(3, 3, "waits");
        b.front.on_batch_end();
        let consumed = |b: &Bench<Lobby>| {
            let lines = b.paper.lines.take();
            lines.into_iter().filter(|line| line.starts_with("consumed")).collect::<Vec<_>>()
        };
        assert_eq!(consumed(&b), ["consumed 1 36", "consumed 2 43"]);
        b.lobby().door.notify_one();
        b.idle().await;
        tokio::task::yield_now().await;
        assert_eq!(consumed(&b), ["consumed 3 14"], "sent by itself outside a batch");
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
fn a_handler_finds_nothing_borrowed() {
    async fn again(State(lobby): State<Lobby>, session: Session) -> Raw {
        // Waits in the middle of a batch that other messages belong to.
        lobby.write("in");
        session.push(1, b"pushed".as_slice()).unwrap();
        let bound = session.bind(UserId(8)).await;
        lobby.write(format!("{:?} {:?}", bound.is_ok(), session.user()));
        Raw("done".into())
    }
    let router = Router::new().route(1, on(again));
    Bench::run(
        router,
        Lobby::new,
        |_| (),
        async |b| {
            b.send(1, 1, "");
            b.send(1, 2, "");
            b.idle().await;
            let log = b.log();
            assert_eq!(log.iter().filter(|line| line.ends_with("done")).count(), 2, "{log:?}");
            assert_eq!(b.seats()[1], "true Some(UserId(8))");
        },
    );
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
        let _never_sent = Reply::Done;
        assert_eq!(b.count("unserved"), 1);
    });
}
