//! The registry on etcd.

mod builder;
mod gateway;
mod member;
mod servers;
mod silent;
