//! `due-peer` against what was recorded from a running due: clients see the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that panics has failed, which is what it is for"
)]

mod clients;
mod foreign;
#[expect(dead_code, reason = "the plug-ins' own tests need more of it")]
#[path = "../../../../crates/yumen-plugins/tests/it/redis/launch.rs"]
mod launch;
mod one_process;
mod ours;
mod recording;
mod redis;
mod servers;
