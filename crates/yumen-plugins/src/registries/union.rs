//! Follows one kind in several registries at once, and publishes them as one set.
//!
//! One task for each registry, since each may be away for as long as it likes. The one thing to know: the
//! first set is given out when all have answered, or those that have not had their time.

use super::{PATIENCE, merge::Merge, none};
use crate::tries::Tries;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{sleep, timeout},
};
use yumen_core::{
    cluster::{Kind, Snapshot},
    health::Health,
    registry::{Registry, RegistryError},
    watch::{Watch, WatchSender},
};

/// Between two looks at a registry that was away.
const LOOK: Duration = Duration::from_secs(5);
/// A registry that was well at so many looks in a row has forgotten whoever is gone.
const LOOKS: u32 = 12;

/// How far one registry is.
#[derive(Clone, Debug, Default)]
struct Progress {
    answered: bool,
    failures: u64,
    error: Option<Arc<RegistryError>>,
}

/// The handle. Dropping it stops the work; the watches keep the last set.
#[derive(Debug)]
pub(super) struct Union {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    merge: Mutex<Merge>,
    set: WatchSender<Snapshot>,
    /// Of each registry.
    progress: WatchSender<Vec<Progress>>,
}

impl Drop for Union {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Union {
    pub(super) fn start(runtime: &Handle, kind: Kind, all: &[Arc<dyn Registry>]) -> Self {
        let shared = Arc::new(Shared {
            merge: Mutex::new(Merge::new(all.len())),
            set: WatchSender::new(Snapshot::default()),
            progress: WatchSender::new(vec![Progress::default(); all.len()]),
        });
        let start = |n| {
            let follow = Follow { shared: Arc::clone(&shared), all: all.to_vec(), n, kind };
            runtime.spawn(follow.run()).abort_handle()
        };
        let tasks = (0..all.len()).map(start).collect();
        Self { shared, tasks }
    }

    /// The set, as soon as there is one.
    pub(super) fn watch(
        &self,
    ) -> impl Future<Output = Result<Watch<Snapshot>, RegistryError>> + use<> {
        let (shared, mut progress) = (Arc::clone(&self.shared), self.shared.progress.watch());
        let before = progress.current();
        async move {
            loop {
                let now = progress.current();
                let answered = now.iter().any(|one| one.answered);
                let mut both = now.iter().zip(&before);
                let settled =
                    both.all(|(now, before)| now.answered || now.failures > before.failures);
                if settled && !answered {
                    let error = now.into_iter().find_map(|one| one.error);
                    return Err(error.map_or_else(none, |error| RegistryError::Backend {
                        backend: "several",
                        source: error.into(),
                    }));
                }
                let goes_on = match (settled, answered) {
                    (true, _) => return Ok(shared.set.watch()),
                    (false, false) => progress.changed().await,
                    (false, true) => match timeout(PATIENCE, progress.changed()).await {
                        Ok(goes_on) => goes_on,
                        Err(_) => return Ok(shared.set.watch()),
                    },
                };
                if !goes_on {
                    return Err(none());
                }
            }
        }
    }
}

/// The task of one registry.
struct Follow {
    shared: Arc<Shared>,
    all: Vec<Arc<dyn Registry>>,
    n: usize,
    kind: Kind,
}

impl Follow {
    async fn run(self) {
        let Some(registry) = self.all.get(self.n) else { return };
        let tries = Tries::default();
        let mut set = loop {
            match registry.watch(self.kind).await {
                Ok(set) => break set,
                Err(error) => {
                    tries.failed(error.to_string());
                    self.progress(|progress| {
                        progress.failures = progress.failures.saturating_add(1);
                        progress.error = Some(Arc::new(error));
                    });
                    sleep(tries.pause()).await;
                }
            }
        };
        let mut looks = 0_u32;
        loop {
            let now = set.current();
            self.publish(|merge| merge.update(self.n, &now, |other| self.is_away(other)));
            self.progress(|progress| progress.answered = true);
            while !set.is_behind() {
                match timeout(LOOK, set.changed()).await {
                    Ok(true) => break,
                    Ok(false) => return,
                    Err(_) => looks = self.look(looks),
                }
            }
        }
    }

    /// How often in a row it was well while it had somebody who is believed to be gone. In the end it is
    /// believed.
    fn look(&self, looks: u32) -> u32 {
        if self.is_away(self.n) || !self.locked().doubts(self.n) {
            return 0;
        }
        if looks >= LOOKS {
            self.publish(|merge| merge.trust(self.n));
        }
        looks.saturating_add(1)
    }

    fn is_away(&self, n: usize) -> bool {
        self.all.get(n).is_some_and(|registry| registry.health() != Health::Good)
    }

    /// Changes and publishes in one step, so that no older set comes after a newer one.
    fn publish(&self, change: impl FnOnce(&mut Merge)) {
        let mut merge = self.locked();
        change(&mut merge);
        self.shared.set.send_if_new(merge.snapshot());
    }

    fn locked(&self) -> MutexGuard<'_, Merge> {
        self.shared.merge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        // Under the lock, since several tasks do this.
        let _alone = self.locked();
        let mut all = self.shared.progress.watch().current();
        if let Some(progress) = all.get_mut(self.n) {
            change(progress);
        }
        self.shared.progress.send(all);
    }
}
