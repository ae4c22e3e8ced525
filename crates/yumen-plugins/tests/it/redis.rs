//! The locator on Redis.

mod builder;
mod proxy;
mod server;
mod servers;
