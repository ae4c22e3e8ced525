//! From clients to nodes: which node, whether at all, and how much at once.
//!
//! A message that cannot be given to a node is either kept with its session, which is then not read,
//! or refused: counted by reason, and answered with a status where the client understands that.

use super::{
    hall::{Faults, Front, Hall},
    sessions::{Bound, Bucket, Session, Wait},
    stats::bump,
    table::{Member, Route, Table},
};
use std::{rc::Rc, sync::Arc, time::Duration};
use yumen_core::{cluster::Event, locator::Role, status::Code};
use yumen_mesh::Unsent;
use yumen_net::driver::{Service, Turn};
use yumen_proto::{
    conn::{CloseReason, Now, ServerConn, ServerEvent},
    extension::StatusReply,
    id::{ConnId, InstanceId, UserId},
    link::{Command, Frame},
    packet::Data,
};

/// Longest batch of one connection before others get a turn.
const BATCH_MAX: Duration = Duration::from_millis(1);
/// Messages between two looks at the clock.
const CLOCK_EVERY: u32 = 8;

/// Why a message does not go on, and what its sender is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) Code, &'static str);

pub(super) const UNROUTABLE: Refusal = Refusal(Code::UNROUTABLE, "no node serves this route");
const NO_NODES: &str = "no node serves this route: the gate knows no node";
const INTERNAL: Refusal = Refusal(Code::ILLEGAL_REQUEST, "clients may not send this route");
const ANONYMOUS: Refusal = Refusal(Code::UNAUTHORIZED, "this route needs a login");
pub(super) const NOT_BOUND: Refusal =
    Refusal(Code::NOT_BOUND, "the user is bound to no node for this route");
pub(super) const NO_ANSWER: Refusal =
    Refusal(Code::UNAVAILABLE, "where the user is bound cannot be found out");
pub(super) const NO_NODE: Refusal = Refusal(Code::UNAVAILABLE, "no node takes this route now");
pub(super) const NODE_GONE: Refusal = Refusal(Code::UNAVAILABLE, "the node is gone");
const STOPPING: Refusal = Refusal(Code::UNAVAILABLE, "the gate is stopping");
const BUSY: Refusal = Refusal(Code::BUSY, "too much is in flight");
const TOO_FAST: Refusal = Refusal(Code::TOO_MANY_REQUESTS, "too many messages a second");

/// What becomes of a message, as far as its session is concerned.
enum Entry {
    /// It goes to any node that serves the route.
    Any(Option<UserId>),
    /// It goes to this node.
    To(Option<UserId>, InstanceId),
    /// It waits until what is in flight becomes less.
    Wait,
    /// It waits until the locator says where the user is bound.
    Ask(UserId),
    Refused(Refusal),
}

impl Service<ServerConn, Session> for Front {
    fn on_open(&self, conn: ConnId) {
        if !self.0.is_let_in(conn) {
            return;
        }
        self.0.driver.with(conn, |_, _, session| session.open = true);
        self.0.trigger(Event::Connect, conn, None);
    }

    fn on_batch(&self, now: Now) {
        self.0.began.set(now.mono);
        self.0.unclocked.set(0);
    }

    fn on_event(&self, conn: ConnId, event: ServerEvent<'_>) -> Turn {
        let data = match event {
            ServerEvent::Announced => return Turn::Go,
            ServerEvent::Message(data) => data,
            ServerEvent::Nonsense(bytes) => {
                self.0.explain_short(conn, bytes);
                return self.0.turn();
            }
        };
        let table = Rc::clone(&self.0.table.borrow());
        let route = table.route(data.route);
        let forwarded = match route {
            Some(route) => self.0.forward((&table, route), conn, &data),
            None => Err(UNROUTABLE),
        };
        let refusal = match forwarded {
            Ok(Turn::Go) => None,
            Ok(turn) => return turn, // it comes again, and is counted then
            Err(refusal) => Some(refusal),
        };
        let traffic = route.map_or(&self.0.routes.other, |route| &route.traffic);
        traffic.came_in(data.raw.len());
        if let Some(refusal) = refusal {
            self.0.refuse(conn, &data, refusal);
        }
        self.0.turn()
    }

    fn on_malformed(&self, conn: ConnId, bytes: &[u8]) {
        self.0.explain_end(conn, bytes);
    }

    fn on_bad_greeting(&self, conn: ConnId, bytes: &[u8]) {
        self.0.explain_greeting(conn, bytes);
    }

    fn on_batch_end(&self) {
        self.0.links.flush();
    }

    fn on_closed(&self, conn: ConnId, session: Session, reason: CloseReason) {
        self.0.leave(conn, session, reason);
    }

    fn on_sweep(&self, now: Now) {
        self.0.look_at_nodes();
        self.0.shed(now);
        self.0.report_doors(now);
    }
}

impl Hall {
    /// Whether the batch may go on.
    fn turn(&self) -> Turn {
        let unclocked = self.unclocked.get().saturating_add(1);
        self.unclocked.set(unclocked);
        if unclocked.checked_rem(CLOCK_EVERY) != Some(0) {
            return Turn::Go;
        }
        let took = self.env.clock.now().mono.saturating_duration_since(self.began.get());
        if took > BATCH_MAX { Turn::Yield } else { Turn::Go }
    }

    /// Gives a message to its node.
    fn forward(
        self: &Rc<Self>,
        (table, route): (&Table, &Route),
        conn: ConnId,
        data: &Data<'_>,
    ) -> Result<Turn, Refusal> {
        if route.rules.internal {
            return Err(INTERNAL);
        }
        let len = u32::try_from(data.raw.len()).unwrap_or(u32::MAX);
        let entry = self.driver.with(conn, |_, _, session| self.enter(session, route, len));
        let mut bound_to = None;
        let (user, member) = match entry {
            None => return Ok(Turn::Go), // it has just been closed
            Some(Entry::Any(user)) => {
                let how = (self.plan.dispatch, self.env.dice.roll());
                (user, table.pick_for(route, user, how).ok_or(NO_NODE))
            }
            Some(Entry::To(user, id)) => {
                let member = table.bound(route, &id).ok_or(NODE_GONE);
                bound_to = Some(id);
                (user, member)
            }
            Some(Entry::Wait) => return Ok(self.hold(conn)),
            Some(Entry::Ask(user)) => {
                self.locate(conn, user, &route.group);
                return Ok(self.hold(conn));
            }
            Some(Entry::Refused(refusal)) => return Err(refusal),
        };
        self.in_flight.set(self.in_flight.get().saturating_add(u64::from(len)));
        let sent = member.and_then(|member| self.deliver(member, (conn, user), data));
        let sent = match (sent, member) {
            (Err(NODE_GONE), Ok(gone)) => {
                self.deliver_to_another((table, route), gone, (conn, user), data)
            }
            (sent, _) => sent,
        };
        match sent {
            Ok(()) => Ok(Turn::Go),
            Err(refusal) => {
                if let Some(node) = bound_to.filter(|_| refusal.0 == Code::UNAVAILABLE) {
                    // The user may be bound elsewhere by now (W-05).
                    self.came_back(&node, conn, data.raw, false);
                    return Ok(Turn::Go);
                }
                self.take_back(conn, len);
                // A full lane is waited for, unless the session has waited long enough.
                match refusal.0 == Code::BUSY && self.wait_for_lane(conn, member.ok()) {
                    true => Ok(self.hold(conn)),
                    false => Err(refusal),
                }
            }
        }
    }

    /// Looks at a message from its session's side, and reserves its bytes if it goes on.
    fn enter(&self, session: &mut Session, route: &Route, len: u32) -> Entry {
        if self.refusing.get() || session.leaving {
            return Entry::Refused(STOPPING);
        }
        if session.wait == Wait::Again {
            return Entry::Wait; // earlier messages go first
        }
        let user = session.user();
        if user.is_none() && (route.rules.authorized || route.rules.stateful) {
            return Entry::Refused(ANONYMOUS);
        }
        let after = session.in_flight.saturating_add(len);
        if after > self.plan.in_flight_max && session.in_flight > 0 {
            if session.wait == Wait::Shedding {
                return Entry::Refused(BUSY);
            }
            session.wait = Wait::Room(self.began.get());
            return Entry::Wait;
        }
        let target = match user.filter(|_| route.rules.stateful) {
            None => None,
            Some(user) => match session.bound(&route.group) {
                Bound::To(id) => Some(id),
                Bound::Nowhere => return Entry::Refused(NOT_BOUND),
                Bound::Failed => return Entry::Refused(NO_ANSWER),
                Bound::Unknown => {
                    session.wait = Wait::Answer;
                    return Entry::Ask(user);
                }
            },
        };
        // Last, so that a message that waits is counted once.
        let rate = self.rate_max.get();
        if rate > 0 {
            let now = self.began.get();
            let more = session.more.get_or_insert_default();
            if !more.rate.get_or_insert_with(|| Bucket::full(rate, now)).take(rate, now) {
                return Entry::Refused(TOO_FAST);
            }
        }
        session.in_flight = after;
        session.routed = true;
        match target {
            None => Entry::Any(user),
            Some(id) => {
                session.goes_to(&route.group, &id);
                Entry::To(user, id)
            }
        }
    }

    pub(super) fn deliver(
        &self,
        member: &Member,
        (conn, user): (ConnId, Option<UserId>),
        data: &Data<'_>,
    ) -> Result<(), Refusal> {
        let link = self.link(member).ok_or(NODE_GONE)?;
        if self.owes_events(link) {
            return Err(BUSY); // an event of this very connection may be among them
        }
        let command = Command::Deliver { conn, user, packet: data.raw };
        match self.links.send(link, Frame::Request { seq: 0, command }) {
            Ok(()) => Ok(()),
            Err(Unsent::Full) => Err(BUSY),
            Err(_) => {
                member.link.set(None);
                Err(NODE_GONE)
            }
        }
    }

    /// The node that was picked cannot be reached, and has not seen the message: another one may have it,
    /// if it is one that any may serve.
    #[cold]
    fn deliver_to_another(
        &self,
        (table, route): (&Table, &Route),
        gone: &Member,
        from: (ConnId, Option<UserId>),
        data: &Data<'_>,
    ) -> Result<(), Refusal> {
        let mut sent = Err(NODE_GONE);
        for other in table.others(route, gone) {
            sent = self.deliver(other, from, data);
            if sent != Err(NODE_GONE) {
                break;
            }
        }
        sent
    }

    /// The session is not read until [`Hall::go_on`].
    fn hold(&self, conn: ConnId) -> Turn {
        bump(&self.stats.held);
        self.waiting.borrow_mut().insert(conn);
        Turn::Hold
    }

    /// Has the session wait for a full lane. False if it has waited long enough.
    fn wait_for_lane(self: &Rc<Self>, conn: ConnId, member: Option<&Member>) -> bool {
        let Some(link) = member.and_then(|member| member.link.get()) else { return false };
        let waits = self.driver.with(conn, |_, _, session| {
            let waits = session.wait != Wait::Shedding;
            if waits {
                session.wait = Wait::Room(self.began.get());
                let rate = session.more.as_mut().and_then(|more| more.rate.as_mut());
                rate.into_iter().for_each(Bucket::give_back);
            }
            waits
        });
        if waits != Some(true) {
            return false;
        }
        self.at_lane(link, |lane| lane.conns.join(conn));
        true
    }

    /// A message did not go on after all. Unlike what a node has finished, this is no progress: a
    /// session that has waited too long for a full lane is still one.
    pub(super) fn take_back(&self, conn: ConnId, bytes: u32) {
        self.driver.with(conn, |_, _, session| {
            session.in_flight = session.in_flight.saturating_sub(bytes);
        });
        self.in_flight.set(self.in_flight.get().saturating_sub(u64::from(bytes)));
    }

    /// A node has finished so many bytes of a session's messages.
    pub(super) fn consume(&self, conn: ConnId, bytes: u32) {
        if self.consumed(conn, bytes) {
            self.go_on(conn);
        }
    }

    /// So many bytes of a session are no longer in flight. True if it waits and has room again.
    fn consumed(&self, conn: ConnId, bytes: u32) -> bool {
        let low = self.plan.in_flight_max / 2;
        let room = self.driver.with(conn, |_, _, session| {
            session.in_flight = session.in_flight.saturating_sub(bytes);
            let room = session.in_flight <= low;
            match session.wait {
                Wait::Shedding if room => session.wait = Wait::No,
                // Progress, though not enough yet: it may wait on.
                Wait::Room(_) if !room => session.wait = Wait::Room(self.driver.now().mono),
                Wait::No | Wait::Answer | Wait::Again | Wait::Room(_) | Wait::Shedding => {}
            }
            room && matches!(session.wait, Wait::Room(_))
        });
        if room.is_some() {
            self.in_flight.set(self.in_flight.get().saturating_sub(u64::from(bytes)));
        }
        room.unwrap_or(false)
    }

    /// Counts a message that does not go on, and tells its sender.
    pub(super) fn refuse(&self, conn: ConnId, data: &Data<'_>, Refusal(code, text): Refusal) {
        bump(self.stats.dropped(code));
        if code == Code::UNROUTABLE {
            let text = if self.has_no_nodes(data.route) { NO_NODES } else { text };
            return self.tell_unroutable(conn, data, text);
        }
        let outcome = code.usual_outcome();
        let retry_after_ms = if code == Code::BUSY { 1000 } else { 0 };
        let reply = StatusReply { code: code.0, outcome, retry_after_ms, text };
        self.tell(conn, (data.route, data.seq), &reply);
    }

    /// Answers a request with a status, if its sender understands that.
    pub(super) fn tell(
        &self,
        conn: ConnId,
        (route, seq): (yumen_proto::id::RouteId, i32),
        reply: &StatusReply<'_>,
    ) {
        let told = self.driver.with(conn, |machine, out, _| machine.status(route, seq, reply, out));
        bump(if told == Some(true) { &self.stats.statuses } else { &self.stats.statuses_unsent });
    }

    /// Asks the locator where the user is bound, then reads the session again.
    fn locate(self: &Rc<Self>, conn: ConnId, user: UserId, group: &Arc<str>) {
        let (this, group) = (Rc::clone(self), Arc::clone(group));
        self.env.spawn.local(async move {
            let bound = this.find_node(conn, user, &group).await;
            this.driver.with(conn, |_, _, session| {
                if session.user() == Some(user) {
                    session.set_bound(&group, bound);
                }
            });
            this.go_on(conn);
        });
    }

    /// What would make an answer about this user's node outdated: its own moves, and losses of whole
    /// instances or of events. Moves of others do not, or nobody would get through a rush of logins.
    fn moves_of(&self, conn: ConnId) -> (u64, u32) {
        let moves = |session: &mut Session| session.login.as_ref().map_or(0, |login| login.moves);
        let own = self.driver.with(conn, |_, _, session| moves(session));
        (self.upheavals.get(), own.unwrap_or(0))
    }

    pub(super) async fn find_node(&self, conn: ConnId, user: UserId, group: &Arc<str>) -> Bound {
        for _ in 0..3 {
            let moves = self.moves_of(conn);
            let (locator, role) = (Arc::clone(&self.locator), Role::Node(Arc::clone(group)));
            let found = self.backend.run(async move { locator.find(user, &role).await }).await;
            match found {
                Ok(Ok(_)) if moves != self.moves_of(conn) => {} // overtaken
                Ok(Ok(Some(located))) => return Bound::To(located.place.instance),
                Ok(Ok(None)) => return Bound::Nowhere,
                Ok(Err(error)) => {
                    let (calm, now) = (&self.faults.find, self.env.clock.now().mono);
                    Faults::tell(calm, now, &error, "users' nodes could not be found out");
                    return Bound::Failed;
                }
                Err(_) => return Bound::Failed,
            }
        }
        Bound::Failed
    }
}
