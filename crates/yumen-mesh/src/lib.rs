//! Lanes between instances: one seam, whatever carries it.
//!
//! An instance sends frames to another through its [`Links`] and receives through [`Receive`]. Between
//! one pair of instances everything on the data lane arrives in the order it was sent, and each
//! lane holds a bounded number of bytes. It never looks into a client's packet, never retries, and
//! never runs user code while anything of its own is borrowed.
//!
//! To add a carrier: a variant of `links::Carrier`; the tests in `links/tests.rs` run over all of them.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::disallowed_methods,
        reason = "tests may be short"
    )
)]

mod board;
mod far;
mod guard;
mod here;
mod links;
mod near;
mod outside;

#[doc(hidden)]
pub use board::Flaw;
pub use board::{Neighbours, Switchboard};
pub use far::stats::{FarCounts, Reasons};
pub use guard::LinkGuard;
pub use links::{CallError, LANE_MAX, LinkId, Links, Load, Receive, Unsent};
pub use outside::{AllowList, NetBlock, NotAnAddress, Outside, Peer, Tuning};
