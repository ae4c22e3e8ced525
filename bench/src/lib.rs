//! Benchmarks of Yumen: a raw relay as the limit, a load generator, and commands that compare.
//!
//! Nothing here is used by a game server. Every figure is measured while it is printed; the
//! generator's own cost is always reported apart from the server's. Linux only: the loops stand
//! on epoll and the CPU times on `/proc`.
//!
//! Read in this order: [`generator`] (what is sent and what is counted), [`relay`] (the limit),
//! [`process`] (how a server under test is started and stopped), [`backend`] (etcd and Redis for a run),
//! [`command`] (what a person types).
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::disallowed_methods,
        reason = "tests"
    )
)]
pub mod backend;
mod chaos;
pub mod clock;
mod codec;
pub mod command;
pub mod generator;
pub mod icount;
pub mod machine;
mod number;
mod poll;
pub mod process;
pub mod relay;
pub mod report;
pub mod slo;
pub mod stats;
mod stream;
pub mod syscalls;
