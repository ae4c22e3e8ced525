//! The crate as its users see it, over real sockets of the loopback interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that panics has failed, which is what it is for"
)]

mod acceptor;
mod driver;
#[cfg(target_os = "linux")]
mod exhausted;
#[cfg(target_os = "linux")]
mod servers;

use std::{future::Future, time::Duration};

/// Runs `test` on a runtime as an instance has one, for at most a minute.
fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap()
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(60), test).await.expect("a minute is enough");
        });
}

/// This machine lacks what a test needs: a failure in CI, which has to have it; elsewhere it is said.
fn not_here(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI demands {what}, which this machine has not");
    println!("this machine has not {what}: nothing was tested");
}
