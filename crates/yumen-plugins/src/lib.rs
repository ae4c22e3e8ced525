//! Registries and locators on real servers: one vendor is one module and one feature.
//!
//! | Feature | Module | What |
//! |---|---|---|
//! | `consul` | `consul` | a registry |
//! | `etcd` | `etcd` | a registry |
//! | `nacos` | `nacos` | a registry |
//! | `redis` | `redis` | a locator |
//!
//! Nothing here knows a protocol of Yumen's or a socket of a client's: each module turns one vendor's
//! client into a trait of `yumen-core`. Each is made without a runtime and starts its work at the first
//! call, on the runtime of that call: the service runtime of the process.
//! What registries share: `working` (a registry out of these parts), `orders` (one record that is kept there), `followed` (the set of one kind), `known`
//! (what that set is), `kept` (its copy on disk), `tries` (health and pauses), `http` (how some are asked) and `tls`
//! (whom they trust).

#[cfg(feature = "consul")]
pub mod consul;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
mod followed;
#[cfg(any(feature = "consul", feature = "nacos"))]
mod http;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
mod kept;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
mod known;
#[cfg(feature = "nacos")]
pub mod nacos;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
mod orders;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
pub mod registries;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
mod tls;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
mod tries;
#[cfg(any(feature = "consul", feature = "etcd", feature = "nacos"))]
mod working;
