//! What runs: starting in order, and noticing what ends by itself. [`stop`](super::stop) ends it.

use super::{
    AppError, Front, Group,
    control::{Control, Entry, InstanceState},
    is_gate,
    join::{self, Membership, Peers},
    lease::{self, Lease},
    rival::Candidate,
    threads::{self, Report, Reporter, Start},
    what,
};
use crate::{
    backend::Backend,
    cluster::Cluster,
    instance::{InstanceError, Member, Stop, Ties},
    node::workers::Workers,
    presence::Wanted,
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
use yumen_proto::id::InstanceId;

/// How long an instance may take to start before that is said, and between two times.
const SLOW_START: Duration = Duration::from_secs(5);

/// One instance that was started.
pub(super) struct Live {
    pub(super) entry: Arc<Entry>,
    pub(super) cluster: Cluster,
    /// What the registry is to know; nothing until the instance serves.
    pub(super) wanted: Wanted,
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
    /// What keeps the records in the registries.
    pub(super) joining: JoinSet<Result<(), AppError>>,
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
            joining: JoinSet::new(),
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
        let Member { id, kind, launch, drain_max, link, .. } = member;
        let peers = Peers::follow(cluster.registry(), &mut self.renewing).await;
        let (gates, nodes) = (peers.gates.clone(), peers.nodes.clone());
        let candidate = link.map(|facts| facts.endpoint.unwrap_or_default());
        let candidate = candidate.map(|endpoint| Candidate { id: id.clone(), kind, endpoint });
        let (wanted, registry) = (Wanted::default(), Arc::clone(cluster.registry()));
        let mut membership = Membership {
            registry,
            entry: Arc::clone(&entry),
            wanted: wanted.clone(),
            candidate,
            peers,
        };
        // Before a life begins, which would end that of whoever has the id.
        membership.check().await?;
        let mut lease = Lease::new(cluster.locator(), &id, None);
        let incarnation = Arc::new(WatchSender::new(Incarnation::default()));
        lease.begin(&incarnation).await;
        let (ready, served) = oneshot::channel();
        let stop = if is_gate(kind) { &self.stop_gates } else { &self.stop_nodes };
        let ties = Ties {
            id: id.clone(),
            cluster: cluster.clone(),
            backend: self.backend.clone(),
            record: wanted.clone(),
            incarnation: incarnation.watch(),
            gates,
            nodes,
            stop: stop.watch(),
            progress: Arc::clone(&entry.progress),
            settings: self.control.settings_watch(),
            ready,
            workers: self.workers.clone(),
            // A node may have a gate's id by mistake; the door is the gate's.
            door: if is_gate(kind) { self.door(&id) } else { None },
        };
        entry.set_state(InstanceState::Starting);
        let reporter = Reporter::new(Arc::clone(&entry), self.reports.clone());
        let host = Arc::clone(&entry);
        let keep = lease.keep(Arc::clone(&incarnation), move || lease::is_stuck(&host));
        self.renewing.spawn(keep);
        self.live.push(Live {
            entry: Arc::clone(&entry),
            cluster: cluster.clone(),
            wanted: wanted.clone(),
            incarnation,
            drain_max,
            over: false,
        });
        // One that cannot be sent is dropped, and its reporter says so.
        let _sent = thread.send((launch, ties, reporter)).await;
        self.joined(&entry, served, (wanted, membership)).await
    }

    fn door(&mut self, gate: &InstanceId) -> Option<Door> {
        self.doors.get_mut(gate).and_then(|(_, door)| door.take())
    }

    /// Waits until an instance serves and can be found, or the first attempt at that has failed.
    async fn joined(
        &mut self,
        entry: &Entry,
        mut served: oneshot::Receiver<Instance>,
        (wanted, membership): (Wanted, Membership),
    ) -> Result<(), AppError> {
        let (id, what) = (&entry.id, what(entry.kind));
        let record = loop {
            tokio::select! {
                biased;
                Ok(record) = &mut served => break record,
                failed = self.failed() => return failed,
                () = tokio::time::sleep(SLOW_START) => {
                    tracing::warn!("still waiting for {what} {id} to start: its state or a start hook");
                }
            }
        };
        let name = record.alias.clone();
        wanted.begin(record);
        self.joining.spawn(membership.keep());
        tokio::select! {
            biased;
            _said_by_its_witness = join::attempted(entry) => {}
            failed = self.failed() => return failed,
        }
        entry.set_state(InstanceState::Serving);
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
                tracing::info!(%address, tls = doorway.secure.is_on().then_some(true), "clients are let in");
                doorway.secure.notes.iter().for_each(|note| tracing::warn!("{note}"));
            }
            let (rules, counts) = (doorway.rules, Arc::clone(&front.counts));
            let accept =
                acceptor::accept(doorway.listener, index, rules, entrances.clone(), counts);
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
                Some(joining) = self.joining.join_next() => match joining {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(AppError::Thread(io::Error::other("a task panicked"))),
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
