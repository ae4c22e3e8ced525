//! One instance: a `!Send` future that owns its connections, handlers and state, and what ties it to
//! its process.
//!
//! The same code runs on its own thread, beside another instance on one thread, and many times over
//! the virtual network of the tests: everything from outside comes in as `Env`, [`Ties`] and the
//! instances on the same thread. It starts tasks only through `env.spawn`, and never a thread.

use crate::{backend::Backend, cluster::Cluster, node::workers::Workers};
use std::{io, rc::Rc};
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
    /// Becomes true when the instance has to stop.
    pub stop: Watch<bool>,
    /// Told the registry record once the instance serves.
    pub ready: oneshot::Sender<Instance>,
    /// Threads for heavy handlers; `None` runs them here.
    pub workers: Option<Workers>,
    /// Where a gate's connections come from; `None` listens through `Env` itself.
    pub door: Option<Door>,
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
    /// Starts it.
    pub launch: Launch,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
