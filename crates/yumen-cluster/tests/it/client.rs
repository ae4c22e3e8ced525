//! What a client promises while its connection holds.

mod breaks;
mod server;

use serde::{Deserialize, Serialize};
use server::{ECHO, HOLD, IGNORE, PUSHED, PUSHES, REFUSE, Server, sim};
use std::{rc::Rc, time::Duration};
use tokio::{runtime::Handle, task::JoinSet};
use yumen_cluster::client::{Clients, ConnectError, Event, Plain, RunError};
use yumen_core::status::{Code, Outcome, Status};
use yumen_net::testing::{Peer as Wire, Sim};
use yumen_proto::{
    conn::{CloseReason, Peer},
    extension::Features,
    packet::{Layout, Width},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    name: String,
}

fn hello(name: &str) -> Hello {
    Hello { name: name.to_owned() }
}

fn one_byte_seq() -> Layout {
    Layout { seq: Some(Width::One), ..Layout::default() }
}

#[test]
fn a_call_is_answered_with_a_value() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::new(&sim.env());
        let client = clients.connect("tcp://gate:1").await.unwrap();
        let reply: Hello = client.call(ECHO, &hello("Ann")).await.unwrap();
        assert_eq!(reply, hello("Ann"));
        let seen = server.seen.borrow();
        assert_eq!(seen[0].1, 1, "sequence numbers begin with 1");
        assert_eq!(seen[0].2, br#"{"name":"Ann"}"#);
    });
}

#[test]
fn answers_find_their_calls_in_any_order() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::builder().codec(Plain).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        let mut calls = JoinSet::new();
        for number in 0..50_u8 {
            let client = client.clone();
            calls.spawn_local(async move {
                let answer = client.call_raw(HOLD, &[number]).await.unwrap();
                assert_eq!(answer, [number, number][..]);
            });
        }
        server.until(|server| server.held.borrow().len() == 50).await;
        server.answer_all(|_| sim.dice().roll());
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
        assert_eq!(client.try_event(), None, "no answer is taken for a push");
    });
}

#[test]
fn a_call_ends_at_its_deadline_and_not_before() {
    sim(async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let env = sim.env();
        let clients = Clients::new(&env);
        let client = clients.connect("gate:1").await.unwrap();
        for (wait, limit) in [(None, 3_000), (Some(Duration::from_millis(40)), 40)] {
            let began = env.clock.now().mono;
            let call = async {
                match wait {
                    None => client.call_raw(IGNORE, b"").await,
                    Some(wait) => client.call_raw_within(wait, IGNORE, b"").await,
                }
            };
            let status = call.await.unwrap_err();
            assert_eq!(status.code(), Code::DEADLINE_EXCEEDED);
            assert_eq!(status.outcome(), Outcome::Unknown);
            let took = env.clock.now().mono - began;
            assert!(took.as_millis() >= limit && took.as_millis() <= limit + 1, "{took:?}");
        }
    });
}

#[test]
fn a_late_answer_is_neither_a_push_nor_anothers() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", one_byte_seq()).await;
        let clients = Clients::builder().layout(one_byte_seq()).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        let short = Duration::from_millis(10);
        assert!(client.call_raw_within(short, HOLD, b"old").await.is_err());
        // Every other number is used twice, that one not at all.
        for _ in 0..300 {
            assert_eq!(client.call_raw(ECHO, b"new").await.unwrap(), b"new"[..]);
        }
        let before: Vec<_> = server.seen.borrow().iter().map(|(_, seq, _)| *seq).collect();
        assert!(before.iter().all(|seq| (1..=127).contains(seq)), "{before:?}");
        let waiting = client.call_raw(HOLD, b"young");
        let answering = async {
            server.until(|server| server.held.borrow().len() == 2).await;
            server.answer_all(|held| u64::from(held.3 == b"young"));
        };
        let (answer, ()) = tokio::join!(waiting, answering);
        assert_eq!(answer.unwrap(), b"youngyoung"[..]);
        assert_eq!(client.try_event(), None);
        assert_eq!(clients.counts().answers_late, 1);
    });
}

#[test]
fn calls_beyond_the_sequence_numbers_are_refused_unsent() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", one_byte_seq()).await;
        let clients = Clients::builder().layout(one_byte_seq()).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..127 {
            let client = client.clone();
            calls.spawn_local(async move { client.call_raw(HOLD, b"x").await });
        }
        server.until(|server| server.held.borrow().len() == 127).await;
        let status = client.call_raw(HOLD, b"x").await.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::BUSY, Outcome::NotSent));
        server.answer_all(|_| 0);
        while let Some(call) = calls.join_next().await {
            assert!(call.unwrap().is_ok());
        }
        assert!(client.call_raw(ECHO, b"x").await.is_ok());
    });
}

#[test]
fn a_refused_call_ends_with_what_the_server_said() {
    sim(async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::new(&sim.env());
        let client = clients.connect("gate:1").await.unwrap();
        let status = client.call::<_, Hello>(REFUSE, &hello("Ann")).await.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code(2_001), Outcome::Rejected));
        assert_eq!(status.message(), "the table is full");
        assert_eq!(status.retry_after(), Some(Duration::from_millis(250)));
        assert_eq!(client.peer(), Peer::Yumen);
        assert!(client.features().has(Features::STATUS));
    });
}

#[test]
fn an_answer_of_another_shape_says_that_the_request_was_carried_out() {
    sim(async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::new(&sim.env());
        let client = clients.connect("gate:1").await.unwrap();
        let status: Status = client.call::<_, u32>(ECHO, &hello("Ann")).await.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::INTERNAL, Outcome::Applied));
    });
}

#[test]
fn pushes_come_in_order_beside_answers() {
    sim(async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::builder().codec(Plain).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        client.send(PUSHES, &[200]).unwrap();
        assert_eq!(client.call_raw(ECHO, b"x").await.unwrap(), b"x"[..]);
        for number in 0..200_u8 {
            let push = client.next_push().await.unwrap();
            assert_eq!((push.route.0, push.seq, &push.body[..]), (PUSHED, 0, &[number][..]));
        }
        assert_eq!(client.pushes_dropped(), 0);
    });
}

#[test]
fn when_nobody_looks_the_oldest_pushes_are_dropped_and_counted() {
    sim(async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::builder().codec(Plain).pushes_max(1_000).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        client.send(PUSHES, &[200]).unwrap();
        client.call_raw(ECHO, b"x").await.unwrap();
        let mut kept = Vec::new();
        while let Some(Event::Push(push)) = client.try_event() {
            kept.push(push.body[0]);
        }
        let dropped = client.pushes_dropped();
        assert!((2..=40).contains(&kept.len()), "{kept:?}");
        assert_eq!(kept.len() as u64 + dropped, 200);
        let newest: Vec<u8> = (200 - kept.len() as u8..200).collect();
        assert_eq!(kept, newest);
        assert_eq!(clients.counts().pushes_dropped, dropped);
    });
}

#[test]
fn a_server_of_due_is_told_nothing_that_it_would_not_understand() {
    sim(async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("due:1").await.unwrap();
        let clients = Clients::new(&env);
        let (client, accepted) = tokio::join!(clients.connect("due:1"), listener.accept());
        let client = client.unwrap();
        assert_eq!((client.peer(), client.speaks_due()), (Peer::Unknown, false));
        let mut due = Wire::new(accepted.unwrap().0);
        let layout = Layout::default();
        let serving = async {
            // A whole control packet, whatever its kind, is answered with a plain heartbeat.
            while layout.packet_len(&due.seen).unwrap().is_none_or(|len| due.seen.len() < len) {
                assert!(due.more().await);
            }
            let announcement = layout.packet_len(&due.seen).unwrap().unwrap();
            assert_eq!(due.seen[4] & 0x80, 0x80);
            due.send(&[0, 0, 0, 1, 0x80]).await.unwrap();
            while due.seen.len() == announcement {
                assert!(due.more().await);
            }
            let mut reply = Vec::new();
            layout.encode_data(ECHO.into(), 1, b"hi", &mut reply).unwrap();
            due.send(&reply).await.unwrap();
        };
        let (answer, ()) = tokio::join!(client.call_raw(ECHO, b"hi"), serving);
        assert_eq!(answer.unwrap(), b"hi"[..]);
        assert!(client.speaks_due());
        assert_eq!(client.features(), Features::NONE);
    });
}

#[test]
fn a_websocket_does_all_of_this_too() {
    for announces in [true, false] {
        sim(async |sim| {
            let server = Server::start_ws(&sim, "gate:2", "/play").await;
            let builder = Clients::builder();
            let builder = if announces { builder } else { builder.unannounced() };
            let clients = builder.start(&sim.env()).unwrap();
            let client = clients.connect("ws://gate:2/play").await.unwrap();
            let reply: Hello = client.call(ECHO, &hello("Ann")).await.unwrap();
            assert_eq!(reply, hello("Ann"));
            client.send_raw(PUSHES, &[3]).unwrap();
            for number in 0..3 {
                assert_eq!(client.next_push().await.unwrap().body, [number][..]);
            }
            client.close();
            assert_eq!(client.closed().await.reason, CloseReason::Done);
            server.until(|server| !server.ended.borrow().is_empty()).await;
            assert_eq!(*server.ended.borrow(), [CloseReason::Gone]);
        });
    }
}

#[test]
fn what_cannot_be_reached_is_an_error_and_leaves_nothing_behind() {
    sim(async |sim| {
        let env = sim.env();
        let clients = Clients::new(&env);
        let refused = clients.connect("nobody:1").await.unwrap_err();
        assert!(matches!(refused, ConnectError::Dial { .. }), "{refused}");
        let unclear = clients.connect("http://gate:1").await.unwrap_err();
        assert!(matches!(unclear, ConnectError::Address { .. }), "{unclear}");
        // Accepted, but nobody answers the handshake.
        let _listener = env.net.listen("mute:1").await.unwrap();
        let began = env.clock.now().mono;
        let late = clients.connect("ws://mute:1").await.unwrap_err();
        assert!(matches!(late, ConnectError::TimedOut { .. }), "{late}");
        assert_eq!((env.clock.now().mono - began).as_secs(), 3);
        let _server = Server::start_ws(&sim, "gate:2", "/play").await;
        let elsewhere = clients.connect("ws://gate:2/other").await.unwrap_err();
        assert!(matches!(elsewhere, ConnectError::Ended { .. }), "{elsewhere}");
        let status = Status::from(elsewhere);
        assert_eq!((status.code(), status.outcome()), (Code::UNAVAILABLE, Outcome::NotSent));
        assert!(clients.is_empty());
    });
}

#[test]
fn a_request_that_cannot_be_sent_is_refused_unsent() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::new(&sim.env());
        let client = clients.connect("gate:1").await.unwrap();
        let huge = vec![0; Layout::default().body_max + 1];
        let status = client.call_raw(ECHO, &huge).await.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::INVALID_ARGUMENT, Outcome::NotSent));
        let status = client.send_raw(100_000, b"the route has two bytes").unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::INVALID_ARGUMENT, Outcome::NotSent));
        assert!(client.call_raw(ECHO, b"x").await.is_ok());
        assert_eq!(server.seen.borrow().len(), 1);
    });
}

#[test]
fn without_sequence_numbers_one_can_send_but_not_call() {
    sim(async |sim| {
        let layout = Layout { seq: None, ..Layout::default() };
        let _server = Server::start(&sim, "gate:1", layout).await;
        let clients = Clients::builder().layout(layout).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        let status = client.call_raw(ECHO, b"x").await.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::ILLEGAL_INVOKE, Outcome::NotSent));
        client.send_raw(ECHO, b"x").unwrap();
        assert_eq!(client.next_push().await.unwrap().body, b"x"[..]);
    });
}

#[test]
fn a_client_that_sends_faster_than_the_server_reads_is_told_so() {
    sim(async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("slow:1").await.unwrap();
        let clients = Clients::builder().backlog_max(100_000).start(&env).unwrap();
        let client = clients.connect("slow:1").await.unwrap();
        let _unread = listener.accept().await.unwrap();
        let mut sent = 0;
        let status = loop {
            match client.send_raw(ECHO, &[0; 1_000]) {
                Ok(()) => sent += 1,
                Err(status) => break status,
            }
            if sent % 10 == 0 {
                tokio::task::yield_now().await;
            }
            assert!(sent < 1_000);
        };
        assert_eq!((status.code(), status.outcome()), (Code::BUSY, Outcome::NotSent));
        assert!(client.is_open(), "{:?}", client.close_reason());
    });
}

#[test]
fn thousands_of_idle_clients_have_no_task_and_no_buffer() {
    Sim::run(1, async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::new(&sim.env());
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let mut crowd = Vec::new();
        for _ in 0..3_000 {
            let client = clients.connect("gate:1").await.unwrap();
            client.call_raw(ECHO, b"hello").await.unwrap();
            crowd.push(client);
        }
        // Long enough for heartbeats of everybody.
        sim.env().clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(clients.len(), 3_000);
        assert!(crowd.iter().all(|client| client.is_open()));
        assert_eq!(tasks(), before);
        assert_eq!(clients.buffered(), 0);
        drop(crowd);
        sim.env().clock.sleep(Duration::from_millis(1)).await;
        assert!(clients.is_empty());
    });
}

#[test]
fn the_tasks_end_with_the_last_handle() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", Layout::default()).await;
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let clients = Clients::new(&sim.env());
        let client = clients.connect("gate:1").await.unwrap();
        drop(clients);
        assert!(client.call_raw(ECHO, b"still works").await.is_ok());
        client.send_raw(IGNORE, b"last words").unwrap();
        drop(client);
        server.until(|server| !server.ended.borrow().is_empty()).await;
        assert_eq!(server.seen.borrow().last().unwrap().2, b"last words");
        assert_eq!(tasks(), before);
        assert_eq!(Rc::strong_count(&server.driver), 3, "hub, sweep and the server itself");
    });
}

#[test]
fn a_dropped_connect_leaves_no_connection() {
    sim(async |sim| {
        let env = sim.env();
        let _listener = env.net.listen("mute:1").await.unwrap();
        let clients = Clients::new(&env);
        let connecting = clients.connect("ws://mute:1");
        let given_up = tokio::time::timeout(Duration::from_millis(10), connecting).await;
        assert!(given_up.is_err());
        env.clock.sleep(Duration::from_millis(1)).await;
        assert!(clients.is_empty());
    });
}

#[test]
fn settings_that_do_not_fit_are_named_all_at_once() {
    let error = Clients::builder()
        .call_max(Duration::ZERO)
        .dial_max(Duration::ZERO)
        .backlog_max(10)
        .run(async |_| ())
        .unwrap_err();
    let RunError::Settings(error) = error else { panic!("{error}") };
    assert_eq!((error.component, error.problems.len()), ("clients", 3));
}

#[test]
fn a_plain_main_can_run_clients() {
    let refused = Clients::run(async |clients| clients.connect("not an address").await.err());
    assert!(matches!(refused.unwrap(), Some(ConnectError::Address { .. })));
}
