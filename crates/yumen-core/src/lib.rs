//! The words that every part of Yumen shares, and the traits behind which a backend plugs in.
//!
//! * [`status`]: how a call failed, for players, callers and policies alike;
//! * [`cluster`]: what an instance says about itself in the registry;
//! * [`codec`]: message bodies to values and back;
//! * [`registry`] and [`locator`]: who is there, and where a user is; a list in code or a file for the first;
//! * [`memory`]: every plug-in trait inside one process, with no server;
//! * `conformance` (feature `conformance`): what every implementation must do, as functions.
//!
//! This crate opens no socket, reads no clock, spawns no task and never blocks, but for the two functions
//! that read a list of instances from a file: an implementation that must do more lives in a crate of its
//! own.
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "a test may stop at a wrong number"
    )
)]

use std::{future::Future, pin::Pin};

pub mod cluster;
pub mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod health;
pub mod locator;
pub mod memory;
pub mod registry;
pub mod status;
pub mod watch;

pub use cluster::{Event, Instance, Kind, RouteInfo, Snapshot, State};
pub use status::{Code, Outcome, Status};

/// A boxed future, so that plug-ins can be chosen at run time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The name of a type without its path.
fn type_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}
