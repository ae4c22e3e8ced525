//! `yumen metrics`: the list of metrics, for people and for scripts.

use clap::Subcommand;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use yumen::metrics;

/// How the list is written.
#[derive(Debug, Subcommand)]
pub(crate) enum MetricsCommand {
    /// As the page of the reference, in Markdown.
    Reference,
    /// One line each: name, type, labels.
    Names,
}

/// Writes the list to the standard output.
pub(crate) fn run(command: &MetricsCommand) -> ExitCode {
    let text = match command {
        MetricsCommand::Reference => metrics::reference(),
        MetricsCommand::Names => metrics::names(),
    };
    // Whoever closes the pipe early has seen enough.
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
