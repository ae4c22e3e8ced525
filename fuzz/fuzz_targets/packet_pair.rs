//! Any packets, written, cut anywhere and read by the machine of a gate: all come out, in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{sync::Arc, time::Instant};
use yumen_fuzz::layout;
use yumen_proto::{Machine, Now, Out, RouteId, ServerConn, ServerEvent, Settings};

fuzz_target!(|input: &[u8]| {
    let [selector, cut, script @ ..] = input else { return };
    let layout = layout(*selector);
    let (mut wire, mut sent) = (Vec::new(), Vec::new());
    // Each packet takes a byte for its kind, two numbers and a length, then its body.
    let mut rest = script;
    while let [kind, route, seq, len, more @ ..] = rest {
        let (body, left) = more.split_at(more.len().min((*len).into()));
        rest = left;
        let (route, seq) = (RouteId((*route as i8).into()), i32::from(*seq as i8));
        match kind % 4 {
            0 => wire.extend_from_slice(&[0; 4]),
            1 => layout.encode_heartbeat(7, &mut wire),
            _ => {
                layout.encode_flagged(kind >> 1, route, seq, body, &mut wire).unwrap();
                let seq = if layout.seq.is_some() { seq } else { 0 };
                sent.push((kind >> 1, route, seq, body));
            }
        }
    }
    let now = Now { mono: Instant::now(), unix_ns: 0 };
    let settings = Settings { layout, ..Settings::default() };
    let (mut conn, mut out) = (ServerConn::new(Arc::new(settings), now), Out::default());
    let mut sent = sent.into_iter();
    for piece in wire.chunks(usize::from(*cut) + 1) {
        let mut scratch = vec![0; conn.tail_len()];
        scratch.extend_from_slice(piece);
        let end = scratch.len();
        let mut input = conn.join(now, &mut scratch, end);
        while let Some(event) = conn.next(now, &mut input, &mut out).unwrap() {
            let ServerEvent::Message(data) = event else { panic!("nobody announced anything") };
            let read = (data.flags, data.route, data.seq, data.body);
            assert_eq!(Some(read), sent.next());
        }
    }
    assert_eq!((sent.next(), conn.held(), conn.skipped()), (None, 0, 0));
});
