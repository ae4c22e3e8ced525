//! The way to the sockets: append, write once per dirty connection, close.
//!
//! What a full socket does not take stays queued; the connection's own waker goes on when there is
//! room, so there is neither a task nor a timer for it.

use super::{
    Driver, HELD_FAIR, Session, count, index,
    read::{broken, not_now},
    waker_of,
};
use crate::socket::Socket;
use std::{
    task::{Context, Poll},
    time::Duration,
};
use yumen_proto::{
    conn::{CloseReason, LastWords, Machine},
    id::ConnId,
};

/// Sessions written before others get a turn: a broadcast must not keep reads and control waiting.
const FLUSH_SLICE: usize = 256;
/// More than this is written at once even inside a batch, which bounds the buffer.
const FLUSH_LEN: usize = 128 * 1024;
/// How long a socket is kept after its last bytes, so that the peer reads them before a reset.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// Most sockets kept for that; the oldest goes first.
const LINGER_MAX: usize = 1024;

impl<M: Machine + 'static, D: 'static> Driver<M, D> {
    /// Queues whole packets for a connection; they are written when the batch ends. False if the
    /// connection is gone, closing, or not open yet.
    pub fn append(&self, id: ConnId, packets: &[u8]) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        let queued = self.session(slot, id, |s| {
            if s.machine.closing().is_some() || !s.transport.is_open() {
                return None;
            }
            if s.out.capacity() == 0 {
                s.out.borrow_from(&mut self.pool.borrow_mut());
            }
            s.out.buffer().extend_from_slice(packets);
            Some((s.out.pending().len(), s.flags.blocked))
        });
        match queued.flatten() {
            None => return false,
            // Try the socket before judging: a batch may be larger than the limit.
            Some((len, false)) if len > FLUSH_LEN => self.flush_one(slot, id),
            Some((_, true)) => self.flush_one(slot, id), // only judges what is queued
            Some((_, false)) => {}
        }
        true
    }

    /// Ends a connection after what is queued has been written. Announced peers get the reason and
    /// `words`. The service is told later, by the hub.
    pub fn close<'a>(&self, id: ConnId, reason: CloseReason, words: impl Into<LastWords<'a>>) {
        let Some(slot) = self.slot(id) else { return };
        let (now, words) = (self.now.get(), words.into());
        let fresh = self.session(slot, id, |s| {
            let fresh = s.machine.closing().is_none();
            if fresh {
                s.machine.close(now, reason, words, &mut s.out);
                self.goodbye(s);
                s.flags.held = false; // so that the end of the stream is seen
            }
            fresh
        });
        if fresh == Some(true) && self.current.get() != Some(id) {
            self.mark(slot);
            self.flush_one(slot, id);
        }
    }

    /// Ends a connection at once. What is queued is offered to the socket one last time.
    pub fn close_now(&self, id: ConnId, reason: CloseReason) {
        let Some(slot) = self.slots.borrow_mut().remove(&id) else { return };
        let Some(mut session) = self.sessions.borrow_mut().try_remove(index(slot)) else { return };
        let reason = session.machine.closing().unwrap_or(reason);
        self.held.set(self.held.get().saturating_sub(index(session.held)));
        if !matches!(reason, CloseReason::Gone | CloseReason::Reset) {
            self.goodbye(&mut session);
            let _last_words = self.write(&mut session);
            self.linger(session.socket);
        }
        self.ended.borrow_mut().push((id, session.data, reason));
        self.ready.wake();
    }

    /// Ends every connection after what is queued for it has been written.
    pub fn close_all(&self, reason: CloseReason, text: &str) {
        for id in self.ids() {
            self.close(id, reason, text);
        }
    }

    /// Writes what was queued since the last call, the newest first: for whoever appended from
    /// outside a batch. Of more than 256 connections housekeeping takes the rest, the oldest first;
    /// so a reply does not queue behind a broadcast, and nothing starves.
    pub fn flush(&self) {
        if self.current.get().is_some() {
            return; // the end of the batch does it
        }
        self.flush_newest();
        if !self.dirty.borrow().is_empty() {
            self.ready.wake();
        }
    }

    pub(super) fn flush_newest(&self) {
        // A broadcast is left to housekeeping, but for what came last; and once only, or every
        // batch would pay for some more of it, and reads would queue behind the whole of it.
        let fresh = self.fresh.take();
        let most = if fresh > FLUSH_SLICE { 16 } else { fresh };
        for _ in 0..most {
            let newest = self.dirty.borrow_mut().pop_back();
            let Some(slot) = newest else { return };
            self.flush_listed(slot);
        }
    }

    pub(super) fn flush_oldest(&self) {
        for _ in 0..FLUSH_SLICE {
            let oldest = self.dirty.borrow_mut().pop_front();
            let Some(slot) = oldest else { return };
            self.flush_listed(slot);
        }
    }

    fn flush_listed(&self, slot: u32) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get_mut(index(slot)) else { return };
        session.flags.listed = false;
        let (id, dirty) = (session.id, session.flags.dirty);
        drop(sessions);
        if dirty {
            self.flush_one(slot, id);
        }
    }

    /// Writes what a connection has queued. If its socket is known to be full, only judges whether
    /// more is queued than may be: what arrives causes answers, and nobody else counts those.
    pub(super) fn flush_one(&self, slot: u32, id: ConnId) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get_mut(index(slot)).filter(|s| s.id == id) else { return };
        let closing = session.machine.closing();
        let end = if session.flags.blocked {
            session.machine.wrote(self.now.get(), 0, session.left()).err()
        } else if std::mem::take(&mut session.flags.dirty) || closing.is_some() {
            let written = self.write(session).err();
            written.or_else(|| closing.filter(|_| session.left() == 0))
        } else {
            None
        };
        let end = end.or_else(|| self.account(session));
        drop(sessions);
        end.into_iter().for_each(|reason| self.close_now(id, reason));
    }

    /// Notes the memory that a connection holds. Some if it uses too much of what all may hold.
    pub(super) fn account(&self, session: &mut Session<M, D>) -> Option<CloseReason> {
        let Session { machine, transport, out, .. } = session;
        let memory = machine.held().saturating_add(transport.held()).saturating_add(out.capacity());
        let kept = machine.held().saturating_add(transport.kept());
        let others = self.held.get().saturating_sub(index(session.held));
        session.held = u32::try_from(memory).unwrap_or(u32::MAX);
        let all = others.saturating_add(index(session.held));
        self.held.set(all);
        // A buffer that is lent is memory, but no fault of whoever it was lent to.
        let left = session.left();
        let too_much = all > self.held_max.get() && left.saturating_add(kept) > HELD_FAIR;
        too_much.then_some(if left > kept { CloseReason::Backlog } else { CloseReason::Limit })
    }

    /// The socket has room again.
    pub(super) fn unblock(&self, slot: u32, id: ConnId) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get_mut(index(slot)).filter(|s| s.id == id) else { return };
        session.flags.blocked = false;
        session.flags.dirty = true;
        drop(sessions);
        self.flush_one(slot, id);
    }

    /// Writes until everything is gone or the socket is full.
    ///
    /// # Errors
    /// Why the connection has to end.
    fn write(&self, session: &mut Session<M, D>) -> Result<(), CloseReason> {
        self.wrap(session);
        let mut accepted = 0usize;
        loop {
            let Session { socket, out, transport, waker, .. } = session;
            let bytes = transport.outgoing().unwrap_or_else(|| out.pending());
            if bytes.is_empty() {
                break;
            }
            count(&self.stats.writes, 1);
            match socket.try_write(bytes) {
                Ok(n) => {
                    count(&self.stats.bytes_out, n);
                    accepted = accepted.saturating_add(n);
                    if let Some(spare) = transport.accepted(n, out) {
                        self.keep_spare(spare);
                    }
                }
                Err(error) if not_now(&error) => {}
                Err(error) => return Err(broken(&error)),
            }
            if !transport.outgoing().unwrap_or_else(|| out.pending()).is_empty() {
                let waker = waker_of(waker);
                match socket.poll_writable(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Err(broken(&error)),
                    Poll::Pending => {
                        session.flags.blocked = true;
                        count(&self.stats.blocked, 1);
                        break;
                    }
                }
            }
        }
        session.machine.wrote(self.now.get(), accepted, session.left())
    }

    fn wrap(&self, session: &mut Session<M, D>) {
        let Session { out, transport, machine, .. } = session;
        let spare = transport.wrap(out, machine, &self.pool);
        spare.into_iter().for_each(|spare| self.keep_spare(spare));
    }

    /// The last the peer hears, behind all that is queued.
    fn goodbye(&self, session: &mut Session<M, D>) {
        self.wrap(session);
        session.transport.goodbye();
    }

    fn linger(&self, mut socket: Socket) {
        if socket.finish().is_err() {
            return;
        }
        let until = self.now.get().mono.checked_add(LINGER);
        let mut lingering = self.lingering.borrow_mut();
        if lingering.len() >= LINGER_MAX {
            lingering.pop_front();
        }
        lingering.extend(until.map(|until| (until, socket)));
    }
}

impl<M, D> Session<M, D> {
    /// Bytes queued that the socket has not accepted.
    pub(super) fn left(&self) -> usize {
        self.out.pending().len().saturating_add(self.transport.pending())
    }
}
