//! The gate's side of a connection.

use crate::{at, start};
use std::{sync::Arc, time::Duration};
use yumen_proto::{
    ClientConn, CloseReason, ConnState, Features, Heartbeat, Machine, Mechanism, Now, Out, Outcome,
    RouteId, ServerConn, ServerEvent, Settings, StatusReply,
    conn::LastWords,
    extension::{Announce, CloseNotice, NoticeReason, kind},
};

const HEARTBEAT: [u8; 5] = [0, 0, 0, 1, 0x80];

fn conn(settings: Settings) -> (ServerConn, Out, Now) {
    let now = start();
    (ServerConn::new(Arc::new(settings), now), Out::default(), now)
}

fn beating(seconds: u64, misses: u32, mechanism: Mechanism) -> Settings {
    let interval = Duration::from_secs(seconds);
    Settings { heartbeat: Heartbeat { interval, mechanism, misses }, ..Settings::default() }
}

fn message(route: i32) -> Vec<u8> {
    let mut wire = Vec::new();
    Settings::default().layout.encode_data(RouteId(route), 3, b"body", &mut wire).unwrap();
    wire
}

fn announcement(features: Features) -> Vec<u8> {
    let mut tail = Vec::new();
    Announce { features, ..Announce::default() }.encode(&mut tail);
    let mut wire = Vec::new();
    Settings::default().layout.encode_control(kind::ANNOUNCE, &tail, &mut wire);
    wire
}

/// Feeds `wire` and returns the routes of the messages; −1 stands for an announcement.
fn feed(conn: &mut ServerConn, now: Now, wire: &[u8], out: &mut Out) -> Vec<i32> {
    try_feed(conn, now, wire, out).unwrap()
}

fn try_feed(
    conn: &mut ServerConn,
    now: Now,
    wire: &[u8],
    out: &mut Out,
) -> Result<Vec<i32>, CloseReason> {
    let had = conn.tail_len();
    let mut scratch = vec![0; had];
    scratch.extend_from_slice(wire);
    let end = scratch.len();
    let mut input = conn.join(now, &mut scratch, end);
    let mut routes = Vec::new();
    while let Some(event) = conn.next(now, &mut input, out)? {
        routes.push(match event {
            ServerEvent::Message(data) => data.route.0,
            ServerEvent::Announced => -1,
            ServerEvent::Nonsense(_) => -2,
        });
    }
    Ok(routes)
}

#[test]
fn an_idle_connection_takes_at_most_120_bytes_and_holds_nothing() {
    assert!(size_of::<ServerConn>() <= 120, "{}", size_of::<ServerConn>());
    assert!(size_of::<ClientConn>() <= 120, "{}", size_of::<ClientConn>());
    let (mut conn, mut out, now) = conn(Settings::default());
    let wire = [message(1), message(2)].concat();
    assert_eq!(feed(&mut conn, now, &wire, &mut out), [1, 2]);
    assert_eq!((conn.held(), out.capacity()), (0, 0));
}

#[test]
fn cuts_do_not_matter_and_nothing_is_held_afterwards() {
    let wire: Vec<u8> = (0..20).flat_map(message).collect();
    for cut in [1, 3, 5, 12, 13, 14, 100, 1000] {
        let (mut conn, mut out, now) = conn(Settings::default());
        let routes: Vec<_> =
            wire.chunks(cut).flat_map(|piece| feed(&mut conn, now, piece, &mut out)).collect();
        assert_eq!(routes, (0..20).collect::<Vec<_>>(), "cut {cut}");
        assert_eq!((conn.held(), conn.skipped()), (0, 0));
    }
}

#[test]
fn silence_of_three_times_15_seconds_closes_at_the_limit_and_not_before() {
    let (mut conn, mut out, now) = conn(beating(15, 3, Mechanism::Resp));
    assert_eq!(conn.on_deadline(at(now, 44_999), &mut out), Ok(()));
    assert_eq!(conn.on_deadline(at(now, 45_000), &mut out), Err(CloseReason::Idle));
}

#[test]
fn silence_of_twice_15_seconds_closes_at_the_limit_and_not_before() {
    let (mut conn, mut out, now) = conn(beating(15, 2, Mechanism::Resp));
    assert_eq!(conn.on_deadline(at(now, 29_999), &mut out), Ok(()));
    assert_eq!(conn.on_deadline(at(now, 30_000), &mut out), Err(CloseReason::Idle));
}

#[test]
fn every_whole_packet_is_a_sign_of_life_even_an_empty_one() {
    let short = vec![0, 0, 0, 1, 0];
    for wire in [HEARTBEAT.to_vec(), vec![0; 4], message(1), announcement(Features::NONE), short] {
        let (mut conn, mut out, now) = conn(beating(15, 2, Mechanism::Resp));
        feed(&mut conn, at(now, 20_000), &wire, &mut out);
        assert_eq!(conn.on_deadline(at(now, 49_999), &mut out), Ok(()), "{wire:?}");
        assert_eq!(conn.on_deadline(at(now, 50_000), &mut out), Err(CloseReason::Idle));
    }
}

#[test]
fn a_packet_that_dribbles_in_is_no_sign_of_life() {
    let (mut conn, mut out, now) = conn(beating(15, 2, Mechanism::Resp));
    let wire = message(1);
    for (second, byte) in wire[..wire.len() - 1].iter().enumerate() {
        feed(&mut conn, at(now, second as u64 * 1000), &[*byte], &mut out);
    }
    assert_eq!(conn.on_deadline(at(now, 30_000), &mut out), Err(CloseReason::Idle));
}

#[test]
fn without_an_interval_silence_is_no_fault() {
    let (mut conn, mut out, now) = conn(beating(0, 2, Mechanism::Tick));
    assert_eq!(conn.on_deadline(at(now, 1_000_000_000), &mut out), Ok(()));
    assert!(out.is_empty());
}

#[test]
fn one_silent_interval_makes_it_pending_and_any_packet_active_again() {
    let (mut conn, mut out, now) = conn(beating(15, 3, Mechanism::Resp));
    conn.on_deadline(at(now, 14_999), &mut out).unwrap();
    assert_eq!(conn.state(), ConnState::Active);
    conn.on_deadline(at(now, 15_000), &mut out).unwrap();
    assert_eq!(conn.state(), ConnState::Pending);
    assert_eq!(feed(&mut conn, at(now, 16_000), &message(7), &mut out), [7], "still served");
    assert_eq!(conn.state(), ConnState::Active);
    conn.close(at(now, 17_000), CloseReason::ByGame, "".into(), &mut out);
    assert_eq!(conn.state(), ConnState::Closing);
}

#[test]
fn each_heartbeat_is_answered_with_one_and_none_is_sent_unasked() {
    let (mut conn, mut out, now) = conn(beating(10, 2, Mechanism::Resp));
    let wire = [&HEARTBEAT[..], &[0, 0, 0, 9, 0x80, 1, 2, 3, 4, 5, 6, 7, 8], &HEARTBEAT].concat();
    feed(&mut conn, now, &wire, &mut out);
    assert_eq!(out.pending(), HEARTBEAT.repeat(3));
    conn.on_deadline(at(now, 10_000), &mut out).unwrap();
    assert_eq!(out.pending().len(), 15);
}

#[test]
fn with_ticks_one_is_sent_each_interval_and_none_is_answered() {
    let (mut conn, mut out, now) = conn(beating(10, 9, Mechanism::Tick));
    feed(&mut conn, now, &HEARTBEAT, &mut out);
    assert!(out.is_empty());
    for second in 1..=60 {
        conn.on_deadline(at(now, second * 1000 + 300), &mut out).unwrap();
    }
    assert_eq!(out.pending(), HEARTBEAT.repeat(6));
}

#[test]
fn after_a_jump_of_time_one_tick_is_enough() {
    let (mut conn, mut out, now) = conn(beating(10, 1000, Mechanism::Tick));
    conn.on_deadline(at(now, 995_000), &mut out).unwrap();
    conn.on_deadline(at(now, 1_004_999), &mut out).unwrap();
    assert_eq!(out.pending(), HEARTBEAT);
    conn.on_deadline(at(now, 1_005_000), &mut out).unwrap();
    assert_eq!(out.pending().len(), 10);
}

#[test]
fn the_login_deadline_stops_with_a_user_and_starts_anew_without() {
    let login_max = Duration::from_secs(20);
    let settings = || Settings { login_max, ..beating(0, 1, Mechanism::Resp) };
    let (mut late, mut out, now) = conn(settings());
    assert_eq!(late.on_deadline(at(now, 19_999), &mut out), Ok(()));
    assert_eq!(late.on_deadline(at(now, 20_000), &mut out), Err(CloseReason::LoginDeadline));

    let (mut conn, mut out, now) = conn(settings());
    conn.bound(at(now, 19_999));
    assert_eq!(conn.on_deadline(at(now, 500_000), &mut out), Ok(()));
    conn.unbound(at(now, 500_000));
    assert_eq!(conn.on_deadline(at(now, 519_999), &mut out), Ok(()));
    assert_eq!(conn.on_deadline(at(now, 520_000), &mut out), Err(CloseReason::LoginDeadline));
}

#[test]
fn without_a_login_limit_nobody_has_to_log_in() {
    let (mut conn, mut out, now) = conn(beating(0, 1, Mechanism::Resp));
    conn.unbound(now);
    assert_eq!(conn.on_deadline(at(now, 1_000_000_000), &mut out), Ok(()));
}

#[test]
fn too_many_queued_bytes_close() {
    let (mut conn, _, now) = conn(Settings { backlog_max: 1000, ..Settings::default() });
    assert_eq!(conn.wrote(now, 0, 1000), Ok(()));
    assert_eq!(conn.wrote(now, 5000, 1001), Err(CloseReason::Backlog));
}

#[test]
fn a_peer_that_accepts_no_byte_is_closed_at_the_write_stall_limit() {
    let (mut conn, mut out, now) = conn(beating(0, 1, Mechanism::Resp));
    conn.wrote(at(now, 1000), 0, 5).unwrap();
    conn.wrote(at(now, 5000), 0, 9).unwrap();
    assert_eq!(conn.on_deadline(at(now, 10_999), &mut out), Ok(()));
    assert_eq!(conn.on_deadline(at(now, 11_000), &mut out), Err(CloseReason::Stalled));
    assert_eq!(conn.wrote(at(now, 11_000), 0, 5), Err(CloseReason::Stalled));
}

#[test]
fn one_accepted_byte_starts_the_write_stall_limit_anew_and_the_last_ends_it() {
    let (mut conn, mut out, now) = conn(beating(0, 1, Mechanism::Resp));
    conn.wrote(now, 0, 5).unwrap();
    conn.wrote(at(now, 9_999), 1, 4).unwrap();
    assert_eq!(conn.on_deadline(at(now, 19_998), &mut out), Ok(()));
    conn.wrote(at(now, 19_998), 4, 0).unwrap();
    assert_eq!(conn.on_deadline(at(now, 1_000_000), &mut out), Ok(()));
}

#[test]
fn a_blocked_write_does_not_stop_the_idle_clock() {
    let settings = Settings { write_stall_max: Duration::ZERO, ..beating(15, 2, Mechanism::Resp) };
    let (mut conn, mut out, now) = conn(settings);
    conn.wrote(at(now, 1000), 0, 5).unwrap();
    assert_eq!(conn.on_deadline(at(now, 30_000), &mut out), Err(CloseReason::Idle));
}

#[test]
fn an_announcement_is_answered_with_what_both_offer() {
    let (mut conn, mut out, now) = conn(Settings::default());
    let offer = Features::STATUS.and(Features::REDIRECT);
    assert_eq!(feed(&mut conn, now, &announcement(offer), &mut out), [-1]);
    assert_eq!((conn.features(), conn.is_announced()), (Features::STATUS, true));
    let [0, 0, 0, _, 0x81, tail @ ..] = out.pending() else { panic!("{:?}", out.pending()) };
    let answer = Announce::parse(tail).unwrap();
    assert_eq!(answer.features, Features::STATUS);
    assert_eq!((answer.heartbeat_ms, answer.message_max), (Some(10_000), Some(65_536)));
    assert_eq!(answer.time_ms, Some(1_700_000_000_123));
}

#[test]
fn an_announcement_that_does_not_parse_is_a_heartbeat() {
    let (mut conn, mut out, now) = conn(Settings::default());
    let mut wire = announcement(Features::STATUS);
    wire[5] = b'X';
    assert!(feed(&mut conn, now, &wire, &mut out).is_empty());
    assert_eq!(out.pending(), HEARTBEAT);
    assert!(!conn.is_announced());
}

#[test]
fn from_a_stranger_every_kind_is_a_heartbeat_as_for_due() {
    for kind in [2, 3, 6, 7, 127] {
        let (mut conn, mut out, now) = conn(Settings::default());
        feed(&mut conn, now, &[0, 0, 0, 2, 0x80 | kind, 9], &mut out);
        assert_eq!((out.pending(), conn.skipped()), (&HEARTBEAT[..], 0), "kind {kind}");
    }
}

#[test]
fn reserved_kinds_of_an_announced_client_are_counted_and_ignored() {
    let (mut conn, mut out, now) = conn(Settings::default());
    feed(&mut conn, now, &announcement(Features::STATUS), &mut out);
    let answered = out.pending().len();
    for kind in 3..=6 {
        assert!(feed(&mut conn, now, &[0, 0, 0, 2, 0x80 | kind, 9], &mut out).is_empty());
    }
    assert_eq!((out.pending().len(), conn.skipped()), (answered, 4));
    feed(&mut conn, now, &HEARTBEAT, &mut out);
    assert_eq!(out.pending().len(), answered + 5, "heartbeats are answered as before");
}

#[test]
fn flags_of_a_client_change_nothing() {
    let (mut conn, mut out, now) = conn(Settings::default());
    feed(&mut conn, now, &announcement(Features::STATUS), &mut out);
    let mut wire = message(5);
    wire[4] = 0x7F;
    assert_eq!(feed(&mut conn, now, &wire, &mut out), [5]);
}

#[test]
fn a_status_is_sent_only_to_who_announced_it_and_waits() {
    let reply = StatusReply { code: 5, outcome: Outcome::NotSent, retry_after_ms: 0, text: "no" };
    let (mut conn, mut out, now) = conn(Settings::default());
    assert!(!conn.status(RouteId(1), 2, &reply, &mut out), "nothing was announced");
    feed(&mut conn, now, &announcement(Features::CLOSE), &mut out);
    let mark = out.pending().len();
    assert!(!conn.status(RouteId(1), 2, &reply, &mut out), "only close notices were announced");
    feed(&mut conn, now, &announcement(Features::STATUS), &mut out);
    let mark = mark * 2;
    assert!(!conn.status(RouteId(1), 0, &reply, &mut out), "nobody waits");
    assert!(conn.status(RouteId(1), 2, &reply, &mut out));
    let expected = [0, 0, 0, 14, 1, 0, 1, 0, 2, 0, 5, 2, 0, 0, 0, 0, b'n', b'o'];
    assert_eq!(out.pending()[mark..], expected);
}

#[test]
fn the_text_of_a_status_is_cut_to_the_largest_body() {
    let mut settings = Settings::default();
    settings.layout.body_max = 10;
    let (mut conn, mut out, now) = conn(settings);
    feed(&mut conn, now, &announcement(Features::STATUS), &mut out);
    let mark = out.pending().len();
    let reply = StatusReply { text: "a long story", ..StatusReply::default() };
    assert!(conn.status(RouteId(1), 2, &reply, &mut out));
    assert!(out.pending()[mark..].ends_with(b"\0\0\0\0a l"));
}

#[test]
fn a_graceful_close_tells_why_if_that_was_announced() {
    let (mut conn, mut out, now) = conn(Settings::default());
    feed(&mut conn, now, &announcement(Features::CLOSE), &mut out);
    let mark = out.pending().len();
    conn.close(now, CloseReason::Kicked, "elsewhere".into(), &mut out);
    let [0, 0, 0, 16, 0x82, tail @ ..] = &out.pending()[mark..] else {
        panic!("{:?}", out.pending())
    };
    let reason = NoticeReason::Kicked;
    let notice = CloseNotice { reason, retry_after_ms: 0, text: "elsewhere" };
    assert_eq!(CloseNotice::parse(tail), Ok(notice));
    let len = out.pending().len();
    conn.close(now, CloseReason::Shutdown, "".into(), &mut out);
    assert_eq!(conn.closing(), Some(CloseReason::Kicked), "the first reason stays");
    assert_eq!(out.pending().len(), len);
}

#[test]
fn a_graceful_close_tells_when_to_come_back_in_whole_milliseconds() {
    let rows = [(0, 0), (1, 1), (1_000_000, 1), (2_500_001, 3), (u64::MAX, u32::MAX)];
    for (nanos, ms) in rows {
        let (mut conn, mut out, now) = conn(Settings::default());
        feed(&mut conn, now, &announcement(Features::CLOSE), &mut out);
        let mark = out.pending().len();
        let words = LastWords { text: "soon", retry_after: Duration::from_nanos(nanos) };
        conn.close(now, CloseReason::Shutdown, words, &mut out);
        let [0, 0, 0, 11, 0x82, tail @ ..] = &out.pending()[mark..] else {
            panic!("{:?}", out.pending())
        };
        let reason = NoticeReason::Shutdown;
        let notice = CloseNotice { reason, retry_after_ms: ms, text: "soon" };
        assert_eq!(CloseNotice::parse(tail), Ok(notice));
    }
}

#[test]
fn a_stranger_is_told_nothing() {
    let (mut conn, mut out, now) = conn(Settings::default());
    conn.close(now, CloseReason::Kicked, "elsewhere".into(), &mut out);
    assert!(out.is_empty());
    assert_eq!(conn.closing(), Some(CloseReason::Kicked));
}

#[test]
fn while_closing_what_arrives_is_discarded_and_nothing_is_answered() {
    let (mut conn, mut out, now) = conn(Settings::default());
    feed(&mut conn, now, &announcement(Features::STATUS), &mut out);
    let _ = out.accepted(usize::MAX);
    feed(&mut conn, now, &message(1)[..9], &mut out);
    conn.close(now, CloseReason::ByGame, "".into(), &mut out);
    assert_eq!(conn.held(), 0);
    let mut input = &message(2)[..];
    assert_eq!(conn.next(now, &mut input, &mut out), Ok(None));
    assert!(input.is_empty());
    let wire = [&message(2)[..], &HEARTBEAT, &[0xFF; 9]].concat();
    assert_eq!(try_feed(&mut conn, now, &wire, &mut out), Ok(vec![]));
    assert_eq!(conn.message(now, &message(2), &mut out), Ok(None));
    conn.keep(&wire);
    assert!(out.is_empty());
    assert_eq!(conn.held(), 0);
    let reply = StatusReply::default();
    assert!(!conn.status(RouteId(1), 1, &reply, &mut out));
}

#[test]
fn a_close_that_does_not_drain_ends_at_its_own_deadline() {
    let login_max = Duration::from_secs(2);
    let (mut conn, mut out, now) = conn(Settings { login_max, ..beating(1, 1, Mechanism::Tick) });
    conn.close(at(now, 500), CloseReason::Shutdown, "".into(), &mut out);
    assert_eq!(conn.wrote(at(now, 500), 0, usize::MAX), Ok(()));
    assert_eq!(
        conn.on_deadline(at(now, 5_499), &mut out),
        Ok(()),
        "neither idle nor stalled nor late"
    );
    assert_eq!(conn.on_deadline(at(now, 5_500), &mut out), Err(CloseReason::Shutdown));
    assert!(out.is_empty(), "no heartbeat");
}

#[test]
fn a_message_is_exactly_one_packet_or_counted() {
    let (mut conn, mut out, now) = conn(beating(15, 2, Mechanism::Resp));
    let whole = message(4);
    let two = [message(4), message(5)].concat();
    let event = conn.message(at(now, 1000), &whole, &mut out).unwrap();
    assert!(matches!(event, Some(ServerEvent::Message(data)) if data.raw == whole));
    for bad in [&two[..], &whole[..6], &whole[..3], &[0xFF; 12]] {
        let shown = Ok(Some(ServerEvent::Nonsense(bad)));
        assert_eq!(conn.message(at(now, 2000), bad, &mut out), shown);
    }
    assert_eq!(conn.skipped(), 4);
    assert_eq!(conn.message(at(now, 3000), &[], &mut out), Ok(None));
    assert_eq!(conn.skipped(), 4, "an empty message is only a sign of life");
    assert_eq!(conn.on_deadline(at(now, 32_999), &mut out), Ok(()));
    assert_eq!(conn.message(at(now, 2000), &HEARTBEAT, &mut out), Ok(None));
    assert_eq!(out.pending(), HEARTBEAT);
}

#[test]
fn a_message_over_the_limit_closes() {
    let mut settings = Settings::default();
    settings.layout.receive_max = 2000;
    let (mut conn, mut out, now) = conn(settings);
    let mut wire = Vec::new();
    let large = [0; 2001];
    Settings::default().layout.encode_data(RouteId(1), 1, &large, &mut wire).unwrap();
    assert!(matches!(conn.message(now, &wire, &mut out), Err(CloseReason::Malformed(_))));
}

#[test]
fn a_packet_too_short_for_its_header_is_counted_and_skipped() {
    let (mut conn, mut out, now) = conn(Settings::default());
    let wire = [&[0, 0, 0, 2, 0, 1][..], &message(8)].concat();
    assert_eq!(feed(&mut conn, now, &wire, &mut out), [-2, 8]);
    assert_eq!(conn.skipped(), 1);
}

#[test]
fn what_is_held_back_comes_again_and_its_heartbeats_are_answered_once() {
    let (mut conn, mut out, now) = conn(beating(15, 2, Mechanism::Resp));
    let mut wire = [&message(1)[..], &HEARTBEAT, &[0; 4], &message(2), &HEARTBEAT].concat();
    let end = wire.len();
    let mut input = conn.join(now, &mut wire, end);
    let first = conn.next(now, &mut input, &mut out).unwrap();
    assert!(matches!(first, Some(ServerEvent::Message(data)) if data.route.0 == 1));
    let before = input;
    let second = conn.next(now, &mut input, &mut out).unwrap();
    assert!(matches!(second, Some(ServerEvent::Message(data)) if data.route.0 == 2));
    conn.hold(before, input);
    assert_eq!(conn.tail_len(), message(2).len() + HEARTBEAT.len());
    assert_eq!(out.pending(), HEARTBEAT);
    // It is us who do not read, so that it is not idle.
    assert_eq!(conn.on_deadline(at(now, 100_000), &mut out), Ok(()));
    assert_eq!(feed(&mut conn, at(now, 100_000), &[], &mut out), [2]);
    assert_eq!(out.pending(), HEARTBEAT.repeat(2));
    assert_eq!(conn.on_deadline(at(now, 129_999), &mut out), Ok(()));
    assert_eq!(conn.on_deadline(at(now, 130_000), &mut out), Err(CloseReason::Idle));
}

#[test]
fn a_read_buffer_without_room_for_the_tail_changes_nothing() {
    let (mut conn, mut out, now) = conn(Settings::default());
    feed(&mut conn, now, &message(1)[..9], &mut out);
    assert!(conn.join(now, &mut [0; 8], 8).is_empty());
    assert!(conn.join(now, &mut [0; 8], 80).is_empty());
    assert_eq!(feed(&mut conn, now, &message(1)[9..], &mut out), [1]);
}

#[test]
fn every_reason_has_a_name_and_those_with_somebody_to_tell_a_notice() {
    assert_eq!(CloseReason::Gone.notice(), None);
    assert_eq!(CloseReason::Done.notice(), None);
    assert_eq!(CloseReason::Stalled.notice(), Some(NoticeReason::Backlog));
    assert_eq!(CloseReason::LoginDeadline.name(), "login_deadline");
}
