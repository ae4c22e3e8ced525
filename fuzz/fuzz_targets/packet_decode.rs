//! Any bytes, read as client packets: no panic, no loop, and what was read writes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yumen_fuzz::layout;
use yumen_proto::{Data, Packet, WireError, extension::Extension};

fuzz_target!(|input: &[u8]| {
    let Some((&selector, wire)) = input.split_first() else { return };
    let layout = layout(selector);
    let mut rest = wire;
    loop {
        let before = rest;
        let mut again = Vec::new();
        match layout.decode(&mut rest) {
            Ok(Some(Packet::Empty)) => again.extend_from_slice(&[0; 4]),
            Ok(Some(Packet::Control { kind, tail })) => {
                let _ = Extension::parse(kind, tail);
                layout.encode_control(kind, tail, &mut again);
            }
            Ok(Some(Packet::Data(Data { flags, route, seq, body, raw }))) => {
                layout.encode_flagged(flags, route, seq, body, &mut again).unwrap();
                assert_eq!(layout.decode_message(raw).unwrap(), {
                    Packet::Data(Data { flags, route, seq, body, raw })
                });
            }
            Err(WireError::TooShort { .. }) => {
                assert!(rest.len() < before.len());
                continue;
            }
            Ok(None) | Err(_) => {
                assert_eq!(rest.len(), before.len());
                break;
            }
        }
        assert_eq!(again, before[..before.len() - rest.len()]);
    }
    let _ = layout.decode_message(wire);
});
