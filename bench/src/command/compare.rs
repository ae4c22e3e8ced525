//! `yumen bench compare`: servers of ours beside the raw relay, in turns.
//!
//! The figure that counts is CPU time per message, which other work on the machine changes little;
//! rates are shown because people ask, and mean something only on a quiet machine.
//! The relay pays for a socket between its two processes; ours pays for framing, sessions, routing and
//! JSON, and with `--processes` for the same socket. Without it a ratio below 1 does not beat the limit.
mod rows;
mod summary;

use super::job::Job;
use super::keep::KeepArgs;
use super::{LayoutArgs, note};
use crate::clock::today;
use crate::generator::{BodyCodec, Expect, Request};
use crate::machine::Machine;
use crate::report::{LoadReport, Shape};
use clap::Args;
use rows::{Contender, PROCESSES, Row, TOGETHER};
use std::io::{self, ErrorKind};
use std::process::ExitCode;
use summary::{Comparison, RowReport};

/// Options of `bench compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Measure gate and node as a process each, which is how clusters run.
    ///
    /// Beside them, on some rows: the same over WebSocket, gate and node in one process, and two
    /// instances of the gate in one process. System calls are counted in a further run of each, where
    /// `perf` is installed and allowed.
    #[arg(long)]
    processes: bool,
    /// Only this row, for example 50x64 or 1000@20000. May be repeated.
    #[arg(long, value_name = "ROW", conflicts_with = "save")]
    row: Vec<String>,
    /// How often each side is measured on each row; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Messages of each run. Default: enough for a few seconds, by row.
    #[arg(long)]
    messages: Option<u64>,
    /// A tenth of the messages and three rounds: a first look, too noisy to be kept.
    #[arg(long, conflicts_with_all = ["messages", "rounds"])]
    quick: bool,
    /// Letters in the message of each request.
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// Exit with 1 if a target is missed, and not only if requests went wrong.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    keep: KeepArgs,
}

pub(super) fn run(args: &CompareArgs) -> io::Result<ExitCode> {
    let rounds = if args.quick { 3 } else { args.rounds.max(1) };
    let mut comparison = Comparison {
        date: today(),
        machine: Machine::describe(),
        processes: args.processes,
        rounds,
        body_bytes: BodyCodec::Json.echo(args.size).len(),
        rows: Vec::new(),
    };
    for row in chosen(args)? {
        let messages = args.messages.unwrap_or(row.messages);
        let messages = if args.quick { messages / 10 } else { messages };
        comparison.rows.push(compare(args.size, &Row { messages, ..row }, rounds)?);
    }
    let name = if args.processes { "compare-processes" } else { "compare" };
    args.keep.finish(name, &comparison)?;
    let failed = comparison.errors() > 0 || (args.check && comparison.missed() > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The rows that were asked for.
fn chosen(args: &CompareArgs) -> io::Result<Vec<Row>> {
    let rows: &[Row] = if args.processes { &PROCESSES } else { &TOGETHER };
    let names: Vec<_> = rows.iter().map(Row::to_string).collect();
    if let Some(unknown) = args.row.iter().find(|name| !names.contains(name)) {
        let text = format!("there is no row {unknown}; there are {}", names.join(", "));
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    let wanted = |row: &&Row| args.row.is_empty() || args.row.contains(&row.to_string());
    Ok(rows.iter().filter(wanted).copied().collect())
}

/// Measures one row: each contender, and again each, and so on.
fn compare(letters: usize, row: &Row, rounds: u32) -> io::Result<RowReport> {
    let rounds = rounds.saturating_mul(row.times);
    let mut runs = vec![Vec::new(); row.contenders.len()];
    for round in 1..=rounds {
        for (contender, runs) in row.contenders.iter().zip(&mut runs) {
            let run = one(contender, letters, row, round == rounds)?;
            note(&format!(
                "{row} round {round}/{rounds} {}: {:.2} us, {:.0}/s, generator {:.2} us{}",
                contender.name,
                run.server_cpu_us.unwrap_or_default(),
                run.rate,
                run.generator_cpu_us,
                wrong(&run)
            ));
            runs.push(run);
        }
    }
    Ok(RowReport::of(row, &runs))
}

/// What went wrong in a run, in words behind its figures.
fn wrong(run: &LoadReport) -> String {
    let LoadReport { lost, duplicated, refused, wrong, unsent, closed, .. } = run;
    if run.errors() == 0 {
        return String::new();
    }
    format!(
        ", WITH ERRORS: lost {lost}, duplicated {duplicated}, refused {refused}, wrong {wrong}, \
         unsent {unsent}, connections closed {closed}"
    )
}

/// One run against a fresh server; the last one also counts system calls, in a run of their own.
fn one(contender: &Contender, letters: usize, row: &Row, last: bool) -> io::Result<LoadReport> {
    let Contender { side, transport, .. } = *contender;
    let layout = LayoutArgs::wide();
    let server = side.start(&layout, BodyCodec::Json, transport)?;
    let body = BodyCodec::Json.echo(letters);
    let load = row.load();
    let shape = Shape::of(load, row.connections, body.len(), Some(BodyCodec::Json));
    let job = Job {
        target: server.target(),
        request: Request {
            layout: layout.layout(body.len()),
            route: layout.route(),
            body,
            expect: Expect::Echo,
            announce: true,
        },
        connections: row.connections,
        load,
        pids: server.pids(),
        progress: false,
    };
    let mut report = job.report(&job.measure()?, shape, side.processes());
    if last {
        job.count_system_calls(&mut report);
    }
    server.stop()?;
    Ok(report)
}
