//! What is said to a person about settings: problems, which stop a start, and notes, which do not.
//!
//! Both name the place and the key, so that the line can be found and put right. They never show a
//! secret: whoever writes `what` leaves values of secret keys out.

use crate::tree::Origin;
use std::fmt;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The place of the byte at `offset` in `text`; beyond its end, the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..text.floor_char_boundary(offset)).unwrap_or(text);
        let (above, line) = before.rsplit_once('\n').map_or((None, before), |(a, l)| (Some(a), l));
        let above = above.map_or(0, |above| above.matches('\n').count().saturating_add(1));
        Self { line: above.saturating_add(1), column: line.chars().count().saturating_add(1) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where it was written. `None` if that is nowhere, as for a value that is missing.
    pub origin: Option<Origin>,
    /// The place in the file, where a parser knows it.
    pub position: Option<Position>,
    /// The key without the stem of its file; empty if the file as a whole is at fault.
    pub key: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Problem {
    /// Something is wrong with the value of `key`, written in `origin`.
    pub fn new(origin: Option<Origin>, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { origin, position: None, key: key.into(), what: what.into() }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, self.origin.as_ref(), self.position)?;
        tail(f, &self.key, &self.what)
    }
}

/// Something about the settings that is worth saying and stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// Where it was written. `None` if nowhere.
    pub origin: Option<Origin>,
    /// The key without the stem of its file; empty if it is about a file or a variable as a whole.
    pub key: String,
    /// What is to be said.
    pub what: String,
}

impl Note {
    /// Something is to be said about the value of `key`, written in `origin`.
    pub fn new(origin: Option<Origin>, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { origin, key: key.into(), what: what.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, self.origin.as_ref(), None)?;
        tail(f, &self.key, &self.what)
    }
}

fn head(
    f: &mut fmt::Formatter<'_>,
    origin: Option<&Origin>,
    position: Option<Position>,
) -> fmt::Result {
    if let Some(origin) = origin {
        write!(f, "{origin}: ")?;
    }
    position.map_or(Ok(()), |position| write!(f, "{position}: "))
}

fn tail(f: &mut fmt::Formatter<'_>, key: &str, what: &str) -> fmt::Result {
    if key.is_empty() { f.write_str(what) } else { write!(f, "{key}: {what}") }
}

/// Everything that is wrong with the settings, not just the first thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct SettingsErrors {
    /// At least one, in the order of the files and sections.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let text = "a\nbé = 1\r\n\nlast";
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 2), (2, 2, 1), (4, 2, 2), (5, 2, 3), (12, 4, 1), (99, 4, 5)]
        {
            assert_eq!(Position::of(text, offset), Position { line, column }, "{offset}");
        }
    }

    #[test]
    fn a_problem_says_where_and_then_what() {
        let origin = Some(Origin::File(Path::new("etc/etc.toml").into()));
        let mut problem = Problem::new(origin, "packet.seqBytes", "is 3; it must be 0, 1, 2 or 4");
        problem.position = Some(Position { line: 2, column: 9 });
        assert_eq!(
            problem.to_string(),
            "etc/etc.toml: line 2, column 9: packet.seqBytes: is 3; it must be 0, 1, 2 or 4"
        );
        assert_eq!(Note::new(Some(Origin::Code), "", "x").to_string(), "code: x");
        assert_eq!(Note::new(None, "pid", "y").to_string(), "pid: y");
    }
}
