//! One node instance: from its start to its last reply.
//!
//! Everything from outside comes in as `Env`, `Neighbours` and `Ties`, so the same code runs on its
//! own thread, beside a gate on one thread, and on the virtual network. It never starts a thread.

use crate::{
    instance::{InstanceError, Launch, Stop, Ties, told_to_end},
    link,
    node::{
        clients::Clients,
        decide::WEIGHTS,
        dispatch::{Bounds, Dispatch},
        extract::{Head, State as StateOf},
        hub::{Hub, Parts, caught},
        locations::Locations,
        remote::{Inbox, NodeHandle},
        router::Router,
        standing::Standing,
        stats::Stats,
        uplink::Uplink,
        workers::Workers,
    },
    shard,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use yumen_core::{
    cluster::{Instance, Kind},
    locator::{Incarnation, Place as Seat},
    watch::{Watch, WatchSender},
};
use yumen_mesh::{LinkId, Links, Neighbours, Receive};
use yumen_net::env::{Clock, Env, LocalFuture};
use yumen_proto::{
    id::{ConnId, InstanceId, RouteId, UserId},
    link::{Command, Event, Frame, Reply},
    packet::{Layout, Packet},
};
use yumen_settings::Settings;

/// What the state of an instance is built from, on the instance's own thread.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Place {
    /// The instance.
    pub id: InstanceId,
    /// The node's name, under which users are bound to it.
    pub name: Arc<str>,
    /// Every client of the cluster. It works from the first message on, not while state is built.
    pub clients: Clients,
    /// The instance's time.
    pub clock: Clock,
}

/// How other threads reach the instance.
pub(crate) type Door = (NodeHandle, Inbox);
type Build<S> = dyn Fn(&Place) -> S + Send + Sync;
type Hook<S> = dyn Fn(Rc<S>, Clients) -> LocalFuture<'static, ()> + Send + Sync;

type Told<S> = dyn Fn(Rc<S>, Clients, UserId) -> LocalFuture<'static, ()> + Send + Sync;

pub(crate) fn hook<S: 'static, F, Fut>(hook: F) -> Arc<Hook<S>>
where
    F: Fn(StateOf<S>, Clients) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    Arc::new(move |state, clients| Box::pin(hook(StateOf(state), clients)))
}

/// Settings of one instance. Shared by all instances of a node, so it is `Send + Sync`; the state it
/// builds is not.
pub(crate) struct Plan<S> {
    pub(crate) name: String,
    pub(crate) router: Router<S>,
    pub(crate) weight: u32,
    /// Whether the weight comes from the settings and follows them.
    pub(crate) weight_follows: bool,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) layout: Layout,
    pub(crate) bounds: Bounds,
    pub(crate) inbox_max: usize,
    pub(crate) drain_max: Duration,
    pub(crate) on_start: Vec<Arc<Hook<S>>>,
    pub(crate) on_stop: Vec<Arc<Hook<S>>>,
    pub(crate) on_hang: Vec<Arc<Hook<S>>>,
    pub(crate) on_unbound: Vec<Arc<Told<S>>>,
    state: Arc<Build<S>>,
}

impl<S> fmt::Debug for Plan<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: 'static> Plan<S> {
    pub(crate) fn new(name: String, state: impl Fn(&Place) -> S + Send + Sync + 'static) -> Self {
        Self {
            name,
            router: Router::new(),
            weight: 1,
            weight_follows: false,
            metadata: BTreeMap::new(),
            layout: Layout::default(),
            bounds: Bounds::default(),
            inbox_max: 1024 * 1024,
            drain_max: Duration::from_secs(30),
            on_start: Vec::new(),
            on_stop: Vec::new(),
            on_hang: Vec::new(),
            on_unbound: Vec::new(),
            state: Arc::new(state),
        }
    }

    /// Ready to be sent to a thread; `door` is where requests from other threads come in.
    pub(crate) fn launch(self: &Arc<Self>, door: Door, link: Option<link::Door>) -> Launch {
        let plan = Arc::clone(self);
        Box::new(move |env, neighbours, ties| {
            Box::pin(run(env, neighbours, ties, Given { plan, door, link }))
        })
    }

    /// The registry record.
    fn record(&self, id: &InstanceId) -> Instance {
        let mut record = Instance::new(id.clone(), Kind::Node, "");
        record.alias.clone_from(&self.name);
        record.routes = self.router.routes().collect();
        record.events = self.router.events().collect();
        record.weight = self.weight;
        record.metadata.clone_from(&self.metadata);
        let sharded = shard::write(self.router.sharded());
        record.metadata.extend(sharded.map(|routes| (shard::KEY.to_owned(), routes)));
        record
    }
}

/// What an instance gets from the builder.
pub(crate) struct Given<S> {
    pub(crate) plan: Arc<Plan<S>>,
    /// How other threads reach it.
    pub(crate) door: Door,
    /// How other processes reach it.
    pub(crate) link: Option<link::Door>,
}

/// Runs one instance until it is told to stop and has finished its work.
///
/// # Errors
/// Its id is taken, its state cannot be built, or one of its own tasks panicked.
pub(crate) async fn run<S: 'static>(
    env: Env,
    neighbours: Rc<Neighbours>,
    ties: Ties,
    given: Given<S>,
) -> Result<(), InstanceError> {
    let board = ties.cluster.board();
    let links = Links::open(&env, &ties.id, Kind::Node, board, &neighbours)
        .map_err(|_| InstanceError::DuplicateId(ties.id.clone()))?;
    let result = serve(&env, &links, ties, given).await;
    links.close();
    link::say_farewell(&links, &env).await;
    env.spawn.abort_all();
    env.spawn.idle().await;
    result
}

async fn serve<S: 'static>(
    env: &Env,
    links: &Rc<Links>,
    ties: Ties,
    Given { plan, door: (handle, inbox), link }: Given<S>,
) -> Result<(), InstanceError> {
    let (ready, mut stop, progress) = (ties.ready, ties.stop, ties.progress);
    let (settings, apart) = (ties.settings, ties.cluster.is_apart());
    let mut record = plan.record(&ties.id);
    link::go_outside(links, (link, env), ties.incarnation.clone(), &mut record).await?;
    let (mut gates, mut nodes) = (ties.gates.clone(), ties.nodes.clone());
    links.set_peers(Kind::Gate, &gates.current());
    links.set_peers(Kind::Node, &nodes.current());
    let wanted = ties.record;
    let standing = Standing::new(plan.weight, move |state, weight| {
        wanted.change(|record| (record.state, record.weight) = (state, weight));
    });
    let uplink: Rc<dyn Uplink> = Rc::new(Rc::clone(links));
    let locator = Arc::clone(ties.cluster.locator());
    let stats = Rc::new(Stats::default());
    let me = Seat::node(plan.name.as_str(), ties.id.clone());
    let parts = (me, env.clock.clone(), Rc::clone(&stats));
    let hub = Hub::new(Parts {
        env: env.clone(),
        id: ties.id.clone(),
        group: plan.name.as_str().into(),
        layout: plan.layout,
        uplink,
        locations: Locations::new(locator, ties.backend, ties.incarnation.clone(), parts),
        stats,
        gates: ties.gates,
        nodes: ties.nodes,
        standing,
        handle,
    });
    let workers = ties.workers.unwrap_or_else(|| Workers::here(Workers::BYTES_MAX));
    let instance = Rc::new(Front::new(hub, &plan, &workers)?);
    let receiver: Rc<dyn Receive> = Rc::<Front<S>>::clone(&instance);
    links.start(receiver);
    env.spawn.local(link::follow(Rc::clone(links), Kind::Gate, gates));
    env.spawn.local(link::follow(Rc::clone(links), Kind::Node, nodes));
    instance.follow(&plan, ties.incarnation, stop.clone());
    env.spawn.local(inbox.serve(Rc::clone(&instance.hub)));
    let (this, follow, report) = (Rc::clone(&instance), stop.clone(), Arc::clone(&progress));
    env.spawn.local(async move { this.report(follow, &report, apart).await });
    let result = tokio::select! {
        biased;
        () = env.spawn.crashed() => return Err(InstanceError::Crashed),
        () = told_to_end(&mut stop) => Ok(()),
        result = async {
            instance.hooks(&plan.on_start).await;
            let standing = &instance.hub.standing;
            (record.state, record.weight) = (standing.state(), standing.weight());
            let _nobody_asked = ready.send(record);
            if plan.weight_follows {
                instance.follow_weight(settings).await;
            }
            std::future::pending().await
        } => result,
    };
    instance.drain(&plan, &mut stop, &progress, apart).await.and(result)
}

/// From the links to the handlers.
pub(crate) struct Front<S> {
    pub(crate) hub: Rc<Hub>,
    pub(crate) dispatch: Rc<Dispatch<S>>,
    state: Rc<S>,
    /// Whether the hooks that are offered the bound users have ended.
    pub(super) offered: WatchSender<bool>,
    /// Routes whose users are owned.
    pub(crate) sharded: BTreeSet<RouteId>,
}

impl<S: 'static> Front<S> {
    /// Builds the state and binds the route table.
    pub(crate) fn new(
        hub: Rc<Hub>,
        plan: &Plan<S>,
        workers: &Workers,
    ) -> Result<Self, InstanceError> {
        let place = Place {
            id: hub.id.clone(),
            name: Arc::clone(&hub.group),
            clients: Clients::new(Rc::clone(&hub)),
            clock: hub.env.clock.clone(),
        };
        let built = catch_unwind(AssertUnwindSafe(|| (plan.state)(&place)));
        let state = Rc::new(built.map_err(|_| InstanceError::StatePanicked)?);
        let table = plan.router.bind(workers, &hub.env.spawn);
        let dispatch = Dispatch::new(&hub, table, Rc::clone(&state), plan.bounds);
        let sharded = plan.router.sharded().collect();
        // Without hooks nobody waits for the task that runs them, whose turn is nobody's choice.
        let offered = WatchSender::new(plan.on_hang.is_empty());
        Ok(Self { hub, dispatch, state, offered, sharded })
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &S {
        &self.state
    }

    /// Runs hooks one after the other; a panic ends only its own (W-36).
    pub(crate) async fn hooks(&self, hooks: &[Arc<Hook<S>>]) {
        for hook in hooks {
            let clients = Clients::new(Rc::clone(&self.hub));
            let run = async { hook(Rc::clone(&self.state), clients).await };
            if caught(run).await.is_none() {
                self.hub.stats.panics.bump();
                tracing::error!(node = %self.hub.id, "a hook panicked");
            }
        }
    }

    /// Follows what others decide, until its tasks are ended.
    fn follow(
        self: &Rc<Self>,
        plan: &Arc<Plan<S>>,
        life: Watch<Incarnation>,
        mut stop: Watch<Stop>,
    ) {
        let spawn = self.hub.env.spawn.clone();
        let (this, plan) = (Rc::downgrade(self), Arc::clone(plan));
        let tells = Arc::clone(&plan);
        if !plan.on_unbound.is_empty() {
            self.hub.locations.bound.set_on_lost(Rc::new(move |user| {
                let (Some(this), plan) = (this.upgrade(), Arc::clone(&tells)) else { return };
                let spawn = this.hub.env.spawn.clone();
                spawn.local(async move { this.tell_unbound(&plan, user).await });
            }));
        }
        let locations = Rc::clone(&self.hub.locations);
        spawn.local(async move { locations.follow_life(life).await });
        let locations = Rc::clone(&self.hub.locations);
        spawn.local(async move { locations.follow_losses().await });
        let hub = Rc::clone(&self.hub);
        spawn.local(async move { hub.follow_moves().await });
        let this = Rc::clone(self);
        spawn.local(async move {
            while stop.current() == Stop::No && stop.changed().await {}
            if stop.current() != Stop::No {
                this.hooks(&plan.on_hang).await;
            }
            this.offered.send(true);
        });
    }

    /// Tells the game that a user is bound here no more.
    async fn tell_unbound(&self, plan: &Plan<S>, user: UserId) {
        for told in &plan.on_unbound {
            let clients = Clients::new(Rc::clone(&self.hub));
            if caught(async { told(Rc::clone(&self.state), clients, user).await }).await.is_none() {
                self.hub.stats.panics.bump();
                tracing::error!(node = %self.hub.id, "a hook panicked");
            }
        }
    }

    /// Tells the cluster another weight whenever the settings have one.
    async fn follow_weight(&self, mut settings: Watch<Arc<Settings>>) {
        while settings.changed().await {
            let weight = settings.current().cluster.node.weight;
            // One beyond the range was refused at the start, and is not taken now either.
            if weight != self.hub.standing.weight() && WEIGHTS.contains(&weight) {
                self.hub.standing.set_weight(weight);
            }
        }
    }

    /// A packet of a client, or of another node.
    fn deliver(&self, link: LinkId, conn: ConnId, user: Option<UserId>, packet: &[u8]) -> bool {
        if let Some((_, false)) = self.hub.peer(link)
            && let Ok(Packet::Data(data)) = self.hub.layout.decode_message(packet)
            && let Some(owner) = self.owner_elsewhere(data.route, user)
        {
            return self.hand_on(&owner, (link, conn, user), packet);
        }
        self.take(link, (conn, user), packet, false)
    }

    /// The same, for this node whoever owns the user.
    pub(super) fn take(
        &self,
        link: LinkId,
        (conn, user): (ConnId, Option<UserId>),
        packet: &[u8],
        relayed: bool,
    ) -> bool {
        let Some((kind, _)) = self.hub.peer(link) else { return false };
        let head = |route, seq| Head {
            route,
            seq,
            conn,
            user: user.filter(|user| user.is_valid()),
            link,
            from_node: kind != Kind::Gate,
            relayed,
        };
        let cost = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        match self.hub.layout.decode_message(packet) {
            Ok(Packet::Data(data)) => {
                self.dispatch.message(head(data.route, data.seq), data.body, cost)
            }
            Ok(Packet::Empty | Packet::Control { .. }) | Err(_) => {
                self.dispatch.malformed(head(RouteId(0), 0), cost)
            }
        }
    }

    fn trigger(&self, link: LinkId, event: Event, conn: ConnId, user: Option<UserId>) {
        match self.hub.peer(link) {
            Some((Kind::Gate, _)) => {}
            _ => return self.hub.stats.unserved.bump(),
        }
        let user = user.filter(|user| user.is_valid());
        let (route, from_node, relayed) = (RouteId(0), false, false);
        let head = Head { route, seq: 0, conn, user, link, from_node, relayed };
        self.dispatch.event(event, head);
    }

    /// Answers a request of a link, where an answer is waited for.
    fn answer(&self, link: LinkId, seq: u64, route: u8, code: u16, reply: Reply) {
        if seq != 0 {
            let frame = Frame::Reply { seq, route, code, reply };
            if self.hub.outbox.send_frame(link, frame).is_err() {
                self.hub.stats.answers_lost.bump();
            }
        }
    }
}

/// Codes of answers on a link, as due has them.
const DONE: u16 = 0;
const FAILED: u16 = 2;

impl<S: 'static> Receive for Front<S> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other commands are for gates")]
    fn on_frame(&self, link: LinkId, frame: Frame<'_>) {
        if self.hub.outbox.enter_batch() {
            self.dispatch.begin(self.hub.env.clock.now().mono);
        }
        let Frame::Request { seq, command } = frame else { return };
        let route = command.code();
        let (code, reply) = match command {
            Command::Deliver { conn, user, packet } => {
                let taken = self.deliver(link, conn, user, packet);
                (if taken { DONE } else { FAILED }, Reply::Done)
            }
            Command::Relay { conn, user, origin, packet } => {
                let taken = self.relayed(link, (conn, user), origin, packet);
                (if taken { DONE } else { FAILED }, Reply::Done)
            }
            Command::Trigger { event, conn, user } => {
                self.trigger(link, event, conn, user);
                (DONE, Reply::Done)
            }
            Command::GetState => (DONE, Reply::State(self.hub.standing.state())),
            Command::SetState { state } => {
                let set = self.hub.standing.set_state(state);
                (if set.is_ok() { DONE } else { FAILED }, Reply::Done)
            }
            _ => {
                self.hub.stats.unserved.bump();
                (FAILED, Reply::Done)
            }
        };
        self.answer(link, seq, route, code, reply);
    }

    fn on_batch_end(&self) {
        self.hub.outbox.end_batch();
    }

    fn on_lost(&self, link: LinkId, _: &InstanceId) {
        self.hub.forget_peer();
        self.dispatch.lost(link);
    }
}

#[cfg(test)]
#[cfg(feature = "json")]
#[path = "run_tests.rs"]
mod tests;
