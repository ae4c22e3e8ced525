//! A node instance without links: frames go in by hand, and what it sends is written down.

pub(crate) mod lobby;

use crate::{
    backend::Backend,
    node::{
        hub::{Hub, Parts},
        locations::Locations,
        remote::{Inbox, NodeHandle},
        router::Router,
        run::{Front, Plan},
        standing::Standing,
        stats::Stats,
        uplink::{Peer, Uplink},
        workers::Workers,
    },
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
};
use tokio::sync::Notify;
use yumen_core::{
    cluster::{Instance, Kind, Snapshot},
    locator::{Incarnation, Locator, Place},
    memory::MemoryLocator,
    watch::{Watch, WatchSender},
};
use yumen_mesh::{CallError, LinkId, Receive, Unsent};
use yumen_net::{
    env::{Env, LocalFuture},
    testing::Sim,
};
use yumen_proto::{
    id::{ConnId, InstanceId, RouteId, UserId},
    link::{Command, Event, Frame, Reply},
    packet::{Data, Layout, Packet},
};

pub(crate) const GATE: LinkId = LinkId(1);
pub(crate) const OTHER_GATE: LinkId = LinkId(2);
pub(crate) const NODE: LinkId = LinkId(3);
pub(crate) const DUE_GATE: LinkId = LinkId(4);
const PEERS: [(LinkId, &str, Kind, bool); 4] = [
    (GATE, "gate-1", Kind::Gate, true),
    (OTHER_GATE, "gate-2", Kind::Gate, true),
    (NODE, "node-2", Kind::Node, true),
    (DUE_GATE, "due", Kind::Gate, false),
];

/// Links that write down what is sent.
#[derive(Default)]
pub(crate) struct Paper {
    pub(crate) lines: RefCell<Vec<String>>,
    pub(crate) full: Cell<bool>,
    /// Writes nothing down.
    pub(crate) silent: Cell<bool>,
    pub(crate) room: Notify,
    pub(crate) flushes: Cell<u32>,
    /// Answers to calls, first come first served; `Done` when there is none.
    pub(crate) answers: RefCell<VecDeque<(u16, Reply)>>,
    /// Calls wait for this before they are answered, if it is set.
    pub(crate) hold: RefCell<Option<Rc<Notify>>>,
    /// Gates whose link is up, beside those that the registry tells of.
    pub(crate) dialled_us: RefCell<Vec<LinkId>>,
    /// Lives that were fenced off.
    pub(crate) fences: RefCell<Vec<(InstanceId, Incarnation)>>,
}

fn packet(bytes: &[u8]) -> String {
    match Layout::default().decode_message(bytes) {
        Ok(Packet::Data(Data { route, seq, body, .. })) => {
            format!("{route}/{seq} {}", String::from_utf8_lossy(body))
        }
        other => format!("{other:?}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others look well enough")]
fn line(link: LinkId, command: &Command<'_>) -> String {
    let what = match command {
        Command::Push { target, disconnect, packet: p } => {
            let last = if *disconnect { " and close" } else { "" };
            format!("push{last} {} {}", target.number(), packet(p))
        }
        Command::Status { conn, route, seq, reply } => {
            format!("status {conn} {route}/{seq} {} {}", reply.code, reply.text)
        }
        Command::Consumed { conn, bytes } => format!("consumed {conn} {bytes}"),
        Command::Deliver { user, packet: p, .. } => {
            format!("deliver {} {}", user.map_or(0, |user| user.0), packet(p))
        }
        Command::Relay { conn, user, origin, packet: p } => {
            let user = user.map_or(0, |user| user.0);
            format!("relay {user} of {origin} {conn} {}", packet(p))
        }
        Command::HandBack { conn, packet: p } => format!("hand back {conn} {}", packet(p)),
        Command::Multicast { targets, packet: p, .. } => {
            let (first, count) = (targets.iter().next().unwrap_or(0), targets.len());
            format!("multicast {count} from {first} {}", packet(p))
        }
        Command::Broadcast { kind, packet: p, .. } => format!("broadcast {kind:?} {}", packet(p)),
        Command::Publish { channel, packet: p, .. } => format!("publish {channel} {}", packet(p)),
        other => format!("{other:?}"),
    };
    if link == GATE { what } else { format!("[{}] {what}", link.0) }
}

impl Uplink for Rc<Paper> {
    fn link(&self, peer: &InstanceId) -> Result<LinkId, Unsent> {
        let found = PEERS.iter().find(|(_, id, ..)| *id == peer.as_str());
        found.map(|(link, ..)| *link).ok_or(Unsent::Closed)
    }

    fn peer(&self, link: LinkId) -> Option<Peer> {
        let (_, id, kind, ours) = PEERS.into_iter().find(|(at, ..)| *at == link)?;
        Some(Peer { id: id.into(), kind, ours })
    }

    fn gates_up(&self) -> Vec<LinkId> {
        self.dialled_us.borrow().clone()
    }

    fn send(&self, link: LinkId, frame: Frame<'_>) -> Result<(), Unsent> {
        if self.full.get() {
            return Err(Unsent::Full);
        }
        if self.silent.get() {
            return Ok(());
        }
        let text = match frame {
            Frame::Request { command, .. } => line(link, &command),
            Frame::Reply { seq, code, reply, .. } => format!("reply {seq}: {code} {reply:?}"),
            Frame::Heartbeat => "heartbeat".to_owned(),
        };
        self.lines.borrow_mut().push(text);
        Ok(())
    }

    fn flush(&self) {
        self.flushes.set(self.flushes.get() + 1);
    }

    fn room(&self, _: LinkId) -> LocalFuture<'_, ()> {
        Box::pin(async {
            while self.full.get() {
                self.room.notified().await;
            }
        })
    }

    fn fence(&self, instance: &InstanceId, life: Incarnation) {
        self.fences.borrow_mut().push((instance.clone(), life));
    }

    fn call<'a>(
        &'a self,
        link: LinkId,
        command: Command<'a>,
    ) -> LocalFuture<'a, Result<(u16, Reply), CallError>> {
        Box::pin(async move {
            self.lines.borrow_mut().push(format!("call {}", line(link, &command)));
            let hold = self.hold.borrow().clone();
            if let Some(hold) = hold {
                hold.notified().await;
            }
            Ok(self.answers.borrow_mut().pop_front().unwrap_or((0, Reply::Done)))
        })
    }
}

/// One instance on a bench.
pub(crate) struct Bench<S> {
    pub(crate) env: Env,
    pub(crate) paper: Rc<Paper>,
    pub(crate) locator: Arc<MemoryLocator>,
    pub(crate) front: Rc<Front<S>>,
    pub(crate) inbox: Option<Inbox>,
    pub(crate) lives: WatchSender<Incarnation>,
}

impl<S: 'static> Bench<S> {
    /// Runs `test` with an instance that has `router` and the state that `state` makes; `change` may
    /// alter its settings.
    pub(crate) fn run(
        router: Router<S>,
        state: impl Fn() -> S + Send + Sync + 'static,
        change: impl FnOnce(&mut Plan<S>),
        test: impl AsyncFnOnce(Self),
    ) {
        Self::run_among([].into(), router, state, change, test);
    }

    /// The same with these nodes in the cluster.
    pub(crate) fn run_among(
        nodes: Snapshot,
        router: Router<S>,
        state: impl Fn() -> S + Send + Sync + 'static,
        change: impl FnOnce(&mut Plan<S>),
        test: impl AsyncFnOnce(Self),
    ) {
        Sim::run(1, async |sim| {
            let mut plan = Plan::new("lobby".to_owned(), move |_| state());
            plan.router = router;
            change(&mut plan);
            test(Self::new(sim.env(), &plan, nodes).await).await;
        });
    }

    async fn new(env: Env, plan: &Plan<S>, nodes: Snapshot) -> Self {
        let id = InstanceId::from("node-1");
        let locator = Arc::new(MemoryLocator::default());
        let incarnation = locator.open(&id).await.unwrap();
        for gate in ["gate-1", "gate-2"] {
            let _open: Incarnation = locator.open(&gate.into()).await.unwrap();
        }
        let paper = Rc::new(Paper::default());
        let shared = Arc::clone(&locator) as Arc<dyn Locator>;
        let gates = ["gate-1", "gate-2"].map(|id| Instance::new(id.into(), Kind::Gate, ""));
        let (handle, inbox) =
            NodeHandle::new((&plan.name, id.clone()), plan.layout, plan.inbox_max);
        let (stats, lives) = (Rc::new(Stats::default()), WatchSender::new(incarnation));
        let me = Place::node(plan.name.as_str(), id.clone());
        let parts = (me, env.clock.clone(), Rc::clone(&stats));
        let hub = Hub::new(Parts {
            env: env.clone(),
            id,
            group: plan.name.as_str().into(),
            layout: plan.layout,
            uplink: Rc::new(Rc::clone(&paper)),
            locations: Locations::new(shared, Backend::here(), lives.watch(), parts),
            stats,
            gates: Watch::fixed(gates.into()),
            nodes: Watch::fixed(nodes),
            standing: Standing::new(plan.weight, |_, _| ()),
            handle,
        });
        let front = Rc::new(Front::new(hub, plan, &Workers::here(64)).unwrap());
        Self { env, paper, locator, front, inbox: Some(inbox), lives }
    }

    /// A message of user 7 on a connection of the first gate.
    pub(crate) fn send(&self, route: i32, conn: i64, body: &str) {
        self.send_as(GATE, route, conn, Some(7), body);
    }

    pub(crate) fn send_as(
        &self,
        link: LinkId,
        route: i32,
        conn: i64,
        user: Option<i64>,
        body: &str,
    ) {
        self.deliver(link, 0, route, (conn, user), body);
    }

    /// With a sequence number of the link, which asks for an answer.
    pub(crate) fn deliver(
        &self,
        link: LinkId,
        seq: u64,
        route: i32,
        (conn, user): (i64, Option<i64>),
        body: &str,
    ) {
        let mut packet = Vec::new();
        Layout::default().encode_data(RouteId(route), 1, body.as_bytes(), &mut packet).unwrap();
        let (conn, user) = (ConnId(conn), user.map(UserId));
        let command = Command::Deliver { conn, user, packet: &packet };
        self.front.on_frame(link, Frame::Request { seq, command });
    }

    /// A message of 9 bytes of body that costs the test no allocation.
    pub(crate) fn resend(&self, route: u8) {
        let packet = [0, 0, 0, 14, 0, 0, route, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let command = Command::Deliver { conn: ConnId(1), user: Some(UserId(7)), packet: &packet };
        self.front.on_frame(GATE, Frame::Request { seq: 0, command });
    }

    pub(crate) fn trigger(&self, event: Event, conn: i64) {
        let command = Command::Trigger { event, conn: ConnId(conn), user: Some(UserId(7)) };
        self.front.on_frame(GATE, Frame::Request { seq: 0, command });
    }

    /// Ends the batch and gives everything sent since the last time but what gates are told of
    /// finished bytes.
    pub(crate) fn log(&self) -> Vec<String> {
        self.front.on_batch_end();
        let mut lines = self.paper.lines.take();
        lines.retain(|line| !line.contains("consumed"));
        lines
    }

    /// Resolves when no handler waits.
    pub(crate) async fn idle(&self) {
        self.front.dispatch.idle().await;
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let stats = &self.front.hub.stats;
        stats.all().find(|(one, _)| *one == name).unwrap().1
    }

    /// The user is connected to this gate.
    pub(crate) async fn online(&self, user: i64, gate: &str) {
        self.locator.claim(UserId(user), &Place::gate(gate), None).await.unwrap();
    }
}
