//! Starts one program, shows the line that a person would type, and waits for its end.
//!
//! Output goes straight through, never captured: CI reads the closing lines of `cargo test`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;

/// One command line, started in the repository's root.
pub(crate) struct Line {
    command: Command,
    shown: String,
}

impl Line {
    /// A command from words separated by blanks, run in `root`.
    pub(crate) fn new(root: &Path, words: &str) -> Self {
        let mut split = words.split_whitespace();
        let mut command = Command::new(split.next().unwrap_or_default());
        command.args(split).current_dir(root).stdin(Stdio::null());
        // `cargo run` tells its child which package it runs; a nested cargo must not inherit that.
        let inherited = |key: &str| key.starts_with("CARGO_PKG_") || key == "CARGO_MANIFEST_DIR";
        for key in std::env::vars_os().filter_map(|(key, _)| key.into_string().ok()) {
            if inherited(&key) {
                command.env_remove(key);
            }
        }
        Self { command, shown: words.to_owned() }
    }

    /// Sets an environment variable; it is shown before the command.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        let value = if value.contains(' ') { format!("\"{value}\"") } else { value.to_owned() };
        self.shown = format!("{key}={value} {}", self.shown);
        self
    }

    /// Sets an environment variable that changes only how fast it is done; it is not shown.
    pub(crate) fn quiet_env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Adds one argument that may have blanks in it.
    pub(crate) fn arg(mut self, path: &Path) -> Self {
        self.command.arg(path);
        self.shown = format!("{} {}", self.shown, path.display());
        self
    }

    /// Runs it and gives what it wrote to its standard output.
    ///
    /// # Errors
    /// As [`Line::run`].
    pub(crate) fn output(mut self) -> Result<String, Error> {
        match self.command.output() {
            Ok(done) if done.status.success() => {
                Ok(String::from_utf8_lossy(&done.stdout).into_owned())
            }
            Ok(done) => Err(Error::Command { line: self.shown, status: done.status }),
            Err(source) => Err(Error::Start { line: self.shown, source }),
        }
    }

    /// Runs it with its output visible.
    ///
    /// # Errors
    /// [`Error::Start`] if there is no such program, [`Error::Command`] if it exits with anything but 0.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        println!("$ {}", self.shown);
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::Command { line: self.shown, status }),
            Err(source) => Err(Error::Start { line: self.shown, source }),
        }
    }

    /// Runs it silently and says whether it exited with 0.
    pub(crate) fn succeeds(mut self) -> bool {
        let status = self.command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

/// Is this a CI run, where nothing may be skipped?
pub(crate) fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
