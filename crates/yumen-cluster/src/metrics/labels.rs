//! The labels that an operator adds to every metric (`yumen.admin.labels`).

use super::family;

/// Labels whose names are right. Values may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(String, String)>);

/// Most labels.
const LABELS_MAX: usize = 32;

impl Labels {
    /// Checks the names: `[a-zA-Z_][a-zA-Z0-9_]*`, not beginning with two underscores, not a label
    /// that a metric has already, none twice, and at most 32.
    ///
    /// # Errors
    /// A line for each label that is wrong.
    pub fn new<N: Into<String>, V: Into<String>>(
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Vec<String>> {
        let (mut known, mut problems) = (Vec::<(String, String)>::new(), Vec::new());
        for (name, value) in labels {
            let name: String = name.into();
            if let Some(why) = problem(&name) {
                problems.push(format!("label {name:?} {why}"));
            } else if known.iter().any(|(other, _)| *other == name) {
                problems.push(format!("label {name:?} is there twice"));
            } else {
                known.push((name, value.into()));
            }
        }
        if known.len() > LABELS_MAX {
            problems.push(format!("{} labels; at most {LABELS_MAX} are allowed", known.len()));
        }
        if problems.is_empty() { Ok(Self(known)) } else { Err(problems) }
    }

    /// Every label with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn problem(name: &str) -> Option<&'static str> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let mut letters = name.chars();
    let first = letters.next().is_some_and(letter);
    if !first || !letters.all(|c| letter(c) || c.is_ascii_digit()) {
        return Some("is not a name: letters, digits and underscores, no digit first");
    }
    if name.starts_with("__") {
        return Some("begins with two underscores, which Prometheus keeps for itself");
    }
    let used = |family: &family::Family| {
        family.scope.labels().contains(&name) || family.labels.contains(&name)
    };
    let taken = matches!(name, "le" | "quantile" | "job") || family::ALL.iter().any(used);
    taken.then_some("is taken by the metrics themselves")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_would_spoil_the_page_is_refused_by_name() {
        let wrong = ["", "1st", "a-b", "__name__", "instance", "route", "le", "münchen"];
        for name in wrong {
            let problems = Labels::new([(name, "x")]).unwrap_err();
            assert!(problems[0].contains(&format!("{name:?}")), "{problems:?}");
        }
        assert_eq!(Labels::new([("a", "1"), ("a", "2")]).unwrap_err().len(), 1);
        let good = Labels::new([("region", "eu \"west\""), ("_zone9", "")]).unwrap();
        assert_eq!(good.iter().count(), 2);
    }
}
