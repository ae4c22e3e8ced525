//! Wire formats and connection state machines: bytes and time go in, events and bytes come out.
//!
//! Nothing here opens a socket, reads a clock, rolls dice or starts a task: the owner passes bytes
//! and [`Now`] in, and writes out what it finds in [`Out`]. So the same code runs under tokio, in
//! the simulator and in a fuzzer.
//!
//! Read in this order: [`packet`] (what a client and a gate say to each other), [`extension`] (what
//! we add to that, once both sides have announced it), [`conn`] (one client connection, seen from
//! either end), [`link`] (what two instances say to each other), [`proxy`] (what a load balancer puts in
//! front of a connection).
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::disallowed_methods,
        reason = "a test that panics has failed, which is what it is for"
    )
)]

pub mod conn;
pub mod error;
pub mod extension;
mod flags;
pub mod id;
pub mod link;
pub mod packet;
pub mod proxy;
mod read;
mod tail;
#[cfg(feature = "testing")]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "only for tests, which may panic"
)]
pub mod testing;

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub use conn::{
    ClientConn, ClientEvent, CloseReason, ConnState, HandshakeFault, Heartbeat, Machine, Mechanism,
    Now, Out, Peer, ServerConn, ServerEvent, Settings, TlsFault,
};
pub use error::WireError;
pub use extension::{CloseNotice, Features, NoticeReason, Outcome, StatusReply};
pub use id::{ConnId, Epoch, InstanceId, RouteId, UserId};
pub use packet::{ByteOrder, Data, Layout, Packet, Width};
