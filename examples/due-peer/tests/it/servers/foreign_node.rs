//! The recorded due node against our gate: our gate hands it what due's gate handed it, answers what it
//! asks as due's gate answered, and the recorded clients get what they got.

use crate::{
    clients,
    foreign::{Client, Server, is_handshake, is_heartbeat, payload, route, seq},
    ours::Ours,
    recording::{self, Recorded, frames},
    redis::Redis,
};
use std::collections::BTreeMap;
use yumen::proto::link::Kind;
use yumen_due_peer::{Net, gate};

const BIND: u8 = 2;
const UNBIND: u8 = 3;

fn number(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// What the gate tells the node, and what the node asks, in the order of time.
fn steps() -> Vec<(bool, Recorded)> {
    let plain = |frame: &Recorded| {
        frame.from_dialler && !is_heartbeat(&frame.bytes) && !is_handshake(&frame.bytes)
    };
    let hears = frames("gate-1 dials node-1").into_iter().filter(plain).map(|frame| (true, frame));
    let asks = frames("node-1 dials gate-1").into_iter().filter(plain).map(|frame| (false, frame));
    let mut steps: Vec<_> = hears.chain(asks).collect();
    steps.sort_by(|(_, a), (_, b)| a.at.total_cmp(&b.at));
    steps
}

/// What due's gate answered, by connection and number.
fn answers() -> BTreeMap<(u64, u64), Vec<u8>> {
    frames("node-1 dials gate-1")
        .into_iter()
        .filter(|frame| !frame.from_dialler && !is_heartbeat(&frame.bytes))
        .map(|frame| ((frame.connection, seq(&frame.bytes)), frame.bytes))
        .collect()
}

/// The connection that an event or a message of a client is about.
fn client_of(frame: &[u8]) -> i64 {
    let at = if route(frame) == 14 { 1 } else { 0 };
    number(payload(frame), at)
}

#[test]
fn the_recorded_due_node_gets_from_our_gate_what_it_got_from_dues() {
    let redis = Redis::start();
    let server = Server::listen();
    let mut addr = None;
    let ours = Ours::start(redis.locator(), |cluster, settings| {
        let gate = gate(cluster, settings, Net::Tcp).unwrap();
        addr = Some(gate.addresses()[0]);
        yumen::prelude::App::default().with(gate)
    });
    ours.joins(recording::record("node-1", server.addr));
    let (record, listens) = ours.record(Kind::Gate);
    recording::assert_same_record("gate-1", record);
    let monitor = redis.monitor();
    let mut dues = redis.connect();
    let client = Client::dial(listens, &recording::handshake("node-1"));
    let recorded_answers = answers();
    let players = addr.unwrap();
    let players = std::thread::spawn(move || clients::play(players, Net::Tcp));
    let (mut heard, mut lines) = (Vec::new(), BTreeMap::<i64, usize>::new());
    let (mut told, mut asked) = (0, 0);
    for (hears, recorded) in steps() {
        if hears {
            told += 1;
            // Due keeps no order between an event and a message, or between clients.
            loop {
                let same = |frame: &Vec<u8>| *frame == recorded.bytes;
                if let Some(at) = heard.iter().position(same) {
                    heard.remove(at);
                    break;
                }
                let frame = server.next();
                let of = client_of(&frame.bytes);
                let conn = *lines.entry(of).or_insert(frame.conn);
                assert_eq!(conn, frame.conn, "all of one client goes over one connection");
                heard.push(frame.bytes);
                assert!(
                    heard.len() < 4,
                    "due's node got\n{:?}\nand hears\n{heard:?}",
                    recorded.bytes
                );
            }
            continue;
        }
        let conn = usize::try_from(recorded.connection).unwrap() - 1;
        if route(&recorded.bytes) == UNBIND {
            dues.unbind_node(number(payload(&recorded.bytes), 0));
        }
        client.say(conn, &recorded.bytes);
        if seq(&recorded.bytes) == 0 {
            continue;
        }
        asked += 1;
        let answer = client.next();
        let expected = &recorded_answers[&(recorded.connection, seq(&recorded.bytes))];
        assert_eq!((answer.conn, &answer.bytes), (conn, expected), "{:?}", recorded.bytes);
        if route(&recorded.bytes) == BIND {
            dues.bind_node(number(payload(&recorded.bytes), 8));
        }
    }
    players.join().unwrap();
    assert!(told > 20 && asked > 15, "{told} and {asked}");
    assert!(heard.is_empty() && server.is_quiet(), "our gate tells more: {heard:?}");
    assert!(client.is_quiet(), "our gate speaks first");
    let introductions = server.introductions.lock().unwrap().clone();
    assert_eq!(introductions, vec![recording::handshake("gate-1"); 5]);
    let written = monitor.written(&[dues.me], &mut redis.connect());
    recording::assert_same_writes("gate", &written);
    client.leave();
    ours.stop();
}
