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
        clippy::wildcard_enum_match_arm,
        clippy::disallowed_methods,
        reason = "tests may be short"
    )
)]
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        reason = "a test tool: an overflow has to fail, and a checker looks for the few events it names"
    )
)]

pub mod cluster;
pub mod net;
pub mod play;
pub mod stores;
pub mod trace;
