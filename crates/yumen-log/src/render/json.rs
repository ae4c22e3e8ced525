//! A line for machines: one object of json, with due's names for what due has.
//!
//! The one thing to know: whatever is said, the line is one valid object with no name twice (W-22);
//! fields have an object of their own, so that none is taken for the level or the time.

use super::{Form, Frame, Head, MESSAGE, Said, Scalar, Style, place, shown, time};
use crate::line::{Escape, Line};

pub(crate) struct Json;

/// How every line ends; a stack goes in front of it.
const END: &str = "}\n";

impl Form for Json {
    fn head(line: &mut Line<'_>, style: &Style, head: &Head<'_>) {
        line.form("{\"level\":\"");
        line.form(head.severity.label());
        line.form("\",\"time\":\"");
        time(line, style, head);
        if head.file.is_some() {
            line.form("\",\"file\":\"");
            place(line, style, head);
        }
        line.form("\"");
    }

    fn said(line: &mut Line<'_>, head: &Head<'_>, said: &dyn Said) {
        line.form(",\"target\":");
        line.quoted(head.target);
        let mut spoken = false;
        said.each(&mut |name, value| {
            if name == MESSAGE && !spoken {
                spoken = true;
                line.form(",\"msg\":");
                text(line, value);
            }
        });
        let mut open = ",\"fields\":{";
        let mut names = Names::default();
        said.each(&mut |name, value| {
            if name != MESSAGE && names.is_new(name) && field(line, open, name, value) {
                open = ",";
            }
        });
        line.form(if open == "," { "}" } else { "" });
        let mut open = ",\"spans\":[";
        said.spans(&mut |span| {
            if !line.room(span.name.len().saturating_add(SPAN_FORM)) {
                return;
            }
            line.form(open);
            open = ",";
            line.form("{\"name\":");
            line.quoted(span.name);
            let mut before = ",\"fields\":{";
            for (name, value) in &span.fields {
                if field(line, before, name, value.as_scalar()) {
                    before = ",";
                }
            }
            line.form(if before == "," { "}}" } else { "}" });
        });
        line.form(if open == "," { "]" } else { "" });
        line.form(if line.is_cut() { ",\"cut\":true" } else { "" });
        line.form(END);
    }

    fn stack(out: &mut String, frames: &[Frame]) {
        out.truncate(out.strip_suffix(END).map_or(out.len(), str::len));
        let mut line = Line::new(out, Escape::Json);
        let mut open = ",\"stack\":[";
        for frame in frames {
            line.form(open);
            open = ",";
            line.form("{\"func\":");
            line.quoted(&frame.function);
            line.form(",\"file\":");
            line.quoted(&frame.place);
            line.form("}");
        }
        line.form(if open == "," { "]" } else { "" });
        line.form(END);
    }
}

/// Bytes that give a span its form.
const SPAN_FORM: usize = 48;
/// Bytes that give a field its form, and the longest number.
const FIELD_FORM: usize = 48;

/// The names that were already written; one of an event's few fields may be there twice.
#[derive(Default)]
struct Names {
    seen: [&'static str; 32],
    len: usize,
}

impl Names {
    fn is_new(&mut self, name: &'static str) -> bool {
        if self.seen.iter().take(self.len).any(|seen| *seen == name) {
            return false;
        }
        // `tracing` allows 32 fields.
        if let Some(slot) = self.seen.get_mut(self.len) {
            *slot = name;
            self.len = self.len.saturating_add(1);
        }
        true
    }
}

/// Whether there was room.
fn field(line: &mut Line<'_>, before: &str, name: &str, value: Scalar<'_>) -> bool {
    if !line.room(name.len().saturating_add(FIELD_FORM)) {
        return false;
    }
    line.form(before);
    line.quoted(name);
    line.form(":");
    match value {
        Scalar::Bool(value) => line.plain(value),
        Scalar::I64(value) => line.plain(value),
        Scalar::U64(value) => line.plain(value),
        // Written with a point or an exponent, so that it is read as a float again. Json has no word for
        // what is not a number or infinite.
        Scalar::F64(value) if value.is_finite() => line.plain(format_args!("{value:?}")),
        value @ (Scalar::F64(_) | Scalar::Text(_) | Scalar::Shown(_)) => text(line, value),
    }
    true
}

/// Any value as a text.
fn text(line: &mut Line<'_>, value: Scalar<'_>) {
    line.form("\"");
    shown(line, value);
    line.form("\"");
}
