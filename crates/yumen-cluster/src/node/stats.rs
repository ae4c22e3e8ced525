//! What has happened on one node instance, as plain counters.
//!
//! Every name here appears in the metrics, see `metrics/node.rs`. Nothing is ever reset. They are
//! `Cell`s because one instance is one thread: counting costs an addition.

use crate::node::table::Label;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
};

/// A number that only grows.
#[derive(Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// How often so far.
    pub fn total(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.set(self.0.get().wrapping_add(more));
    }

    pub(crate) fn bump(&self) {
        self.add(1);
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The counters of one instance.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[doc = $doc])* pub $name: Counter,)*
            slow: RefCell<BTreeMap<Label, u64>>,
        }

        impl Stats {
            /// Every counter with its name, in a fixed order.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.total())),*].into_iter()
            }

            /// Every name with what it counts.
            pub fn described() -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), concat!($($doc),*).trim_ascii()),)*]
            }
        }
    };
}

counters! {
    /// Messages that arrived, from gates and from nodes.
    messages,
    /// Replies handed to a link.
    replies,
    /// Handlers that did not finish at their first poll.
    waited,
    /// Polls of handlers that took longer than `slow_min`.
    slow_polls,
    /// Panics in handlers, event handlers, middleware, hooks and tasks of users.
    panics,
    /// Messages answered `Busy`: too much was waiting behind an earlier message, or in all.
    busy,
    /// Handlers that took longer than their route's `timeout`.
    timeouts,
    /// Packets that do not parse in this node's layout.
    malformed,
    /// Messages for a route that this node does not have.
    unknown_routes,
    /// Messages that a rule of their route refused: not logged in, not bound here, or internal.
    forbidden,
    /// Messages refused by an extractor, by middleware or by the handler.
    refused,
    /// Messages that were held behind another one when their connection or link went away.
    held_dropped,
    /// Events that arrived.
    events,
    /// Reconnect events that were not held because too many were waiting for one connection.
    events_dropped,
    /// Event handlers that returned an error.
    events_failed,
    /// Replies and statuses that had nobody left to go to.
    answers_lost,
    /// Replies that had to wait because their link was full.
    answers_delayed,
    /// Commands that a node does not serve.
    unserved,
    /// Messages of users that another node owns, given to it.
    handed_on,
    /// Users who were bound to this node, and were found to be bound elsewhere or nowhere.
    users_lost,
    /// Requests from other threads that found the inbox full.
    inbox_full,
}

impl Stats {
    /// The routes and events with slow polls, and how many each has had.
    pub fn slow_by_route(&self) -> Vec<(String, u64)> {
        self.slow.borrow().iter().map(|(label, count)| (label.to_string(), *count)).collect()
    }

    /// The same by label.
    pub(crate) fn slow(&self) -> Vec<(Label, u64)> {
        self.slow.borrow().iter().map(|(label, count)| (*label, *count)).collect()
    }

    /// Counts a slow poll; gives how many this handler has had.
    pub(crate) fn slow_poll(&self, label: Label) -> u64 {
        self.slow_polls.bump();
        let mut slow = self.slow.borrow_mut();
        let count = slow.entry(label).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn every_counter_is_listed_under_its_own_name() {
        let stats = Stats::default();
        stats.busy.bump();
        stats.busy.add(2);
        let busy: Vec<_> = stats.all().filter(|(_, n)| *n > 0).collect();
        assert_eq!(busy, [("busy", 3)]);
    }
}
