//! A node instance in numbers, for the metrics: what each route has served, what waits.
//!
//! Collected when somebody asks. Per message only cells are added to, and no clock is read for it:
//! the marks that every poll takes anyway say how long it was.

use crate::{
    metrics::Queue,
    node::{hub::Hub, table::Label},
};
use std::{cell::Cell, time::Duration};
use tokio::sync::oneshot;
use yumen_mesh::Load;
use yumen_net::histogram::{Histogram, Times};

/// A question to an instance: where the answer goes.
pub(crate) type Ask = oneshot::Sender<Box<Census>>;

/// Questions that may wait at one instance.
pub(crate) const ASKS_MAX: usize = 8;

/// What one handler has had to do.
#[derive(Debug, Default)]
pub(crate) struct Work {
    messages: Cell<u64>,
    bytes: Cell<u64>,
    times: Histogram,
}

impl Work {
    /// A message has arrived whose packet has so many bytes.
    pub(crate) fn came_in(&self, bytes: u32) {
        self.messages.set(self.messages.get().wrapping_add(1));
        self.bytes.set(self.bytes.get().wrapping_add(u64::from(bytes)));
    }

    /// It was answered, so long after its handler began.
    pub(crate) fn answered(&self, took: Duration) {
        self.times.record(took);
    }

    pub(crate) fn read(&self) -> Served {
        let (messages, bytes) = (self.messages.get(), self.bytes.get());
        Served { messages, bytes, times: self.times.read() }
    }
}

/// The same, as plain numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) times: Times,
}

/// What an instance's handlers show of themselves, whatever the type of their state.
pub(crate) trait Observed {
    fn observe(&self) -> Handlers;
}

/// The handlers of one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handlers {
    pub(crate) served: Vec<(Label, Served)>,
    /// Every poll of every handler.
    pub(crate) polls: Times,
    /// Bytes of messages behind handlers that wait.
    pub(crate) held: Queue,
    /// Handlers that wait.
    pub(crate) waiting: u64,
    pub(crate) waiting_max: u64,
}

/// One node instance, as it was when asked.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) counters: Vec<(&'static str, u64)>,
    pub(crate) slow: Vec<(Label, u64)>,
    pub(crate) handlers: Handlers,
    pub(crate) inbox: Queue,
    pub(crate) links: Load,
}

impl Hub {
    /// Everything the metrics show of this instance; `inbox` is what its handle knows of it.
    pub(crate) fn census(&self, inbox: Queue) -> Box<Census> {
        Box::new(Census {
            counters: self.stats.all().collect(),
            slow: self.stats.slow(),
            handlers: self.observe(),
            inbox,
            links: self.outbox.uplink().load(),
        })
    }
}
