//! The registry on etcd.

mod builder;
mod gateway;
pub(crate) mod member;
mod servers;
mod silent;
