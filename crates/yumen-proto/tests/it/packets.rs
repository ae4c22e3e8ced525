//! Client packets: whatever is cut or mangled, reading gives what was written, or an error.

use crate::{any_bytes, any_layout};
use proptest::prelude::*;
use yumen_proto::{Data, Layout, Packet, RouteId, Width, WireError, packet::CONTROL_TAIL_MAX};

/// A packet to be written.
#[derive(Clone, Debug)]
enum Sent {
    Empty,
    Control(u8, Vec<u8>),
    Data { flags: u8, route: i32, seq: i32, body: Vec<u8> },
}

fn in_width(width: Width) -> impl Strategy<Value = i32> {
    match width {
        Width::One => (i32::from(i8::MIN)..=i32::from(i8::MAX)).boxed(),
        Width::Two => (i32::from(i16::MIN)..=i32::from(i16::MAX)).boxed(),
        Width::Four => any::<i32>().boxed(),
    }
}

fn any_sent(layout: Layout) -> impl Strategy<Value = Sent> {
    let seq = layout.seq.map_or(Just(0).boxed(), |width| in_width(width).boxed());
    prop_oneof![
        1 => Just(Sent::Empty),
        2 => (0..128_u8, any_bytes(40)).prop_map(|(kind, tail)| Sent::Control(kind, tail)),
        5 => (0..128_u8, in_width(layout.route), seq, any_bytes(300))
            .prop_map(|(flags, route, seq, body)| Sent::Data { flags, route, seq, body }),
    ]
}

fn any_stream() -> impl Strategy<Value = (Layout, Vec<Sent>)> {
    any_layout()
        .prop_flat_map(|layout| (Just(layout), prop::collection::vec(any_sent(layout), 1..12)))
}

impl Sent {
    fn write(&self, layout: &Layout, out: &mut Vec<u8>) {
        match self {
            Self::Empty => out.extend_from_slice(&[0; 4]),
            Self::Control(kind, tail) => layout.encode_control(*kind, tail, out),
            Self::Data { flags, route, seq, body } => {
                layout.encode_flagged(*flags, RouteId(*route), *seq, body, out).unwrap();
            }
        }
    }

    fn is(&self, packet: &Packet<'_>) -> bool {
        match (self, packet) {
            (Self::Empty, Packet::Empty) => true,
            (Self::Control(kind, tail), Packet::Control { kind: k, tail: t }) => {
                (*kind, &tail[..]) == (*k, *t)
            }
            (Self::Data { flags, route, seq, body }, Packet::Data(data)) => {
                (*flags, RouteId(*route), *seq, &body[..])
                    == (data.flags, data.route, data.seq, data.body)
            }
            _ => false,
        }
    }
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_same_packets_come_out(
        (layout, sent) in any_stream(),
        cuts in prop::collection::vec(1_usize..50, 1..20),
    ) {
        let mut wire = Vec::new();
        sent.iter().for_each(|packet| packet.write(&layout, &mut wire));
        let (mut buf, mut seen, mut cut) = (Vec::new(), 0, cuts.iter().cycle());
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rest.len().min(*cut.next().unwrap()));
            buf.extend_from_slice(piece);
            rest = left;
            let mut unread = &buf[..];
            while let Some(packet) = layout.decode(&mut unread).unwrap() {
                prop_assert!(sent[seen].is(&packet), "{:?} became {packet:?}", sent[seen]);
                seen += 1;
            }
            buf.drain(..buf.len() - unread.len());
        }
        prop_assert_eq!((seen, buf.len()), (sent.len(), 0));
    }

    #[test]
    fn a_message_is_read_as_the_stream_would_read_it((layout, sent) in any_stream()) {
        for packet in &sent {
            let mut wire = Vec::new();
            packet.write(&layout, &mut wire);
            prop_assert!(packet.is(&layout.decode_message(&wire).unwrap()));
            prop_assert_eq!(layout.outgoing_len(&wire), Some(wire.len()));
            let whole = wire.len();
            for len in 0..whole {
                let len = u32::try_from(len).unwrap();
                let cut = layout.decode_message(&wire[..len as usize]);
                prop_assert_eq!(cut, Err(WireError::NotOnePacket { len }));
            }
            wire.push(0);
            prop_assert!(layout.decode_message(&wire).is_err());
        }
    }

    #[test]
    fn what_is_read_from_noise_can_be_written_back(
        layout in any_layout(),
        noise in any_bytes(300),
        size in 0_u8..40,
    ) {
        // A likely size in front makes packets of the noise.
        let mut wire = match layout.order {
            yumen_proto::ByteOrder::Big => vec![0, 0, 0, size],
            yumen_proto::ByteOrder::Little => vec![size, 0, 0, 0],
        };
        wire.extend_from_slice(&noise);
        let mut rest = &wire[..];
        loop {
            let before = rest;
            let mut again = Vec::new();
            match layout.decode(&mut rest) {
                Ok(Some(Packet::Data(Data { flags, route, seq, body, .. }))) => {
                    layout.encode_flagged(flags, route, seq, body, &mut again).unwrap();
                }
                Ok(Some(Packet::Control { kind, tail })) => {
                    layout.encode_control(kind, tail, &mut again);
                }
                Ok(Some(Packet::Empty)) => again.extend_from_slice(&[0; 4]),
                Ok(None) => break,
                Err(WireError::TooShort { .. }) => {
                    prop_assert!(rest.len() < before.len(), "not taken off");
                    continue;
                }
                Err(error) => {
                    let too_large = matches!(error, WireError::TooLarge { .. });
                    prop_assert!(too_large && rest.len() == before.len());
                    break;
                }
            }
            prop_assert_eq!(&again[..], &before[..before.len() - rest.len()]);
        }
    }
}

#[test]
fn a_number_that_does_not_fit_its_field_is_refused_and_nothing_is_written() {
    let layout = Layout { route: Width::One, seq: Some(Width::Two), ..Layout::default() };
    let mut out = vec![7];
    let refused = layout.encode_data(RouteId(128), 0, b"", &mut out);
    assert_eq!(refused, Err(WireError::FieldOverflow { value: 128, width: Width::One }));
    let refused = layout.encode_data(RouteId(-128), 32_768, b"", &mut out);
    assert_eq!(refused, Err(WireError::FieldOverflow { value: 32_768, width: Width::Two }));
    assert_eq!(out, [7]);
}

#[test]
fn flags_never_make_a_control_packet_of_a_message() {
    let (layout, mut out) = (Layout::default(), Vec::new());
    layout.encode_flagged(0xFF, RouteId(1), 1, b"", &mut out).unwrap();
    let read = layout.decode(&mut &out[..]);
    assert!(matches!(read, Ok(Some(Packet::Data(Data { flags: 0x7F, .. })))), "{read:?}");
}

#[test]
fn a_body_over_the_limit_is_refused_and_nothing_is_written() {
    let layout = Layout { body_max: 5000, ..Layout::default() };
    let mut out = Vec::new();
    let refused = layout.encode_data(RouteId(1), 1, &[0; 5001], &mut out);
    assert_eq!(refused, Err(WireError::TooLarge { size: 5006, max: 5005 }));
    assert!(out.is_empty());
    layout.encode_data(RouteId(1), 1, &[0; 5000], &mut out).unwrap();
    assert_eq!(out.len(), 5009);
}

#[test]
fn a_layout_without_sequence_numbers_drops_them() {
    let layout = Layout { seq: None, ..Layout::default() };
    let mut out = Vec::new();
    layout.encode_data(RouteId(1), i32::MAX, b"", &mut out).unwrap();
    assert_eq!(out, [0, 0, 0, 3, 0, 0, 1]);
}

#[test]
fn a_packet_too_short_for_its_header_is_taken_off_so_that_the_next_can_be_read() {
    let wire = [0, 0, 0, 4, 0, 0, 1, 0, 0, 0, 0, 1, 0x80];
    let mut rest = &wire[..];
    let layout = Layout::default();
    assert_eq!(layout.decode(&mut rest), Err(WireError::TooShort { size: 4 }));
    assert!(matches!(layout.decode(&mut rest), Ok(Some(Packet::Control { kind: 0, .. }))));
}

#[test]
fn small_messages_do_not_make_control_packets_too_large() {
    let layout = Layout { receive_max: 0, ..Layout::default() };
    let mut wire = Vec::new();
    layout.encode_control(1, &[0; CONTROL_TAIL_MAX], &mut wire);
    assert!(matches!(layout.decode(&mut &wire[..]), Ok(Some(Packet::Control { .. }))));
    assert_eq!(wire.len(), layout.packet_max());
    wire.clear();
    layout.encode_data(RouteId(1), 1, &[1], &mut wire).unwrap();
    let mut rest = &wire[..];
    assert_eq!(layout.decode(&mut rest), Err(WireError::TooLarge { size: 6, max: 5 }));
    assert_eq!(rest.len(), wire.len());
}

#[test]
fn outgoing_packets_are_found_whatever_their_size() {
    let layout = Layout { receive_max: 0, ..Layout::default() };
    let mut wire = Vec::new();
    layout.encode_data(RouteId(1), 1, &[0; 60_000], &mut wire).unwrap();
    layout.encode_heartbeat(0, &mut wire);
    assert_eq!(layout.outgoing_len(&wire), Some(60_009));
    assert_eq!(layout.outgoing_len(&wire[60_009..]), Some(5));
    assert_eq!(layout.outgoing_len(&wire[..60_008]), None);
    assert_eq!(layout.outgoing_len(&[0xFF; 8]), None);
}
