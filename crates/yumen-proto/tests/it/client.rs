//! The client's side of a connection.

use crate::{at, start};
use std::{sync::Arc, time::Duration};
use yumen_proto::{
    ClientConn, ClientEvent, CloseNotice, CloseReason, Data, Features, Heartbeat, Machine,
    Mechanism, NoticeReason, Now, Out, Outcome, Peer, RouteId, Settings, StatusReply,
    extension::{Announce, kind},
};

const HEARTBEAT: [u8; 5] = [0, 0, 0, 1, 0x80];

fn settings() -> Settings {
    let heartbeat =
        Heartbeat { interval: Duration::from_secs(15), mechanism: Mechanism::Resp, misses: 2 };
    Settings { heartbeat, ..Settings::default() }
}

/// A client that has announced itself, its announcement written already.
fn conn() -> (ClientConn, Out, Now) {
    let (now, mut out) = (start(), Out::default());
    let conn = ClientConn::new(Arc::new(settings()), now, true, &mut out);
    (conn, Out::default(), now)
}

fn control(kind: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (mut tail, mut wire) = (Vec::new(), Vec::new());
    encode(&mut tail);
    settings().layout.encode_control(kind, &tail, &mut wire);
    wire
}

fn announcement(features: Features) -> Vec<u8> {
    let announce = Announce { features, ..Announce::default() };
    control(kind::ANNOUNCE, |tail| announce.encode(tail))
}

/// The first event of `wire`, which is one packet.
fn one<'a>(conn: &mut ClientConn, now: Now, wire: &'a [u8]) -> Option<ClientEvent<'a>> {
    conn.message(now, wire, &mut Out::default()).unwrap()
}

#[test]
fn the_announcement_is_the_first_thing_sent() {
    let (now, mut out) = (start(), Out::default());
    let conn = ClientConn::new(Arc::new(settings()), now, true, &mut out);
    let [0, 0, 0, _, 0x81, tail @ ..] = out.pending() else { panic!("{:?}", out.pending()) };
    let announce = Announce::parse(tail).unwrap();
    assert_eq!(announce.features, Features::STATUS.and(Features::CLOSE));
    assert!(announce.client.is_some_and(|name| name.starts_with("yumen ")));
    assert_eq!((conn.peer(), conn.features()), (Peer::Unknown, Features::NONE));
}

#[test]
fn who_does_not_announce_sends_nothing_and_learns_nothing() {
    let (now, mut out) = (start(), Out::default());
    let mut conn = ClientConn::new(Arc::new(settings()), now, false, &mut out);
    assert!(out.is_empty());
    assert_eq!(one(&mut conn, now, &HEARTBEAT), None);
    assert_eq!(one(&mut conn, now, &announcement(Features::STATUS)), None);
    assert_eq!((conn.peer(), conn.features()), (Peer::Unknown, Features::NONE));
}

#[test]
fn a_plain_heartbeat_in_answer_is_from_due() {
    let (mut conn, _, now) = conn();
    assert_eq!(one(&mut conn, now, &HEARTBEAT), None);
    assert_eq!((conn.peer(), conn.skipped()), (Peer::Due, 0));
}

#[test]
fn an_announcement_in_answer_is_from_one_of_ours() {
    let (mut conn, _, now) = conn();
    let wire = announcement(Features::STATUS);
    assert_eq!(one(&mut conn, now, &wire), Some(ClientEvent::Announced(Features::STATUS)));
    assert_eq!((conn.peer(), conn.features()), (Peer::Yumen, Features::STATUS));
    assert_eq!(one(&mut conn, now, &HEARTBEAT), None);
    assert_eq!(conn.peer(), Peer::Yumen, "later heartbeats are only heartbeats");
}

#[test]
fn a_gate_cannot_agree_to_more_than_was_offered() {
    let (mut conn, _, now) = conn();
    let all = Features::from_bits(u32::MAX);
    let offered = Features::STATUS.and(Features::CLOSE);
    assert_eq!(one(&mut conn, now, &announcement(all)), Some(ClientEvent::Announced(offered)));
}

#[test]
fn a_heartbeat_is_sent_each_interval_whatever_else_is_sent() {
    let (mut conn, mut out, now) = conn();
    for second in 1..=60 {
        one(&mut conn, at(now, second * 1000), &[0; 4]);
        conn.on_deadline(at(now, second * 1000), &mut out).unwrap();
    }
    assert_eq!(out.pending(), HEARTBEAT.repeat(4));
}

#[test]
fn heartbeats_of_the_gate_are_not_answered() {
    let (mut conn, mut out, now) = conn();
    assert_eq!(conn.message(now, &HEARTBEAT, &mut out), Ok(None));
    assert!(out.is_empty());
}

#[test]
fn a_silent_gate_is_left_at_the_limit_and_not_before() {
    let (mut conn, mut out, now) = conn();
    assert_eq!(conn.on_deadline(at(now, 29_999), &mut out), Ok(()));
    assert_eq!(conn.on_deadline(at(now, 30_000), &mut out), Err(CloseReason::Idle));
}

fn refusal() -> Vec<u8> {
    let (mut body, mut wire) = (Vec::new(), Vec::new());
    let outcome = Outcome::Rejected;
    StatusReply { code: 3, outcome, retry_after_ms: 7, text: "name" }.encode(&mut body);
    settings().layout.encode_flagged(1, RouteId(9), 4, &body, &mut wire).unwrap();
    wire
}

#[test]
fn a_status_reply_is_one_once_both_sides_announced_it() {
    let (mut conn, _, now) = conn();
    one(&mut conn, now, &announcement(Features::STATUS));
    let wire = refusal();
    let reply =
        StatusReply { code: 3, outcome: Outcome::Rejected, retry_after_ms: 7, text: "name" };
    let event = ClientEvent::Status { route: RouteId(9), seq: 4, reply };
    assert_eq!(one(&mut conn, now, &wire), Some(event));
}

#[test]
fn without_that_the_flag_means_nothing() {
    let wire = refusal();
    for answer in [HEARTBEAT.to_vec(), announcement(Features::CLOSE)] {
        let (mut conn, _, now) = conn();
        one(&mut conn, now, &answer);
        let event = one(&mut conn, now, &wire);
        assert!(matches!(event, Some(ClientEvent::Message(Data { flags: 1, .. }))), "{event:?}");
    }
}

#[test]
fn a_status_reply_that_does_not_parse_is_counted() {
    let (mut conn, _, now) = conn();
    one(&mut conn, now, &announcement(Features::STATUS));
    assert_eq!(one(&mut conn, now, &[0, 0, 0, 6, 1, 0, 9, 0, 4, 0]), None);
    assert_eq!(conn.skipped(), 1);
}

#[test]
fn a_close_notice_is_told_once_it_was_agreed() {
    let notice = CloseNotice { reason: NoticeReason::Shutdown, retry_after_ms: 5, text: "bye" };
    let wire = control(kind::CLOSE, |tail| notice.encode(tail));
    let (mut conn, _, now) = conn();
    assert_eq!(one(&mut conn, now, &wire), None);
    assert_eq!(conn.skipped(), 1);
    one(&mut conn, now, &announcement(Features::CLOSE));
    assert_eq!(one(&mut conn, now, &wire), Some(ClientEvent::Closing(notice)));
}

#[test]
fn reserved_and_unknown_kinds_are_counted_and_ignored() {
    let (mut conn, _, now) = conn();
    one(&mut conn, now, &announcement(Features::from_bits(u32::MAX)));
    for kind in [3, 4, 5, 6, 7, 127] {
        assert_eq!(one(&mut conn, now, &[0, 0, 0, 1, 0x80 | kind]), None);
    }
    assert_eq!((conn.skipped(), conn.closing()), (6, None));
}

#[test]
fn closing_sends_nothing_and_discards_what_arrives() {
    let (mut conn, mut out, now) = conn();
    one(&mut conn, now, &announcement(Features::CLOSE));
    conn.close(now, CloseReason::ByGame, "text".into(), &mut out);
    assert!(out.is_empty());
    assert_eq!(one(&mut conn, now, &refusal()), None);
    assert_eq!(conn.on_deadline(at(now, 5_000), &mut out), Err(CloseReason::ByGame));
}
