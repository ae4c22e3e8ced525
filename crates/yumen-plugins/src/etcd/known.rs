//! The instances under one prefix as etcd told them, and the set that is published.
//!
//! Pure: bytes in, a set out. The one thing to know: after an outage of the registry, what is gone from it
//! stays in the set for a while. A server that slept or lost its memory has dropped everybody's lease, and
//! those who live register again within that time; taking the gap for the truth would empty every gate.

use super::messages::{Event, KeyValue};
use std::collections::{BTreeMap, BTreeSet};
use yumen_core::cluster::{Instance, Kind, Snapshot, State};

/// Most instances of one kind; more are left out.
const INSTANCES_MAX: usize = 10_000;
/// Most values that are remembered as told.
const TOLD_MAX: usize = 1_000;

type Key = Vec<u8>;

#[derive(Debug)]
pub(super) struct Known {
    kind: Kind,
    there: BTreeMap<Key, Instance>,
    /// Gone from the registry, and believed to live.
    missed: BTreeMap<Key, Instance>,
    /// Values that are no record of this kind.
    unread: BTreeSet<Key>,
    /// Those of them that were warned about, with their revision.
    told: BTreeSet<(Key, i64)>,
    full: bool,
    /// What is gone goes at once.
    certain: bool,
}

impl Known {
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
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
    pub(super) const fn doubt(&mut self) {
        self.certain = false;
    }

    /// Those who live had their time: what is missed is gone.
    pub(super) fn trust(&mut self) {
        self.certain = true;
        self.missed.clear();
    }

    pub(super) const fn is_certain(&self) -> bool {
        self.certain
    }

    /// How many values are no record of this kind now.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// What a whole read found.
    pub(super) fn replace(&mut self, found: Vec<KeyValue>) {
        let before = std::mem::take(&mut self.there);
        self.unread.clear();
        found.into_iter().for_each(|kv| self.put(kv));
        for (key, instance) in before {
            if !self.there.contains_key(&key) {
                self.miss(key, instance);
            }
        }
    }

    /// One change.
    pub(super) fn apply(&mut self, event: Event) {
        let Some(kv) = event.kv else { return };
        if event.kind == 0 {
            return self.put(kv);
        }
        self.unread.remove(&kv.key);
        if let Some(instance) = self.there.remove(&kv.key) {
            self.miss(kv.key, instance);
        }
    }

    /// One that said before that it goes is gone, at any time.
    fn miss(&mut self, key: Key, instance: Instance) {
        if !self.certain && matches!(instance.state, State::Work | State::Busy) {
            self.missed.insert(key, instance);
        }
    }

    fn put(&mut self, kv: KeyValue) {
        self.missed.remove(&kv.key);
        self.unread.remove(&kv.key);
        match self.read(&kv) {
            Ok(instance)
                if self.there.len() < INSTANCES_MAX || self.there.contains_key(&kv.key) =>
            {
                self.there.insert(kv.key, instance);
            }
            Ok(_) => {
                if !self.full {
                    let kind = self.kind;
                    tracing::warn!(
                        ?kind,
                        "etcd holds more than {INSTANCES_MAX} instances: the rest is left out"
                    );
                }
                self.full = true;
            }
            Err(why) => {
                self.there.remove(&kv.key);
                self.tell(&kv, &why);
                self.unread.insert(kv.key);
            }
        }
    }

    fn read(&self, kv: &KeyValue) -> Result<Instance, String> {
        let instance: Instance =
            serde_json::from_slice(&kv.value).map_err(|error| error.to_string())?;
        if instance.kind != self.kind {
            return Err(format!("it says that it is a {:?}", instance.kind));
        }
        Ok(instance)
    }

    /// Once for each value, however often it is read.
    fn tell(&mut self, kv: &KeyValue, why: &str) {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        if self.told.insert((kv.key.clone(), kv.mod_revision)) {
            let key = String::from_utf8_lossy(&kv.key);
            tracing::warn!(%key, "a value in etcd is not a record and is skipped: {why}");
        }
    }

    /// The set: by id, no id twice. Of two keys for one id, the one that ends with the id counts.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut by_id = BTreeMap::new();
        for (key, instance) in self.missed.iter().chain(&self.there) {
            let id = instance.id.as_str();
            let own_key = key.ends_with(format!("/{id}").as_bytes());
            if own_key || !by_id.contains_key(id) {
                by_id.insert(id, instance);
            }
        }
        by_id.into_values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> Instance {
        Instance::new(id.into(), Kind::Node, "drpc://127.0.0.1:1")
    }

    fn kv(key: &str, value: Vec<u8>) -> KeyValue {
        KeyValue { key: format!("/services/node/{key}").into(), value, ..KeyValue::default() }
    }

    fn record(instance: &Instance) -> KeyValue {
        kv(instance.id.as_str(), serde_json::to_vec(instance).unwrap())
    }

    fn gone(id: &str) -> Event {
        Event { kind: 1, kv: Some(kv(id, Vec::new())) }
    }

    fn ids(known: &Known) -> Vec<String> {
        known.snapshot().iter().map(|instance| instance.id.as_str().to_owned()).collect()
    }

    #[test]
    fn after_an_outage_those_who_are_gone_are_missed_until_they_had_their_time() {
        let mut known = Known::new(Kind::Node);
        known.replace(vec![record(&node("a")), record(&node("b"))]);
        known.apply(gone("b"));
        assert_eq!(ids(&known), ["a"], "without an outage, gone is gone");
        known.replace(vec![record(&node("a")), record(&node("b")), record(&node("c"))]);
        known.doubt();
        known.replace(vec![record(&node("a"))]);
        assert_eq!(ids(&known), ["a", "b", "c"]);
        known.apply(gone("a"));
        assert_eq!(ids(&known), ["a", "b", "c"]);
        known.apply(Event { kind: 0, kv: Some(record(&node("b"))) });
        known.trust();
        assert_eq!(ids(&known), ["b"]);
        known.apply(gone("b"));
        assert!(ids(&known).is_empty());
    }

    #[test]
    fn one_that_said_that_it_goes_is_not_missed() {
        let mut known = Known::new(Kind::Node);
        let hanging = Instance { state: State::Hang, ..node("a") };
        known.replace(vec![record(&hanging), record(&node("b"))]);
        known.doubt();
        known.apply(gone("a"));
        assert_eq!(ids(&known), ["b"]);
    }

    #[test]
    fn a_value_that_is_no_record_is_skipped_and_counted_while_it_is_there() {
        let mut known = Known::new(Kind::Node);
        let gate = Instance::new("g".into(), Kind::Gate, "");
        let wrong = kv("g", serde_json::to_vec(&gate).unwrap());
        known.replace(vec![kv("x", b"{".to_vec()), record(&node("a")), wrong]);
        assert_eq!((ids(&known), known.unread()), (vec!["a".to_owned()], 2));
        known.apply(gone("x"));
        known.apply(Event { kind: 0, kv: Some(kv("g", serde_json::to_vec(&node("g")).unwrap())) });
        assert_eq!((ids(&known), known.unread()), (vec!["a".to_owned(), "g".to_owned()], 0));
        known.apply(Event { kind: 0, kv: Some(kv("a", Vec::new())) });
        assert_eq!((ids(&known), known.unread()), (vec!["g".to_owned()], 1));
    }

    #[test]
    fn of_two_keys_for_one_id_the_one_that_ends_with_it_counts() {
        for other in ["0", "z"] {
            let mut known = Known::new(Kind::Node);
            let stray = Instance { weight: 9, ..node("a") };
            known.replace(vec![kv(other, serde_json::to_vec(&stray).unwrap()), record(&node("a"))]);
            assert_eq!(*known.snapshot(), [node("a")]);
        }
    }
}
