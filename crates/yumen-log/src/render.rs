//! Makes a line of what is to be said: as text for people, or as json for machines.
//!
//! It reads no clock and writes nowhere. The one thing to know: both forms begin as due's do (level,
//! time, file and line, message), so that what reads due's logs reads these; fields and spans, which
//! due has not, come behind.

mod json;
mod text;

use crate::{
    clock::Times,
    line::{Escape, Line},
    severity::Severity,
    stack::{Bounded, Frame},
};
use std::{
    error::Error,
    fmt::{self, Write},
};
use tracing::field::{Field, Visit};

/// The most bytes of one value of a span, which is kept as long as the span lives.
const SPAN_VALUE_MAX: usize = 1024;
/// The field that holds the message.
pub(crate) const MESSAGE: &str = "message";

/// Whether a line is for people or for machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `INFO[2026/11/22 21:40:58.000000] main.rs:12 a player logged in user=7`
    #[default]
    Text,
    /// One object of json: `{"level":"INFO","time":…,"file":…,"msg":…,"fields":{…},…}`
    Json,
}

/// What all lines have in common.
#[derive(Debug)]
pub(crate) struct Style {
    pub(crate) times: Times,
    /// Whether the layout of times has characters that json would have to escape.
    pub(crate) odd_time: bool,
    pub(crate) full_path: bool,
}

/// What is known of a line before it says something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) severity: Severity,
    pub(crate) unix_ns: i64,
    pub(crate) target: &'a str,
    pub(crate) file: Option<&'a str>,
    pub(crate) line: Option<u32>,
}

/// One value, on its way into a line.
#[derive(Clone, Copy)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Text(&'a str),
    Shown(&'a dyn fmt::Debug),
}

/// One value of a span, kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Text(String),
}

impl From<Scalar<'_>> for Value {
    fn from(value: Scalar<'_>) -> Self {
        let mut bounded = Bounded { text: String::new(), end: SPAN_VALUE_MAX };
        // What does not fit is left out.
        let _ = match value {
            Scalar::Bool(value) => return Self::Bool(value),
            Scalar::I64(value) => return Self::I64(value),
            Scalar::U64(value) => return Self::U64(value),
            Scalar::F64(value) => return Self::F64(value),
            Scalar::Text(text) => bounded.write_str(text),
            Scalar::Shown(shown) => write!(bounded, "{shown:?}"),
        };
        Self::Text(bounded.text)
    }
}

impl Value {
    pub(crate) fn as_scalar(&self) -> Scalar<'_> {
        match self {
            Self::Bool(value) => Scalar::Bool(*value),
            Self::I64(value) => Scalar::I64(*value),
            Self::U64(value) => Scalar::U64(*value),
            Self::F64(value) => Scalar::F64(*value),
            Self::Text(text) => Scalar::Text(text),
        }
    }
}

/// A span around a line.
#[derive(Clone, Debug)]
pub(crate) struct SpanData {
    pub(crate) name: &'static str,
    pub(crate) fields: Vec<(&'static str, Value)>,
}

/// What a line says.
pub(crate) trait Said {
    /// Gives message and fields to `put`, by name; names without `r#`.
    fn each(&self, put: &mut dyn FnMut(&'static str, Scalar<'_>));
    /// Gives the spans, from the outermost in.
    fn spans(&self, put: &mut dyn FnMut(&SpanData));
}

/// A form of lines.
pub(crate) trait Form {
    fn head(line: &mut Line<'_>, style: &Style, head: &Head<'_>);
    fn said(line: &mut Line<'_>, head: &Head<'_>, said: &dyn Said);
    fn stack(out: &mut String, frames: &[Frame]);
}

impl Format {
    /// Appends a whole line to `out`, its end included.
    pub(crate) fn line(self, style: &Style, head: &Head<'_>, said: &dyn Said, out: &mut String) {
        match self {
            Self::Text => one::<text::Text>(Escape::Text, style, head, said, out),
            Self::Json => one::<json::Json>(Escape::Json, style, head, said, out),
        }
    }

    /// Appends the stack to `out`, which ends with a line of this form.
    pub(crate) fn stack(self, frames: &[Frame], out: &mut String) {
        match self {
            Self::Text => text::Text::stack(out, frames),
            Self::Json => json::Json::stack(out, frames),
        }
    }
}

fn one<F: Form>(escape: Escape, style: &Style, head: &Head<'_>, said: &dyn Said, out: &mut String) {
    let mut line = Line::new(out, escape);
    F::head(&mut line, style, head);
    F::said(&mut line, head, said);
}

/// Appends the place in the source, as much as the style wants of it.
fn place(line: &mut Line<'_>, style: &Style, head: &Head<'_>) {
    let file = head.file.unwrap_or_default();
    let short = file.rsplit(['/', '\\']).next().unwrap_or(file);
    line.text(if style.full_path { file } else { short });
    if let Some(number) = head.line {
        line.form(":");
        line.plain(number);
    }
}

fn time(line: &mut Line<'_>, style: &Style, head: &Head<'_>) {
    if style.odd_time {
        let mut text = String::new();
        style.times.write(head.unix_ns, &mut text);
        line.text(&text);
    } else {
        style.times.write(head.unix_ns, line.buffer());
    }
}

/// Appends a value as a text without quotes.
fn shown(line: &mut Line<'_>, value: Scalar<'_>) {
    match value {
        Scalar::Bool(value) => line.plain(value),
        Scalar::I64(value) => line.plain(value),
        Scalar::U64(value) => line.plain(value),
        Scalar::F64(value) => line.plain(value),
        Scalar::Text(text) => line.text(text),
        Scalar::Shown(shown) => {
            // It fails only where the line is full, which is marked.
            let _ = write!(line, "{shown:?}");
        }
    }
}

/// Gives each value that `tracing` shows it to a function.
pub(crate) struct Each<F>(pub(crate) F);

impl<F: FnMut(&Field, Scalar<'_>)> Visit for Each<F> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        (self.0)(field, Scalar::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        (self.0)(field, Scalar::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        (self.0)(field, Scalar::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        // Beyond 64 bits readers of json lose digits, so such a number is a text.
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => (self.0)(field, Scalar::Shown(&value)),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => (self.0)(field, Scalar::Shown(&value)),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        (self.0)(field, Scalar::F64(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        (self.0)(field, Scalar::Text(value));
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        (self.0)(field, Scalar::Shown(&Chain(error)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field, Scalar::Shown(value));
    }
}

/// An error and what caused it.
struct Chain<'a>(&'a (dyn Error + 'static));

/// The longest chain of causes that is written; some errors name themselves as their cause.
const CAUSES_MAX: usize = 16;

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let causes = std::iter::successors(self.0.source(), |cause| (*cause).source());
        causes.take(CAUSES_MAX).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// The name of a field, without the mark of a raw identifier.
pub(crate) fn bare(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}
