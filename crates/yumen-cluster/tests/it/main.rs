//! Gates, nodes and clients over real loopback sockets: everything that is promised of a cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test that panics has failed, which is what it is for"
)]

mod client;
mod downlink;
mod game;
mod login;
mod node;
mod order;
mod rig;
mod routing;
