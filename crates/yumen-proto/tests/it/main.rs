//! Everything that is promised of the wire formats and the connection machines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is what it is for"
)]

mod client;
mod extensions;
mod golden;
mod limits;
mod link_conn;
mod link_marks;
mod links;
mod packets;
mod pair;
mod server;
mod traffic;

use proptest::prelude::*;
use std::time::{Duration, Instant};
use yumen_proto::{ByteOrder, Layout, Now, Width};

/// The beginning of a test's time.
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made up, only read")]
fn start() -> Now {
    Now { mono: Instant::now(), unix_ns: 1_700_000_000_123_456_789 }
}

/// That many milliseconds after the beginning.
fn at(start: Now, ms: u64) -> Now {
    let time = Duration::from_millis(ms);
    Now { mono: start.mono + time, unix_ns: start.unix_ns + time.as_nanos() as i64 }
}

/// The bytes written in hex; spaces are only for reading.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let width = prop_oneof![Just(Width::One), Just(Width::Two), Just(Width::Four)];
    let order = prop_oneof![Just(ByteOrder::Big), Just(ByteOrder::Little)];
    (order, width.clone(), proptest::option::of(width), any::<bool>()).prop_map(
        |(order, route, seq, heartbeat_time)| Layout {
            order,
            route,
            seq,
            body_max: 4096,
            receive_max: 4096,
            heartbeat_time,
        },
    )
}

fn any_bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=len_max)
}
