//! The sets of several registries as one.
//!
//! Pure: sets in, a set out. The one thing to know: what counts is when a record changed, as seen from here,
//! since records carry no time. A registry that is away cannot tell that something changed or went, so what
//! the others tell later counts more than what it had.

use std::collections::BTreeMap;
use yumen_core::cluster::{Instance, Snapshot, State};
use yumen_proto::InstanceId;

/// One id, in all registries.
#[derive(Debug)]
struct Entry {
    held: Vec<Option<Held>>,
    /// When it was last taken out of a registry after it had said that it goes, and with which state.
    parted: Option<(u64, State)>,
}

#[derive(Debug)]
struct Held {
    record: Instance,
    /// When it changed. 0: it was there at the first look.
    changed: u64,
    /// Another registry said meanwhile that it is gone, while this one was away.
    is_gone: bool,
}

#[derive(Debug)]
pub(super) struct Merge {
    by_id: BTreeMap<InstanceId, Entry>,
    /// Whether there was a set of it yet.
    seen: Vec<bool>,
    /// Counts changes; no time.
    now: u64,
}

impl Merge {
    /// Of so many registries, none of which has said anything.
    pub(super) fn new(count: usize) -> Self {
        Self { by_id: BTreeMap::new(), seen: vec![false; count], now: 0 }
    }

    /// The registry with number `n` has this set now. `is_away` tells of the others whether they can be asked.
    pub(super) fn update(&mut self, n: usize, set: &Snapshot, is_away: impl Fn(usize) -> bool) {
        let is_first = self.seen.get_mut(n).is_some_and(|seen| !std::mem::replace(seen, true));
        self.now = self.now.saturating_add(1);
        let (now, count) = (self.now, self.seen.len());
        for record in set.iter() {
            let entry = self.by_id.entry(record.id.clone()).or_insert_with(|| Entry {
                held: (0..count).map(|_| None).collect(),
                parted: None,
            });
            let Some(place) = entry.held.get_mut(n) else { return };
            if place.as_ref().is_none_or(|held| held.record != *record) {
                let changed = if is_first { 0 } else { now };
                *place = Some(Held { record: record.clone(), changed, is_gone: false });
            }
        }
        self.by_id.retain(|id, entry| {
            if set.binary_search_by(|record| record.id.cmp(id)).is_err() {
                entry.lose(n, now, &is_away);
            }
            entry.held.iter().any(Option::is_some)
        });
    }

    /// Whether something that a registry holds is believed to be gone.
    pub(super) fn doubts(&self, n: usize) -> bool {
        self.by_id.values().any(|entry| entry.at(n).is_some_and(|held| held.is_gone))
    }

    /// The registry was asked for long enough: what it holds is there.
    pub(super) fn trust(&mut self, n: usize) {
        for entry in self.by_id.values_mut() {
            if let Some(Some(held)) = entry.held.get_mut(n) {
                held.is_gone = false;
            }
        }
    }

    /// The set: by id, no id twice.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.by_id.values().filter_map(Entry::shown).collect()
    }
}

impl Entry {
    fn at(&self, n: usize) -> Option<&Held> {
        self.held.get(n)?.as_ref()
    }

    fn lose(&mut self, n: usize, now: u64, is_away: impl Fn(usize) -> bool) {
        let Some(lost) = self.held.get_mut(n).and_then(Option::take) else { return };
        if matches!(lost.record.state, State::Hang | State::Shut) {
            self.parted = Some((now, lost.record.state));
        }
        for (other, held) in self.held.iter_mut().enumerate() {
            if let Some(held) = held
                && is_away(other)
            {
                held.is_gone = true;
            }
        }
    }

    /// What the set says of it.
    fn shown(&self) -> Option<Instance> {
        let there = self.held.iter().flatten().filter(|held| !held.is_gone);
        // Of equals the first, so from the back.
        let newest = there.rev().max_by_key(|held| held.changed)?;
        let mut record = newest.record.clone();
        if let Some((when, state)) = self.parted
            && when > newest.changed
        {
            record.state = state;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::cluster::Kind;

    fn node(id: &str) -> Instance {
        Instance::new(id.into(), Kind::Node, "drpc://127.0.0.1:1")
    }

    fn set(nodes: &[&Instance]) -> Snapshot {
        nodes.iter().map(|node| (*node).clone()).collect()
    }

    fn none(_: usize) -> bool {
        false
    }

    /// Of two, which have these sets at the first look.
    fn two(first: &[&Instance], second: &[&Instance]) -> Merge {
        let mut merge = Merge::new(2);
        merge.update(1, &set(second), none);
        merge.update(0, &set(first), none);
        merge
    }

    #[test]
    fn who_is_in_any_is_in_the_set_once_and_in_order() {
        let [a, b, c] = ["a", "b", "c"].map(node);
        let mut merge = two(&[&b, &c], &[&a, &b]);
        assert_eq!(merge.snapshot(), set(&[&a, &b, &c]));
        merge.update(0, &set(&[]), none);
        assert_eq!(merge.snapshot(), set(&[&a, &b]));
        merge.update(1, &set(&[]), none);
        assert!(merge.snapshot().is_empty() && merge.by_id.is_empty());
    }

    #[test]
    fn of_two_records_the_one_that_changed_last_counts_and_at_first_the_first() {
        let a = node("a");
        let [light, heavy] = [1, 2].map(|weight| Instance { weight, ..a.clone() });
        let mut merge = two(&[&light], &[&heavy]);
        assert_eq!(merge.snapshot(), set(&[&light]));
        merge.update(1, &set(&[&a]), none);
        assert_eq!(merge.snapshot(), set(&[&a]));
        // Told again is not changed.
        merge.update(0, &set(&[&light]), none);
        assert_eq!(merge.snapshot(), set(&[&a]));
        merge.update(0, &set(&[&heavy]), none);
        assert_eq!(merge.snapshot(), set(&[&heavy]));
    }

    #[test]
    fn one_that_is_away_keeps_nobody_alive_that_another_lost_and_nobody_else_is_lost() {
        let [a, b] = ["a", "b"].map(node);
        let mut merge = two(&[&a, &b], &[&a]);
        // `a` was killed: the second notices, the first cannot.
        merge.update(1, &set(&[]), |n| n == 0);
        assert_eq!(merge.snapshot(), set(&[&b]));
        // It is back, and has not noticed yet either.
        merge.update(0, &set(&[&a, &b]), none);
        assert_eq!(merge.snapshot(), set(&[&b]));
        assert!(merge.doubts(0) && !merge.doubts(1));
        // It still has it after a long time: it was another fault.
        merge.trust(0);
        assert_eq!(merge.snapshot(), set(&[&a, &b]));
        assert!(!merge.doubts(0));
    }

    #[test]
    fn one_that_comes_back_under_its_id_is_there_at_once() {
        let a = node("a");
        let moved = Instance { endpoint: "drpc://127.0.0.1:2".to_owned(), ..a.clone() };
        let mut merge = two(&[&a], &[&a]);
        merge.update(1, &set(&[]), |n| n == 0);
        assert!(merge.snapshot().is_empty());
        merge.update(1, &set(&[&moved]), |n| n == 0);
        assert_eq!(merge.snapshot(), set(&[&moved]));
        merge.update(0, &set(&[&moved]), none);
        assert_eq!(merge.snapshot(), set(&[&moved]));
    }

    #[test]
    fn a_registry_that_answers_is_believed_whatever_another_lost() {
        let a = node("a");
        let mut merge = two(&[&a], &[&a]);
        merge.update(1, &set(&[]), none);
        assert_eq!(merge.snapshot(), set(&[&a]));
    }

    #[test]
    fn one_that_said_that_it_goes_does_not_work_again_where_nobody_was_told() {
        let a = node("a");
        let hanging = Instance { state: State::Hang, ..a.clone() };
        let mut merge = two(&[&a], &[&a]);
        merge.update(1, &set(&[&hanging]), none);
        assert_eq!(merge.snapshot(), set(&[&hanging]));
        merge.update(1, &set(&[]), none);
        assert_eq!(merge.snapshot(), set(&[&hanging]));
        // What changes after that is news.
        let again = Instance { weight: 2, ..a };
        merge.update(0, &set(&[&again]), none);
        assert_eq!(merge.snapshot(), set(&[&again]));
    }
}
