//! The operations whose instructions are counted.
//!
//! Each does the same work in every iteration, on inputs the compiler cannot see through. Set-up
//! happens once per run and cancels out.
use crate::codec::{Case as Message, Shape, Step, json_by_library};
use crate::generator::BodyCodec;
use std::hint::black_box;
use yumen::proto::link::{Command, Frame, Target, TargetKind, Targets};
use yumen::proto::{ConnId, Layout, RouteId, UserId, Width};

/// What a case does, given the iterations.
type Case = fn(u64);

/// Every case, in the order of the table.
const CASES: [(&str, Case); 21] = [
    ("packet_encode_64", |n| packet_encode(64, n)),
    ("packet_encode_1k", |n| packet_encode(1024, n)),
    ("packet_decode_64", |n| packet_decode(64, n)),
    ("packet_decode_1k", |n| packet_decode(1024, n)),
    ("deliver_encode_1k", |n| frame_encode(&deliver(&packet(1024)), n)),
    ("deliver_decode_1k", |n| frame_decode(&deliver(&packet(1024)), n)),
    ("push_encode_1k", |n| frame_encode(&push(&packet(1024)), n)),
    ("push_decode_1k", |n| frame_decode(&push(&packet(1024)), n)),
    ("multicast_100_encode_64", |n| frame_encode(&multicast(&ids(), &packet(64)), n)),
    ("multicast_100_decode_64", |n| frame_decode(&multicast(&ids(), &packet(64)), n)),
    ("route_lookup", route_lookup),
    ("session_lookup", session_lookup),
    ("json_write_1k", |n| codec(BodyCodec::Json, Step::EncodeReused, n)),
    ("json_read_1k", |n| codec(BodyCodec::Json, Step::Decode, n)),
    ("json_write_fields", |n| fields(Step::EncodeReused, n)),
    ("json_write_fields_serde_json", |n| json_by_library(Shape::Fields, 1024, n)),
    ("json_read_fields", |n| fields(Step::Decode, n)),
    ("msgpack_write_1k", |n| codec(BodyCodec::Msgpack, Step::EncodeReused, n)),
    ("msgpack_read_1k", |n| codec(BodyCodec::Msgpack, Step::Decode, n)),
    ("protobuf_write_1k", |n| codec(BodyCodec::Protobuf, Step::EncodeReused, n)),
    ("protobuf_read_1k", |n| codec(BodyCodec::Protobuf, Step::Decode, n)),
];

/// Larger than any frame here.
const FRAME_MAX: usize = 1024 * 1024;

/// The names of all cases.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

/// Runs a case; `false` if there is none of that name.
pub(super) fn run(name: &str, iterations: u64) -> bool {
    let case = CASES.iter().find(|(known, _)| *known == name);
    if let Some((_, case)) = case {
        case(iterations);
    }
    case.is_some()
}

fn layout() -> Layout {
    Layout { route: Width::Four, seq: Some(Width::Four), ..Layout::default() }
}

fn packet(letters: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let encoded = layout().encode_data(RouteId(1), 7, &BodyCodec::Json.echo(letters), &mut packet);
    assert!(encoded.is_ok(), "a body within every limit");
    packet
}

fn ids() -> Vec<i64> {
    (1..=100).collect()
}

fn deliver(packet: &[u8]) -> Command<'_> {
    Command::Deliver { conn: ConnId(77), user: UserId::new(12), packet }
}

fn push(packet: &[u8]) -> Command<'_> {
    Command::Push { target: Target::Conn(ConnId(77)), disconnect: false, packet }
}

fn multicast<'a>(ids: &'a [i64], packet: &'a [u8]) -> Command<'a> {
    let (kind, targets) = (TargetKind::User, Targets::from(ids));
    Command::Multicast { kind, targets, disconnect: false, packet }
}

/// One data packet into a buffer that has room.
fn packet_encode(letters: usize, iterations: u64) {
    let (layout, body) = (black_box(layout()), BodyCodec::Json.echo(letters));
    let mut out = Vec::with_capacity(body.len().saturating_add(64));
    for _ in 0..iterations {
        out.clear();
        let encoded = layout.encode_data(black_box(RouteId(1)), 7, black_box(&body), &mut out);
        assert!(black_box(encoded).is_ok(), "a body within every limit");
        black_box(&out);
    }
}

/// One data packet off the front of a buffer.
fn packet_decode(letters: usize, iterations: u64) {
    let (layout, packet) = (black_box(layout()), packet(letters));
    for _ in 0..iterations {
        let mut bytes = black_box(&packet[..]);
        let decoded = black_box(layout.decode(&mut bytes));
        assert!(matches!(decoded, Ok(Some(_))), "a whole packet");
    }
}

/// One link frame into a buffer that has room.
fn frame_encode(command: &Command<'_>, iterations: u64) {
    let mut out = Vec::with_capacity(4096);
    for seq in 0..iterations {
        out.clear();
        let encoded = Frame::Request { seq, command: *black_box(command) }.encode(&mut out);
        assert!(black_box(encoded).is_ok(), "a frame within every limit");
        black_box(&out);
    }
}

/// One link frame off the front of a buffer, its targets read.
fn frame_decode(command: &Command<'_>, iterations: u64) {
    let mut frame = Vec::new();
    let encoded = Frame::Request { seq: 7, command: *command }.encode(&mut frame);
    assert!(encoded.is_ok(), "a frame within every limit");
    for _ in 0..iterations {
        let mut bytes = black_box(&frame[..]);
        let decoded = black_box(Frame::decode(&mut bytes, FRAME_MAX));
        assert!(matches!(decoded, Ok(Some(_))), "a whole frame");
        if let Ok(Some(Frame::Request { command: Command::Multicast { targets, .. }, .. })) =
            decoded
        {
            black_box(targets.iter().fold(0_i64, i64::wrapping_add));
        }
    }
}

/// The benchmark's message of 1 KiB of letters, written into a used buffer or read.
fn codec(codec: BodyCodec, step: Step, iterations: u64) {
    black_box(Message { codec, step }.run(Shape::Letters, 1024, iterations));
}

/// The same in JSON with a list of small structs, which is where our writer costs more than it saves.
fn fields(step: Step, iterations: u64) {
    black_box(Message { codec: BodyCodec::Json, step }.run(Shape::Fields, 1024, iterations));
}

/// A route of a gate's table, and the next node of those that serve it.
fn route_lookup(iterations: u64) {
    let mut find = yumen::gate::probe::route();
    for n in 0..iterations {
        let id = i32::try_from(n % 200).unwrap_or_default();
        assert!(black_box(find(black_box(id))), "every one of 200 routes is served");
    }
}

/// The connection of a user of a gate.
fn session_lookup(iterations: u64) {
    let mut find = yumen::gate::probe::session();
    for n in 0..iterations {
        let user = i64::try_from(n % 10_000).unwrap_or_default();
        assert!(black_box(find(black_box(user.wrapping_add(1)))), "every user is here");
    }
}
