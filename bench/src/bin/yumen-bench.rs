//! The benchmarks without the rest of `yumen`: what their tests start.
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use yumen_bench::command::{BenchCommand, run};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// As in `yumen`, because a benchmark starts its own program as `PROGRAM bench …`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Measure a server of ours, or any that speaks due's packets.
    #[command(subcommand, arg_required_else_help = true)]
    Bench(BenchCommand),
}

fn main() -> ExitCode {
    let Command::Bench(command) = Arguments::parse().command;
    run(command)
}
