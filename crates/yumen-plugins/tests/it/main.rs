//! The plug-ins against real servers: one module for each vendor. What needs a server stands in its module
//! `servers` and starts its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, which is what it is for"
)]

#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(any(feature = "etcd", feature = "nacos"))]
mod last_words;
#[cfg(feature = "nacos")]
mod nacos;
#[cfg(any(feature = "consul", feature = "etcd", feature = "redis"))]
mod papers;
#[cfg(feature = "redis")]
mod redis;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod registries;
#[cfg(any(feature = "consul", feature = "etcd"))]
mod registry;
#[cfg(all(feature = "consul", feature = "nacos"))]
mod toxics;
#[cfg(any(feature = "consul", feature = "etcd"))]
mod wire;
