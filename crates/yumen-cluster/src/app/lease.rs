//! The life of an instance in the locator: renewed while the instance runs, and not while it is stuck.
//!
//! Places of users belong to a life. An instance whose thread does nothing serves none of them, so it must
//! not keep them from others by a renewal that the service runtime sends in its name.

use super::control::Entry;
use std::{sync::Arc, time::Duration};
use yumen_core::{
    locator::{Incarnation, Locator, LocatorError, RENEW_INTERVAL},
    watch::WatchSender,
};
use yumen_net::env::Clock;
use yumen_proto::id::InstanceId;

/// How long a thread may have done nothing new for its lives to be renewed.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// One life of an instance.
pub(crate) struct Lease {
    pub(crate) locator: Arc<dyn Locator>,
    pub(crate) id: InstanceId,
    pub(crate) life: Incarnation,
}

/// Whether the thread of an instance has done nothing new for too long.
pub(super) fn is_stuck(entry: &Entry) -> bool {
    let silence = |pulse: &crate::pulse::Pulse| pulse.silence(Clock::real().now().mono);
    entry.host().is_some_and(|(_, pulse)| silence(pulse) > SILENCE_MAX)
}

impl Lease {
    /// Keeps it going unless the instance is stuck; begins a new life, and tells the instance, if the
    /// locator has lost it.
    pub(crate) async fn keep(
        mut self,
        lives: Arc<WatchSender<Incarnation>>,
        is_stuck: impl Fn() -> bool,
    ) {
        loop {
            tokio::time::sleep(RENEW_INTERVAL).await;
            if !is_stuck() {
                self.renew(&lives).await;
            }
        }
    }

    async fn renew(&mut self, lives: &WatchSender<Incarnation>) {
        let Self { id, locator, .. } = self;
        match locator.renew(id, self.life).await {
            Ok(()) => {}
            Err(LocatorError::NotOpen { .. } | LocatorError::Superseded { .. }) => {
                match locator.open(id).await {
                    Ok(next) => {
                        tracing::warn!(%id, "the locator had given this instance up; it begins anew");
                        self.life = next;
                        lives.send(next);
                    }
                    Err(error) => tracing::warn!(
                        %id, %error,
                        "the locator has given this instance up and does not take it again yet"
                    ),
                }
            }
            Err(error) => tracing::warn!(%id, %error, "the locator did not take the renewal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::Control, cluster::Cluster, pulse::Pulse};
    use yumen_core::cluster::Kind;

    /// Whether a life that the locator has lost is begun anew within some renewals.
    async fn begins_anew(silent: Duration) -> bool {
        let (cluster, id) = (Cluster::in_process(), "lobby".into());
        let life = cluster.locator().open(&id).await.unwrap();
        cluster.locator().close(&id, life).await.unwrap();
        let entry = Control::default().add(id.clone(), Kind::Node, "lobby".to_owned());
        let now = Clock::real().now().mono;
        entry.set_host("lobby", Pulse::new(now.checked_sub(silent).unwrap()));
        let lives = Arc::new(WatchSender::new(life));
        let mut seen = lives.watch();
        let lease = Lease { locator: Arc::clone(cluster.locator()), id, life };
        // The clock of this runtime stands still, and is moved on whenever nothing else happens.
        let patience = RENEW_INTERVAL * 4;
        let _ended = tokio::time::timeout(patience, lease.keep(lives, || is_stuck(&entry))).await;
        seen.current() != life
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_is_renewed_while_its_instance_runs_and_not_while_it_is_stuck() {
        assert!(begins_anew(Duration::ZERO).await);
        assert!(!begins_anew(Duration::from_secs(60)).await);
    }
}
