//! Any bytes, read as frames of a link: no panic, no loop, and what was read survives writing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yumen_fuzz::flow;
use yumen_proto::link::{Command, Frame};

fuzz_target!(|input: &[u8]| {
    let Some((&selector, wire)) = input.split_first() else { return };
    let flow = flow(selector);
    let mut rest = wire;
    loop {
        let before = rest.len();
        match Frame::decode_as(flow, &mut rest, 4096) {
            Ok(None) => break,
            Ok(Some(frame)) => {
                assert!(rest.len() < before);
                let mut again = Vec::new();
                frame.encode_as(flow, &mut again).unwrap();
                assert_eq!(again.len(), frame.wire_len());
                let read = Frame::decode_as(flow, &mut &again[..], 8192).unwrap();
                same(&frame, &read.unwrap());
            }
            Err(error) if error.is_fatal() => {
                assert_eq!(rest.len(), before);
                break;
            }
            Err(_) => assert!(rest.len() < before),
        }
    }
});

/// Writing keeps what was read, but for what it leaves out: the value of a refusal, and the end of a
/// text that is too long for others to write.
fn same(frame: &Frame<'_>, again: &Frame<'_>) {
    match (frame, again) {
        (Frame::Reply { code, .. }, _) if *code != 0 => {}
        (
            Frame::Request { command: Command::Status { reply, .. }, .. },
            Frame::Request { command: Command::Status { reply: cut, .. }, .. },
        ) => assert!(reply.text.starts_with(cut.text)),
        _ => assert_eq!(frame, again),
    }
}
