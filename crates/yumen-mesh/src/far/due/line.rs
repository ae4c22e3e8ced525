//! One of the connections to one of due's that this side dials: what waits for it, and how it is
//! opened again whenever it breaks.
//!
//! One task for each, as long as the link is dialled. It gives up only when none of the connections
//! can be opened.

use super::{CloseReason, Conn, ConnId, Due, Far, Reason, Transport, Whose, mem};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};
use tokio::sync::Notify;
use yumen_net::socket::Socket;
use yumen_proto::{
    conn::Out,
    link::{Lane, LinkConn, LinkMark, LinkTarget},
};

/// Pauses between two attempts: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Largest buffer kept while it is empty, in bytes.
const SPARE_MAX: usize = 256 * 1024;
/// Length of a frame's size field, and where its sequence number stands.
const SIZE_LEN: usize = 4;
const SEQ_AT: std::ops::Range<usize> = 6..14;

/// One connection, or none.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) conn: Cell<Option<ConnId>>,
    /// Its handshake was answered.
    up: Cell<bool>,
    /// Attempts that failed since it was last up.
    failed: Cell<u32>,
    /// Whole frames that were not written yet.
    pub(super) queue: RefCell<Vec<u8>>,
    /// Calls that were written and not answered.
    pub(super) asked: RefCell<BTreeSet<u64>>,
    ended: Cell<Option<Reason>>,
    changed: Notify,
}

impl Line {
    /// Bytes that wait here, or that the socket has not accepted.
    pub(super) fn holds(&self, far: &Far) -> usize {
        let backlog = self.conn.get().and_then(|conn| far.driver.backlog(conn)).unwrap_or(0);
        self.queue.borrow().len().saturating_add(backlog)
    }

    /// Hands what is queued to the connection.
    pub(super) fn pump(&self, far: &Far) {
        let Some(conn) = self.conn.get().filter(|_| self.up.get()) else { return };
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() || !far.driver.append(conn, &queue) {
            return;
        }
        self.asked.borrow_mut().extend(calls(&queue));
        if queue.capacity() > SPARE_MAX {
            *queue = Vec::new();
        } else {
            queue.clear();
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.get()
    }

    pub(super) fn came_up(&self) {
        self.up.set(true);
        self.failed.set(0);
    }

    /// It has ended. The calls that nobody will answer.
    pub(super) fn broke(&self, reason: Reason) -> BTreeSet<u64> {
        self.conn.set(None);
        self.ended.set(Some(reason));
        self.changed.notify_one();
        mem::take(&mut *self.asked.borrow_mut())
    }

    /// It is not wanted any more. What it had queued.
    pub(super) fn end(&self) -> Vec<u8> {
        self.up.set(false);
        self.failed.set(0);
        self.asked.take();
        self.changed.notify_one();
        self.queue.take()
    }

    fn count_failure(&self) -> u32 {
        self.failed.set(self.failed.get().saturating_add(1));
        self.failed.get()
    }

    /// Whether it cannot be opened.
    fn is_hopeless(&self, tries: u32) -> bool {
        !self.up.get() && self.failed.get() >= tries
    }
}

/// The sequence numbers of the calls among some whole frames.
fn calls(mut frames: &[u8]) -> impl Iterator<Item = u64> + '_ {
    std::iter::from_fn(move || {
        let size = usize::try_from(u32::from_be_bytes(*frames.first_chunk::<SIZE_LEN>()?)).ok()?;
        let (frame, rest) = frames.split_at_checked(size.checked_add(SIZE_LEN)?)?;
        frames = rest;
        let seq = frame.get(SEQ_AT)?.first_chunk::<8>()?;
        Some(u64::from_be_bytes(*seq))
    })
    .filter(|seq| *seq != 0)
}

impl Far {
    /// Opens all connections, and keeps them open.
    pub(super) fn dial_due(self: &Rc<Self>, due: &Rc<Due>) {
        let dial = due.dial.get().saturating_add(1) | 1;
        due.dial.set(dial);
        for index in 0..due.lines.len() {
            let (this, due) = (Rc::clone(self), Rc::clone(due));
            self.env.spawn.local(async move { this.keep_line(&due, dial, index).await });
        }
    }

    async fn keep_line(self: &Rc<Self>, due: &Rc<Due>, dial: u64, index: usize) {
        let Some(line) = due.lines.get(index) else { return };
        let tries = self.tuning.dial_tries.max(1);
        let mut pause = PAUSE_MIN;
        loop {
            self.stats.dialled();
            let began = self.now().mono;
            let reason = self.open_line(due, dial, (index, line)).await;
            if due.dial.get() != dial {
                return;
            }
            if line.up.replace(false) {
                if !due.is_up() {
                    self.broke(&due.peer);
                }
                // One that ends at once, again and again, is dialled as rarely as one that refuses.
                if self.now().mono.saturating_duration_since(began) >= PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            } else {
                self.dial_failed(reason, &due.peer);
                line.count_failure();
                if due.lines.iter().all(|line| line.is_hopeless(tries)) {
                    return self.due_unreachable(due);
                }
            }
            self.env.clock.sleep(self.env.dice.jitter(pause)).await;
            if due.dial.get() != dial {
                return;
            }
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Opens a connection and waits for its end. Why it ended, or could not be opened.
    async fn open_line(
        self: &Rc<Self>,
        due: &Rc<Due>,
        dial: u64,
        (index, line): (usize, &Line),
    ) -> Reason {
        let socket = match self.connect_due(due).await {
            Ok(socket) => socket,
            Err(reason) => return reason,
        };
        if due.dial.get() != dial {
            return Reason::Leaving;
        }
        line.ended.set(None);
        let conn = match self.introduce_to_due(due, index, socket) {
            Ok(conn) => conn,
            Err(reason) => return reason,
        };
        line.conn.set(Some(conn));
        self.driver.flush();
        while due.dial.get() == dial {
            if let Some(reason) = line.ended.take() {
                return reason;
            }
            line.changed.notified().await;
        }
        Reason::Leaving
    }

    async fn connect_due(&self, due: &Due) -> Result<Socket, Reason> {
        let links = self.links.upgrade().ok_or(Reason::Leaving)?;
        let address = links.directory().address(&due.peer).map(str::to_owned);
        drop(links);
        let address = address.ok_or(Reason::Unreachable)?;
        if !self.guard.allows_plain() {
            return Err(Reason::Tls);
        }
        tokio::select! {
            biased;
            socket = self.env.net.dial(&address) => socket.map_err(|_| Reason::Unreachable),
            () = self.env.clock.sleep(self.tuning.dial_max) => Err(Reason::TimedOut),
        }
    }

    /// The first words on a connection.
    fn introduce_to_due(
        self: &Rc<Self>,
        due: &Due,
        line: usize,
        socket: Socket,
    ) -> Result<ConnId, Reason> {
        let mark = LinkMark::default();
        let target = LinkTarget {
            id: due.peer.as_str().into(),
            kind: due.kind,
            ours: false,
            lane: Lane::Data,
            mark,
        };
        let (settings, mut words) = (self.settings.clone(), Out::default());
        let machine = LinkConn::dial(settings, self.now(), target, self.nonce(), &mut words);
        let machine = machine.map_err(|fault| Reason::of(CloseReason::from(fault)))?;
        let whose = Whose::Due { link: due.link, line: Some(line) };
        let conn = Conn { from: None, told: 0, whose };
        let id = self.driver.accept(socket, Transport::Stream, machine, conn);
        self.driver.append(id, words.pending());
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_proto::link::{Command, Flow, Frame};

    #[test]
    fn the_calls_among_some_frames_are_those_with_a_number() {
        let mut frames = Vec::new();
        for seq in [0, 1, 0, u64::MAX, 7] {
            let command = Command::GetState;
            Frame::Request { seq, command }.encode_as(Flow::Requests, &mut frames).unwrap();
        }
        assert_eq!(calls(&frames).collect::<Vec<_>>(), [1, u64::MAX, 7]);
        assert_eq!(calls(&frames[..30]).count(), 1);
    }
}
