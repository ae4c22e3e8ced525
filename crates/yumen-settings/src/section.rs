//! One table of a settings file while it is read: typed values out, problems and notes in.
//!
//! Each method names the key it reads, and what no method has asked for is refused at the end, so a
//! key is known exactly if something reads it. A value of the wrong kind is a problem and reads as
//! absent.

use crate::{Note, Problem, tree::Origin, value};
use std::{fmt::Display, path::Path, time::Duration};
use toml::{Table, Value};

/// What was found while a file was read.
#[derive(Debug)]
pub(crate) struct Report {
    origin: Origin,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Note>,
}

impl Report {
    pub(crate) fn new(file: &Path) -> Self {
        Self { origin: Origin::File(file.into()), problems: Vec::new(), notes: Vec::new() }
    }

    fn problem(&mut self, key: String, what: String) {
        self.problems.push(Problem::new(Some(self.origin.clone()), key, what));
    }
}

/// One table, which may be missing.
pub(crate) struct Section<'a> {
    path: &'static str,
    table: Option<&'a Table>,
    known: Vec<&'static str>,
    report: &'a mut Report,
}

impl<'a> Section<'a> {
    /// The table under `path`, whose parts are separated by dots.
    pub(crate) fn at(root: &'a Table, path: &'static str, report: &'a mut Report) -> Self {
        let mut table = Some(root);
        for part in path.split('.') {
            let inner = table.and_then(|table| table.get(part));
            if let Some(other) = inner.filter(|inner| !inner.is_table()) {
                let what = format!("is {}; it must be a table", kind(other));
                // `network = 1` is met once for each section below it, and said once.
                if report.problems.iter().all(|problem| problem.key != part) {
                    report.problem(part.to_owned(), what);
                }
            }
            table = inner.and_then(Value::as_table);
        }
        Self { path, table, known: Vec::new(), report }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// Something is wrong with `key`.
    pub(crate) fn problem(&mut self, key: &str, what: impl Display) {
        self.report.problem(format!("{}.{key}", self.path), what.to_string());
    }

    /// Something about `key` is worth saying.
    pub(crate) fn note(&mut self, key: &str, what: impl Display) {
        let (origin, key) = (self.report.origin.clone(), format!("{}.{key}", self.path));
        self.report.notes.push(Note::new(Some(origin), key, what.to_string()));
    }

    fn wrong<T>(&mut self, key: &str, value: &Value, wanted: &str) -> Option<T> {
        self.problem(key, format_args!("is {}; it must be {wanted}", kind(value)));
        None
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        value.as_str().or_else(|| self.wrong(key, value, "a text"))
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        let texts = value.as_array().and_then(|list| {
            list.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<_>>()
        });
        texts.or_else(|| self.wrong(key, value, "a list of texts"))
    }

    /// A whole number, which may stand in a text.
    pub(crate) fn number(&mut self, key: &'static str) -> Option<i64> {
        let value = self.value(key)?;
        let number = value.as_integer().or_else(|| value.as_str()?.parse().ok());
        number.or_else(|| self.wrong(key, value, "a whole number"))
    }

    /// Bytes: a number, or a text such as `4M`.
    pub(crate) fn size(&mut self, key: &'static str) -> Option<u64> {
        let value = self.value(key)?;
        let bytes = value.as_integer().and_then(|bytes| u64::try_from(bytes).ok());
        let bytes = bytes.or_else(|| value::size(value.as_str()?));
        bytes.or_else(|| self.wrong(key, value, "a number of bytes, or a text such as \"4M\""))
    }

    /// A duration: a text such as `10s`, or a number of nanoseconds. What is below zero is zero, and
    /// so is a text that names no duration, as it is for due; that is noted.
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let value = self.value(key)?;
        if let Some(ns) = value.as_integer() {
            return Some(Duration::from_nanos(u64::try_from(ns).unwrap_or(0)));
        }
        let Some(text) = value.as_str() else {
            return self.wrong(key, value, "a text such as \"10s\", or a number of nanoseconds");
        };
        let duration = value::duration(text);
        if duration.is_none() {
            let what = "names no duration and counts as 0, as it does for due; write \"10s\"";
            self.note(key, format_args!("{text:?} {what}"));
        }
        Some(duration.unwrap_or_default())
    }

    /// A boolean, or a text or number that stands for one.
    pub(crate) fn truth(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let number = value.as_integer().map(|number| number != 0);
        let truth = value.as_bool().or(number).or_else(|| value.as_str().map(value::truth));
        truth.or_else(|| self.wrong(key, value, "true or false"))
    }

    /// Accepts `key` and notes that it has no effect.
    pub(crate) fn unused(&mut self, key: &'static str, why: &str) {
        if self.value(key).is_some() {
            self.note(key, format_args!("not used: {why}"));
        }
    }

    /// Refuses `key` unless it is an empty text: going on without it would be less safe than asked for.
    pub(crate) fn not_yet(&mut self, key: &'static str, instead: &str) {
        if self.value(key).is_some_and(|value| value.as_str() != Some("")) {
            self.problem(key, format_args!("not honoured yet; {instead}"));
        }
    }

    /// Refuses every key that nothing has read.
    pub(crate) fn finish(self) {
        let Self { path, table: Some(table), known, report } = self else { return };
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let what = format!("unknown key; [{path}] has {}", known.join(", "));
            report.problem(format!("{path}.{key}"), what);
        }
    }
}

/// What a value is, for a person: itself where it is short.
fn kind(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            value.to_string()
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}
