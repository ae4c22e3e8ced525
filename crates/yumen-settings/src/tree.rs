//! What was written, before anybody asks what it means: values by key, each with where it came from.
//!
//! Formats fill it, environment and flags write over it, sections read it. It knows no key and no
//! default. A key is dotted, begins with the stem of its file, as in `etc.packet.routeBytes`, and
//! counts list items from 0, as in `etc.registry.etcd.addrs.0`.

use crate::format::DEPTH_MAX;
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// In this file.
    File(Arc<Path>),
    /// In this environment variable.
    Env(Arc<str>),
    /// On the command line, as this flag.
    Flag(Arc<str>),
    /// In the program.
    Code,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Code => f.write_str("code"),
        }
    }
}

/// A value as it was written. Formats without types (xml, environment, flags) have only texts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing, as `null` in yaml and json: counts as not written.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text. Dates of toml are texts.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

impl Node {
    /// The tables, if it is one.
    pub fn table(&self) -> Option<&BTreeMap<String, Self>> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }

    /// What stands under `key`, relative to this node. `None` for nothing and for null.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let mut node = self;
        for part in key.split('.').filter(|part| !part.is_empty()) {
            node = match &node.value {
                Value::Table(table) => table.get(part)?,
                Value::List(list) => list.get(part.parse::<usize>().ok()?)?,
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                    return None;
                }
            };
        }
        (node.value != Value::Null).then_some(node)
    }

    /// What stands under one part of a key, made if it is missing. What is in the way becomes a table.
    fn make(&mut self, part: &str, empty: impl Fn() -> Self) -> Option<&mut Self> {
        let at = part.parse::<usize>().ok();
        let fits = match &self.value {
            Value::Table(_) => true,
            Value::List(list) => at.is_some_and(|at| at <= list.len()),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                false
            }
        };
        if !fits {
            *self = empty();
        }
        match &mut self.value {
            Value::Table(table) => Some(table.entry(part.to_owned()).or_insert_with(empty)),
            Value::List(list) => {
                let at = at?;
                if at == list.len() {
                    list.push(empty());
                }
                list.get_mut(at)
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => None,
        }
    }

    fn leaves<'a>(&'a self, key: String, leaves: &mut BTreeMap<String, &'a Self>) {
        match &self.value {
            Value::Null => {}
            Value::Table(table) => {
                for (part, node) in table {
                    node.leaves(format!("{key}.{part}"), leaves);
                }
            }
            Value::List(list) if list.iter().any(|node| node.table().is_some()) => {
                for (part, node) in list.iter().enumerate() {
                    node.leaves(format!("{key}.{part}"), leaves);
                }
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                leaves.insert(key, self);
            }
        }
    }
}

/// Everything that was written, by the stems of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    files: BTreeMap<String, Node>,
}

impl Tree {
    /// What stands under `key`, as `etc.packet.routeBytes`. `None` for nothing and for null.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let (stem, rest) = key.split_once('.').unwrap_or((key, ""));
        self.files.get(stem)?.get(rest)
    }

    /// The content of each file, by its stem.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.files.iter().map(|(stem, node)| (stem.as_str(), node))
    }

    /// Puts the content of a file in its place.
    pub fn insert(&mut self, stem: impl Into<String>, content: Node) {
        self.files.insert(stem.into(), content);
    }

    /// Writes one value over whatever stands under `key`; what is missing above it becomes tables. In a
    /// list, the number behind its last item adds one.
    ///
    /// # Errors
    /// [`BadKey`], and nothing is written: a part of the key is empty, there is no second part, or there
    /// are more than [`DEPTH_MAX`].
    pub fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), BadKey> {
        let parts = key.split('.').count();
        if parts < 2 || key.split('.').any(str::is_empty) {
            return Err(BadKey::Part);
        }
        if parts > DEPTH_MAX {
            return Err(BadKey::Long);
        }
        let empty = || Node { value: Value::Table(BTreeMap::new()), origin: origin.clone() };
        let (stem, rest) = key.split_once('.').unwrap_or((key, ""));
        let mut node = self.files.entry(stem.to_owned()).or_insert_with(empty);
        for part in rest.split('.') {
            node = node.make(part, empty).ok_or(BadKey::Part)?;
        }
        *node = Node { value, origin };
        Ok(())
    }

    /// Every value that is neither a table nor a list of tables, by its key, in the order of the keys.
    /// Nulls are left out.
    pub fn leaves(&self) -> BTreeMap<String, &Node> {
        let mut leaves = BTreeMap::new();
        for (stem, node) in &self.files {
            node.leaves(stem.clone(), &mut leaves);
        }
        leaves
    }
}

/// A key to which nothing can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// A part is empty, or there is only one.
    #[error("a key is two parts or more with dots between them, as in `etc.packet.seqBytes`")]
    Part,
    /// There are more parts than tables may stand inside each other.
    #[error("a key has at most {DEPTH_MAX} parts")]
    Long,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_under_the_key_it_was_written_to_and_says_from_where() {
        let mut tree = Tree::default();
        tree.set("etc.packet.routeBytes", Value::Int(4), Origin::Code).unwrap();
        tree.set("etc.packet", Value::Int(1), Origin::Code).unwrap();
        assert_eq!(tree.get("etc.packet.routeBytes"), None);
        let list = Value::List(vec![Node { value: Value::Null, origin: Origin::Code }]);
        tree.set("etc.packet.routeBytes", list, Origin::Env("YUMEN_X".into())).unwrap();
        let node = tree.get("etc.packet.routeBytes").unwrap();
        assert_eq!(node.origin.to_string(), "environment YUMEN_X");
        assert_eq!(tree.get("etc.packet.routeBytes.0"), None, "null is nothing");
        assert_eq!(tree.get("etc.packet.routeBytes.1"), None);
        assert_eq!(tree.get("etc").and_then(|etc| etc.get("packet.routeBytes")), Some(node));
    }

    #[test]
    fn an_item_of_a_list_is_written_over_or_added_behind_the_last() {
        let node = |text: &str| Node { value: Value::Text(text.to_owned()), origin: Origin::Code };
        let mut tree = Tree::default();
        tree.set("etc.addrs", Value::List(vec![node("a"), node("b")]), Origin::Code).unwrap();
        tree.set("etc.addrs.1", node("c").value, Origin::Code).unwrap();
        tree.set("etc.addrs.2", node("d").value, Origin::Code).unwrap();
        let list = Value::List(vec![node("a"), node("c"), node("d")]);
        assert_eq!(tree.get("etc.addrs").unwrap().value, list);
        tree.set("etc.addrs.9.x", Value::Int(1), Origin::Code).unwrap();
        assert_eq!(tree.get("etc.addrs.9.x").unwrap().value, Value::Int(1));
    }

    #[test]
    fn a_key_to_which_nothing_can_be_written_is_refused() {
        let mut tree = Tree::default();
        for key in ["", "etc", ".", "etc.", "etc..a", ".a"] {
            assert_eq!(tree.set(key, Value::Int(1), Origin::Code), Err(BadKey::Part), "{key}");
        }
        let long = vec!["a"; DEPTH_MAX + 1].join(".");
        assert_eq!(tree.set(&long, Value::Int(1), Origin::Code), Err(BadKey::Long));
        assert_eq!(tree, Tree::default());
    }

    #[test]
    fn leaves_are_values_and_whole_lists_of_values() {
        let mut tree = Tree::default();
        let node = |value| Node { value, origin: Origin::Code };
        let table = Value::Table([("x".to_owned(), node(Value::Int(1)))].into());
        let lists = [
            ("a.plain", vec![node(Value::Int(1)), node(Value::Null)]),
            ("a.tables", vec![node(table)]),
        ];
        for (key, list) in lists {
            tree.set(key, Value::List(list), Origin::Code).unwrap();
        }
        tree.set("a.null", Value::Null, Origin::Code).unwrap();
        let keys: Vec<_> = tree.leaves().into_keys().collect();
        assert_eq!(keys, ["a.plain", "a.tables.0.x"]);
    }
}
