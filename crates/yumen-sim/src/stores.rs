//! Registry and locator of a run: one of each for the whole cluster, as each host sees them.
//!
//! What a host asks travels, may fail, and may have been carried out although no answer came. Records
//! and lives end when their host is silent for too long, in virtual time. News reach each host with a
//! delay of their own, in order; a host that was cut off is told that it has lost some.

mod locator;
mod registry;

use crate::trace::{Trace, note};
use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use yumen_cluster::cluster::Cluster;
use yumen_core::{
    cluster::{Instance, Kind, Snapshot},
    locator::{Incarnation, Locator, Moved, Moves, MovesSender, RENEW_INTERVAL},
    memory::{LocatorLimits, MemoryLocator},
    watch::{Watch, WatchSender},
};
use yumen_net::env::Dice;
use yumen_proto::{Epoch, InstanceId, UserId};

/// How often the stores look at what is due.
const TICK: Duration = Duration::from_millis(10);
/// How long a host waits for a store that does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a record outlives the last sign of its host.
const RECORD_MAX: Duration = Duration::from_secs(10);
/// Lives end after three renewals that did not come.
const LIFE_MAX: Duration = RENEW_INTERVAL.saturating_mul(3);

/// How quick the stores are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreDelays {
    /// Longest way to a store or back; at least 1 ms. Default: 5 ms.
    pub way: Duration,
    /// Longest delay of a change of place until a host hears of it. Default: 50 ms.
    pub move_news: Duration,
    /// Longest delay of a snapshot of the registry. Default: 200 ms.
    pub snapshot: Duration,
}

impl Default for StoreDelays {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { way: ms(5), move_news: ms(50), snapshot: ms(200) }
    }
}

/// A store that a host can be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Who is there.
    Registry,
    /// Who is where.
    Locator,
}

/// Something the locator has done or told, for the checker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A user's place has changed by this claim of this life.
    Claimed {
        /// Who.
        user: UserId,
        /// The node, or the gate.
        instance: InstanceId,
        /// Whether the place is a gate.
        is_gate: bool,
        /// By which claim.
        epoch: Epoch,
        /// Of which life.
        life: Incarnation,
    },
    /// A life is over.
    Closed {
        /// Whose.
        instance: InstanceId,
        /// Which one, and all before.
        life: Incarnation,
    },
    /// A host was given this news.
    Told {
        /// Which host.
        host: String,
        /// Which of its processes, from 1.
        boot: u64,
        /// What it was told.
        moved: Moved,
    },
}

/// The stores of one cluster. Clones share them.
#[derive(Clone)]
pub struct Stores(Arc<Shared>);

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("hosts", &self.state().hosts.len()).finish()
    }
}

struct Shared {
    trace: Trace,
    places: MemoryLocator,
    state: Mutex<State>,
}

struct State {
    seed: u64,
    rolls: u64,
    delays: StoreDelays,
    records: BTreeMap<(Kind, InstanceId), Record>,
    lives: BTreeMap<InstanceId, (Incarnation, Instant)>,
    hosts: Vec<Arc<Host>>,
    boots: BTreeMap<String, u64>,
    changes: Moves,
    facts: Vec<(u64, Fact)>,
}

struct Record {
    instance: Instance,
    owner: Arc<Host>,
    seen: Instant,
    is_shown: bool,
}

/// One process, as the stores know it.
struct Host {
    name: String,
    boot: u64,
    alive: AtomicBool,
    paused: AtomicBool,
    cut_registry: AtomicBool,
    cut_locator: AtomicBool,
    gates: WatchSender<Snapshot>,
    nodes: WatchSender<Snapshot>,
    others: WatchSender<Snapshot>,
    moves: MovesSender,
    due: Mutex<Due>,
}

/// What is on its way to a host.
#[derive(Default)]
struct Due {
    snapshots: VecDeque<(Instant, Kind, Snapshot)>,
    moves: VecDeque<(Instant, Moved)>,
    has_lost: bool,
}

impl Host {
    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }

    fn is_cut(&self, store: Store) -> bool {
        Self::is(match store {
            Store::Registry => &self.cut_registry,
            Store::Locator => &self.cut_locator,
        })
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshots(&self, kind: Kind) -> &WatchSender<Snapshot> {
        match kind {
            Kind::Gate => &self.gates,
            Kind::Node => &self.nodes,
            Kind::Mesh | Kind::Master => &self.others,
        }
    }
}

impl State {
    /// A number below `limit`, by the dice of the stores.
    fn below(&mut self, limit: u64) -> u64 {
        self.rolls = self.rolls.wrapping_add(1);
        Dice::seeded(self.seed.wrapping_add(self.rolls)).below(limit)
    }

    /// A delay of 1 ms up to `max`.
    fn delay(&mut self, max: Duration) -> Duration {
        let millis = u64::try_from(max.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(self.below(millis).saturating_add(1))
    }
}

fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now)
}

impl Stores {
    /// Empty stores. Must be called in the runtime of the run.
    pub fn new(seed: u64, trace: &Trace) -> Self {
        let places = MemoryLocator::bounded(LocatorLimits::default());
        let state = State {
            seed,
            rolls: 0,
            delays: StoreDelays::default(),
            records: BTreeMap::new(),
            lives: BTreeMap::new(),
            hosts: Vec::new(),
            boots: BTreeMap::new(),
            changes: places.watch(),
            facts: Vec::new(),
        };
        Self(Arc::new(Shared { trace: trace.clone(), places, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stores as a process on that host sees them; a process after a restart needs its own.
    pub fn host(&self, name: &str) -> HostStores {
        let empty = || WatchSender::new(Snapshot::default());
        let flag = || AtomicBool::new(false);
        let mut state = self.state();
        let boot = state.boots.entry(name.to_owned()).or_default();
        *boot = boot.saturating_add(1);
        let host = Arc::new(Host {
            name: name.to_owned(),
            boot: *boot,
            alive: AtomicBool::new(true),
            paused: flag(),
            cut_registry: flag(),
            cut_locator: flag(),
            gates: empty(),
            nodes: empty(),
            others: empty(),
            moves: MovesSender::bounded(4096),
            due: Mutex::default(),
        });
        // One that is cut off stays so when its process is started again.
        if let Some(before) = state.hosts.iter().rfind(|before| before.name == name) {
            host.cut_registry.store(before.is_cut(Store::Registry), Ordering::Relaxed);
            host.cut_locator.store(before.is_cut(Store::Locator), Ordering::Relaxed);
        }
        state.hosts.retain(|host| Host::is(&host.alive));
        state.hosts.push(Arc::clone(&host));
        drop(state);
        HostStores { stores: self.clone(), host }
    }

    /// How quick they are from now on.
    pub fn set_delays(&self, delays: StoreDelays) {
        note!(self.0.trace, "stores {delays:?}");
        self.state().delays = delays;
    }

    /// Cuts a host off from a store, or ends that; `None` is every host.
    pub fn cut(&self, host: Option<&str>, store: Store, is_cut: bool) {
        note!(self.0.trace, "cut {host:?} {store:?} {is_cut}");
        let state = self.state();
        for known in state.hosts.iter().filter(|known| host.is_none_or(|name| known.name == name)) {
            let flag = match store {
                Store::Registry => &known.cut_registry,
                Store::Locator => &known.cut_locator,
            };
            flag.store(is_cut, Ordering::Relaxed);
        }
    }

    /// The locator loses everything it knew, but for its counters.
    pub async fn lose_memory(&self) {
        note!(self.0.trace, "the locator loses its memory");
        let lives = std::mem::take(&mut self.state().lives);
        for (instance, (life, _)) in lives {
            let _was_open = self.0.places.close(&instance, life).await;
        }
        let mut state = self.state();
        while state.changes.try_next().is_some() {}
        state.hosts.iter().for_each(|host| host.due().has_lost = true);
    }

    /// Everything the checker wants to know, with its time in milliseconds.
    pub fn facts(&self) -> Vec<(u64, Fact)> {
        self.state().facts.clone()
    }

    /// The newest claim of that place, which the user's own node has just made: an oracle for tests.
    pub fn epoch_of(&self, user: UserId, node: &InstanceId) -> Option<Epoch> {
        let state = self.state();
        state.facts.iter().rev().find_map(|(_, fact)| match fact {
            Fact::Claimed { user: who, instance, is_gate: false, epoch, .. }
                if *who == user && instance == node =>
            {
                Some(*epoch)
            }
            Fact::Claimed { .. } | Fact::Closed { .. } | Fact::Told { .. } => None,
        })
    }

    /// How many lives are open and how many places are held.
    pub fn held(&self) -> (usize, usize) {
        (self.state().lives.len(), self.0.places.places())
    }

    /// Lets time pass in the stores, for ever.
    pub async fn run(&self) {
        loop {
            sleep(TICK).await;
            let ended = self.overdue();
            for (instance, life) in ended {
                note!(self.0.trace, "life {instance} {life} is over");
                let _was_open = self.0.places.close(&instance, life).await;
            }
            self.spread();
            self.look_after_records();
            self.deliver();
        }
    }

    /// Takes the lives that were not renewed.
    fn overdue(&self) -> Vec<(InstanceId, Incarnation)> {
        let now = Instant::now();
        let mut state = self.state();
        let over = |seen: &Instant| now.saturating_duration_since(*seen) > LIFE_MAX;
        let ended: Vec<_> = state.lives.extract_if(.., |_, (_, seen)| over(seen)).collect();
        ended.into_iter().map(|(instance, (life, _))| (instance, life)).collect()
    }

    /// Sends changes of place on their way.
    fn spread(&self) {
        let (now, mut state) = (Instant::now(), self.state());
        while let Some(moved) = state.changes.try_next() {
            if let Moved::Closed { instance, incarnation } = &moved {
                let fact = Fact::Closed { instance: instance.clone(), life: *incarnation };
                state.facts.push((self.0.trace.millis(), fact));
            }
            let max = state.delays.move_news;
            for host in state.hosts.clone() {
                let at = after(now, state.delay(max));
                let mut due = host.due();
                if host.is_cut(Store::Locator) || due.has_lost {
                    due.has_lost = true;
                    continue;
                }
                let at = due.moves.back().map_or(at, |(last, _)| at.max(*last));
                due.moves.push_back((at, moved.clone()));
            }
        }
        for host in state.hosts.clone() {
            let at = after(now, state.delay(Duration::from_millis(100)));
            let mut due = host.due();
            if due.has_lost && !host.is_cut(Store::Locator) {
                due.has_lost = false;
                let at = due.moves.back().map_or(at, |(last, _)| at.max(*last));
                due.moves.push_back((at, Moved::Lost));
            }
        }
    }

    /// Shows records whose host gives signs of life, and only those.
    fn look_after_records(&self) {
        let (now, mut state) = (Instant::now(), self.state());
        let mut changed = Vec::new();
        for ((kind, _), record) in &mut state.records {
            let owner = &record.owner;
            let silent = !Host::is(&owner.alive) || Host::is(&owner.paused);
            if !silent && !owner.is_cut(Store::Registry) {
                record.seen = now;
            }
            let is_shown = now.saturating_duration_since(record.seen) <= RECORD_MAX;
            if is_shown != std::mem::replace(&mut record.is_shown, is_shown) {
                changed.push(*kind);
            }
        }
        changed.into_iter().for_each(|kind| publish(&mut state, kind));
    }

    /// Gives every host what has arrived by now.
    fn deliver(&self) {
        let (now, mut state) = (Instant::now(), self.state());
        for host in state.hosts.clone() {
            if !Host::is(&host.alive) {
                continue;
            }
            let mut due = host.due();
            while !host.is_cut(Store::Registry)
                && due.snapshots.front().is_some_and(|(at, ..)| *at <= now)
            {
                let Some((_, kind, snapshot)) = due.snapshots.pop_front() else { break };
                note!(self.0.trace, "snapshot {} {kind:?} {}", host.name, snapshot.len());
                host.snapshots(kind).send(snapshot);
            }
            while due.moves.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, moved)) = due.moves.pop_front() else { break };
                note!(self.0.trace, "move {} {moved:?}", host.name);
                host.moves.send(moved.clone());
                let fact = Fact::Told { host: host.name.clone(), boot: host.boot, moved };
                state.facts.push((self.0.trace.millis(), fact));
            }
        }
    }
}

/// Sends the set of one kind on its way to every host.
fn publish(state: &mut State, kind: Kind) {
    let now = Instant::now();
    let shown = state.records.iter().filter(|((of, _), record)| *of == kind && record.is_shown);
    let snapshot: Snapshot = shown.map(|(_, record)| record.instance.clone()).collect();
    let max = state.delays.snapshot;
    for host in state.hosts.clone() {
        let at = after(now, state.delay(max));
        let mut due = host.due();
        let at = due.snapshots.back().map_or(at, |(last, ..)| at.max(*last));
        due.snapshots.push_back((at, kind, Arc::clone(&snapshot)));
    }
}

/// A request did not reach the store, or its answer did not come back.
#[derive(Debug)]
struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {ANSWER_MAX:?}")
    }
}

impl Error for NoAnswer {}

/// The stores as one process sees them.
#[derive(Clone)]
pub struct HostStores {
    stores: Stores,
    host: Arc<Host>,
}

impl fmt::Debug for HostStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStores").field("host", &self.host.name).finish_non_exhaustive()
    }
}

impl HostStores {
    /// A cluster of a process of its own, on these stores.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.clone(), self.clone()).secret("of every simulated cluster")
    }

    /// Which process of its host this is, from 1.
    pub fn boot(&self) -> u64 {
        self.host.boot
    }

    /// The process is gone: nothing it asks is carried out any more.
    pub fn kill(&self) {
        self.host.alive.store(false, Ordering::Relaxed);
    }

    /// The process is paused, or runs again: as far as the registry can tell, it is silent.
    pub fn pause(&self, is_paused: bool) {
        self.host.paused.store(is_paused, Ordering::Relaxed);
    }

    /// One way to or from a store. Never comes back to a process that is gone.
    async fn way(&self, store: Store) -> Result<(), NoAnswer> {
        let delay = {
            let mut state = self.stores.state();
            let max = state.delays.way;
            state.delay(max)
        };
        sleep(delay).await;
        if !Host::is(&self.host.alive) {
            std::future::pending::<()>().await;
        }
        if self.host.is_cut(store) {
            sleep(ANSWER_MAX).await;
            return Err(NoAnswer);
        }
        Ok(())
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        note!(self.stores.0.trace, "{} asks {what}", self.host.name);
    }

    /// What this host sees of a kind.
    fn watched(&self, kind: Kind) -> Watch<Snapshot> {
        self.host.snapshots(kind).watch()
    }
}
