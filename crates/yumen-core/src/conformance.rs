//! What every implementation of a plug-in trait must do.
//!
//! Each function takes the implementation and panics at the first broken promise, naming it. A
//! backend is done when its function passes against the real server. Run it in a test with a time
//! limit around it: a promise that something will be told is broken by silence. The functions
//! clean up after themselves when they pass, and must be alone with their backend.
#![expect(clippy::panic, reason = "a broken promise ends the test that asked")]

mod codec;
mod locator;
mod registry;

pub use codec::codec;
pub use locator::{locator, locator_shared};
pub use registry::registry;

use std::fmt::Debug;

/// The value of a call that had to succeed.
#[track_caller]
fn must<T, E: Debug>(promise: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{promise}: {error:?}"),
    }
}
