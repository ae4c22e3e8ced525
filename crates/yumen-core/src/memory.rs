//! Every plug-in trait inside one process: the default, and the reference for `conformance`.
//!
//! Nothing here does I/O, waits, or starts a task: each call is finished when its future is made,
//! under one short lock, and wakes its watchers before it returns. Every table has a bound.

mod locator;
mod registry;

pub use locator::{LocatorLimits, MemoryLocator};
pub use registry::MemoryRegistry;

use crate::BoxFuture;
use std::{
    future,
    sync::{Mutex, PoisonError},
};

/// Runs `work` under the lock. A panic in an earlier holder is not a reason to stop serving: the
/// tables are left consistent by every step.
fn locked<S, T>(state: &Mutex<S>, work: impl FnOnce(&mut S) -> T) -> T {
    work(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A future that is finished already.
fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(future::ready(value))
}
