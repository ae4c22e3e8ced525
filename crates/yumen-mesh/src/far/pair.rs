//! A link to one of our instances in another process: its two lanes, and what waits for them.
//!
//! Frames are queued whole, one queue for each lane, and handed to the connection when a batch ends
//! and as far as the peer has room. It decides nothing about dials; `far` and `accept` do.

use super::{
    Far,
    queue::{Queue, SIZE_LEN},
    stats::Reason,
};
use crate::{
    links::{LANE_MAX, LinkId, Unsent},
    near::is_control,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};
use tokio::sync::Notify;
use yumen_proto::{
    id::{ConnId, InstanceId},
    link::{Frame, Lane, LinkError},
};

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not connected, and nothing to send.
    Dormant,
    /// This side dials.
    Dialling,
    /// The peer has dialled, and one of its two connections is still missing.
    Joining,
    /// Both lanes carry frames.
    Open,
    /// Idle: both sides end their connections in peace. What is sent meanwhile waits.
    Parting,
    /// Lost.
    Over,
}

/// What became of an attempt to dial.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Failed(Reason),
    /// The peer's own dial is kept.
    Crossed,
    /// No attempt makes sense any more.
    GiveUp(Reason),
}

/// One lane of a link.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) conn: Cell<Option<ConnId>>,
    /// Both sides keep this connection.
    pub(super) welcome: Cell<bool>,
    queue: RefCell<Queue>,
}

/// A link to one of ours.
pub(crate) struct Pair {
    far: Rc<Far>,
    pub(crate) link: LinkId,
    pub(super) peer: InstanceId,
    stage: Cell<Stage>,
    /// Since when it is in that stage.
    pub(super) since: Cell<Instant>,
    /// Whether this side dialled.
    pub(super) mine: Cell<bool>,
    /// The dial that it is open or being opened by; 0 for none.
    pub(super) dial: Cell<u64>,
    pub(super) their_run: Cell<u64>,
    pub(super) their_life: Cell<u64>,
    frame_max: Cell<usize>,
    pub(super) data: End,
    pub(super) control: End,
    pub(super) opened: Cell<Option<Instant>>,
    /// Since when one of its connections has ended, or the peer is leaving.
    pub(super) ending: Cell<Option<Instant>>,
    /// When frames were last exchanged.
    pub(super) used: Cell<Instant>,
    /// Connections of the peer's next dial, which have to wait until the old ones have ended.
    pub(super) late: RefCell<Vec<ConnId>>,
    /// There is room again, or nothing to wait for.
    emptied: Notify,
    verdict: Cell<Option<Verdict>>,
    /// An attempt has failed already.
    repeated: Cell<bool>,
    /// Nothing has come from the peer for longer than its heartbeats allow.
    pub(super) quiet: Cell<bool>,
    pub(super) changed: Notify,
}

impl Pair {
    pub(super) fn new(far: &Rc<Far>, link: LinkId, peer: InstanceId, now: Instant) -> Self {
        let frame_max = far.settings.frame_max;
        Self {
            far: Rc::clone(far),
            link,
            peer,
            stage: Cell::new(Stage::Dormant),
            since: Cell::new(now),
            mine: Cell::new(true),
            dial: Cell::new(0),
            their_run: Cell::new(0),
            their_life: Cell::new(0),
            frame_max: Cell::new(frame_max),
            data: End::default(),
            control: End::default(),
            opened: Cell::new(None),
            ending: Cell::new(None),
            used: Cell::new(now),
            late: RefCell::default(),
            emptied: Notify::new(),
            verdict: Cell::new(None),
            repeated: Cell::new(false),
            quiet: Cell::new(false),
            changed: Notify::new(),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Whether what is sent now is likely to arrive soon. A link that rests is dialled by sending.
    pub(crate) fn is_up(&self) -> bool {
        match self.stage() {
            Stage::Open => !self.quiet.get(),
            Stage::Dormant | Stage::Parting => true,
            Stage::Dialling | Stage::Joining | Stage::Over => false,
        }
    }

    pub(super) fn lane(&self, lane: Lane) -> &End {
        match lane {
            Lane::Data => &self.data,
            Lane::Control => &self.control,
        }
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.data.queue.borrow().is_empty() && self.control.queue.borrow().is_empty()
    }

    /// Whether the peer is another process than the one that was linked before.
    pub(super) fn is_other(&self, run: u64) -> bool {
        self.their_run.get() != 0 && self.their_run.get() != run
    }

    /// Whether an attempt of this side's is still under way.
    pub(super) fn dials(&self, dial: u64) -> bool {
        self.stage() == Stage::Dialling && self.dial.get() == dial
    }

    fn enter(&self, stage: Stage, now: Instant) {
        self.stage.set(stage);
        self.since.set(now);
        self.changed.notify_one();
    }

    /// This side begins an attempt.
    pub(super) fn begin(&self, dial: u64, now: Instant) {
        self.repeated.set(self.stage() == Stage::Dialling);
        self.mine.set(true);
        self.dial.set(dial);
        self.verdict.set(None);
        self.enter(Stage::Dialling, now);
    }

    pub(super) fn is_repeated(&self) -> bool {
        self.repeated.get()
    }

    /// The first connection of a dial of the peer's has come.
    pub(super) fn join(&self, dial: u64, now: Instant) {
        self.mine.set(false);
        self.dial.set(dial);
        self.enter(Stage::Joining, now);
    }

    /// Both lanes are there.
    pub(super) fn open(&self, frame_max: usize, now: Instant) {
        self.frame_max.set(frame_max);
        self.opened.set(Some(now));
        self.ending.set(None);
        self.quiet.set(false);
        self.used.set(now);
        self.enter(Stage::Open, now);
    }

    /// It is idle, and both sides end it in peace.
    pub(super) fn part(&self, now: Instant) {
        if self.stage() != Stage::Parting {
            self.enter(Stage::Parting, now);
        }
    }

    /// It is not connected, and nothing is lost.
    pub(super) fn rest(&self, now: Instant) {
        self.dial.set(0);
        self.opened.set(None);
        self.ending.set(None);
        self.enter(Stage::Dormant, now);
        self.wake();
    }

    /// From now on nothing can be sent: one connection has ended, or the peer leaves.
    pub(super) fn end_from(&self, now: Instant) {
        if self.ending.get().is_none() {
            self.ending.set(Some(now));
            self.wake();
        }
    }

    pub(super) fn fail(&self, reason: Reason) {
        self.judge(Verdict::Failed(reason));
    }

    pub(super) fn crossed(&self) {
        self.judge(Verdict::Crossed);
    }

    pub(super) fn give_up(&self, reason: Reason) {
        self.judge(Verdict::GiveUp(reason));
    }

    /// The first word counts.
    fn judge(&self, verdict: Verdict) {
        let first = self.verdict.take().unwrap_or(verdict);
        self.verdict.set(Some(first));
        self.changed.notify_one();
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.verdict.get()
    }

    /// Queues a frame.
    pub(crate) fn send(&self, frame: Frame<'_>) -> Result<(), Unsent> {
        if self.stage() == Stage::Over || self.ending.get().is_some() {
            return Err(Unsent::Closed);
        }
        let len = frame.wire_len();
        let (size, max) = (len.saturating_sub(SIZE_LEN), self.frame_max.get());
        if size > max {
            return Err(LinkError::TooLarge { size, max }.into());
        }
        let control = is_control(&frame);
        let end = if control { &self.control } else { &self.data };
        let mut queue = end.queue.borrow_mut();
        if self.is_full(control, queue.len()) {
            return Err(Unsent::Full);
        }
        frame.encode(queue.end())?;
        self.far.stats.frame();
        Ok(())
    }

    /// Whether a lane with so many bytes in its queue can take no more: one frame beyond the bound at
    /// most. What the peer has no room for yet is queued too: one thing that waits in a queue costs less
    /// than one handler, or one session, that waits by itself.
    fn is_full(&self, control: bool, queued: usize) -> bool {
        let backlog = if control { self.backlog(&self.control) } else { 0 };
        queued.saturating_add(backlog) >= LANE_MAX
    }

    /// What was queued is on its way: it is written at the driver's next turn, with what others queue
    /// until then. A write for each of a thousand clients that say something at once would cost more
    /// than all the rest.
    pub(crate) fn flush(self: &Rc<Self>) {
        if self.stage() == Stage::Dormant && !self.is_empty() {
            self.far.dial(self);
        }
        self.pump();
    }

    /// Hands what is queued to the connections, as far as there is room.
    pub(super) fn pump(&self) {
        if self.stage() != Stage::Open {
            return;
        }
        Self::pump_lane(&self.far, &self.control);
        if Self::pump_lane(&self.far, &self.data) {
            self.used.set(self.far.driver.now().mono);
            if self.has_room() {
                self.wake();
            }
        }
    }

    /// Whether anything was handed over.
    fn pump_lane(far: &Far, end: &End) -> bool {
        let Some(conn) = end.conn.get() else { return false };
        let mut queue = end.queue.borrow_mut();
        if queue.is_empty() {
            return false;
        }
        let part = far.driver.with(conn, |machine, _, _| {
            let part = queue.within(machine.room());
            machine.spend(part.len());
            part
        });
        let part = part.unwrap_or_default();
        if part.is_empty() || !far.driver.append(conn, part) {
            return false; // without room, or it is closing, and the queue is reported as unsent
        }
        let len = part.len();
        queue.advance(len);
        if !queue.is_empty() {
            far.stats.waits_for_credit();
        }
        true
    }

    /// The peer has given room back.
    pub(super) fn room_again(&self) {
        self.pump();
        self.far.driver.flush();
    }

    /// Half of the bound, so that a crowd that waits is not woken for each frame.
    fn has_room(&self) -> bool {
        let over = self.stage() == Stage::Over || self.ending.get().is_some();
        over || self.data.queue.borrow().len() <= LANE_MAX / 2
    }

    /// Resolves when there is room again, or the peer is gone.
    pub(crate) async fn room(self: &Rc<Self>) {
        self.flush();
        if self.has_room() {
            return tokio::task::yield_now().await; // its control lane was full
        }
        loop {
            let emptied = self.emptied.notified();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn wake(&self) {
        self.emptied.notify_waiters();
    }

    /// Bytes that wait here, and those that no socket has taken yet.
    pub(crate) fn queued(&self) -> usize {
        let backlog = self.backlog(&self.data);
        self.data.queue.borrow().len().saturating_add(backlog).saturating_add(self.control_queued())
    }

    /// Bytes of the fuller lane, as its bound counts them.
    pub(crate) fn fullest(&self) -> usize {
        self.data.queue.borrow().len().max(self.control_queued())
    }

    fn control_queued(&self) -> usize {
        self.control.queue.borrow().len().saturating_add(self.backlog(&self.control))
    }

    fn backlog(&self, end: &End) -> usize {
        end.conn.get().and_then(|conn| self.far.driver.backlog(conn)).unwrap_or(0)
    }

    /// Sends what is queued as far as possible, and takes leave.
    pub(crate) fn say_goodbye(&self) {
        self.pump();
        for end in [&self.control, &self.data] {
            if let Some(conn) = end.conn.take() {
                self.far.say_goodbye(conn);
            }
        }
    }

    /// Ends it. What could not be sent: of the control lane, and of the data lane.
    pub(crate) fn hang_up(&self) -> [Vec<u8>; 2] {
        self.stage.set(Stage::Over);
        self.far.cut(self);
        self.changed.notify_one();
        self.wake();
        [&self.control, &self.data].map(|end| end.queue.take().into_unsent())
    }

    /// Takes out what is too large for the peer, which this side learnt when the link was opened.
    pub(super) fn take_oversized(&self) -> Vec<u8> {
        let (max, mut out) = (self.frame_max.get(), Vec::new());
        for end in [&self.control, &self.data] {
            end.queue.borrow_mut().take_oversized(max, &mut out);
        }
        out
    }
}
