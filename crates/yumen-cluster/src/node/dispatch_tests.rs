//! Order and bounds: which message runs when, and what is held.

use crate::node::{
    Raw, Router, Session, State, on,
    testing::{
        Bench, GATE, OTHER_GATE,
        lobby::{Lobby, echo, router, run},
    },
};
use yumen_mesh::Receive;
use yumen_proto::{id::UserId, link::Event};

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
    let held_max = 2 * (crate::node::line::HELD_OVERHEAD + 4);
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
fn a_message_that_is_done_at_once_allocates_nothing() {
    let router = Router::new().route(1, on(async |_: UserId| ())).route(2, on(echo));
    Bench::run(
        router,
        Lobby::new,
        |_| (),
        async |b| {
            b.paper.silent.set(true);
            let send = |route| (0..100).for_each(|_| b.resend(route));
            send(1);
            send(2);
            b.front.on_batch_end();
            let nothing = allocation_counter::measure(|| send(1));
            assert_eq!(nothing.count_total, 0);
            let copies = allocation_counter::measure(|| send(2));
            assert_eq!(copies.count_total, 100, "the copies that `Raw` asks for");
        },
    );
}
