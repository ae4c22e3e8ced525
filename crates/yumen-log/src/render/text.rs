//! A line for people: `INFO[time] file:line [span{field=value}] message field=value`.
//!
//! The one thing to know: a message or value cannot begin a new line, so nobody who gets a text into a
//! log can write a line of their own; only a stack takes lines, and each of those begins with a number
//! or a tab.

use super::{Form, Frame, Head, MESSAGE, Said, Scalar, Style, place, shown, time};
use crate::line::{Escape, Line};

pub(crate) struct Text;

impl Form for Text {
    fn head(line: &mut Line<'_>, style: &Style, head: &Head<'_>) {
        line.form(head.severity.label());
        line.form("[");
        time(line, style, head);
        line.form("]");
        if head.file.is_some() {
            line.form(" ");
            place(line, style, head);
        }
    }

    fn said(line: &mut Line<'_>, _: &Head<'_>, said: &dyn Said) {
        let mut first = true;
        said.spans(&mut |span| {
            line.form(if first { " [" } else { ":" });
            first = false;
            line.text(span.name);
            let mut open = "{";
            for (name, value) in &span.fields {
                field(line, open, name, value.as_scalar());
                open = " ";
            }
            line.form(if span.fields.is_empty() { "" } else { "}" });
        });
        line.form(if first { "" } else { "]" });
        said.each(&mut |name, value| {
            if name == MESSAGE {
                line.form(" ");
                shown(line, value);
            }
        });
        said.each(&mut |name, value| {
            if name != MESSAGE {
                field(line, " ", name, value);
            }
        });
        line.form(if line.is_cut() { " (cut)\n" } else { "\n" });
    }

    fn stack(out: &mut String, frames: &[Frame]) {
        out.push_str("Stack:\n");
        for (number, frame) in (1..).zip(frames) {
            let mut line = Line::new(out, Escape::Text);
            line.plain(format_args!("{number}."));
            line.text(&frame.function);
            line.form("\n\t");
            line.text(&frame.place);
            line.form("\n");
        }
    }
}

fn field(line: &mut Line<'_>, before: &str, name: &str, value: Scalar<'_>) {
    if !line.room(name.len().saturating_add(2)) {
        return;
    }
    line.form(before);
    line.text(name);
    line.form("=");
    if let Scalar::Text(text) = value
        && !stands_alone(text)
    {
        line.quoted(text);
    } else {
        shown(line, value);
    }
}

/// A text that is seen to begin and end without quotes.
fn stands_alone(text: &str) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\');
    !text.is_empty() && !text.contains(special)
}
