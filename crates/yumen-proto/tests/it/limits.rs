//! What no input may do: panic, loop, or make us hold more than what arrived and one packet.

use crate::{any_bytes, any_layout, start};
use allocation_counter::measure;
use proptest::prelude::*;
use std::sync::Arc;
use yumen_proto::{
    ClientConn, CloseReason, Layout, Machine, Out, ServerConn, Settings, WireError,
    extension::Extension,
    link::{Flow, Frame, LinkError},
};

#[test]
fn w09_a_size_that_would_wrap_is_refused_before_anything_is_allocated() {
    let layout = Layout::default();
    let max = 64 * 1024 + 5;
    for size in [0xFFFF_FFFF_u32, 0xFFFF_FFFC, 0x8000_0000, max + 1] {
        let wire = size.to_be_bytes();
        let mut result = Ok(None);
        let allocated = measure(|| result = layout.decode(&mut &wire[..]));
        assert_eq!(result, Err(WireError::TooLarge { size, max }));
        assert_eq!(allocated.count_total, 0);
    }
    assert_eq!(layout.decode(&mut &max.to_be_bytes()[..]), Ok(None), "that large is allowed");
}

#[test]
fn w09_four_hostile_bytes_close_a_connection_and_cost_nothing() {
    let now = start();
    let mut conn = ServerConn::new(Arc::new(Settings::default()), now);
    let mut out = Out::default();
    let mut scratch = [0xFF; 4];
    let allocated = measure(|| {
        let mut input = conn.join(now, &mut scratch, 4);
        let result = conn.next(now, &mut input, &mut out);
        assert!(matches!(result, Err(CloseReason::Malformed(WireError::TooLarge { .. }))));
    });
    assert_eq!((allocated.count_total, conn.held(), out.capacity()), (0, 0, 0));
}

#[test]
fn w09_a_link_refuses_sizes_that_would_wrap_and_frames_without_a_head() {
    for size in [0xFFFF_FFFF_u32, 0xFFFF_FFFC, 1025] {
        let mut result = Ok(None);
        let wire = size.to_be_bytes();
        let allocated = measure(|| result = Frame::decode(&mut &wire[..], 1024));
        let size = size as usize;
        assert_eq!(result, Err(LinkError::TooLarge { size, max: 1024 }));
        assert_eq!(allocated.count_total, 0);
    }
    for size in 0..10_u8 {
        let wire = [0, 0, 0, size, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let refused = LinkError::TooShort { size: size.into() };
        assert_eq!(Frame::decode(&mut &wire[..], 1024), Err(refused));
        assert!(refused.is_fatal());
    }
}

/// Feeds `wire` to a machine in pieces of `cut` bytes; returns the most it held.
fn feed<M: Machine>(machine: &mut M, wire: &[u8], cut: usize, out: &mut Out) -> usize {
    let now = start();
    let mut held = 0;
    for piece in wire.chunks(cut) {
        let had = machine.tail_len();
        let mut scratch = vec![0; had];
        scratch.extend_from_slice(piece);
        let end = scratch.len();
        let mut input = machine.join(now, &mut scratch, end);
        while let Ok(Some(_)) = machine.next(now, &mut input, out) {}
        held = held.max(machine.held());
    }
    held
}

proptest! {
    #[test]
    fn noise_never_makes_a_machine_hold_more_than_what_arrived_and_one_packet(
        layout in any_layout(),
        noise in any_bytes(600),
        size in 0_u8..=255,
        cut in 1_usize..20,
    ) {
        let settings = Settings { layout, backlog_max: 100, ..Settings::default() };
        let settings = Arc::new(settings);
        let mut wire = vec![0, 0, size, 0];
        wire.extend_from_slice(&noise);
        let (mut out, now) = (Out::default(), start());
        let max = wire.len() + layout.packet_max();
        let mut server = ServerConn::new(settings.clone(), now);
        prop_assert!(feed(&mut server, &wire, cut, &mut out) <= max);
        // An answer may be longer than what it answers, but not without end.
        prop_assert!(out.pending().len() <= 200, "{} bytes answered", out.pending().len());
        let mut client = ClientConn::new(settings, now, true, &mut out);
        prop_assert!(feed(&mut client, &wire, cut, &mut out) <= max);
        let (mut message_out, mut server) = (Out::default(), server);
        let _ = server.message(now, &wire, &mut message_out);
    }

    #[test]
    fn noise_is_no_extension_and_no_panic(kind in any::<u8>(), tail in any_bytes(100)) {
        let _ = Extension::parse(kind, &tail);
        let mut announce = b"YUME\x01\0\0\0\x1f".to_vec();
        announce.extend_from_slice(&tail);
        let _ = Extension::parse(1, &announce);
    }

    #[test]
    fn noise_on_a_link_is_skipped_or_fatal_and_no_panic(
        noise in any_bytes(400),
        route in 0_u8..70,
        size in 10_u8..60,
    ) {
        let mut wire = vec![0, 0, 0, size, 0, route];
        wire.extend_from_slice(&noise);
        for flow in [Flow::Duplex, Flow::Requests, Flow::Replies] {
            let mut rest = &wire[..];
            loop {
                let before = rest.len();
                match Frame::decode_as(flow, &mut rest, 1024) {
                    Ok(None) => break,
                    Ok(Some(_)) => prop_assert!(rest.len() < before),
                    Err(error) if error.is_fatal() => break,
                    Err(_) => prop_assert!(rest.len() < before),
                }
            }
        }
    }
}

#[test]
fn a_long_packet_that_dribbles_in_is_copied_about_twice_and_not_once_a_byte() {
    let now = start();
    let settings = Arc::new(Settings::default());
    let mut wire = Vec::new();
    settings.layout.encode_data(1.into(), 1, &[7; 60_000], &mut wire).unwrap();
    let mut conn = ServerConn::new(settings, now);
    let mut out = Out::default();
    let mut scratch = vec![0; 130_000];
    let mut joined = 0;
    for byte in &wire {
        let had = conn.tail_len();
        scratch[had] = *byte;
        let mut input = conn.join(now, &mut scratch, had + 1);
        joined += input.len();
        while let Ok(Some(_)) = conn.next(now, &mut input, &mut out) {}
    }
    assert!(joined < 2 * wire.len(), "{joined} bytes were looked at");
    assert_eq!(conn.held(), 0);
}

#[test]
fn heartbeats_that_are_never_read_cannot_fill_our_memory() {
    let now = start();
    let mut settings = Settings { backlog_max: 1000, ..Settings::default() };
    settings.layout.heartbeat_time = true;
    let mut conn = ServerConn::new(Arc::new(settings), now);
    let mut out = Out::default();
    let mut wire = [0, 0, 0, 1, 0x80].repeat(10_000);
    let end = wire.len();
    let mut input = conn.join(now, &mut wire, end);
    assert_eq!(conn.next(now, &mut input, &mut out), Err(CloseReason::Backlog));
    assert!(out.pending().len() < 1100, "{}", out.pending().len());
}
