//! Says of each key what its value is, where it came from and what it is for.
//!
//! It never shows a secret. The one thing to know: a key may be named with or without the stem of its
//! file, and the name of a table stands for all keys in it.

use crate::{Key, Settings, Standing, all_keys, form::kind, nearest, tree::Node};
use serde::Serialize;
use std::fmt;

/// All there is to say about one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explained {
    /// With the stem of its file: `etc.packet.routeBytes`.
    pub key: String,
    /// The value that holds, as it is written in toml; a secret as `***`.
    pub value: String,
    /// Where it was written: a file, `environment NAME`, `flag --NAME` or `code`; else `default`.
    pub from: String,
    /// The default, as it is written in toml.
    pub default: String,
    /// The form of its values: `text`, `duration` …
    pub form: String,
    /// What values it may have; empty where every value of its form will do.
    pub range: String,
    /// What becomes of it in a word: `live`, `start`, `not yet`, `refused`, `no effect`, `dead`; `own`
    /// for a key of the program's.
    pub standing: String,
    /// The same in a sentence.
    pub means: String,
    /// The environment variable for it; empty where there is none.
    pub variable: String,
    /// What it is for.
    pub doc: String,
    /// Where due's documents say something else than its code does; empty where they agree.
    pub due: String,
}

/// Nothing has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: there is no such key, and no value was written there{}", suggestion(.nearest))]
pub struct UnknownKey {
    /// The name.
    pub key: String,
    /// What may have been meant.
    pub nearest: Option<String>,
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

impl Settings {
    /// All there is to say about `name`: one key, or all keys of a table; everything if it is empty.
    ///
    /// # Errors
    /// [`UnknownKey`] if there is neither a key nor a value of that name.
    pub fn explain(&self, name: &str) -> Result<Vec<Explained>, UnknownKey> {
        let name = name.trim_matches('.');
        let full = match name {
            "" | "etc" => "etc".to_owned(),
            _ if name.starts_with("etc.") => name.to_owned(),
            _ => format!("etc.{name}"),
        };
        let inside = |name: &str, table: &str| {
            name.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        // A part of a value, as a label by its name, is explained with the whole.
        let below = |key: &Key| inside(key.name, &full) || inside(&full, key.name);
        let known: Vec<_> =
            all_keys().iter().filter(|key| below(key)).map(|key| self.explained(key)).collect();
        if !known.is_empty() {
            return Ok(known);
        }
        match self.tree().find(name) {
            Some(node) => Ok(vec![own(name, node)]),
            None => Err(UnknownKey { key: name.to_owned(), nearest: meant(&full) }),
        }
    }

    fn explained(&self, key: &Key) -> Explained {
        let origin = self.origin(key.name);
        let dead = key.standing == Standing::Dead;
        Explained {
            key: key.name.to_owned(),
            value: self.shown(key),
            from: origin.map_or_else(|| "default".to_owned(), ToString::to_string),
            default: key.default_text(),
            form: key.form.to_owned(),
            range: key.range_text(),
            standing: key.standing.name().to_owned(),
            means: key.standing.text(),
            variable: if dead { String::new() } else { key.variable() },
            doc: key.doc.trim().to_owned(),
            due: key.due.unwrap_or_default().to_owned(),
        }
    }
}

/// A value of the program's own, of which only what was written is known.
fn own(name: &str, node: &Node) -> Explained {
    let secret = ["password", "passwd", "secret", "token", "private", "credential"];
    let name_low = name.to_lowercase();
    let hidden = secret.iter().any(|word| name_low.contains(word)) || name_low.ends_with("key");
    Explained {
        key: name.to_owned(),
        value: if hidden { "***".to_owned() } else { kind(&node.value) },
        from: node.origin.to_string(),
        default: String::new(),
        form: String::new(),
        range: String::new(),
        standing: "own".to_owned(),
        means: "the program's own: Yumen does not read it".to_owned(),
        variable: String::new(),
        doc: String::new(),
        due: String::new(),
    }
}

/// The key or table that may have been meant.
fn meant(full: &str) -> Option<String> {
    let keys = all_keys();
    let mut names: Vec<&str> = Vec::new();
    for key in &keys {
        let mut name = key.name;
        while name != "etc" {
            names.push(name);
            name = name.rsplit_once('.').map_or("etc", |(table, _)| table);
        }
    }
    let last = full.rsplit('.').next().unwrap_or(full);
    // A key without its table: the first that ends so.
    let ending = |name: &&&str| name.rsplit('.').next() == Some(last);
    let by_end = || names.iter().find(ending).copied();
    nearest::of(full, names.iter().copied()).or_else(by_end).map(str::to_owned)
}

impl fmt::Display for Explained {
    /// Several lines, the first with key and value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, from, default, form, range, means, variable, doc, due, .. } = self;
        writeln!(f, "{key} = {value}")?;
        for line in wrapped(doc, 96) {
            writeln!(f, "  {line}")?;
        }
        let form = if range.is_empty() { form.clone() } else { format!("{form}: {range}") };
        let rows = [
            ("from", from),
            ("default", default),
            ("form", &form),
            ("standing", means),
            ("variable", variable),
            ("due", due),
        ];
        for (name, text) in rows.into_iter().filter(|(_, text)| !text.is_empty()) {
            let mut name = format!("{name}:");
            for line in wrapped(text, 84) {
                writeln!(f, "  {name:<10} {line}")?;
                name.clear();
            }
        }
        Ok(())
    }
}

/// The words of `text` in lines of at most `width` letters, where no word is longer.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let room =
            |line: &&mut String| line.chars().count().saturating_add(word.chars().count()) < width;
        match lines.last_mut().filter(room) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Explained {
    /// Whether the value was written anywhere.
    pub fn is_set(&self) -> bool {
        self.from != "default"
    }
}

/// One line for each: key, value and where it came from, in columns.
pub fn lines(all: &[Explained]) -> String {
    let head = |one: &Explained| format!("{} = {}", one.key, one.value);
    let widths = all.iter().map(|one| head(one).chars().count()).filter(|width| *width <= 72);
    let width = widths.max().unwrap_or(0);
    let mut text = String::new();
    for one in all {
        // What becomes of a key does not matter where nobody asked for anything.
        let honoured = matches!(one.standing.as_str(), "live" | "start" | "own");
        let asked = one.is_set() && one.value != one.default;
        let standing = match one.standing.as_str() {
            other if asked && !honoured => format!(" ({other})"),
            _ => String::new(),
        };
        text.push_str(&format!("{:<width$}  {}{standing}\n", head(one), one.from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn settings() -> Settings {
        let text = "secretSauce = 'x'\n[game]\nmaxPlayers = 7\n[packet]\nseqBytes = 4\n\
            [yumen.admin]\ntoken = 'hunter2'\n[cluster.gate]\nconnNum = 9";
        Settings::parse(text, Path::new("etc/etc.toml")).unwrap()
    }

    fn one(name: &str) -> Explained {
        let mut all = settings().explain(name).unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn a_value_is_explained_with_where_it_came_from_and_its_default() {
        let seq = one("packet.seqBytes");
        assert_eq!(seq, one("etc.packet.seqBytes"));
        assert_eq!((seq.value.as_str(), seq.from.as_str()), ("4", "etc/etc.toml"));
        assert_eq!((seq.default.as_str(), seq.variable.as_str()), ("2", "YUMEN_PACKET_SEQBYTES"));
        let route = one("packet.routeBytes");
        assert_eq!((route.value.as_str(), route.from.as_str()), ("2", "default"));
        assert_eq!(route.standing, "start");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let token = one("yumen.admin.token");
        assert_eq!((token.value.as_str(), token.is_set()), ("***", true));
        assert_eq!(one("secretSauce").value, "***");
        assert_eq!(one("yumen.admin.token.part").value, "***");
        let settings = settings();
        let all = format!("{settings:?}{}", lines(&settings.explain("").unwrap()));
        assert!(!all.contains("hunter2"));
    }

    #[test]
    fn a_table_stands_for_its_keys_and_nothing_for_all() {
        let all = settings().explain("").unwrap();
        assert_eq!(all.len(), all_keys().len());
        assert_eq!(settings().explain("etc").unwrap(), all);
        let packet = settings().explain("packet").unwrap();
        assert_eq!(packet.len(), 5);
        assert!(packet.iter().all(|one| one.key.starts_with("etc.packet.")));
    }

    #[test]
    fn a_name_that_is_not_known_gets_the_nearest() {
        for (name, nearest) in [
            ("packet.routeByte", Some("etc.packet.routeBytes")),
            ("clutser.gate", Some("etc.cluster.gate")),
            ("routeBytes", Some("etc.packet.routeBytes")),
            ("quite.another.thing", None),
        ] {
            let error = settings().explain(name).unwrap_err();
            assert_eq!(error.nearest.as_deref(), nearest);
        }
    }

    #[test]
    fn a_value_of_the_programs_own_is_shown_with_its_file() {
        let own = one("game.maxPlayers");
        assert_eq!((own.value.as_str(), own.from.as_str()), ("7", "etc/etc.toml"));
        assert_eq!(own.standing, "own");
    }

    #[test]
    fn an_explanation_reads_as_lines_of_a_page() {
        let text = one("cluster.gate.connNum").to_string();
        let expected = "etc.cluster.gate.connNum = 9\n  Connections to each instance of due's; \
            instances of our own need one and a second for control.\n  \
            from:      etc/etc.toml\n  default:   5\n  form:      whole number: 1 to 256\n  \
            standing:  honoured; a change needs a restart\n  \
            variable:  YUMEN_CLUSTER_GATE_CONNNUM\n";
        assert_eq!(text, expected);
        let all = lines(&settings().explain("cluster.gate.connNum").unwrap());
        assert_eq!(all, "etc.cluster.gate.connNum = 9  etc/etc.toml\n");
    }
}
