//! The registry and the locator of a process, with every request counted by what became of it.
//!
//! The count is taken here, around the plug-ins, so that no caller can forget it. Never on the path of a
//! message: stores are asked at logins, at starts and stops, and where a cache knows nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use yumen_core::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    health::Health,
    locator::{Around, Operation, Request},
    registry::{Registry, RegistryError},
    watch::Watch,
};
use yumen_proto::id::InstanceId;

macro_rules! counts {
    ($($name:ident = $store:literal $operation:literal,)*) => {
        /// How often each operation was asked for, and how often that failed.
        #[derive(Debug, Default)]
        pub(crate) struct StoreCounts {
            $($name: Outcomes,)*
        }

        impl StoreCounts {
            /// Store, operation, how many were carried out, how many failed.
            pub(crate) fn read(&self) -> Vec<(&'static str, &'static str, u64, u64)> {
                let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
                vec![$(($store, $operation, load(&self.$name.ok), load(&self.$name.failed)),)*]
            }
        }
    };
}

counts! {
    join = "registry" "join",
    leave = "registry" "leave",
    watch = "registry" "watch",
    open = "locator" "open",
    renew = "locator" "renew",
    close = "locator" "close",
    claim = "locator" "claim",
    release = "locator" "release",
    find = "locator" "find",
}

#[derive(Debug, Default)]
struct Outcomes {
    ok: AtomicU64,
    failed: AtomicU64,
}

impl Outcomes {
    /// The same request, counted when it is answered. One that is dropped before is not.
    fn count<'a, T: Send + 'a, E: Send + 'a>(
        &'a self,
        request: BoxFuture<'a, Result<T, E>>,
    ) -> BoxFuture<'a, Result<T, E>> {
        Box::pin(async move {
            let result = request.await;
            let outcome = if result.is_ok() { &self.ok } else { &self.failed };
            outcome.fetch_add(1, Ordering::Relaxed);
            result
        })
    }
}

/// A registry whose requests are counted.
pub(crate) struct Counted<R> {
    pub(crate) store: R,
    pub(crate) counts: Arc<StoreCounts>,
}

impl<R: Registry> Registry for Counted<R> {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.counts.join.count(self.store.join(instance))
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.counts.leave.count(self.store.leave(id, kind))
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        self.counts.watch.count(self.store.watch(kind))
    }

    fn health(&self) -> Health {
        self.store.health()
    }
}

/// Counts what becomes of every request to a locator.
pub(crate) struct Counts(pub(crate) Arc<StoreCounts>);

impl Around for Counts {
    fn request<'a, T: Send + 'a>(
        &'a self,
        operation: Operation<'a>,
        request: Request<'a, T>,
    ) -> Request<'a, T> {
        let outcomes = match operation {
            Operation::Open => &self.0.open,
            Operation::Renew => &self.0.renew,
            Operation::Close => &self.0.close,
            Operation::Claim => &self.0.claim,
            Operation::Release => &self.0.release,
            Operation::Find(_) => &self.0.find,
        };
        outcomes.count(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::{
        locator::{Locator, Place, Wrapped},
        memory::MemoryLocator,
    };
    use yumen_proto::id::UserId;

    #[tokio::test]
    async fn what_a_store_refuses_is_counted_as_failed() {
        let counts = Arc::<StoreCounts>::default();
        let store =
            Wrapped { inner: MemoryLocator::default(), around: Counts(Arc::clone(&counts)) };
        let (gate, user) = (Place::gate("g"), UserId(7));
        assert!(store.claim(user, &gate, None).await.is_err(), "it is not open");
        store.open(&gate.instance).await.unwrap();
        store.claim(user, &gate, None).await.unwrap();
        store.claim(user, &gate, None).await.unwrap();
        let read = counts.read();
        assert!(read.contains(&("locator", "claim", 2, 1)), "{read:?}");
        assert!(read.contains(&("locator", "open", 1, 0)), "{read:?}");
    }
}
