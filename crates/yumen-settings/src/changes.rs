//! What differs between two readings of the settings, key by key.
//!
//! Pure. A key that was taken out of the files is a change like any other: it goes back to its default
//! (W-23). The one thing to know: values of secret keys, and of the user's keys, of which nobody here
//! can tell whether they are secret, are compared and never shown.

use crate::{
    Settings,
    key::{Key, Standing},
    settings::keys,
    tree::{Node, Value},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One key that has another value now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The key, with the stem of its file: `etc.log.level`.
    pub key: String,
    /// What becomes of it: whether the change applies at once, needs a restart, or has no effect. `None`
    /// for a key of the user's.
    pub standing: Option<Standing>,
    /// The values before and now, the default where none is written, as they are written in toml. `None`
    /// if they are not to be shown.
    pub values: Option<(String, String)>,
}

impl Change {
    /// Whether it applies at once.
    pub fn is_live(&self) -> bool {
        self.standing == Some(Standing::Live)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        self.values.as_ref().map_or(Ok(()), |(old, new)| write!(f, " from {old} to {new}"))
    }
}

impl Settings {
    /// What `other`, which came after, says differently: first the keys of the reference page in its
    /// order, then the user's by name. Where and how a value is written makes no difference.
    pub fn changed(&self, other: &Self) -> Vec<Change> {
        let keys = keys();
        let mut changes: Vec<_> = keys.iter().filter_map(|key| self.change(other, key)).collect();
        let known: BTreeSet<_> = keys.iter().map(|key| key.name).collect();
        let (old, new) = (self.users(&known), other.users(&known));
        let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in all {
            let is_same = match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) => same(&old.value, &new.value),
                _ => false,
            };
            if !is_same {
                changes.push(Change { key: key.clone(), standing: None, values: None });
            }
        }
        changes
    }

    fn change(&self, other: &Self, key: &Key) -> Option<Change> {
        let (old, new) = (self.shown(key), other.shown(key));
        let written = |settings: &Self| {
            let node = settings.tree().get(key.name);
            node.map_or_else(key.default, |node| node.value.clone())
        };
        let is_same = if key.secret { written(self) == written(other) } else { old == new };
        let values = (!key.secret).then_some((old, new));
        let (key, standing) = (key.name.to_owned(), Some(key.standing));
        (!is_same).then_some(Change { key, standing, values })
    }

    /// What is written under keys that nobody here knows.
    fn users(&self, known: &BTreeSet<&str>) -> BTreeMap<String, &Node> {
        let mut leaves = self.tree().leaves();
        leaves.retain(|leaf, _| {
            let above = leaf.match_indices('.').filter_map(|(at, _)| leaf.get(..at));
            !above.chain([leaf.as_str()]).any(|key| known.contains(key))
        });
        leaves
    }
}

/// Whether the values are equal, wherever their parts were written.
fn same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::List(old), Value::List(new)) => {
            old.len() == new.len()
                && old.iter().zip(new).all(|(old, new)| same(&old.value, &new.value))
        }
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(file: &str, text: &str) -> Settings {
        Settings::parse(text, Path::new(file)).unwrap()
    }

    #[test]
    fn changes_are_what_was_added_altered_and_removed() {
        let old = parse("a", "pid = 'x'\nshutdownMaxWaitTime = '1m'\n[log]\nlevel = 'info'");
        let new = parse(
            "b",
            "shutdownMaxWaitTime = '60s'\n[log]\nlevel = 'warn'\n[packet]\nseqBytes = 4",
        );
        let changes: Vec<_> = old.changed(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            changes,
            [
                "etc.pid from \"x\" to \"\"",
                "etc.packet.seqBytes from 2 to 4",
                "etc.log.level from \"info\" to \"warn\"",
            ]
        );
        let live: Vec<_> = old.changed(&new).iter().map(Change::is_live).collect();
        assert_eq!(live, [false, false, true]);
        assert_eq!(old.changed(&old), []);
    }

    #[test]
    fn keys_of_the_users_are_compared_by_value_and_only_named() {
        let old = parse("a", "[game]\nlist = [1, [2]]\nmax = 1\npassword = 'one'");
        let new = parse("b", "[game]\nlist = [1, [2]]\nmin = 1\npassword = 'two'");
        let changes: Vec<_> = old.changed(&new).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["etc.game.max", "etc.game.min", "etc.game.password"]);
        let new = parse("b", "[game]\nlist = [1, [3]]\nmax = 1\npassword = 'one'");
        assert_eq!(old.changed(&new).len(), 1);
    }

    #[test]
    fn a_secret_is_compared_and_never_shown() {
        let [old, new] =
            ["one", "two"].map(|word| parse("a", &format!("[yumen.admin]\ntoken = '{word}'")));
        let [change] = &old.changed(&new)[..] else { panic!() };
        assert_eq!(change.to_string(), "etc.yumen.admin.token");
        assert!(!format!("{change:?}").contains("two"));
    }
}
