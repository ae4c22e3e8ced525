//! Discovery inside one process.

use super::{done, locked};
use crate::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    registry::{Registry, RegistryError},
    watch::{Watch, WatchSender},
};
use std::{collections::BTreeMap, sync::Mutex};
use yumen_proto::InstanceId;

/// Discovery inside one process: share it in an `Arc`.
///
/// ```
/// use yumen_core::{cluster::{Instance, Kind}, memory::MemoryRegistry, registry::Registry};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let registry = MemoryRegistry::default();
/// let mut gates = registry.watch(Kind::Gate).await?;
/// registry.join(&Instance::new("gate-1".into(), Kind::Gate, "drpc://127.0.0.1:4000")).await?;
/// assert!(gates.changed().await);
/// assert_eq!(gates.current()[0].id.as_str(), "gate-1");
/// # Ok::<(), yumen_core::registry::RegistryError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryRegistry {
    instances_max: usize,
    kinds: Mutex<BTreeMap<Kind, Service>>,
}

/// The instances of one kind and those who follow them.
#[derive(Debug)]
struct Service {
    instances: BTreeMap<InstanceId, Instance>,
    snapshot: WatchSender<Snapshot>,
}

impl Service {
    fn publish(&self) {
        self.snapshot.send(self.instances.values().cloned().collect());
    }
}

impl Default for Service {
    fn default() -> Self {
        Self { instances: BTreeMap::new(), snapshot: WatchSender::new(Snapshot::default()) }
    }
}

impl Default for MemoryRegistry {
    /// Room for 10,000 instances of each kind.
    fn default() -> Self {
        Self::bounded(10_000)
    }
}

impl MemoryRegistry {
    /// Room for so many instances of each kind; one more is refused with
    /// [`RegistryError::Full`].
    pub fn bounded(instances_max: usize) -> Self {
        Self { instances_max, kinds: Mutex::default() }
    }

    fn service<T>(&self, kind: Kind, work: impl FnOnce(&mut Service) -> T) -> T {
        locked(&self.kinds, |kinds| work(kinds.entry(kind).or_default()))
    }
}

impl Registry for MemoryRegistry {
    fn name(&self) -> &str {
        "in memory"
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        let max = self.instances_max;
        done(self.service(instance.kind, |service| {
            match service.instances.get(&instance.id) {
                Some(held) if held == instance => return Ok(()),
                None if service.instances.len() >= max => return Err(RegistryError::Full { max }),
                _ => {}
            }
            service.instances.insert(instance.id.clone(), instance.clone());
            service.publish();
            Ok(())
        }))
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.service(kind, |service| {
            if service.instances.remove(id).is_some() {
                service.publish();
            }
        });
        done(Ok(()))
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        done(Ok(self.service(kind, |service| service.snapshot.watch())))
    }
}
