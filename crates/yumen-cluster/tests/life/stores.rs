//! The stores of a program that is one of several: a list of others, and a registry that may be away.

use crate::child::setting;
use std::{path::Path, time::Duration};
use yumen_cluster::cluster::Cluster;
use yumen_core::{
    BoxFuture,
    cluster::{Instance, Kind, RouteInfo, Snapshot},
    memory::MemoryLocator,
    registry::{Registry, RegistryError, StaticRegistry},
    watch::Watch,
};
use yumen_proto::id::InstanceId;
use yumen_settings::Settings;

/// The file that ends the absence of the registry.
pub(crate) const BACK: &str = "the-registry-is-back";

/// A registry that answers nothing until a file is there.
struct Away(StaticRegistry);

async fn back() {
    while !Path::new(BACK).exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Registry for Away {
    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            back().await;
            self.0.join(instance).await
        })
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            back().await;
            self.0.leave(id, kind).await
        })
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        Box::pin(async move {
            back().await;
            self.0.watch(kind).await
        })
    }
}

/// The cluster that the program was told to be in: of one process unless something is said.
pub(crate) fn cluster(settings: &Settings, routes: &[i32]) -> Cluster {
    let Some(others) = setting("OTHERS") else { return Cluster::in_process() };
    // As `node lobby drpc://…`, with commas between them.
    let record = |other: &str| {
        let mut words = other.split(' ');
        let mut word = || words.next().unwrap().to_owned();
        let kind = if word() == "gate" { Kind::Gate } else { Kind::Node };
        let mut record = Instance::new(word().into(), kind, word());
        record.routes = routes.iter().map(|route| RouteInfo::new((*route).into())).collect();
        record.metadata.insert("yumen".to_owned(), "1".to_owned());
        record
    };
    let others = others.split(',').filter(|other| !other.is_empty());
    let list = StaticRegistry::new(others.map(record)).unwrap();
    let locator = MemoryLocator::default();
    let cluster = match setting("AWAY") {
        Some(_) => Cluster::new(Away(list), locator),
        None => Cluster::new(list, locator),
    };
    cluster.settings(settings)
}
