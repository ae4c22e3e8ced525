//! Traffic recorded from a running cluster of due v2.5.8: every frame reads, and writes back the same.

use crate::hex;
use serde_json::Value;
use yumen_proto::{
    Layout, Packet, Width,
    link::{Command, Flow, Frame, Kind},
};

const RECORD: &str = include_str!("../golden/due-traffic.json");

/// Calls `check` with the direction and the bytes of each frame of links whose name begins so.
fn frames(link: &str, mut check: impl FnMut(usize, &str, &[u8])) -> usize {
    let record: Value = serde_json::from_str(RECORD).unwrap();
    let links = record["links"].as_array().unwrap();
    let mut count = 0;
    for (connection, link) in
        links.iter().filter(|l| l["link"].as_str().unwrap().contains(link)).enumerate()
    {
        for frame in link["frames"].as_array().unwrap() {
            check(connection, frame[1].as_str().unwrap(), &hex(frame[2].as_str().unwrap()));
            count += 1;
        }
    }
    count
}

fn layout() -> Layout {
    let (route, seq) = (Width::Four, Some(Width::Four));
    Layout { route, seq, body_max: 100_000, receive_max: 100_000, ..Layout::default() }
}

#[test]
fn every_recorded_client_frame_is_read_and_written_back_byte_for_byte() {
    let layout = layout();
    let count = frames("client dials gate", |_, _, bytes| {
        let mut rest = bytes;
        let mut written = Vec::new();
        match layout.decode(&mut rest).unwrap().unwrap() {
            Packet::Data(data) => {
                assert_eq!((data.flags, data.raw), (0, bytes));
                let message: Value = serde_json::from_slice(data.body).unwrap_or_default();
                assert!(data.body.is_empty() || message.is_object());
                layout.encode_data(data.route, data.seq, data.body, &mut written).unwrap();
            }
            Packet::Control { kind, tail } => layout.encode_control(kind, tail, &mut written),
            Packet::Empty => panic!("due sends none"),
        }
        assert_eq!((written.as_slice(), rest), (bytes, &[][..]));
    });
    assert!(count >= 40, "{count} frames");
}

#[test]
fn every_recorded_internal_frame_is_read_and_written_back_byte_for_byte() {
    let layout = layout();
    let mut opened = Vec::new();
    let check = |connection, way: &str, bytes: &[u8]| {
        let flow = if way == ">" { Flow::Requests } else { Flow::Replies };
        let mut rest = bytes;
        let frame = Frame::decode_as(flow, &mut rest, 200_000).unwrap().unwrap();
        let mut written = Vec::new();
        frame.encode_as(flow, &mut written).unwrap();
        assert_eq!((written.as_slice(), rest), (bytes, &[][..]), "{frame:?}");
        if !opened.contains(&connection) {
            opened.push(connection);
            let Frame::Request { seq: 1, command: Command::Handshake { kind, id } } = frame else {
                panic!("{frame:?} before the handshake");
            };
            assert!(matches!((kind, id), (Kind::Gate, "gate-1") | (Kind::Node, "node-1")));
        }
        if let Frame::Request {
            command:
                Command::Push { packet, .. }
                | Command::Deliver { packet, .. }
                | Command::Multicast { packet, .. }
                | Command::Broadcast { packet, .. }
                | Command::Publish { packet, .. },
            ..
        } = frame
        {
            assert!(layout.decode_message(packet).is_ok(), "{packet:?}");
        }
    };
    let mut check = check;
    let count = frames("gate-1 dials node-1", &mut check) + { opened_again(&mut check) };
    assert!(count >= 80, "{count} frames");
}

/// The connections of the other direction are numbered behind those of the first.
fn opened_again(check: &mut impl FnMut(usize, &str, &[u8])) -> usize {
    frames("node-1 dials gate-1", |connection, way, bytes| check(connection + 100, way, bytes))
}
