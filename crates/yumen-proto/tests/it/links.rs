//! Frames between instances: written and read back, and strict about lengths.

use crate::{any_bytes, hex};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use yumen_proto::{
    ConnId, Outcome, RouteId, StatusReply, UserId,
    link::{
        CHANNEL_MAX, Command, Event, FRAME_MAX, Flow, Frame, Kind, LinkError, Reply, State,
        TARGETS_MAX, Target, TargetKind, Targets, code,
        table::{Answer, OURS, ROWS, row},
    },
};

/// What commands are made of.
#[derive(Clone, Debug)]
struct Parts {
    numbers: (i64, i64, i32, i32, u32),
    small: (u8, u8, u8, bool),
    targets: Vec<i64>,
    packet: Vec<u8>,
    text: String,
}

fn any_parts() -> impl Strategy<Value = Parts> {
    let small = (1..=4_u8, 1..=2_u8, 0..=3_u8, any::<bool>());
    let targets = prop::collection::vec(any::<i64>(), 0..20);
    (any::<(i64, i64, i32, i32, u32)>(), small, targets, any_bytes(50), "[a-zé龙]{0,40}").prop_map(
        |(numbers, small, targets, packet, text)| Parts { numbers, small, targets, packet, text },
    )
}

/// The command of each row, made of those parts.
fn commands(parts: &Parts) -> Vec<Command<'_>> {
    let (number, other, route, seq, bytes) = parts.numbers;
    let (kind, target_kind, state, flag) = parts.small;
    let (conn, user) = (ConnId(number), UserId(other));
    let some_user = (other != 0).then_some(user);
    let instance = Kind::from_number(kind).unwrap();
    let kind = TargetKind::from_number(target_kind).unwrap();
    let target = Target::new(kind, number);
    let targets = Targets::from_slice(&parts.targets);
    let (channel, packet) = (&parts.text[..], &parts.packet[..]);
    let event = Event::from_number(1 + state % 3).unwrap();
    let reply =
        StatusReply { code: 77, outcome: Outcome::Rejected, retry_after_ms: bytes, text: channel };
    vec![
        Command::Handshake { kind: instance, id: channel },
        Command::Bind { conn, user },
        Command::Unbind { user },
        Command::GetIp { target },
        Command::Stat { kind },
        Command::IsOnline { target },
        Command::Disconnect { target, force: flag },
        Command::Push { target, disconnect: flag, packet },
        Command::Multicast { kind, targets, disconnect: flag, packet },
        Command::Broadcast { kind, disconnect: flag, packet },
        Command::Publish { channel, disconnect: flag, packet },
        Command::Subscribe { kind, targets, channel },
        Command::Unsubscribe { kind, targets, channel },
        Command::Trigger { event, conn, user: some_user },
        Command::Deliver { conn, user: some_user, packet },
        Command::GetState,
        Command::SetState { state: State::from_number(state).unwrap() },
        Command::Status { conn, route: RouteId(route), seq, reply },
        Command::Consumed { conn, bytes },
        Command::Address { target },
        Command::Relay { conn, user: some_user, origin: channel, packet },
        Command::HandBack { conn, packet },
    ]
}

fn any_reply() -> impl Strategy<Value = (u8, u16, Reply)> {
    let answers = (any::<u16>(), any::<bool>(), 0..=3_u8, any::<u64>(), any::<(IpAddr, u16)>());
    (0..ROWS.len(), any::<bool>(), answers).prop_map(
        |(at, ok, (code, online, state, total, (ip, port)))| {
            let (row, code) = (ROWS[at], if ok { 0 } else { code });
            let ok = code == 0;
            let reply = match (row.answer, ip) {
                (Answer::Done, _) => Reply::Done,
                (Answer::Ip, IpAddr::V4(ip)) => Reply::Ip(ok.then_some(ip)),
                (Answer::Ip, IpAddr::V6(_)) => Reply::Ip(None),
                (Answer::Address, _) => {
                    Reply::Address((ok && online).then_some(SocketAddr::new(ip, port)))
                }
                (Answer::Total, _) => Reply::Total(if ok { total } else { 0 }),
                (Answer::Online, _) => Reply::Online(online),
                (Answer::State, _) => Reply::State(State::from_number(state).unwrap()),
            };
            (row.code, code, reply)
        },
    )
}

/// Writes and reads back; the frame must be the same, and its length as was said.
fn again(flow: Flow, frame: Frame<'_>) -> Result<(), TestCaseError> {
    let mut wire = Vec::new();
    frame.encode_as(flow, &mut wire).unwrap();
    prop_assert_eq!(wire.len(), frame.wire_len());
    let mut rest = &wire[..];
    prop_assert_eq!(Frame::decode_as(flow, &mut rest, FRAME_MAX), Ok(Some(frame)));
    prop_assert!(rest.is_empty());
    for len in 0..wire.len() {
        let mut cut = &wire[..len];
        prop_assert_eq!(Frame::decode_as(flow, &mut cut, FRAME_MAX), Ok(None));
        prop_assert_eq!(cut.len(), len);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_command_is_read_as_it_was_written(parts in any_parts(), seq in any::<u64>()) {
        for command in commands(&parts) {
            again(Flow::Duplex, Frame::Request { seq, command })?;
            if command.code() < OURS {
                again(Flow::Requests, Frame::Request { seq, command })?;
            }
        }
    }

    #[test]
    fn every_reply_is_read_as_it_was_written(
        seq in any::<u64>(),
        (route, code, reply) in any_reply(),
    ) {
        let frame = Frame::Reply { seq, route, code, reply };
        again(Flow::Duplex, frame)?;
        if route < OURS {
            again(Flow::Replies, frame)?;
        }
    }

    #[test]
    fn targets_read_alike_from_memory_and_from_the_wire(
        numbers in prop::collection::vec(any::<i64>(), 0..40),
        cut in 0_usize..50,
    ) {
        let wire: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        let memory = Targets::from_slice(&numbers);
        let wire = Targets::from_wire(&wire).unwrap();
        prop_assert_eq!(memory, wire);
        prop_assert_eq!(wire.iter().collect::<Vec<_>>(), numbers.clone());
        prop_assert_eq!((wire.len(), wire.iter().len()), (numbers.len(), numbers.len()));
        for list in [memory, wire] {
            let (head, rest) = list.split_at(cut);
            prop_assert_eq!(head.len(), cut.min(numbers.len()));
            prop_assert!(head.iter().chain(rest).eq(numbers.iter().copied()));
        }
    }
}

#[test]
fn the_table_has_each_code_once_and_every_command_its_row() {
    let codes: Vec<u8> = ROWS.iter().map(|row| row.code).collect();
    let (due, ours) = codes.split_at(17);
    assert_eq!(due, (1..=17).collect::<Vec<u8>>());
    assert_eq!(ours, (64..).take(ours.len()).collect::<Vec<u8>>());
    let parts = Parts {
        numbers: (1, 1, 1, 1, 1),
        small: (1, 1, 1, true),
        targets: vec![],
        packet: vec![],
        text: String::new(),
    };
    let of_commands: Vec<_> = commands(&parts).iter().map(Command::row).copied().collect();
    assert_eq!(of_commands, ROWS);
    assert!(ROWS.iter().all(|entry| row(entry.code) == Some(entry)));
    assert_eq!((row(0), row(18), row(ROWS.last().unwrap().code + 1)), (None, None, None));
}

#[test]
fn w08_ten_thousand_targets_arrive_and_the_packet_with_them() {
    for count in [8189, 8190, 8191, 10_000, TARGETS_MAX] {
        let numbers: Vec<i64> = (1..=count as i64).collect();
        let targets = Targets::from_slice(&numbers);
        let kind = TargetKind::Conn;
        let multicast = Command::Multicast { kind, targets, disconnect: false, packet: b"hello" };
        let subscribe = Command::Subscribe { kind, targets, channel: "room" };
        for command in [multicast, subscribe] {
            let frame = Frame::Request { seq: 1, command };
            let mut wire = Vec::new();
            frame.encode(&mut wire).unwrap();
            assert_eq!(Frame::decode(&mut &wire[..], FRAME_MAX), Ok(Some(frame)), "{count}");
        }
    }
}

#[test]
fn w08_more_targets_than_a_frame_can_count_are_refused_and_not_lost() {
    let numbers = vec![1; TARGETS_MAX + 1];
    let targets = Targets::from_slice(&numbers);
    let (kind, channel) = (TargetKind::User, "room");
    for command in [
        Command::Multicast { kind, targets, disconnect: false, packet: b"hello" },
        Command::Subscribe { kind, targets, channel },
        Command::Unsubscribe { kind, targets, channel },
    ] {
        let mut out = Vec::new();
        let refused = Frame::Request { seq: 1, command }.encode(&mut out);
        assert_eq!(refused, Err(LinkError::Unfit { route: command.code() }));
        assert!(out.is_empty());
    }
}

#[test]
fn w08_a_channel_of_241_bytes_is_published_whole_and_one_of_256_is_refused() {
    let name = "r".repeat(CHANNEL_MAX + 1);
    for len in [240, 241, 255] {
        let command = Command::Publish { channel: &name[..len], disconnect: false, packet: b"hi" };
        let (frame, mut wire) = (Frame::Request { seq: 1, command }, Vec::new());
        frame.encode(&mut wire).unwrap();
        assert_eq!(Frame::decode(&mut &wire[..], FRAME_MAX), Ok(Some(frame)));
    }
    let command = Command::Publish { channel: &name, disconnect: false, packet: b"hi" };
    let refused = Frame::Request { seq: 1, command }.encode(&mut Vec::new());
    assert_eq!(refused, Err(LinkError::Unfit { route: 11 }));
}

#[test]
fn w08_a_count_that_promises_more_targets_than_there_are_is_malformed() {
    for count in ["0002", "2000", "ffff"] {
        let text = format!("00000016 00 09 0000000000000003 01 {count} 0000000000000001 00");
        let wire = hex(&text);
        let mut rest = &wire[..];
        let malformed = LinkError::Malformed { route: 9, seq: 3 };
        assert_eq!(Frame::decode(&mut rest, 1024), Err(malformed));
        assert!(rest.is_empty() && !malformed.is_fatal(), "the connection stays");
    }
}

#[test]
fn w44_negative_numbers_of_users_travel_and_name_nobody() {
    let user = UserId(-1);
    for command in [
        Command::Push { target: Target::User(user), disconnect: false, packet: b"" },
        Command::Bind { conn: ConnId(-7), user },
        Command::Unbind { user },
        Command::Deliver { conn: ConnId(i64::MIN), user: Some(UserId(i64::MIN)), packet: b"" },
    ] {
        let (frame, mut wire) = (Frame::Request { seq: 0, command }, Vec::new());
        frame.encode_as(Flow::Requests, &mut wire).unwrap();
        assert_eq!(Frame::decode_as(Flow::Requests, &mut &wire[..], 1024), Ok(Some(frame)));
    }
    assert!(!user.is_valid());
}

#[test]
fn lengths_must_be_exact_where_they_are_fixed() {
    // A payload of zeros and ones, one byte shorter and one longer than each fixed form.
    for (route, exact) in
        [(2, 16), (3, 8), (4, 9), (5, 1), (6, 9), (7, 10), (16, 0), (17, 1), (65, 12), (66, 9)]
    {
        for len in 0..20_u8 {
            let mut wire = vec![0, 0, 0, 10 + len, 0, route, 0, 0, 0, 0, 0, 0, 0, 9];
            wire.extend(std::iter::repeat_n(1, len.into()));
            let mut rest = &wire[..];
            let result = Frame::decode(&mut rest, 1024);
            assert_eq!(result.is_ok(), len == exact, "command {route} with {len} bytes");
            assert!(rest.is_empty());
        }
    }
    for len in 0..20_u8 {
        let mut wire = vec![0, 0, 0, 10 + len, 0, 14, 0, 0, 0, 0, 0, 0, 0, 9];
        wire.extend(std::iter::repeat_n(1, len.into()));
        let result = Frame::decode(&mut &wire[..], 1024);
        assert_eq!(result.is_ok(), len == 9 || len == 17, "a trigger with {len} bytes");
    }
}

#[test]
fn lengths_of_replies_must_be_one_of_their_two_forms() {
    let forms: [(u8, &[u8]); 7] =
        [(2, &[2]), (4, &[2, 6]), (5, &[2, 10]), (6, &[3]), (9, &[2, 10]), (16, &[3]), (17, &[2])];
    for (route, lens) in forms {
        for (len, code) in (0..20_u8).flat_map(|len| [(len, 0), (len, 1)]) {
            let mut wire = vec![0, 0, 0, 10 + len, 0, route, 0, 0, 0, 0, 0, 0, 0, 9, 0, code];
            wire.resize(14 + usize::from(len), 1);
            let result = Frame::decode_as(Flow::Replies, &mut &wire[..], 1024);
            assert_eq!(result.is_ok(), lens.contains(&len), "reply {route} with {len} bytes");
        }
    }
}

#[test]
fn one_means_yes_and_everything_else_no() {
    for (byte, force) in [(0, false), (1, true), (2, false), (255, false)] {
        let mut wire = hex("00000014 00 07 000000000000000b 02 0000000000002711");
        wire.push(byte);
        let target = Target::User(UserId(10001));
        let command = Command::Disconnect { target, force };
        let read = Frame::decode_as(Flow::Requests, &mut &wire[..], 1024);
        assert_eq!(read, Ok(Some(Frame::Request { seq: 11, command })));
    }
}

#[test]
fn an_unknown_command_is_skipped_and_the_next_one_read() {
    let beyond = ROWS.last().unwrap().code + 1;
    for route in [0, 18, 63, beyond, 255] {
        let mut wire = vec![0, 0, 0, 12, 0, route, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2];
        wire.extend_from_slice(&[0, 0, 0, 1, 0x80]);
        let mut rest = &wire[..];
        let unknown = LinkError::Unknown { route, seq: 5 };
        assert_eq!(Frame::decode(&mut rest, 1024), Err(unknown));
        assert_eq!(Frame::decode(&mut rest, 1024), Ok(Some(Frame::Heartbeat)));
    }
}

#[test]
fn commands_of_ours_are_unknown_where_one_side_is_due() {
    let mut wire = Vec::new();
    let command = Command::Consumed { conn: ConnId(1), bytes: 9 };
    Frame::Request { seq: 3, command }.encode(&mut wire).unwrap();
    let read = Frame::decode_as(Flow::Requests, &mut &wire[..], 1024);
    assert_eq!(read, Err(LinkError::Unknown { route: 65, seq: 3 }));
}

#[test]
fn a_heartbeat_may_carry_anything() {
    for text in ["00000001 80", "00000003 ff 0102", "0000000a 80 00 0000000000000000"] {
        let wire = hex(text);
        let mut rest = &wire[..];
        assert_eq!(Frame::decode(&mut rest, 1024), Ok(Some(Frame::Heartbeat)));
        assert!(rest.is_empty());
    }
}

#[test]
fn a_refusal_without_a_value_will_do_for_every_command() {
    for row in ROWS {
        let reply = Reply::Done;
        let frame = Frame::Reply { seq: 4, route: row.code, code: code::INTERNAL, reply };
        let mut wire = Vec::new();
        frame.encode(&mut wire).unwrap();
        assert_eq!(wire.len(), frame.wire_len());
        let read = Frame::decode(&mut &wire[..], 1024);
        let Ok(Some(Frame::Reply { seq: 4, route, code: code::INTERNAL, .. })) = read else {
            panic!("{}: {read:?}", row.name);
        };
        assert_eq!(route, row.code);
    }
}

#[test]
fn a_refusal_is_written_without_its_value_as_due_does() {
    let ip = Reply::Ip(Some([1, 2, 3, 4].into()));
    let address = Reply::Address(Some(SocketAddr::from(([1, 2, 3, 4], 5))));
    for (route, reply) in [(4, ip), (9, Reply::Total(7)), (66, address)] {
        let frame = Frame::Reply { seq: 1, route, code: code::NOT_FOUND, reply };
        let mut wire = Vec::new();
        frame.encode(&mut wire).unwrap();
        assert_eq!((wire.len(), frame.wire_len()), (16, 16));
    }
}

#[test]
fn a_reply_of_the_wrong_kind_is_refused() {
    let mut out = Vec::new();
    for (route, reply) in [(2, Reply::Total(1)), (5, Reply::Done), (200, Reply::Done)] {
        let frame = Frame::Reply { seq: 4, route, code: code::OK, reply };
        assert_eq!(frame.encode(&mut out), Err(LinkError::Unfit { route }));
    }
    assert!(out.is_empty());
}

#[test]
fn nothing_travels_the_wrong_way() {
    let mut out = Vec::new();
    let request = Frame::Request { seq: 1, command: Command::GetState };
    let refused = request.encode_as(Flow::Replies, &mut out);
    assert_eq!(refused, Err(LinkError::WrongWay { route: 16 }));
    let reply = Frame::Reply { seq: 1, route: 2, code: 0, reply: Reply::Done };
    let refused = reply.encode_as(Flow::Requests, &mut out);
    assert_eq!(refused, Err(LinkError::WrongWay { route: 2 }));
    assert!(out.is_empty());
}
