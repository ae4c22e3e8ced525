//! What runs: starting in order, and noticing what ends by itself. [`stop`](super::stop) ends it.

use super::{
    AppError, Front, Group,
    control::{Control, Entry, InstanceState},
    is_gate,
    lease::{self, Lease},
    threads::{self, Report, Reporter, Start},
    what,
};
use crate::{
    backend::Backend,
    cluster::Cluster,
    instance::{InstanceError, Member, Stop, Ties},
    node::workers::Workers,
    pulse::Pulse,
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use yumen_core::{cluster::Instance, locator::Incarnation, watch::WatchSender};
use yumen_net::{
    acceptor::{self, Door, Entrance},
    env::Clock,
};
use yumen_proto::{id::InstanceId, link::Kind};

/// How long an instance may take to start before that is said, and between two times.
const SLOW_START: Duration = Duration::from_secs(5);

/// One instance that was started.
pub(super) struct Live {
    pub(super) entry: Arc<Entry>,
    pub(super) cluster: Cluster,
    /// What the registry knows; `None` until the instance serves.
    pub(super) record: Option<Instance>,
    pub(super) incarnation: Arc<WatchSender<Incarnation>>,
    pub(super) drain_max: Duration,
    /// It has ended.
    pub(super) over: bool,
}

/// The instances of one process.
pub(super) struct Running {
    pub(super) control: Control,
    workers: Option<Workers>,
    backend: Backend,
    pub(super) live: Vec<Live>,
    pub(super) threads: Vec<mpsc::Sender<Start>>,
    reports: mpsc::Sender<Report>,
    pub(super) ended: mpsc::Receiver<Report>,
    pub(super) stop_gates: WatchSender<Stop>,
    pub(super) stop_nodes: WatchSender<Stop>,
    pub(super) doors: BTreeMap<InstanceId, (Entrance, Option<Door>)>,
    pub(super) acceptors: JoinSet<io::Result<()>>,
    pub(super) renewing: JoinSet<()>,
}

impl Running {
    pub(super) fn new(control: Control, workers: Option<Workers>) -> Self {
        // A report of each instance fits, so that one that ends never waits.
        let backend = Backend::on(Handle::current());
        control.set_backend(&backend);
        let (reports, ended) = mpsc::channel(control.entries().len().max(1));
        Self {
            control,
            workers,
            backend,
            live: Vec::new(),
            threads: Vec::new(),
            reports,
            ended,
            stop_gates: WatchSender::new(Stop::No),
            stop_nodes: WatchSender::new(Stop::No),
            doors: BTreeMap::new(),
            acceptors: JoinSet::new(),
            renewing: JoinSet::new(),
        }
    }

    /// Starts every node, then every gate, then lets clients in. What was started when it is dropped
    /// is ended by [`Running::stop`].
    pub(super) async fn start(
        &mut self,
        groups: Vec<Group>,
        fronts: Vec<Front>,
    ) -> Result<(), AppError> {
        for front in &fronts {
            for gate in &front.gates {
                let (entrance, door) = acceptor::door();
                self.doors.insert(gate.clone(), (entrance, Some(door)));
            }
        }
        let (mut nodes, mut gates) = (Vec::new(), Vec::new());
        for Group { cluster, members } in groups {
            let name =
                members.first().map_or_else(String::new, |(_, member)| member.id.to_string());
            let pulse = Pulse::new(Clock::real().now().mono);
            let thread = threads::start(&name, members.len(), Arc::clone(&pulse))
                .map_err(AppError::Thread)?;
            for (entry, member) in members {
                entry.set_host(&name, Arc::clone(&pulse));
                let is_gate = is_gate(member.kind);
                let place = (thread.clone(), cluster.clone(), entry, member);
                if is_gate { gates.push(place) } else { nodes.push(place) }
            }
            self.threads.push(thread);
        }
        for (thread, cluster, entry, member) in nodes.into_iter().chain(gates) {
            self.launch(&thread, &cluster, entry, member).await?;
        }
        for front in fronts {
            self.open(front);
        }
        Ok(())
    }

    /// Starts one instance and waits until it serves and can be found.
    async fn launch(
        &mut self,
        thread: &mpsc::Sender<Start>,
        cluster: &Cluster,
        entry: Arc<Entry>,
        member: Member,
    ) -> Result<(), AppError> {
        let Member { id, kind, launch, drain_max, .. } = member;
        let registry = |source| AppError::Registry { id: id.clone(), source };
        let gates = cluster.registry().watch(Kind::Gate).await.map_err(registry)?;
        let nodes = cluster.registry().watch(Kind::Node).await.map_err(registry)?;
        let life = cluster.locator().open(&id).await;
        let life = life.map_err(|source| AppError::Locator { id: id.clone(), source })?;
        let incarnation = Arc::new(WatchSender::new(life));
        let (ready, served) = oneshot::channel();
        let stop = if is_gate(kind) { &self.stop_gates } else { &self.stop_nodes };
        let ties = Ties {
            id: id.clone(),
            cluster: cluster.clone(),
            backend: self.backend.clone(),
            incarnation: incarnation.watch(),
            gates,
            nodes,
            stop: stop.watch(),
            progress: Arc::clone(&entry.progress),
            settings: self.control.settings_watch(),
            ready,
            workers: self.workers.clone(),
            door: self.doors.get_mut(&id).and_then(|(_, door)| door.take()),
        };
        entry.set_state(InstanceState::Starting);
        let reporter = Reporter::new(Arc::clone(&entry), self.reports.clone());
        let lease = Lease { locator: Arc::clone(cluster.locator()), id: id.clone(), life };
        let watched = Arc::clone(&entry);
        let is_stuck = move || lease::is_stuck(&watched);
        self.renewing.spawn(lease.keep(Arc::clone(&incarnation), is_stuck));
        let cluster = cluster.clone();
        let live = Live {
            entry: Arc::clone(&entry),
            cluster: cluster.clone(),
            record: None,
            incarnation,
            drain_max,
            over: false,
        };
        self.live.push(live);
        // One that cannot be sent is dropped, and its reporter says so.
        let _sent = thread.send((launch, ties, reporter)).await;
        let mut served = served;
        let record = loop {
            tokio::select! {
                biased;
                Ok(record) = &mut served => break record,
                failed = self.failed() => return failed,
                () = tokio::time::sleep(SLOW_START) => {
                    let what = what(kind);
                    tracing::warn!("still waiting for {what} {id} to start: its state or a start hook");
                }
            }
        };
        if let Some(live) = self.live.last_mut() {
            live.record = Some(record.clone());
        }
        let joined = cluster.registry().join(&record).await;
        joined.map_err(|source| AppError::Registry { id: id.clone(), source })?;
        entry.set_state(InstanceState::Serving);
        let name = record.alias;
        let what = what(kind);
        tracing::info!(name, "{what} {id} started");
        Ok(())
    }

    /// Lets clients in.
    fn open(&mut self, front: Front) {
        let known = front.gates.iter().filter_map(|gate| self.doors.get(gate));
        let entrances: Vec<_> = known.map(|(entrance, _)| entrance.clone()).collect();
        for (index, doorway) in front.doorways.into_iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            if let Ok(address) = doorway.listener.local_addr() {
                tracing::info!(%address, "clients are let in");
            }
            let (limiter, counts) = (doorway.limiter, Arc::clone(&front.counts));
            let accept =
                acceptor::accept(doorway.listener, index, limiter, entrances.clone(), counts);
            self.acceptors.spawn(accept);
        }
    }

    /// Resolves when an instance or a listener has ended by itself.
    pub(super) async fn failed(&mut self) -> Result<(), AppError> {
        loop {
            tokio::select! {
                biased;
                Some(report) = self.ended.recv() => {
                    let id = report.0.id.clone();
                    // Nobody told it to end, so that is a failure also where it sees none.
                    let source = self.ended(report).err().unwrap_or(InstanceError::ThreadLost);
                    return Err(AppError::Instance { id, source });
                },
                Some(accepting) = self.acceptors.join_next() => match accepting {
                    // Every instance behind it has ended, and reports that itself.
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(AppError::Listener(error)),
                    Err(panicked) => return Err(AppError::Listener(io::Error::other(panicked))),
                },
            }
        }
    }

    /// Writes down that an instance has ended.
    pub(super) fn ended(&mut self, (entry, result): Report) -> Result<(), InstanceError> {
        let state = if result.is_ok() { InstanceState::Ended } else { InstanceState::Failed };
        entry.set_state(state);
        let live = self.live.iter_mut().find(|live| Arc::ptr_eq(&live.entry, &entry));
        live.into_iter().for_each(|live| live.over = true);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_panics_is_a_failure() {
        let mut running = Running::new(Control::default(), None);
        running.acceptors.spawn(async { panic!("expected by this test") });
        // Nothing else happens, so the clock of this runtime moves on to the end of the wait.
        let failed = tokio::time::timeout(SLOW_START, running.failed()).await;
        assert!(matches!(failed, Ok(Err(AppError::Listener(_)))), "{failed:?}");
    }
}
