//! Frames worked out by hand from the formats: what we write, and what we read.

use crate::hex;
use yumen_proto::{
    ByteOrder, ConnId, Layout, Packet, RouteId, UserId, Width,
    link::{
        Command, Event, Flow, Frame, HEARTBEAT, Kind, LinkError, Reply, State, Target, TargetKind,
        Targets, code,
    },
};

const C3: &str = "0000000a 00 0001 0002 68656c6c6f";

fn layout(route: Width, seq: Option<Width>) -> Layout {
    Layout { route, seq, ..Layout::default() }
}

/// What is written is `text`, and what is read from it is what was written.
#[track_caller]
fn data(layout: Layout, route: i32, seq: i32, body: &[u8], text: &str) {
    let mut wire = Vec::new();
    layout.encode_data(RouteId(route), seq, body, &mut wire).unwrap();
    assert_eq!(wire, hex(text));
    let mut rest = &wire[..];
    let Ok(Some(Packet::Data(data))) = layout.decode(&mut rest) else { panic!("no data packet") };
    assert_eq!((data.flags, data.route, data.seq, data.body), (0, RouteId(route), seq, body));
    assert_eq!((data.raw, rest), (&wire[..], &[][..]));
}

#[test]
fn c1_a_heartbeat_without_time() {
    let mut wire = Vec::new();
    Layout::default().encode_heartbeat(1_700_000_000_123_456_789, &mut wire);
    assert_eq!(wire, hex("00000001 80"));
    let packet = Layout::default().decode(&mut &wire[..]);
    assert_eq!(packet, Ok(Some(Packet::Control { kind: 0, tail: &[] })));
}

#[test]
fn c2_a_heartbeat_with_time() {
    let layout = Layout { heartbeat_time: true, ..Layout::default() };
    let mut wire = Vec::new();
    layout.encode_heartbeat(1_700_000_000_123_456_789, &mut wire);
    assert_eq!(wire, hex("00000009 80 17979cfe3d85cd15"));
    let packet = Layout::default().decode(&mut &wire[..]);
    assert_eq!(packet, Ok(Some(Packet::Control { kind: 0, tail: &wire[5..] })));
}

#[test]
fn c3_a_message_in_the_default_layout() {
    data(Layout::default(), 1, 2, b"hello", C3);
}

#[test]
fn c4_negative_numbers_and_no_body() {
    data(Layout::default(), -1, -2, b"", "00000005 00 ffff fffe");
}

#[test]
fn c5_little_endian() {
    let layout = Layout { order: ByteOrder::Little, ..Layout::default() };
    data(layout, 1, 2, b"hello", "0a000000 00 0100 0200 68656c6c6f");
}

#[test]
fn c6_a_wide_route_and_no_sequence_number() {
    data(layout(Width::Four, None), 65536, 0, b"hi", "00000007 00 00010000 6869");
}

#[test]
fn c7_one_byte_each() {
    let layout = layout(Width::One, Some(Width::One));
    data(layout, 127, -128, &[0xFF], "00000004 00 7f 80 ff");
}

#[test]
fn c8_an_empty_packet() {
    let wire = hex("00000000");
    let mut rest = &wire[..];
    assert_eq!(Layout::default().decode(&mut rest), Ok(Some(Packet::Empty)));
    assert!(rest.is_empty());
}

/// A frame is written as `text` on its way to or from due, and read from it.
#[track_caller]
fn frame(flow: Flow, frame: Frame<'_>, text: &str) {
    let mut wire = Vec::new();
    frame.encode_as(flow, &mut wire).unwrap();
    assert_eq!(wire, hex(text));
    assert_eq!(wire.len(), frame.wire_len());
    let mut rest = &wire[..];
    assert_eq!(Frame::decode_as(flow, &mut rest, 1024), Ok(Some(frame)));
    assert!(rest.is_empty());
}

#[track_caller]
fn request(seq: u64, command: Command<'_>, text: &str) {
    frame(Flow::Requests, Frame::Request { seq, command }, text);
}

#[track_caller]
fn reply(seq: u64, route: u8, code: u16, reply: Reply, text: &str) {
    frame(Flow::Replies, Frame::Reply { seq, route, code, reply }, text);
}

const USER: UserId = UserId(10001);
const CONN: ConnId = ConnId(7);

#[test]
fn i1_heartbeat() {
    frame(Flow::Requests, Frame::Heartbeat, "00000001 80");
    assert_eq!(HEARTBEAT, *hex("00000001 80"));
}

#[test]
fn i2_i3_handshake() {
    let command = Command::Handshake { kind: Kind::Gate, id: "gate-1" };
    request(1, command, "00000011 00 01 0000000000000001 01 676174652d31");
    reply(1, 1, code::OK, Reply::Done, "0000000c 00 01 0000000000000001 0000");
}

#[test]
fn i4_i5_bind() {
    let command = Command::Bind { conn: CONN, user: USER };
    let text = "0000001a 00 02 0000000000000002 0000000000000007 0000000000002711";
    request(2, command, text);
    reply(2, 2, code::OK, Reply::Done, "0000000c 00 02 0000000000000002 0000");
    reply(2, 2, code::NOT_FOUND, Reply::Done, "0000000c 00 02 0000000000000002 0001");
}

#[test]
fn i6_unbind() {
    let text = "00000012 00 03 000000000000000e 0000000000002711";
    request(14, Command::Unbind { user: USER }, text);
}

#[test]
fn i7_deliver() {
    let packet = &hex(C3)[..];
    let text = "00000028 00 0f 0000000000000000 0000000000000007 0000000000002711
        0000000a00000100 0268656c6c6f"
        .replace('\n', "");
    request(0, Command::Deliver { conn: CONN, user: Some(USER), packet }, &text);
}

#[test]
fn i8_push_and_disconnect() {
    let packet = &hex(C3)[..];
    let command = Command::Push { target: Target::User(USER), disconnect: true, packet };
    let text = format!("00000021 40 08 0000000000000000 02 0000000000002711 {C3}");
    request(0, command, &text);
}

#[test]
fn i9_i10_multicast() {
    let packet = &hex(C3)[..];
    let targets = Targets::from_slice(&[1, 2]);
    let kind = TargetKind::Conn;
    let text =
        format!("0000002b 00 09 0000000000000003 01 0002 0000000000000001 0000000000000002 {C3}");
    request(3, Command::Multicast { kind, targets, disconnect: false, packet }, &text);
    let text = "00000014 00 09 0000000000000003 0000 0000000000000002";
    reply(3, 9, code::OK, Reply::Total(2), text);
    reply(3, 9, code::OK, Reply::Total(0), "0000000c 00 09 0000000000000003 0000");
}

#[test]
fn i11_broadcast() {
    let packet = &hex(C3)[..];
    let command = Command::Broadcast { kind: TargetKind::Conn, disconnect: false, packet };
    request(4, command, &format!("00000019 00 0a 0000000000000004 01 {C3}"));
}

#[test]
fn i12_i13_publish() {
    let packet = &hex(C3)[..];
    let command = Command::Publish { channel: "room-1", disconnect: false, packet };
    request(5, command, &format!("0000001f 00 0b 0000000000000005 06 726f6f6d2d31 {C3}"));
    let text = "00000014 00 0b 0000000000000005 0000 0000000000000003";
    reply(5, 11, code::OK, Reply::Total(3), text);
}

#[test]
fn i14_publish_that_reached_nobody_is_answered_in_the_true_short_form() {
    reply(5, 11, code::OK, Reply::Total(0), "0000000c 00 0b 0000000000000005 0000");
    // An explicit zero reads the same.
    let wire = hex("00000014 00 0b 0000000000000005 0000 0000000000000000");
    let read = Frame::decode_as(Flow::Replies, &mut &wire[..], 1024);
    let reply = Reply::Total(0);
    assert_eq!(read, Ok(Some(Frame::Reply { seq: 5, route: 11, code: 0, reply })));
    // What due writes promises eight bytes that never come: we wait for them.
    let wire = hex("00000014 00 0b 0000000000000005 0000");
    assert_eq!(Frame::decode_as(Flow::Replies, &mut &wire[..], 1024), Ok(None));
}

#[test]
fn i15_subscribe() {
    let targets = Targets::from_slice(&[10001]);
    let command = Command::Subscribe { kind: TargetKind::User, targets, channel: "room-1" };
    let text = "0000001b 00 0c 0000000000000006 02 0001 0000000000002711 726f6f6d2d31";
    request(6, command, text);
}

#[test]
fn i16_trigger() {
    let connect = Command::Trigger { event: Event::Connect, conn: CONN, user: None };
    request(0, connect, "00000013 00 0e 0000000000000000 01 0000000000000007");
    let disconnect = Command::Trigger { event: Event::Disconnect, conn: CONN, user: Some(USER) };
    let text = "0000001b 00 0e 0000000000000000 03 0000000000000007 0000000000002711";
    request(0, disconnect, text);
}

#[test]
fn i17_get_ip() {
    let command = Command::GetIp { target: Target::Conn(CONN) };
    request(8, command, "00000013 00 04 0000000000000008 01 0000000000000007");
    let ip = Reply::Ip(Some([192, 168, 1, 10].into()));
    reply(8, 4, code::OK, ip, "00000010 00 04 0000000000000008 0000 c0a8010a");
    let text = "0000000c 00 04 0000000000000008 0001";
    reply(8, 4, code::NOT_FOUND, Reply::Ip(None), text);
}

#[test]
fn i18_stat() {
    let command = Command::Stat { kind: TargetKind::User };
    request(9, command, "0000000b 00 05 0000000000000009 02");
    let text = "00000014 00 05 0000000000000009 0000 00000000000007d0";
    reply(9, 5, code::OK, Reply::Total(2000), text);
}

#[test]
fn i19_is_online() {
    let text = "0000000d 00 06 000000000000000a 0000 01";
    reply(10, 6, code::OK, Reply::Online(true), text);
    let command = Command::IsOnline { target: Target::User(USER) };
    request(10, command, "00000013 00 06 000000000000000a 02 0000000000002711");
}

#[test]
fn i20_disconnect() {
    let command = Command::Disconnect { target: Target::User(USER), force: true };
    request(11, command, "00000014 00 07 000000000000000b 02 0000000000002711 01");
}

#[test]
fn i21_get_state() {
    request(12, Command::GetState, "0000000a 00 10 000000000000000c");
    let text = "0000000d 00 10 000000000000000c 0000 01";
    reply(12, 16, code::OK, Reply::State(State::Work), text);
}

#[test]
fn i22_set_state() {
    let command = Command::SetState { state: State::Hang };
    request(13, command, "0000000b 00 11 000000000000000d 03");
    reply(13, 17, code::OK, Reply::Done, "0000000c 00 11 000000000000000d 0000");
}

#[test]
fn what_is_ours_is_never_written_to_due() {
    let command = Command::Consumed { conn: CONN, bytes: 1 };
    let mut out = Vec::new();
    let refused = Frame::Request { seq: 0, command }.encode_as(Flow::Requests, &mut out);
    assert_eq!((refused, out.len()), (Err(LinkError::WrongWay { route: 65 }), 0));
}
