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

/// Pause after a renewal that failed: a life is given up after three [`RENEW_INTERVAL`]s in silence, and
/// one failure alone may have taken one of them.
const AGAIN: Duration = Duration::from_millis(500);
/// Of so many failures in a row the first is told.
const FAILURES_TOLD: u32 = 20;

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
        let mut failures = 0_u32;
        loop {
            let pause = if failures == 0 { RENEW_INTERVAL } else { AGAIN };
            tokio::time::sleep(pause).await;
            if is_stuck() {
                continue;
            }
            let Err(error) = self.renew(&lives).await else {
                failures = 0;
                continue;
            };
            if failures.is_multiple_of(FAILURES_TOLD) {
                let id = &self.id;
                tracing::warn!(%id, %error, "the locator does not take the renewal; trying again");
            }
            failures = failures.saturating_add(1);
        }
    }

    async fn renew(&mut self, lives: &WatchSender<Incarnation>) -> Result<(), LocatorError> {
        let Self { id, locator, .. } = self;
        match locator.renew(id, self.life).await {
            Err(LocatorError::NotOpen { .. } | LocatorError::Superseded { .. }) => {
                let next = locator.open(id).await?;
                tracing::warn!(%id, "the locator had given this instance up; it begins anew");
                self.life = next;
                lives.send(next);
                Ok(())
            }
            renewed => renewed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::Control, cluster::Cluster, pulse::Pulse};
    use std::sync::Mutex;
    use tokio::time::Instant;
    use yumen_core::{
        BoxFuture,
        cluster::Kind,
        locator::{Claim, Located, Moves, Place, Role},
        memory::MemoryLocator,
    };
    use yumen_proto::id::{Epoch, UserId};

    /// Takes 3 s to refuse each of the first renewals, as one whose server does not answer.
    struct Slow {
        inner: MemoryLocator,
        refusals: usize,
        renewed: Mutex<Vec<Instant>>,
    }

    impl Locator for Slow {
        fn open<'a>(
            &'a self,
            id: &'a InstanceId,
        ) -> BoxFuture<'a, Result<Incarnation, LocatorError>> {
            self.inner.open(id)
        }

        fn renew<'a>(
            &'a self,
            _id: &'a InstanceId,
            _life: Incarnation,
        ) -> BoxFuture<'a, Result<(), LocatorError>> {
            Box::pin(async move {
                let tries = {
                    let mut renewed = self.renewed.lock().unwrap();
                    renewed.push(Instant::now());
                    renewed.len()
                };
                if tries > self.refusals {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_secs(3)).await;
                Err(LocatorError::Backend { backend: "slow", source: "no answer".into() })
            })
        }

        fn close<'a>(
            &'a self,
            id: &'a InstanceId,
            life: Incarnation,
        ) -> BoxFuture<'a, Result<bool, LocatorError>> {
            self.inner.close(id, life)
        }

        fn claim<'a>(
            &'a self,
            user: UserId,
            place: &'a Place,
            life: Option<Incarnation>,
        ) -> BoxFuture<'a, Result<Claim, LocatorError>> {
            self.inner.claim(user, place, life)
        }

        fn release<'a>(
            &'a self,
            user: UserId,
            place: &'a Place,
            epoch: Epoch,
        ) -> BoxFuture<'a, Result<bool, LocatorError>> {
            self.inner.release(user, place, epoch)
        }

        fn find<'a>(
            &'a self,
            user: UserId,
            role: &'a Role,
        ) -> BoxFuture<'a, Result<Option<Located>, LocatorError>> {
            self.inner.find(user, role)
        }

        fn watch(&self) -> Moves {
            self.inner.watch()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_was_not_answered_is_sent_again_before_the_life_is_given_up() {
        let inner = MemoryLocator::default();
        let locator = Arc::new(Slow { inner, refusals: 1, renewed: Mutex::default() });
        let id = InstanceId::from("lobby");
        let life = locator.open(&id).await.unwrap();
        let (start, lives) = (Instant::now(), Arc::new(WatchSender::new(life)));
        let shared: Arc<dyn Locator> = Arc::clone(&locator) as _;
        let lease = Lease { locator: shared, id, life };
        let _ended = tokio::time::timeout(RENEW_INTERVAL * 4, lease.keep(lives, || false)).await;
        let renewed = locator.renewed.lock().unwrap();
        let at: Vec<_> = renewed.iter().map(|at| at.duration_since(start).as_secs_f32()).collect();
        assert!(at.len() == 3, "{at:?}");
        // Unanswered at 3 s, known at 6 s, answered long before 9 s; then at ease again.
        assert!((6.4..7.5).contains(&at[1]) && (9.4..11.5).contains(&at[2]), "{at:?}");
    }

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
