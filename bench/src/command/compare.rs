//! `yumen bench compare`: our server beside the raw relay, in turns.
//!
//! The figure that counts is CPU time per message, which other work on the machine changes little;
//! rates are shown because people ask, and mean something only on a quiet machine.
//! The relay pays for a socket between its two processes and ours, in one process, does not; ours
//! pays for framing, sessions, routing and JSON. So a ratio below 1 does not beat the limit.
use super::job::Job;
use super::serve::Transport;
use super::side::Side;
use super::{LayoutArgs, keep, note, result};
use crate::clock::today;
use crate::generator::{BodyCodec, Expect, Load, Request};
use crate::machine::Machine;
use crate::number::ratio;
use crate::report::{LoadReport, Shape, Time};
use crate::stats::Spread;
use clap::Args;
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `bench compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
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
    /// Only measure this side.
    #[arg(long, value_enum, conflicts_with = "save")]
    only: Option<Side>,
    /// Keep the result as compare-DATE.json in this directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "bench/results")]
    save: Option<PathBuf>,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
}

/// A load that both sides are put under.
#[derive(Debug, Clone, Copy)]
struct Row {
    connections: usize,
    depth: u32,
    /// Enough for two or three seconds of the relay's CPU time.
    messages: u64,
    /// How many times the relay's CPU time a gate and a node of ours may take, if that is a goal.
    target: Option<f64>,
}

const ROWS: [Row; 4] = [
    Row { connections: 50, depth: 64, messages: 1_000_000, target: Some(2.5) },
    Row { connections: 1000, depth: 8, messages: 600_000, target: None },
    Row { connections: 50, depth: 1, messages: 250_000, target: Some(1.8) },
    Row { connections: 1000, depth: 1, messages: 250_000, target: Some(1.8) },
];

/// What one side did on one row: medians and spreads over the rounds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Figures {
    /// CPU time of the server's processes per message, in microseconds.
    cpu_us: Spread,
    /// Messages per second.
    rate: Spread,
    p50_us: Spread,
    p99_us: Spread,
    /// CPU time of the generator per message, in microseconds.
    generator_cpu_us: Spread,
}

impl Figures {
    fn of(runs: &[LoadReport]) -> Self {
        let spread = |figure: fn(&LoadReport) -> f64| {
            Spread::of(&runs.iter().map(figure).collect::<Vec<_>>())
        };
        Self {
            cpu_us: spread(|run| run.server_cpu_us.unwrap_or_default()),
            rate: spread(|run| run.rate),
            p50_us: spread(|run| run.latency.p50_us),
            p99_us: spread(|run| run.latency.p99_us),
            generator_cpu_us: spread(|run| run.generator_cpu_us),
        }
    }
}

/// One row of the comparison.
#[derive(Debug, Clone, Default, Serialize)]
struct Compared {
    connections: usize,
    depth: u32,
    messages: u64,
    relay: Option<Figures>,
    yumen: Option<Figures>,
    /// Ours over the relay's, of the medians of CPU time.
    cpu_ratio: Option<f64>,
    /// The same ratio, round by round.
    cpu_ratio_rounds: Option<Spread>,
    cpu_ratio_target: Option<f64>,
    /// Ours over the relay's, of the medians of rates.
    rate_ratio: Option<f64>,
    /// Requests that went wrong on either side. Not 0: the row says nothing.
    errors: u64,
}

#[derive(Debug, Serialize)]
struct Comparison {
    date: String,
    machine: Machine,
    rounds: u32,
    body_bytes: usize,
    rows: Vec<Compared>,
}

/// What a reader of the ratios has to know.
const NOTE: &str = "\nrelay: two processes and a socket between them, bytes only. yumen: gate and node \
in one process on one\nthread, no socket between them; sessions, routing, JSON decoded and encoded.";

pub(super) fn run(args: &CompareArgs) -> io::Result<ExitCode> {
    let rounds = if args.quick { 3 } else { args.rounds.max(1) };
    let mut comparison = Comparison {
        date: today(),
        machine: Machine::describe(),
        rounds,
        body_bytes: BodyCodec::Json.echo(args.size).len(),
        rows: Vec::new(),
    };
    for row in ROWS {
        let messages = args.messages.unwrap_or(row.messages);
        let messages = if args.quick { messages / 10 } else { messages };
        comparison.rows.push(compare(args, Row { messages, ..row }, rounds)?);
    }
    if let Some(directory) = &args.save {
        keep(directory, "compare", &comparison)?;
    }
    result(args.json, &comparison, &table(&comparison))?;
    let failed = comparison.rows.iter().any(|row| row.errors > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Measures one row: relay, ours, relay, ours, and so on.
fn compare(args: &CompareArgs, row: Row, rounds: u32) -> io::Result<Compared> {
    let (mut relay, mut yumen) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (side, runs) in [(Side::Relay, &mut relay), (Side::Yumen, &mut yumen)] {
            if args.only.is_some_and(|only| only != side) {
                continue;
            }
            let run = one(side, args.size, row)?;
            note(&format!(
                "{}x{} round {round}/{rounds} {side:?}: {:.2} us, {:.0}/s, generator {:.2} us{}",
                row.connections,
                row.depth,
                run.server_cpu_us.unwrap_or_default(),
                run.rate,
                run.generator_cpu_us,
                if run.errors() > 0 { ", WITH ERRORS" } else { "" }
            ));
            runs.push(run);
        }
    }
    Ok(summarise(row, &relay, &yumen))
}

fn summarise(row: Row, relay: &[LoadReport], yumen: &[LoadReport]) -> Compared {
    let Row { connections, depth, messages, target } = row;
    let errors = relay.iter().chain(yumen).map(LoadReport::errors).fold(0, u64::saturating_add);
    let known = |runs: &[LoadReport]| (!runs.is_empty()).then(|| Figures::of(runs));
    let mut compared = Compared {
        connections,
        depth,
        messages,
        relay: known(relay),
        yumen: known(yumen),
        cpu_ratio_target: target,
        errors,
        ..Compared::default()
    };
    if let (Some(limit), Some(ours)) = (compared.relay, compared.yumen) {
        let cpu = |run: &LoadReport| run.server_cpu_us.unwrap_or_default();
        let rounds: Vec<_> =
            relay.iter().zip(yumen).map(|(limit, ours)| ratio(cpu(ours), cpu(limit))).collect();
        compared.cpu_ratio = Some(ratio(ours.cpu_us.median, limit.cpu_us.median));
        compared.cpu_ratio_rounds = Some(Spread::of(&rounds));
        compared.rate_ratio = Some(ratio(ours.rate.median, limit.rate.median));
    }
    compared
}

fn one(side: Side, letters: usize, row: Row) -> io::Result<LoadReport> {
    let layout = LayoutArgs::wide();
    let server = side.start(&layout, BodyCodec::Json, Transport::Tcp)?;
    let body = BodyCodec::Json.echo(letters);
    let load = Load::Closed { depth: row.depth, messages: row.messages };
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
    let (measured, server_cpu) = job.measure()?;
    server.stop()?;
    Ok(LoadReport::new(job.target.to_string(), shape, &measured, server_cpu))
}

fn table(comparison: &Comparison) -> String {
    let Comparison { date, machine, rounds, body_bytes, rows } = comparison;
    let mut text = format!(
        "CPU-us per message of all server processes, and messages per second: median (min-max) of \
         {rounds} rounds\n{body_bytes} bytes a body, {date}, {machine}\n\n{:<9}{:<7}{:>22}{:>28}{:>10}{:>10}{:>8}\n",
        "load", "side", "CPU-us", "rate/s", "p50", "p99", "gen us"
    );
    for row in rows {
        let load = format!("{}x{}", row.connections, row.depth);
        for (side, figures) in [("relay", row.relay), ("yumen", row.yumen)] {
            let Some(Figures { cpu_us, rate, p50_us, p99_us, generator_cpu_us }) = figures else {
                continue;
            };
            // Writing to a String cannot fail, here and below.
            writeln!(
                text,
                "{load:<9}{side:<7}{:>22}{:>28}{:>10}{:>10}{:>8.2}",
                format!("{:.2} ({:.2}-{:.2})", cpu_us.median, cpu_us.min, cpu_us.max),
                format!("{:.0} ({:.0}-{:.0})", rate.median, rate.min, rate.max),
                Time(p50_us.median),
                Time(p99_us.median),
                generator_cpu_us.median
            )
            .unwrap_or_default();
        }
        if let (Some(cpu), Some(each), Some(rate)) =
            (row.cpu_ratio, row.cpu_ratio_rounds, row.rate_ratio)
        {
            let target = match row.cpu_ratio_target {
                Some(target) if cpu <= target => format!(", target {target:.1}: met"),
                Some(target) => format!(", target {target:.1}: MISSED"),
                None => String::new(),
            };
            writeln!(
                text,
                "{load:<9}ratio   CPU {cpu:.2} (rounds {:.2}-{:.2}){target}; rate {rate:.2}",
                each.min, each.max
            )
            .unwrap_or_default();
        }
        if row.errors > 0 {
            writeln!(text, "{load:<9}{} requests went wrong: not a result", row.errors)
                .unwrap_or_default();
        }
    }
    text.push_str(NOTE);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Measured;
    use std::time::Duration;

    fn run(cpu_us: u64, lost: u64) -> LoadReport {
        let mut measured =
            Measured { sent: 1_000 + lost, received: 1_000, lost, ..Measured::default() };
        measured.elapsed = Duration::from_secs(1);
        let load = Load::Closed { depth: 1, messages: 1_000 };
        let cpu = Some(Duration::from_micros(cpu_us * 1_000));
        LoadReport::new("x".into(), Shape::of(load, 1, 8, None), &measured, cpu)
    }

    #[test]
    fn the_ratio_is_of_medians_and_the_spread_of_rounds() {
        let relay = [run(10, 0), run(12, 0), run(50, 0)];
        let yumen = [run(15, 0), run(24, 0), run(18, 0)];
        let row = summarise(ROWS[2], &relay, &yumen);
        assert_eq!(row.cpu_ratio, Some(1.5));
        let rounds = row.cpu_ratio_rounds.unwrap();
        assert_eq!((rounds.min, rounds.max), (0.36, 2.0));
        assert_eq!((row.rate_ratio, row.errors), (Some(1.0), 0));
    }

    #[test]
    fn errors_of_either_side_show_in_the_row() {
        let row = summarise(ROWS[0], &[run(1, 0)], &[run(1, 3)]);
        assert_eq!(row.errors, 3);
        let machine = Machine::default();
        let rows = vec![row];
        let text =
            table(&Comparison { date: String::new(), machine, rounds: 1, body_bytes: 8, rows });
        assert!(text.contains("not a result"), "{text}");
    }

    #[test]
    fn a_side_left_out_leaves_no_ratio() {
        let row = summarise(ROWS[0], &[run(1, 0)], &[]);
        assert!(row.yumen.is_none() && row.cpu_ratio.is_none());
    }
}
