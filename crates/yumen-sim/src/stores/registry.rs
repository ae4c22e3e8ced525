//! The registry as one host sees it.

use super::{HostStores, NoAnswer, Record, Store, publish};
use std::sync::Arc;
use tokio::time::Instant;
use yumen_core::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    registry::{Registry, RegistryError},
    watch::Watch,
};
use yumen_proto::InstanceId;

fn failed(source: NoAnswer) -> RegistryError {
    RegistryError::Backend { backend: "simulated", source: Box::new(source) }
}

impl Registry for HostStores {
    fn name(&self) -> &str {
        "simulated"
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            self.way(Store::Registry).await.map_err(failed)?;
            self.note(format_args!("join {} {:?}", instance.id, instance.state));
            {
                let mut state = self.stores.state();
                let owner = Arc::clone(&self.host);
                let (instance, seen) = (instance.clone(), Instant::now());
                let (kind, key) = (instance.kind, (instance.kind, instance.id.clone()));
                state.records.insert(key, Record { instance, owner, seen, is_shown: true });
                publish(&mut state, kind);
            }
            self.way(Store::Registry).await.map_err(failed)
        })
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            self.way(Store::Registry).await.map_err(failed)?;
            self.note(format_args!("leave {id}"));
            {
                let mut state = self.stores.state();
                if state.records.remove(&(kind, id.clone())).is_some() {
                    publish(&mut state, kind);
                }
            }
            self.way(Store::Registry).await.map_err(failed)
        })
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        Box::pin(async move {
            self.way(Store::Registry).await.map_err(failed)?;
            self.note(format_args!("watch {kind:?}"));
            let now = {
                let state = self.stores.state();
                let shown = state.records.iter();
                let shown = shown.filter(|((of, _), record)| *of == kind && record.is_shown);
                shown.map(|(_, record)| record.instance.clone()).collect::<Snapshot>()
            };
            self.host.snapshots(kind).send(now);
            self.way(Store::Registry).await.map_err(failed)?;
            Ok(self.watched(kind))
        })
    }
}
