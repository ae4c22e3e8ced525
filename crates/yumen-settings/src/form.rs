//! The forms of values: how each is read from what was written, and how it is written again.
//!
//! Formats without types (xml, environment, flags) have only texts, so every form reads texts. A form
//! knows no key and no default. The one thing to know: where due takes a text that has no meaning for
//! something else, so does the form, and says so in a note; everything else is refused.

use crate::{
    tree::{Node, Origin, Value},
    value,
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// A value as it was read, and what is to be said about it.
pub(crate) struct Read<T> {
    pub(crate) value: T,
    pub(crate) note: Option<String>,
}

impl<T> Read<T> {
    /// A value about which nothing is to be said.
    pub(crate) fn new(value: T) -> Self {
        Self { value, note: None }
    }

    pub(crate) fn noted(value: T, note: String) -> Self {
        Self { value, note: Some(note) }
    }
}

/// A form of values. Its default is used only where reading has failed, and then nothing starts.
pub(crate) trait Form: Sized + Default {
    /// Its name on the reference page.
    const NAME: &'static str;
    /// What a value of it is, behind "it must be".
    const WANTED: &'static str;
    /// Whether it is never shown.
    const SECRET: bool = false;

    /// The value. `None` if it is not of this form.
    fn read(value: &Value) -> Option<Read<Self>>;

    /// As it is written in toml.
    fn show(&self) -> String;

    /// How much it is, for a range: a count, bytes or nanoseconds. `None` for what has no size.
    fn amount(value: &Value) -> Option<i128> {
        let _texts_and_lists_have_none = value;
        None
    }
}

/// What stands in the tables as a default, in the words of a settings file.
pub(crate) trait Literal {
    /// The same as a value.
    fn value(self) -> Value;
}

macro_rules! literal {
    ($($type:ty: |$literal:ident| $value:expr;)*) => {$(
        impl Literal for $type {
            fn value(self) -> Value {
                let $literal = self;
                $value
            }
        }
    )*};
}

literal! {
    bool: |truth| Value::Bool(truth);
    i64: |number| Value::Int(number);
    &str: |text| Value::Text(text.to_owned());
    (): |_empty| Value::Table(BTreeMap::new());
}

impl<const N: usize> Literal for [&str; N] {
    fn value(self) -> Value {
        let node = |text: &str| Node { value: Value::Text(text.to_owned()), origin: Origin::Code };
        Value::List(self.into_iter().map(node).collect())
    }
}

/// What a value is, for a person: itself where it is short.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => quoted(&shortened(&without_password(text))),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// As [`kind`], with what is in lists and tables; not for values that may be secret.
pub(crate) fn inline(value: &Value) -> String {
    nested(value, 2)
}

/// As [`inline`], with lists and tables in each other to `depth`.
fn nested(value: &Value, depth: usize) -> String {
    const SHOWN: usize = 8;
    let Some(deeper) = depth.checked_sub(1) else { return kind(value) };
    let joined = |items: Vec<String>, all: usize| {
        let more = if all > items.len() { ", …" } else { "" };
        format!("{}{more}", items.join(", "))
    };
    match value {
        Value::List(list) => {
            let shown = list.iter().take(SHOWN).map(|node| nested(&node.value, deeper));
            format!("[{}]", joined(shown.collect(), list.len()))
        }
        Value::Table(table) => {
            let row = |(name, node): (&String, &Node)| {
                format!("{name} = {}", nested(&node.value, deeper))
            };
            let shown = table.iter().take(SHOWN).map(row);
            format!("{{ {} }}", joined(shown.collect(), table.len()))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            kind(value)
        }
    }
}

fn shortened(text: &str) -> String {
    const LONG: usize = 60;
    let short: String = text.chars().take(LONG).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// A text in the quotes of toml.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A text, as due makes one of numbers and booleans too.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::List(_) | Value::Table(_) => None,
    }
}

impl Form for String {
    const NAME: &'static str = "text";
    const WANTED: &'static str = "a text";

    fn read(value: &Value) -> Option<Read<Self>> {
        text(value).map(Read::new)
    }

    fn show(&self) -> String {
        quoted(&without_password(self))
    }
}

/// A URL without what stands between `://` and `@`; any other text as it is.
fn without_password(text: &str) -> String {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at_checked(end)?;
        let (_, host) = host.rsplit_once('@')?;
        Some(format!("{scheme}://***@{host}{path}"))
    };
    hidden().unwrap_or_else(|| text.to_owned())
}

/// A text that is never shown: a password, a key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "***" })
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Form for Secret {
    const NAME: &'static str = "text, secret";
    const WANTED: &'static str = "a text";
    const SECRET: bool = true;

    fn read(value: &Value) -> Option<Read<Self>> {
        text(value).map(|text| Read::new(Self(text)))
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Form for bool {
    const NAME: &'static str = "boolean";
    const WANTED: &'static str = "true or false";

    fn read(value: &Value) -> Option<Read<Self>> {
        match value {
            Value::Bool(truth) => Some(*truth),
            Value::Int(number) => Some(*number != 0),
            Value::Text(text) => {
                let text = text.trim();
                let denies = ["no", "off", "n", "f"].iter().any(|no| text.eq_ignore_ascii_case(no));
                let what = "counts as true, as it does for due; write false";
                let note = denies.then(|| format!("{} {what}", quoted(text)));
                return Some(Read { value: value::truth(text), note });
            }
            Value::Null | Value::Float(_) | Value::List(_) | Value::Table(_) => None,
        }
        .map(Read::new)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Table(_) => None,
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Form for $type {
            const NAME: &'static str = "whole number";
            const WANTED: &'static str = "a whole number";

            fn read(value: &Value) -> Option<Read<Self>> {
                Some(Read::new(Self::try_from(whole(value)?).ok()?))
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn amount(value: &Value) -> Option<i128> {
                whole(value).map(i128::from)
            }
        }
    )*};
}

whole_numbers!(u16, u32, u64, usize, i64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// As many as memory can have.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Int(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => value::size(text.trim()),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Table(_) => None,
    }
}

impl Form for Bytes {
    const NAME: &'static str = "size";
    const WANTED: &'static str = "a number of bytes, or a text such as \"4M\"";

    fn read(value: &Value) -> Option<Read<Self>> {
        size(value).map(|bytes| Read::new(Self(bytes)))
    }

    fn show(&self) -> String {
        let units = [(30_u32, "G"), (20, "M"), (10, "K")];
        let exact = |&(shift, _): &(u32, _)| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match units.into_iter().find(exact) {
            Some((shift, unit)) => format!("\"{}{unit}\"", self.0.checked_shr(shift).unwrap_or(0)),
            None => self.0.to_string(),
        }
    }

    fn amount(value: &Value) -> Option<i128> {
        size(value).map(i128::from)
    }
}

impl Form for Duration {
    const NAME: &'static str = "duration";
    const WANTED: &'static str = "a text such as \"10s\", or a number of nanoseconds";

    /// What is below zero is zero, and so is a text that names no duration, as it is for due.
    fn read(value: &Value) -> Option<Read<Self>> {
        match value {
            Value::Int(ns) => {
                let duration = Self::from_nanos(u64::try_from(*ns).unwrap_or_default());
                // Who writes 10 means seconds; due takes it for nanoseconds.
                let tiny = (1..1_000_000).contains(ns);
                let note =
                    tiny.then(|| format!("{ns} is {ns} ns, as it is for due; write \"{ns}s\""));
                Some(Read { value: duration, note })
            }
            Value::Text(text) => Some(match value::duration(text.trim()) {
                Some(duration) => Read::new(duration),
                None => {
                    let what =
                        "names no duration and counts as 0, as it does for due; write \"10s\"";
                    Read::noted(Self::ZERO, format!("{} {what}", quoted(&shortened(text))))
                }
            }),
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Table(_) => {
                None
            }
        }
    }

    fn show(&self) -> String {
        let units: [(&str, u128); 6] = [
            ("d", 86_400_000_000_000),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
        ];
        let ns = self.as_nanos();
        let exact = |(name, unit): (&'static str, u128)| {
            let whole = ns != 0 && ns.checked_rem(unit) == Some(0) && (name != "d" || ns > unit);
            whole.then(|| format!("\"{}{name}\"", ns.checked_div(unit).unwrap_or(0)))
        };
        let zero = || if ns == 0 { "\"0s\"".to_owned() } else { format!("\"{ns}ns\"") };
        units.into_iter().find_map(exact).unwrap_or_else(zero)
    }

    fn amount(value: &Value) -> Option<i128> {
        i128::try_from(Self::read(value)?.value.as_nanos()).ok()
    }
}

/// The items of a list; of a text, what stands between its commas.
fn items(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(list) => Some(list.iter().map(|node| node.value.clone()).collect()),
        Value::Text(text) if text.trim().is_empty() => Some(Vec::new()),
        Value::Text(text) => {
            Some(text.split(',').map(|item| Value::Text(item.trim().to_owned())).collect())
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Table(_) => None,
    }
}

fn list<T: Form>(shown: &[T]) -> String {
    format!("[{}]", shown.iter().map(Form::show).collect::<Vec<_>>().join(", "))
}

impl Form for Vec<String> {
    const NAME: &'static str = "list of texts";
    const WANTED: &'static str = "a list of texts";

    fn read(value: &Value) -> Option<Read<Self>> {
        items(value)?.iter().map(text).collect::<Option<_>>().map(Read::new)
    }

    fn show(&self) -> String {
        list(self)
    }
}

impl Form for Vec<Secret> {
    const NAME: &'static str = "list of texts, secret";
    const WANTED: &'static str = "a list of texts";
    const SECRET: bool = true;

    fn read(value: &Value) -> Option<Read<Self>> {
        let secrets = items(value)?;
        secrets.iter().map(|item| text(item).map(Secret)).collect::<Option<_>>().map(Read::new)
    }

    fn show(&self) -> String {
        if self.is_empty() { "[]".to_owned() } else { "***".to_owned() }
    }
}

impl Form for Vec<i64> {
    const NAME: &'static str = "list of whole numbers";
    const WANTED: &'static str = "a list of whole numbers";

    fn read(value: &Value) -> Option<Read<Self>> {
        items(value)?.iter().map(whole).collect::<Option<_>>().map(Read::new)
    }

    fn show(&self) -> String {
        list(self)
    }
}

impl Form for BTreeMap<String, String> {
    const NAME: &'static str = "table of texts";
    const WANTED: &'static str = "a table of texts";

    /// A table; or a text such as `zone=eu,rack=7`.
    fn read(value: &Value) -> Option<Read<Self>> {
        match value {
            Value::Table(table) => table
                .iter()
                .filter(|(_, node)| node.value != Value::Null)
                .map(|(name, node)| Some((name.clone(), text(&node.value)?)))
                .collect::<Option<_>>(),
            Value::Text(text) if text.trim().is_empty() => Some(Self::new()),
            Value::Text(text) => text
                .split(',')
                .map(|pair| pair.split_once('='))
                .map(|pair| pair.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) => None,
        }
        .map(Read::new)
    }

    fn show(&self) -> String {
        let pair = |(name, text): (&String, &String)| format!("{} = {}", quoted(name), text.show());
        match self.len() {
            0 => "{}".to_owned(),
            _ => format!("{{ {} }}", self.iter().map(pair).collect::<Vec<_>>().join(", ")),
        }
    }
}
