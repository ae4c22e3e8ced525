//! Putting a process together: components built on one [`Cluster`], and an [`App`] to run them.
//!
//! Only `App` creates threads: one per instance, or one per pair. The runtime that awaits
//! [`App::run`] is the *service runtime*: plug-ins, signals and the acceptors live there; instances
//! see watches. Nodes start before gates and stop after them.

mod control;
mod running;
mod stop;
mod threads;
mod watchdog;

pub use control::{Control, InstanceState, InstanceStatus, Phase};
pub use stop::{Unclean, UncleanList};

#[cfg(feature = "admin")]
use crate::admin::{Admin, Attached};
use crate::{
    cluster::Cluster,
    gate::{Doorway, Gate},
    instance::{InstanceError, Member},
    node::{Node, workers::Workers},
};
use control::{Entry, Order};
use running::Running;
use std::{future::Future, io, sync::Arc, time::Duration};
use yumen_core::{locator::LocatorError, registry::RegistryError};
use yumen_net::acceptor::Counts;
use yumen_proto::{id::InstanceId, link::Kind};
use yumen_settings::Settings;

/// A component that an [`App`] can run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Part {
    /// A gate.
    Gate(Gate),
    /// A node.
    Node(Node),
}

impl From<Gate> for Part {
    fn from(gate: Gate) -> Self {
        Self::Gate(gate)
    }
}

impl From<Node> for Part {
    fn from(node: Node) -> Self {
        Self::Node(node)
    }
}

/// Why an [`App`] ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// There is nothing to run.
    #[error("nothing to run: add a gate or a node with `.with(...)`")]
    Empty,
    /// The registry refused or failed.
    #[error("instance {id}: {source}")]
    Registry {
        /// Whose record it was.
        id: InstanceId,
        /// Why.
        source: RegistryError,
    },
    /// The locator refused or failed.
    #[error("instance {id}: {source}")]
    Locator {
        /// Whose life it was.
        id: InstanceId,
        /// Why.
        source: LocatorError,
    },
    /// A thread or a runtime could not be created.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// An instance failed; the others were stopped.
    #[error("instance {id}: {source}")]
    Instance {
        /// Which one.
        id: InstanceId,
        /// Why.
        source: InstanceError,
    },
    /// An acceptor ended.
    #[error("a listener failed: {0}")]
    Listener(io::Error),
    /// The stop left something undone.
    #[error("the stop was not clean: {0}")]
    Unclean(UncleanList),
}

/// Instances that share a thread.
#[derive(Debug)]
struct Group {
    cluster: Cluster,
    members: Vec<(Arc<Entry>, Member)>,
}

/// The listeners of one gate, and the instances that share what they accept.
#[derive(Debug)]
struct Front {
    doorways: Vec<Doorway>,
    counts: Arc<Counts>,
    gates: Vec<InstanceId>,
}

/// Starts instances, waits for the end, stops them.
#[derive(Debug, Default)]
pub struct App {
    groups: Vec<Group>,
    fronts: Vec<Front>,
    workers: Option<Workers>,
    control: Control,
    #[cfg(feature = "admin")]
    admin: Option<Admin>,
}

impl App {
    /// The app from outside, before it runs and while it does.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Adds a component: a thread for each of its instances.
    #[must_use]
    pub fn with(mut self, part: impl Into<Part>) -> Self {
        let (cluster, members) = self.take_in(part.into());
        for member in members {
            self.groups.push(Group { cluster: cluster.clone(), members: vec![member] });
        }
        self
    }

    /// Adds a gate and a node side by side: a thread for each pair of instances, so that a message
    /// crosses no thread. Instances that one of them has more get a thread of their own.
    #[must_use]
    pub fn pairs(mut self, gate: Gate, node: Node) -> Self {
        let (cluster, gates) = self.take_in(gate.into());
        let (_, nodes) = self.take_in(node.into());
        let (mut gates, mut nodes) = (gates.into_iter(), nodes.into_iter());
        loop {
            let members: Vec<_> = nodes.next().into_iter().chain(gates.next()).collect();
            if members.is_empty() {
                return self;
            }
            self.groups.push(Group { cluster: cluster.clone(), members });
        }
    }

    fn take_in(&mut self, part: Part) -> (Cluster, Vec<(Arc<Entry>, Member)>) {
        let (cluster, members) = match part {
            Part::Node(node) => {
                self.control.add_nodes(node.handles());
                node.into_parts()
            }
            Part::Gate(gate) => {
                self.control.add_gate(gate.handle());
                let Gate { cluster, members, doorways, counts, .. } = gate;
                let gates = members.iter().map(|member| member.id.clone()).collect();
                self.fronts.push(Front { doorways, counts, gates });
                (cluster, members)
            }
        };
        self.control.add_cluster(&cluster);
        let enter = |member: Member| {
            let (id, name) = (member.id.clone(), member.name.clone());
            (self.control.add(id, member.kind, name), member)
        };
        (cluster, members.into_iter().map(enter).collect())
    }

    /// The settings of the process, for [`Control::settings`] and for instances to follow. Default:
    /// those of an empty file.
    #[must_use]
    pub fn settings(self, settings: &Settings) -> Self {
        self.control.set_settings(Arc::new(settings.clone()));
        self
    }

    /// Answers operators over HTTP while the app runs, from before the first instance starts until
    /// after the last has ended. Default: nobody is answered.
    #[cfg(feature = "admin")]
    #[must_use]
    pub fn admin(mut self, admin: Admin) -> Self {
        self.admin = Some(admin);
        self
    }

    /// Where `.on_workers()` handlers run. Default: on the instance itself.
    #[must_use]
    pub fn workers(mut self, workers: Workers) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Runs until the process is told to stop (SIGINT, SIGTERM) or an instance fails; then stops
    /// every instance: gates refuse new messages and let clients go, nodes finish what they have.
    ///
    /// # Errors
    /// The first [`AppError`].
    pub async fn run(self) -> Result<(), AppError> {
        self.run_until(told_to_stop()).await
    }

    /// As [`App::run`], without a runtime around it: for a plain `fn main`.
    ///
    /// # Errors
    /// The first [`AppError`].
    pub fn run_blocking(self) -> Result<(), AppError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(AppError::Thread)?.block_on(self.run())
    }

    /// Runs until `stop` resolves or an instance fails; then stops every instance.
    ///
    /// # Errors
    /// The first [`AppError`].
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        if self.groups.is_empty() {
            return Err(AppError::Empty);
        }
        let Self { groups, fronts, workers, control, .. } = self;
        #[cfg(feature = "admin")]
        let admin = Attached::start(self.admin, &control);
        let mut running = Running::new(control.clone(), workers);
        let mut stop = std::pin::pin!(async {
            tokio::select! {
                () = stop => {}
                () = control.told(Order::Drain) => {}
            }
        });
        let started = tokio::select! {
            biased;
            () = &mut stop => {
                tracing::info!("told to stop while starting");
                None
            }
            started = running.start(groups, fronts) => Some(started),
        };
        let result = match started {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(())) => {
                control.set_phase(Phase::Serving);
                let mut watchdog = std::pin::pin!(watchdog::watch(control.clone(), STALL_WARN));
                tokio::select! {
                    biased;
                    failed = running.failed() => failed,
                    () = &mut stop => Ok(()),
                    () = &mut watchdog => Ok(()),
                }
            }
        };
        let stopped = running.stop(None).await;
        control.set_phase(Phase::Ended);
        #[cfg(feature = "admin")]
        admin.end().await;
        result.and(stopped)
    }
}

/// How long a thread may do nothing new before it is called stuck, where nothing else is said.
const STALL_WARN: Duration = Duration::from_secs(1);

/// Resolves at SIGINT or SIGTERM; elsewhere than on Unix at Ctrl-C.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without signals the process runs until it is killed.
        std::future::pending::<()>().await;
    }
}

/// Nodes come first at the start and last at the stop.
fn is_gate(kind: Kind) -> bool {
    kind == Kind::Gate
}

/// The word for an instance.
fn what(kind: Kind) -> &'static str {
    if is_gate(kind) { "gate" } else { "node" }
}
