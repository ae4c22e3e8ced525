//! The way from the sockets: the hub, and one connection's batch.

use super::{Driver, READ_LEN, Service, Turn, count, index, waker_of};
use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use yumen_proto::{
    conn::{CloseReason, HandshakeFault, Machine},
    error::WireError,
    id::ConnId,
};

/// Longest turn of the hub before other tasks of the instance run.
const TURN_MAX: Duration = Duration::from_millis(1);

/// How a connection's batch ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// Everything there was has been read: ask once more, which only registers the waker.
    More,
    /// Nothing to do until something happens.
    Idle,
    /// There is more, but it is somebody else's turn.
    Again,
}

impl<M: Machine + 'static, D: 'static> Driver<M, D> {
    /// Serves ready connections, writes what was queued outside a batch, reports what ended.
    pub(super) async fn hub(self: &Rc<Self>, service: &dyn Service<M, D>) {
        let (mut turn, mut next) = (Vec::new(), 0);
        loop {
            poll_fn(|cx| self.poll_work(cx, &mut turn, next)).await;
            let began = self.env.clock.now();
            self.now.set(began);
            while let Some(slot) = turn.get(next).copied() {
                next = next.saturating_add(1);
                if let Some(first) = self.ready.take_first() {
                    self.serve(first, service);
                }
                self.serve(slot, service);
                let now = self.now.get();
                if now.mono.saturating_duration_since(began.mono) > TURN_MAX {
                    break;
                }
            }
            if next >= turn.len() {
                turn.clear();
                next = 0;
            }
            self.flush_oldest();
            let mut ended = self.ended.take();
            for (conn, data, reason) in ended.drain(..) {
                service.on_closed(conn, data, reason);
            }
            if self.ended.borrow().is_empty() {
                self.ended.replace(ended); // keeps its memory
            }
            // With nothing left, waiting lets the others run; with something left, give way: a peer
            // that sends without a pause would otherwise keep timers and lanes from running.
            if self.has_work(&turn) || self.ready.is_marked() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Resolves when the hub has something to do; `turn[next..]` is what is left of the last turn.
    fn poll_work(&self, cx: &mut Context<'_>, turn: &mut Vec<u32>, next: usize) -> Poll<()> {
        if next < turn.len() {
            return Poll::Ready(()); // what is ready now is taken once these had their turn
        }
        self.ready.take(turn);
        let idle = !self.has_work(turn) && self.ready.park(cx.waker());
        if idle { Poll::Pending } else { Poll::Ready(()) }
    }

    fn has_work(&self, turn: &[u32]) -> bool {
        !turn.is_empty() || !self.dirty.borrow().is_empty() || !self.ended.borrow().is_empty()
    }

    /// One connection's turn.
    fn serve(self: &Rc<Self>, slot: u32, service: &dyn Service<M, D>) {
        let sessions = self.sessions.borrow();
        let Some(session) = sessions.get(index(slot)) else { return };
        let (id, mark, flags) = (session.id, session.waker.clone(), session.flags);
        drop(sessions);
        mark.unmark();
        if flags.blocked {
            self.unblock(slot, id);
        }
        if !flags.open {
            self.open((slot, id), service);
        }
        let waker = waker_of(&mark);
        let mut cx = Context::from_waker(&waker);
        for _ in 0..2 {
            match self.batch((slot, id), &mut cx, service) {
                Batch::Idle => return,
                Batch::More => {}
                Batch::Again => break,
            }
        }
        mark.mark();
    }

    /// Tells the service once that packets may flow.
    fn open(&self, (slot, id): (u32, ConnId), service: &dyn Service<M, D>) {
        let fresh = self.session(slot, id, |s| {
            let fresh = !s.flags.open && s.transport.is_open() && s.socket.is_open();
            s.flags.open |= fresh;
            fresh
        });
        if fresh == Some(true) {
            service.on_open(id);
        }
    }

    /// One read and everything in it.
    fn batch(
        self: &Rc<Self>,
        (slot, id): (u32, ConnId),
        cx: &mut Context<'_>,
        service: &dyn Service<M, D>,
    ) -> Batch {
        // Taken, not borrowed: handlers run below.
        let mut scratch = self.scratch.take();
        let read = self.session(slot, id, |s| {
            if s.flags.held {
                return None;
            }
            let cut_short = std::mem::take(&mut s.flags.cut_short);
            let had = s.machine.tail_len();
            let len = had.saturating_add(READ_LEN);
            if scratch.len() < len {
                scratch.resize(len, 0);
            }
            if cut_short {
                return Some((had, Poll::Ready(Ok(0)), true));
            }
            let space = scratch.get_mut(had..len).unwrap_or_default();
            Some((had, s.socket.poll_read(cx, space), false))
        });
        let batch = match read.flatten() {
            None | Some((_, Poll::Pending, _)) => Batch::Idle,
            Some((had, Poll::Ready(Ok(n)), cut_short)) if n > 0 || cut_short => {
                count(&self.stats.reads, usize::from(n > 0));
                count(&self.stats.bytes_in, n);
                self.handle((slot, id), &mut scratch, (had, n), service)
            }
            Some((_, Poll::Ready(Ok(_)), _)) => {
                self.close_now(id, CloseReason::Gone);
                Batch::Idle
            }
            Some((_, Poll::Ready(Err(error)), _)) => {
                self.close_now(id, broken(&error));
                Batch::Idle
            }
        };
        self.scratch.set(scratch);
        batch
    }

    /// Hands out what lies in `scratch[..had + n]`, then writes what that caused.
    fn handle(
        self: &Rc<Self>,
        (slot, id): (u32, ConnId),
        scratch: &mut [u8],
        (had, n): (usize, usize),
        service: &dyn Service<M, D>,
    ) -> Batch {
        let now = self.env.clock.now();
        self.now.set(now);
        service.on_batch(now);
        self.current.set(Some(id));
        let at_first = self.session(slot, id, |s| (s.transport.is_stream(), s.machine.skipped()));
        let (stream, skipped) = at_first.unwrap_or((true, 0));
        let turn = if stream {
            self.packets((slot, id), scratch, had.saturating_add(n), service)
        } else {
            self.framed((slot, id), scratch, (had, n), service)
        };
        service.on_batch_end();
        self.current.set(None);
        if let Some(now) = self.session(slot, id, |s| s.machine.skipped()) {
            let fresh = now.saturating_sub(skipped);
            count(&self.stats.skipped, usize::try_from(fresh).unwrap_or(usize::MAX));
        }
        self.flush_one(slot, id);
        self.flush_newest();
        match turn {
            None => Batch::Idle,
            Some(Turn::Hold) => {
                count(&self.stats.holds, 1);
                Batch::Idle
            }
            Some(Turn::Yield) => Batch::Again,
            Some(Turn::Go) if n == READ_LEN => Batch::Again,
            Some(Turn::Go) => Batch::More,
        }
    }

    /// Hands out the packets of a byte stream. `None` once the connection has ended.
    fn packets(
        self: &Rc<Self>,
        (slot, id): (u32, ConnId),
        scratch: &mut [u8],
        end: usize,
        service: &dyn Service<M, D>,
    ) -> Option<Turn> {
        let now = self.now.get();
        let mut input = self.session(slot, id, |s| s.machine.join(now, scratch, end))?;
        loop {
            let before = input;
            let event = self.session(slot, id, |s| s.machine.next(now, &mut input, &mut s.out))?;
            match event {
                Ok(None) => return Some(Turn::Go),
                Ok(Some(event)) => {
                    let turn = service.on_event(id, event);
                    if turn != Turn::Go {
                        self.cut_short((slot, id), turn, before, input)?;
                        return Some(turn);
                    }
                }
                Err(reason) => {
                    if matches!(reason, CloseReason::Malformed(_)) {
                        service.on_malformed(id, input);
                    }
                    self.close(id, reason, "");
                    return None;
                }
            }
        }
    }

    /// Hands out the messages of a framed transport, those kept earlier first. `None` once the
    /// connection has ended.
    fn framed(
        self: &Rc<Self>,
        (slot, id): (u32, ConnId),
        scratch: &mut [u8],
        (had, n): (usize, usize),
        service: &dyn Service<M, D>,
    ) -> Option<Turn> {
        let now = self.now.get();
        let bytes = scratch.get(had..had.saturating_add(n)).unwrap_or_default();
        self.session(slot, id, |s| s.transport.feed(bytes))?;
        if had > 0 {
            let turn = self.packets((slot, id), scratch, had, service)?;
            if turn != Turn::Go {
                return Some(turn);
            }
        }
        loop {
            let message = self.session(slot, id, |s| s.transport.next())?;
            self.open((slot, id), service);
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return Some(Turn::Go),
                Err(reason) => {
                    if reason == CloseReason::Handshake(HandshakeFault::BadRequest) {
                        let bytes = self.session(slot, id, |s| s.transport.begins_with())?;
                        service.on_bad_greeting(id, &bytes);
                    }
                    self.close(id, reason, "");
                    return None;
                }
            };
            let event = self.session(slot, id, |s| s.machine.message(now, &message, &mut s.out))?;
            match event {
                Ok(None) => {}
                Ok(Some(event)) => {
                    let turn = service.on_event(id, event);
                    if turn != Turn::Go {
                        self.cut_short((slot, id), turn, &message, &[])?;
                        return Some(turn);
                    }
                }
                Err(reason) => {
                    if matches!(reason, CloseReason::Malformed(_)) {
                        service.on_malformed(id, &message);
                    }
                    self.close(id, reason, "");
                    return None;
                }
            }
        }
    }

    /// A batch ends early: keeps what was not handed out.
    fn cut_short(
        &self,
        (slot, id): (u32, ConnId),
        turn: Turn,
        before: &[u8],
        after: &[u8],
    ) -> Option<()> {
        self.session(slot, id, |s| {
            match turn {
                Turn::Hold => s.machine.hold(before, after),
                Turn::Yield | Turn::Go => s.machine.keep(after),
            }
            s.flags.cut_short = s.machine.tail_len() > 0 || s.transport.has_input();
            // One that is closing is read on, so that the end of its stream is seen.
            s.flags.held = turn == Turn::Hold && s.machine.closing().is_none();
        })
    }
}

/// Whether an error of a socket means "not now".
pub(super) fn not_now(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Why a connection ends whose socket gave this error.
pub(super) fn broken(error: &io::Error) -> CloseReason {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable,
        NotConnected, TimedOut,
    };
    if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return CloseReason::Handshake(*fault);
    }
    if error.kind() == io::ErrorKind::InvalidData {
        return CloseReason::Malformed(WireError::Framing);
    }
    let by_peer_or_path = matches!(
        error.kind(),
        ConnectionReset
            | ConnectionAborted
            | BrokenPipe
            | NotConnected
            | TimedOut
            | HostUnreachable
            | NetworkUnreachable
    );
    if by_peer_or_path { CloseReason::Reset } else { CloseReason::Internal }
}
