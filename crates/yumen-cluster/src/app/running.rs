//! What runs: starting in order, watching, stopping in order.

use super::{
    AppError, Front, Group, is_gate,
    threads::{self, Report, Start},
};
use crate::{
    backend::Backend,
    cluster::Cluster,
    instance::{InstanceError, Member, Ties},
    node::workers::Workers,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use yumen_core::{
    cluster::{Instance, State},
    locator::{Incarnation, LocatorError, RENEW_INTERVAL},
    watch::WatchSender,
};
use yumen_net::acceptor::{self, Door, Entrance};
use yumen_proto::{id::InstanceId, link::Kind};

/// One instance that was started.
struct Live {
    cluster: Cluster,
    record: Instance,
    incarnation: Arc<WatchSender<Incarnation>>,
    /// It has ended by itself.
    over: bool,
}

/// The instances of one process.
pub(super) struct Running {
    workers: Option<Workers>,
    backend: Backend,
    live: BTreeMap<InstanceId, Live>,
    started: usize,
    threads: Vec<mpsc::Sender<Start>>,
    reports: mpsc::Sender<Report>,
    ended: mpsc::Receiver<Report>,
    stop_gates: WatchSender<bool>,
    stop_nodes: WatchSender<bool>,
    doors: BTreeMap<InstanceId, (Entrance, Option<Door>)>,
    acceptors: JoinSet<std::io::Result<()>>,
    renewing: JoinSet<()>,
}

impl Running {
    pub(super) fn new(workers: Option<Workers>) -> Self {
        let (reports, ended) = mpsc::channel(512);
        Self {
            workers,
            backend: Backend::on(Handle::current()),
            live: BTreeMap::new(),
            started: 0,
            threads: Vec::new(),
            reports,
            ended,
            stop_gates: WatchSender::new(false),
            stop_nodes: WatchSender::new(false),
            doors: BTreeMap::new(),
            acceptors: JoinSet::new(),
            renewing: JoinSet::new(),
        }
    }

    /// Starts every node, then every gate, then lets clients in.
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
            let name = members.first().map_or_else(String::new, |member| member.id.to_string());
            let thread = threads::start(&name, members.len(), self.reports.clone())
                .map_err(AppError::Thread)?;
            for member in members {
                let place = (thread.clone(), cluster.clone(), member);
                if is_gate(place.2.kind) { gates.push(place) } else { nodes.push(place) }
            }
            self.threads.push(thread);
        }
        for (thread, cluster, member) in nodes.into_iter().chain(gates) {
            self.launch(&thread, &cluster, member).await?;
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
        member: Member,
    ) -> Result<(), AppError> {
        let Member { id, kind, launch } = member;
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
            ready,
            workers: self.workers.clone(),
            door: self.doors.get_mut(&id).and_then(|(_, door)| door.take()),
        };
        let lost = || AppError::Instance { id: id.clone(), source: InstanceError::ThreadLost };
        thread.send((launch, ties)).await.map_err(|_| lost())?;
        self.started = self.started.saturating_add(1);
        let Ok(record) = served.await else {
            // It failed before it served, and reports why itself.
            return self.failed().await.and_then(|()| Err(lost()));
        };
        cluster
            .registry()
            .join(&record)
            .await
            .map_err(|source| AppError::Registry { id: id.clone(), source })?;
        let renewing = renew(cluster.clone(), id.clone(), life, Arc::clone(&incarnation));
        self.renewing.spawn(renewing);
        let cluster = cluster.clone();
        self.live.insert(id, Live { cluster, record, incarnation, over: false });
        Ok(())
    }

    /// Lets clients in.
    fn open(&mut self, front: Front) {
        let known = front.gates.iter().filter_map(|gate| self.doors.get(gate));
        let entrances: Vec<_> = known.map(|(entrance, _)| entrance.clone()).collect();
        for (index, doorway) in front.doorways.into_iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let (limiter, counts) = (doorway.limiter, Arc::clone(&front.counts));
            let accept =
                acceptor::accept(doorway.listener, index, limiter, entrances.clone(), counts);
            self.acceptors.spawn(accept);
        }
    }

    /// Resolves when an instance or a listener has ended by itself.
    pub(super) async fn failed(&mut self) -> Result<(), AppError> {
        tokio::select! {
            biased;
            report = self.ended.recv() => self.ended(report),
            Some(accepting) = self.acceptors.join_next() => match accepting {
                Ok(Err(error)) => Err(AppError::Listener(error)),
                Ok(Ok(())) | Err(_) => Ok(()),
            },
        }
    }

    fn ended(&mut self, report: Option<Report>) -> Result<(), AppError> {
        self.started = self.started.saturating_sub(1);
        let Some((id, result)) = report else { return Ok(()) };
        self.live.get_mut(&id).into_iter().for_each(|live| live.over = true);
        result.map_err(|source| AppError::Instance { id, source })
    }

    fn nodes_left(&self) -> usize {
        self.live.values().filter(|live| !is_gate(live.record.kind) && !live.over).count()
    }

    /// Stops everything: tells the cluster, then the gates, then the nodes.
    ///
    /// # Errors
    /// The first error of an instance.
    pub(super) async fn stop(&mut self) -> Result<(), AppError> {
        self.acceptors.shutdown().await;
        for Live { cluster, record, .. } in self.live.values_mut() {
            record.state = State::Hang;
            if let Err(error) = cluster.registry().join(record).await {
                tracing::warn!(id = %record.id, %error, "the stop could not be announced");
            }
        }
        self.doors.clear();
        self.threads.clear(); // a thread ends with its last instance
        self.stop_gates.send(true);
        let mut result = Ok(());
        while self.started > self.nodes_left() {
            let report = self.ended.recv().await;
            result = result.and(self.ended(report));
        }
        self.stop_nodes.send(true);
        while self.started > 0 {
            let report = self.ended.recv().await;
            result = result.and(self.ended(report));
        }
        self.renewing.shutdown().await;
        for (id, Live { cluster, record, incarnation, .. }) in &self.live {
            let life = incarnation.watch().current();
            if let Err(error) = cluster.locator().close(id, life).await {
                tracing::warn!(%id, %error, "the locator did not take the end; it will time out");
            }
            if let Err(error) = cluster.registry().leave(id, record.kind).await {
                tracing::warn!(%id, %error, "the registry did not take the end; it will time out");
            }
        }
        result
    }
}

/// Keeps a life of an instance going; begins a new one if the locator has lost it.
async fn renew(
    cluster: Cluster,
    id: InstanceId,
    mut life: Incarnation,
    lives: Arc<WatchSender<Incarnation>>,
) {
    loop {
        tokio::time::sleep(RENEW_INTERVAL).await;
        match cluster.locator().renew(&id, life).await {
            Ok(()) => {}
            Err(LocatorError::NotOpen { .. } | LocatorError::Superseded { .. }) => {
                if let Ok(next) = cluster.locator().open(&id).await {
                    tracing::warn!(%id, "the locator had given this instance up; it begins anew");
                    life = next;
                    lives.send(next);
                }
            }
            Err(error) => tracing::warn!(%id, %error, "the locator did not take the renewal"),
        }
    }
}
