//! `yumen bench chaos`: what a person types; [`crate::chaos`] does it.
use super::note;
use crate::chaos::plan::{Length, Step};
use crate::chaos::world::{self, Run};
use clap::Args;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  yumen bench chaos --dir /tmp/chaos && chaos-check /tmp/chaos
  yumen bench chaos --dir /tmp/chaos --length short --clients 200
  yumen bench chaos --dir /tmp/chaos --step redis:kill:20:15
  yumen bench chaos --dir /tmp/chaos --slow 80 --length lines --clients 300
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
    /// These faults instead, one after the other: WHO:kill|stop|cut:SECONDS:SECONDS, outage and calm.
    #[arg(long, value_name = "FAULT")]
    step: Vec<Step>,
    /// Milliseconds that an answer takes longer on every line between two processes, through a Toxiproxy. Lines
    /// can be cut then.
    #[arg(long, value_name = "MILLISECONDS")]
    slow: Option<u64>,
    /// How many clients play.
    #[arg(long, default_value_t = 2_000)]
    clients: u32,
    /// Everything in one process without etcd and Redis, and no fault: to try clients and checker.
    #[arg(long)]
    one_process: bool,
}

pub(super) fn run(args: &ChaosArgs) -> io::Result<ExitCode> {
    let ChaosArgs { dir, length, step, slow, clients, one_process } = args;
    let slow = slow.map(Duration::from_millis);
    let steps = if step.is_empty() { length.steps() } else { step.clone() };
    let run = Run { dir, steps, clients: *clients, one_process: *one_process, slow };
    world::run(&run, &mut |line| note(line))?;
    note(&format!("written to {}; chaos-check reads it", dir.display()));
    Ok(ExitCode::SUCCESS)
}
