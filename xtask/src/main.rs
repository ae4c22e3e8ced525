//! The chores of this repository: `cargo xtask test`, `cargo xtask tidy`, `cargo xtask soak`.
//!
//! It only starts other programs and reads files; it never changes a file of the repository.
//! What CI runs is exactly what a person runs: `.ci/run` calls `cargo xtask test --install`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks")]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests may panic")
)]

mod command;
mod error;
mod evening;
mod features;
mod guide;
mod manifest;
mod readme;
mod soak;
mod source;
mod stage;
mod test;
mod tidy;
mod tool;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::manifest::Workspace;

/// Checks and chores of the Yumen repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run everything that CI runs, in the order a failure should be met
    Test(test::Args),
    /// Play a newcomer's first evening: a fresh clone, the README, and settings broken one by one
    Evening,
    /// Check the rules that no compiler knows: headers, sizes, crate graph, dependencies
    Tidy,
    /// Run the long version of a check; without a name, list what there is
    Soak(soak::Args),
    /// Run a real etcd or Redis on this machine, in the foreground, until Ctrl-C
    Up(up::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> Result<(), Error> {
    let workspace = Workspace::load()?;
    match chore {
        Chore::Test(args) => test::run(&workspace, args),
        Chore::Evening => evening::run(&workspace),
        Chore::Tidy => tidy::run(&workspace),
        Chore::Soak(args) => soak::run(&workspace, args),
        Chore::Up(args) => up::run(&workspace, args),
    }
}
