//! What was written, before anybody asks what it means: values by key, each with where it came from.
//!
//! Formats fill it, environment and flags write over it, sections read it. It knows no key and no
//! default. A key is dotted, begins with the stem of its file, as in `etc.packet.routeBytes`, and
//! counts list items from 0, as in `etc.registry.etcd.addrs.0`.

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

    /// Writes one value over whatever stands under `key`; what is missing above it becomes tables.
    pub fn set(&mut self, key: &str, value: Value, origin: Origin) {
        let empty = || Node { value: Value::Table(BTreeMap::new()), origin: origin.clone() };
        let mut parts = key.split('.');
        let stem = parts.next().unwrap_or_default().to_owned();
        let mut node = self.files.entry(stem).or_insert_with(empty);
        for part in parts {
            if node.table().is_none() {
                *node = empty();
            }
            let Value::Table(table) = &mut node.value else { return };
            node = table.entry(part.to_owned()).or_insert_with(empty);
        }
        *node = Node { value, origin };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_under_the_key_it_was_written_to_and_says_from_where() {
        let mut tree = Tree::default();
        tree.set("etc.packet.routeBytes", Value::Int(4), Origin::Code);
        tree.set("etc.packet", Value::Int(1), Origin::Code);
        assert_eq!(tree.get("etc.packet.routeBytes"), None);
        let list = Value::List(vec![Node { value: Value::Null, origin: Origin::Code }]);
        tree.set("etc.packet.routeBytes", list, Origin::Env("YUMEN_X".into()));
        let node = tree.get("etc.packet.routeBytes").unwrap();
        assert_eq!(node.origin.to_string(), "environment YUMEN_X");
        assert_eq!(tree.get("etc.packet.routeBytes.0"), None, "null is nothing");
        assert_eq!(tree.get("etc.packet.routeBytes.1"), None);
        assert_eq!(tree.get("etc").and_then(|etc| etc.get("packet.routeBytes")), Some(node));
    }
}
