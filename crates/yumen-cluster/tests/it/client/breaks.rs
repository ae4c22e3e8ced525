//! What a client promises when its connection ends, and when it comes back.

use super::server::{BREAK, ECHO, HOLD, KICK, PUSHES, Server, sim};
use std::{io, time::Duration};
use yumen_cluster::client::{Backoff, Clients, Event};
use yumen_core::status::{Code, Outcome};
use yumen_net::{
    env::{Env, Listener},
    socket::Socket,
    testing::{Peer as Wire, Sim},
};
use yumen_proto::{
    conn::CloseReason,
    extension::{Announce, CloseNotice, Features, NoticeReason, kind},
    packet::Layout,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn backoff(tries: u32) -> Backoff {
    Backoff { first: ms(1_000), max: ms(8_000), tries }
}

#[test]
fn a_close_notice_is_the_reason_that_the_client_names() {
    sim(async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::builder().reconnect(backoff(5)).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        client.call_raw(ECHO, b"x").await.unwrap();
        assert_eq!(client.close_reason(), None);
        client.send_raw(KICK, b"").unwrap();
        let closed = client.closed().await;
        assert_eq!(closed.reason, CloseReason::Gone);
        let notice = closed.notice.clone().unwrap();
        assert_eq!(notice.reason, NoticeReason::Kicked);
        assert_eq!(notice.text, "logged in elsewhere");
        assert_eq!(client.close_reason(), Some(closed));
        assert_eq!(client.next_event().await, None, "whoever was kicked does not come back");
        let status = client.call_raw(ECHO, b"x").await.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::UNAVAILABLE, Outcome::NotSent));
    });
}

#[test]
fn a_break_during_calls_leaves_their_outcome_unknown() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", Layout::default()).await;
        let env = sim.env();
        let clients = Clients::new(&env);
        let client = clients.connect("gate:1").await.unwrap();
        let began = env.clock.now().mono;
        let (first, second, breaking) = tokio::join!(
            client.call_raw(HOLD, b"1"),
            client.call_raw(HOLD, b"2"),
            client.call_raw(BREAK, b"")
        );
        for status in [first.unwrap_err(), second.unwrap_err(), breaking.unwrap_err()] {
            assert_eq!((status.code(), status.outcome()), (Code::UNAVAILABLE, Outcome::Unknown));
        }
        assert!(env.clock.now().mono - began < ms(1_000), "nobody waited for the deadline");
        assert_eq!(server.held.borrow().len(), 2);
        assert_eq!(client.closed().await.reason, CloseReason::Gone);
        assert_eq!(client.closed().await.notice, None);
    });
}

#[test]
fn what_arrived_before_the_end_can_still_be_read() {
    sim(async |sim| {
        let _server = Server::start(&sim, "gate:1", Layout::default()).await;
        let clients = Clients::new(&sim.env());
        let client = clients.connect("gate:1").await.unwrap();
        client.send_raw(PUSHES, &[5]).unwrap();
        client.send_raw(KICK, b"").unwrap();
        client.closed().await;
        for number in 0..5 {
            assert_eq!(client.next_push().await.unwrap().body, [number][..]);
        }
        assert_eq!(client.next_push().await, None);
    });
}

#[test]
fn a_client_comes_back_and_says_so() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", Layout::default()).await;
        let env = sim.env();
        let clients = Clients::builder().reconnect(backoff(3)).start(&env).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        client.send_raw(PUSHES, &[1]).unwrap();
        let broken = client.call_raw(BREAK, b"").await.unwrap_err();
        let began = env.clock.now().mono;
        assert_eq!(broken.outcome(), Outcome::Unknown);
        let meanwhile = client.send_raw(ECHO, b"").unwrap_err();
        assert_eq!((meanwhile.code(), meanwhile.outcome()), (Code::UNAVAILABLE, Outcome::NotSent));
        assert!(matches!(client.next_event().await, Some(Event::Push(_))));
        assert_eq!(client.next_event().await, Some(Event::Reconnected));
        let pause = env.clock.now().mono - began;
        assert!(pause >= ms(500) && pause <= ms(1_001), "{pause:?}");
        assert_eq!(client.call_raw(ECHO, b"again").await.unwrap(), b"again"[..]);
        assert_eq!((server.accepted.borrow().len(), client.close_reason()), (2, None));
        assert_eq!(clients.counts().reconnects, 1);
    });
}

/// Accepts and hangs up, for ever; notes when.
async fn slam(env: &Env, mut listener: Box<dyn Listener>, times: &mut Vec<Duration>) {
    let began = env.clock.now().mono;
    while let Ok((socket, _)) = listener.accept().await {
        times.push(env.clock.now().mono - began);
        drop(socket);
    }
}

#[test]
fn pauses_grow_within_their_bounds_until_the_tries_are_used_up() {
    let mut pauses_seen = Vec::new();
    for seed in 0..40 {
        let pauses = Sim::run(seed, async |sim| {
            let env = sim.env();
            let listener = env.net.listen("gate:1").await.unwrap();
            let clients = Clients::builder().reconnect(backoff(6)).start(&env).unwrap();
            let mut times = Vec::new();
            let using = async {
                let client = clients.connect("gate:1").await.unwrap();
                client.closed().await
            };
            let closed = tokio::select! {
                closed = using => closed,
                () = slam(&env, listener, &mut times) => panic!("the listener ended"),
            };
            assert_eq!(closed.reason, CloseReason::Gone);
            let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            for (pause, longest) in pauses.iter().zip([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]) {
                let fits = *pause >= ms(longest / 2) && *pause <= ms(longest + 2);
                assert!(fits, "{pause:?} of {longest} ms");
            }
            pauses
        });
        assert_eq!(pauses.len(), 6, "seed {seed}");
        pauses_seen.push(pauses[0]);
    }
    pauses_seen.sort();
    pauses_seen.dedup();
    assert!(pauses_seen.len() > 20, "the dice spread them: {pauses_seen:?}");
}

#[test]
fn nobody_listening_uses_up_the_tries_too() {
    sim(async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("gate:1").await.unwrap();
        let clients = Clients::builder().reconnect(backoff(4)).start(&env).unwrap();
        let (client, accepted) = tokio::join!(clients.connect("gate:1"), listener.accept());
        let client = client.unwrap();
        drop((listener, accepted));
        let began = env.clock.now().mono;
        let closed = client.closed().await;
        assert_eq!(closed.reason, CloseReason::Gone);
        let took = env.clock.now().mono - began;
        assert!(took >= ms(7_500) && took <= ms(15_010), "{took:?}");
    });
}

/// The next connection, after the client's announcement was answered with one of ours.
async fn greet(listener: &mut Box<dyn Listener>) -> io::Result<Wire> {
    let layout = Layout::default();
    let (socket, _): (Socket, _) = listener.accept().await?;
    let mut wire = Wire::new(socket);
    while layout.packet_len(&wire.seen).unwrap().is_none_or(|len| wire.seen.len() < len) {
        assert!(wire.more().await);
    }
    let (mut tail, mut packet) = (Vec::new(), Vec::new());
    let features = Features::STATUS.and(Features::CLOSE);
    Announce { features, ..Announce::default() }.encode(&mut tail);
    layout.encode_control(kind::ANNOUNCE, &tail, &mut packet);
    wire.send(&packet).await?;
    Ok(wire)
}

#[test]
fn a_gate_that_asks_for_time_gets_it() {
    sim(async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("gate:1").await.unwrap();
        let clients = Clients::builder().reconnect(backoff(2)).start(&env).unwrap();
        let (client, wire) = tokio::join!(clients.connect("gate:1"), greet(&mut listener));
        let (client, mut wire) = (client.unwrap(), wire.unwrap());
        let (mut tail, mut packet) = (Vec::new(), Vec::new());
        let reason = NoticeReason::Shutdown;
        CloseNotice { reason, retry_after_ms: 20_000, text: "back soon" }.encode(&mut tail);
        Layout::default().encode_control(kind::CLOSE, &tail, &mut packet);
        wire.send(&packet).await.unwrap();
        drop(wire);
        let began = env.clock.now().mono;
        let _wire = greet(&mut listener).await.unwrap();
        let pause = env.clock.now().mono - began;
        assert!(pause >= ms(20_500) && pause <= ms(21_002), "{pause:?}");
        assert_eq!(client.next_event().await, Some(Event::Reconnected));
    });
}

#[test]
fn a_connection_that_lasted_begins_a_new_row_of_tries() {
    sim(async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("gate:1").await.unwrap();
        let clients = Clients::builder().reconnect(backoff(2)).start(&env).unwrap();
        let (client, wire) = tokio::join!(clients.connect("gate:1"), greet(&mut listener));
        let (client, mut wire) = (client.unwrap(), wire.unwrap());
        for _ in 0..10 {
            env.clock.sleep(ms(9_000)).await;
            drop(wire);
            wire = greet(&mut listener).await.unwrap();
            assert_eq!(client.next_event().await, Some(Event::Reconnected));
        }
        // One try of this row is used up, so one is left.
        drop(wire);
        let wire = greet(&mut listener).await.unwrap();
        assert_eq!(client.next_event().await, Some(Event::Reconnected));
        drop(wire);
        assert_eq!(client.next_event().await, None);
    });
}

#[test]
fn a_try_that_takes_too_long_leaves_no_connection_behind() {
    sim(async |sim| {
        let env = sim.env();
        let server = Server::start_ws(&sim, "gate:2", "/").await;
        let clients = Clients::builder().reconnect(backoff(3)).start(&env).unwrap();
        let client = clients.connect("ws://gate:2").await.unwrap();
        // From now on the door opens, but nobody answers the handshake.
        let _mute = env.net.listen("gate:2").await.unwrap();
        client.call_raw(BREAK, b"").await.unwrap_err();
        let began = env.clock.now().mono;
        assert_eq!(client.closed().await.reason, CloseReason::Gone);
        let took = env.clock.now().mono - began;
        let dials = 3 * 3_000;
        assert!(took >= ms(dials + 3_500) && took <= ms(dials + 7_010), "{took:?}");
        assert_eq!((clients.len(), server.accepted.borrow().len()), (0, 1));
    });
}

#[test]
fn a_closed_client_does_not_come_back() {
    sim(async |sim| {
        let server = Server::start(&sim, "gate:1", Layout::default()).await;
        let env = sim.env();
        let clients = Clients::builder().reconnect(backoff(5)).start(&env).unwrap();
        let open = clients.connect("gate:1").await.unwrap();
        let pausing = clients.connect("gate:1").await.unwrap();
        let dropped = clients.connect("gate:1").await.unwrap();
        for client in [&pausing, &dropped] {
            client.call_raw(BREAK, b"").await.unwrap_err();
        }
        drop(dropped);
        for client in [open, pausing] {
            client.close();
            assert_eq!(client.closed().await.reason, CloseReason::Done);
            assert_eq!(client.next_event().await, None);
            assert!(!client.is_open());
        }
        env.clock.sleep(ms(60_000)).await;
        assert_eq!(server.accepted.borrow().len(), 3);
        assert!(clients.is_empty());
    });
}

#[test]
fn a_client_closed_at_the_moment_of_a_break_does_not_come_back() {
    sim(async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("gate:1").await.unwrap();
        let clients = Clients::builder().reconnect(backoff(5)).start(&env).unwrap();
        let (client, accepted) = tokio::join!(clients.connect("gate:1"), listener.accept());
        let client = client.unwrap();
        drop(accepted);
        // So much that it is written at once: that the peer is gone is found, but not yet reported.
        for _ in 0..3 {
            client.send_raw(ECHO, &[0; 60_000]).unwrap_or_default();
        }
        assert!(clients.is_empty());
        client.close();
        assert_eq!(client.closed().await.reason, CloseReason::Reset);
        let back = tokio::time::timeout(ms(60_000), listener.accept()).await;
        assert!(back.is_err());
    });
}

#[test]
fn a_silent_gate_is_given_up_after_the_idle_limit() {
    sim(async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("mute:1").await.unwrap();
        let clients = Clients::new(&env);
        let client = clients.connect("mute:1").await.unwrap();
        let _mute = listener.accept().await.unwrap();
        let began = env.clock.now().mono;
        assert_eq!(client.closed().await.reason, CloseReason::Idle);
        let silence = env.clock.now().mono - began;
        assert!(silence >= ms(20_000) && silence <= ms(21_000), "{silence:?}");
    });
}
