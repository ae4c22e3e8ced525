//! How a log is set up, and what is wrong with it.

use crate::{
    clock::{Clock, SystemClock},
    file::FileOptions,
    filter::{Filter, FilterError},
    render::Format,
    severity::{Severities, Severity},
};
use std::{
    convert::Infallible,
    fmt,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
};

/// The bits of the terminals.
pub(crate) const CONSOLE: u8 = 1;
pub(crate) const FILE: u8 = 2;

/// Where the console's lines go.
pub(crate) struct Console {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) colours: bool,
}

/// How a log is set up. The default is due's: info, console and file, text.
#[non_exhaustive]
pub struct Options {
    /// From which level on lines are made. Default: info.
    pub level: Filter,
    /// From which level on a line has its stack with it. `None` is never. Default: error.
    pub stack_level: Option<Severity>,
    /// How times are written, as a Go layout; see [`crate::time_format`]. Default:
    /// `2006/01/02 15:04:05.000000`.
    pub time_format: String,
    /// The zone of times, as `Europe/Berlin`. Default: `Local`, the machine's.
    pub timezone: String,
    /// Whether a line names its source file by its whole path. Default: no, by its name.
    pub full_path: bool,
    /// The levels that the console takes; an empty list is every level. `None` is no console.
    /// Default: every level.
    pub console: Option<Vec<Severity>>,
    /// The form of lines on the console. Default: text.
    pub console_format: Format,
    /// The levels that the file takes; an empty list is every level. `None` is no file. Default:
    /// every level.
    pub file: Option<Vec<Severity>>,
    /// The form of lines in the file. Default: text.
    pub file_format: Format,
    /// Where the file is and what becomes of it.
    pub file_options: FileOptions,
    /// Bytes of lines that may wait to be written; a longer line is never written. Default: 4 MiB.
    pub queue_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// What is worth a line at the start.
    pub(crate) remarks: Vec<String>,
    pub(crate) console_out: Option<Box<dyn Write + Send>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: Filter::default(),
            stack_level: Some(Severity::Error),
            time_format: "2006/01/02 15:04:05.000000".to_owned(),
            timezone: "Local".to_owned(),
            full_path: false,
            console: Some(Vec::new()),
            console_format: Format::Text,
            file: Some(Vec::new()),
            file_format: Format::Text,
            file_options: FileOptions::default(),
            queue_bytes: 4 << 20,
            clock: Arc::new(SystemClock),
            remarks: Vec::new(),
            console_out: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Options {
    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Writes the console's lines to `out` instead of standard output, without colours.
    #[must_use]
    pub fn console_out(mut self, out: impl Write + Send + 'static) -> Self {
        self.console_out = Some(Box::new(out));
        self
    }

    /// Standard output has colours if it is a terminal and nobody said that there should be none.
    pub(crate) fn take_console(&mut self) -> Console {
        match self.console_out.take() {
            Some(out) => Console { out, colours: false },
            None => Console { out: Box::new(io::stdout()), colours: wants_colours() },
        }
    }

    /// The levels that each terminal takes, eight bits for each.
    pub(crate) fn takes(&self) -> u64 {
        let levels = |levels: &Option<Vec<Severity>>| {
            levels.as_ref().map_or(0, |levels| Severities::listed(levels.iter().copied()).0)
        };
        u64::from_le_bytes([levels(&self.console), levels(&self.file), 0, 0, 0, 0, 0, 0])
    }
}

fn wants_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    io::stdout().is_terminal() && !refused && !dumb
}

/// Why a log cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be opened for writing.
    #[error(
        "the log file {path} cannot be written: {source}; make its directory writable, name another \
         one in log.file.path, or leave \"file\" out of log.terminals",
        path = path.display()
    )]
    File {
        /// The file, or what should be one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A level in the settings is none.
    #[error("{key}: {source}")]
    Level {
        /// The key in the settings.
        key: &'static str,
        /// What is wrong with it.
        source: FilterError,
    },
    /// The time zone is not known here.
    #[error(
        "the time zone {name:?} is not known on this machine: {why}; write a name such as \
         \"Europe/Berlin\", \"UTC\" or \"Local\" in timezone, or install the time zone database (tzdata)"
    )]
    TimeZone {
        /// What was asked for.
        name: String,
        /// What looking it up gave.
        why: String,
    },
    /// No thread could be started for the log.
    #[error("no thread could be started for the log: {0}")]
    Thread(io::Error),
    /// Something else takes the process's lines already.
    #[error("the log of this process was set up before, here or with tracing itself; do it once")]
    Twice,
}

/// Options that are options already cannot be wrong.
impl From<Infallible> for LogError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
