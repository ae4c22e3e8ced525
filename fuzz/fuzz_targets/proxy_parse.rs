//! Any bytes, read as the header of a load balancer: no panic, never longer than what is there, and the
//! same answer however the bytes arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yumen_proto::proxy::{V2_MAX, parse};

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    match whole {
        Ok(Some(header)) => {
            assert!(header.len > 0 && header.len <= input.len() && header.len <= V2_MAX);
            assert_eq!(parse(&input[..header.len]), whole, "what follows changes nothing");
            assert_eq!(parse(&input[..header.len - 1]), Ok(None), "and nothing less is enough");
        }
        // A reader that keeps what is part of a header keeps no more than this.
        Ok(None) => assert!(input.len() < V2_MAX),
        Err(_) => {}
    }
});
