//! Follows the instances of one kind: reads all that are healthy, again and again.
//!
//! Never ends by itself and never spins. The one thing to know: a server that was away has let heartbeats run
//! out or has lost its memory, so whoever is missing after that stays until it had time to be seen again.

use super::{
    client::CallError,
    naming::Naming,
    record::{BEAT_EVERY_MS, Host, word},
};
use crate::{
    followed::{Followed, Follower},
    kept::Kept,
    known::{Found, Known},
};
use serde_json::Value;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};
use yumen_core::cluster::Kind;

/// Between two reads.
const EVERY: Duration = Duration::from_secs(1);
/// How long an instance may take to be seen again after an outage: until it has noticed that the server is
/// back, and the server shows what it has.
const GRACE: Duration = Duration::from_millis(BEAT_EVERY_MS * 5);

/// Starts to follow, on `runtime`.
pub(super) fn start(
    runtime: &Handle,
    naming: Arc<Naming>,
    kind: Kind,
    kept: Option<Kept>,
) -> Follower {
    Follower::start(runtime, "Nacos", word(kind).to_owned(), kept, move |followed| {
        Work { naming, kind, followed, doubt: None }.run()
    })
}

/// The task.
struct Work {
    naming: Arc<Naming>,
    kind: Kind,
    followed: Arc<Followed>,
    /// Until whoever is missing had its time; `None` if nobody is, or the server is still away.
    doubt: Option<Pin<Box<Sleep>>>,
}

impl Work {
    async fn run(mut self) {
        let mut known = Known::new("Nacos", self.kind);
        let mut answer = self.followed.first(self.naming.timeout(), self.read()).await;
        loop {
            let pause = match answer {
                Ok(hosts) => {
                    self.followed.good();
                    known.replace(hosts.into_iter().filter_map(found).collect());
                    self.followed.publish(&known);
                    if !known.is_certain() && self.doubt.is_none() {
                        self.doubt = Some(Box::pin(sleep(GRACE)));
                    }
                    EVERY
                }
                Err(error) => {
                    self.doubt = None;
                    self.followed.failed(error, &mut known).await
                }
            };
            self.wait(pause, &mut known).await;
            answer = self.read().await;
        }
    }

    /// Waits. Meanwhile the doubt ends when its time is over.
    async fn wait(&mut self, pause: Duration, known: &mut Known) {
        let waited = sleep(pause);
        let Some(mut doubt) = self.doubt.take() else { return waited.await };
        tokio::select! {
            () = waited => self.doubt = Some(doubt),
            () = doubt.as_mut() => {
                known.trust();
                self.followed.publish(known);
            }
        }
    }

    async fn read(&self) -> Result<Vec<Value>, CallError> {
        self.naming.hosts(self.kind, true).await
    }
}

/// One entry of an answer; `None` if it takes no work, as one that is unhealthy.
fn found(entry: Value) -> Option<Found> {
    let text = entry.to_string();
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let version = hasher.finish();
    let (key, record) = match serde_json::from_value::<Host>(entry) {
        Ok(host) if !host.healthy || !host.enabled => return None,
        Ok(host) => (format!("{}:{}", host.ip, host.port), host.read()),
        Err(error) => (text.chars().take(100).collect(), Err(error.to_string())),
    };
    Some(Found { key, version, rank: 0, record })
}
