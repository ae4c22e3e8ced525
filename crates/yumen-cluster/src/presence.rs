//! The record of an instance in the registry: what it is to say, and the one task that sees to it.
//!
//! Whoever changes something of the record changes what is wanted; what failed to be written is tried
//! again for ever. So a state and a weight that change at once are both kept, and none is lost to a
//! registry that was away.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use yumen_core::{
    cluster::Instance,
    registry::{Registry, RegistryError},
    watch::{Watch, WatchSender},
};

/// Longest wait for one answer of a registry or a locator.
pub(crate) const TRY_MAX: Duration = Duration::from_secs(5);
/// First pause before what failed is tried again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// The pauses between attempts.
#[derive(Debug)]
pub(crate) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pauses {
    /// How long to wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(PAUSE_MAX);
        pause
    }
}

/// The answer of a store, or why there is none.
pub(crate) async fn ask<T, E: fmt::Display>(
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(TRY_MAX, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", TRY_MAX.as_secs())),
    }
}

/// What the record of an instance is to say; nothing before it serves. Clones share it.
#[derive(Clone)]
pub struct Wanted(Arc<Shared>);

struct Shared {
    record: Mutex<Option<Instance>>,
    changes: WatchSender<Option<Instance>>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self(Arc::new(Shared { record: Mutex::default(), changes: WatchSender::new(None) }))
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wanted").field(&self.current()).finish()
    }
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, Option<Instance>> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance serves, and this is what it says.
    pub fn begin(&self, record: Instance) {
        let mut wanted = self.lock();
        *wanted = Some(record);
        self.0.changes.send(wanted.clone());
    }

    /// Changes what it says. Before [`begin`](Self::begin) there is nothing to change.
    pub fn change(&self, change: impl FnOnce(&mut Instance)) {
        let mut wanted = self.lock();
        if let Some(record) = wanted.as_mut() {
            change(record);
            self.0.changes.send(wanted.clone());
        }
    }

    /// It is to say nothing any more, and what the registry has is left to whoever wrote it.
    pub(crate) fn end(&self) {
        let mut wanted = self.lock();
        *wanted = None;
        self.0.changes.send(None);
    }

    /// What it says now.
    pub fn current(&self) -> Option<Instance> {
        self.lock().clone()
    }

    /// Follows it; what was wanted before counts as not seen.
    fn watch(&self) -> Watch<Option<Instance>> {
        self.0.changes.watch()
    }
}

/// What became of an attempt to write the record.
pub(crate) trait Told {
    /// The registry has it.
    fn written(&self, record: &Instance);
    /// It has not, and this is why.
    fn failed(&self, why: &str);
}

/// Nobody wants to know.
impl Told for () {
    fn written(&self, _: &Instance) {}
    fn failed(&self, _: &str) {}
}

/// Sees to it that the registry has what is wanted, until it is dropped.
///
/// # Errors
/// [`RegistryError::Unfit`]: to try that again changes nothing.
pub(crate) async fn keep(
    registry: Arc<dyn Registry>,
    wanted: Wanted,
    told: impl Told,
) -> Result<(), RegistryError> {
    let mut changes = wanted.watch();
    let mut pauses = Pauses::default();
    loop {
        let next = match changes.current() {
            None => None,
            Some(record) => match ask(judged(registry.join(&record))).await {
                Ok(Some(unfit)) => return Err(unfit),
                Ok(None) => {
                    pauses = Pauses::default();
                    told.written(&record);
                    None
                }
                Err(why) => {
                    told.failed(&why);
                    Some(pauses.next())
                }
            },
        };
        match next {
            // What changes meanwhile is written with the next attempt.
            Some(pause) => sleep(pause).await,
            None => {
                if !changes.changed().await {
                    return Ok(());
                }
            }
        }
    }
}

/// Tells apart what may be tried again and what may not.
async fn judged(
    join: impl Future<Output = Result<(), RegistryError>>,
) -> Result<Option<RegistryError>, RegistryError> {
    match join.await {
        Err(unfit @ RegistryError::Unfit { .. }) => Ok(Some(unfit)),
        joined => joined.map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use yumen_core::{
        BoxFuture,
        cluster::{Kind, Snapshot, State},
        memory::MemoryRegistry,
    };
    use yumen_proto::id::InstanceId;

    /// A registry that does not answer the first times.
    #[derive(Default)]
    struct Away {
        inner: MemoryRegistry,
        times: AtomicU32,
    }

    impl Registry for Away {
        fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
            Box::pin(async move {
                match self.times.fetch_add(1, Ordering::Relaxed) {
                    0 => std::future::pending().await,
                    1 => Err(RegistryError::Full { max: 0 }),
                    _ => self.inner.join(instance).await,
                }
            })
        }

        fn leave<'a>(
            &'a self,
            id: &'a InstanceId,
            kind: Kind,
        ) -> BoxFuture<'a, Result<(), RegistryError>> {
            self.inner.leave(id, kind)
        }

        fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
            self.inner.watch(kind)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_while_the_registry_was_away_is_written_when_it_is_back() {
        let (registry, wanted) = (Arc::new(Away::default()), Wanted::default());
        let mut nodes = registry.watch(Kind::Node).await.unwrap();
        let changes = async {
            wanted.change(|_| panic!("there is nothing yet"));
            wanted.begin(Instance::new("room".into(), Kind::Node, ""));
            sleep(Duration::from_secs(1)).await;
            wanted.change(|record| record.weight = 7);
            wanted.change(|record| record.state = State::Hang);
            while nodes.changed().await {
                let record = nodes.current()[0].clone();
                if record.state == State::Hang {
                    return record;
                }
            }
            panic!("never written")
        };
        let record = tokio::select! {
            record = changes => record,
            _ = keep(Arc::<Away>::clone(&registry), wanted.clone(), ()) => panic!("ended"),
            () = sleep(Duration::from_mins(1)) => panic!("not in time"),
        };
        assert_eq!((record.weight, record.state), (7, State::Hang));
    }
}
