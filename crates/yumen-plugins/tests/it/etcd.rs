//! The registry on etcd.

mod builder;
mod gateway;
mod member;
mod proxy;
mod servers;
mod silent;

use std::{future::Future, time::Duration};
use yumen_core::{
    cluster::{Instance, Kind, Snapshot},
    registry::Registry,
    watch::Watch,
};

/// Far longer than anything takes, also on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it is done within a minute")
}

fn node(id: &str) -> Instance {
    Instance::new(id.into(), Kind::Node, format!("drpc://127.0.0.1:4000/{id}"))
}

fn ids(set: &Snapshot) -> Vec<&str> {
    set.iter().map(|instance| instance.id.as_str()).collect()
}

/// Waits for a set that is as wanted; a backend may take more than one step to get there.
async fn until(watch: &mut Watch<Snapshot>, wanted: impl Fn(&Snapshot) -> bool) {
    let mut last = watch.current();
    let arrived = tokio::time::timeout(LIMIT, async {
        while !wanted(&last) {
            assert!(watch.changed().await, "a watch never ends by itself");
            last = watch.current();
        }
    });
    if arrived.await.is_err() {
        panic!("the set stays at {last:?}");
    }
}

async fn until_ids(watch: &mut Watch<Snapshot>, wanted: &[&str]) {
    until(watch, |set| ids(set) == wanted).await;
}

/// Joins as an instance does: until it has succeeded.
async fn join(registry: &impl Registry, instance: &Instance) {
    within(async { while registry.join(instance).await.is_err() {} }).await;
}

/// Follows the nodes as an instance does: asks until there is a set.
async fn follow(registry: &impl Registry) -> Watch<Snapshot> {
    let asking = async {
        loop {
            if let Ok(nodes) = registry.watch(Kind::Node).await {
                return nodes;
            }
        }
    };
    within(asking).await
}
