//! What a user runs: [`gate`], [`node`], [`client`], and [`app`] to put them together.
//!
//! A *gate* holds client connections and routes messages, a *node* runs game logic, a *client* drives
//! tests and bots. Each runs as one or more instances, each on one thread. Nothing here is global.
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::disallowed_methods,
        reason = "tests may be short"
    )
)]

#[cfg(feature = "admin")]
pub mod admin;
pub mod app;
pub mod backend;
mod calm;
pub mod client;
pub mod cluster;
mod codec_name;
pub mod gate;
pub mod instance;
mod link;
pub mod metrics;
pub mod node;
pub mod presence;
pub mod pulse;
mod secure;
mod shard;
mod stores;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod together;

pub use yumen_settings as settings;
