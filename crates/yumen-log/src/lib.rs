//! Where log lines go: console and file, as text or json, behind a bounded queue that never blocks.
//!
//! It takes the events of [`tracing`] and writes them as due's log settings say. It never makes the
//! thread that logs wait: a line that finds the queue full is dropped and counted. The one thing to
//! know: one thread writes all lines, so call [`Logs::flush`] before the process ends.
//!
//! ```
//! let mut options = yumen_log::Options::default();
//! options.file = None;
//! let (subscriber, logs) = yumen_log::build(options)?;
//! tracing::subscriber::with_default(subscriber, || {
//!     tracing::info!(user = 7, "a player logged in");
//! });
//! assert!(logs.flush(std::time::Duration::from_secs(60)));
//! assert_eq!(logs.written(), 1);
//! # Ok::<(), yumen_log::LogError>(())
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "tests may be short"
    )
)]

pub mod clock;
mod disk;
mod file;
mod filter;
mod layer;
mod line;
mod logs;
mod options;
mod panic;
mod queue;
mod remark;
mod render;
mod settings;
mod severity;
mod stack;
pub mod time_format;
mod writer;

pub use file::{FileOptions, Rotate};
pub use filter::{Filter, FilterError};
pub use line::LINE_MAX;
pub use logs::Logs;
pub use options::{LogError, Options};
pub use render::Format;
pub use severity::{PANIC_TARGET, Severity};

use clock::Times;
use disk::RealDisk;
use file::{LogPath, keep::Trouble};
use jiff::tz::TimeZone;
use layer::{Lines, Shared};
use options::{CONSOLE, Console, FILE};
use queue::Queue;
use remark::Voice;
use render::{Scalar, Style};
use std::{
    sync::{Arc, Mutex, RwLock, atomic::AtomicU64},
    thread,
};
use time_format::TimeFormat;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use writer::{Counts, Out, Terminal, Writer};

/// Sets up the log of this process: all that `tracing` is told from now on, and every panic, as an
/// error with the target [`PANIC_TARGET`] and the level [`Severity::Panic`]. What was done with panics
/// before is still done. Takes [`Options`], or the settings they are made of:
///
/// ```no_run
/// let settings = yumen_settings::Settings::default();
/// let logs = yumen_log::init(&settings)?;
/// tracing::info!("the service starts");
/// logs.flush(std::time::Duration::from_secs(5));
/// # Ok::<(), yumen_log::LogError>(())
/// ```
///
/// # Errors
/// As [`build`], and [`LogError::Twice`] if the process has a log.
pub fn init<O>(options: O) -> Result<Logs, LogError>
where
    O: TryInto<Options>,
    LogError: From<O::Error>,
{
    let (subscriber, logs) = build(options)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    panic::install(logs.clone());
    Ok(logs)
}

/// Sets up a log that takes nothing yet: the subscriber is for the caller to use, whole or with
/// layers of its own. The log ends when both it and the handle are gone.
///
/// # Errors
/// [`LogError`] if a level is none, the file cannot be opened, the time zone is not known, or no thread starts.
pub fn build<O>(options: O) -> Result<(impl Subscriber + Send + Sync + use<O>, Logs), LogError>
where
    O: TryInto<Options>,
    LogError: From<O::Error>,
{
    let mut options = options.try_into()?;
    let zone = zone(&options.timezone)?;
    let clock = options.clock.clone();
    let format = TimeFormat::new(&options.time_format);
    let odd = |c: char| c.is_control() || matches!(c, '"' | '\\');
    let style = Arc::new(Style {
        times: Times::new(format, zone),
        odd_time: options.time_format.contains(odd),
        full_path: options.full_path,
    });
    let queue = Arc::new(Queue::new(options.queue_bytes));
    let console = options.console.is_some().then_some((CONSOLE, options.console_format));
    let file = options.file.is_some().then_some((FILE, options.file_format));
    let forms: Vec<_> = console.into_iter().chain(file).collect();
    let of = |format| {
        let bits = forms.iter().filter(|(_, it)| *it == format).map(|(bit, _)| *bit);
        bits.fold(0, std::ops::BitOr::bitor)
    };
    let (text, json) = (of(Format::Text), of(Format::Json));
    let voice = Voice {
        queue: queue.clone(),
        style: style.clone(),
        clock: clock.clone(),
        terminals: forms,
    };
    let terminals = terminals(&mut options, voice)?;
    let counts = Arc::new(Counts::default());
    let shared = Shared {
        queue: queue.clone(),
        style: style.clone(),
        clock: clock.clone(),
        counts: counts.clone(),
        filter: RwLock::new(options.level.clone()),
        settled: Mutex::new(options.level.clone()),
        takes: AtomicU64::new(options.takes()),
        text,
        json,
        stack_from: options.stack_level,
    };
    let shared = Arc::new(shared);
    let writer = Writer { queue, style, clock, counts, terminals };
    let thread = thread::Builder::new().name("yumen-log".to_owned());
    thread.spawn(move || writer.run()).map_err(LogError::Thread)?;
    let lines = Lines { shared: shared.clone() };
    Ok((tracing_subscriber::registry().with(lines), Logs { shared }))
}

fn zone(name: &str) -> Result<TimeZone, LogError> {
    if name.is_empty() || name.eq_ignore_ascii_case("local") {
        // A machine that names no zone is in UTC.
        return Ok(TimeZone::try_system().unwrap_or(TimeZone::UTC));
    }
    let unknown = |error: jiff::Error| {
        let (name, why) = (name.to_owned(), error.to_string());
        LogError::TimeZone { name, why }
    };
    TimeZone::get(name).map_err(unknown)
}

fn terminals(options: &mut Options, voice: Voice) -> Result<Vec<Terminal>, LogError> {
    let mut terminals = Vec::new();
    for remark in &options.remarks {
        voice.warn(remark, &[]);
    }
    if options.console.is_some() {
        let Console { out, colours } = options.take_console();
        let out = Out::Console { out, colours };
        terminals.push(Terminal::new(CONSOLE, options.console_format, out));
    }
    if options.file.is_some() {
        let file = options.file_options.clone();
        let (path, now_ns) = (file.path.clone(), voice.clock.unix_ns());
        let file = LogPath::open(file, Box::new(RealDisk), voice.style.clone(), now_ns);
        let mut file = file.map_err(|source| LogError::File { path, source })?;
        let report = move |trouble: &Trouble| {
            let (path, error) = (trouble.path.display().to_string(), trouble.error.to_string());
            let fields = [("path", Scalar::Text(&path)), ("error", Scalar::Text(&error))];
            voice.warn("an old log file could not be compressed or deleted", &fields);
        };
        file.keep(now_ns, report).map_err(LogError::Thread)?;
        terminals.push(Terminal::new(FILE, options.file_format, Out::File(Box::new(file))));
    }
    Ok(terminals)
}
