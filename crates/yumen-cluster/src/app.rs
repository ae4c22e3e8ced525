//! Putting a process together: components built on one [`Cluster`], and an [`App`] to run them.
//!
//! Only `App` creates threads: one per instance, or one per pair. The runtime that awaits
//! [`App::run`] is the *service runtime*: plug-ins, signals and the acceptors live there; instances
//! see watches. Nodes start before gates and stop after them.

mod banner;
mod control;
mod descriptors;
pub(crate) mod join;
pub(crate) mod lease;
mod live;
mod pid;
mod program;
mod rival;
mod running;
mod signals;
mod stop;
mod threads;
mod watchdog;
mod ways;

pub use control::{Control, InstanceState, InstanceStatus, Phase};
pub use descriptors::TooFewDescriptors;
pub use pid::PidError;
pub use stop::{Unclean, UncleanList};

#[cfg(feature = "admin")]
use crate::{
    admin::{Admin, Attached},
    metrics::Labels,
};
use crate::{
    cluster::Cluster,
    gate::{Doorway, Gate},
    instance::{BuildError, InstanceError, Member},
    node::{Node, workers::Workers},
    secure,
};
use control::{Entry, Order};
use pid::PidFile;
use running::Running;
use signals::Signals;
use std::{future::Future, io, path::PathBuf, pin::pin, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use ways::Ways;
use yumen_core::registry::RegistryError;
use yumen_log::Logs;
use yumen_net::acceptor::Counts;
use yumen_proto::{id::InstanceId, link::Kind};
use yumen_settings::{Settings, Watcher};

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
    /// Another live process has the id of an instance.
    #[error(
        "{kind} {id}: the id is taken by a {other} that answers at {address}; give each process an id of its \
         own (cluster.{kind}.id or `.id(...)`), or stop the other one first"
    )]
    IdTaken {
        /// Whose id it is.
        id: InstanceId,
        /// What it was to be.
        kind: &'static str,
        /// What has the id.
        other: &'static str,
        /// Where that answers.
        address: String,
    },
    /// The registry can never hold what an instance says of itself.
    #[error("{kind} {id}: {source}")]
    Unfit {
        /// Whose record it is.
        id: InstanceId,
        /// What it is.
        kind: &'static str,
        /// What does not fit.
        source: RegistryError,
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
    /// The handlers of signals could not be installed.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// The file with the process's number.
    #[error(transparent)]
    Pid(#[from] PidError),
    /// Not even the instances and listeners could be opened.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The admin's settings.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It was built so that a panic ends the process.
    #[error(
        "this program was built with panic = \"abort\": one panic in a handler would end it for \
         everybody; remove that line from the profile in Cargo.toml"
    )]
    PanicAborts,
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

/// One component, for the banner.
#[derive(Debug)]
struct Component {
    kind: Kind,
    id: InstanceId,
    name: String,
    instances: usize,
    servers: Vec<String>,
    /// Where other processes reach its first instance; empty in a cluster of one process.
    link: String,
    locator: String,
    registry: String,
    /// The component that it shares its threads with.
    beside: Option<&'static str>,
}

/// Starts instances, waits for the end, stops them.
#[derive(Debug, Default)]
pub struct App {
    groups: Vec<Group>,
    fronts: Vec<Front>,
    components: Vec<Component>,
    workers: Option<Workers>,
    control: Control,
    #[cfg(feature = "admin")]
    admin: Option<Admin>,
    ways: Ways,
    signals: Option<Signals>,
    pid: Option<PidFile>,
    shows_banner: bool,
    watcher: Option<Watcher>,
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
        for (component, other) in self.components.iter_mut().rev().zip(["the gate", "the node"]) {
            component.beside = Some(other);
        }
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
        let mut servers = Vec::new();
        let (cluster, members) = match part {
            Part::Node(node) => {
                self.control.add_nodes(node.handles());
                node.into_parts()
            }
            Part::Gate(gate) => {
                self.control.add_gate(gate.handle());
                let Gate { cluster, members, doorways, counts, .. } = gate;
                let addresses = doorways.iter().filter_map(|doorway| {
                    Some(banner::server(doorway.shown(), doorway.listener.local_addr().ok()?))
                });
                servers.extend(addresses);
                let gates = members.iter().map(|member| member.id.clone()).collect();
                self.fronts.push(Front { doorways, counts, gates });
                (cluster, members)
            }
        };
        self.control.add_cluster(&cluster);
        if let Some(first) = members.first() {
            self.components.push(Component {
                kind: first.kind,
                id: first.id.clone(),
                name: first.name.clone(),
                instances: members.len(),
                servers,
                link: ways::link(first),
                locator: cluster.locator().name().to_owned(),
                registry: cluster.registry().name().to_owned(),
                beside: None,
            });
        }
        let enter = |member: Member| {
            let (id, name) = (member.id.clone(), member.name.clone());
            (self.control.add(id, member.kind, name), member)
        };
        (cluster, members.into_iter().map(enter).collect())
    }

    /// The settings of the process: `etc.pid`, `etc.shutdownMaxWaitTime`, `etc.mode` and
    /// `etc.yumen.app.*` count here, where no method of this type says otherwise; the rest is for
    /// [`Control::settings`] and for instances to follow. Default: those of an empty file.
    #[must_use]
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.control.set_settings(Arc::new(settings.clone()));
        self.ways.read(settings);
        self
    }

    /// Follows the settings while it runs: the log's levels and what else is live apply, the rest is
    /// said to need a restart. Includes
    /// [`App::settings`]. Default: nothing is followed.
    #[must_use]
    pub fn follow(mut self, watcher: Watcher) -> Self {
        let settings = watcher.settings();
        self.watcher = Some(watcher);
        self.settings(&settings)
    }

    /// The log of the process, so that [`Control::logs`] gives it and the last lines are written
    /// before the process ends. Default: none that the app knows of.
    #[must_use]
    pub fn logs(self, logs: Logs) -> Self {
        self.control.set_logs(logs);
        self
    }

    /// File that holds the process's number while it runs. A number of a process that is gone is
    /// replaced; one that lives ends the start. Default: `etc.pid`, and without settings none.
    #[must_use]
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ways.pid.set(Some(path.into()));
        self
    }

    /// Longest time for the whole stop, instead of what gates and nodes say: three quarters of it
    /// at most for the gates, the rest for the nodes. Default: `etc.shutdownMaxWaitTime`, and without
    /// settings what the components say.
    #[must_use]
    pub fn drain_max(mut self, limit: Duration) -> Self {
        self.ways.drain_max.set(Some(limit));
        self
    }

    /// A thread that has done nothing new for so long is named in a warning; at least 100 ms more than
    /// the [`INTERVAL`](crate::pulse::INTERVAL) of its beats. Default: `etc.yumen.app.stallWarn`, 1 s.
    #[must_use]
    pub fn stall_warn(mut self, limit: Duration) -> Self {
        self.ways.stall_warn.set(limit);
        self
    }

    /// Shows on standard output what runs, once it does.
    #[must_use]
    pub fn banner(mut self) -> Self {
        self.shows_banner = true;
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

    /// Runs until the process is told to stop (SIGINT, SIGTERM or SIGQUIT; [`Control::drain`]) or an
    /// instance fails; then stops every instance: gates refuse new messages and let clients go, nodes
    /// finish what they have. A second signal ends the process at once, with 128 and its number.
    ///
    /// # Errors
    /// The first [`AppError`]. A thread that is stuck may outlive this call.
    pub async fn run(mut self) -> Result<(), AppError> {
        let signals = match self.signals.take() {
            Some(signals) => signals,
            None => Signals::listen().map_err(AppError::Signals)?,
        };
        self.run_with(Some(&signals), signals.told()).await
    }

    /// As [`App::run`], without a runtime around it: for a plain `fn main`.
    ///
    /// # Errors
    /// The first [`AppError`].
    pub fn run_blocking(self) -> Result<(), AppError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(AppError::Thread)?;
        let result = runtime.block_on(self.run());
        // A look-up of a backend that does not come back must not keep the process.
        runtime.shutdown_background();
        result
    }

    /// Runs until `stop` resolves or an instance fails; then stops every instance. Signals are left to
    /// the caller.
    ///
    /// # Errors
    /// The first [`AppError`].
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        self.run_with(None, stop).await
    }

    async fn run_with(
        self,
        signals: Option<&Signals>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        let control = self.control();
        control.begin();
        let result = self.live(signals, stop).await;
        control.set_phase(Phase::Ended);
        result
    }

    /// From the first check to the last line.
    async fn live(
        mut self,
        signals: Option<&Signals>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        let _pid = self.prepare(signals)?;
        #[cfg(feature = "admin")]
        let admin = self.take_admin()?;
        let banner = self.shows_banner.then(|| ways::cards(&self.ways, &self.components));
        let Self { groups, fronts, workers, control, ways, .. } = self;
        let doorways = fronts.iter().flat_map(|front| &front.doorways);
        let secures: Vec<_> = doorways.map(|doorway| doorway.secure.clone()).collect();
        #[cfg(feature = "admin")]
        let admin = Attached::start(admin, &control);
        let members = groups.iter().flat_map(|group| &group.members);
        let facts = members.filter_map(|(_, member)| member.link.as_ref());
        let links: Vec<_> = facts.map(|facts| facts.links.clone()).collect();
        let mut following = JoinSet::new();
        following.spawn(secure::follow(secures, links));
        if let Some(watcher) = self.watcher {
            following.spawn(live::follow(watcher, control.clone()));
        }
        let mut running = Running::new(control.clone(), workers);
        let mut stop = pin!(async {
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
                if let Some(cards) = banner {
                    ways::show(cards, control.logs()).await;
                }
                // To the end of the stop: a thread may get stuck in that too.
                following.spawn(watchdog::watch(control.clone(), *ways.stall_warn.value()));
                serve(&mut running, stop).await
            }
        };
        if let Err(error) = &result {
            tracing::error!("{error}; everything else is stopped");
        }
        let stopped = running.stop(*ways.drain_max.value()).await;
        control.set_phase(Phase::Ended);
        #[cfg(feature = "admin")]
        admin.end().await;
        result.and(stopped)
    }

    /// The admin that was given, or else the one that the settings ask for.
    #[cfg(feature = "admin")]
    fn take_admin(&mut self) -> Result<Option<Admin>, AppError> {
        let settings = self.control.settings();
        if let Err(labels) = Labels::new(&settings.yumen.admin.labels) {
            let problem = |label| format!("etc.yumen.admin.labels: {label}");
            let problems = labels.into_iter().map(problem).collect();
            return Err(BuildError { component: "admin", problems }.into());
        }
        let admin = match self.admin.take() {
            Some(admin) => Some(admin),
            None => {
                let admin = &settings.yumen.admin;
                let bind = || Admin::bind(&admin.addr, admin.token.expose());
                (!admin.addr.is_empty()).then(bind).transpose()?
            }
        };
        if let Some(admin) = &admin {
            self.ways.admin = Some(admin.addr());
        }
        Ok(admin)
    }

    /// What can be refused before anything runs.
    fn prepare(&mut self, signals: Option<&Signals>) -> Result<Option<PidFile>, AppError> {
        if self.groups.is_empty() {
            return Err(AppError::Empty);
        }
        if cfg!(panic = "abort") {
            return Err(AppError::PanicAborts);
        }
        let pid = match (self.pid.take(), self.ways.pid.value()) {
            (Some(written), _) => Some(written),
            (None, Some(path)) => Some(PidFile::write(path)?),
            (None, None) => None,
        };
        if let (Some(signals), Some(pid)) = (signals, &pid) {
            let path = pid.path().to_owned();
            signals.at_exit(move || pid::remove(&path));
        }
        let admin_wanted = !self.control.settings().yumen.admin.addr.is_empty();
        if admin_wanted && !cfg!(feature = "admin") {
            tracing::warn!("etc.yumen.admin.addr is set, but this program was built without admin");
        }
        descriptors::provide(ways::needs(&self.groups, &self.fronts))?;
        let members = self.groups.iter().flat_map(|group| &group.members);
        for facts in members.filter_map(|(_, member)| member.link.as_ref()) {
            facts.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Ok(pid)
    }
}

/// Serves until `stop` resolves or something fails.
async fn serve(running: &mut Running, stop: impl Future<Output = ()>) -> Result<(), AppError> {
    tokio::select! {
        biased;
        failed = running.failed() => failed,
        () = stop => Ok(()),
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
