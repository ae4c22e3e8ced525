//! What arrived at a client and was not an answer, until somebody looks.
//!
//! Bounded in bytes. When it is full the oldest push goes, and is counted: what a game pushes is
//! mostly state, of which the newest matters. The word that the connection is a new one never goes.

use bytes::Bytes;
use std::collections::VecDeque;
use yumen_proto::id::RouteId;

/// What an entry costs beside its body, in bytes.
const ENTRY_LEN: usize = size_of::<Event>();

/// A message that nobody had asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Its route.
    pub route: RouteId,
    /// Its sequence number: 0 for what was pushed.
    pub seq: i32,
    /// The encoded message; [`Client::decode`](super::Client::decode) reads it.
    pub body: Bytes,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message that is not an answer.
    Push(Push),
    /// The connection had broken, and a new one is open: the user has to log in again. What came
    /// before this belongs to the old connection. Of several in a row only the last is kept.
    Reconnected,
}

/// Events in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    events: VecDeque<Event>,
    /// Total of what the pushes cost.
    cost: usize,
}

impl Inbox {
    /// Adds a push and drops the oldest ones until at most `max` bytes are held; the newest stays
    /// in any case. Returns how many were dropped.
    pub(super) fn add(&mut self, push: Push, max: usize) -> u64 {
        self.cost = self.cost.saturating_add(cost(&push));
        self.events.push_back(Event::Push(push));
        let mut dropped = 0;
        while self.cost > max && self.drop_oldest() {
            dropped = u64::saturating_add(dropped, 1);
        }
        dropped
    }

    /// Drops the oldest push, unless it is the only one.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.events.iter().position(|event| matches!(event, Event::Push(_)));
        let Some(oldest) = oldest.filter(|at| at.saturating_add(1) < self.events.len()) else {
            return false;
        };
        if let Some(Event::Push(push)) = self.events.remove(oldest) {
            self.cost = self.cost.saturating_sub(cost(&push));
        }
        true
    }

    /// Notes that the connection is a new one.
    pub(super) fn reconnected(&mut self) {
        self.events.retain(|event| *event != Event::Reconnected);
        self.events.push_back(Event::Reconnected);
    }

    /// The oldest event.
    pub(super) fn next(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(Event::Push(push)) = &event {
            self.cost = self.cost.saturating_sub(cost(push));
        }
        if self.events.is_empty() {
            self.events = VecDeque::new(); // There may be thousands of idle clients.
        }
        event
    }
}

fn cost(push: &Push) -> usize {
    push.body.len().saturating_add(ENTRY_LEN)
}

#[cfg(test)]
mod tests {
    use super::{ENTRY_LEN, Event, Inbox, Push};
    use bytes::Bytes;
    use yumen_proto::id::RouteId;

    fn push(number: i32, len: usize) -> Push {
        Push { route: RouteId(number), seq: 0, body: Bytes::from(vec![0; len]) }
    }

    fn left(inbox: &mut Inbox) -> Vec<i32> {
        let number = |event| match event {
            Event::Push(push) => push.route.0,
            Event::Reconnected => -1,
        };
        std::iter::from_fn(|| inbox.next()).map(number).collect()
    }

    #[test]
    fn a_full_inbox_drops_the_oldest_and_counts() {
        let mut inbox = Inbox::default();
        let max = 3 * (10 + ENTRY_LEN);
        let dropped: u64 = (1..=10).map(|number| inbox.add(push(number, 10), max)).sum();
        assert_eq!((dropped, left(&mut inbox)), (7, vec![8, 9, 10]));
        assert_eq!(inbox.cost, 0);
    }

    #[test]
    fn one_message_is_kept_however_large() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.add(push(1, 10), 100), 0);
        assert_eq!(inbox.add(push(2, 1_000), 100), 1);
        assert_eq!(inbox.add(push(3, 10), 100), 1);
        assert_eq!(left(&mut inbox), [3]);
    }

    #[test]
    fn the_word_of_a_new_connection_outlives_an_overflow_and_is_kept_once() {
        let mut inbox = Inbox::default();
        let max = 2 * (10 + ENTRY_LEN);
        inbox.add(push(1, 10), max);
        inbox.reconnected();
        for number in 2..6 {
            inbox.add(push(number, 10), max);
        }
        assert_eq!(left(&mut inbox), [-1, 4, 5]);
        inbox.reconnected();
        inbox.add(push(6, 10), max);
        inbox.reconnected();
        assert_eq!(left(&mut inbox), [6, -1]);
    }

    #[test]
    fn an_emptied_inbox_gives_its_memory_back() {
        let mut inbox = Inbox::default();
        for number in 0..1_000 {
            inbox.add(push(number, 10), usize::MAX);
        }
        assert_eq!(left(&mut inbox).len(), 1_000);
        assert_eq!(inbox.events.capacity(), 0);
    }
}
