//! Panics in the log.
//!
//! The one thing to know: a panic that somebody catches is a line like any other; one that ends the
//! process waits until the lines are written, since nobody comes after it.

use crate::{PANIC_TARGET, logs::Logs};
use std::{
    panic::{self, Location, PanicHookInfo},
    thread,
    time::Duration,
};

/// How long the end of the process waits for its last lines.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Has every panic of this process logged, beside what was done with panics before.
pub(crate) fn install(logs: Logs) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        say(info);
        before(info);
        // The first thread takes the process with it. Others are caught, or joined by somebody.
        if cfg!(panic = "abort") || thread::current().name() == Some("main") {
            logs.flush(LAST_WORDS);
        }
    }));
}

fn say(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let thread = thread::current();
    let name = thread.name().unwrap_or("?");
    let place = info.location();
    let (file, line) = (place.map(Location::file), place.map(|place| u64::from(place.line())));
    tracing::error!(
        target: PANIC_TARGET,
        { panic.file = file, panic.line = line, thread = name },
        "panicked: {message}"
    );
}
