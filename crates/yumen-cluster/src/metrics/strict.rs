//! A strict reader of Prometheus text, for tests: it panics at the first thing that is not right.
//!
//! Stricter than Prometheus itself: every family has its HELP and its TYPE, in this order, once, and
//! all of its samples behind them; no series is there twice; buckets only grow and end with the count.

use std::collections::{BTreeMap, BTreeSet};

/// A page that was read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Type of each family.
    pub(crate) families: BTreeMap<String, String>,
    samples: BTreeMap<(String, Vec<(String, String)>), f64>,
}

impl Parsed {
    /// Reads a page.
    pub(crate) fn new(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let (mut parsed, mut helped, mut current) = (Self::default(), BTreeSet::new(), None);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                check_name(name);
                assert!(!help.is_empty() && unescaped(help, false).is_some(), "{line}");
                assert!(helped.insert(name.to_owned()), "twice: {line}");
                current = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(current.as_deref(), Some(name), "HELP comes right before: {line}");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                let known = parsed.families.insert(name.to_owned(), kind.to_owned());
                assert!(known.is_none(), "twice: {line}");
            } else {
                parsed.sample(line, current.as_deref().expect(line));
            }
        }
        parsed.check_histograms();
        parsed
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = match series.split_once('{') {
            None => (series, Vec::new()),
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect(line))),
        };
        let kind = self.families.get(family).unwrap_or_else(|| panic!("no TYPE: {line}"));
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("of another: {line}"));
        match kind.as_str() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
            _ => assert!(suffix.is_empty() && !name.ends_with("_total"), "{line}"),
        }
        let value: f64 = value.parse().expect(line);
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let known = self.samples.insert((name.to_owned(), labels), value);
        assert!(known.is_none(), "twice: {line}");
    }

    fn check_histograms(&self) {
        let histograms = self.families.iter().filter(|(_, kind)| *kind == "histogram");
        for (name, _) in histograms {
            let mut series = BTreeMap::<Vec<_>, Vec<(f64, f64)>>::new();
            for ((sample, labels), value) in &self.samples {
                if *sample == format!("{name}_bucket") {
                    let is_end = |(name, _): &&(String, String)| name == "le";
                    let end = &labels.iter().find(is_end).expect("a bucket ends").1;
                    let end = if end == "+Inf" { f64::INFINITY } else { end.parse().unwrap() };
                    let rest = labels.iter().filter(|label| !is_end(label)).cloned().collect();
                    series.entry(rest).or_default().push((end, *value));
                }
            }
            assert!(!series.is_empty(), "{name} has no buckets");
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.is_sorted_by_key(|bucket| bucket.1), "{name} {labels:?}");
                let last = buckets.last().copied().unwrap();
                let key = |suffix| (format!("{name}{suffix}"), labels.clone());
                assert_eq!(last, (f64::INFINITY, self.samples[&key("_count")]), "{name}");
                assert!(self.samples.contains_key(&key("_sum")), "{name} {labels:?}");
            }
        }
    }

    /// The value of the one series of this name that has these labels, and perhaps others.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<_> = self.matching(name, labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].1
    }

    /// Every series of this name that has these labels: its labels, and its value.
    pub(crate) fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a [(String, String)], f64)> {
        let has = |all: &[(String, String)], (name, value): &(&str, &str)| {
            all.iter().any(|(n, v)| n == name && v == value)
        };
        let fits = move |key: &(String, Vec<_>)| {
            key.0 == name && labels.iter().all(|label| has(&key.1, label))
        };
        let fitting = self.samples.iter().filter(move |(key, _)| fits(key));
        fitting.map(|((_, labels), value)| (labels.as_slice(), *value))
    }

    /// The names of the labels of each series, with the name of its sample.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.samples.keys().map(|(name, labels)| {
            (name.as_str(), labels.iter().map(|(name, _)| name.as_str()).collect())
        })
    }
}

fn check_name(name: &str) {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    assert!(name.starts_with(letter), "{name}");
    assert!(name.chars().all(|c| letter(c) || c.is_ascii_digit()), "{name}");
}

/// `a="1",b="2"`, in the order in which they stand.
fn labels(mut text: &str) -> Vec<(String, String)> {
    let mut all = Vec::<(String, String)>::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect(text);
        check_name(name);
        assert!(all.iter().all(|(known, _)| known != name), "twice: {name}");
        let mut escaped = false;
        let end = rest.find(|c| {
            let end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            end
        });
        let end = end.unwrap_or_else(|| panic!("no end: {text}"));
        all.push((name.to_owned(), unescaped(&rest[..end], true).expect(text)));
        text = &rest[end + 1..];
        if let Some(more) = text.strip_prefix(',') {
            assert!(!more.is_empty(), "a comma at the end");
            text = more;
        } else {
            assert!(text.is_empty(), "{text}");
        }
    }
    all
}

fn unescaped(text: &str, quoted: bool) -> Option<String> {
    let (mut plain, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next()? {
                '\\' => plain.push('\\'),
                'n' => plain.push('\n'),
                '"' if quoted => plain.push('"'),
                _ => return None,
            },
            other => plain.push(other),
        }
    }
    Some(plain)
}
