//! One line while it is written: a text with an end that nothing passes, and no control characters.
//!
//! It knows neither text nor json, only how each hides what would break a line apart. The one thing to
//! know: what comes from elsewhere goes through [`Line::text`] and is cut at the end; what gives the
//! line its form goes through [`Line::form`] and never is, so that a cut line of json is still json.

use std::fmt::{self, Write};

/// The most bytes of a line. What is longer is cut and marked; a stack comes behind it.
pub const LINE_MAX: usize = 64 * 1024;

/// Left for what closes a line that was cut: brackets, marks and the line's end.
const CLOSING: usize = 256;

/// How characters are written that would break a line apart or tell a terminal to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// `\n`, `\u{1b}`; quotes stay.
    Text,
    /// As in a string of json.
    Json,
}

/// A line that is being written.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    out: &'a mut String,
    escape: Escape,
    /// Where `out` must not grow beyond by text.
    end: usize,
    cut: bool,
}

impl<'a> Line<'a> {
    /// Goes on behind what `out` holds.
    pub(crate) fn new(out: &'a mut String, escape: Escape) -> Self {
        let end = out.len().saturating_add(LINE_MAX.saturating_sub(CLOSING));
        Self { out, escape, end, cut: false }
    }

    /// Whether something was left out because the line was full.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// The line as it is so far, for what writes into it without a bound.
    pub(crate) fn buffer(&mut self) -> &mut String {
        self.out
    }

    /// Something that gives the line its form: a bracket, a comma, a short name. Never cut.
    pub(crate) fn form(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Room for `len` bytes of form and text; where there is none, the line counts as cut.
    pub(crate) fn room(&mut self, len: usize) -> bool {
        self.cut |= self.out.len().saturating_add(len) > self.end;
        !self.cut
    }

    /// Something from elsewhere, escaped, as much of it as fits.
    pub(crate) fn text(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() && !self.cut {
            let plain = rest.bytes().position(|byte| !self.is_plain(byte)).unwrap_or(rest.len());
            let (run, special) = rest.split_at_checked(plain).unwrap_or((rest, ""));
            self.run(run);
            let mut chars = special.chars();
            if let Some(c) = chars.next() {
                self.special(c);
            }
            rest = chars.as_str();
        }
    }

    /// Something from elsewhere in quotes, in which every other quote is escaped.
    pub(crate) fn quoted(&mut self, text: &str) {
        let escape = std::mem::replace(&mut self.escape, Escape::Json);
        self.form("\"");
        self.text(text);
        self.form("\"");
        self.escape = escape;
    }

    /// A number or another value that needs no escape.
    pub(crate) fn plain(&mut self, value: impl fmt::Display) {
        // A string takes everything.
        let _ = write!(self.out, "{value}");
    }

    /// A byte that stands for itself. All of the byte 0xC2 is looked at again: control characters of
    /// two bytes begin with it.
    fn is_plain(&self, byte: u8) -> bool {
        match byte {
            ..0x20 | 0x7f | 0xc2 => false,
            b'"' | b'\\' => self.escape == Escape::Text,
            _ => true,
        }
    }

    fn run(&mut self, run: &str) {
        let room = self.end.saturating_sub(self.out.len());
        self.cut = run.len() > room;
        let kept = if self.cut { run.floor_char_boundary(room) } else { run.len() };
        self.out.push_str(run.get(..kept).unwrap_or_default());
    }

    fn special(&mut self, c: char) {
        // The longest escape is that of a control character in either form.
        if !self.room(8) {
            return;
        }
        match (c, self.escape) {
            ('\n', _) => self.out.push_str("\\n"),
            ('\r', _) => self.out.push_str("\\r"),
            ('\t', _) => self.out.push_str("\\t"),
            ('"', _) => self.out.push_str("\\\""),
            ('\\', _) => self.out.push_str("\\\\"),
            (c, _) if !c.is_control() => self.out.push(c),
            (c, Escape::Json) => self.plain(format_args!("\\u{:04x}", u32::from(c))),
            (c, Escape::Text) => self.plain(format_args!("\\u{{{:x}}}", u32::from(c))),
        }
    }
}

/// What is formatted into a line is text from elsewhere. A full line stops the formatting.
impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        if self.cut { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str, escape: Escape) -> String {
        let mut out = String::new();
        Line::new(&mut out, escape).text(text);
        out
    }

    #[test]
    fn a_text_line_keeps_quotes_and_shows_what_a_terminal_would_obey() {
        let text = "a \"b\" c:\\d\r\n\tü\u{a0}\u{1b}[31m\u{9b}\u{0}\u{7f}";
        let shown = "a \"b\" c:\\d\\r\\n\\tü\u{a0}\\u{1b}[31m\\u{9b}\\u{0}\\u{7f}";
        assert_eq!(escaped(text, Escape::Text), shown);
    }

    #[test]
    fn a_full_line_stops_a_value_that_would_never_end() {
        struct Endless;
        impl fmt::Debug for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("ü\n")?;
                }
            }
        }
        for escape in [Escape::Text, Escape::Json] {
            let mut out = "before".to_owned();
            let mut line = Line::new(&mut out, escape);
            assert!(write!(line, "{Endless:?}").is_err());
            assert!(line.is_cut() && !line.room(1));
            assert!(out.len() <= LINE_MAX && out.len() > LINE_MAX - 1024, "{}", out.len());
        }
    }

    proptest! {
        #[test]
        fn a_string_of_json_is_read_as_it_was(text in any::<String>(), hard in "[\\x00-\\x1f\"\\\\\u{7f}-\u{a1}]*") {
            for text in [&text, &hard] {
                let json = format!("\"{}\"", escaped(text, Escape::Json));
                prop_assert!(!json.contains(char::is_control));
                prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), text);
            }
        }

        #[test]
        fn no_text_leaves_a_control_character_in_a_line(text in any::<String>(), hard in "[\\x00-\\x1f\u{7f}-\u{a1}a]*") {
            for text in [&text, &hard] {
                prop_assert!(!escaped(text, Escape::Text).contains(char::is_control));
            }
        }
    }
}
