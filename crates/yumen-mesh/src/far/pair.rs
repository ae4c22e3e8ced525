//! A link to one of our instances in another process: its two lanes, and what waits for them.
//!
//! Frames are queued whole, one queue for each lane, and handed to the connection when a batch ends
//! and as far as the peer has room. It decides nothing about dials; `far` and `accept` do.

use super::{Far, stats::Reason};
use crate::{
    links::{LANE_MAX, LinkId, Unsent},
    near::is_control,
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    mem,
    rc::Rc,
    task::{Poll, Waker},
    time::Instant,
};
use tokio::sync::Notify;
use yumen_proto::{
    id::{ConnId, InstanceId},
    link::{Frame, Lane, LinkError},
};

/// Largest buffer kept while it is empty, in bytes; a burst may have needed more.
const SPARE_MAX: usize = 256 * 1024;
/// Length of the field in front of a frame that says how long it is.
const SIZE_LEN: usize = 4;

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
    queue: RefCell<Vec<u8>>,
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
    /// What the data lane may carry before the peer gives room back, as of the last look.
    room: Cell<i64>,
    pub(super) opened: Cell<Option<Instant>>,
    /// Since when one of its connections has ended, or the peer is leaving.
    pub(super) ending: Cell<Option<Instant>>,
    /// When frames were last exchanged.
    pub(super) used: Cell<Instant>,
    /// Connections of the peer's next dial, which have to wait until the old ones have ended.
    pub(super) late: RefCell<Vec<ConnId>>,
    waiters: RefCell<Vec<Waker>>,
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
            room: Cell::new(0),
            opened: Cell::new(None),
            ending: Cell::new(None),
            used: Cell::new(now),
            late: RefCell::default(),
            waiters: RefCell::default(),
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
        self.room.set(0);
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
        if self.is_full(control, queue.len(), len) {
            return Err(Unsent::Full);
        }
        frame.encode(&mut queue)?;
        self.far.stats.frame();
        Ok(())
    }

    /// Whether a lane with so many bytes in its queue can take no more. Never when nothing is queued
    /// and there is any room at all, so that a large frame does not wait for ever.
    fn is_full(&self, control: bool, queued: usize, len: usize) -> bool {
        let over = |before: usize| before > 0 && before.saturating_add(len) > LANE_MAX;
        if self.stage() != Stage::Open {
            return over(queued);
        }
        if control {
            let conn = self.control.conn.get();
            let backlog = conn.and_then(|conn| self.far.driver.backlog(conn)).unwrap_or(0);
            return over(queued.saturating_add(backlog));
        }
        let wide = i64::try_from(queued).unwrap_or(i64::MAX);
        self.room.get() <= wide && self.look_for_room() <= wide
    }

    /// What the data lane may carry now.
    fn look_for_room(&self) -> i64 {
        let conn = self.data.conn.get();
        let room = conn.and_then(|conn| self.far.driver.with(conn, |machine, _, _| machine.room()));
        self.room.set(room.flatten().unwrap_or(i64::MAX));
        self.room.get()
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
            self.look_for_room();
            self.used.set(self.far.driver.now().mono);
        }
        // Of several that were woken the first has queued again, and the others found the queue taken:
        // credits that did not run out since tell nobody.
        if !self.waiters.borrow().is_empty() && self.has_room() {
            self.wake();
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
            let part = within(&queue, machine.room());
            machine.spend(part);
            part
        });
        let Some(bytes) = part.and_then(|part| queue.get(..part)) else { return false };
        let len = bytes.len();
        if len == 0 || !far.driver.append(conn, bytes) {
            return false; // it is closing, and the queue is reported as unsent
        }
        if len < queue.len() {
            queue.drain(..len);
            far.stats.waits_for_credit();
        } else if queue.capacity() > SPARE_MAX {
            *queue = Vec::new();
        } else {
            queue.clear();
        }
        true
    }

    /// The peer has given room back.
    pub(super) fn room_again(&self) {
        self.pump();
        self.far.driver.flush();
        if self.has_room() {
            self.wake();
        }
    }

    fn has_room(&self) -> bool {
        if self.stage() == Stage::Over || self.ending.get().is_some() {
            return true; // there is nothing to wait for
        }
        let queued = self.data.queue.borrow().len();
        if self.stage() == Stage::Open {
            return queued == 0 && self.look_for_room() > 0;
        }
        queued <= LANE_MAX / 2
    }

    /// Resolves when there is room again, or the peer is gone.
    pub(crate) async fn room(self: &Rc<Self>) {
        self.flush();
        if self.has_room() {
            return tokio::task::yield_now().await; // its control lane was full
        }
        poll_fn(|cx| {
            if self.has_room() {
                return Poll::Ready(());
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|known| known.will_wake(cx.waker())) {
                waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub(super) fn wake(&self) {
        self.waiters.take().into_iter().for_each(Waker::wake);
    }

    /// Bytes that wait here, and those that the peer has not given back.
    pub(crate) fn queued(&self) -> usize {
        let waiting = self.data.queue.borrow().len();
        let waiting = waiting.saturating_add(self.control.queue.borrow().len());
        let unsent = |end: &End| end.conn.get().and_then(|conn| self.far.driver.backlog(conn));
        let backlog = unsent(&self.data).unwrap_or(0);
        waiting.saturating_add(backlog).saturating_add(unsent(&self.control).unwrap_or(0))
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
        [&self.control, &self.data].map(|end| mem::take(&mut *end.queue.borrow_mut()))
    }

    /// Takes out what is too large for the peer, which this side learnt when the link was opened.
    pub(super) fn take_oversized(&self) -> Vec<u8> {
        let (max, mut out) = (self.frame_max.get(), Vec::new());
        for end in [&self.control, &self.data] {
            let mut queue = end.queue.borrow_mut();
            let mut at = 0;
            while let Some(len) = queue.get(at..).and_then(frame_len) {
                let next = at.saturating_add(len).min(queue.len());
                if len.saturating_sub(SIZE_LEN) > max {
                    out.extend(queue.drain(at..next));
                } else {
                    at = next;
                }
            }
        }
        out
    }
}

/// Length of the first frame, with its size field.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<SIZE_LEN>()?;
    usize::try_from(u32::from_be_bytes(*prefix)).ok()?.checked_add(SIZE_LEN)
}

/// How much of a queue may be sent: whole frames as long as there is room, so one too many at most.
fn within(queue: &[u8], room: Option<i64>) -> usize {
    let Some(room) = room else { return queue.len() };
    let room = usize::try_from(room).unwrap_or(0);
    if queue.len() <= room {
        return queue.len();
    }
    let mut at = 0_usize;
    while at < room {
        let Some(len) = queue.get(at..).and_then(frame_len) else { break };
        at = at.saturating_add(len);
    }
    at.min(queue.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_taken_while_there_is_room() {
        let frames = [10_u32, 3, 20].map(|size| {
            let mut frame = size.to_be_bytes().to_vec();
            frame.resize(4 + size as usize, 7);
            frame
        });
        let queue = frames.concat();
        for (room, expected) in
            [(-5, 0), (0, 0), (1, 14), (14, 14), (15, 21), (21, 21), (22, 45), (45, 45), (100, 45)]
        {
            assert_eq!(within(&queue, Some(room)), expected, "{room}");
        }
        assert_eq!(within(&queue, None), 45);
    }
}
