//! One instance: a `!Send` future that owns its connections, handlers and state, and what ties it to
//! its process.
//!
//! The same code runs on its own thread, beside another instance on one thread, and many times over
//! the virtual network of the tests: everything from outside comes in as `Env`, [`Ties`] and the
//! instances on the same thread. It starts tasks only through `env.spawn`, and never a thread.

use crate::{
    backend::Backend, cluster::Cluster, link::Facts, node::workers::Workers, presence::Wanted,
};
use std::{
    fmt, io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;
use yumen_core::{
    cluster::{Instance, Kind, Snapshot},
    locator::Incarnation,
    watch::Watch,
};
use yumen_mesh::Neighbours;
use yumen_net::{
    acceptor::Door,
    env::{Env, LocalFuture},
};
use yumen_proto::id::InstanceId;
use yumen_settings::Settings;

/// What ties an instance to its process. All of it crosses threads.
#[derive(Debug)]
pub struct Ties {
    /// Id in the cluster.
    pub id: InstanceId,
    /// What the process shares.
    pub cluster: Cluster,
    /// How to use the plug-ins.
    pub backend: Backend,
    /// The life of this instance as the locator knows it.
    pub incarnation: Watch<Incarnation>,
    /// Every gate of the cluster; always the last known set.
    pub gates: Watch<Snapshot>,
    /// Every node of the cluster.
    pub nodes: Watch<Snapshot>,
    /// What the instance has to do.
    pub stop: Watch<Stop>,
    /// Where it writes down what it has left to do, from [`Stop::Hang`] on.
    pub progress: Arc<Progress>,
    /// The settings of the process, followed for those that apply while it runs.
    pub settings: Watch<Arc<Settings>>,
    /// What the registry is to say of it from then on; the instance changes its state and weight here.
    pub record: Wanted,
    /// Told the registry record once the instance serves.
    pub ready: oneshot::Sender<Instance>,
    /// Threads for heavy handlers; `None` runs them here.
    pub workers: Option<Workers>,
    /// Where a gate's connections come from; `None` listens through `Env` itself.
    pub door: Option<Door>,
}

/// What an instance is told to do. It only ever becomes more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// To serve.
    #[default]
    No,
    /// To go on, and to call itself hanging: it will be told to stop next.
    Hang,
    /// To take nothing new, and to finish what it has.
    Drain {
        /// Longest time for that; `None` is what the component says.
        max: Option<Duration>,
    },
    /// To end at once.
    Now,
}

impl Stop {
    /// Whether the instance has to end, one way or the other.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Drain { .. } | Self::Now)
    }

    /// Longest time to finish, where the component says `usual`.
    pub fn drain_max(self, usual: Duration) -> Duration {
        match self {
            Self::No | Self::Hang => usual,
            Self::Drain { max } => max.unwrap_or(usual),
            Self::Now => Duration::ZERO,
        }
    }
}

/// Waits until the instance has to end. Safe to drop.
pub(crate) async fn told_to_end(stop: &mut Watch<Stop>) {
    while !stop.current().is_end() && stop.changed().await {}
}

/// What an instance has left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// Connections of clients.
    pub sessions: u64,
    /// Bytes of clients' messages that nodes have not finished.
    pub in_flight: u64,
    /// Handlers that run, and messages that wait for one.
    pub handlers: u64,
    /// Users who are bound to a node of a fleet.
    pub users: u64,
}

impl Left {
    /// Whether nothing is left.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Adds what another instance has left.
    pub fn add(&mut self, other: Self) {
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.in_flight = self.in_flight.saturating_add(other.in_flight);
        self.handlers = self.handlers.saturating_add(other.handlers);
        self.users = self.users.saturating_add(other.users);
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, in_flight, handlers, users } = self;
        let s = |count: u64| if count == 1 { "" } else { "s" };
        let (one, more) = (s(*sessions), s(*handlers));
        write!(
            f,
            "{sessions} session{one}, {in_flight} bytes of messages in flight, \
             {handlers} handler{more} running"
        )?;
        if *users > 0 { write!(f, ", {users} user{} bound", s(*users)) } else { Ok(()) }
    }
}

/// What an instance has left, written by the instance and read by any thread.
#[derive(Debug, Default)]
pub struct Progress {
    sessions: AtomicU64,
    in_flight: AtomicU64,
    handlers: AtomicU64,
    users: AtomicU64,
}

impl Progress {
    /// Writes it down.
    pub fn set(&self, left: Left) {
        self.sessions.store(left.sessions, Ordering::Relaxed);
        self.in_flight.store(left.in_flight, Ordering::Relaxed);
        self.handlers.store(left.handlers, Ordering::Relaxed);
        self.users.store(left.users, Ordering::Relaxed);
    }

    /// What was written last.
    pub fn left(&self) -> Left {
        Left {
            sessions: self.sessions.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            handlers: self.handlers.load(Ordering::Relaxed),
            users: self.users.load(Ordering::Relaxed),
        }
    }
}

/// Why an instance ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another instance of the process has its id.
    #[error("the id {0} is taken by another instance of this process")]
    DuplicateId(InstanceId),
    /// A task of ours panicked. (A panic in a handler ends that message only.)
    #[error("a task of the instance panicked")]
    Crashed,
    /// The user's code that builds the instance's state panicked.
    #[error("building the state of the instance panicked")]
    StatePanicked,
    /// The time to stop was over before its work was.
    #[error("the time to stop was over with work left: {0}")]
    Undrained(Left),
    /// Its thread ended without a word.
    #[error("the thread of the instance ended")]
    ThreadLost,
}

/// An instance that can still be moved to its thread.
pub type Launch = Box<
    dyn FnOnce(Env, Rc<Neighbours>, Ties) -> LocalFuture<'static, Result<(), InstanceError>> + Send,
>;

/// An instance waiting to be run.
pub struct Member {
    /// Its id in the cluster.
    pub id: InstanceId,
    /// What it is.
    pub kind: Kind,
    /// The name of its component.
    pub name: String,
    /// Longest wait for its work at the stop.
    pub drain_max: Duration,
    /// How other processes reach it; `None` in a cluster of one process.
    pub(crate) link: Option<Facts>,
    /// Starts it.
    pub launch: Launch,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// Everything wrong with a component's settings, not just the first thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{component}: {}", problems.join("; "))]
pub struct BuildError {
    /// Which component.
    pub component: &'static str,
    /// One line per problem: what, and what to do.
    pub problems: Vec<String>,
}

/// The ids of a component's instances: the first keeps the configured one, the others get a number.
pub(crate) fn instance_id(id: &str, index: u16) -> InstanceId {
    if index == 0 { InstanceId::from(id) } else { InstanceId::from(format!("{id}.{index}")) }
}

/// Most instances of one component in one process.
pub(crate) const INSTANCES_MAX: u16 = 256;

/// Checks what every component has.
pub(crate) fn check_common(id: &str, name: &str, instances: u16, problems: &mut Vec<String>) {
    if id.is_empty() || id.len() > 200 {
        problems.push(format!("id has {} bytes; it must have 1 to 200", id.len()));
    }
    if id.contains('/') {
        problems.push(format!("id {id:?} contains '/', which separates keys in registries"));
    }
    if name.is_empty() {
        problems.push("name is empty".to_owned());
    }
    if !(1..=INSTANCES_MAX).contains(&instances) {
        problems.push(format!("instances is {instances}; it must be 1 to {INSTANCES_MAX}"));
    }
}
