//! The locator on Redis.

mod builder;
mod cluster;
mod launch;
mod proxy;
mod server;
mod servers;
