//! The `yumen` command: the demo, a cluster to play with, the benchmarks, settings, and asking a running process.
//!
//! Only what a person types and sees is here. Everything that measures is in `yumen-bench`, so
//! that it can be built and tested without this binary.
mod admin;
mod cluster;
mod config;
mod demo;
mod metrics;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use yumen_bench::command::BenchCommand;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "Examples:
  yumen demo --seconds 10
  yumen cluster up
  yumen config explain
  yumen bench call --connect 127.0.0.1:3553 --route 1 --data '{\"name\":\"Ada\"}'";

/// Game servers in Rust: gates, nodes, clients.
#[derive(Debug, Parser)]
#[command(
    name = "yumen",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = EXAMPLES
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: a gate, a node and a thousand bots in this process, over real sockets.
    Demo(demo::DemoArgs),
    /// Ask a running process, or tell it something, over its admin address.
    #[command(arg_required_else_help = true)]
    Admin(admin::AdminArgs),
    /// A whole cluster of processes on this machine, to play with and to break.
    #[command(subcommand, arg_required_else_help = true)]
    Cluster(cluster::ClusterCommand),
    /// Measure a server of ours, or any that speaks due's packets.
    #[command(subcommand, arg_required_else_help = true)]
    Bench(BenchCommand),
    /// See what the settings are and where each came from; check them.
    #[command(subcommand, arg_required_else_help = true)]
    Config(config::ConfigCommand),
    /// What the metrics are called, and what they say.
    #[command(subcommand, arg_required_else_help = true)]
    Metrics(metrics::MetricsCommand),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Admin(args) => admin::run(&args),
        Command::Cluster(command) => cluster::run(&command),
        Command::Bench(command) => yumen_bench::command::run(command),
        Command::Config(command) => config::run(&command),
        Command::Metrics(command) => metrics::run(&command),
    }
}
