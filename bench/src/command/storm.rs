//! `yumen bench storm`: thousands of clients that come at once, as after a restart.
//!
//! All connections are begun before the first is looked after, by one thread of this process, and each
//! logs in as soon as it is there. What counts: nobody is refused, and how long until the last has its
//! reply. A client whose packet finds the listener's queue full is sent on by its system a second later;
//! those are told apart. Each round has fresh processes.
mod client;

use super::crowd::Fleet;
use super::keep::KeepArgs;
use super::neighbours::{Check, Unit};
use super::note;
use super::serve::crowd::Doors;
use crate::clock::{thread_cpu, today};
use crate::machine::Machine;
use crate::number::{count, float, micros_each, ratio};
use crate::process::{CpuTimes, need_descriptors};
use crate::report::Time;
use crate::stats::{Percentiles, Spread};
use clap::Args;
use client::Storm;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// Options of `bench storm`.
#[derive(Debug, Clone, Args)]
pub struct StormArgs {
    /// Clients that come at once. This process and the gate need a descriptor for each: see `ulimit -Hn`.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// How often they come; medians count.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Longest wait for the last reply.
const STORM_MAX: Duration = Duration::from_secs(60);

/// One storm.
#[derive(Debug, Serialize)]
struct Round {
    /// Connections that were not taken, or ended, or stayed without a reply.
    failed: u64,
    /// Clients whose reply took longer than 900 ms.
    late: u64,
    /// From the first attempt: until the last one was made, and until the last reply came.
    begun_s: f64,
    seconds: f64,
    /// Clients logged in per second.
    rate: f64,
    /// From each client's own attempt to its reply.
    reply: Percentiles,
    /// CPU time of gate and node, and of the clients, for each.
    server_cpu_us: f64,
    clients_cpu_us: f64,
    gate: Doors,
}

#[derive(Debug, Serialize)]
struct Report {
    date: String,
    machine: Machine,
    connections: usize,
    rate: Spread,
    seconds: Spread,
    rounds: Vec<Round>,
    checks: Vec<Check>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { date, machine, connections, rate, seconds, rounds, checks } = self;
        writeln!(f, "{connections} clients at once, each logs in; {date}, {machine}\n")?;
        for round in rounds {
            writeln!(
                f,
                "begun in {:.2} s, all in after {:.2} s: {:.0}/s; reply {}; {} later than 900 ms; CPU for \
                 each: server {:.1} us, clients {:.1} us",
                round.begun_s,
                round.seconds,
                round.rate,
                round.reply,
                round.late,
                round.server_cpu_us,
                round.clients_cpu_us
            )?;
        }
        writeln!(
            f,
            "median {:.0} logged in per second ({:.0}-{:.0}), all in after {:.2} s",
            rate.median, rate.min, rate.max, seconds.median
        )?;
        checks.iter().try_for_each(|check| writeln!(f, "  {check}"))?;
        f.write_str("a node, and a gate, as processes; the clients on one thread of another")
    }
}

pub(super) fn run(args: &StormArgs) -> io::Result<ExitCode> {
    need_descriptors(args.connections)?;
    let (date, machine) = (today(), Machine::describe());
    let mut rounds = Vec::new();
    for number in 1..=args.rounds.max(1) {
        let round = one(args.connections)?;
        note(&format!(
            "storm {number}/{}: {} in after {}, {} failed, {} late",
            args.rounds.max(1),
            args.connections,
            Time(round.seconds * 1e6),
            round.failed,
            round.late
        ));
        rounds.push(round);
    }
    let sum = |figure: fn(&Round) -> u64| rounds.iter().map(figure).fold(0, u64::saturating_add);
    let spread =
        |figure: fn(&Round) -> f64| Spread::of(&rounds.iter().map(figure).collect::<Vec<_>>());
    let checks = vec![
        Check::new("clients that failed", float(sum(|round| round.failed)), 0.0, Unit::Count),
        Check::new("refused by the gate", float(sum(|round| round.gate.refused)), 0.0, Unit::Count),
    ];
    let report = Report {
        date,
        machine,
        connections: args.connections,
        rate: spread(|round| round.rate),
        seconds: spread(|round| round.seconds),
        rounds,
        checks,
    };
    args.keep.finish("storm", &report)?;
    let met = report.checks.iter().all(Check::met);
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(connections: usize) -> io::Result<Round> {
    let mut fleet = Fleet::start(1)?;
    let pids = fleet.pids();
    let (before, clients) = (CpuTimes::of(&pids)?, thread_cpu());
    let mut storm = Storm::begin(fleet.address()?, connections)?;
    let all_in = storm.weather(STORM_MAX)?;
    let clients = thread_cpu().saturating_sub(clients);
    let server = CpuTimes::of(&pids)?.since(&before);
    let gate = fleet.doors()?;
    drop(storm);
    fleet.stop()?;
    let (all, seconds) = (count(connections), all_in.passed.as_secs_f64());
    Ok(Round {
        failed: all_in.failed,
        late: all_in.late,
        begun_s: all_in.begun.as_secs_f64(),
        seconds,
        rate: ratio(float(all.saturating_sub(all_in.failed)), seconds),
        reply: all_in.replies.summary(),
        server_cpu_us: micros_each(server, all),
        clients_cpu_us: micros_each(clients, all),
        gate,
    })
}
