//! The benchmarks without the rest of `yumen`: what their tests start.
//!
//! Its allocator counts, which `yumen`'s does not: `bench codec` shows memory here.
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use yumen_bench::command::{Allocated, BenchCommand, run_counting};

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
    run_counting(command, Some(memory))
}

fn memory(work: &mut dyn FnMut()) -> Allocated {
    let counted = allocation_counter::measure(work);
    Allocated { count: counted.count_total, bytes: counted.bytes_total }
}
