//! Reads what was written into typed values, and says everything that is wrong with it at once.
//!
//! A value that is wrong is a problem and reads as its default, so that reading goes on; whoever asks
//! gets the problems and never such a value. Values of secret keys are in no text made here.

use crate::{
    Note, Problem,
    form::{Form, inline, kind, quoted, text},
    key::{Key, Standing},
    nearest,
    tree::{Node, Origin, Tree, Value},
};
use std::fmt::Display;

/// The default of a key; that of its form if the table is wrong, which a test would tell.
pub(crate) fn default_of<T: Form>(default: &Value) -> T {
    T::read(default).map(|read| read.value).unwrap_or_default()
}

/// What is known, what was written, and what was found while it was read.
pub(crate) struct Reader<'a> {
    tree: &'a Tree,
    keys: &'a [Key],
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Note>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(tree: &'a Tree, keys: &'a [Key], notes: Vec<Note>) -> Self {
        Self { tree, keys, problems: Vec::new(), notes }
    }

    /// The value of the key `name`, or its default.
    pub(crate) fn value<T: Form>(&mut self, name: &str) -> T {
        let Some(key) = self.keys.iter().find(|key| key.name == name) else {
            return T::default();
        };
        let default = || default_of(&(key.default)());
        let Some(node) = self.tree.get(name) else { return default() };
        let read = self.read(key, node);
        self.standing(key, node);
        read.unwrap_or_else(default)
    }

    fn read<T: Form>(&mut self, key: &Key, node: &Node) -> Option<T> {
        if let Some((least, most)) = key.range
            && let Some(amount) = T::amount(&node.value)
            && (amount < least.into() || amount > most.into())
        {
            if key.below_is_default && amount < least.into() {
                let what = format_args!("{amount} counts as not given, as it does for due");
                self.note(key, node, what);
            } else {
                self.refuse(key, node, format_args!("it must be {}", key.range_text()));
            }
            return None;
        }
        let Some(read) = T::read(&node.value) else {
            self.refuse(key, node, format_args!("it must be {}", key.wanted));
            return None;
        };
        if let Some(text) = text(&node.value) {
            self.check(key, node, &text);
        }
        if let Some(note) = read.note {
            self.note(key, node, note);
        }
        Some(read.value)
    }

    /// What the table asks of a text.
    fn check(&mut self, key: &Key, node: &Node, text: &str) {
        if !key.words.is_empty() && !key.words.contains(&text) {
            let near = nearest::of(text, key.words.iter().copied());
            let near = near.map(|near| format!("; did you mean {}?", quoted(near)));
            let what =
                format_args!("it must be one of {}{}", key.range_text(), near.unwrap_or_default());
            self.refuse(key, node, what);
        }
        if let Some(Err(what)) = key.check.map(|check| check(text)) {
            self.refuse(key, node, what);
        }
    }

    /// Says what becomes of a key that has no effect, if it was set to something else than its default.
    fn standing(&mut self, key: &Key, node: &Node) {
        let changed = (key.show)(&node.value) != (key.show)(&(key.default)());
        match key.standing {
            Standing::Live | Standing::Start | Standing::Dead => {}
            Standing::Refused(instead) => {
                if node.value != Value::Text(String::new()) {
                    self.problem(key, node, format_args!("not honoured yet; {instead}"));
                }
            }
            Standing::NotYet(_) | Standing::NoEffect(_) => {
                if changed {
                    self.note(key, node, key.standing.text());
                }
            }
        }
    }

    /// The value of `key` is wrong; it is shown unless it is a secret.
    fn refuse(&mut self, key: &Key, node: &Node, what: impl Display) {
        if key.secret {
            self.problem(key, node, what);
        } else {
            self.problem(key, node, format_args!("is {}; {what}", inline(&node.value)));
        }
    }

    fn problem(&mut self, key: &Key, node: &Node, what: impl Display) {
        self.problem_at(key.path(), &node.origin, what);
    }

    fn problem_at(&mut self, path: &str, origin: &Origin, what: impl Display) {
        self.problems.push(Problem::new(Some(origin.clone()), path, what.to_string()));
    }

    /// Something is to be said of `key`. What is said of several keys is said once.
    fn note(&mut self, key: &Key, node: &Node, what: impl Display) {
        let what = what.to_string();
        let same =
            |note: &&mut Note| note.what == what && note.origin.as_ref() == Some(&node.origin);
        if let Some(note) = self.notes.iter_mut().find(same) {
            note.key.push_str(", ");
            note.key.push_str(key.path());
        } else {
            self.notes.push(Note::new(Some(node.origin.clone()), key.path(), what));
        }
    }
}

/// Keys that are in no table.
impl Reader<'_> {
    /// Notes what due reads neither, and refuses what stands in a table of the file `etc` that is
    /// Yumen's and is no key.
    pub(crate) fn rest(&mut self) {
        let tree = self.tree;
        for key in self.keys.iter().filter(|key| key.standing == Standing::Dead) {
            if let Some(node) = tree.get(key.name) {
                self.note(key, node, key.standing.text());
            }
        }
        let etc = tree.get("etc");
        if !etc.is_some_and(|etc| matches!(etc.origin, Origin::File(_))) {
            self.misnamed();
        }
        let Some(root) = etc.and_then(Node::table) else { return };
        for (name, node) in root {
            let path = format!("etc.{name}");
            if self.keys.iter().any(|key| below(key.name, &path)) {
                self.unknown(&path, node);
            } else {
                self.strange(name, node);
            }
        }
    }

    /// Without a file `etc`, notes another one that holds what is read from there only.
    fn misnamed(&mut self) {
        for (stem, node) in self.tree.files().filter(|(stem, _)| *stem != "etc") {
            // A lone `mode` or `pid` is anybody's.
            let ours = |key: &&Key| key.path().contains('.') && node.get(key.path()).is_some();
            let ours = self.keys.iter().find(ours);
            if let Some(key) = ours {
                let what = format!(
                    "left to the program: keys of Yumen's, as {}, are read from the file named etc and \
                     not from {stem}",
                    key.path()
                );
                self.notes.push(Note::new(Some(node.origin.clone()), "", what));
            }
        }
    }

    /// A table or a value beside all that is known: the user's, unless it is a slip of the pen.
    fn strange(&mut self, name: &str, node: &Node) {
        let keys = self.keys;
        let top = keys.iter().filter_map(|key| key.path().split('.').next());
        let what = if let Some(near) = nearest::of(name, top) {
            format!("left to the program: not a name of Yumen's; did you mean {near}?")
        } else {
            let tables = if node.table().is_some() { Vec::new() } else { self.tables_with(name) };
            // `name` and its like are in many tables, and a program may have its own.
            let [table] = tables.as_slice() else { return };
            format!("left to the program, since it stands above all tables; Yumen's is in {table}")
        };
        self.notes.push(Note::new(Some(node.origin.clone()), name, what));
    }

    /// Everything unknown at and below `path`.
    fn unknown(&mut self, path: &str, node: &Node) {
        if node.value == Value::Null || self.keys.iter().any(|key| key.name == path) {
            return;
        }
        let inside = path.split_once('.').map_or(path, |(_, inside)| inside);
        if !self.keys.iter().any(|key| below(key.name, path)) {
            let what = self.unknown_text(path);
            self.problem_at(inside, &node.origin, what);
        } else if let Some(table) = node.table() {
            for (name, inner) in table {
                self.unknown(&format!("{path}.{name}"), inner);
            }
        } else {
            let what = format!("is {}; it must be a table", kind(&node.value));
            self.problem_at(inside, &node.origin, what);
        }
    }

    /// What to say of an unknown key: the nearest in its table, or else what the table has.
    fn unknown_text(&self, path: &str) -> String {
        let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
        let mut names: Vec<&str> = Vec::new();
        for key in self.keys.iter().filter(|key| below(key.name, table)) {
            let rest = key.name.get(table.len().saturating_add(1)..).unwrap_or_default();
            let next = rest.split('.').next().unwrap_or_default();
            if key.standing != Standing::Dead && !names.contains(&next) {
                names.push(next);
            }
        }
        let inside = table.split_once('.').map_or(table, |(_, inside)| inside);
        let tables = self.tables_with(name);
        if !tables.is_empty() {
            return format!("unknown key here; it belongs in {}", tables.join(" or "));
        }
        match nearest::of(name, names.iter().copied()) {
            Some(near) => format!("unknown key; did you mean {near}?"),
            None => format!("unknown key; [{inside}] has {}", names.join(", ")),
        }
    }

    /// The tables that have a key `name`, if they are few.
    fn tables_with(&self, name: &str) -> Vec<String> {
        const FEW: usize = 4;
        let mut tables = Vec::new();
        for key in self.keys.iter().filter(|key| key.standing != Standing::Dead) {
            if let Some((table, last)) = key.path().rsplit_once('.')
                && last == name
            {
                tables.push(format!("[{table}]"));
            }
        }
        if tables.len() <= FEW { tables } else { Vec::new() }
    }
}

/// Whether `name` is a key in the table `path`.
fn below(name: &str, path: &str) -> bool {
    name == path || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
}
