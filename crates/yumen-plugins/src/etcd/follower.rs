//! Follows the instances of one kind: reads them all, then their changes from the revision of that read on.
//!
//! Never ends by itself and never spins: whatever breaks, it waits, reads everything again and goes on. A
//! stream is not resumed, since a server that lost its memory would count its revisions anew and stay silent
//! for ever. While nothing can be read the last set stays. The one thing to know: a stream that is silent is
//! asked for a sign of life, and one that does not give it is dead.

use super::{
    client::{CallError, Client, Events, Needs},
    known::Known,
    messages::{KeyValue, RangeRequest, RangeResponse, WatchCreate},
    tries::Tries,
};
use crate::kept::Kept;
use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    task::{AbortHandle, spawn_blocking},
    time::{Sleep, sleep},
};
use yumen_core::{
    cluster::{Kind, Snapshot},
    watch::{Watch, WatchSender},
};

/// Most instances of one answer.
const PAGE: usize = 500;
/// Most answers of one read.
const PAGES_MAX: usize = 40;
/// Time between two copies on disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Why following had to begin again.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{addr}: the stream of changes gave no sign of life")]
    Silent { addr: String },
    #[error("{addr}: the stream of changes was refused: {reason}")]
    Canceled { addr: String, reason: String },
    /// Not a failure: the server keeps its history for so long and no longer.
    #[error("the server has dropped the changes since the read")]
    Compacted,
    #[error("the only members that answer are behind what was seen already")]
    Behind,
    #[error("the registry was dropped")]
    Dropped,
}

/// What to follow.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) kind: Kind,
    /// What the keys begin with, the last slash included: without it `node` would be `node2` too.
    pub(super) prefix: String,
    /// How long an instance may take to register again after an outage.
    pub(super) grace: Duration,
    pub(super) kept: Option<Kept>,
}

/// Whether there is a set, and how the tries went.
#[derive(Clone, Debug, Default)]
struct Progress {
    has_set: bool,
    failures: u64,
    error: Option<Arc<FollowError>>,
}

/// The handle of one follower. Dropping it stops the work; the watches keep the last set.
#[derive(Debug)]
pub(super) struct Follower {
    shared: Arc<Shared>,
    task: AbortHandle,
    keeping: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    set: WatchSender<Snapshot>,
    progress: WatchSender<Progress>,
    tries: Tries,
    unread: AtomicUsize,
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
    pub(super) fn start(runtime: &Handle, client: Arc<Client>, range: Range) -> Self {
        let shared = Arc::new(Shared {
            set: WatchSender::new(Snapshot::default()),
            progress: WatchSender::new(Progress::default()),
            tries: Tries::default(),
            unread: AtomicUsize::new(0),
        });
        let set = shared.set.watch();
        let keeping = range.kept.clone();
        let keeping = keeping.map(|kept| runtime.spawn(keep(kept, set)).abort_handle());
        let work = Work { client, range, shared: Arc::clone(&shared), revision: 0 };
        let task = runtime.spawn(work.run()).abort_handle();
        Self { shared, task, keeping }
    }

    /// The set, as soon as there is one.
    pub(super) fn watch(
        &self,
    ) -> impl Future<Output = Result<Watch<Snapshot>, Arc<FollowError>>> + use<> {
        let (shared, mut progress) = (Arc::clone(&self.shared), self.shared.progress.watch());
        let before = progress.current().failures;
        async move {
            loop {
                let now = progress.current();
                match now.error {
                    _ if now.has_set => return Ok(shared.set.watch()),
                    Some(error) if now.failures > before => return Err(error),
                    _ => {}
                }
                if !progress.changed().await {
                    return Err(Arc::new(FollowError::Dropped));
                }
            }
        }
    }

    pub(super) fn tries(&self) -> &Tries {
        &self.shared.tries
    }

    pub(super) fn unread(&self) -> usize {
        self.shared.unread.load(Ordering::Relaxed)
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

/// The task.
struct Work {
    client: Arc<Client>,
    range: Range,
    shared: Arc<Shared>,
    /// Of the last read that was published.
    revision: i64,
}

impl Work {
    async fn run(mut self) {
        let mut known = Known::new(self.range.kind);
        let mut read = self.first_read().await;
        loop {
            let error = match read {
                Ok(read) => self.follow(&mut known, read).await,
                Err(error) => error,
            };
            self.failed(error, &mut known).await;
            sleep(self.shared.tries.pause()).await;
            read = self.read().await;
        }
    }

    /// As every other read, but a server that takes its time does not hold up what is on disk.
    async fn first_read(&mut self) -> Result<Read, FollowError> {
        let wait = self.client.timeout();
        let (shared, kept) = (Arc::clone(&self.shared), self.range.kept.clone());
        let mut read = pin!(self.read());
        tokio::select! {
            read = &mut read => return read,
            () = sleep(wait) => {
                if use_kept(&shared, kept).await {
                    shared.tries.failed(format!("no answer within {wait:?}, going on from disk"));
                }
            }
        }
        read.await
    }

    async fn failed(&self, error: FollowError, known: &mut Known) {
        let prefix = &self.range.prefix;
        if matches!(error, FollowError::Compacted) {
            tracing::info!(%prefix, "etcd compacted its history, reading all instances again");
            return;
        }
        known.doubt();
        if self.shared.tries.failed(error.to_string()) == 1 {
            tracing::warn!(
                %prefix,
                "instances in etcd cannot be followed, going on with the last known: {error}"
            );
        }
        // Before anybody is told that there is no set.
        use_kept(&self.shared, self.range.kept.clone()).await;
        let mut progress = self.shared.progress.watch().current();
        progress.failures = progress.failures.saturating_add(1);
        progress.error = Some(Arc::new(error));
        self.shared.progress.send(progress);
    }

    /// Publishes what was read, and then every change, until something breaks.
    async fn follow(&mut self, known: &mut Known, read: Read) -> FollowError {
        self.revision = read.revision;
        known.replace(read.found);
        self.publish(known);
        let create = WatchCreate {
            key: self.range.prefix.clone().into_bytes(),
            range_end: end_of(&self.range.prefix),
            // Not the next one, though that of the read is told again: etcd from 3.5.8 on gives no sign of
            // life to a stream that begins in the future, so a quiet cluster would look dead.
            start_revision: read.revision,
            progress_notify: true,
            fragment: true,
        };
        let mut events = match self.client.watch(create).await {
            Ok(events) => events,
            Err(error) => return error.into(),
        };
        let mut doubt = pin!(sleep(self.range.grace));
        self.changes(known, &mut events, doubt.as_mut()).await
    }

    async fn changes(
        &self,
        known: &mut Known,
        events: &mut Events,
        mut doubt: Pin<&mut Sleep>,
    ) -> FollowError {
        let mut asked = false;
        loop {
            let answer = tokio::select! {
                answer = events.next() => answer,
                () = doubt.as_mut(), if !known.is_certain() => {
                    known.trust();
                    self.publish(known);
                    continue;
                }
                () = sleep(self.client.timeout()) => {
                    if asked || !events.ask() {
                        self.client.hang_up(events.number);
                        return FollowError::Silent { addr: events.addr.clone() };
                    }
                    asked = true;
                    continue;
                }
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    return self.client.broken(&error, &events.addr, events.number).into();
                }
            };
            asked = false;
            if answer.compact_revision != 0 {
                return FollowError::Compacted;
            }
            if answer.canceled {
                // The reason does not tell an old token from a missing right.
                self.client.forget_token();
                let (addr, reason) = (events.addr.clone(), answer.cancel_reason);
                return FollowError::Canceled { addr, reason };
            }
            if self.shared.tries.good() > 0 {
                tracing::info!(prefix = %self.range.prefix, "instances in etcd are followed again");
            }
            let changed = !answer.events.is_empty();
            answer.events.into_iter().for_each(|event| known.apply(event));
            if changed && !answer.fragment {
                self.publish(known);
            }
        }
    }

    fn publish(&self, known: &Known) {
        self.shared.unread.store(known.unread(), Ordering::Relaxed);
        self.shared.set.send_if_new(known.snapshot());
        let mut progress = self.shared.progress.watch().current();
        if !progress.has_set {
            progress.has_set = true;
            self.shared.progress.send(progress);
        }
    }

    /// Everything under the prefix, as it is; without a quorum, as one member knows it.
    async fn read(&self) -> Result<Read, FollowError> {
        let refused = match self.pages(Needs::Leader).await {
            Ok(read) => return Ok(read),
            Err(error @ CallError::Away { answered: true, .. }) => error,
            // Nobody is there, or it is forbidden: to ask for less takes time and changes nothing.
            Err(error) => return Err(error.into()),
        };
        match self.pages(Needs::Member).await {
            // A member may have slept: what it knows must not undo what was known.
            Ok(read) if read.revision >= self.revision => Ok(read),
            Ok(_) => Err(FollowError::Behind),
            Err(_) => Err(refused.into()),
        }
    }

    async fn pages(&self, needs: Needs) -> Result<Read, CallError> {
        let mut read = Read { revision: 0, found: Vec::new() };
        let mut key = self.range.prefix.clone().into_bytes();
        for _ in 0..PAGES_MAX {
            let request = RangeRequest {
                key,
                range_end: end_of(&self.range.prefix),
                limit: i64::try_from(PAGE).unwrap_or(i64::MAX),
                // All pages show the same moment.
                revision: read.revision,
                serializable: needs == Needs::Member,
            };
            let path = "/etcdserverpb.KV/Range";
            let page: RangeResponse = self.client.call(path, request, needs).await?;
            if read.revision == 0 {
                read.revision = page.header.map_or(0, |header| header.revision);
            }
            let last = page.kvs.last().map(|kv| kv.key.clone());
            read.found.extend(page.kvs);
            match last {
                Some(last) if page.more => key = [last, vec![0]].concat(),
                _ => break,
            }
        }
        Ok(read)
    }
}

struct Read {
    revision: i64,
    found: Vec<KeyValue>,
}

/// Publishes what is on disk, unless there is a set already. Gives whether it did.
async fn use_kept(shared: &Shared, kept: Option<Kept>) -> bool {
    let Some(kept) = kept else { return false };
    if shared.progress.watch().current().has_set {
        return false;
    }
    let file = kept.path().display().to_string();
    let Ok(Some(set)) = spawn_blocking(move || kept.load()).await else { return false };
    tracing::warn!(
        %file,
        instances = set.len(),
        "etcd does not answer, starting with the instances that were kept on disk"
    );
    shared.set.send_if_new(set);
    shared.progress.send(Progress { has_set: true, ..shared.progress.watch().current() });
    true
}

/// The first key behind those that begin with `prefix`, which ends with a slash.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}
