//! A whole `fn main`: flags, settings, log, signals, the app, the exit code.
//!
//! Why a program does not start, or failed, is said on standard error, whatever the log does with it.

use super::{
    App, AppError,
    pid::{self, PidFile},
    signals::Signals,
};
use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    time::Duration,
};
use yumen_log::Logs;
use yumen_settings::{Loader, Settings, Watcher};

/// Exit code of a program that failed while it ran, or could not finish what it had.
const FAILED: u8 = 1;
/// Exit code of a program that could not start.
const NOT_STARTED: u8 = 2;
/// Longest wait for the last log lines.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// The same, when the process ends at once.
const HURRY_MAX: Duration = Duration::from_millis(300);

/// What `--help` says, behind the name of the program.
const HELP: &str = "\
[--etc DIR] [--mode MODE] [--set KEY=VALUE]...

Flags:
  --etc DIR        directory of settings (toml, yaml, json, xml), or one such file;
                   otherwise what DUE_ETC names, otherwise ./etc where it exists
  --mode MODE      debug, test or release; otherwise what DUE_MODE or etc.mode says
  --set KEY=VALUE  writes one setting, as --set cluster.gate.name=lobby; any number of times
  --help           shows this and ends

A flag wins over the environment, the environment over files. An environment variable
writes one setting too: YUMEN_CLUSTER_GATE_NAME=lobby is cluster.gate.name.

Signals:
  INT, TERM, QUIT  the first stops in order: no new clients and messages, what is there is
                   finished within the time that the settings give; a second one ends at once

Exit codes:
  0    stopped as told                1    failed while running, or left work undone
  2    could not start                128+n  ended at once by a second signal n
";

impl App {
    /// Runs a whole program: reads flags and settings, sets up the log, handles signals, builds the app
    /// and runs it. `--help` says which flags there are.
    ///
    /// The exit code is 0 if it stopped as it was told to, 1 if it failed while it ran or could not
    /// finish what it had, 2 if it could not start, and 128 and the number of the signal if a second
    /// one ended it. Everything that is wrong with the settings is said at once, on standard error.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    /// use yumen_cluster::{
    ///     app::App,
    ///     cluster::Cluster,
    ///     gate::{Gate, Tcp},
    ///     node::{Msg, Node, Router, on},
    /// };
    ///
    /// async fn double(Msg(n): Msg<i64>) -> Msg<i64> {
    ///     Msg(n * 2)
    /// }
    ///
    /// fn main() -> ExitCode {
    ///     App::main(|_settings| {
    ///         let cluster = Cluster::in_process();
    ///         let routes = Router::new().route(1, on(double));
    ///         let node = Node::builder(&cluster, "math", |_| ()).routes(routes).build()?;
    ///         let gate = Gate::builder(&cluster).listen(Tcp::on("127.0.0.1:3553")).build()?;
    ///         Ok(App::default().pairs(gate, node))
    ///     })
    /// }
    /// ```
    pub fn main(build: impl FnOnce(&Settings) -> Result<Self, Box<dyn Error>>) -> ExitCode {
        let (loader, rest) = Loader::process();
        match rest.first() {
            None => Self::main_with(&loader, build),
            Some(word) if word == "--help" || word == "-h" => help(),
            Some(word) => {
                let word = word.to_string_lossy();
                not_started(&format!("{word:?} is no flag of this program; --help lists them"))
            }
        }
    }

    /// As [`App::main`], for a program with flags of its own: it reads those, and says here where its
    /// settings come from. [`Loader::process`] gives it the flags that are left.
    pub fn main_with(
        loader: &Loader,
        build: impl FnOnce(&Settings) -> Result<Self, Box<dyn Error>>,
    ) -> ExitCode {
        // Before anything is bound or written: a stop must be orderly from here on.
        let signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => return not_started(&AppError::Signals(error).to_string()),
        };
        let watcher = match loader.clone().watch() {
            Ok(watcher) => watcher,
            Err(errors) => {
                let count = errors.problems.len();
                let s = if count == 1 { "" } else { "s" };
                return not_started(&format!("{count} problem{s} in the settings:\n{errors}"));
            }
        };
        let settings = watcher.settings();
        let logs = match yumen_log::init(&*settings) {
            Ok(logs) => logs,
            Err(error) => return not_started(&error.to_string()),
        };
        let last_lines = logs.clone();
        signals.at_exit(move || {
            last_lines.flush(HURRY_MAX);
        });
        for note in &settings.notes {
            tracing::warn!("{note}");
        }
        let result = start(signals, watcher, &logs, build);
        logs.flush(FLUSH_MAX);
        result.unwrap_or_else(|failure| failure.say())
    }
}

/// Why the program ends with another exit code than 0.
enum Failure {
    NotStarted(String),
    Failed(String),
}

impl Failure {
    /// Says it, and gives the exit code.
    fn say(self) -> ExitCode {
        match self {
            Self::NotStarted(why) => not_started(&why),
            Self::Failed(why) => {
                say(&format!("failed: {why}"));
                ExitCode::from(FAILED)
            }
        }
    }
}

/// Builds the app and runs it.
fn start(
    signals: Signals,
    watcher: Watcher,
    logs: &Logs,
    build: impl FnOnce(&Settings) -> Result<App, Box<dyn Error>>,
) -> Result<ExitCode, Failure> {
    let settings = watcher.settings();
    // First of all, so that a second copy is told so, and not that its port is in use.
    let file = &settings.general.pid;
    let pid = if file.is_empty() { None } else { Some(PidFile::write(Path::new(file))) };
    let pid = pid.transpose().map_err(|error| Failure::NotStarted(error.to_string()))?;
    if let Some(pid) = &pid {
        let path = pid.path().to_owned();
        signals.at_exit(move || pid::remove(&path));
    }
    let mut app = match catch_unwind(AssertUnwindSafe(|| build(&settings))) {
        Ok(Ok(app)) => app.follow(watcher).settings(&settings).logs(logs.clone()).banner(),
        Ok(Err(error)) => return Err(Failure::NotStarted(error.to_string())),
        Err(_) => {
            let why = "the code that builds the app panicked";
            return Err(Failure::NotStarted(why.to_owned()));
        }
    };
    app.signals = Some(signals);
    // What the program says itself wins.
    app.pid = pid.filter(|_| !app.ways.pid.is_by_code());
    let control = app.control();
    match app.run_blocking() {
        Ok(()) => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if control.has_served() => Err(Failure::Failed(error.to_string())),
        Err(error) => Err(Failure::NotStarted(error.to_string())),
    }
}

fn help() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("program"));
    let name = Path::new(&name).file_name().unwrap_or(&name).to_string_lossy();
    let written = write!(io::stdout(), "Usage: {name} {HELP}");
    let _nobody_reads = written.and_then(|()| io::stdout().flush());
    ExitCode::SUCCESS
}

fn not_started(why: &str) -> ExitCode {
    say(&format!("cannot start: {why}"));
    ExitCode::from(NOT_STARTED)
}

/// A line on standard error. A reader that went away is no reason to fail.
fn say(text: &str) {
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
