//! What needs a server: each test on etcd 3.4 and on 3.6.

use super::member::Version;
use std::future::Future;

mod away;
mod cluster;
mod records;
mod tls;

/// Each name is a test on both versions.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod etcd34 {
            $(#[test] fn $test() { super::run(super::$test(super::Version::Debian)); })*
        }
        mod etcd36 {
            $(#[test] fn $test() { super::run(super::$test(super::Version::Newer)); })*
        }
    };
}
use on_both;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}
