//! `yumen bench neighbours`: what a bad neighbour costs the other clients of a gate.
//!
//! The figures are of those who behave: as they fare beside the neighbour, and as they fare
//! without, in turns, so that a machine that gets slower or faster meanwhile does so for both. The
//! server is gate and node on one thread of a process of its own, with every default.
mod broadcast;
mod hot;
mod stalled;

use super::LayoutArgs;
use super::keep::KeepArgs;
use super::serve::Transport;
use super::side::{Running, Side};
use crate::clock::today;
use crate::generator::{BodyCodec, Expect, Generator, Load, Measured, Request};
use crate::machine::Machine;
use crate::number::{count, ratio};
use crate::process::CpuTimes;
use crate::report::Time;
use crate::stats::Spread;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// Options of `bench neighbours`.
#[derive(Debug, Clone, Args)]
pub struct NeighboursArgs {
    /// Which neighbour.
    #[arg(long, value_enum, default_value_t = Scenario::All)]
    scenario: Scenario,
    /// How often each scenario is measured with the neighbour and without; medians count.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// One short round with fewer clients, to see that it works. Misses no target.
    #[arg(long, conflicts_with_all = ["rounds", "save"])]
    quick: bool,
    #[command(flatten)]
    keep: KeepArgs,
}

/// A neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// 10 of 1,000 clients stop reading and go on sending.
    Stalled,
    /// One client keeps 4,000 requests outstanding, beside 100 calm ones.
    Hot,
    /// Everybody, that is 9,000 clients, gets two broadcasts a second, beside an echo.
    Broadcast,
    /// Each of them.
    All,
}

/// What is said behind a missed target where the machine may be the reason.
const NOT_CALM: &str =
    "\n  but without the neighbour it is long as well: something else keeps the machine busy";

/// What was promised, beside what was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    what: &'static str,
    value: f64,
    /// The largest value that keeps the promise.
    max: f64,
    unit: Unit,
    /// The same figure without the neighbour, where it says how calm the machine is.
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    /// How many.
    Count,
    /// One figure over another.
    Ratio,
    /// Microseconds.
    Us,
}

impl Check {
    pub(super) fn new(what: &'static str, value: f64, max: f64, unit: Unit) -> Self {
        Self { what, value, max, unit, without: None }
    }

    /// Whether the machine alone, without the neighbour, takes up so much of the target that a miss
    /// says nothing about the server.
    fn drowned(&self) -> bool {
        !self.met() && self.without.is_some_and(|without| without > self.max / 2.0)
    }

    pub(super) fn met(&self) -> bool {
        self.value <= self.max
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let show = |value: f64| match self.unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Ratio => format!("{value:.2}"),
            Unit::Us => Time(value).to_string(),
        };
        let verdict = if self.met() { "met" } else { "MISSED" };
        write!(f, "{}: {}, target {}: {verdict}", self.what, show(self.value), show(self.max))?;
        f.write_str(if self.drowned() { NOT_CALM } else { "" })
    }
}

/// The same figure without the neighbour and with it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Pair {
    without: Spread,
    with: Spread,
}

impl Pair {
    fn of<R>(without: &[R], with: &[R], figure: impl Fn(&R) -> f64) -> Self {
        let spread = |runs: &[R]| Spread::of(&runs.iter().map(&figure).collect::<Vec<_>>());
        Self { without: spread(without), with: spread(with) }
    }

    /// Of the medians.
    fn ratio(&self) -> f64 {
        ratio(self.with.median, self.without.median)
    }
}

/// Times.
impl Display for Pair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let spread = |f: &mut Formatter<'_>, Spread { min, median, max }| {
            write!(f, "{} ({}-{})", Time(median), Time(min), Time(max))
        };
        f.write_str("without ")?;
        spread(f, self.without)?;
        f.write_str(", with ")?;
        spread(f, self.with)
    }
}

/// One scenario, measured.
#[derive(Debug, Serialize)]
struct Measurement {
    scenario: &'static str,
    /// What was done, for a reader of the figures.
    how: String,
    checks: Vec<Check>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Figures {
    Stalled(stalled::Figures),
    Hot(hot::Figures),
    Broadcast(broadcast::Figures),
}

impl Display for Measurement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.how)?;
        match &self.figures {
            Figures::Stalled(figures) => write!(f, "{figures}")?,
            Figures::Hot(figures) => write!(f, "{figures}")?,
            Figures::Broadcast(figures) => write!(f, "{figures}")?,
        }
        self.checks.iter().try_for_each(|check| writeln!(f, "  {check}"))
    }
}

#[derive(Debug, Serialize)]
struct Report {
    date: String,
    machine: Machine,
    rounds: u32,
    quick: bool,
    scenarios: Vec<Measurement>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { date, machine, rounds, scenarios, .. } = self;
        writeln!(
            f,
            "median (min-max) of {rounds} rounds, each without the neighbour and with it in turn"
        )?;
        writeln!(f, "{date}, {machine}\n")?;
        scenarios.iter().try_for_each(|scenario| writeln!(f, "{scenario}"))?;
        f.write_str("gate and node of the server on one thread; latencies from the intended send")
    }
}

pub(super) fn run(args: &NeighboursArgs) -> io::Result<ExitCode> {
    let rounds = if args.quick { 1 } else { args.rounds.max(1) };
    let (date, machine) = (today(), Machine::describe());
    let mut report = Report { date, machine, rounds, quick: args.quick, scenarios: Vec::new() };
    let wanted = |one| args.scenario == one || args.scenario == Scenario::All;
    if wanted(Scenario::Stalled) {
        report.scenarios.push(stalled::run(args.quick, rounds)?);
    }
    if wanted(Scenario::Hot) {
        report.scenarios.push(hot::run(args.quick, rounds)?);
    }
    if wanted(Scenario::Broadcast) {
        report.scenarios.push(broadcast::run(args.quick, rounds)?);
    }
    args.keep.finish("neighbours", &report)?;
    let met = report.scenarios.iter().flat_map(|scenario| &scenario.checks).all(Check::met);
    Ok(if met || args.quick { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the server that is measured.
fn start() -> io::Result<Running> {
    Side::Yumen.start(&LayoutArgs::wide(), BodyCodec::Json, Transport::Tcp)
}

/// Opens connections whose requests have bodies of `len` bytes, and has each speak once.
fn connect(server: &Running, connections: usize, len: usize) -> io::Result<Generator> {
    let layout = LayoutArgs::wide();
    let around = BodyCodec::Json.echo(0).len();
    let request = Request {
        layout: layout.layout(len),
        route: layout.route(),
        body: BodyCodec::Json.echo(len.saturating_sub(around)),
        expect: Expect::Echo,
        announce: true,
    };
    let mut generator = Generator::connect(&server.target(), connections, request)?;
    let warm =
        generator.run(Load::Closed { depth: 1, messages: count(connections) }, &mut |_| ())?;
    if failures(&warm) > 0 {
        return Err(io::Error::other(format!("{} of the first requests failed", failures(&warm))));
    }
    Ok(generator)
}

/// Requests that went wrong, and connections that were lost.
fn failures(measured: &Measured) -> u64 {
    measured.errors().saturating_add(measured.closed)
}

/// The part of one core that processes used between `before` and now.
fn core_share(pids: &[u32], before: &CpuTimes, passed: Duration) -> io::Result<f64> {
    let used = CpuTimes::of(pids)?.since(before);
    Ok(ratio(used.as_secs_f64(), passed.as_secs_f64()))
}

/// What a thread of a measurement came to.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().map_err(|_| io::Error::other("a measuring thread panicked"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_up_to_its_value_and_said_in_its_unit() {
        let check = |value| Check::new("p99", value, 5e3, Unit::Us);
        assert_eq!(check(5e3).to_string(), "p99: 5.00 ms, target 5.00 ms: met");
        assert_eq!(check(5_010.0).to_string(), "p99: 5.01 ms, target 5.00 ms: MISSED");
    }

    #[test]
    fn a_missed_target_is_excused_only_where_the_machine_alone_is_slow() {
        let drowned = |value, without| {
            Check { without: Some(without), ..Check::new("p99", value, 5e3, Unit::Us) }.drowned()
        };
        assert!(drowned(9e3, 3e3) && !drowned(9e3, 2e3));
        assert!(!drowned(4e3, 3e3), "a target that was met needs no excuse");
    }

    #[test]
    fn the_ratio_is_of_medians() {
        let pair = Pair::of(&[1.0, 2.0, 9.0], &[3.0, 1.0, 4.0], |figure| *figure);
        assert_eq!(pair.ratio(), 1.5);
        assert!(pair.to_string().starts_with("without 2 us (1 us-9 us), with 3 us"), "{pair}");
    }
}
