//! Follows the instances of one kind: reads them all, then their changes from the revision of that read on.
//!
//! Never ends by itself and never spins: whatever breaks, it waits, reads everything again and goes on. A
//! stream is not resumed, since a server that lost its memory would count its revisions anew and stay silent
//! for ever. While nothing can be read the last set stays. The one thing to know: a stream that is silent is
//! asked for a sign of life, and one that does not give it is dead.

use super::{
    client::{CallError, Client, Events, Needs},
    messages::{Event, KeyValue, RangeRequest, RangeResponse, WatchCreate},
};
use crate::{
    followed::{Followed, Follower},
    kept::Kept,
    known::{Found, Known},
};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};
use yumen_core::cluster::{Instance, Kind};

/// Most instances of one answer.
const PAGE: usize = 500;
/// Most answers of one read.
const PAGES_MAX: usize = 40;

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

/// Starts to follow, on `runtime`.
pub(super) fn start(runtime: &Handle, client: Arc<Client>, range: Range) -> Follower {
    let (what, kept) = (range.prefix.clone(), range.kept.clone());
    Follower::start(runtime, "etcd", what, kept, |followed| {
        Work { client, range, followed, revision: 0 }.run()
    })
}

/// The task.
struct Work {
    client: Arc<Client>,
    range: Range,
    followed: Arc<Followed>,
    /// Of the last read that was published.
    revision: i64,
}

impl Work {
    async fn run(mut self) {
        let mut known = Known::new("etcd", self.range.kind);
        let mut read = self.followed.first(self.client.timeout(), self.read()).await;
        loop {
            let error = match read {
                Ok(read) => self.follow(&mut known, read).await,
                Err(error) => error,
            };
            let pause = if matches!(error, FollowError::Compacted) {
                let prefix = &self.range.prefix;
                tracing::info!(%prefix, "etcd compacted its history, reading all instances again");
                self.followed.pause()
            } else {
                self.followed.failed(error, &mut known).await
            };
            sleep(pause).await;
            read = self.read().await;
        }
    }

    /// Publishes what was read, and then every change, until something breaks.
    async fn follow(&mut self, known: &mut Known, read: Read) -> FollowError {
        self.revision = read.revision;
        known.replace(read.found.into_iter().map(found).collect());
        self.followed.publish(known);
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
                    self.followed.publish(known);
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
            self.followed.good();
            let changed = !answer.events.is_empty();
            answer.events.into_iter().for_each(|event| apply(known, event));
            if changed && !answer.fragment {
                self.followed.publish(known);
            }
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

/// One change.
fn apply(known: &mut Known, event: Event) {
    match event.kv {
        Some(kv) if event.kind == 0 => known.put(found(kv)),
        Some(kv) => known.remove(String::from_utf8_lossy(&kv.key).into_owned()),
        None => {}
    }
}

/// A key and its value. A key that is not the one of its record's id counts less than the one that is.
fn found(kv: KeyValue) -> Found {
    let key = String::from_utf8_lossy(&kv.key).into_owned();
    let record: Result<Instance, _> = serde_json::from_slice(&kv.value);
    let own = |instance: &Instance| key.ends_with(&format!("/{}", instance.id));
    let rank = u64::from(record.as_ref().is_ok_and(own));
    let version = u64::try_from(kv.mod_revision).unwrap_or(0);
    Found { rank, version, record: record.map_err(|error| error.to_string()), key }
}

/// The first key behind those that begin with `prefix`, which ends with a slash.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}
