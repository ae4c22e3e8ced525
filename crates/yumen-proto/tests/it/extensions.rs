//! Tails of control packets: written and read back, and cut where they are too long.

use crate::any_bytes;
use proptest::prelude::*;
use yumen_proto::{
    CloseNotice, Features, NoticeReason, Outcome, StatusReply, WireError,
    extension::{
        Acknowledge, Announce, Credit, Extension, Redirect, Resume, ResumeWindow, TEXT_MAX,
        TOKEN_MAX, kind,
    },
};

/// Writes with `encode` and reads back with the parser of that kind.
fn again<'a>(
    kind: u8,
    tail: &'a mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Option<Extension<'a>> {
    encode(tail);
    Extension::parse(kind, tail).unwrap()
}

proptest! {
    #[test]
    fn an_announcement_is_read_as_it_was_written(
        (bits, heartbeat_ms, message_max, time_ms) in any::<(
            u32, Option<u32>, Option<u32>, Option<u64>
        )>(),
        window in any::<Option<(u16, u32)>>(),
        token in proptest::option::of(any_bytes(TOKEN_MAX)),
        client in proptest::option::of("[a-zé龙]{0,30}"),
        // Types from 7 on are not known yet.
        unknown in proptest::option::of((7..=255_u8, any_bytes(20))),
    ) {
        let announce = Announce {
            features: Features::from_bits(bits),
            token: token.as_deref(),
            heartbeat_ms,
            message_max,
            time_ms,
            resume_window: window.map(|(seconds, bytes)| ResumeWindow { seconds, bytes }),
            client: client.as_deref(),
        };
        let mut tail = Vec::new();
        announce.encode(&mut tail);
        if let Some((name, value)) = unknown {
            tail.extend_from_slice(&[name, 0, value.len() as u8]);
            tail.extend_from_slice(&value);
        }
        prop_assert_eq!(Announce::parse(&tail), Ok(announce));
    }

    #[test]
    fn an_announcement_cut_anywhere_is_none_or_says_less(len in 0_usize..60) {
        let announce = Announce {
            features: Features::STATUS,
            token: Some(b"token"),
            heartbeat_ms: Some(1),
            message_max: Some(2),
            client: Some("name"),
            ..Announce::default()
        };
        let mut tail = Vec::new();
        announce.encode(&mut tail);
        let cut = Announce::parse(&tail[..len.min(tail.len())]);
        // Only where a field begins is the beginning an announcement too.
        let begins = [9, 17, 24, 31, 38];
        prop_assert_eq!(cut.is_ok(), begins.contains(&len.min(tail.len())), "{}", len);
    }

    #[test]
    fn replies_and_notices_are_read_as_they_were_written(
        (code, outcome, retry_after_ms) in any::<(u16, u8, u32)>(),
        text in "[a-zé龙]{0,100}",
    ) {
        let reply = StatusReply {
            code, outcome: Outcome::from_number(outcome), retry_after_ms, text: &text,
        };
        let mut body = Vec::new();
        reply.encode(&mut body);
        prop_assert_eq!(body.len(), reply.wire_len());
        prop_assert_eq!(StatusReply::parse(&body), Ok(reply));

        let reason = NoticeReason::from_number(code);
        let notice = CloseNotice { reason, retry_after_ms, text: &text };
        let mut tail = Vec::new();
        let read = again(kind::CLOSE, &mut tail, |tail| notice.encode(tail));
        prop_assert_eq!(read, Some(Extension::Close(notice)));
    }

    #[test]
    fn the_reserved_kinds_are_read_as_they_were_written(
        (number, bytes) in any::<(u64, u32)>(),
        token in any_bytes(TOKEN_MAX),
        address in "[a-z.:0-9]{0,40}",
    ) {
        let acknowledge = Acknowledge { number };
        let read = again(kind::ACKNOWLEDGE, &mut Vec::new(), |tail| acknowledge.encode(tail))
            .map(|read| read == Extension::Acknowledge(acknowledge));
        prop_assert_eq!(read, Some(true));
        let credit = Credit { bytes };
        let read = again(kind::CREDIT, &mut Vec::new(), |tail| credit.encode(tail))
            .map(|read| read == Extension::Credit(credit));
        prop_assert_eq!(read, Some(true));
        let (resume, mut tail) = (Resume { token: &token, received: number }, Vec::new());
        let read = again(kind::RESUME, &mut tail, |tail| resume.encode(tail));
        prop_assert_eq!(read, Some(Extension::Resume(resume)));
        let (redirect, mut tail) = (Redirect { address: &address }, Vec::new());
        let read = again(kind::REDIRECT, &mut tail, |tail| redirect.encode(tail));
        prop_assert_eq!(read, Some(Extension::Redirect(redirect)));
    }
}

#[test]
fn an_announcement_has_the_bytes_that_other_clients_expect() {
    let announce = Announce {
        features: Features::STATUS.and(Features::CLOSE),
        heartbeat_ms: Some(10_000),
        ..Announce::default()
    };
    let mut tail = Vec::new();
    announce.encode(&mut tail);
    assert_eq!(tail, b"YUME\x01\0\0\0\x03\x02\0\x04\0\0\x27\x10");
}

#[test]
fn a_status_reply_and_a_notice_have_the_bytes_that_other_clients_expect() {
    let mut body = Vec::new();
    let outcome = Outcome::NotSent;
    StatusReply { code: 1002, outcome, retry_after_ms: 500, text: "no node" }.encode(&mut body);
    assert_eq!(body, b"\x03\xea\x02\0\0\x01\xf4no node");
    let mut tail = Vec::new();
    let reason = NoticeReason::Kicked;
    CloseNotice { reason, retry_after_ms: 0, text: "elsewhere" }.encode(&mut tail);
    assert_eq!(tail, b"\0\x03\0\0\0\0elsewhere");
}

#[test]
fn another_version_or_magic_is_no_announcement() {
    for tail in [&b"YUME\x02\0\0\0\x03"[..], b"YUMF\x01\0\0\0\x03", b"YUME\x01\0\0\0", b""] {
        assert_eq!(Announce::parse(tail), Err(WireError::BadTail { kind: 1 }), "{tail:?}");
    }
}

#[test]
fn a_known_field_of_the_wrong_length_spoils_an_announcement() {
    let head = b"YUME\x01\0\0\0\x03";
    let long_token = [&[1, 0, 65][..], &[0; 65]].concat();
    for field in [&b"\x02\0\x03abc"[..], b"\x02\0\x05abcde", b"\x06\0\x01\xff", &long_token] {
        assert!(Announce::parse(&[head, field].concat()).is_err(), "{field:?}");
    }
}

#[test]
fn a_long_text_is_cut_between_two_characters() {
    let text = "é".repeat(TEXT_MAX);
    let reply = StatusReply { text: &text, ..StatusReply::default() };
    let mut body = Vec::new();
    reply.encode(&mut body);
    assert_eq!(body.len(), reply.wire_len());
    let read = StatusReply::parse(&body).unwrap();
    assert_eq!(read.text.len(), TEXT_MAX);
    let mut tail = Vec::new();
    let text = format!("x{text}");
    CloseNotice { reason: NoticeReason::Idle, retry_after_ms: 0, text: &text }.encode(&mut tail);
    assert_eq!(CloseNotice::parse(&tail).unwrap().text.len(), TEXT_MAX - 1);
}
