//! `yumen config`: what the settings are, where each came from, and what is wrong with them.
//!
//! It reads settings as a program would and starts nothing. Answers go to standard output, notes and
//! problems of `explain` to standard error, so that its output can be piped.

use clap::{Args, Subcommand};
use serde::Serialize;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};
use yumen::settings::{Loader, Note, Problem, Settings, SettingsErrors, explain, reference};

/// Commands about settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show values and where each came from: default, file, environment or flag.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Check a directory: every problem at once, and what has no effect. For CI.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Print the reference: every key, its form, default and range, in Markdown.
    #[command(after_help = REFERENCE_EXAMPLES)]
    Reference(ReferenceArgs),
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  yumen config explain                                 every value, one line each
  yumen config explain --written                       only what somebody wrote
  yumen config explain cluster.gate                    one table
  yumen config explain network.tcp.server.maxConnNum   one key, with its default and meaning
  yumen config explain packet --etc deploy/etc --set packet.seqBytes=4
  YUMEN_LOG_LEVEL=debug yumen config explain log.level

Values written by the code of a program are not seen here: only the program has them.
Exit code: 0, or 1 if the settings have problems or the key is not known.";

const CHECK_EXAMPLES: &str = "\
Examples:
  yumen config check etc
  yumen config check etc --json | jq .problems

Environment and flags are left out: what is checked is what is in the directory.
Exit code: 0 without problems (notes do not count), 1 with problems, 2 if DIR cannot be read.";

const REFERENCE_EXAMPLES: &str = "\
Examples:
  yumen config reference > settings.md
  yumen config reference --toml > etc/etc.toml    a file to start from, with every default";

/// Options of `config explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A key or a table, with or without `etc.` in front. Default: everything.
    #[arg(value_name = "KEY", default_value = "", hide_default_value = true)]
    key: String,
    /// Directory or file to read. Default: that of the variable DUE_ETC, else ./etc.
    #[arg(long, value_name = "DIR")]
    etc: Option<PathBuf>,
    /// The run mode: debug, test or release. Default: what DUE_MODE or the file says, else debug.
    #[arg(long)]
    mode: Option<String>,
    /// Write a value over what files and environment say. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only what somebody wrote, no defaults.
    #[arg(long)]
    written: bool,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

/// Options of `config check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The directory, or one file.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Options of `config reference`.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// Print a settings file with every default instead.
    #[arg(long)]
    toml: bool,
}

/// Runs the command. A reader that goes away, as `head` does, is no failure.
pub(crate) fn run(command: &ConfigCommand) -> ExitCode {
    let answer = match command {
        ConfigCommand::Explain(args) => args.answer(),
        ConfigCommand::Check(args) => args.answer(),
        ConfigCommand::Reference(args) => Answer::new(0, args.text()),
    };
    let printed = |mut to: Box<dyn Write>, text: &str| to.write_all(text.as_bytes());
    printed(Box::new(io::stderr()), &answer.aside).unwrap_or_default();
    printed(Box::new(io::stdout()), &answer.text).unwrap_or_default();
    ExitCode::from(answer.code)
}

/// What is printed, and the exit code.
struct Answer {
    code: u8,
    /// For standard output.
    text: String,
    /// For standard error.
    aside: String,
}

impl Answer {
    fn new(code: u8, text: String) -> Self {
        Self { code, text, aside: String::new() }
    }

    fn aside(code: u8, aside: String) -> Self {
        Self { code, text: String::new(), aside }
    }
}

impl ExplainArgs {
    fn load(&self) -> Result<Settings, SettingsErrors> {
        let mut loader = Loader::new().env(std::env::vars_os());
        if let Some(dir) = &self.etc {
            loader = loader.flag("etc", dir);
        }
        if let Some(mode) = &self.mode {
            loader = loader.flag("mode", mode);
        }
        for value in &self.set {
            loader = loader.flag("set", value);
        }
        loader.load()
    }

    fn answer(&self) -> Answer {
        let settings = match self.load() {
            Ok(settings) => settings,
            Err(errors) => return Answer::aside(1, problems(&errors.problems)),
        };
        let mut explained = match settings.explain(&self.key) {
            Ok(explained) => explained,
            Err(unknown) => return Answer::aside(1, format!("{unknown}\n")),
        };
        if self.written {
            explained.retain(explain::Explained::is_set);
        }
        let text = match explained.as_slice() {
            all if self.json => json(&all),
            [one] => one.to_string(),
            all => explain::lines(all),
        };
        // About one key only what concerns all of them is said.
        let about = |note: &&Note| self.key.is_empty() || note.key.is_empty();
        Answer { code: 0, text, aside: notes(settings.notes.iter().filter(about)) }
    }
}

impl CheckArgs {
    fn answer(&self) -> Answer {
        let dir = self.dir.display();
        match std::fs::metadata(&self.dir).and_then(|_| readable(&self.dir)) {
            Ok(()) => {}
            Err(error) => return Answer::aside(2, format!("{dir}: cannot be read: {error}\n")),
        }
        let (found, said) = match Settings::read(&self.dir) {
            Ok(settings) => (Vec::new(), settings.notes),
            Err(errors) => (errors.problems, Vec::new()),
        };
        let code = u8::from(!found.is_empty());
        if self.json {
            return Answer::new(code, json(&Report::new(&found, &said)));
        }
        let counted = |count: usize, word| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let sum = match code {
            0 => format!("{dir}: no problems, {}\n", counted(said.len(), "note")),
            _ => format!("{dir}: {}\n", counted(found.len(), "problem")),
        };
        Answer::new(code, problems(&found) + &notes(&said) + &sum)
    }
}

/// Whether what `path` holds may be looked at.
fn readable(path: &std::path::Path) -> io::Result<()> {
    if path.is_dir() {
        std::fs::read_dir(path).map(|_| ())
    } else {
        std::fs::File::open(path).map(|_| ())
    }
}

impl ReferenceArgs {
    fn text(&self) -> String {
        if self.toml { reference::file() } else { reference::page() }
    }
}

fn problems(all: &[Problem]) -> String {
    all.iter().map(|problem| format!("problem: {problem}\n")).collect()
}

fn notes<'a>(all: impl IntoIterator<Item = &'a Note>) -> String {
    all.into_iter().map(|note| format!("note: {note}\n")).collect()
}

/// What `check` found, for a script.
#[derive(Serialize)]
struct Report {
    problems: Vec<Said>,
    notes: Vec<Said>,
}

/// One problem or note.
#[derive(Serialize)]
struct Said {
    place: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    key: String,
    what: String,
}

impl Report {
    fn new(problems: &[Problem], notes: &[Note]) -> Self {
        let problem = |problem: &Problem| Said {
            place: problem.origin.as_ref().map(ToString::to_string),
            line: problem.position.map(|position| position.line),
            column: problem.position.map(|position| position.column),
            key: problem.key.clone(),
            what: problem.what.clone(),
        };
        let note = |note: &Note| Said {
            place: note.origin.as_ref().map(ToString::to_string),
            line: None,
            column: None,
            key: note.key.clone(),
            what: note.what.clone(),
        };
        Self {
            problems: problems.iter().map(problem).collect(),
            notes: notes.iter().map(note).collect(),
        }
    }
}

/// One line of JSON.
fn json(value: &impl Serialize) -> String {
    // What is shown here are texts and numbers, which always are JSON.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}
