//! The names of keys and channels, and the bytes of due's events.
//!
//! Pure. What due knows is exactly due's (`<prefix>:locate:…`); what is ours stands below
//! `<prefix>:yumen:` or, for one place, beside due's key with that key as its hash tag, so that both lie
//! in one slot wherever slots matter.

use serde::{Deserialize, Serialize};
use yumen_core::locator::Role;
use yumen_proto::{InstanceId, UserId};

/// Names below one prefix, in one database.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    db: i64,
}

/// The keys and words of one user's place in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) user: UserId,
    pub(super) role: Role,
    /// Due's key: a string for a gate, a hash by group for nodes.
    pub(super) place: String,
    /// Our record beside it.
    pub(super) record: String,
}

impl Seat {
    /// As due's events name the kind.
    pub(super) fn kind(&self) -> &'static str {
        match self.role {
            Role::Gate => "gate",
            Role::Node(_) => "node",
        }
    }

    /// The nodes' group; empty for a gate.
    pub(super) fn group(&self) -> &str {
        match &self.role {
            Role::Gate => "",
            Role::Node(group) => group,
        }
    }

    /// Due's event about it.
    pub(super) fn event(&self, change: Change, instance: &InstanceId) -> DueEvent {
        let kind = match (&self.role, change) {
            (Role::Gate, Change::Bound) => 1,
            (Role::Node(_), Change::Bound) => 2,
            (Role::Gate, Change::Unbound) => 3,
            (Role::Node(_), Change::Unbound) => 4,
        };
        DueEvent {
            uid: self.user.0,
            kind,
            instance: instance.to_string(),
            instance_kind: self.kind().to_owned(),
            group: self.group().to_owned(),
        }
    }
}

/// What due tells of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Bound,
    Unbound,
}

/// Due's event: all members always, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DueEvent {
    uid: i64,
    #[serde(rename = "type")]
    kind: u8,
    #[serde(rename = "insID")]
    instance: String,
    #[serde(rename = "insKind")]
    instance_kind: String,
    #[serde(rename = "insName")]
    group: String,
}

impl DueEvent {
    /// Its bytes. Numbers and texts cannot fail to be written; if they did, due would skip the event.
    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what due wrote; `None` if it is no event.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What it says: who, in which role, on which instance, and how that changed.
    pub(super) fn meaning(&self) -> Option<(UserId, Role, InstanceId, Change)> {
        let user = UserId::new(self.uid)?;
        let (role, change) = match self.kind {
            1 => (Role::Gate, Change::Bound),
            2 => (Role::node(self.group.as_str()), Change::Bound),
            3 => (Role::Gate, Change::Unbound),
            4 => (Role::node(self.group.as_str()), Change::Unbound),
            _ => return None,
        };
        Some((user, role, InstanceId::from(self.instance.as_str()), change))
    }
}

impl Keys {
    pub(super) fn new(prefix: &str, db: i64) -> Self {
        Self { prefix: prefix.to_owned(), db }
    }

    pub(super) fn seat(&self, user: UserId, role: &Role) -> Seat {
        let prefix = &self.prefix;
        let (place, group) = match role {
            Role::Gate => (format!("{prefix}:locate:user:{user}:gate"), None),
            Role::Node(group) => (format!("{prefix}:locate:user:{user}:node"), Some(group)),
        };
        let mut record = if hash_tag(&place).is_some() {
            format!("{place}:yumen")
        } else {
            format!("{{{place}}}:yumen")
        };
        if let Some(group) = group {
            record.push(':');
            record.push_str(group);
        }
        Seat { user, role: role.clone(), place, record }
    }

    /// Where due tells what gates do.
    pub(super) fn gate_events(&self) -> String {
        format!("{}:locate:cluster:gate:event", self.prefix)
    }

    /// Where due tells what nodes do.
    pub(super) fn node_events(&self) -> String {
        format!("{}:locate:cluster:node:event", self.prefix)
    }

    pub(super) fn events_of(&self, role: &Role) -> String {
        match role {
            Role::Gate => self.gate_events(),
            Role::Node(_) => self.node_events(),
        }
    }

    /// Where we tell everything: with epochs and lives. Channels know no databases; this one does.
    pub(super) fn moves(&self) -> String {
        match self.db {
            0 => self.ours("moves"),
            db => format!("{}:{db}", self.ours("moves")),
        }
    }

    /// Hash: instance to the life that is open.
    pub(super) fn lives(&self) -> String {
        self.ours("lives")
    }

    /// Hash: instance to the last life that is over and may have left places.
    pub(super) fn ended(&self) -> String {
        self.ours("ended")
    }

    /// Sorted set: every place held by an instance that has lives, sorted by instance.
    pub(super) fn seats(&self) -> String {
        self.ours("seats")
    }

    /// Whose turn it is to look for lives that are overdue.
    pub(super) fn turn(&self) -> String {
        self.ours("turn")
    }

    /// There while the instance renews.
    pub(super) fn life(&self, instance: &InstanceId) -> String {
        format!("{}:yumen:life:{instance}", self.prefix)
    }

    /// The last life of the instance, kept a while.
    pub(super) fn last(&self, instance: &InstanceId) -> String {
        format!("{}:yumen:last:{instance}", self.prefix)
    }

    /// On Redis Cluster, set: every instance that has or had lives.
    pub(super) fn instances(&self) -> String {
        self.ours("instances")
    }

    /// On Redis Cluster, hash: the lives of one instance.
    pub(super) fn own_life(&self, instance: &InstanceId) -> String {
        self.own(instance, "life")
    }

    /// On Redis Cluster, hash: the places of one instance, in the slot of its lives.
    pub(super) fn own_seats(&self, instance: &InstanceId) -> String {
        self.own(instance, "seats")
    }

    fn own(&self, instance: &InstanceId, name: &str) -> String {
        let whole = self.ours(instance.as_str());
        if hash_tag(&self.prefix).is_some() {
            format!("{whole}:{name}")
        } else {
            format!("{{{whole}}}:{name}")
        }
    }

    fn ours(&self, name: &str) -> String {
        format!("{}:yumen:{name}", self.prefix)
    }
}

/// The part of a key that decides its slot, if it is not the whole key.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// What is wrong with a prefix. Braces that are no hash tag would tear a place and its record apart.
pub(super) fn prefix_problem(prefix: &str) -> Option<&'static str> {
    let braces = prefix.contains(['{', '}']);
    (braces && hash_tag(prefix).is_none()).then_some("its braces are no hash tag; write `{name}`")
}

/// A member of the seats: instance, kind, user and group with zeros between.
pub(super) fn read_member(keys: &Keys, instance: &str, member: &[u8]) -> Option<Seat> {
    read_seat(keys, member.strip_prefix(instance.as_bytes())?.strip_prefix(b"\0")?)
}

/// A member of one instance's seats: kind, user and group with zeros between.
pub(super) fn member(seat: &Seat) -> Vec<u8> {
    format!("{}\0{}\0{}", seat.kind(), seat.user, seat.group()).into_bytes()
}

/// Reads [`member`].
pub(super) fn read_seat(keys: &Keys, member: &[u8]) -> Option<Seat> {
    let text = std::str::from_utf8(member).ok()?;
    let (kind, rest) = text.split_once('\0')?;
    let (user, group) = rest.split_once('\0')?;
    let role = match kind {
        "gate" => Role::Gate,
        "node" => Role::node(group),
        _ => return None,
    };
    Some(keys.seat(UserId(user.parse().ok()?), &role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_events_are_the_ones_due_writes() {
        let keys = Keys::new("due:locate", 0);
        let gate = keys.seat(UserId(10_001), &Role::Gate);
        assert_eq!(gate.place, "due:locate:locate:user:10001:gate");
        assert_eq!(keys.gate_events(), "due:locate:locate:cluster:gate:event");
        let event = gate.event(Change::Bound, &"gate-1".into());
        let bytes = br#"{"uid":10001,"type":1,"insID":"gate-1","insKind":"gate","insName":""}"#;
        assert_eq!(event.bytes(), bytes);
        assert_eq!(DueEvent::read(bytes), Some(event));

        let node = keys.seat(UserId(10_001), &Role::node("room"));
        assert_eq!(node.place, "due:locate:locate:user:10001:node");
        let event = node.event(Change::Bound, &"node-1".into());
        let bytes = br#"{"uid":10001,"type":2,"insID":"node-1","insKind":"node","insName":"room"}"#;
        assert_eq!(event.bytes(), bytes);
        let unbound = node.event(Change::Unbound, &"node-1".into());
        let told = (UserId(10_001), Role::node("room"), "node-1".into(), Change::Unbound);
        assert_eq!(unbound.meaning(), Some(told));
    }

    #[test]
    fn an_empty_prefix_leaves_its_colon() {
        let gate = Keys::new("", 0).seat(UserId(1), &Role::Gate);
        assert_eq!(gate.place, ":locate:user:1:gate");
    }

    #[test]
    fn a_record_lies_in_the_slot_of_its_place() {
        for prefix in ["due", "{due}", "a{b}c"] {
            assert_eq!(prefix_problem(prefix), None);
            for role in [Role::Gate, Role::node("ro{om}"), Role::node("}{")] {
                let seat = Keys::new(prefix, 0).seat(UserId(7), &role);
                let slot = hash_tag(&seat.place).unwrap_or(&seat.place);
                assert_eq!(hash_tag(&seat.record), Some(slot), "{seat:?}");
                assert_ne!(seat.place, seat.record);
            }
        }
        for torn in ["{due", "due}", "{}", "}due{"] {
            assert!(prefix_problem(torn).is_some(), "{torn}");
        }
    }

    #[test]
    fn what_is_no_event_of_due_means_nothing() {
        for text in ["", "{}", "[1]", r#"{"uid":0,"type":1}"#, r#"{"uid":5,"type":9}"#] {
            let event = DueEvent::read(text.as_bytes());
            assert_eq!(event.and_then(|event| event.meaning()), None, "{text}");
        }
    }

    #[test]
    fn members_are_read_back_and_others_instances_are_not() {
        let keys = Keys::new("due", 0);
        let seat = keys.seat(UserId(7), &Role::node("room"));
        assert_eq!(read_member(&keys, "node-1", b"node-1\0node\x007\0room"), Some(seat));
        for other in [&b"node-11\0node\x007\0room"[..], b"node-1\0node\0x\0room", b"node-1\0gate"] {
            assert_eq!(read_member(&keys, "node-1", other), None);
        }
    }
}
