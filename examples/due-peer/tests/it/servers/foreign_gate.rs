//! The recorded due gate against our node: it says what it said, and our node asks what due's node
//! asked.

use crate::{
    foreign::{Client, Heard, Server, is_handshake, is_heartbeat, payload, route, seq, with_seq},
    ours::Ours,
    recording::{self, Recorded, frames, read, says_the_same},
    redis::Redis,
};
use std::collections::BTreeMap;
use yumen::proto::link::Kind;
use yumen_due_peer::node;

const BIND: u8 = 2;
const UNBIND: u8 = 3;
const DISCONNECT: u8 = 7;
const PUSH: u8 = 8;
const MULTICAST: u8 = 9;
/// Where the client's packet stands in a push.
const PACKET: usize = 9;

/// The number at `at`.
fn number(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// What our node asked, in the words of due's: a multicast to one user is a push to it.
fn in_dues_words(frame: &[u8]) -> Vec<u8> {
    let body = payload(frame);
    if route(frame) != MULTICAST || body[1..3] != [0, 1] {
        return frame.to_vec();
    }
    let mut push = frame[..14].to_vec();
    push[5] = PUSH;
    push.push(body[0]);
    push.extend_from_slice(&body[3..]);
    push
}

/// Whether our question says what the recorded one said.
fn is_same(recorded: &[u8], ours: &[u8]) -> bool {
    let (theirs, mine) = (payload(recorded), payload(ours));
    let waits = |frame: &[u8]| seq(frame) != 0;
    // Nobody reads the answer to it.
    let same_wait = waits(recorded) == waits(ours) || route(recorded) == DISCONNECT;
    if route(recorded) != route(ours) || recorded[4] != ours[4] || !same_wait {
        return false;
    }
    if route(recorded) != PUSH {
        return theirs == mine;
    }
    let (their_packet, my_packet) = (read(&theirs[PACKET..]), read(&mine[PACKET..]));
    theirs[..PACKET] == mine[..PACKET]
        && match (their_packet, my_packet) {
            (Some((route, seq, body)), Some((my_route, my_seq, my_body))) => {
                (route, seq) == (my_route, my_seq) && says_the_same(&body, &my_body)
            }
            _ => false,
        }
}

/// The recorded answers of the gate, by connection and number.
fn answers(asked: &[Recorded]) -> BTreeMap<(u64, u64), Vec<u8>> {
    let answers = asked.iter().filter(|frame| !frame.from_dialler && !is_heartbeat(&frame.bytes));
    answers.map(|frame| ((frame.connection, seq(&frame.bytes)), frame.bytes.clone())).collect()
}

/// One step of the recording.
enum Step {
    Says(Recorded),
    Hears(Recorded),
}

fn steps() -> Vec<Step> {
    let plain = |frame: &Recorded| {
        frame.from_dialler && !is_heartbeat(&frame.bytes) && !is_handshake(&frame.bytes)
    };
    let says = frames("gate-1 dials node-1").into_iter().filter(plain).map(Step::Says);
    let hears = frames("node-1 dials gate-1").into_iter().filter(plain).map(Step::Hears);
    let mut steps: Vec<_> = says.chain(hears).collect();
    let at = |step: &Step| match step {
        Step::Says(frame) | Step::Hears(frame) => frame.at,
    };
    steps.sort_by(|a, b| at(a).total_cmp(&at(b)));
    steps
}

#[test]
fn the_recorded_due_gate_hears_from_our_node_what_it_heard_from_dues() {
    let redis = Redis::start();
    let server = Server::listen();
    let ours = Ours::start(redis.locator(), |cluster, settings| {
        yumen::prelude::App::default().with(node(cluster, settings).unwrap())
    });
    ours.joins(recording::record("gate-1", server.addr));
    let (record, listens) = ours.record(Kind::Node);
    recording::assert_same_record("node-1", record);
    let monitor = redis.monitor();
    let mut dues = redis.connect();
    let client = Client::dial(listens, &recording::handshake("gate-1"));
    let answers = answers(&frames("node-1 dials gate-1"));
    let (mut said, mut asked) = (0, 0);
    for step in steps() {
        let recorded = match step {
            Step::Says(frame) => {
                let conn = usize::try_from(frame.connection).unwrap() - 1;
                client.say(conn, &frame.bytes);
                said += 1;
                let body = payload(&frame.bytes);
                if route(&frame.bytes) == 14 && body[0] == 3 && body.len() == 17 {
                    dues.unbind_gate(number(body, 9));
                }
                continue;
            }
            Step::Hears(frame) => frame,
        };
        asked += 1;
        let Heard { conn, bytes } = server.next();
        let words = in_dues_words(&bytes);
        let same = is_same(&recorded.bytes, &words);
        assert!(
            same,
            "due's node asked\n{:?}\nours asks\n{:?}",
            show(&recorded.bytes),
            show(&words)
        );
        match route(&words) {
            BIND => dues.bind_gate(number(payload(&words), 8)),
            UNBIND => dues.unbind_gate(number(payload(&words), 0)),
            _ => {}
        }
        let Some(answer) = answers.get(&(recorded.connection, seq(&recorded.bytes))) else {
            continue;
        };
        if seq(&bytes) != 0 {
            let mut answer = with_seq(answer, seq(&bytes));
            if route(&bytes) == MULTICAST {
                answer[..6].copy_from_slice(&[0, 0, 0, 20, 0, MULTICAST]);
                answer.extend_from_slice(&1_u64.to_be_bytes());
            }
            server.answer(conn, &answer);
        }
    }
    assert!(said > 20 && asked > 30, "{said} and {asked}");
    assert!(server.is_quiet(), "our node asks more");
    assert!(client.is_quiet(), "our node speaks first");
    let introductions = server.introductions.lock().unwrap().clone();
    assert_eq!(introductions, vec![recording::handshake("node-1"); 5]);
    let written = monitor.written(&[dues.me], &mut redis.connect());
    recording::assert_same_writes("node", &written);
    client.leave();
    ours.stop();
}

fn show(frame: &[u8]) -> (u8, u64, String) {
    (route(frame), seq(frame), String::from_utf8_lossy(payload(frame)).into_owned())
}

#[test]
fn the_comparison_of_questions_sees_a_wrong_one() {
    let push = frames("node-1 dials gate-1")
        .into_iter()
        .find(|frame| frame.from_dialler && !is_heartbeat(&frame.bytes) && frame.bytes[5] == PUSH);
    let push = push.unwrap().bytes;
    assert!(is_same(&push, &push));
    for at in [5, 13, 14, 22, 31, 35, push.len() - 3] {
        let mut wrong = push.clone();
        wrong[at] ^= 1;
        assert!(!is_same(&push, &wrong), "byte {at}");
    }
}
