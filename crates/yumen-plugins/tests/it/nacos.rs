//! The registry on Nacos.

mod builder;
mod server;
mod servers;
