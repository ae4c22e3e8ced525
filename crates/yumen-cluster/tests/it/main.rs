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

mod absent;
#[cfg(feature = "admin")]
mod admin;
mod apart;
mod churn;
mod client;
mod downlink;
mod game;
mod joining;
mod lane;
mod limits;
mod lives;
mod login;
mod many;
mod metrics;
mod node;
mod order;
mod outside;
mod places;
mod proxies;
mod rig;
mod routing;
mod sessions;
mod settings;
mod shard;
mod slow;
mod stop;
mod stream;
#[cfg(feature = "tls")]
mod tls;
