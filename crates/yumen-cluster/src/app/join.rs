//! How an instance comes into the cluster's stores, and stays in them while they come and go.
//!
//! No store that is away holds up a start for longer than one attempt: the instance serves meanwhile, is not
//! ready, and everything is tried again for ever. What is promised of lives is in `lease.rs`.

use super::{
    AppError,
    control::Entry,
    rival::{Candidate, Rival},
    what,
};
use crate::presence::{self, Pauses, TRY_MAX, Told, Wanted};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};
use yumen_core::{
    cluster::{Instance, Kind, Snapshot},
    registry::Registry,
    watch::{Watch, WatchSender},
};

/// Least time between two lines about the same store.
const SAY_PAUSE: Duration = Duration::from_secs(5);

/// How long a registry may take to show a record that it has taken.
const SETTLE: Duration = Duration::from_secs(1);

/// Whether the registry has the record of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing was tried yet.
    #[default]
    Unknown,
    /// It has this one.
    Written(Arc<Instance>),
    /// It has not the newest, and this is why.
    Failed(String),
}

/// A line that repeats, once in [`SAY_PAUSE`].
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<Option<Instant>>);

impl Said {
    /// Whether it is time to say it.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= SAY_PAUSE);
        if due {
            *last = Some(now);
        }
        due
    }

    /// It no longer holds; whether it was said.
    pub(super) fn take(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

/// Writes down what became of a record.
struct Witness {
    entry: Arc<Entry>,
    said: Said,
}

impl Told for Witness {
    fn written(&self, record: &Instance) {
        self.entry.standing.send(Standing::Written(Arc::new(record.clone())));
        if self.said.take() {
            tracing::info!("{} {} is registered now", what(self.entry.kind), self.entry.id);
        }
    }

    fn failed(&self, why: &str) {
        self.entry.standing.send(Standing::Failed(why.to_owned()));
        if self.said.is_due() {
            let what = what(self.entry.kind);
            tracing::warn!(
                "{what} {} serves, and the registry has not its newest record: {why}; it is tried on",
                self.entry.id
            );
        }
    }
}

/// The sets of instances that one instance follows.
pub(super) struct Peers {
    pub(super) gates: Watch<Snapshot>,
    pub(super) nodes: Watch<Snapshot>,
    /// Whether both are known, and not just empty so far.
    pub(super) are_known: Watch<bool>,
}

impl Peers {
    /// Follows both kinds. What the registry does not give now is empty until it does.
    pub(super) async fn follow(registry: &Arc<dyn Registry>, tasks: &mut JoinSet<()>) -> Self {
        let ask = |kind| presence::ask(registry.watch(kind));
        match tokio::join!(ask(Kind::Gate), ask(Kind::Node)) {
            (Ok(gates), Ok(nodes)) => Self { gates, nodes, are_known: Watch::fixed(true) },
            (gates, nodes) => {
                let why = gates.err().or(nodes.err()).unwrap_or_default();
                let [gates, nodes] = [(); 2].map(|()| WatchSender::new(Snapshot::from([])));
                let known = WatchSender::new(false);
                let this =
                    Self { gates: gates.watch(), nodes: nodes.watch(), are_known: known.watch() };
                tasks.spawn(follow_later(Arc::clone(registry), why, [gates, nodes], known));
                this
            }
        }
    }
}

/// Tries until the registry gives both kinds, then passes them on.
async fn follow_later(
    registry: Arc<dyn Registry>,
    mut why: String,
    [to_gates, to_nodes]: [WatchSender<Snapshot>; 2],
    known: WatchSender<bool>,
) {
    let (mut pauses, said) = (Pauses::default(), Said::default());
    let (gates, nodes) = loop {
        if said.is_due() {
            tracing::warn!("the registry does not say who is there: {why}; it is tried on");
        }
        sleep(pauses.next()).await;
        let ask = |kind| presence::ask(registry.watch(kind));
        match tokio::join!(ask(Kind::Gate), ask(Kind::Node)) {
            (Ok(gates), Ok(nodes)) => break (gates, nodes),
            (gates, nodes) => why = gates.err().or(nodes.err()).unwrap_or_default(),
        }
    };
    tracing::info!("the registry says who is there");
    tokio::join!(pass_on(gates, &to_gates), pass_on(nodes, &to_nodes), async { known.send(true) });
}

async fn pass_on(mut from: Watch<Snapshot>, to: &WatchSender<Snapshot>) {
    loop {
        to.send(from.current());
        if !from.changed().await {
            return;
        }
    }
}

/// Keeps the record of one instance in the registry, once it is known that nobody else has its id.
pub(super) struct Membership {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) entry: Arc<Entry>,
    pub(super) wanted: Wanted,
    /// `None` in a cluster of one process, where the switchboard sees to it.
    pub(super) candidate: Option<Candidate>,
    pub(super) peers: Peers,
}

impl Membership {
    /// Refuses an id that a live instance elsewhere has, as far as the registry can be read.
    ///
    /// # Errors
    /// [`AppError::IdTaken`] names its address.
    pub(super) async fn check(&mut self) -> Result<(), AppError> {
        let Some(candidate) = &self.candidate else { return Ok(()) };
        if !self.peers.are_known.current() {
            return Ok(());
        }
        let (gates, nodes) = (self.peers.gates.current(), self.peers.nodes.current());
        match candidate.rival(&gates, &nodes).await {
            None => Ok(()),
            Some(rival) => Err(candidate.taken_by(rival)),
        }
    }

    /// Keeps it there until it is dropped.
    ///
    /// # Errors
    /// As [`check`](Self::check), where the registry could not be read before, or where two began at the
    /// same moment and the other one's record is the later. Nothing is written for this one any more then.
    /// [`AppError::Unfit`] if the registry can never hold the record.
    pub(super) async fn keep(mut self) -> Result<(), AppError> {
        if self.candidate.is_some() && !self.peers.are_known.current() {
            let why = "the registry has not said yet who is there".to_owned();
            self.entry.standing.send(Standing::Failed(why));
            while !self.peers.are_known.current() && self.peers.are_known.changed().await {}
            self.check().await?;
        }
        let Self { registry, entry, wanted, candidate, peers } = self;
        let witness = Witness { entry: Arc::clone(&entry), said: Said::default() };
        let kept = async {
            let kept = presence::keep(registry, wanted.clone(), witness).await;
            let unfit =
                |source| AppError::Unfit { id: entry.id.clone(), kind: what(entry.kind), source };
            kept.map_err(unfit)
        };
        let Some(candidate) = candidate else { return kept.await };
        tokio::select! {
            kept = kept => kept,
            rival = replaced(&candidate, peers, &entry) => {
                wanted.end();
                Err(candidate.taken_by(rival))
            }
        }
    }
}

/// Resolves if a live process elsewhere has put its record in the place of this one's: two that start at the
/// same moment see nobody, and both write. All others go by the record that is there, which is the later
/// one, so the earlier has to go.
async fn replaced(candidate: &Candidate, peers: Peers, entry: &Entry) -> Rival {
    let mut peers = if candidate.kind == Kind::Gate { peers.gates } else { peers.nodes };
    let mut standing = entry.standing.watch();
    while !matches!(standing.current(), Standing::Written(_)) && standing.changed().await {}
    loop {
        while !candidate.is_replaced(&peers.current()) {
            if !peers.changed().await {
                return std::future::pending().await;
            }
        }
        // One's own record may be on its way, or that of a process that is gone on its way out.
        sleep(SETTLE).await;
        let now = peers.current();
        if candidate.is_replaced(&now)
            && let Some(rival) = candidate.rival(&now, &Snapshot::from([])).await
        {
            return rival;
        }
    }
}

/// Waits until the first attempt to write a record has come to something; no longer than one may take.
pub(super) async fn attempted(entry: &Entry) -> Standing {
    let mut standing = entry.standing.watch();
    let _in_time = timeout(TRY_MAX.saturating_add(SAY_PAUSE), async {
        while standing.current() == Standing::Unknown && standing.changed().await {}
    })
    .await;
    standing.current()
}

/// Waits until the registry has what is wanted of an instance.
pub(super) async fn written(entry: &Entry, wanted: &Wanted) {
    let mut standing = entry.standing.watch();
    while let Some(record) = wanted.current() {
        let is_written = match standing.current() {
            Standing::Written(known) => *known == record,
            Standing::Unknown | Standing::Failed(_) => false,
        };
        if is_written || !standing.changed().await {
            return;
        }
    }
}
