//! One gate instance: what it is made of, and its housekeeping.
//!
//! The driver calls it with what clients send ([`forward`](super::forward)), the links with what nodes
//! ask ([`serve`](super::serve)). Nothing of it is borrowed while either is called.

use super::{
    handle::Ask,
    line::Line,
    login::Claims,
    plan::Plan,
    puzzle::Said,
    sessions::{Bound, Index, Session, Wait},
    stats::{Stats, bump},
    table::Table,
    traffic::Routes,
};
use crate::{backend::Backend, calm::Calm, presence::Wanted};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
    error::Error,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc};
use yumen_core::{
    cluster::{Event, Instance, Snapshot, State},
    locator::{Incarnation, Locator, Place},
    watch::Watch,
};
use yumen_mesh::{LinkId, Links, Unsent};
use yumen_net::{
    driver::{Driver, Transport},
    env::Env,
    limit::Permit,
    socket::Socket,
};
use yumen_proto::{
    conn::{Now, ServerConn},
    id::{ConnId, InstanceId, UserId},
    link::{Command, Frame, Kind},
};

/// Most events that wait for one full lane; more are lost and counted.
const EVENTS_MAX: usize = 65_536;
/// How long a session may wait for room before what it sends is refused.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);

/// One gate instance.
pub(super) struct Hall {
    pub(super) env: Env,
    pub(super) plan: Arc<Plan>,
    pub(super) me: Place,
    pub(super) driver: Rc<Driver<ServerConn, Session>>,
    pub(super) links: Rc<Links>,
    pub(super) locator: Arc<dyn Locator>,
    pub(super) wanted: Wanted,
    pub(super) backend: Backend,
    pub(super) incarnation: RefCell<Watch<Incarnation>>,
    pub(super) table: RefCell<Rc<Table>>,
    pub(super) index: RefCell<Index>,
    pub(super) record: RefCell<Instance>,
    pub(super) stats: Stats,
    pub(super) faults: Faults,
    /// What each route has carried, and each listener has let in.
    pub(super) routes: Routes,
    /// Sessions that wait for room, since when is with them; each once, however often it waits.
    pub(super) waiting: RefCell<BTreeSet<ConnId>>,
    /// Lanes that are full, and what waits for them.
    pub(super) lanes: RefCell<Vec<Lane>>,
    /// Bytes given to nodes that they have not finished, of all sessions.
    pub(super) in_flight: Cell<u64>,
    /// When the batch began, and messages since the clock was read.
    pub(super) began: Cell<Instant>,
    pub(super) unclocked: Cell<u32>,
    pub(super) stopping: Cell<bool>,
    /// It stops, and nothing new goes to nodes.
    pub(super) refusing: Cell<bool>,
    /// Most messages of one session a second; 0 is no limit.
    pub(super) rate_max: Cell<u32>,
    /// Lives of instances that ended, and losses of the locator's events: what makes every answer of
    /// the locator that is still on its way outdated.
    pub(super) upheavals: Cell<u64>,
    /// What the log was told, and when.
    pub(super) said: RefCell<Said>,
    pub(super) doors_said: Cell<Option<Instant>>,
    /// Users whose logins are under way here, and what other gates have claimed meanwhile.
    pub(super) claims: RefCell<Claims>,
    /// A connection has ended: the acceptor wants to know how many are left.
    pub(super) left: Notify,
    /// News of places was lost: every user is to be asked about.
    pub(super) recheck: Notify,
}

/// Faults of the stores that repeat with every user.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) find: Calm,
    pub(super) claim: Calm,
    pub(super) release: Calm,
    pub(super) events: Calm,
}

impl Faults {
    /// Tells of a fault that may have been there before.
    pub(super) fn tell(calm: &Calm, now: Instant, error: &(dyn Error + 'static), what: &str) {
        if let Some(untold) = calm.tells(now) {
            let untold = (untold > 0).then_some(untold);
            tracing::warn!(error, untold, "{what}");
        }
    }
}

/// A lane to a node that is full.
pub(super) struct Lane {
    link: LinkId,
    /// Sessions that are not read until it has room, and then in this order.
    pub(super) conns: Line,
    /// Events that go first: a node must hear of every end.
    events: VecDeque<Happened>,
}

/// An event of a connection.
type Happened = (Event, ConnId, Option<UserId>);

/// What the driver and the links call.
pub(super) struct Front(pub(super) Rc<Hall>);

impl Hall {
    pub(super) fn id(&self) -> &InstanceId {
        &self.me.instance
    }

    /// Takes over a client's socket.
    pub(super) fn accept(
        &self,
        socket: Socket,
        peer: std::net::SocketAddr,
        place: (u16, Option<Permit>),
    ) {
        let (listener, permit) = place;
        let Some(listen) = self.plan.listens.get(usize::from(listener)) else { return };
        self.arrived(listener);
        let now = self.env.clock.now();
        let socket = listen.secure.accept(socket, now.mono);
        let machine = ServerConn::new(Arc::clone(&listen.settings), now);
        let transport = listen.transport(now, peer);
        let session = Session::new(peer, listener, permit, now.mono);
        self.driver.accept(socket, transport, machine, session);
    }

    /// Counts a connection that this instance has to serve, or at least to end.
    pub(super) fn arrived(&self, listener: u16) {
        bump(&self.stats.accepted);
        self.routes.accepted.get(usize::from(listener)).into_iter().for_each(bump);
    }

    /// The nodes have changed: a new table, with the links that are known.
    pub(super) fn set_nodes(&self, nodes: &Snapshot) {
        // First, so that every node of the new table can be dialled.
        self.links.set_peers(Kind::Node, nodes);
        let table = Table::new(nodes, &self.routes);
        if table.conflicts > 0 {
            tracing::warn!(
                conflicts = table.conflicts,
                "several node names declare the same routes; the first in the order of ids serves them"
            );
        }
        if !table.members().is_empty() {
            self.said.borrow_mut().found_nodes();
        }
        let old = self.table.replace(Rc::new(table));
        let new = Rc::clone(&self.table.borrow());
        for member in new.members() {
            let known = old.members().iter().find(|known| known.id == member.id);
            member.link.set(known.and_then(|known| known.link.get()));
            member.up.set(known.is_none_or(|known| known.up.get()));
        }
    }

    /// Notes which nodes are likely to take a message now, and dials those that are not linked any more,
    /// so that no client's message has to find out.
    pub(super) fn look_at_nodes(&self) {
        let table = Rc::clone(&self.table.borrow());
        for member in table.members() {
            match member.link.get() {
                Some(link) => member.up.set(self.links.is_up(link)),
                None if !member.up.get() => drop(self.link(member)),
                None => {}
            }
        }
    }

    /// Sends an event of a connection to every node that wants it, in order with its messages.
    pub(super) fn trigger(self: &Rc<Self>, event: Event, conn: ConnId, user: Option<UserId>) {
        let table = Rc::clone(&self.table.borrow());
        let mut told = false;
        for member in table.members().iter().filter(|member| member.events.contains(&event)) {
            told = true;
            let sent = self.link(member).map(|link| self.tell_node(link, (event, conn, user)));
            if sent != Some(true) {
                bump(&self.stats.events_lost);
            }
        }
        if !told {
            bump(&self.stats.events_unwanted);
        }
        self.links.flush();
    }

    /// Sends an event, now or as soon as the lane has room. False if it is lost.
    fn tell_node(self: &Rc<Self>, link: LinkId, happened: Happened) -> bool {
        if !self.owes_events(link) {
            match self.send_event(link, happened) {
                Err(Unsent::Full) => {}
                sent => return sent.is_ok(),
            }
        }
        self.at_lane(link, |lane| {
            let room = lane.events.len() < EVENTS_MAX;
            lane.events.extend(room.then_some(happened));
            room
        })
    }

    fn send_event(&self, link: LinkId, (event, conn, user): Happened) -> Result<(), Unsent> {
        let command = Command::Trigger { event, conn, user };
        self.links.send(link, Frame::Request { seq: 0, command })
    }

    /// Whether events wait for this lane.
    pub(super) fn owes_events(&self, link: LinkId) -> bool {
        let owes = |lane: &Lane| lane.link == link && !lane.events.is_empty();
        self.lanes.borrow().iter().any(owes)
    }

    /// Notes what waits for a full lane.
    pub(super) fn at_lane<T>(self: &Rc<Self>, link: LinkId, f: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lanes = self.lanes.borrow_mut();
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.link == link) {
            return f(lane);
        }
        let mut lane = Lane { link, conns: Line::default(), events: VecDeque::new() };
        let result = f(&mut lane);
        lanes.push(lane);
        let this = Rc::clone(self);
        self.env.spawn.local(async move { this.serve_lane(link).await });
        result
    }

    /// Waits for room, sends the events, then has the sessions read again.
    async fn serve_lane(&self, link: LinkId) {
        loop {
            self.links.room(link).await;
            if self.settle_events(link) {
                break;
            }
        }
        let mut lanes = self.lanes.borrow_mut();
        let at = lanes.iter().position(|lane| lane.link == link);
        let conns = at.map(|at| lanes.swap_remove(at).conns.into_order());
        drop(lanes);
        conns.into_iter().flatten().for_each(|conn| self.go_on(conn));
    }

    /// Sends the events that wait for a lane. False if it is full again.
    fn settle_events(&self, link: LinkId) -> bool {
        loop {
            let next = |lanes: &mut Vec<Lane>| {
                lanes.iter_mut().find(|lane| lane.link == link)?.events.pop_front()
            };
            let Some(happened) = next(&mut self.lanes.borrow_mut()) else { break };
            match self.send_event(link, happened) {
                Ok(()) => {}
                Err(Unsent::Full) => {
                    let mut lanes = self.lanes.borrow_mut();
                    let lane = lanes.iter_mut().find(|lane| lane.link == link);
                    lane.into_iter().for_each(|lane| lane.events.push_front(happened));
                    drop(lanes);
                    self.links.flush();
                    return false;
                }
                Err(_) => bump(&self.stats.events_lost),
            }
        }
        self.links.flush();
        true
    }

    /// The link to a node, dialled at its first use.
    pub(super) fn link(&self, member: &super::table::Member) -> Option<LinkId> {
        if let Some(link) = member.link.get() {
            return Some(link);
        }
        let link = self.links.link(&member.id).ok()?;
        member.link.set(Some(link));
        Some(link)
    }

    /// A peer is gone: what it had in flight will not be finished.
    pub(super) fn lose(&self, link: LinkId) {
        let table = Rc::clone(&self.table.borrow());
        for member in table.members().iter().filter(|member| member.link.get() == Some(link)) {
            member.link.set(None);
            member.up.set(false);
        }
        self.in_flight.set(0);
        for conn in self.driver.ids() {
            // Bytes are not kept per node; a count that is too small for a moment harms nobody.
            let waits = self.driver.with(conn, |_, _, session| {
                session.in_flight = 0;
                let waits = matches!(session.wait, Wait::Room(_));
                if !matches!(session.wait, Wait::Answer | Wait::Again) {
                    session.wait = Wait::No;
                }
                waits
            });
            if waits == Some(true) {
                self.driver.resume(conn);
            }
        }
    }

    /// What a session waits for may have come. One whose messages have come back goes on when those are on
    /// their way, and by nothing else.
    pub(super) fn go_on(&self, conn: ConnId) {
        let waits = self.driver.with(conn, |_, _, session| match session.wait {
            Wait::No | Wait::Again => false,
            Wait::Shedding => true,
            Wait::Room(_) | Wait::Answer => {
                session.wait = Wait::No;
                true
            }
        });
        if waits == Some(true) {
            self.driver.resume(conn);
        }
    }

    /// Sessions that have waited too long are read again, and what is too much is refused.
    pub(super) fn shed(&self, now: Now) {
        let waiting = self.waiting.take();
        let mut still = BTreeSet::new();
        for conn in waiting {
            let waited = self.driver.with(conn, |_, _, session| {
                let waits = matches!(session.wait, Wait::Room(_));
                let late = session.waited(now.mono) >= WAIT_MAX;
                if late {
                    session.wait = Wait::Shedding;
                }
                (waits, late)
            });
            match waited {
                Some((true, true)) => self.driver.resume(conn),
                Some((true, false)) => drop(still.insert(conn)),
                Some((false, _)) | None => {}
            }
        }
        self.waiting.borrow_mut().extend(still);
    }

    /// Follows the nodes of the cluster.
    pub(super) async fn follow_nodes(&self, mut nodes: Watch<Snapshot>) {
        loop {
            self.set_nodes(&nodes.current());
            if !nodes.changed().await {
                return;
            }
        }
    }

    /// Answers those who look at the gate from outside.
    pub(super) async fn answer_all(&self, mut inbox: mpsc::Receiver<Ask>) {
        while let Some(ask) = inbox.recv().await {
            ask.answer(self).await;
        }
    }

    /// Stores the state and tells the cluster. False if the gate stops: then it stays hanging.
    pub(super) fn set_state(&self, state: State) -> bool {
        if self.stopping.get() {
            return false;
        }
        self.record.borrow_mut().state = state;
        self.wanted.change(|record| record.state = state);
        true
    }

    /// Forgets which nodes users are bound to.
    pub(super) fn forget_nodes(&self, instance: Option<&InstanceId>) {
        for conn in self.driver.ids() {
            self.driver.with(conn, |_, _, session| {
                if let Some(login) = &mut session.login {
                    login.nodes.retain(|(_, bound)| match (bound, instance) {
                        (Bound::To(id), Some(gone)) => id != gone,
                        _ => false,
                    });
                }
            });
        }
    }
}

impl super::plan::Listen {
    fn transport(&self, now: Now, peer: std::net::SocketAddr) -> Transport {
        match &self.transport {
            super::plan::Kind::Tcp => {
                let _a_stream_has_no_handshake = (now, peer);
                Transport::Stream
            }
            #[cfg(feature = "ws")]
            super::plan::Kind::Ws(options) => {
                let link = yumen_net::ws::Link::server(options, now.mono).from_peer(peer.ip());
                Transport::Ws(Box::new(link))
            }
        }
    }
}
