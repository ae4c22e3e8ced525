//! Sockets: accept, dial, and the one driver that moves bytes between them and protocol machines.
//!
//! It knows nothing of registries, routes or users. Everything it takes from outside (time, sockets,
//! dice, tasks) comes in as [`env::Env`], so the same code runs on real sockets and on the virtual
//! network of [`testing`]. Read in this order: [`mod@env`], [`socket`], [`driver`].
//!
//! To add a transport: a variant of [`socket::Socket`] for a new kind of byte stream, or one of
//! `driver::Transport` for a new framing above the bytes.
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

pub mod acceptor;
pub mod alive;
pub mod block;
pub mod driver;
pub mod env;
pub mod histogram;
pub mod limit;
pub mod local;
mod ready;
pub mod socket;
pub mod spawn;
pub mod tcp;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "ws")]
pub mod ws;
