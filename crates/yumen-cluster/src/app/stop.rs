//! How everything is stopped: the cluster is told, gates let their clients go, nodes finish, and what
//! is left when the time is over is named.
//!
//! Every wait here has an end. An instance that does not answer, because its thread is stuck, is left
//! behind; it ends with the process.

use super::{
    AppError,
    control::{InstanceState, Order, Phase},
    is_gate, join,
    running::{Live, Running},
    threads::Report,
    watchdog::seconds,
    what,
};
use crate::instance::{InstanceError, Left, Stop};
use std::{fmt, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};
use yumen_core::cluster::State;
use yumen_net::env::Clock;
use yumen_proto::id::InstanceId;

/// Longest time to tell the cluster that this process stops, and that it has ended.
const TELL_MAX: Duration = Duration::from_secs(3);
/// What an instance gets beyond its time to say what it had left.
const GRACE: Duration = Duration::from_secs(1);

/// Something that was not as it should be at the stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unclean {
    /// An instance had work left when its time was over, or when everything was told to end at once.
    #[error("instance {id} had work left: {left}")]
    Left {
        /// Which one.
        id: InstanceId,
        /// What it had left.
        left: Left,
    },
    /// An instance did not answer; its thread still runs.
    #[error("instance {id} is stuck: thread {thread} has done nothing new for {}", seconds(*silence))]
    Stuck {
        /// Which one.
        id: InstanceId,
        /// Its thread.
        thread: String,
        /// For how long the thread has done nothing new.
        silence: Duration,
    },
    /// An instance failed while it stopped.
    #[error("instance {id}: {source}")]
    Failed {
        /// Which one.
        id: InstanceId,
        /// Why.
        source: InstanceError,
    },
}

/// A list of things that were not as they should be.
#[derive(Debug)]
pub struct UncleanList(pub Vec<Unclean>);

impl fmt::Display for UncleanList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, unclean) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{unclean}")?;
        }
        Ok(())
    }
}

/// How long a stop may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    gates: Duration,
    nodes: Option<Duration>,
    end: Instant,
}

impl Running {
    /// Stops everything within `max`; `None` is what the components say. Nodes keep a quarter of
    /// `max` for their stop hooks, however long the gates take.
    ///
    /// # Errors
    /// Everything that was left undone.
    pub(super) async fn stop(&mut self, max: Option<Duration>) -> Result<(), AppError> {
        self.control.set_phase(Phase::Draining);
        let limits = self.limits(max);
        self.tell_hang().await;
        self.acceptors.shutdown().await;
        self.doors.clear();
        self.threads.clear(); // a thread ends with its last instance
        let mut unclean = Vec::new();
        let left = || limits.end.saturating_duration_since(Instant::now());
        // A registry that was slow to hear of it does not prolong the whole.
        let gates_max = limits.gates.min(left());
        self.stop_gates.send(Stop::Drain { max: max.map(|_| gates_max) });
        self.set_draining(true);
        self.wait_for(true, gates_max, limits.end, &mut unclean).await;
        let left = left();
        self.stop_nodes.send(Stop::Drain { max: max.map(|_| left) });
        self.set_draining(false);
        let nodes_max = limits.nodes.unwrap_or(left);
        self.wait_for(false, nodes_max, limits.end, &mut unclean).await;
        self.renewing.shutdown().await;
        self.joining.shutdown().await;
        self.name_stuck(&mut unclean);
        self.tell_end().await;
        if unclean.is_empty() { Ok(()) } else { Err(AppError::Unclean(UncleanList(unclean))) }
    }

    fn limits(&self, max: Option<Duration>) -> Limits {
        let longest = |gates: bool| {
            let live = self.live.iter().filter(|live| is_gate(live.entry.kind) == gates);
            live.map(|live| live.drain_max).max().unwrap_or_default()
        };
        let (gates, nodes) = match max {
            // Where there is no gate, there is nothing to leave a share to.
            Some(max) => (max.saturating_mul(3).checked_div(4).unwrap_or(max), None),
            None => (longest(true), Some(longest(false))),
        };
        let all = max.unwrap_or_else(|| gates.saturating_add(nodes.unwrap_or_default()));
        let now = Instant::now();
        Limits { gates, nodes, end: now.checked_add(all).unwrap_or(now) }
    }

    /// Tells the cluster that nothing new is wanted here, and the nodes that they will stop.
    async fn tell_hang(&mut self) {
        let tell = async {
            // All at once, before any is waited for.
            for Live { wanted, .. } in &self.live {
                wanted.change(|record| record.state = State::Hang);
            }
            for Live { entry, wanted, .. } in &self.live {
                join::written(entry, wanted).await;
            }
        };
        if timeout(TELL_MAX, tell).await.is_err() {
            tracing::warn!("the stop could not be announced in time: the registry does not answer");
        }
        self.stop_nodes.send(Stop::Hang);
    }

    fn set_draining(&self, gates: bool) {
        for live in self.of_kind(gates) {
            live.entry.set_state(InstanceState::Draining);
        }
    }

    fn of_kind(&self, gates: bool) -> impl Iterator<Item = &Live> {
        self.live.iter().filter(move |live| is_gate(live.entry.kind) == gates && !live.over)
    }

    /// Waits until every gate, or every node, has ended; no longer than `max` and a little more. Says
    /// once a second what is left.
    async fn wait_for(
        &mut self,
        gates: bool,
        max: Duration,
        end: Instant,
        unclean: &mut Vec<Unclean>,
    ) {
        let later = |time: Duration| {
            let now = Instant::now();
            now.checked_add(time).unwrap_or(now)
        };
        let mut until = later(max.saturating_add(GRACE));
        let mut line = later(Duration::from_secs(1));
        let control = self.control.clone();
        let mut hurried = false;
        while self.of_kind(gates).next().is_some() {
            tokio::select! {
                biased;
                Some(report) = self.ended.recv() => self.note(report, unclean),
                () = control.told(Order::End), if !hurried => {
                    hurried = true;
                    self.stop_gates.send(Stop::Now);
                    self.stop_nodes.send(Stop::Now);
                    until = until.min(later(GRACE));
                }
                () = sleep_until(until) => return,
                () = sleep_until(line) => {
                    line = later(Duration::from_secs(1));
                    self.say_progress(end);
                }
            }
        }
    }

    fn note(&mut self, report: Report, unclean: &mut Vec<Unclean>) {
        let (id, kind) = (report.0.id.clone(), what(report.0.kind));
        let what = match self.ended(report) {
            Ok(()) => {
                tracing::info!("{kind} {id} ended");
                return;
            }
            Err(InstanceError::Undrained(left)) => Unclean::Left { id, left },
            Err(source) => Unclean::Failed { id, source },
        };
        tracing::warn!("{what}");
        unclean.push(what);
    }

    /// What is still there, in one line.
    fn say_progress(&self, end: Instant) {
        let mut left = Left::default();
        let mut ids = Vec::new();
        for live in self.live.iter().filter(|live| !live.over) {
            left.add(live.entry.progress.left());
            ids.push(live.entry.id.as_str());
        }
        let time = end.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
        let more = ids.len().saturating_sub(NAMED_MAX);
        ids.truncate(NAMED_MAX);
        let ids = ids.join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        tracing::info!("stopping: {left}; {time} s left for {ids}{more}");
    }

    /// Names what has not answered.
    fn name_stuck(&mut self, unclean: &mut Vec<Unclean>) {
        let now = Clock::real().now().mono;
        for live in self.live.iter().filter(|live| !live.over) {
            let entry = &live.entry;
            entry.set_state(InstanceState::Failed);
            let (thread, silence) = match entry.host() {
                Some((thread, pulse)) => (thread.clone(), pulse.silence(now)),
                None => (String::new(), Duration::ZERO),
            };
            let stuck = Unclean::Stuck { id: entry.id.clone(), thread, silence };
            tracing::warn!("{stuck}");
            unclean.push(stuck);
        }
    }

    /// Takes every instance out of the cluster's stores. One that does not answer keeps nothing from the other.
    async fn tell_end(&self) {
        let lives = async {
            for Live { entry, cluster, incarnation, .. } in &self.live {
                let (id, life) = (&entry.id, incarnation.watch().current());
                if let Err(error) = cluster.locator().close(id, life).await {
                    tracing::warn!(%id, %error, "the locator did not take the end; it will time out");
                }
            }
        };
        let records = async {
            for Live { entry, cluster, wanted, .. } in &self.live {
                let (id, Some(record)) = (&entry.id, wanted.current()) else { continue };
                if let Err(error) = cluster.registry().leave(id, record.kind).await {
                    tracing::warn!(%id, %error, "the registry did not take the end; it will time out");
                }
            }
        };
        let (lives, records) = tokio::join!(timeout(TELL_MAX, lives), timeout(TELL_MAX, records));
        for (store, told) in [("locator", lives), ("registry", records)] {
            if told.is_err() {
                tracing::warn!(
                    "the end could not be announced in time: the {store} does not answer"
                );
            }
        }
    }
}

/// Instances named in a progress line.
const NAMED_MAX: usize = 4;
