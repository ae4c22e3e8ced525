//! The messages of one connection behind a handler that waits.
//!
//! Exact copies, bounded in bytes per connection. The beginning and the end of a connection are always
//! heard of; only reconnects beyond a few are refused. A line exists only while a handler of its
//! connection waits.

use crate::{metrics::Queue, node::extract::Head};
use rustc_hash::FxHashMap;
use std::{cell::RefCell, collections::VecDeque, collections::hash_map};
use yumen_core::cluster::Event;
use yumen_mesh::LinkId;

/// What a held message costs beside its body, in bytes.
pub(crate) const HELD_OVERHEAD: usize = 64;
/// Most events held for one connection before further reconnects are dropped.
const EVENTS_MAX: usize = 16;

/// What is in order: the messages of one connection of a gate, or of one user at another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LineKey {
    link: LinkId,
    id: i64,
}

impl LineKey {
    /// `None` for a message that nothing orders: one from a node that names no user. A link leads to
    /// a gate or to a node, never to both, so connections and users cannot be mixed up.
    pub(crate) fn of(head: &Head) -> Option<Self> {
        let id = if head.from_node { head.user?.0 } else { head.conn.0 };
        Some(Self { link: head.link, id })
    }
}

/// Something to be done for a connection.
pub(crate) enum Work {
    /// A message with its body and the length of its packet.
    Message(Box<[u8]>, u32),
    /// An event.
    Event(Event),
}

/// What became of something that might have to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing is before it.
    No,
    /// It is held.
    Yes,
    /// Too much is held already.
    Full,
}

#[derive(Default)]
struct Line {
    held: VecDeque<(Head, Work)>,
    bytes: usize,
    events: usize,
}

/// The lines of one instance.
#[derive(Default)]
pub(crate) struct Lines(RefCell<FxHashMap<LineKey, Line>>);

impl Lines {
    /// From now on the messages of `key` are held.
    pub(crate) fn open(&self, key: LineKey) {
        self.0.borrow_mut().insert(key, Line::default());
    }

    /// Copies the message if it has to wait.
    pub(crate) fn hold(
        &self,
        key: LineKey,
        head: &Head,
        body: &[u8],
        cost: u32,
        max: usize,
    ) -> Held {
        let mut lines = self.0.borrow_mut();
        if lines.is_empty() {
            return Held::No;
        }
        let Some(line) = lines.get_mut(&key) else { return Held::No };
        let bytes = line.bytes.saturating_add(body.len()).saturating_add(HELD_OVERHEAD);
        if bytes > max {
            return Held::Full;
        }
        line.bytes = bytes;
        line.held.push_back((*head, Work::Message(body.into(), cost)));
        Held::Yes
    }

    /// Holds the event if it has to wait.
    pub(crate) fn hold_event(&self, key: LineKey, head: &Head, event: Event) -> Held {
        let mut lines = self.0.borrow_mut();
        let Some(line) = lines.get_mut(&key) else { return Held::No };
        if line.events >= EVENTS_MAX && event == Event::Reconnect {
            return Held::Full;
        }
        line.events = line.events.saturating_add(1);
        line.held.push_back((*head, Work::Event(event)));
        Held::Yes
    }

    /// Drops the messages, but not the events, that are held for `key`. Gives their number.
    pub(crate) fn empty(&self, key: LineKey) -> usize {
        self.0.borrow_mut().get_mut(&key).map_or(0, Line::empty)
    }

    /// The same for everything that came over a link.
    pub(crate) fn empty_link(&self, link: LinkId) -> usize {
        let mut lines = self.0.borrow_mut();
        let gone = lines.iter_mut().filter(|(key, _)| key.link == link);
        gone.fold(0, |sum, (_, line)| line.empty().saturating_add(sum))
    }

    /// The next of what is held for `key`; if nothing is, the line ends.
    pub(crate) fn next(&self, key: LineKey) -> Option<(Head, Work)> {
        let mut lines = self.0.borrow_mut();
        let hash_map::Entry::Occupied(mut entry) = lines.entry(key) else { return None };
        let line = entry.get_mut();
        let Some((head, work)) = line.held.pop_front() else {
            entry.remove();
            return None;
        };
        match &work {
            Work::Message(body, _) => {
                let cost = body.len().saturating_add(HELD_OVERHEAD);
                line.bytes = line.bytes.saturating_sub(cost);
            }
            Work::Event(_) => line.events = line.events.saturating_sub(1),
        }
        Some((head, work))
    }

    /// Bytes held, of which each connection may have `max`.
    pub(crate) fn held(&self, max: usize) -> Queue {
        let wide = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut queue = Queue { max: wide(max), ..Queue::default() };
        self.0.borrow().values().for_each(|line| queue.add(wide(line.bytes)));
        queue
    }

    /// Number of connections with a handler that waits.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Line {
    fn empty(&mut self) -> usize {
        let before = self.held.len();
        self.held.retain(|(_, work)| matches!(work, Work::Event(_)));
        self.bytes = 0;
        before.saturating_sub(self.held.len())
    }
}
