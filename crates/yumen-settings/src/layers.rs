//! What is written over the files: environment and command line, as lists of keys and values.
//!
//! Pure: variables and arguments come in, keys and texts go out. Which keys there are is asked from the
//! tables; nothing here reads the process.

use crate::{
    nearest,
    problem::{Note, Problem},
    tree::Origin,
};
use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// One text for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// The variable that names the directory, as due has it.
pub(crate) const DIR_VARIABLE: &str = "DUE_ETC";

/// The variable that gives the run mode, as due has it.
const MODE_VARIABLE: &str = "DUE_MODE";

/// What the names of all other variables begin with.
const PREFIX: &str = "YUMEN_";

const MODE: &str = "etc.mode";

/// The variable for `key`, a key as `etc.cluster.gate.addr`: `YUMEN_CLUSTER_GATE_ADDR`. Yumen's own
/// keys are not named twice: `etc.yumen.admin.addr` is `YUMEN_ADMIN_ADDR`.
pub fn variable(key: &str) -> String {
    let key = key.strip_prefix("etc.").unwrap_or(key);
    let key = key.strip_prefix("yumen.").unwrap_or(key);
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "_"))
}

/// What environment variables say.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) dir: Option<PathBuf>,
    /// Weakest first.
    pub(crate) overrides: Vec<Override>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Note>,
}

impl Environment {
    /// Looks through `variables`; `known` are the keys that a variable can write to.
    pub(crate) fn read(variables: &[(OsString, OsString)], known: &[&str]) -> Self {
        let mut read = Self::default();
        let names: Vec<_> = known.iter().map(|key| (variable(key), *key)).collect();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            if name == DIR_VARIABLE {
                read.dir = (!value.is_empty()).then(|| value.into());
            } else if name == MODE_VARIABLE {
                read.write(name, MODE, value);
            } else if name.starts_with(PREFIX) {
                match names.iter().find(|(known, _)| known == name) {
                    Some((_, key)) => read.write(name, key, value),
                    None => read.unknown(name, &names),
                }
            }
        }
        // DUE_MODE is the older way to say it, so YUMEN_MODE is written over it.
        read.overrides.sort_by_key(|item| item.origin != Origin::Env(MODE_VARIABLE.into()));
        read
    }

    fn write(&mut self, name: &str, key: &str, value: &OsStr) {
        let origin = Origin::Env(name.into());
        match value.to_str() {
            Some(text) => {
                self.overrides.push(Override {
                    key: key.to_owned(),
                    text: text.to_owned(),
                    origin,
                });
            }
            None => self.problems.push(Problem::new(Some(origin), "", "its value is not UTF-8")),
        }
    }

    /// Orchestrators set variables of their own, so this stops nothing.
    fn unknown(&mut self, name: &str, names: &[(String, &str)]) {
        let near = nearest::of(name, names.iter().map(|(known, _)| known.as_str()));
        let what = match near {
            Some(near) => format!("no setting has this variable; the nearest is {near}"),
            None => "no setting has this variable".to_owned(),
        };
        self.notes.push(Note::new(Some(Origin::Env(name.into())), "", what));
    }
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) dir: Option<PathBuf>,
    /// Weakest first: as they were written.
    pub(crate) overrides: Vec<Override>,
    pub(crate) problems: Vec<Problem>,
}

/// The flags that are about settings.
const FLAGS: [&str; 3] = ["etc", "mode", "set"];

impl Flags {
    /// Takes the flags that are about settings out of `arguments` and returns all others in their order.
    /// Nothing behind `--` is taken.
    pub(crate) fn take(&mut self, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        let mut rest = Vec::new();
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                rest.push(argument);
                rest.extend(arguments);
                return rest;
            }
            match flag(&argument) {
                None => rest.push(argument),
                Some((name, Some(value))) => self.write(name, &value),
                // `--etc --mode test` has forgotten a value, and means no directory `--mode`.
                Some((name, None)) => {
                    match arguments.next_if(|next| !next.as_encoded_bytes().starts_with(b"-")) {
                        Some(value) => self.write(name, &value),
                        None => self.problem(name, "needs a value"),
                    }
                }
            }
        }
        rest
    }

    fn problem(&mut self, name: &str, what: impl Into<String>) {
        let origin = Origin::Flag(format!("--{name}").into());
        self.problems.push(Problem::new(Some(origin), "", what));
    }

    /// Takes one flag, without the dashes before its name.
    pub(crate) fn write(&mut self, name: &str, value: &OsStr) {
        if name == "etc" {
            self.dir = Some(value.into());
            return;
        }
        let Some(text) = value.to_str() else {
            return self.problem(name, "its value is not UTF-8");
        };
        let (key, text) = match name {
            "mode" => (MODE, text),
            "set" => match text.split_once('=') {
                Some((key, text)) => (key.trim(), text),
                None => return self.problem(name, format!("{text:?} is not KEY=VALUE")),
            },
            _ => return self.problem(name, "is no flag for settings; there are etc, mode and set"),
        };
        let origin = Origin::Flag(format!("--{name}").into());
        self.overrides.push(Override { key: key.to_owned(), text: text.to_owned(), origin });
    }
}

/// The flag in `argument`, and its value if it is in there too: `-k=v`, `--k=v` or `--k`. A path that is
/// no text is found in the third form only.
fn flag(argument: &OsStr) -> Option<(&'static str, Option<OsString>)> {
    let name = |text: &str| FLAGS.into_iter().find(|known| *known == text);
    let text = argument.to_str()?;
    let (is_long, text) = match text.strip_prefix("--") {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('-')?),
    };
    match text.split_once('=') {
        Some((flag, value)) => Some((name(flag)?, Some(value.into()))),
        None if is_long => Some((name(text)?, None)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let known = ["etc.mode", "etc.cluster.gate.addr", "etc.yumen.admin.addr"];
        Environment::read(&variables, &known)
    }

    fn texts(overrides: &[Override]) -> Vec<String> {
        overrides.iter().map(|o| format!("{}={} ({})", o.key, o.text, o.origin)).collect()
    }

    fn take(arguments: &[&str]) -> (Flags, Vec<String>) {
        let mut flags = Flags::default();
        let rest = flags.take(arguments.iter().map(Into::into));
        (flags, rest.into_iter().map(|rest| rest.into_string().unwrap()).collect())
    }

    #[test]
    fn a_key_has_one_variable_and_own_keys_are_not_named_twice() {
        let rows = [
            ("etc.cluster.gate.addr", "YUMEN_CLUSTER_GATE_ADDR"),
            ("etc.network.tcp.server.maxConnNum", "YUMEN_NETWORK_TCP_SERVER_MAXCONNNUM"),
            ("etc.yumen.admin.addr", "YUMEN_ADMIN_ADDR"),
            ("etc.mode", "YUMEN_MODE"),
        ];
        for (key, name) in rows {
            assert_eq!(variable(key), name);
        }
    }

    #[test]
    fn variables_write_to_known_keys_and_others_are_noted_or_not_ours() {
        let read = environment(&[
            ("YUMEN_MODE", "test"),
            ("YUMEN_CLUSTER_GATE_ADDR", ":1"),
            ("YUMEN_ADMIN_ADDR", ""),
            ("YUMEN_CLUSTER_GATE_ADRR", ":2"),
            ("YUMEN_7F_SERVICE_HOST", "10.0.0.1"),
            ("DUE_MODE", "release"),
            ("DUE_ETC", "/srv/etc"),
            ("DUE_OTHER", "x"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(read.dir, Some(PathBuf::from("/srv/etc")));
        assert_eq!(
            texts(&read.overrides),
            [
                "etc.mode=release (environment DUE_MODE)",
                "etc.mode=test (environment YUMEN_MODE)",
                "etc.cluster.gate.addr=:1 (environment YUMEN_CLUSTER_GATE_ADDR)",
                "etc.yumen.admin.addr= (environment YUMEN_ADMIN_ADDR)",
            ]
        );
        let notes: Vec<_> = read.notes.iter().map(ToString::to_string).collect();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].ends_with("the nearest is YUMEN_CLUSTER_GATE_ADDR"), "{notes:?}");
        assert!(notes[1].starts_with("environment YUMEN_7F_SERVICE_HOST: "), "{notes:?}");
        assert_eq!(environment(&[("DUE_ETC", "")]).dir, None);
    }

    #[test]
    fn flags_are_taken_in_all_forms_and_the_rest_is_given_back() {
        let (flags, rest) = take(&[
            "run",
            "-etc=a",
            "--mode=test",
            "--set",
            "x.y=1=2",
            "--set=z.z=",
            "--etc",
            "b c",
            "-v",
            "--other=1",
            "-mode",
            "--",
            "--mode=release",
        ]);
        assert_eq!(flags.dir, Some(PathBuf::from("b c")));
        let expected = ["etc.mode=test (flag --mode)", "x.y=1=2 (flag --set)", "z.z= (flag --set)"];
        assert_eq!(texts(&flags.overrides), expected);
        assert_eq!(rest, ["run", "-v", "--other=1", "-mode", "--", "--mode=release"]);
        assert!(flags.problems.is_empty());
    }

    #[test]
    fn a_flag_without_its_value_is_a_problem_and_takes_nothing_else() {
        let (flags, rest) = take(&["--etc", "--mode", "test", "--set", "cluster", "--set"]);
        let problems: Vec<_> = flags.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "flag --etc: needs a value",
                "flag --set: \"cluster\" is not KEY=VALUE",
                "flag --set: needs a value"
            ]
        );
        assert_eq!((flags.dir, texts(&flags.overrides).len(), rest.len()), (None, 1, 0));
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_need_not_be_a_text_and_any_other_value_must() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"/srv/\xff".to_vec());
        let mut flags = Flags::default();
        assert!(flags.take(["--etc".into(), odd.clone(), "--mode".into(), odd.clone()]).is_empty());
        assert_eq!((flags.dir, flags.problems.len()), (Some(PathBuf::from(odd.clone())), 1));
        let read = Environment::read(
            &[("DUE_ETC".into(), odd.clone()), ("DUE_MODE".into(), odd.clone())],
            &[],
        );
        assert_eq!((read.dir, read.problems.len()), (Some(PathBuf::from(odd)), 1));
    }
}
