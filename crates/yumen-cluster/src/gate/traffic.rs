//! Messages and bytes of a gate instance, by route and direction.
//!
//! Only routes that a node has registered have numbers of their own, and only so many; all others are
//! counted together. So a client that makes routes up makes no memory. A route keeps its numbers when
//! its nodes go and come back.

use super::stats::{add, bump};
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use yumen_proto::id::RouteId;

/// Most routes with numbers of their own.
pub(crate) const ROUTES_MAX: usize = 4096;

/// What one route has carried.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages_in: Cell<u64>,
    bytes_in: Cell<u64>,
    messages_out: Cell<u64>,
    bytes_out: Cell<u64>,
}

/// The same, as plain numbers. Bytes are those of whole packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) messages_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) bytes_out: u64,
}

impl Traffic {
    /// A client has sent a packet of so many bytes.
    pub(crate) fn came_in(&self, len: usize) {
        bump(&self.messages_in);
        add(&self.bytes_in, len);
    }

    /// A packet of so many bytes was queued for so many clients.
    pub(crate) fn went_out(&self, times: usize, len: usize) {
        add(&self.messages_out, times);
        add(&self.bytes_out, len.saturating_mul(times));
    }

    fn read(&self) -> Carried {
        Carried {
            messages_in: self.messages_in.get(),
            bytes_in: self.bytes_in.get(),
            messages_out: self.messages_out.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}

/// The traffic of every route, and the connections of every listener.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    known: RefCell<FxHashMap<RouteId, Rc<Traffic>>>,
    /// Of routes that nobody registered, and of registered ones beyond the bound.
    pub(crate) other: Rc<Traffic>,
    /// Connections that each listener has let in.
    pub(crate) accepted: Vec<Cell<u64>>,
}

impl Routes {
    /// Of a gate with so many listeners.
    pub(crate) fn new(listeners: usize) -> Self {
        Self { accepted: vec![Cell::new(0); listeners], ..Self::default() }
    }

    /// Where a registered route is counted.
    pub(crate) fn registered(&self, id: RouteId) -> Rc<Traffic> {
        let mut known = self.known.borrow_mut();
        if known.len() >= ROUTES_MAX && !known.contains_key(&id) {
            return Rc::clone(&self.other);
        }
        Rc::clone(known.entry(id).or_default())
    }

    /// Every route with its numbers, in the order of ids; `None` is the others.
    pub(crate) fn read(&self) -> Vec<(Option<RouteId>, Carried)> {
        let known = self.known.borrow();
        let mut all: Vec<_> =
            known.iter().map(|(id, traffic)| (Some(*id), traffic.read())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.push((None, self.other.read()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_beyond_the_bound_are_counted_together_and_none_is_forgotten() {
        let routes = Routes::default();
        for id in 0..2 * i32::try_from(ROUTES_MAX).unwrap() {
            routes.registered(RouteId(id)).came_in(10);
        }
        routes.registered(RouteId(0)).went_out(3, 7);
        let all = routes.read();
        assert_eq!(all.len(), ROUTES_MAX + 1);
        let first = Carried { messages_in: 1, bytes_in: 10, messages_out: 3, bytes_out: 21 };
        assert_eq!(all[0], (Some(RouteId(0)), first));
        let (id, other) = all[ROUTES_MAX];
        assert_eq!((id, other.messages_in, other.bytes_in), (None, 4096, 40_960));
    }
}
