//! What tests of every registry do: join, follow, wait for a set, and look at the health.

use std::{future::Future, time::Duration};
use tokio::{task::JoinHandle, time::sleep};
use yumen_core::{
    cluster::{Instance, Kind, Snapshot},
    health::Health,
    registry::Registry,
    watch::Watch,
};

/// Far longer than anything takes, also on a machine that is busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it is done within a minute")
}

pub(crate) fn node(id: &str) -> Instance {
    Instance::new(id.into(), Kind::Node, format!("drpc://127.0.0.1:4000/{id}"))
}

pub(crate) fn ids(set: &Snapshot) -> Vec<&str> {
    set.iter().map(|instance| instance.id.as_str()).collect()
}

/// Waits for a set that is as wanted; a backend may take more than one step to get there.
pub(crate) async fn until(watch: &mut Watch<Snapshot>, wanted: impl Fn(&Snapshot) -> bool) {
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

pub(crate) async fn until_ids(watch: &mut Watch<Snapshot>, wanted: &[&str]) {
    until(watch, |set| ids(set) == wanted).await;
}

/// Joins as an instance does: until it has succeeded.
pub(crate) async fn join(registry: &impl Registry, instance: &Instance) {
    within(async { while registry.join(instance).await.is_err() {} }).await;
}

/// Follows the nodes as an instance does: asks until there is a set.
pub(crate) async fn follow(registry: &impl Registry) -> Watch<Snapshot> {
    let asking = async {
        loop {
            if let Ok(nodes) = registry.watch(Kind::Node).await {
                return nodes;
            }
        }
    };
    within(asking).await
}

/// Fails the test if a set ever lacks one of these.
pub(crate) fn never_lacks(
    mut watch: Watch<Snapshot>,
    wanted: &'static [&'static str],
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let set = watch.current();
            let lacking: Vec<_> = wanted.iter().filter(|id| !ids(&set).contains(id)).collect();
            assert!(lacking.is_empty(), "{lacking:?} are missing");
            assert!(watch.changed().await, "a watch never ends by itself");
        }
    })
}

pub(crate) async fn is_well(registry: &impl Registry) {
    within(async {
        while registry.health() != Health::Good {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) async fn says(registry: &impl Registry, what: &str) {
    let says = || match registry.health() {
        Health::Failing { last, .. } => last.contains(what),
        Health::Good => false,
    };
    within(async {
        while !says() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) async fn is_red(registry: &impl Registry) {
    within(async {
        while registry.health().is_ready() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
