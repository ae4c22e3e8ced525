//! What a client saw, a line each: `MICROSECONDS CLIENT WORD …`, in the order of the events.
//!
//! The time is of the clock that all processes of a machine share. `chaos-check` says what each word
//! means; it has a reader of its own, so that a mistake here is not made twice.
use crate::clock::shared_ns;
use std::cell::RefCell;
use std::fmt::Arguments;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A log that is being written. Full buffers are written by themselves; nobody waits for a line.
#[derive(Debug)]
pub(super) struct Sheet {
    file: RefCell<BufWriter<File>>,
}

impl Sheet {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = RefCell::new(BufWriter::with_capacity(256 * 1024, File::create(path)?));
        Ok(Self { file })
    }

    /// Writes a line with the time before it.
    ///
    /// # Errors
    /// Those of writing: a log with a hole proves nothing, so the run ends.
    pub(super) fn line(&self, words: Arguments<'_>) -> io::Result<()> {
        let micros = shared_ns() / 1_000;
        writeln!(self.file.borrow_mut(), "{micros} {words}")
    }

    /// Writes what is buffered.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.borrow_mut().flush()
    }
}
