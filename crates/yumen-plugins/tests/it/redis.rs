//! The locator on Redis.

mod server;
mod servers;
