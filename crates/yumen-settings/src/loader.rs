//! Puts the sources of settings together: files, then environment, then flags, then code, each written
//! over those before it.
//!
//! The process is asked by [`Loader::process`] and by nothing else. The one thing to know: loading
//! never stops at the first fault; whoever has ten reads ten.

use crate::{
    Settings,
    files::{Files, STEM},
    layers::{DIR_VARIABLE, Environment, Flags},
    problem::{Note, Problem, SettingsErrors},
    tree::{Node, Origin, Tree, Value},
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The directory that is read if nobody names one, as due has it.
const DIR: &str = "etc";

/// Where settings come from. It may be loaded any number of times; each time reads the files anew.
///
/// ```
/// use yumen_settings::Loader;
///
/// let loader = Loader::new().flag("mode", "release").code("etc.cluster.gate.name", "lobby");
/// let settings = loader.load()?;
/// # Ok::<(), yumen_settings::SettingsErrors>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Loader {
    dir: Option<PathBuf>,
    default_dir: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
    flags: Flags,
    code: Vec<(String, Value)>,
}

impl Loader {
    /// Reads `./etc` and knows neither an environment nor a command line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads as this process is told: by its environment and its command line. Gives back the arguments
    /// that are not about settings, without the name of the program.
    pub fn process() -> (Self, Vec<OsString>) {
        Self::new().env(std::env::vars_os()).args(std::env::args_os().skip(1))
    }

    /// Reads `path`, whatever environment and flags say: a directory, or one file, which is then read as
    /// `etc` whatever its name. It must exist.
    #[must_use]
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.dir = Some(path.into());
        self
    }

    /// Reads `path` where neither environment nor flags say otherwise. It must exist. Default: `./etc`,
    /// which need not.
    #[must_use]
    pub fn default_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.default_dir = Some(path.into());
        self
    }

    /// Adds environment variables: `DUE_ETC` names the directory, `DUE_MODE` the run mode, and
    /// [`variable`](crate::variable) tells which one writes to a key. Others are left alone.
    #[must_use]
    pub fn env<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        self.env.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Takes `--etc DIR`, `--mode MODE` and `--set KEY=VALUE` out of `arguments`, in any of the forms
    /// `-k=v`, `--k=v` and `--k v`, and gives back all others. Nothing behind `--` is taken.
    ///
    /// The first part of `KEY` may be left out where it is `etc`. What is wrong with a flag is reported
    /// by [`load`](Self::load).
    pub fn args<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> (Self, Vec<OsString>) {
        let rest = self.flags.take(arguments.into_iter().map(Into::into));
        (self, rest)
    }

    /// One flag, without the dashes: `etc`, `mode` or `set`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.flags.write(name, &value.into());
        self
    }

    /// Writes `value` to `key`, over all other sources. `key` is as in [`Settings::get`].
    #[must_use]
    pub fn code(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.code.push((key.into(), value.into()));
        self
    }

    /// Reads everything and checks it.
    ///
    /// # Errors
    /// [`SettingsErrors`] with every problem of every source: a directory that was named and is not
    /// there, files that cannot be read or parsed, keys that are unknown, values that are out of range.
    pub fn load(&self) -> Result<Settings, SettingsErrors> {
        let Gathered { tree, mut problems, notes } = self.gather();
        match Settings::from_tree(tree, notes) {
            Ok(settings) if problems.is_empty() => Ok(settings),
            Ok(_) => Err(SettingsErrors { problems }),
            Err(errors) => {
                problems.extend(errors.problems);
                Err(SettingsErrors { problems })
            }
        }
    }

    /// What all sources have written, before anybody asks what it means.
    fn gather(&self) -> Gathered {
        let environment = Environment::read(&self.env, &crate::settings::known_keys());
        let mut gathered = self.files(&environment);
        gathered.problems.extend(environment.problems);
        gathered.notes.extend(environment.notes);
        gathered.problems.extend(self.flags.problems.iter().cloned());
        for item in environment.overrides.iter().chain(&self.flags.overrides) {
            gathered.write(&item.key, Value::Text(item.text.clone()), item.origin.clone());
        }
        for (key, value) in &self.code {
            gathered.write(key, value.clone(), Origin::Code);
        }
        gathered
    }

    /// The directory or file that is to be read, and who named it; nobody is `None`.
    fn path(&self, environment: Option<&Path>) -> (PathBuf, Option<Origin>) {
        if let Some(dir) = &self.dir {
            (dir.clone(), Some(Origin::Code))
        } else if let Some(dir) = &self.flags.dir {
            (dir.clone(), Some(Origin::Flag("--etc".into())))
        } else if let Some(dir) = environment {
            (dir.to_owned(), Some(Origin::Env(DIR_VARIABLE.into())))
        } else if let Some(dir) = &self.default_dir {
            (dir.clone(), Some(Origin::Code))
        } else {
            (DIR.into(), None)
        }
    }

    /// The directory or file that is to be read.
    pub(crate) fn place(&self) -> PathBuf {
        self.path(Environment::read(&self.env, &[]).dir.as_deref()).0
    }

    fn files(&self, environment: &Environment) -> Gathered {
        let (path, origin) = self.path(environment.dir.as_deref());
        let mut gathered = Gathered::default();
        match (path.try_exists(), origin) {
            (Ok(true), _) => {
                let Files { read, problems, notes, .. } = Files::read(&path);
                read.into_iter().for_each(|(stem, node)| gathered.tree.insert(stem, node));
                (gathered.problems, gathered.notes) = (problems, notes);
                if gathered.problems.is_empty() && gathered.tree.files().next().is_none() {
                    let what =
                        "holds no settings file: none ends in .toml, .yaml, .yml, .json or .xml";
                    gathered.notes.push(Note::new(Some(Origin::File(path.into())), "", what));
                }
            }
            (Ok(false), None) => {
                let what = "no ./etc here, so nothing but defaults, environment and flags applies";
                gathered.notes.push(Note::new(None, "", what));
            }
            (Ok(false), origin) => {
                let what = format!("{} does not exist; create or correct it", path.display());
                gathered.problems.push(Problem::new(origin, "", what));
            }
            (Err(error), origin) => {
                let what = format!("{} cannot be read: {error}", path.display());
                gathered.problems.push(Problem::new(origin, "", what));
            }
        }
        gathered
    }
}

/// What was collected.
#[derive(Debug, Default)]
struct Gathered {
    tree: Tree,
    problems: Vec<Problem>,
    notes: Vec<Note>,
}

impl Gathered {
    fn write(&mut self, key: &str, value: Value, origin: Origin) {
        let full = self.tree.full_key(key);
        if let Err(error) = self.tree.set(&full, value, origin.clone()) {
            self.problems.push(Problem::new(Some(origin), key, error.to_string()));
        }
    }
}

impl Tree {
    /// `key` with the stem of its file: as it is if a file has the stem that it begins with, else under
    /// `etc`. Keys of Yumen and due stand under `etc` even if a file has the name of their table.
    fn full_key(&self, key: &str) -> String {
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        let is_file = first == STEM || self.files().any(|(stem, _)| stem == first);
        if is_file && !rest.is_empty() && !crate::settings::is_own(first) {
            key.to_owned()
        } else {
            format!("{STEM}.{key}")
        }
    }

    /// What stands under `key`, with or without the stem `etc`.
    pub(crate) fn find(&self, key: &str) -> Option<&Node> {
        self.get(key).or_else(|| self.get(&format!("{STEM}.{key}")))
    }
}

#[cfg(test)]
mod tests;
