//! `yumen bench chaos`: what a person types; [`crate::chaos`] does it.
use super::note;
use crate::chaos::plan::Length;
use crate::chaos::world::{self, Run};
use clap::Args;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  yumen bench chaos --dir /tmp/chaos && chaos-check /tmp/chaos
  yumen bench chaos --dir /tmp/chaos --length short --clients 200
chaos-check is built by: cargo build --release -p yumen-bench --bin chaos-check";

/// Options of `bench chaos`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ChaosArgs {
    /// Directory for the logs of clients and processes; made if it is not there.
    #[arg(long)]
    dir: PathBuf,
    /// Which faults, and how long.
    #[arg(long, value_enum, default_value_t = Length::Ci)]
    length: Length,
    /// How many clients play.
    #[arg(long, default_value_t = 2_000)]
    clients: u32,
    /// Everything in one process without etcd and Redis, and no fault: to try clients and checker.
    #[arg(long)]
    one_process: bool,
}

pub(super) fn run(args: &ChaosArgs) -> io::Result<ExitCode> {
    let ChaosArgs { dir, length, clients, one_process } = args;
    let run = Run { dir, length: *length, clients: *clients, one_process: *one_process };
    world::run(&run, &mut |line| note(line))?;
    note(&format!("written to {}; chaos-check reads it", dir.display()));
    Ok(ExitCode::SUCCESS)
}
