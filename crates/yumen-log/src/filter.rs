//! From which level on lines are made: one level for all, and others for parts of the program.
//!
//! Pure. The one thing to know: a part is named by its module path, as `yumen_net` or
//! `yumen_net::tcp`, covers all below it, and the longest name that fits counts.

use crate::severity::Severity;
use std::{fmt, str::FromStr};

/// From which level on lines are made.
///
/// Written as `info`, or as `info,yumen_net=debug,yumen_net::tcp=off`: a level for everything, and
/// after it levels by module path. Levels are `trace debug info warn error fatal panic`; `off` is no
/// line at all, and `none` every level of due (from `debug` on), which is what due makes of it.
///
/// ```
/// let filter: yumen_log::Filter = "warn,my_game=debug".parse()?;
/// assert_eq!(filter.to_string(), "warn,my_game=debug");
/// # Ok::<(), yumen_log::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// `None` is off.
    all: Option<Severity>,
    /// Longest name first.
    parts: Vec<(Box<str>, Option<Severity>)>,
}

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// This is not a level.
    #[error(
        "{0:?} is not a log level; there are off, trace, debug, info, warn, error, fatal and panic, \
         and a module has one of its own as in \"info,my_game::chat=debug\""
    )]
    NotALevel(String),
    /// This names no module.
    #[error("{0:?} is not a module path; write as \"info,my_game::chat=debug\"")]
    NotAModule(String),
    /// More than one level is meant for everything, or for the same module.
    #[error("{0:?} says the level of {1} twice")]
    Twice(String, String),
}

impl Default for Filter {
    /// due's: info.
    fn default() -> Self {
        Self::from(Severity::Info)
    }
}

impl From<Severity> for Filter {
    fn from(level: Severity) -> Self {
        Self { all: Some(level), parts: Vec::new() }
    }
}

impl Filter {
    /// No line at all.
    pub fn off() -> Self {
        Self { all: None, parts: Vec::new() }
    }

    /// Whether a line of `target` at `level` is made.
    pub fn lets(&self, target: &str, level: Severity) -> bool {
        let part = self.parts.iter().find(|(name, _)| covers(name, target));
        part.map_or(self.all, |(_, from)| *from).is_some_and(|from| level >= from)
    }

    /// The least level of which any line is made.
    pub(crate) fn least(&self) -> Option<Severity> {
        self.parts.iter().filter_map(|(_, from)| *from).chain(self.all).min()
    }
}

fn covers(name: &str, target: &str) -> bool {
    target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_module(name: &str) -> bool {
    let known = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '/');
    !name.is_empty() && name.chars().all(known)
}

fn level(text: &str) -> Result<Option<Severity>, FilterError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("off") {
        Ok(None)
    } else if text.eq_ignore_ascii_case("none") {
        Ok(Some(Severity::Debug))
    } else {
        Severity::named(text).map(Some).ok_or_else(|| FilterError::NotALevel(text.to_owned()))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (mut all, mut parts) = (None, Vec::<(Box<str>, _)>::new());
        let twice = |what: &str| FilterError::Twice(text.to_owned(), what.to_owned());
        for item in text.split(',') {
            let Some((name, from)) = item.split_once('=') else {
                if all.replace(level(item)?).is_some() {
                    return Err(twice("everything"));
                }
                continue;
            };
            let name = name.trim();
            if !is_module(name) {
                return Err(FilterError::NotAModule(name.to_owned()));
            }
            if parts.iter().any(|(known, _)| **known == *name) {
                return Err(twice(name));
            }
            parts.push((name.into(), level(from)?));
        }
        parts.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| b.cmp(a)));
        Ok(Self { all: all.unwrap_or(Some(Severity::Info)), parts })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |level: Option<Severity>| level.map_or("off", Severity::name);
        f.write_str(name(self.all))?;
        self.parts.iter().rev().try_for_each(|(part, level)| write!(f, ",{part}={}", name(*level)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> Filter {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_module_that_covers_a_target_decides() {
        let filter = filter("warn, a=debug ,a::b=off,a::b::c=trace");
        let rows = [
            ("x", Severity::Info, false),
            ("x", Severity::Warn, true),
            ("a", Severity::Debug, true),
            ("a", Severity::Trace, false),
            ("ab", Severity::Debug, false),
            ("a::x", Severity::Debug, true),
            ("a::b", Severity::Panic, false),
            ("a::b::x", Severity::Panic, false),
            ("a::b::c::d", Severity::Trace, true),
        ];
        for (target, level, lets) in rows {
            assert_eq!(filter.lets(target, level), lets, "{target} {level}");
        }
        assert_eq!(filter.least(), Some(Severity::Trace));
        assert_eq!(filter.to_string(), "warn,a=debug,a::b=off,a::b::c=trace");
    }

    #[test]
    fn none_is_every_level_of_due_and_off_is_nothing() {
        assert_eq!(filter("none"), filter("DEBUG"));
        assert_eq!(filter("off"), Filter::off());
        assert_eq!(filter("off").least(), None);
        assert!(!filter("off").lets("a", Severity::Panic));
        assert_eq!(filter("a=error"), filter("info,a=error"));
        assert!(!filter("fatal").lets("a", Severity::Error));
        assert!(filter("fatal").lets("a", Severity::Panic));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_the_words_that_are() {
        for text in ["", "loud", "info,", "a=", "a=loud", "a=b=info"] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains("off, trace, debug, info"), "{error}");
        }
        let twice = "info,debug".parse::<Filter>().unwrap_err();
        assert_eq!(twice.to_string(), "\"info,debug\" says the level of everything twice");
        assert!("a=info,a=debug".parse::<Filter>().is_err());
        for text in ["info;a=debug", "=debug", "a b=debug"] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains("module"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_a_filter_writes_it_reads(text in "(off|info|trace|panic)(,[a-z:]{1,4}=(off|none|WARN)){0,3}") {
            if let Ok(filter) = text.parse::<Filter>() {
                prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", near in "[a-z=,: ]{0,20}") {
            let _ = (text.parse::<Filter>(), near.parse::<Filter>());
        }
    }
}
