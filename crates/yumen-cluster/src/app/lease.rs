//! The life of an instance in the locator: renewed while the instance runs, and not while it is stuck.
//!
//! Places of users belong to a life. An instance whose thread does nothing serves none of them, so it must
//! not keep them from others by a renewal that the service runtime sends in its name.

use super::{control::Entry, join::Said};
use crate::presence;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use yumen_core::{
    locator::{Incarnation, Locator, LocatorError, RENEW_INTERVAL},
    watch::WatchSender,
};
use yumen_net::env::Clock;
use yumen_proto::id::InstanceId;

/// How long a thread may have done nothing new for its lives to be renewed.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Longest wait for the answer to a renewal: of the three [`RENEW_INTERVAL`]s after which a life is given
/// up one has passed.
const RENEW_MAX: Duration = RENEW_INTERVAL;
/// Pause after a request that failed: one failure alone may have taken one of the three.
const AGAIN: Duration = Duration::from_millis(500);

/// The life of an instance.
pub(crate) struct Lease {
    locator: Arc<dyn Locator>,
    id: InstanceId,
    /// `None`: there is none, as far as is known.
    life: Option<Incarnation>,
    said: Said,
}

/// Whether the thread of an instance has done nothing new for too long.
pub(super) fn is_stuck(entry: &Entry) -> bool {
    let silence = |pulse: &crate::pulse::Pulse| pulse.silence(Clock::real().now().mono);
    entry.host().is_some_and(|(_, pulse)| silence(pulse) > SILENCE_MAX)
}

impl Lease {
    /// Of an instance that has no life yet, or that one.
    pub(crate) fn new(
        locator: &Arc<dyn Locator>,
        id: &InstanceId,
        life: Option<Incarnation>,
    ) -> Self {
        Self { locator: Arc::clone(locator), id: id.clone(), life, said: Said::default() }
    }

    /// Keeps it going unless the instance is stuck; begins a new life, and tells the instance, if the
    /// locator has lost it, or has not taken the instance so far.
    pub(crate) async fn keep(
        mut self,
        lives: Arc<WatchSender<Incarnation>>,
        is_stuck: impl Fn() -> bool,
    ) {
        let mut is_kept = self.life.is_some();
        loop {
            tokio::time::sleep(if is_kept { RENEW_INTERVAL } else { AGAIN }).await;
            if is_stuck() {
                continue;
            }
            is_kept = match self.life {
                Some(life) => self.renew(life, &lives).await,
                None => self.begin(&lives).await,
            };
        }
    }

    /// Begins a life; whether the locator took the instance.
    pub(crate) async fn begin(&mut self, lives: &WatchSender<Incarnation>) -> bool {
        match presence::ask(self.locator.open(&self.id)).await {
            Ok(life) => {
                self.life = Some(life);
                lives.send(life);
                self.is_well();
                true
            }
            Err(why) => {
                self.say(&why);
                false
            }
        }
    }

    async fn renew(&mut self, life: Incarnation, lives: &WatchSender<Incarnation>) -> bool {
        match timeout(RENEW_MAX, self.locator.renew(&self.id, life)).await {
            Ok(Ok(())) => {
                self.is_well();
                true
            }
            Ok(Err(LocatorError::NotOpen { .. } | LocatorError::Superseded { .. })) => {
                let id = &self.id;
                tracing::warn!(%id, "the locator had given this instance up; it begins anew");
                self.life = None;
                self.begin(lives).await
            }
            Ok(Err(error)) => {
                self.say(&error.to_string());
                false
            }
            Err(_) => {
                self.say(&format!("no answer within {} s", RENEW_MAX.as_secs()));
                false
            }
        }
    }

    fn is_well(&self) {
        if self.said.take() {
            tracing::info!(id = %self.id, "the locator takes this instance again");
        }
    }

    fn say(&self, why: &str) {
        if self.said.is_due() {
            tracing::warn!(id = %self.id, "the locator does not take this instance: {why}; it is tried on");
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
        cluster::Kind,
        locator::{Around, Operation, Request, Wrapped},
        memory::MemoryLocator,
    };

    /// Takes 3 s to refuse each of the first renewals, as one whose server does not answer.
    struct Slow {
        refusals: usize,
        renewed: Mutex<Vec<Instant>>,
    }

    impl Around for Slow {
        fn request<'a, T: Send + 'a>(
            &'a self,
            operation: Operation<'a>,
            request: Request<'a, T>,
        ) -> Request<'a, T> {
            Box::pin(async move {
                if operation == Operation::Renew {
                    let tries = {
                        let mut renewed = self.renewed.lock().unwrap();
                        renewed.push(Instant::now());
                        renewed.len()
                    };
                    if tries <= self.refusals {
                        tokio::time::sleep(Duration::from_secs(3)).await;
                        let source = "no answer".into();
                        return Err(LocatorError::Backend { backend: "slow", source });
                    }
                }
                request.await
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_was_not_answered_is_sent_again_before_the_life_is_given_up() {
        let around = Slow { refusals: 1, renewed: Mutex::default() };
        let locator = Arc::new(Wrapped { inner: MemoryLocator::default(), around });
        let id = InstanceId::from("lobby");
        let life = locator.open(&id).await.unwrap();
        let (start, lives) = (Instant::now(), Arc::new(WatchSender::new(life)));
        let shared: Arc<dyn Locator> = Arc::clone(&locator) as _;
        let lease = Lease::new(&shared, &id, Some(life));
        let _ended = timeout(RENEW_INTERVAL * 4, lease.keep(lives, || false)).await;
        let renewed = locator.around.renewed.lock().unwrap();
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
        let lease = Lease::new(cluster.locator(), &id, Some(life));
        // The clock of this runtime stands still, and is moved on whenever nothing else happens.
        let patience = RENEW_INTERVAL * 4;
        let _ended = timeout(patience, lease.keep(lives, || is_stuck(&entry))).await;
        seen.current() != life
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_is_renewed_while_its_instance_runs_and_not_while_it_is_stuck() {
        assert!(begins_anew(Duration::ZERO).await);
        assert!(!begins_anew(Duration::from_secs(60)).await);
    }
}
