//! The registry on Consul.

pub(crate) mod agent;
mod builder;
mod plain;
mod servers;
mod silent;
