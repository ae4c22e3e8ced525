//! How bad a line is: due's levels over those of `tracing`.
//!
//! Pure. The one thing to know: `tracing` has nothing above error, so due's `fatal` and `panic` are
//! here the level of panics only, and `trace` is ours, below due's `debug`.

use std::fmt;
use tracing::{Level, Metadata};

/// The target of the events that report a panic; see [`crate::init`].
pub const PANIC_TARGET: &str = "panic";

/// The level of one line, from the least to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// `tracing`'s trace; due has no such level.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// What an operator wants to know.
    Info,
    /// Works, but somebody should look.
    Warn,
    /// Something failed.
    Error,
    /// due ends the process after such a line. Nothing in Yumen has this level.
    Fatal,
    /// A panic.
    Panic,
}

impl Severity {
    /// All, from the least to the worst.
    pub const ALL: [Self; 7] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal, Self::Panic];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::Panic => "panic",
        }
    }

    /// The four letters that begin a line, as due writes them.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Trace => "TRAC",
            Self::Debug => "DEBU",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERRO",
            Self::Fatal => "FATA",
            Self::Panic => "PANI",
        }
    }

    /// The level with this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// The level of an event or a span.
    pub(crate) fn of(metadata: &Metadata<'_>) -> Self {
        match *metadata.level() {
            Level::TRACE => Self::Trace,
            Level::DEBUG => Self::Debug,
            Level::INFO => Self::Info,
            Level::WARN => Self::Warn,
            Level::ERROR if metadata.target() == PANIC_TARGET => Self::Panic,
            Level::ERROR => Self::Error,
        }
    }

    /// A bit for this level, in a set of levels.
    pub(crate) fn bit(self) -> u8 {
        match self {
            Self::Trace => 1,
            Self::Debug => 1 << 1,
            Self::Info => 1 << 2,
            Self::Warn => 1 << 3,
            Self::Error => 1 << 4,
            Self::Fatal => 1 << 5,
            Self::Panic => 1 << 6,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The levels that a terminal takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Severities(pub(crate) u8);

impl Severities {
    /// Every level.
    pub(crate) const ALL: Self = Self(0x7f);

    /// Exactly `listed`, except that a panic also goes where errors or fatal ones go: a list that was
    /// written without thinking of panics must not hide them. An empty list is every level, as for due.
    pub(crate) fn listed(listed: impl IntoIterator<Item = Severity>) -> Self {
        let bits = listed.into_iter().fold(0, |bits, level| bits | level.bit());
        let bad = Severity::Error.bit() | Severity::Fatal.bit();
        match bits {
            0 => Self::ALL,
            bits if bits & bad != 0 => Self(bits | Severity::Panic.bit()),
            bits => Self(bits),
        }
    }

    pub(crate) fn has(self, level: Severity) -> bool {
        self.0 & level.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_a_name_a_label_and_a_bit_of_its_own() {
        for level in Severity::ALL {
            assert_eq!(Severity::named(level.name()), Some(level));
            assert_eq!(Severity::named(&level.name().to_uppercase()), Some(level));
            assert_eq!(level.label().len(), 4);
            assert!(Severities::ALL.has(level));
            for other in Severity::ALL.into_iter().filter(|other| *other != level) {
                assert_eq!(level.bit() & other.bit(), 0);
                assert_ne!(level.label(), other.label());
            }
        }
        assert_eq!(Severity::named("loud"), None);
    }

    #[test]
    fn a_list_of_levels_takes_those_and_panics_with_the_errors() {
        let quiet = Severities::listed([Severity::Debug, Severity::Warn]);
        assert!(quiet.has(Severity::Debug) && quiet.has(Severity::Warn));
        assert!(!quiet.has(Severity::Info) && !quiet.has(Severity::Panic));
        assert!(Severities::listed([Severity::Error]).has(Severity::Panic));
        assert!(!Severities::listed([Severity::Panic]).has(Severity::Error));
        assert_eq!(Severities::listed([]), Severities::ALL);
    }
}
