//! Prometheus text, version 0.0.4: families in the order of their names, each with its samples.
//!
//! Every sample is checked for nothing here: which labels it has is the family's word, and a test
//! parses a whole page strictly.

use super::{
    family::{Family, Type},
    labels::Labels,
};
use std::{collections::BTreeMap, fmt::Write, time::Duration};
use yumen_net::histogram::Times;

/// The content type of a page of metrics.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// What is written into every sample.
    labels: &'a Labels,
    blocks: BTreeMap<&'static str, (Family, String)>,
}

/// Whose numbers are written: the values of the labels of a family's scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a>(pub(crate) &'a [&'a str]);

/// A number as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Count(u64),
    Time(Duration),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl<'a> Page<'a> {
    pub(crate) fn new(labels: &'a Labels) -> Self {
        Self { labels, blocks: BTreeMap::new() }
    }

    /// One number. `values` are those of the family's own labels.
    pub(crate) fn sample(
        &mut self,
        family: &Family,
        whose: Whose<'_>,
        values: &[&str],
        value: impl Into<Value>,
    ) {
        let labels = self.labels_of(family, whose, values, None);
        self.line(family, "", &labels, value.into());
    }

    /// A histogram, in whose buckets every `step`-th bound is given.
    pub(crate) fn histogram(
        &mut self,
        family: &Family,
        whose: Whose<'_>,
        values: &[&str],
        (times, step): (&Times, usize),
    ) {
        for (bound, count) in times.cumulative(step) {
            let mut end = String::new();
            match bound {
                Some(bound) => write_time(&mut end, bound),
                None => end.push_str("+Inf"),
            }
            let labels = self.labels_of(family, whose, values, Some(&end));
            self.line(family, "_bucket", &labels, count.into());
        }
        let labels = self.labels_of(family, whose, values, None);
        self.line(family, "_sum", &labels, times.sum.into());
        self.line(family, "_count", &labels, times.count().into());
    }

    /// The text of everything that was written.
    pub(crate) fn finish(self) -> String {
        let mut text = String::new();
        for (name, (family, samples)) in self.blocks {
            let _never_fails = write!(text, "# HELP {name} ");
            escape(&mut text, family.help, false);
            let _never_fails = write!(text, "\n# TYPE {name} {}\n", family.kind.name());
            text.push_str(&samples);
        }
        text
    }

    fn labels_of(
        &self,
        family: &Family,
        Whose(whose): Whose<'_>,
        values: &[&str],
        end: Option<&str>,
    ) -> String {
        debug_assert_eq!(family.scope.labels().len(), whose.len(), "{}", family.name);
        debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
        debug_assert!(end.is_none() || family.kind == Type::Histogram, "{}", family.name);
        let names = family.scope.labels().iter().chain(family.labels);
        let mut text = String::new();
        let fixed = names.copied().zip(whose.iter().chain(values).copied());
        let all = fixed.chain(self.labels.iter()).chain(end.map(|end| ("le", end)));
        for (name, value) in all {
            let _never_fails = write!(text, "{}{name}=\"", if text.is_empty() { "" } else { "," });
            escape(&mut text, value, true);
            text.push('"');
        }
        text
    }

    fn line(&mut self, family: &Family, suffix: &str, labels: &str, value: Value) {
        let block = self.blocks.entry(family.name);
        let (_, text) = block.or_insert_with(|| (*family, String::new()));
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let _never_fails = write!(text, "{}{suffix}{open}{labels}{close} ", family.name);
        match value {
            Value::Count(count) => drop(write!(text, "{count}")),
            Value::Time(time) => write_time(text, time),
        }
        text.push('\n');
    }
}

/// Seconds, to the nanosecond, without zeros at the end.
fn write_time(text: &mut String, time: Duration) {
    let _never_fails = write!(text, "{}.{:09}", time.as_secs(), time.subsec_nanos());
    let len = text.trim_end_matches('0').trim_end_matches('.').len();
    text.truncate(len);
}

/// Writes text so that it stays on its line, and between its quotes.
fn escape(into: &mut String, text: &str, quoted: bool) {
    for letter in text.chars() {
        match letter {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '"' if quoted => into.push_str("\\\""),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_and_short() {
        let text = |time| {
            let mut text = String::new();
            write_time(&mut text, time);
            text
        };
        assert_eq!(text(Duration::ZERO), "0");
        assert_eq!(text(Duration::from_micros(1)), "0.000001");
        assert_eq!(text(Duration::from_micros(16_777_216)), "16.777216");
        assert_eq!(text(Duration::from_secs(100)), "100");
    }

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let mut text = String::new();
        escape(&mut text, "a\"b\\c\nd", true);
        assert_eq!(text, r#"a\"b\\c\nd"#);
    }
}
