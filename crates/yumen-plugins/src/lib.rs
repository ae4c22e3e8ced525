//! Registries and locators on real servers: one vendor is one module and one feature.
//!
//! | Feature | Module | What |
//! |---|---|---|
//! | `etcd` | `etcd` | a registry |
//! | `redis` | `redis` | a locator |
//!
//! Nothing here knows a protocol of Yumen's or a socket of a client's: each module turns one vendor's
//! client into a trait of `yumen-core`. Each is made without a runtime and starts its work at the first
//! call, on the runtime of that call: the service runtime of the process.

#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "etcd")]
mod kept;
#[cfg(feature = "redis")]
pub mod redis;
