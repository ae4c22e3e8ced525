//! The instances of one kind as a registry told them, and the set that is published.
//!
//! Pure: records in, a set out. The one thing to know: after an outage of the registry, what is gone from it
//! stays in the set for a while. A server that slept or lost its memory has dropped everybody's lease, and
//! those who live register again within that time; taking the gap for the truth would empty every gate.

use std::collections::{BTreeMap, BTreeSet};
use yumen_core::cluster::{Instance, Kind, Snapshot, State};

/// Most instances of one kind; more are left out.
const INSTANCES_MAX: usize = 10_000;
/// Most values that are remembered as told.
const TOLD_MAX: usize = 1_000;

/// What a registry has under one key.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where it stands in the registry; no key twice.
    pub(crate) key: String,
    /// Grows with every change of the value: a value that is no record is warned about once for each.
    pub(crate) version: u64,
    /// Of two records with one id, the one with the higher rank counts; with equal ranks, the first key's.
    pub(crate) rank: u64,
    /// The record, or why the value is none.
    pub(crate) record: Result<Instance, String>,
}

/// A record and its rank.
type Ranked = (u64, Instance);

#[derive(Debug)]
pub(crate) struct Known {
    registry: &'static str,
    kind: Kind,
    there: BTreeMap<String, Ranked>,
    /// Gone from the registry, and believed to live.
    missed: BTreeMap<String, Ranked>,
    /// Values that are no record of this kind.
    unread: BTreeSet<String>,
    /// Those of them that were warned about, with their version.
    told: BTreeSet<(String, u64)>,
    full: bool,
    /// What is gone goes at once.
    certain: bool,
}

impl Known {
    pub(crate) const fn new(registry: &'static str, kind: Kind) -> Self {
        Self {
            registry,
            kind,
            there: BTreeMap::new(),
            missed: BTreeMap::new(),
            unread: BTreeSet::new(),
            told: BTreeSet::new(),
            full: false,
            certain: true,
        }
    }

    /// The registry was away: from now on what is gone is only missed.
    pub(crate) const fn doubt(&mut self) {
        self.certain = false;
    }

    /// Those who live had their time: what is missed is gone.
    pub(crate) fn trust(&mut self) {
        self.certain = true;
        self.missed.clear();
    }

    pub(crate) const fn is_certain(&self) -> bool {
        self.certain
    }

    /// How many values are no record of this kind now.
    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// What a whole read found.
    pub(crate) fn replace(&mut self, found: Vec<Found>) {
        let before = std::mem::take(&mut self.there);
        self.unread.clear();
        found.into_iter().for_each(|found| self.put(found));
        for (key, ranked) in before {
            if !self.there.contains_key(&key) {
                self.miss(key, ranked);
            }
        }
    }

    /// A key that is gone.
    #[cfg(feature = "etcd")]
    pub(crate) fn remove(&mut self, key: String) {
        self.unread.remove(&key);
        if let Some(ranked) = self.there.remove(&key) {
            self.miss(key, ranked);
        }
    }

    /// One that said before that it goes is gone, at any time.
    fn miss(&mut self, key: String, ranked: Ranked) {
        if !self.certain && matches!(ranked.1.state, State::Work | State::Busy) {
            self.missed.insert(key, ranked);
        }
    }

    /// A key that is there.
    pub(crate) fn put(&mut self, found: Found) {
        self.missed.remove(&found.key);
        self.unread.remove(&found.key);
        match self.check(found.record) {
            Ok(instance)
                if self.there.len() < INSTANCES_MAX || self.there.contains_key(&found.key) =>
            {
                self.there.insert(found.key, (found.rank, instance));
            }
            Ok(_) => {
                if !self.full {
                    let (registry, kind) = (self.registry, self.kind);
                    tracing::warn!(
                        ?kind,
                        "{registry} holds more than {INSTANCES_MAX} instances: the rest is left out"
                    );
                }
                self.full = true;
            }
            Err(why) => {
                self.there.remove(&found.key);
                self.tell(&found.key, found.version, &why);
                self.unread.insert(found.key);
            }
        }
    }

    fn check(&self, record: Result<Instance, String>) -> Result<Instance, String> {
        match record {
            Ok(instance) if instance.kind != self.kind => {
                Err(format!("it says that it is a {:?}", instance.kind))
            }
            record => record,
        }
    }

    /// Once for each value, however often it is read.
    fn tell(&mut self, key: &str, version: u64, why: &str) {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        if self.told.insert((key.to_owned(), version)) {
            let registry = self.registry;
            tracing::warn!(%key, "a value in {registry} is not a record and is skipped: {why}");
        }
    }

    /// The set: by id, no id twice. One that is there counts before one that is missed.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut by_id: BTreeMap<&str, &Ranked> = BTreeMap::new();
        for ranked in self.there.values() {
            let id = ranked.1.id.as_str();
            if by_id.get(id).is_none_or(|other| other.0 < ranked.0) {
                by_id.insert(id, ranked);
            }
        }
        for ranked in self.missed.values() {
            by_id.entry(ranked.1.id.as_str()).or_insert(ranked);
        }
        by_id.into_values().map(|(_, instance)| instance.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> Instance {
        Instance::new(id.into(), Kind::Node, "drpc://127.0.0.1:1")
    }

    fn found(key: &str, record: Result<Instance, String>) -> Found {
        Found { key: key.to_owned(), version: 1, rank: 0, record }
    }

    fn record(instance: &Instance) -> Found {
        found(instance.id.as_str(), Ok(instance.clone()))
    }

    fn unreadable(key: &str) -> Found {
        found(key, Err("it is empty".to_owned()))
    }

    fn ids(known: &Known) -> Vec<String> {
        known.snapshot().iter().map(|instance| instance.id.as_str().to_owned()).collect()
    }

    #[test]
    fn after_an_outage_those_who_are_gone_are_missed_until_they_had_their_time() {
        let mut known = Known::new("etcd", Kind::Node);
        known.replace(vec![record(&node("a")), record(&node("b"))]);
        known.replace(vec![record(&node("a"))]);
        assert_eq!(ids(&known), ["a"], "without an outage, gone is gone");
        known.replace(vec![record(&node("a")), record(&node("b")), record(&node("c"))]);
        known.doubt();
        known.replace(vec![record(&node("a"))]);
        assert_eq!(ids(&known), ["a", "b", "c"]);
        known.replace(Vec::new());
        assert_eq!(ids(&known), ["a", "b", "c"]);
        known.put(record(&node("b")));
        known.trust();
        assert_eq!(ids(&known), ["b"]);
        known.replace(Vec::new());
        assert!(ids(&known).is_empty());
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn one_key_that_goes_after_an_outage_is_missed_too() {
        let mut known = Known::new("etcd", Kind::Node);
        known.replace(vec![record(&node("a")), record(&node("b"))]);
        known.remove("b".to_owned());
        assert_eq!(ids(&known), ["a"]);
        known.doubt();
        known.remove("a".to_owned());
        assert_eq!(ids(&known), ["a"]);
        known.trust();
        assert!(ids(&known).is_empty());
    }

    #[test]
    fn one_that_said_that_it_goes_is_not_missed() {
        let mut known = Known::new("etcd", Kind::Node);
        let hanging = Instance { state: State::Hang, ..node("a") };
        known.replace(vec![record(&hanging), record(&node("b"))]);
        known.doubt();
        known.replace(Vec::new());
        assert_eq!(ids(&known), ["b"]);
    }

    #[test]
    fn a_value_that_is_no_record_is_skipped_and_counted_while_it_is_there() {
        let mut known = Known::new("etcd", Kind::Node);
        let gate = Instance::new("g".into(), Kind::Gate, "");
        known.replace(vec![unreadable("x"), record(&node("a")), record(&gate)]);
        assert_eq!((ids(&known), known.unread()), (vec!["a".to_owned()], 2));
        known.replace(vec![record(&node("a")), record(&node("g"))]);
        assert_eq!((ids(&known), known.unread()), (vec!["a".to_owned(), "g".to_owned()], 0));
        known.put(unreadable("a"));
        assert_eq!((ids(&known), known.unread()), (vec!["g".to_owned()], 1));
    }

    #[test]
    fn of_two_records_for_one_id_the_one_with_the_higher_rank_counts() {
        for other in ["0", "z"] {
            let mut known = Known::new("etcd", Kind::Node);
            let stray = found(other, Ok(Instance { weight: 9, ..node("a") }));
            known.replace(vec![stray, Found { rank: 1, ..record(&node("a")) }]);
            assert_eq!(*known.snapshot(), [node("a")]);
        }
    }
}
