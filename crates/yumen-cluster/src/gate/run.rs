//! The life of one gate instance: start, serve, drain, end.

use super::{
    hall::{Faults, Front, Hall},
    handle::Ask,
    plan::Plan,
    sessions::Session,
    stats::Stats,
    traffic::Routes,
};
use crate::{
    instance::{InstanceError, Stop, Ties, told_to_end},
    link,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::AbortHandle,
};
use yumen_core::{
    cluster::{Instance, Snapshot},
    locator::{Moves, Place},
    watch::Watch,
};
use yumen_mesh::{Links, Neighbours, Receive};
use yumen_net::{
    acceptor::Door,
    driver::{Driver, Service},
    env::{Env, Listener},
};
use yumen_proto::{
    conn::{CloseReason, ServerConn},
    link::Kind,
};
use yumen_settings::Settings;

/// Connections taken over at once.
const ARRIVALS_MAX: usize = 64;
/// How often a draining gate looks whether it is done.
pub(super) const DRAIN_TICK: Duration = Duration::from_millis(20);

/// What an instance gets from the builder.
pub(super) struct Given {
    pub(super) plan: Arc<Plan>,
    pub(super) inbox: mpsc::Receiver<Ask>,
    /// Where other processes reach it.
    pub(super) door: Option<link::Door>,
}

/// Runs one gate instance until it is told to stop and has drained.
///
/// # Errors
/// Its id is taken, or one of its own tasks panicked.
pub(super) async fn run(
    env: Env,
    neighbours: Rc<Neighbours>,
    ties: Ties,
    Given { plan, inbox, door: link }: Given,
) -> Result<(), InstanceError> {
    let Ties { id, cluster, backend, incarnation, gates, nodes, mut stop, ready, door, .. } = ties;
    let (progress, settings) = (ties.progress, ties.settings);
    let links = Links::open(&env, &id, Kind::Gate, cluster.board(), &neighbours)
        .map_err(|_| InstanceError::DuplicateId(id.clone()))?;
    let mut record = Instance::new(id.clone(), Kind::Gate, "");
    record.alias.clone_from(&plan.name);
    record.metadata.clone_from(&plan.metadata);
    link::go_outside(&links, (link, &env), incarnation.clone(), &mut record).await?;
    let hall = Rc::new(Hall {
        me: Place::gate(id),
        driver: Driver::new(&env),
        links: Rc::clone(&links),
        locator: Arc::clone(cluster.locator()),
        wanted: ties.record,
        backend,
        incarnation: RefCell::new(incarnation),
        table: RefCell::default(),
        index: RefCell::default(),
        record: RefCell::new(record.clone()),
        stats: Stats::default(),
        faults: Faults::default(),
        routes: Routes::new(plan.listens.len()),
        waiting: RefCell::default(),
        lanes: RefCell::default(),
        in_flight: Cell::new(0),
        began: Cell::new(env.clock.now().mono),
        unclocked: Cell::new(0),
        stopping: Cell::new(false),
        refusing: Cell::new(false),
        rate_max: Cell::new(plan.messages_per_second_max.now),
        upheavals: Cell::new(0),
        said: RefCell::default(),
        doors_said: Cell::new(None),
        claims: RefCell::default(),
        left: Notify::new(),
        recheck: Notify::new(),
        env: env.clone(),
        plan,
    });
    hall.driver.set_held_max(hall.plan.buffers_max);
    let (mut gates, mut nodes) = (gates, nodes);
    links.set_peers(Kind::Gate, &gates.current());
    hall.set_nodes(&nodes.current());
    let receiver: Rc<dyn Receive> = Rc::new(Front(Rc::clone(&hall)));
    links.start(receiver);
    let service: Rc<dyn Service<ServerConn, Session>> = Rc::new(Front(Rc::clone(&hall)));
    hall.driver.start(&service);
    hall.follow(cluster.locator().watch(), nodes, settings);
    let mut seen = gates.clone();
    env.spawn.local(link::follow(Rc::clone(&links), Kind::Gate, gates));
    let this = Rc::clone(&hall);
    env.spawn.local(async move { this.answer_all(inbox).await });
    let result = match hall.work(door, (ready, record), &mut stop).await {
        Ok(()) => hall.drain(&mut stop, &progress, &seen.current()).await,
        failed => failed,
    };
    links.close();
    link::say_farewell(&links, &env).await;
    env.spawn.abort_all();
    env.spawn.idle().await;
    result
}

impl Hall {
    /// Follows what others decide, until its tasks are ended.
    fn follow(
        self: &Rc<Self>,
        moves: Moves,
        nodes: Watch<Snapshot>,
        settings: Watch<Arc<Settings>>,
    ) {
        let this = Rc::clone(self);
        self.env.spawn.local(async move { this.follow_moves(moves).await });
        let (this, life) = (Rc::clone(self), self.incarnation.borrow().clone());
        self.env.spawn.local(async move { this.follow_life(life).await });
        let this = Rc::clone(self);
        self.env.spawn.local(async move { this.follow_losses().await });
        let this = Rc::clone(self);
        self.env.spawn.local(async move { this.follow_nodes(nodes).await });
        let this = Rc::clone(self);
        self.env.spawn.local(async move { this.follow_settings(settings).await });
    }

    /// Applies the limits that may change while it runs, except for those that code has said.
    async fn follow_settings(&self, mut settings: Watch<Arc<Settings>>) {
        while settings.changed().await {
            let Settings { network, yumen, .. } = &*settings.current();
            if self.plan.messages_per_second_max.follows {
                self.rate_max.set(yumen.gate.messages_per_second_max);
            }
            // All instances share the limits; each sets them to the same.
            for limits in &self.plan.limits {
                if limits.total_follows {
                    let (tcp, ws) = (&network.tcp.server, &network.ws.server);
                    let max = if limits.is_ws { ws.max_conn_num } else { tcp.max_conn_num };
                    limits.limiter.set_total_max(max);
                }
                if limits.address_follows {
                    limits.limiter.set_address_max(yumen.gate.per_address_max);
                }
            }
        }
    }

    /// Serves until it is told to end; a failure is its own.
    async fn work(
        self: &Rc<Self>,
        door: Option<Door>,
        (ready, record): (oneshot::Sender<Instance>, Instance),
        stop: &mut Watch<Stop>,
    ) -> Result<(), InstanceError> {
        let admitting = self.open(door).await?;
        let _nobody_asked = ready.send(record);
        let result = tokio::select! {
            biased;
            () = self.env.spawn.crashed() => Err(InstanceError::Crashed),
            () = told_to_end(stop) => Ok(()),
        };
        admitting.iter().for_each(AbortHandle::abort);
        result
    }

    /// Lets clients in: through the acceptor's door, or else through listeners of its own.
    async fn open(self: &Rc<Self>, door: Option<Door>) -> Result<Vec<AbortHandle>, InstanceError> {
        if let Some(door) = door {
            let this = Rc::clone(self);
            return Ok(vec![self.env.spawn.local(async move { this.admit(door).await })]);
        }
        let mut admitting = Vec::new();
        for (index, listen) in self.plan.listens.iter().enumerate() {
            let listener = self.env.net.listen(&listen.addr).await;
            let listener = listener
                .map_err(|source| InstanceError::Listen { address: listen.addr.clone(), source })?;
            let (this, index) = (Rc::clone(self), u16::try_from(index).unwrap_or(u16::MAX));
            admitting.push(self.env.spawn.local(async move { this.listen(listener, index).await }));
        }
        Ok(admitting)
    }

    async fn listen(&self, mut listener: Box<dyn Listener>, index: u16) {
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => self.accept(socket, peer, (index, None)),
                Err(_) => self.env.clock.sleep(DRAIN_TICK).await,
            }
        }
    }

    /// Takes over what the acceptor sends.
    async fn admit(&self, mut door: Door) {
        let mut arrivals = Vec::new();
        loop {
            tokio::select! {
                biased;
                more = door.next(&mut arrivals, ARRIVALS_MAX) => if !more { return },
                // Those that leave count too, or whoever had most would never get any again.
                () = self.left.notified() => {}
            }
            for arrival in arrivals.drain(..) {
                let (peer, listener) = (arrival.peer, arrival.listener);
                match arrival.settle() {
                    Ok((socket, permit)) => self.accept(socket, peer, (listener, Some(permit))),
                    // Accepted all the same, so it has to end under some reason.
                    Err(_) => {
                        self.arrived(listener);
                        self.stats.close(CloseReason::Internal);
                    }
                }
            }
            door.set_load(self.driver.len());
            tokio::task::yield_now().await;
        }
    }
}
