//! One stream of the virtual network: two directions of bytes that are on their way.
//!
//! A reader asks for what has arrived by now and sets a timer for the rest, so a stream that nobody
//! reads costs nothing and keeps its bytes: the writer stops when so many are on their way.

use super::Network;
use crate::trace::{digest, note};
use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use yumen_net::socket::Stream;

/// Most bytes of one direction that are on their way: what two systems buffer.
const ROOM: usize = 64 * 1024;

/// What is on its way.
#[derive(Debug)]
enum Flying {
    Bytes(Vec<u8>),
    /// The end of the stream.
    End,
    /// The peer is gone and knows nothing of the stream any more.
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    flying: VecDeque<(Instant, Flying)>,
    held: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    /// Adds something that arrives after `delay`, and never before what went ahead of it.
    fn push(&mut self, delay: Duration, what: Flying) {
        let now = Instant::now();
        let at = now.checked_add(delay).unwrap_or(now);
        let at = self.flying.back().map_or(at, |(last, _)| at.max(*last));
        if let Flying::Bytes(bytes) = &what {
            self.held = self.held.saturating_add(bytes.len());
        }
        self.flying.push_back((at, what));
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn clear(&mut self) {
        self.flying.clear();
        self.held = 0;
    }
}

/// A stream between two hosts.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) id: u64,
    hosts: [Rc<str>; 2],
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What each side has sent.
    sent: [Pipe; 2],
    /// The side has closed its socket, or its process is gone.
    gone: [bool; 2],
    /// The side has said that it sends no more.
    finished: [bool; 2],
    broken: bool,
}

impl State {
    fn pipe(&mut self, side: usize) -> &mut Pipe {
        let [first, second] = &mut self.sent;
        if side == 0 { first } else { second }
    }

    fn is_gone(&self, side: usize) -> bool {
        self.gone.get(side).copied().unwrap_or(true)
    }

    fn mark_gone(&mut self, side: usize) {
        self.gone.get_mut(side).into_iter().for_each(|gone| *gone = true);
    }
}

fn other(side: usize) -> usize {
    usize::from(side == 0)
}

impl Wire {
    pub(super) fn new(id: u64, hosts: [Rc<str>; 2]) -> Self {
        Self { id, hosts, state: RefCell::default() }
    }

    pub(super) fn joins(&self, a: &str, b: &str) -> bool {
        let [first, second] = &self.hosts;
        (&**first == a && &**second == b) || (&**first == b && &**second == a)
    }

    pub(super) fn touches(&self, host: &Rc<str>) -> bool {
        self.hosts.contains(host)
    }

    fn is_cut(&self, net: &Network) -> bool {
        let [a, b] = &self.hosts;
        net.is_cut(a, b)
    }

    /// Both ends are reset, and what was on its way is lost.
    pub(super) fn reset(&self) {
        let mut state = self.state.borrow_mut();
        state.broken = true;
        for pipe in &mut state.sent {
            pipe.clear();
            pipe.wake();
        }
    }

    /// The process of a host is gone. The peer gets what was sent and then the end, or a reset.
    pub(super) fn leave(&self, host: &Rc<str>, keeps: bool, delay: Duration) {
        for side in 0..2 {
            if self.hosts.get(side) == Some(host) {
                self.close(side, keeps, delay);
            }
        }
    }

    /// The machine of a host is gone, and nobody is told.
    pub(super) fn abandon(&self, host: &Rc<str>) {
        let mut state = self.state.borrow_mut();
        for side in 0..2 {
            if self.hosts.get(side) == Some(host) {
                state.mark_gone(side);
                state.pipe(side).clear();
            }
        }
    }

    /// The machine of a host is back and knows nothing of the stream: the peer is told.
    pub(super) fn disown(&self, host: &Rc<str>, delay: Duration) {
        let mut state = self.state.borrow_mut();
        for side in 0..2 {
            if self.hosts.get(side) == Some(host) && state.is_gone(side) {
                state.pipe(side).push(delay, Flying::Reset);
            }
        }
    }

    /// Whether neither side has it any more.
    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().gone == [true, true]
    }

    fn close(&self, side: usize, keeps: bool, delay: Duration) {
        let mut state = self.state.borrow_mut();
        if state.is_gone(side) {
            return;
        }
        state.mark_gone(side);
        let clean = keeps && state.pipe(other(side)).held == 0;
        let sent = state.pipe(side);
        if !clean {
            sent.clear();
        }
        sent.push(delay, if clean { Flying::End } else { Flying::Reset });
        state.pipe(other(side)).wake();
    }

    /// The way is free again: what waited comes after `delay`.
    pub(super) fn resume(&self, delay: Duration) {
        let now = Instant::now();
        let first = now.checked_add(delay).unwrap_or(now);
        let mut state = self.state.borrow_mut();
        for pipe in &mut state.sent {
            for (at, _) in &mut pipe.flying {
                *at = first.max(*at);
            }
            pipe.wake();
        }
    }
}

/// One end of a stream.
pub(super) struct End {
    net: Network,
    wire: Rc<Wire>,
    side: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} side {}", self.wire.id, self.side)
    }
}

impl End {
    pub(super) fn new(net: &Network, wire: &Rc<Wire>, side: usize) -> Self {
        Self { net: net.clone(), wire: Rc::clone(wire), side, timer: None }
    }

    /// Takes what has arrived by now, up to `max` bytes.
    fn take(&self, pipe: &mut Pipe, space: &mut [u8]) -> Option<io::Result<usize>> {
        let now = Instant::now();
        let mut len = 0usize;
        while let Some((at, what)) = pipe.flying.front_mut() {
            if *at > now {
                break;
            }
            match what {
                Flying::Bytes(bytes) => {
                    let space = space.get_mut(len..).unwrap_or_default();
                    let n = bytes.len().min(space.len());
                    for (to, byte) in space.iter_mut().zip(bytes.drain(..n)) {
                        *to = byte;
                    }
                    len = len.saturating_add(n);
                    if !bytes.is_empty() {
                        break;
                    }
                    pipe.flying.pop_front();
                }
                _ if len > 0 => break,
                Flying::End => return Some(Ok(0)),
                Flying::Reset => return Some(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        pipe.held = pipe.held.saturating_sub(len);
        (len > 0).then_some(Ok(len))
    }

    /// Sets the timer for what comes next. True if that is due now.
    fn wait(&mut self, cx: &mut Context<'_>, until: Instant) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl Stream for End {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let wire = Rc::clone(&self.wire);
        loop {
            let mut state = wire.state.borrow_mut();
            if state.broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let pipe = state.pipe(other(self.side));
            pipe.reader = Some(cx.waker().clone());
            if wire.is_cut(&self.net) {
                return Poll::Pending;
            }
            // Now and then only a part arrives.
            let dice = &self.net.0.dice;
            let part = match dice.below(4) {
                0 => dice.below(u64::try_from(pipe.held).unwrap_or(u64::MAX)).saturating_add(1),
                _ => u64::MAX,
            };
            let part = usize::try_from(part).unwrap_or(usize::MAX).min(space.len());
            if let Some(taken) = self.take(pipe, space.get_mut(..part).unwrap_or_default()) {
                pipe.writer.take().into_iter().for_each(Waker::wake);
                let (bytes, id) = (taken.as_ref().ok().and_then(|n| space.get(..*n)), wire.id);
                let sum = digest(bytes.unwrap_or_default());
                let len = bytes.map(<[u8]>::len);
                note!(self.net.0.trace, "read {id}.{} {len:?} {sum:x}", self.side);
                return Poll::Ready(taken);
            }
            let Some((next, _)) = pipe.flying.front() else { return Poll::Pending };
            let next = *next;
            drop(state);
            if !self.wait(cx, next) {
                return Poll::Pending;
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let delay = self.net.delay();
        let mut state = self.wire.state.borrow_mut();
        if state.broken || state.is_gone(self.side) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let peer = other(self.side);
        if state.is_gone(peer) && !self.wire.is_cut(&self.net) {
            // Nobody has the stream any more: the bytes are lost, and the answer is a reset.
            let back = state.pipe(peer);
            if !back.flying.iter().any(|(_, what)| matches!(what, Flying::Reset)) {
                back.push(delay.saturating_mul(2), Flying::Reset);
            }
            return Ok(bytes.len());
        }
        let pipe = state.pipe(self.side);
        let n = bytes.len().min(ROOM.saturating_sub(pipe.held));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.push(delay, Flying::Bytes(bytes.get(..n).unwrap_or_default().to_vec()));
        Ok(n)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.wire.state.borrow_mut();
        if state.broken || state.is_gone(other(self.side)) {
            return Poll::Ready(Ok(()));
        }
        let pipe = state.pipe(self.side);
        if pipe.held < ROOM {
            return Poll::Ready(Ok(()));
        }
        pipe.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn finish(&mut self) -> io::Result<()> {
        let delay = self.net.delay();
        let mut state = self.wire.state.borrow_mut();
        let is_new =
            state.finished.get_mut(self.side).is_some_and(|done| !std::mem::replace(done, true));
        if is_new && !state.broken && !state.is_gone(self.side) {
            state.pipe(self.side).push(delay, Flying::End);
        }
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let delay = self.net.delay();
        self.wire.close(self.side, true, delay);
        let state = self.wire.state.borrow();
        if state.broken || state.gone == [true, true] {
            self.net.0.wires.borrow_mut().remove(&self.wire.id);
        }
    }
}
