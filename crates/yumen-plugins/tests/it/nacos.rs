//! The registry on Nacos.

mod builder;
pub(crate) mod server;
mod servers;
