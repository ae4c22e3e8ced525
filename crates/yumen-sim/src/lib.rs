//! A whole cluster on a virtual network with a seed: the real gate, node, link and locator code.
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

pub mod net;
pub mod trace;
