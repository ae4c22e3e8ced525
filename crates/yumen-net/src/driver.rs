//! Moves bytes between sockets and protocol machines, for any number of connections on one thread.
//!
//! One task, the hub, serves every connection that has something to say: it reads through one scratch
//! buffer, hands out whole packets, and writes what they caused once per connection and batch. A
//! connection that says nothing costs its socket, its machine and one small waker: no task, no buffer,
//! no timer. One sweep a second serves every deadline.
//! User code (`Service`) is never called while anything here is borrowed, nor from inside `append`.

mod read;
mod sweep;
mod transport;
mod write;

pub use transport::Transport;

use crate::{
    env::Env,
    histogram::Histogram,
    ready::{Ready, SlotWaker},
    socket::Socket,
};
use rustc_hash::FxHashMap;
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Instant,
};
use yumen_proto::{
    conn::{CloseReason, Machine, Now, Out},
    id::ConnId,
};

/// Most bytes per read, and so per batch.
pub const READ_LEN: usize = 64 * 1024;

/// What a connection may hold, in bytes, however much all of them hold together.
pub const HELD_FAIR: usize = 16 * 1024;

/// What becomes of a batch after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Next message, please.
    Go,
    /// Taken; but the batch has used its time: let others run.
    Yield,
    /// Not taken: keep it and everything behind it, and read nothing until [`Driver::resume`]. A
    /// held connection is not idle, and a peer that leaves is not noticed before it is resumed.
    Hold,
}

/// What a driver works for. May call back into the driver.
pub trait Service<M: Machine, D> {
    /// Packets may flow: right after the connection was accepted, or after its handshake.
    fn on_open(&self, _conn: ConnId) {}
    /// What begins with `bytes` cannot be read, and the connection is about to be closed for it.
    fn on_malformed(&self, _conn: ConnId, _bytes: &[u8]) {}
    /// What begins with `bytes` is no handshake of the connection's transport, and the connection is about
    /// to be refused for it.
    fn on_bad_greeting(&self, _conn: ConnId, _bytes: &[u8]) {}
    /// A batch of one connection begins.
    fn on_batch(&self, _now: Now) {}
    /// Something arrived.
    fn on_event(&self, conn: ConnId, event: M::Event<'_>) -> Turn;
    /// The batch has ended; what was appended is written right after.
    fn on_batch_end(&self) {}
    /// A connection has ended. Called by the hub, never from inside another call, and after
    /// everything that arrived before.
    fn on_closed(&self, conn: ConnId, data: D, reason: CloseReason);
    /// A second has passed.
    fn on_sweep(&self, _now: Now) {}
}

/// Counters of a driver, since its start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Read calls that returned bytes.
    pub reads: Cell<u64>,
    /// Write calls.
    pub writes: Cell<u64>,
    /// Bytes read.
    pub bytes_in: Cell<u64>,
    /// Bytes accepted by sockets.
    pub bytes_out: Cell<u64>,
    /// Times a session was held because what it sends could not be taken.
    pub holds: Cell<u64>,
    /// Times a socket was found full.
    pub blocked: Cell<u64>,
    /// Times this thread had not run for so long that no peer is blamed for its silence.
    pub pauses: Cell<u64>,
    /// Packets too short for their header and messages that were not exactly one packet: skipped.
    pub skipped: Cell<u64>,
    /// How long each sweep kept the thread, without what ran between its slices.
    pub sweeps: Histogram,
}

pub(crate) fn count(counter: &Cell<u64>, n: usize) {
    counter.set(counter.get().wrapping_add(u64::try_from(n).unwrap_or(u64::MAX)));
}

struct Session<M, D> {
    id: ConnId,
    socket: Socket,
    transport: Transport,
    machine: M,
    out: Out,
    waker: Arc<SlotWaker>,
    data: D,
    flags: Flags,
    /// Bytes it held when it was last looked at; in the driver's sum.
    held: u32,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// The service knows that packets may flow.
    open: bool,
    /// Bytes are queued that no write has been tried for.
    dirty: bool,
    /// Its slot is in the dirty list.
    listed: bool,
    /// The socket is full: its waker drains it.
    blocked: bool,
    /// Nothing is read until the owner resumes it.
    held: bool,
    /// Whole packets are kept because a batch was cut short.
    cut_short: bool,
}

/// The connections of one instance. `M` is what each speaks, `D` what the owner keeps with each.
pub struct Driver<M: Machine, D> {
    env: Env,
    sessions: RefCell<Slab<Session<M, D>>>,
    slots: RefCell<FxHashMap<ConnId, u32>>,
    ids: Cell<i64>,
    ready: Arc<Ready>,
    scratch: Cell<Vec<u8>>,
    pool: RefCell<Vec<Vec<u8>>>,
    dirty: RefCell<VecDeque<u32>>,
    /// How many slots were listed as dirty since the newest were last flushed.
    fresh: Cell<usize>,
    ended: RefCell<Vec<(ConnId, D, CloseReason)>>,
    lingering: RefCell<VecDeque<(Instant, Socket)>>,
    /// Bytes that all connections hold together, and the most they may.
    held: Cell<usize>,
    held_max: Cell<usize>,
    /// When the current turn or batch began.
    now: Cell<Now>,
    /// The connection whose batch is being handled: its end writes it, so it is not listed as dirty.
    current: Cell<Option<ConnId>>,
    /// What happened so far.
    pub stats: Stats,
}

impl<M: Machine + 'static, D: 'static> std::fmt::Debug for Driver<M, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("sessions", &self.len()).finish_non_exhaustive()
    }
}

impl<M: Machine + 'static, D: 'static> Driver<M, D> {
    /// A driver without connections.
    pub fn new(env: &Env) -> Rc<Self> {
        Rc::new(Self {
            env: env.clone(),
            sessions: RefCell::default(),
            slots: RefCell::default(),
            ids: Cell::new(0),
            ready: Arc::default(),
            scratch: Cell::default(),
            pool: RefCell::default(),
            dirty: RefCell::default(),
            fresh: Cell::new(0),
            ended: RefCell::default(),
            lingering: RefCell::default(),
            held: Cell::new(0),
            held_max: Cell::new(usize::MAX),
            now: Cell::new(env.clock.now()),
            current: Cell::new(None),
            stats: Stats::default(),
        })
    }

    /// Starts the two tasks that every driver has: hub and sweep.
    pub fn start(self: &Rc<Self>, service: &Rc<dyn Service<M, D>>) {
        let (this, service2) = (Rc::clone(self), Rc::clone(service));
        // Unconstrained: the runtime's budget of 128 operations per turn would make reads and the
        // handlers that run inside seem to wait when they need not. The hub has bounds of its own.
        let hub = async move { this.hub(service2.as_ref()).await };
        self.env.spawn.local(tokio::task::coop::unconstrained(hub));
        let (this, service) = (Rc::clone(self), Rc::clone(service));
        self.env.spawn.local(async move { this.sweep(service.as_ref()).await });
    }

    /// Takes over a connected socket. Ids count from 1 and are never used twice.
    pub fn accept(
        self: &Rc<Self>,
        socket: Socket,
        transport: Transport,
        machine: M,
        data: D,
    ) -> ConnId {
        let id = ConnId(self.ids.get().saturating_add(1));
        self.ids.set(id.0);
        let mut sessions = self.sessions.borrow_mut();
        let entry = sessions.vacant_entry();
        // More than 4 billion sockets do not fit into a process.
        let slot = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let waker = SlotWaker::new(&self.ready, slot);
        let out = Out::default();
        let flags = Flags::default();
        entry.insert(Session { id, socket, transport, machine, out, waker, data, flags, held: 0 });
        drop(sessions);
        self.slots.borrow_mut().insert(id, slot);
        self.mark(slot); // its first read registers the waker with the socket
        id
    }

    /// Most bytes that all connections may hold together: queued for sending, and of packets that
    /// have not come whole. Beyond it those that hold more than [`HELD_FAIR`] are closed, whatever
    /// they may hold by themselves. Default: no limit.
    pub fn set_held_max(&self, bytes: usize) {
        self.held_max.set(bytes);
    }

    /// Bytes that all connections hold together, as of when each was last looked at.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Has a connection served in front of others that are ready as well: before each of their
    /// batches. For few connections, with little to say.
    pub fn go_first(&self, id: ConnId) {
        let Some(slot) = self.slot(id) else { return };
        self.session(slot, id, |s| s.waker.go_first());
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every connection, oldest slot first.
    pub fn ids(&self) -> Vec<ConnId> {
        self.sessions.borrow().iter().map(|(_, s)| s.id).collect()
    }

    /// Shows up to `most` sessions, with the bytes queued for each, to `look`, which must not call the
    /// driver. Begins at slot `from`; gives the slot to go on with, `None` after the last one. So that
    /// others get a turn, ask for some, yield, and ask again.
    pub fn survey(
        &self,
        from: usize,
        most: usize,
        mut look: impl FnMut(&M, &D, usize),
    ) -> Option<usize> {
        let sessions = self.sessions.borrow();
        let until = from.saturating_add(most);
        for session in (from..until).filter_map(|slot| sessions.get(slot)) {
            look(&session.machine, &session.data, session.left());
        }
        (until < sessions.capacity()).then_some(until)
    }

    /// When the current batch began: precise to a batch, and free.
    pub fn now(&self) -> Now {
        self.now.get()
    }

    /// Borrows one connection for `f`, which must not call user code or the driver. What it appends
    /// to `Out` is written at the end of the batch. `None` if the connection is gone.
    pub fn with<T>(&self, id: ConnId, f: impl FnOnce(&mut M, &mut Out, &mut D) -> T) -> Option<T> {
        let slot = self.slot(id)?;
        self.session(slot, id, |s| f(&mut s.machine, &mut s.out, &mut s.data))
    }

    /// The client behind a proxy, as the transport's handshake has named it; once, for
    /// [`Service::on_open`]. Port 0 where it is not known.
    pub fn take_client(&self, id: ConnId) -> Option<SocketAddr> {
        let slot = self.slot(id)?;
        self.session(slot, id, |s| s.transport.take_client()).flatten()
    }

    /// Shows the socket of one connection to `look`. `None` if the connection is gone.
    pub fn socket<T>(&self, id: ConnId, look: impl FnOnce(&Socket) -> T) -> Option<T> {
        let slot = self.slot(id)?;
        self.session(slot, id, |s| look(&s.socket))
    }

    /// Reads from a held connection again, beginning with what was kept.
    pub fn resume(&self, id: ConnId) {
        let Some(slot) = self.slot(id) else { return };
        let waker = self.session(slot, id, |s| {
            s.flags.held = false;
            s.flags.cut_short |= s.machine.tail_len() > 0 || s.transport.has_input();
            Arc::clone(&s.waker)
        });
        waker.iter().for_each(|waker| waker.mark());
    }

    /// Whether the connection is held.
    pub fn is_held(&self, id: ConnId) -> bool {
        let slot = self.slot(id);
        slot.and_then(|slot| self.session(slot, id, |s| s.flags.held)).unwrap_or(false)
    }

    /// Bytes queued for a connection that its socket has not accepted; `None` if it is gone.
    pub fn backlog(&self, id: ConnId) -> Option<usize> {
        let slot = self.slot(id)?;
        self.session(slot, id, |s| s.left())
    }

    /// Memory held by a connection's buffers, in bytes; `None` if it is gone.
    pub fn buffered(&self, id: ConnId) -> Option<usize> {
        let slot = self.slot(id)?;
        self.session(slot, id, |s| {
            let outside = s.transport.held().saturating_add(s.socket.held());
            s.machine.held().saturating_add(s.out.capacity()).saturating_add(outside)
        })
    }

    fn slot(&self, id: ConnId) -> Option<u32> {
        self.slots.borrow().get(&id).copied()
    }

    /// Has the hub serve the connection in its next turn.
    fn mark(&self, slot: u32) {
        let waker = self.sessions.borrow().get(index(slot)).map(|s| Arc::clone(&s.waker));
        waker.iter().for_each(|waker| waker.mark());
    }

    /// Borrows one session for `f` and notes that it became dirty.
    fn session<T>(
        &self,
        slot: u32,
        id: ConnId,
        f: impl FnOnce(&mut Session<M, D>) -> T,
    ) -> Option<T> {
        let mut sessions = self.sessions.borrow_mut();
        let session = sessions.get_mut(index(slot)).filter(|s| s.id == id)?;
        let result = f(session);
        if !session.flags.blocked && session.left() > 0 {
            session.flags.dirty = true;
            if !session.flags.listed && self.current.get() != Some(id) {
                session.flags.listed = true;
                self.list(slot);
            }
        }
        Some(result)
    }

    fn list(&self, slot: u32) {
        let mut dirty = self.dirty.borrow_mut();
        dirty.push_back(slot);
        self.fresh.set(self.fresh.get().saturating_add(1));
        // Inside a batch its end flushes, so the hub is awake.
        if dirty.len() == 1 && self.current.get().is_none() {
            self.ready.wake();
        }
    }

    fn keep_spare(&self, spare: Vec<u8>) {
        let mut pool = self.pool.borrow_mut();
        if pool.len() < POOL_MAX && (POOL_BUF_MIN..=POOL_BUF_MAX).contains(&spare.capacity()) {
            pool.push(spare);
        }
    }
}

/// Spare downlink buffers kept by an instance, and the smallest and largest of them in bytes.
const POOL_MAX: usize = 64;
const POOL_BUF_MIN: usize = 256;
const POOL_BUF_MAX: usize = 256 * 1024;

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

fn waker_of(waker: &Arc<SlotWaker>) -> Waker {
    Waker::from(Arc::clone(waker))
}

#[cfg(all(test, feature = "testing"))]
#[path = "driver/tests.rs"]
mod tests;
