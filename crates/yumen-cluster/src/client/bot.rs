//! One client: where its connection stands, what it waits for, and what it was told.
//!
//! A plain value that changes when its handle is used or its driver reports something; it has no
//! task. Whoever waits leaves a waker here, and wakers are woken after every borrow has ended.

use super::{
    address::Target,
    calls::{Answer, Calls, Key, Verdict},
    error::{Closed, Notice},
    hub::{Hub, Refused, not_connected},
    inbox::{Event, Inbox, Push},
    reconnect::Retry,
};
use bytes::Bytes;
use smallvec::SmallVec;
use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use yumen_core::status::{Outcome, Status};
use yumen_proto::{
    conn::{ClientConn, ClientEvent, CloseReason},
    id::{ConnId, RouteId},
    packet::Data,
};

/// No connection; the driver's ids begin with 1.
const NONE: ConnId = ConnId(0);

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is being dialled, or its handshake is under way.
    Opening,
    /// It ended before it was open.
    Refused(CloseReason),
    /// Packets flow.
    Open,
    /// It broke, and there will be another.
    Broken,
    /// It ended for good.
    Closed,
}

pub(super) struct Bot {
    pub(super) hub: Rc<Hub>,
    inner: RefCell<Inner>,
}

/// Small, because there is one per client; what few clients need is boxed.
struct Inner {
    conn: ConnId,
    phase: Phase,
    /// The user closed it.
    leaving: bool,
    calls: Calls,
    inbox: Inbox,
    pushes_dropped: u64,
    /// Whoever waits for anything but an answer.
    wakers: SmallVec<[Waker; 1]>,
    notice: Option<Box<Notice>>,
    closed: Option<Box<Closed>>,
    retry: Option<Box<Retry>>,
}

impl Inner {
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.wakers.push(cx.waker().clone());
        }
    }

    /// Ends for good. Returns who is to be woken.
    fn close(&mut self, closed: Box<Closed>) -> SmallVec<[Waker; 1]> {
        self.phase = Phase::Closed;
        self.conn = NONE;
        self.closed = Some(closed);
        self.retry = None;
        std::mem::take(&mut self.wakers)
    }
}

impl Bot {
    pub(super) fn new(hub: &Rc<Hub>, target: &Rc<Target>) -> Rc<Self> {
        let now = hub.driver.now().mono;
        let inner = Inner {
            conn: NONE,
            phase: Phase::Opening,
            leaving: false,
            calls: Calls::default(),
            inbox: Inbox::default(),
            pushes_dropped: 0,
            wakers: SmallVec::new(),
            notice: None,
            closed: None,
            retry: hub.plan.reconnect.map(|_| Box::new(Retry::new(target, now))),
        };
        Rc::new(Self { hub: Rc::clone(hub), inner: RefCell::new(inner) })
    }

    /// The driver has the socket.
    pub(super) fn opening(&self, conn: ConnId) {
        let mut inner = self.inner.borrow_mut();
        inner.phase = Phase::Opening;
        inner.conn = conn;
    }

    /// Resolves once packets may flow, or never will.
    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        let mut inner = self.inner.borrow_mut();
        match inner.phase {
            Phase::Opening => {
                inner.wait(cx);
                Poll::Pending
            }
            Phase::Refused(reason) => Poll::Ready(Err(Refused::Ended(reason))),
            // Even if it has broken since: that is told elsewhere.
            Phase::Open | Phase::Broken | Phase::Closed => Poll::Ready(Ok(())),
        }
    }

    /// It took too long.
    pub(super) fn give_up_opening(&self) {
        let mut inner = self.inner.borrow_mut();
        let conn = std::mem::replace(&mut inner.conn, NONE);
        drop(inner);
        self.hub.driver.close_now(conn, CloseReason::Done);
    }

    /// A try to come back has failed. How long to wait before the next, if there is one.
    pub(super) fn try_again(&self) -> Option<Duration> {
        let mut inner = self.inner.borrow_mut();
        let Hub { plan, env, .. } = &*self.hub;
        let (retry, backoff) = (inner.retry.as_mut()?, plan.reconnect.as_ref()?);
        if let Some(pause) = retry.again(backoff, &env.dice) {
            inner.phase = Phase::Broken;
            return Some(pause);
        }
        let last = retry.last().unwrap_or_else(|| closed(CloseReason::Gone));
        let wakers = inner.close(last);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
        None
    }

    pub(super) fn on_open(&self, conn: ConnId) {
        let mut inner = self.inner.borrow_mut();
        if inner.conn != conn {
            return;
        }
        inner.phase = Phase::Open;
        let now = self.hub.driver.now().mono;
        if inner.retry.as_mut().is_some_and(|retry| retry.opened(now)) {
            inner.inbox.reconnected();
            self.hub.count(|counts| counts.reconnects = counts.reconnects.saturating_add(1));
        }
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn on_event(&self, conn: ConnId, event: ClientEvent<'_>) {
        if self.inner.borrow().conn != conn {
            return;
        }
        match event {
            ClientEvent::Message(data) => self.on_message(&data),
            ClientEvent::Status { route, seq, reply } => {
                if !self.on_answer((route, seq), || Err(Status::from(reply))) {
                    // A refusal that nobody waits for any longer.
                    self.hub.count_late();
                }
            }
            ClientEvent::Announced(_) => {} // The machine knows.
            ClientEvent::Nonsense(bytes) => self.puzzle(bytes),
            ClientEvent::Closing(notice) => {
                self.inner.borrow_mut().notice = Some(Box::new(notice.into()));
            }
        }
    }

    fn on_message(&self, data: &Data<'_>) {
        let body = || Bytes::copy_from_slice(data.body);
        if data.seq != 0 {
            if self.on_answer((data.route, data.seq), || Ok(body())) {
                return;
            }
            self.puzzle(data.raw); // an answer that nobody asked for
        }
        let push = Push { route: data.route, seq: data.seq, body: body() };
        let mut inner = self.inner.borrow_mut();
        let dropped = inner.inbox.add(push, self.hub.plan.pushes_max);
        inner.pushes_dropped = inner.pushes_dropped.saturating_add(dropped);
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        if dropped > 0 {
            self.hub.count(|counts| {
                counts.pushes_dropped = counts.pushes_dropped.saturating_add(dropped);
            });
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// What came makes no sense: perhaps it is the answer to a call, in another layout.
    pub(super) fn puzzle(&self, bytes: &[u8]) {
        let inner = self.inner.borrow();
        self.hub.puzzle(bytes, |route| inner.calls.waits_for(route));
    }

    /// False if nobody asked for it.
    fn on_answer(&self, key: Key, answer: impl FnOnce() -> Answer) -> bool {
        let verdict = self.inner.borrow_mut().calls.arrived(key, answer);
        match verdict {
            Verdict::Taken(waker) => waker.into_iter().for_each(Waker::wake),
            Verdict::Late => self.hub.count_late(),
            Verdict::Unasked => return false,
        }
        true
    }

    pub(super) fn on_closed(self: &Rc<Self>, conn: ConnId, reason: CloseReason) {
        let mut inner = self.inner.borrow_mut();
        if inner.conn != conn {
            return;
        }
        inner.conn = NONE;
        if inner.phase == Phase::Opening {
            inner.phase = Phase::Refused(reason);
            let wakers = std::mem::take(&mut inner.wakers);
            drop(inner);
            return wakers.into_iter().for_each(Waker::wake);
        }
        let notice = inner.notice.take().map(|notice| *notice);
        let closed = Closed { reason, notice };
        let callers = inner.calls.end_all(|| broken(&closed));
        let wakers = self.after_break(&mut inner, closed);
        drop(inner);
        callers.into_iter().chain(wakers).for_each(Waker::wake);
    }

    /// Begins to come back, or ends for good. Returns who is to be woken.
    fn after_break(self: &Rc<Self>, inner: &mut Inner, closed: Closed) -> SmallVec<[Waker; 1]> {
        let Hub { plan, env, driver, .. } = &*self.hub;
        let (Some(retry), Some(backoff), false) =
            (&mut inner.retry, &plan.reconnect, inner.leaving)
        else {
            return inner.close(Box::new(closed));
        };
        let Some(pause) = retry.broke(closed.clone(), driver.now().mono, (backoff, &env.dice))
        else {
            return inner.close(Box::new(closed));
        };
        retry.begin(&self.hub, Rc::downgrade(self), pause);
        inner.phase = Phase::Broken;
        SmallVec::new()
    }

    /// Closes the connection after what is queued has been written.
    pub(super) fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.leaving = true;
        let (phase, conn) = (inner.phase, inner.conn);
        if phase == Phase::Open {
            drop(inner);
            return self.hub.driver.close(conn, CloseReason::Done, "");
        }
        if phase == Phase::Closed {
            return;
        }
        inner.retry.iter_mut().for_each(|retry| retry.stop());
        let wakers = inner.close(closed(CloseReason::Done));
        drop(inner);
        self.hub.driver.close_now(conn, CloseReason::Done);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Queues a message that wants no answer.
    pub(super) fn send(&self, route: RouteId, body: &[u8]) -> Result<(), Status> {
        self.hub.post(self.open_conn()?, (route, 0), body)
    }

    /// Queues a request; the ticket is its answer.
    pub(super) fn ask(&self, route: RouteId, body: &[u8]) -> Result<Ticket<'_>, Status> {
        let (conn, seq_max) = (self.open_conn()?, self.hub.seq_max()?);
        let now = self.hub.driver.now().mono;
        let key = self.inner.borrow_mut().calls.begin(route, seq_max, now);
        let Some(key) = key else {
            let full = "every sequence number waits for an answer";
            return Err(Status::busy(full).ended(Outcome::NotSent));
        };
        match self.hub.post(conn, key, body) {
            Ok(()) => Ok(Ticket { bot: self, key, answered: false }),
            Err(status) => {
                self.inner.borrow_mut().calls.forget(key);
                Err(status)
            }
        }
    }

    fn open_conn(&self) -> Result<ConnId, Status> {
        let inner = self.inner.borrow();
        if inner.phase == Phase::Open && !inner.leaving {
            return Ok(inner.conn);
        }
        Err(not_connected())
    }

    /// The next event; `None` once the connection has ended for good.
    pub(super) fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.inner.borrow_mut();
        if let Some(event) = inner.inbox.next() {
            return Poll::Ready(Some(event));
        }
        if inner.phase == Phase::Closed {
            return Poll::Ready(None);
        }
        inner.wait(cx);
        Poll::Pending
    }

    /// The next event, if it has arrived.
    pub(super) fn try_event(&self) -> Option<Event> {
        self.inner.borrow_mut().inbox.next()
    }

    /// Why the connection ended, once it has for good.
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> Poll<Closed> {
        let mut inner = self.inner.borrow_mut();
        if let Some(closed) = &inner.closed {
            return Poll::Ready(Closed::clone(closed));
        }
        inner.wait(cx);
        Poll::Pending
    }

    pub(super) fn closed(&self) -> Option<Closed> {
        self.inner.borrow().closed.as_deref().cloned()
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_conn().is_ok()
    }

    pub(super) fn pushes_dropped(&self) -> u64 {
        self.inner.borrow().pushes_dropped
    }

    /// Looks at the connection's machine; `None` if there is no connection.
    pub(super) fn machine<T>(&self, look: impl FnOnce(&ClientConn) -> T) -> Option<T> {
        let conn = self.inner.borrow().conn;
        self.hub.driver.with(conn, |machine, _, _| look(machine))
    }
}

/// The last handle is gone.
impl Drop for Bot {
    fn drop(&mut self) {
        self.close();
    }
}

/// An end of which the gate said nothing.
fn closed(reason: CloseReason) -> Box<Closed> {
    Box::new(Closed { reason, notice: None })
}

/// What a request ends with when its connection does: nobody can say what became of it.
fn broken(closed: &Closed) -> Status {
    let text = format!("the connection ended before the answer came: {closed}");
    let retry_after = closed.notice.as_ref().and_then(|notice| notice.retry_after);
    Status::unavailable(text).ended(Outcome::Unknown).retry_in(retry_after.unwrap_or_default())
}

/// A request under way. Dropping it gives it up.
pub(super) struct Ticket<'a> {
    bot: &'a Bot,
    key: Key,
    answered: bool,
}

impl Future for Ticket<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = self.bot.inner.borrow_mut().calls.poll(self.key, cx);
        self.answered |= answer.is_ready();
        answer
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let now = self.bot.hub.driver.now().mono;
            self.bot.inner.borrow_mut().calls.give_up(self.key, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bot, ClientConn, Retry};

    #[test]
    fn a_client_is_small() {
        let parts = [size_of::<Bot>(), size_of::<Retry>(), size_of::<ClientConn>()];
        println!("bytes of a client, of what it needs to come back, of its machine: {parts:?}");
        assert!(parts[0] <= 192 && parts[1] <= 48 && parts[2] <= 128, "{parts:?}");
    }
}
