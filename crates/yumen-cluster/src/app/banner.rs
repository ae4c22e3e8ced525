//! What runs, shown once it does: boxes on a terminal, plain lines elsewhere.
//!
//! A row of any length is shown whole: boxes widen up to a limit, and what is longer goes on in the next
//! line. Names come from settings, so what could steer a terminal is shown as `?`.

use std::{fmt::Write, net::SocketAddr};

/// Columns between the borders of a box, at least and at most.
const WIDTH_MIN: usize = 56;
const WIDTH_MAX: usize = 96;

const LOGO: [&str; 5] = [
    r"__   ___   _ __  __ _____ _   _",
    r"\ \ / / | | |  \/  | ____| \ | |",
    r" \ V /| | | | |\/| |  _| |  \| |",
    r"  | | | |_| | |  | | |___| |\  |",
    r"  |_|  \___/|_|  |_|_____|_| \_|",
];

/// One box: a title and rows of a name and a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) title: &'static str,
    pub(super) rows: Vec<(&'static str, String)>,
}

impl Card {
    pub(super) fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new() }
    }

    /// Adds a row; an empty value is shown as `-`.
    pub(super) fn row(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value: String = value.into();
        let shown = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
        self.rows.push((name, if shown.is_empty() { "-".to_owned() } else { shown }));
        self
    }
}

/// Where a listener of a gate is reached.
pub(super) fn server(protocol: &str, address: SocketAddr) -> String {
    format!("[{protocol}] {address}")
}

/// How many threads a component has, in words.
pub(super) fn instances(count: usize, what: &str, cores: usize, beside: Option<&str>) -> String {
    let s = if count == 1 { "" } else { "s" };
    let beside = beside.map_or_else(String::new, |other| format!(", beside {other}"));
    let on = count.min(cores);
    format!("{count} {what} instance{s} on {on} of {cores} core{}{beside}", plural(cores))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The banner as it is printed.
pub(super) fn render(cards: &[Card], on_terminal: bool) -> String {
    let version = Card::new("").row("Version", env!("CARGO_PKG_VERSION"));
    if on_terminal { boxes(&version, cards) } else { lines(&version, cards) }
}

fn lines(version: &Card, cards: &[Card]) -> String {
    let mut text = String::new();
    for Card { title, rows } in std::iter::once(version).chain(cards) {
        let title = if title.is_empty() { "Yumen" } else { title };
        for (name, value) in rows {
            let _never_fails = writeln!(text, "{title} {name}: {value}");
        }
    }
    text
}

fn boxes(version: &Card, cards: &[Card]) -> String {
    let rows = |card: &Card| card.rows.iter().map(written).collect::<Vec<_>>();
    let mut all = vec![("", LOGO.map(str::to_owned).to_vec()), ("", rows(version))];
    all.extend(cards.iter().map(|card| (card.title, rows(card))));
    let longest = all.iter().flat_map(|(_, rows)| rows).map(|row| columns(row)).max();
    // A space on either side.
    let width = longest.unwrap_or(0).saturating_add(2).clamp(WIDTH_MIN, WIDTH_MAX);
    let mut text = String::new();
    for (title, rows) in all {
        rule(&mut text, ('┌', '┐'), title, width);
        for row in rows {
            for part in wrapped(&row, width.saturating_sub(2)) {
                let gap = width.saturating_sub(2).saturating_sub(columns(&part));
                let _never_fails = writeln!(text, "│ {part}{} │", " ".repeat(gap));
            }
        }
        rule(&mut text, ('└', '┘'), "", width);
    }
    text
}

fn written((name, value): &(&'static str, String)) -> String {
    format!("{name}: {value}")
}

/// A border with the title in its middle.
fn rule(text: &mut String, (left, right): (char, char), title: &str, width: usize) {
    let rest = width.saturating_sub(columns(title));
    let before = rest.checked_div(2).unwrap_or(0);
    let line = |count: usize| "─".repeat(count);
    let after = rest.saturating_sub(before);
    let _never_fails = writeln!(text, "{left}{}{title}{}{right}", line(before), line(after));
}

/// The text in pieces of at most `max` columns, broken at a space where there is one.
fn wrapped(text: &str, max: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut used = 0_usize;
    for word in text.split_inclusive(' ') {
        let wide = columns(word.trim_end());
        if used > 0 && used.saturating_add(wide) > max && wide <= max {
            parts.push(std::mem::take(&mut part).trim_end().to_owned());
            used = 0;
        }
        for c in word.chars() {
            let wide = column(c);
            if used.saturating_add(wide) > max {
                if c == ' ' {
                    continue;
                }
                parts.push(std::mem::take(&mut part));
                used = 0;
            }
            part.push(c);
            used = used.saturating_add(wide);
        }
    }
    parts.push(part);
    parts
}

fn columns(text: &str) -> usize {
    text.chars().map(column).fold(0, usize::saturating_add)
}

/// Columns that a terminal uses for a letter: two for those of China, Japan and Korea.
fn column(c: char) -> usize {
    let wide = matches!(u32::from(c),
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1FAFF | 0x20000..=0x3FFFD);
    if wide { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards() -> Vec<Card> {
        vec![
            Card::new("Global")
                .row("PID", "4711")
                .row("Mode", "debug")
                .row("Time", "2026-11-22 21:00:00 +00:00"),
            Card::new("Gate")
                .row("ID", "gate-1")
                .row("Name", "门")
                .row("Link", "")
                .row("Server", server("tcp", ([127, 0, 0, 1], 3553).into()))
                .row("Instances", instances(1, "gate", 8, None)),
        ]
    }

    #[test]
    fn the_banner_on_a_terminal_is_as_agreed() {
        let expected = "\
┌────────────────────────────────────────────────────────┐
│ __   ___   _ __  __ _____ _   _                        │
│ \\ \\ / / | | |  \\/  | ____| \\ | |                       │
│  \\ V /| | | | |\\/| |  _| |  \\| |                       │
│   | | | |_| | |  | | |___| |\\  |                       │
│   |_|  \\___/|_|  |_|_____|_| \\_|                       │
└────────────────────────────────────────────────────────┘
┌────────────────────────────────────────────────────────┐
│ Version: 0.1.0                                         │
└────────────────────────────────────────────────────────┘
┌─────────────────────────Global─────────────────────────┐
│ PID: 4711                                              │
│ Mode: debug                                            │
│ Time: 2026-11-22 21:00:00 +00:00                       │
└────────────────────────────────────────────────────────┘
┌──────────────────────────Gate──────────────────────────┐
│ ID: gate-1                                             │
│ Name: 门                                               │
│ Link: -                                                │
│ Server: [tcp] 127.0.0.1:3553                           │
│ Instances: 1 gate instance on 1 of 8 cores             │
└────────────────────────────────────────────────────────┘
";
        let shown = render(&cards(), true);
        assert_eq!(shown.replace(env!("CARGO_PKG_VERSION"), "0.1.0"), expected);
    }

    #[test]
    fn elsewhere_each_row_is_a_line_of_its_own_without_boxes() {
        let shown = render(&cards(), false);
        assert!(shown.contains("Gate Server: [tcp] 127.0.0.1:3553\n"), "{shown}");
        assert!(shown.contains("Yumen Version: "), "{shown}");
        assert!(!shown.contains('│') && !shown.contains('\x1b'), "{shown}");
    }

    #[test]
    fn rows_of_any_length_are_shown_whole_and_no_line_is_wider_than_the_box() {
        for length in [0, 1, 53, 54, 55, 56, 90, 92, 93, 94, 95, 96, 97, 200, 1000] {
            for letter in ["n", "门", "ab "] {
                let name = letter.repeat(length);
                let shown = render(&[Card::new("Node").row("Name", name.trim_end())], true);
                let letters = |text: &str| text.chars().filter(|c| letter.contains(*c)).count();
                let known = letters(&render(&[Card::new("Node").row("Name", "-")], true));
                let spaces = |text: &str| if letter.contains(' ') { 0 } else { letters(text) };
                assert_eq!(spaces(&shown).saturating_sub(known), spaces(&name), "{shown}");
                let widths: Vec<_> = shown.lines().map(columns).collect();
                assert!(widths.iter().all(|width| width == &widths[0]), "{shown}");
                assert!(widths[0] <= WIDTH_MAX + 2, "{shown}");
            }
        }
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let shown = render(&[Card::new("Node").row("Name", "a\x1b[2Jb\nc")], true);
        assert!(shown.contains("Name: a?[2Jb?c"), "{shown}");
    }
}
