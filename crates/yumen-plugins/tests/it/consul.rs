//! The registry on Consul.

mod agent;
mod builder;
mod plain;
mod servers;
mod silent;
