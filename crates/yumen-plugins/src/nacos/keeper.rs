//! Keeps one instance of this process registered in Nacos: its entry, and its heartbeat, for ever.
//!
//! Never gives up, and never takes away what another living process put there. The one thing to know: every
//! heartbeat is answered with whether the server still has the instance, and is followed by a look at it, so
//! a server that lost its memory and an entry that somebody removed or changed heal alike.

use super::{
    client::CallError,
    naming::Naming,
    record::{BEAT_EVERY_MS, Entry, TEXTS_MAX, UnfitError},
};
use crate::orders::{Keeper, Order, Told};
use hyper::StatusCode;
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::sleep};
use yumen_core::{
    cluster::{Instance, Kind},
    watch::Watch,
};

/// Why a record is not there as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the record does not fit into Nacos: {0}")]
    Unfit(#[from] UnfitError),
    #[error(
        "the record does not fit into Nacos: its texts take {len} characters, and a server takes {TEXTS_MAX} \
         unless its check of parameters is off (nacos.core.param.check.enabled=false in its \
         application.properties); the longest are {longest}; the server said: {said}"
    )]
    TooLong { len: usize, longest: String, said: String },
    #[error(
        "{id} is registered by another process, at {endpoint}: stop one of the two, or give it an id of its own"
    )]
    Taken { id: String, endpoint: String },
}

/// Starts on `runtime`, with nothing to do yet.
pub(super) fn start(runtime: &Handle, naming: Arc<Naming>, kind: Kind, id: &str) -> Keeper {
    let id = id.to_owned();
    Keeper::start(runtime, "Nacos", id.clone(), move |orders, told| {
        Work { naming, kind, id, told, written: None }.run(orders)
    })
}

/// The task.
struct Work {
    naming: Arc<Naming>,
    kind: Kind,
    id: String,
    told: Told,
    /// What was written last, while it is to be there.
    written: Option<Entry>,
}

impl Work {
    async fn run(mut self, mut orders: Watch<Order>) {
        loop {
            let order = orders.current();
            let step = match &order.record {
                Some(record) => {
                    self.step(record).await.map(|()| Some(Duration::from_millis(BEAT_EVERY_MS)))
                }
                None if order.number > 0 => self.withdraw().await.map(|()| None),
                None => Ok(None),
            };
            let pause = match step {
                Ok(pause) => {
                    self.told.done(order.number);
                    pause
                }
                Err(error) => Some(self.told.failed(error)),
            };
            let goes_on = match pause {
                None => orders.changed().await,
                Some(pause) => tokio::select! {
                    changed = orders.changed() => changed,
                    () = sleep(pause) => true,
                },
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Makes it so: the entry as it should be, and a heartbeat.
    async fn step(&mut self, record: &Instance) -> Result<(), KeepError> {
        let wanted = Entry::new(record)?;
        if self.written.as_ref() != Some(&wanted) {
            self.write(&wanted).await?;
            return Ok(());
        }
        if !self.naming.beat(self.kind, &wanted).await? {
            tracing::warn!(id = %self.id, "Nacos has lost the instance, registering again");
            self.write(&wanted).await?;
        }
        let all = self.naming.list(self.kind, false).await?;
        if all.iter().any(|host| wanted.is_at(host) && host.metadata != wanted.metadata) {
            // Somebody changed it there.
            self.register(&wanted).await?;
        }
        let other = all.iter().find(|host| {
            host.id() == self.id && host.healthy && host.enabled && !wanted.is_at(host)
        });
        match other {
            Some(other) => {
                let endpoint = other.metadata.get("endpoint").cloned().unwrap_or_default();
                Err(KeepError::Taken { id: self.id.clone(), endpoint })
            }
            None => Ok(()),
        }
    }

    /// Registers, and takes away what stands elsewhere: what this process wrote before, and before its first
    /// record what a killed predecessor left.
    async fn write(&mut self, wanted: &Entry) -> Result<(), KeepError> {
        self.register(wanted).await?;
        let before = self.written.replace(wanted.clone());
        match before {
            Some(before) => {
                if (&before.ip, before.port) != (&wanted.ip, wanted.port) {
                    self.naming.remove(self.kind, &before.ip, before.port).await?;
                }
            }
            None => {
                for host in self.naming.list(self.kind, false).await? {
                    if host.id() == self.id && !wanted.is_at(&host) {
                        self.naming.remove(self.kind, &host.ip, host.port).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn register(&self, wanted: &Entry) -> Result<(), KeepError> {
        match self.naming.register(self.kind, wanted).await {
            Err(CallError::Refused { status, what, .. })
                if status == StatusCode::BAD_REQUEST && what.contains("Metadata") =>
            {
                let mut texts: Vec<_> = wanted.metadata.iter().collect();
                texts.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
                let longest: Vec<_> = texts
                    .iter()
                    .take(3)
                    .map(|(name, text)| format!("{name} with {}", text.encode_utf16().count()))
                    .collect();
                let (len, longest) = (wanted.len(), longest.join(", "));
                Err(KeepError::TooLong { len, longest, said: what })
            }
            answered => Ok(answered?),
        }
    }

    /// Takes the entry away.
    async fn withdraw(&mut self) -> Result<(), KeepError> {
        if let Some(written) = &self.written {
            self.naming.remove(self.kind, &written.ip, written.port).await?;
        }
        self.written = None;
        Ok(())
    }
}
