//! The log as a program sees it: events in, lines out.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may be short"
)]

mod init;
mod json;
mod levels;
mod place;
mod text;

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::Subscriber;
use yumen_log::{FileOptions, Logs, Options, clock::Clock};

/// 2026-11-22 21:40:58.000012345 UTC.
const NOW_NS: i64 = 1_795_383_658_000_012_345;
/// Longer than any healthy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Always the same time.
struct Still;

impl Clock for Still {
    fn unix_ns(&self) -> i64 {
        NOW_NS
    }
}

/// A console that can be read.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A console at a time that stands still, in UTC, without stacks.
fn options() -> (Options, Screen) {
    let screen = Screen::default();
    let mut options = Options::default().clock(Still).console_out(screen.clone());
    options.timezone = "UTC".to_owned();
    options.stack_level = None;
    options.file = None;
    (options, screen)
}

fn with_file(options: &mut Options, path: &Path) {
    options.file = Some(Vec::new());
    let mut file = FileOptions::default();
    file.path = path.to_owned();
    options.file_options = file;
}

/// Runs `log` in a log of its own and waits until all is written.
fn logged(options: Options, log: impl FnOnce(&Logs)) -> Logs {
    let (subscriber, logs) = yumen_log::build(options).unwrap();
    within(subscriber, &logs, log);
    logs
}

fn within(
    subscriber: impl Subscriber + Send + Sync + 'static,
    logs: &Logs,
    log: impl FnOnce(&Logs),
) {
    tracing::subscriber::with_default(subscriber, || log(logs));
    assert!(logs.flush(PATIENCE));
}
