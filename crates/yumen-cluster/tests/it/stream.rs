//! Clients that send in odd pieces, too much, nothing at all, or never read.

use crate::{
    game::{self, ECHO, LOGIN, LOGOUT, World},
    rig::{self, Got, PATIENCE, Peer, Server, Threads},
};
use std::{
    hash::{BuildHasher, RandomState},
    io::Write,
    time::{Duration, Instant},
};
use yumen_cluster::gate::GateBuilder;
use yumen_core::status::Code;
use yumen_proto::{ConnState, Heartbeat, NoticeReason, packet::Layout};

fn server(threads: Threads, gate: impl FnOnce(GateBuilder) -> GateBuilder) -> Server {
    let (here, there) = threads.clusters();
    let node = rig::node(&there, "node", game::routes(), World::default).build().unwrap();
    Server::start(threads, gate(rig::gate(&here)).build().unwrap(), node)
}

#[test]
fn bytes_that_dribble_in_one_by_one_are_one_message() {
    let server = server(Threads::Two, |gate| gate);
    let mut client = server.client();
    for byte in Peer::packet(ECHO, 7, b"byte by byte") {
        client.write(&[byte]);
    }
    let body = b"byte by byte".to_vec();
    assert_eq!(client.read(), Got::Message { route: ECHO, seq: 7, body });
    assert_eq!(server.stats().messages_in, 1);
}

#[test]
fn a_pipeline_of_any_sizes_comes_back_whole_and_in_order() {
    let seed = RandomState::new().hash_one("sizes");
    println!("seed {seed}");
    for threads in Threads::ALL {
        let server = server(threads, |gate| gate);
        let mut dice = seed;
        let mut size = || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
            [0, 1, 10, 1000, 5000, 60_000][(dice >> 33) as usize % 6]
        };
        let bodies: Vec<Vec<u8>> = (0..300).map(|n| vec![n as u8; size()]).collect();
        let mut client = server.client();
        let mut socket = client.socket.try_clone().unwrap();
        let sent = bodies.clone();
        let sender = std::thread::spawn(move || {
            let packets = sent.iter().zip(1..).flat_map(|(b, n)| Peer::packet(ECHO, n, b));
            socket.write_all(&packets.collect::<Vec<_>>()).unwrap();
        });
        for (body, seq) in bodies.iter().zip(1..) {
            let got = client.read();
            let right = matches!(&got, Got::Message { seq: s, body: b, .. }
                if *s == seq && b == body);
            assert!(right, "{threads:?}: message {seq} of {} bytes, seed {seed}", body.len());
        }
        sender.join().unwrap();
    }
}

#[test]
fn a_client_that_only_sends_is_dropped_and_others_are_served() {
    let server = server(Threads::Two, |gate| gate);
    let mut calm = server.client();
    let mut greedy = server.client();
    let packet = Peer::packet(ECHO, 1, &[b'x'; 30_000]);
    let began = Instant::now();
    // Until the gate has closed it; the answers of the system are a reset or a broken pipe.
    while greedy.socket.write_all(&packet).is_ok() {
        assert!(began.elapsed() < PATIENCE, "never dropped: {:?}", server.stats());
    }
    assert_eq!(
        server
            .until("counted", |stats| stats.closed_backlog + stats.closed_stalled == 1)
            .connections,
        1
    );
    assert_eq!(calm.call(ECHO, "calm").text(), "calm");
}

#[test]
fn a_packet_too_short_for_its_header_is_skipped_and_counted() {
    let server = server(Threads::One, |gate| gate);
    let mut client = server.client();
    client.write(&[0, 0, 0, 2, 0, 1]); // as long as it says, and without a whole route
    client.write(&Peer::packet(ECHO, 1, b"still here"));
    let body = b"still here".to_vec();
    assert_eq!(client.read(), Got::Message { route: ECHO, seq: 1, body });
    server.until("counted", |stats| stats.packets_skipped == 1 && stats.messages_in == 1);
}

#[test]
fn a_malformed_client_is_closed_with_a_reason_and_nobody_else() {
    let server = Server::with_routes(game::routes());
    let (mut good, mut bad) = (server.client(), server.client());
    bad.write(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(bad.read().closing(), NoticeReason::Malformed);
    assert_eq!(bad.read(), Got::End);
    assert_eq!(good.call(ECHO, "x").text(), "x");
    let most = vec![1; Layout::default().receive_max];
    assert!(matches!(good.call(ECHO, &most), Got::Message { body, .. } if body == most));
    server.until("counted", |stats| stats.closed_oversize == 1);
}

#[test]
fn silence_and_a_missing_login_close_with_their_reasons_and_parts_are_silence() {
    let heartbeat = Heartbeat { interval: Duration::from_millis(400), ..Heartbeat::default() };
    let login = Duration::from_millis(500);
    let idle = server(Threads::One, |gate| gate.heartbeat(heartbeat));
    let strict = server(Threads::One, |gate| gate.login_max(login));
    let (mut silent, mut dribbling) = (idle.client(), idle.client());
    let mut anonymous = strict.client();
    let (mut user, mut once) = (strict.client(), strict.client());
    for (client, number) in [(&mut user, "1"), (&mut once, "2")] {
        assert_eq!(client.call(LOGIN, number).text(), "welcome");
    }
    assert_eq!(once.call(LOGOUT, "").text(), "bye", "the deadline starts anew");
    // The beginning of a packet is no sign of life.
    dribbling.write(&Peer::packet(ECHO, 1, &[0; 100])[..50]);
    assert_eq!(silent.read().closing(), NoticeReason::Idle);
    assert_eq!(dribbling.read().closing(), NoticeReason::Idle);
    assert_eq!(anonymous.read().closing(), NoticeReason::LoginDeadline);
    assert_eq!(once.read().closing(), NoticeReason::LoginDeadline);
    assert_eq!(user.call(ECHO, "still").text(), "still");
    assert_eq!(idle.stats().closed_idle, 2);
    assert_eq!(strict.stats().closed_login_deadline, 2);
    let state = rig::block_on(strict.gate.sessions(9))[0].state;
    assert_eq!((state, user.call(999, "").code()), (ConnState::Active, Code::UNROUTABLE));
}
