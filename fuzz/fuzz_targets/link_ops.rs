//! Any sequence of operations on both ends of a link keeps the promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Instant;

fuzz_target!(|script: &[u8]| yumen_proto::testing::link_ops(script, Instant::now()));
