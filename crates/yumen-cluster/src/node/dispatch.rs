//! From a message to its handler and back: poll in place, become a task only when waiting.
//!
//! Nothing is borrowed while user code runs, so a handler may push, bind and spawn from inside the
//! link's read loop. Messages and events of one connection run in order: while a handler waits, later
//! ones are held. A panic ends one message. Every poll is timed, with one clock read: the end of one
//! poll is the start of the next.

use crate::node::{
    census::{Handlers, Observed, Work},
    extract::{Head, Incoming},
    handler::{Started, Waiting},
    hub::Hub,
    line::{Held, LineKey, Lines, Work as Next},
    outbox::Asker,
    packet,
    reply::Answer,
    table::{Entry, Label, Table},
};
use std::{
    cell::Cell,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::{Rc, Weak},
    task::Poll,
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use yumen_core::{
    Code, Outcome, Status,
    cluster::{Event, Kind},
};
use yumen_mesh::{LinkId, Unsent};
use yumen_net::histogram::Histogram;
use yumen_proto::{
    id::ConnId,
    link::{Command, Target},
};

/// Bounds of one instance's dispatch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most bytes held per connection behind a handler that waits.
    pub(crate) held_max: usize,
    /// Most handlers waiting at once.
    pub(crate) waiting_max: usize,
    /// A poll longer than this is slow.
    pub(crate) slow_min: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let slow_min = Duration::from_millis(10);
        Self { held_max: 1024 * 1024, waiting_max: 65_536, slow_min }
    }
}

/// The handlers of one instance.
pub(crate) struct Dispatch<S> {
    hub: Rc<Hub>,
    table: Table<S>,
    state: Rc<S>,
    bounds: Bounds,
    lines: Lines,
    waiting: Cell<usize>,
    idle: Notify,
    mark: Cell<Instant>,
    polls: Histogram,
    /// Messages of routes that have no handler.
    strays: Work,
}

/// What is left to do for a message after its first poll.
enum Rest {
    /// The handler goes on; it began then.
    Waits(Box<dyn Waiting>, Instant),
    /// The reply found its link full.
    Unsent(Vec<u8>),
    /// It has not begun: it must be found out whether its user is bound to this node. Its body.
    Unverified(Box<[u8]>),
}

/// A message or an event that has begun and is not finished.
struct Job {
    label: Label,
    head: Head,
    cost: u32,
    rest: Rest,
}

impl<S: 'static> Dispatch<S> {
    pub(crate) fn new(hub: &Rc<Hub>, table: Table<S>, state: Rc<S>, bounds: Bounds) -> Rc<Self> {
        let this = Rc::new(Self {
            hub: Rc::clone(hub),
            table,
            state,
            bounds,
            lines: Lines::default(),
            waiting: Cell::new(0),
            idle: Notify::new(),
            mark: Cell::new(hub.env.clock.now().mono),
            polls: Histogram::default(),
            strays: Work::default(),
        });
        let handlers: Weak<Self> = Rc::downgrade(&this);
        hub.set_handlers(handlers);
        this
    }

    /// A batch begins: the first message's poll starts at `now`.
    pub(crate) fn begin(&self, now: Instant) {
        self.mark.set(now);
    }

    /// Runs the handler for one message, or holds the message behind an earlier one of its
    /// connection. `cost` is the length of its packet. Gives whether it was let in.
    pub(crate) fn message(self: &Rc<Self>, head: Head, body: &[u8], cost: u32) -> bool {
        self.hub.stats.messages.bump();
        let Some(entry) = self.table.route(head.route) else {
            self.strays.came_in(cost);
            self.hub.stats.unknown_routes.bump();
            let status = Status::new(Code::UNROUTABLE, "no handler for this route");
            return self.turn_away(&head, cost, status);
        };
        entry.work.came_in(cost);
        if let Some(status) = forbidden(entry, &head) {
            self.hub.stats.forbidden.bump();
            return self.turn_away(&head, cost, status);
        }
        if self.waiting.get() >= self.bounds.waiting_max {
            return self.busy(&head, cost, "too many messages are waiting");
        }
        let key = if entry.rules.concurrent { None } else { LineKey::of(&head) };
        if let Some(key) = key {
            match self.lines.hold(key, &head, body, cost, self.bounds.held_max) {
                Held::No => {}
                Held::Yes => return true,
                Held::Full => return self.busy(&head, cost, "earlier messages are waiting"),
            }
        }
        match self.admit(entry, &head, body) {
            None => self.finished(&head, cost),
            Some(rest) => self.park(key, Job { label: entry.label, head, cost, rest }),
        }
        true
    }

    /// A packet that does not parse here: gate and node do not have the same layout.
    #[cold]
    pub(crate) fn malformed(&self, head: Head, cost: u32) -> bool {
        self.hub.stats.malformed.bump();
        self.turn_away(&head, cost, Status::invalid_argument("malformed packet"))
    }

    /// Runs the handler for an event, in order with the messages of its connection (W-42).
    pub(crate) fn event(self: &Rc<Self>, event: Event, head: Head) {
        self.hub.stats.events.bump();
        let Some(key) = LineKey::of(&head) else { return };
        if event == Event::Disconnect {
            self.drop_held(self.lines.empty(key));
        }
        let Some(entry) = self.table.event(event) else { return };
        match self.lines.hold_event(key, &head, event) {
            Held::No => {}
            Held::Yes => return,
            Held::Full => return self.hub.stats.events_dropped.bump(),
        }
        if let Some(rest) = self.start(entry, &head, &[]) {
            self.park(Some(key), Job { label: entry.label, head, cost: 0, rest });
        }
    }

    /// The link is gone: what was held for its connections is dropped; running handlers run on.
    pub(crate) fn lost(&self, link: LinkId) {
        self.drop_held(self.lines.empty_link(link));
    }

    /// Resolves when no handler waits.
    pub(crate) async fn idle(&self) {
        while self.waiting.get() > 0 {
            self.idle.notified().await;
        }
    }

    /// Handlers that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    fn drop_held(&self, count: usize) {
        self.hub.stats.held_dropped.add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn busy(&self, head: &Head, cost: u32, why: &'static str) -> bool {
        self.hub.stats.busy.bump();
        self.turn_away(head, cost, Status::busy(why))
    }

    /// The message is finished before it began.
    fn turn_away(&self, head: &Head, cost: u32, status: Status) -> bool {
        self.hub.refuse(asker(head), status);
        self.finished(head, cost);
        false
    }

    /// The gate may let that much more of the connection through.
    fn finished(&self, head: &Head, cost: u32) {
        if cost > 0 && matches!(self.hub.peer(head.link), Some((Kind::Gate, true))) {
            self.hub.outbox.consumed(head.link, head.conn, cost);
        }
    }

    /// What has begun becomes a task; with a key, later messages of that connection are held.
    fn park(self: &Rc<Self>, key: Option<LineKey>, job: Job) {
        self.waiting.set(self.waiting.get().saturating_add(1));
        if let Some(key) = key {
            self.lines.open(key);
        }
        let this = Rc::clone(self);
        self.hub.env.spawn.local(async move {
            this.serve(key, job).await;
            this.waiting.set(this.waiting.get().saturating_sub(1));
            this.idle.notify_one();
        });
    }

    /// Finishes what has begun, then what is held behind it.
    async fn serve(&self, key: Option<LineKey>, mut job: Job) {
        loop {
            self.finish(job).await;
            let Some(key) = key else { return };
            let Some(next) = self.next(key).await else { return };
            job = next;
        }
    }

    /// Starts what is held, up to the next one that has to wait.
    async fn next(&self, key: LineKey) -> Option<Job> {
        while let Some((head, work)) = self.lines.next(key) {
            let (entry, body, cost) = match &work {
                Next::Message(body, cost) => (self.table.route(head.route), &**body, *cost),
                Next::Event(event) => (self.table.event(*event), [].as_slice(), 0),
            };
            let Some(entry) = entry else { continue };
            self.begin(self.hub.env.clock.now().mono);
            if let Some(rest) = self.admit(entry, &head, body) {
                return Some(Job { label: entry.label, head, cost, rest });
            }
            self.finished(&head, cost);
            // A long line must not keep the instance from everybody else.
            tokio::task::yield_now().await;
        }
        None
    }

    /// First poll, unless the user of a sticky route is not known to be bound here.
    fn admit(&self, entry: &Entry<S>, head: &Head, body: &[u8]) -> Option<Rest> {
        if entry.rules.sticky && !head.user.is_some_and(|user| self.hub.locations.bound.has(user)) {
            return Some(Rest::Unverified(body.into()));
        }
        self.start(entry, head, body)
    }

    /// Finds out where the user is bound. Gives what is left to do if that is here, and whether the
    /// message is this node's to finish.
    async fn verify(&self, label: Label, head: &Head, body: &[u8]) -> (Option<Rest>, bool) {
        let Some((entry, user)) = self.table.entry(label).zip(head.user) else {
            return (None, true);
        };
        let status = match self.hub.locations.find_bound(user).await {
            Ok(Some(node)) if node == self.hub.id => {
                self.begin(self.hub.env.clock.now().mono);
                return (self.start(entry, head, body), true);
            }
            Ok(Some(node)) => match self.hub.pass_on(&node, head, body) {
                Ok(handed_back) => {
                    self.hub.stats.handed_on.bump();
                    return (None, !handed_back);
                }
                Err(status) => status,
            },
            Ok(None) => Status::new(Code::NOT_BOUND, "the user is bound to no node of this name"),
            Err(status) => status,
        };
        self.hub.stats.forbidden.bump();
        self.hub.refuse(asker(head), status);
        (None, true)
    }

    /// First poll, in place. `None` if the message is finished.
    fn start(&self, entry: &Entry<S>, head: &Head, body: &[u8]) -> Option<Rest> {
        let began = self.mark.get();
        let mut reply = self.blank_reply(head);
        let incoming = Incoming { head, state: &self.state, hub: &self.hub };
        let started =
            catch_unwind(AssertUnwindSafe(|| entry.runner.start(&incoming, body, &mut reply)));
        self.timed(entry);
        match started {
            Ok(Started::Done(answer)) => {
                self.answered(entry, began);
                self.answer(entry, head, answer, reply)
            }
            Ok(Started::Waits(waiting)) => {
                self.hub.give_scratch(reply);
                self.hub.stats.waited.bump();
                Some(Rest::Waits(waiting, began))
            }
            Err(_) => {
                self.answered(entry, began);
                self.panicked(entry, head, reply)
            }
        }
    }

    /// Everything after the first poll.
    async fn finish(&self, job: Job) {
        let Job { label, head, cost, rest } = job;
        let (rest, ours) = match rest {
            Rest::Unverified(body) => self.verify(label, &head, &body).await,
            rest @ (Rest::Waits(..) | Rest::Unsent(_)) => (Some(rest), true),
        };
        let unsent = match rest {
            None | Some(Rest::Unverified(_)) => None,
            Some(Rest::Unsent(packet)) => Some(packet),
            Some(Rest::Waits(waiting, began)) => match self.table.entry(label) {
                Some(entry) => self.wait(entry, &head, (waiting, began)).await,
                None => None,
            },
        };
        if let Some(packet) = unsent {
            self.send_later(&head, &packet).await;
        }
        if ours {
            self.finished(&head, cost);
        }
    }

    /// Polls until there is an answer or the time is up. Gives a reply that found its link full.
    async fn wait(
        &self,
        entry: &Entry<S>,
        head: &Head,
        (mut waiting, began): (Box<dyn Waiting>, Instant),
    ) -> Option<Vec<u8>> {
        let answered = poll_fn(|cx| {
            let mut reply = self.blank_reply(head);
            self.begin(self.hub.env.clock.now().mono);
            let polled = catch_unwind(AssertUnwindSafe(|| waiting.poll(cx, &mut reply)));
            self.timed(entry);
            let Ok(polled) = polled else {
                self.answered(entry, began);
                return Poll::Ready(self.panicked(entry, head, reply));
            };
            match polled {
                Poll::Pending => {
                    self.hub.give_scratch(reply);
                    Poll::Pending
                }
                Poll::Ready(answer) => {
                    self.answered(entry, began);
                    Poll::Ready(self.answer(entry, head, answer, reply))
                }
            }
        });
        let rest = match entry.rules.timeout {
            None => answered.await,
            Some(limit) => tokio::select! {
                biased;
                rest = answered => rest,
                () = self.hub.env.clock.sleep(limit) => {
                    self.begin(self.hub.env.clock.now().mono);
                    self.answered(entry, began);
                    self.timed_out(head)
                }
            },
        };
        // What the handler still owns is the user's code too when it is dropped.
        if catch_unwind(AssertUnwindSafe(|| drop(waiting))).is_err() {
            self.hub.stats.panics.bump();
        }
        match rest {
            Some(Rest::Unsent(packet)) => Some(packet),
            Some(Rest::Waits(..) | Rest::Unverified(_)) | None => None,
        }
    }

    fn timed_out(&self, head: &Head) -> Option<Rest> {
        self.hub.stats.timeouts.bump();
        let status = Status::deadline_exceeded("the handler took too long");
        self.hub.refuse(asker(head), status);
        None
    }

    /// A buffer that holds the head of the reply.
    fn blank_reply(&self, head: &Head) -> Vec<u8> {
        let mut reply = self.hub.take_scratch();
        // Route and sequence number came in this layout. Should they not fit, `finish` refuses.
        let _fits = packet::begin(&self.hub.layout, head.route, head.seq, &mut reply);
        reply
    }

    fn answer(
        &self,
        entry: &Entry<S>,
        head: &Head,
        answer: Answer,
        mut reply: Vec<u8>,
    ) -> Option<Rest> {
        let rest = match answer {
            Answer::Nothing => None,
            Answer::Refused(status) => self.refused(entry, head, status),
            Answer::Body => match packet::finish(&self.hub.layout, &mut reply) {
                Ok(()) => self.reply(head, &reply),
                Err(status) => self.refused(entry, head, status.ended(Outcome::Applied)),
            },
        };
        self.hub.give_scratch(reply);
        rest
    }

    fn reply(&self, head: &Head, packet: &[u8]) -> Option<Rest> {
        match self.send_reply(head, packet) {
            Ok(()) => self.hub.stats.replies.bump(),
            Err(Unsent::Full) => {
                self.hub.stats.answers_delayed.bump();
                return Some(Rest::Unsent(packet.to_vec()));
            }
            Err(_) => self.hub.stats.answers_lost.bump(),
        }
        None
    }

    fn send_reply(&self, head: &Head, packet: &[u8]) -> Result<(), Unsent> {
        let command = if head.from_node {
            Command::Deliver { conn: ConnId(0), user: head.user, packet }
        } else {
            Command::Push { target: Target::Conn(head.conn), disconnect: false, packet }
        };
        self.hub.outbox.send(head.link, command)
    }

    /// Waits for room, as a handler would: its connection's later messages stay behind it.
    async fn send_later(&self, head: &Head, packet: &[u8]) {
        loop {
            self.hub.outbox.uplink().room(head.link).await;
            match self.send_reply(head, packet) {
                Ok(()) => return self.hub.stats.replies.bump(),
                Err(Unsent::Full) => {}
                Err(_) => return self.hub.stats.answers_lost.bump(),
            }
        }
    }

    fn refused(&self, entry: &Entry<S>, head: &Head, status: Status) -> Option<Rest> {
        if let Label::Event(_) = entry.label {
            self.hub.stats.events_failed.bump();
            entry.has_failed(self.hub.env.clock.now().mono, head.conn, status);
            return None;
        }
        match status.code() {
            Code::BUSY => self.hub.stats.busy.bump(),
            _ => self.hub.stats.refused.bump(),
        }
        self.hub.refuse(asker(head), status);
        None
    }

    #[cold]
    fn panicked(&self, entry: &Entry<S>, head: &Head, reply: Vec<u8>) -> Option<Rest> {
        self.hub.stats.panics.bump();
        entry.has_failed(self.hub.env.clock.now().mono, head.conn, "it panicked");
        self.hub.refuse(asker(head), Status::internal("the handler failed"));
        self.hub.give_scratch(reply);
        None
    }

    /// A handler has answered at the last mark.
    fn answered(&self, entry: &Entry<S>, began: Instant) {
        entry.work.answered(self.mark.get().saturating_duration_since(began));
    }

    /// A poll has ended: how long since the last mark?
    fn timed(&self, entry: &Entry<S>) {
        let now = self.hub.env.clock.now().mono;
        let took = now.saturating_duration_since(self.mark.replace(now));
        self.polls.record(took);
        if took > self.bounds.slow_min {
            entry.was_slow(now, took, &self.hub.stats);
        }
    }
}

impl<S: 'static> Observed for Dispatch<S> {
    fn observe(&self) -> Handlers {
        let served = self.table.all().map(|entry| (entry.label, entry.work.read()));
        let mut served: Vec<_> = served.collect();
        served.sort_unstable_by_key(|(label, _)| *label);
        if self.table.fallback.is_none() {
            served.push((Label::Fallback, self.strays.read()));
        }
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Handlers {
            served,
            polls: self.polls.read(),
            held: self.lines.held(self.bounds.held_max),
            waiting: wide(self.waiting.get()),
            waiting_max: wide(self.bounds.waiting_max),
        }
    }
}

/// Why the rules of the route refuse the message, if they do.
fn forbidden<S>(entry: &Entry<S>, head: &Head) -> Option<Status> {
    let rules = &entry.rules;
    if rules.internal && !head.from_node {
        return Some(Status::new(Code::ILLEGAL_REQUEST, "the route is internal"));
    }
    if (rules.login || rules.sticky) && head.user.is_none() {
        return Some(Status::unauthorized("not logged in"));
    }
    None
}

fn asker(head: &Head) -> Asker {
    Asker { link: head.link, conn: head.conn, route: head.route, seq: head.seq }
}

#[cfg(test)]
#[cfg(feature = "json")]
#[path = "answer_tests.rs"]
mod answer_tests;
#[cfg(test)]
#[cfg(feature = "json")]
#[path = "dispatch_tests.rs"]
mod tests;
