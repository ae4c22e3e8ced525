//! toml, yaml and json: the formats whose values have types.
//!
//! The parsers are others'; here are their bounds, their errors in our words, and one way from what
//! they read to a [`Value`]. A number that no `i64` and no `f64` holds exactly enough stays a text.

use super::{DEPTH_MAX, Fault, Format, node};
use crate::{problem::Position, tree::Value};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// Most values in a yaml file, and most that its aliases may unfold to. (The other formats cannot hold
/// more values than their size allows.)
const YAML_NODES_MAX: usize = 100_000;

pub(super) fn toml(text: &str) -> Result<Value, Fault> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let position = error.span().map(|span| Position::of(text, span.start));
        Fault::invalid(Format::Toml, position, error.message())
    })?;
    Ok(from_toml(toml::Value::Table(table)))
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::Text(text),
        toml::Value::Integer(number) => Value::Int(number),
        toml::Value::Float(number) => Value::Float(number),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(date) => Value::Text(date.to_string()),
        toml::Value::Array(list) => {
            Value::List(list.into_iter().map(|value| node(from_toml(value))).collect())
        }
        toml::Value::Table(table) => {
            Value::Table(table.into_iter().map(|(k, value)| (k, node(from_toml(value)))).collect())
        }
    }
}

pub(super) fn json(text: &str) -> Result<Value, Fault> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let untyped: Untyped = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let what = said.split(" at line ").next().unwrap_or(&said);
        Fault::invalid(Format::Json, Some(json_position(text, &error)), what)
    })?;
    Ok(untyped.0)
}

/// serde_json counts columns in bytes.
fn json_position(text: &str, error: &serde_json::Error) -> Position {
    let above = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let start: usize = above.map(str::len).sum();
    Position::of(text, start.saturating_add(error.column().saturating_sub(1)))
}

pub(super) fn yaml(text: &str) -> Result<Value, Fault> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX.saturating_add(1),
            flow_nesting_limit: DEPTH_MAX.saturating_add(1),
            max_nodes: YAML_NODES_MAX,
            max_events: YAML_NODES_MAX.saturating_mul(2),
            max_recorded_anchor_events: YAML_NODES_MAX.saturating_mul(2),
            max_recorded_anchor_bytes: super::FILE_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: YAML_NODES_MAX,
        },
        // As yaml 1.2 and due have it: `no` is a text, and so is `007`.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    };
    let untyped: Untyped = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let position = error.location().and_then(|at| {
            let line = usize::try_from(at.line()).ok()?;
            Some(Position { line, column: usize::try_from(at.column()).ok()? })
        });
        let said = yaml_message(&error);
        Fault::invalid(Format::Yaml, position, said.split(" at line ").next().unwrap_or(&said))
    })?;
    Ok(untyped.0)
}

fn yaml_message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    if let Error::MultipleDocuments { .. } = error {
        "there is a second document; put all keys into one".to_owned()
    } else if let Error::DuplicateMappingKey { key: Some(key), .. } = error {
        twice(key)
    } else {
        error.to_string()
    }
}

fn twice(key: &str) -> String {
    format!("the key `{key}` is written twice; keep one of them")
}

/// Whatever a format with types holds.
struct Untyped(Value);

impl<'de> Deserialize<'de> for Untyped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Int))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Int))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Untyped(value)) = list.next_element()? {
            values.push(node(value));
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut table = BTreeMap::new();
        while let Some(Untyped(key)) = map.next_key()? {
            let key = match key {
                Value::Text(text) => text,
                Value::Bool(truth) => truth.to_string(),
                Value::Int(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                Value::Null | Value::List(_) | Value::Table(_) => {
                    return Err(de::Error::custom("a key must be a text"));
                }
            };
            if table.contains_key(&key) {
                return Err(de::Error::custom(twice(&key)));
            }
            let Untyped(value) = map.next_value()?;
            table.insert(key, node(value));
        }
        Ok(Value::Table(table))
    }
}
