//! The set of one kind that a registry follows: its watches, its copy on disk, and how the tries went.
//!
//! Knows no server: the task that reads is the registry's own. The one thing to know: a watch is given out
//! as soon as there is a set, be it from disk, and an error only if there is none.

use crate::{
    kept::Kept,
    known::Known,
    orders::{Dropped, SharedError},
    tries::Tries,
};
use std::{
    error::Error,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    task::{AbortHandle, spawn_blocking},
    time::sleep,
};
use yumen_core::{
    cluster::Snapshot,
    watch::{Watch, WatchSender},
};

/// Time between two copies on disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Whether there is a set, and how the tries went.
#[derive(Clone, Debug, Default)]
struct Progress {
    has_set: bool,
    failures: u64,
    error: Option<SharedError>,
}

/// The handle of what follows one kind. Dropping it stops the work; the watches keep the last set.
#[derive(Debug)]
pub(crate) struct Follower {
    followed: Arc<Followed>,
    task: AbortHandle,
    keeping: Option<AbortHandle>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(keeping) = &self.keeping {
            keeping.abort();
        }
    }
}

impl Follower {
    /// Starts `work` on `runtime`. `registry` and `what` are for people: which instances of which registry.
    pub(crate) fn start<W: Future<Output = ()> + Send + 'static>(
        runtime: &Handle,
        registry: &'static str,
        what: String,
        kept: Option<Kept>,
        work: impl FnOnce(Arc<Followed>) -> W,
    ) -> Self {
        let set = WatchSender::new(Snapshot::default());
        let keeping =
            kept.clone().map(|kept| runtime.spawn(keep(kept, set.watch())).abort_handle());
        let followed = Arc::new(Followed {
            registry,
            what,
            kept,
            set,
            progress: WatchSender::new(Progress::default()),
            tries: Tries::default(),
            unread: AtomicUsize::new(0),
        });
        let task = runtime.spawn(work(Arc::clone(&followed))).abort_handle();
        Self { followed, task, keeping }
    }

    /// The set, as soon as there is one.
    pub(crate) fn watch(
        &self,
    ) -> impl Future<Output = Result<Watch<Snapshot>, SharedError>> + use<> {
        let (followed, mut progress) = (Arc::clone(&self.followed), self.followed.progress.watch());
        let before = progress.current().failures;
        async move {
            loop {
                let now = progress.current();
                match now.error {
                    _ if now.has_set => return Ok(followed.set.watch()),
                    Some(error) if now.failures > before => return Err(error),
                    _ => {}
                }
                if !progress.changed().await {
                    return Err(Arc::new(Dropped));
                }
            }
        }
    }

    pub(crate) fn tries(&self) -> &Tries {
        &self.followed.tries
    }

    /// How many values are left out of the set, since they are no records.
    pub(crate) fn unread(&self) -> usize {
        self.followed.unread.load(Ordering::Relaxed)
    }
}

/// Keeps each set on disk, the newest of those that came close together.
async fn keep(kept: Kept, mut set: Watch<Snapshot>) {
    while set.changed().await {
        let (kept, now) = (kept.clone(), set.current());
        // A panic there costs this copy only.
        let _ = spawn_blocking(move || kept.save(&now)).await;
        sleep(KEEP_EVERY).await;
    }
}

/// The other end: what the task publishes.
#[derive(Debug)]
pub(crate) struct Followed {
    registry: &'static str,
    what: String,
    kept: Option<Kept>,
    set: WatchSender<Snapshot>,
    progress: WatchSender<Progress>,
    tries: Tries,
    unread: AtomicUsize,
}

impl Followed {
    /// What is known now is the set.
    pub(crate) fn publish(&self, known: &Known) {
        self.unread.store(known.unread(), Ordering::Relaxed);
        self.set.send_if_new(known.snapshot());
        self.has_set();
    }

    /// The server answered.
    pub(crate) fn good(&self) {
        if self.tries.good() > 0 {
            let registry = self.registry;
            tracing::info!(instances = %self.what, "instances in {registry} are followed again");
        }
    }

    /// It did not. From now on what is gone from it is only missed; if there is no set yet, the one on disk
    /// is it. Gives the time until the next try.
    pub(crate) async fn failed(
        &self,
        error: impl Error + Send + Sync + 'static,
        known: &mut Known,
    ) -> Duration {
        known.doubt();
        if self.tries.failed(error.to_string()) == 1 {
            let registry = self.registry;
            tracing::warn!(
                instances = %self.what,
                "instances in {registry} cannot be followed, going on with the last known: {error}"
            );
        }
        // Before anybody is told that there is no set.
        self.use_kept().await;
        let mut progress = self.progress.watch().current();
        progress.failures = progress.failures.saturating_add(1);
        progress.error = Some(Arc::new(error));
        self.progress.send(progress);
        self.tries.pause()
    }

    /// How long to wait before all is read again without a failure.
    #[cfg(feature = "etcd")]
    pub(crate) fn pause(&self) -> Duration {
        self.tries.pause()
    }

    /// The first read, which takes its time over what is on disk for `wait` and not longer.
    pub(crate) async fn first<T>(&self, wait: Duration, read: impl Future<Output = T>) -> T {
        let mut read = std::pin::pin!(read);
        tokio::select! {
            read = &mut read => return read,
            () = sleep(wait) => {
                if self.use_kept().await {
                    self.tries.failed(format!("no answer within {wait:?}, going on from disk"));
                }
            }
        }
        read.await
    }

    /// Publishes what is on disk, unless there is a set already. Gives whether it did.
    async fn use_kept(&self) -> bool {
        let Some(kept) = self.kept.clone() else { return false };
        if self.progress.watch().current().has_set {
            return false;
        }
        let file = kept.path().display().to_string();
        let Ok(Some(set)) = spawn_blocking(move || kept.load()).await else { return false };
        tracing::warn!(
            %file,
            instances = set.len(),
            "{} does not answer, starting with the instances that were kept on disk",
            self.registry
        );
        self.set.send_if_new(set);
        self.has_set();
        true
    }

    fn has_set(&self) {
        let mut progress = self.progress.watch().current();
        if !progress.has_set {
            progress.has_set = true;
            self.progress.send(progress);
        }
    }
}
