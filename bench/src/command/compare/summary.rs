//! What many runs say: medians, ratios, verdicts, and the table a person reads.
use super::rows::{Bound, Claim, Figure, Pace, Row};
use crate::machine::Machine;
use crate::number::ratio;
use crate::report::{LoadReport, Time};
use crate::stats::Spread;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// The whole comparison.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) date: String,
    pub(super) machine: Machine,
    /// Whether gate and node were a process each.
    pub(super) processes: bool,
    pub(super) rounds: u32,
    pub(super) body_bytes: usize,
    pub(super) rows: Vec<RowReport>,
}

/// What came of one row.
#[derive(Debug, Serialize)]
pub(super) struct RowReport {
    row: String,
    connections: usize,
    /// Requests outstanding per connection, of a closed loop.
    depth: Option<u32>,
    /// Requests intended per second, of an open one.
    intended_rate: Option<u32>,
    messages: u64,
    /// How often each contender was measured.
    rounds: usize,
    contenders: Vec<Figures>,
    ratios: Vec<Ratio>,
    /// Requests that went wrong with any contender. Not 0: the row says nothing.
    errors: u64,
}

/// What one contender did on one row: medians and spreads over the rounds.
#[derive(Debug, Default, Serialize)]
struct Figures {
    name: &'static str,
    /// CPU time of the server's processes per message, in microseconds.
    cpu_us: Spread,
    /// Each of them.
    processes: Vec<ProcessFigures>,
    /// Messages per second.
    rate: Spread,
    p50_us: Spread,
    p99_us: Spread,
    /// CPU time of the generator per message, in microseconds.
    generator_cpu_us: Spread,
}

/// What one process of a contender did.
#[derive(Debug, Serialize)]
struct ProcessFigures {
    name: &'static str,
    cpu_us: Spread,
    /// Per message, counted once; absent where they cannot be counted.
    system_calls: Option<f64>,
}

/// A figure of one contender over that of another.
#[derive(Debug, Serialize)]
struct Ratio {
    of: &'static str,
    over: &'static str,
    figure: Figure,
    /// Of the medians.
    ratio: f64,
    /// The same round by round.
    rounds: Spread,
    #[serde(flatten)]
    bound: Option<Bound>,
    /// Whether the bound holds; absent without one.
    met: Option<bool>,
}

impl Figure {
    fn of(self, run: &LoadReport) -> f64 {
        match self {
            Self::Cpu => run.server_cpu_us.unwrap_or_default(),
            Self::Rate => run.rate,
            Self::P99 => run.latency.p99_us,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Rate => "rate",
            Self::P99 => "p99",
        }
    }
}

fn spread(runs: &[LoadReport], figure: impl Fn(&LoadReport) -> f64) -> Spread {
    Spread::of(&runs.iter().map(figure).collect::<Vec<_>>())
}

impl Figures {
    fn of(name: &'static str, runs: &[LoadReport]) -> Self {
        let last = runs.last().map(|run| run.processes.as_slice()).unwrap_or_default();
        let process = |(at, process): (usize, &crate::report::ProcessReport)| ProcessFigures {
            name: process.name,
            cpu_us: spread(runs, |run| {
                run.processes.get(at).map(|process| process.cpu_us).unwrap_or_default()
            }),
            system_calls: process.system_calls,
        };
        Self {
            name,
            cpu_us: spread(runs, |run| Figure::Cpu.of(run)),
            processes: last.iter().enumerate().map(process).collect(),
            rate: spread(runs, |run| run.rate),
            p50_us: spread(runs, |run| run.latency.p50_us),
            p99_us: spread(runs, |run| run.latency.p99_us),
            generator_cpu_us: spread(runs, |run| run.generator_cpu_us),
        }
    }
}

impl Ratio {
    fn of(claim: &Claim, of: &[LoadReport], over: &[LoadReport]) -> Self {
        let Claim { figure, bound, .. } = *claim;
        let median = |runs: &[LoadReport]| spread(runs, |run| figure.of(run)).median;
        let each = |(of, over)| ratio(figure.of(of), figure.of(over));
        let rounds: Vec<_> = of.iter().zip(over).map(each).collect();
        let value = ratio(median(of), median(over));
        Self {
            of: claim.of.name,
            over: claim.over.name,
            figure,
            ratio: value,
            rounds: Spread::of(&rounds),
            bound,
            met: bound.map(|bound| bound.holds(value)),
        }
    }
}

impl RowReport {
    /// The report of `row`; `runs` are those of each of its contenders, round by round.
    pub(super) fn of(row: &Row, runs: &[Vec<LoadReport>]) -> Self {
        let of = |contender| {
            let at = row.contenders.iter().position(|other| other == contender);
            at.and_then(|at| runs.get(at)).map(Vec::as_slice).unwrap_or_default()
        };
        let (depth, intended_rate) = match row.pace {
            Pace::Depth(depth) => (Some(depth), None),
            Pace::Rate(rate) => (None, Some(rate.get())),
        };
        Self {
            row: row.to_string(),
            connections: row.connections,
            depth,
            intended_rate,
            messages: row.messages,
            rounds: runs.first().map_or(0, Vec::len),
            contenders: row.contenders.iter().map(|who| Figures::of(who.name, of(who))).collect(),
            ratios: row
                .claims
                .iter()
                .map(|claim| Ratio::of(claim, of(&claim.of), of(&claim.over)))
                .collect(),
            errors: runs.iter().flatten().map(LoadReport::errors).fold(0, u64::saturating_add),
        }
    }
}

impl Comparison {
    /// Requests that went wrong.
    pub(super) fn errors(&self) -> u64 {
        self.rows.iter().map(|row| row.errors).fold(0, u64::saturating_add)
    }

    /// Targets that were missed.
    pub(super) fn missed(&self) -> usize {
        let ratios = self.rows.iter().flat_map(|row| &row.ratios);
        ratios.filter(|ratio| ratio.met == Some(false)).count()
    }
}

/// What a reader of the ratios has to know.
const NOTE: &str = "\nrelay: two processes and a socket between them, bytes only. one process: gate and \
node on one thread,\nno socket between them. yumen: gate and node in a process each; ws: the same over \
WebSocket; two gates: the\nsame with two instances of the gate, a thread each. All of ours: sessions, \
routing, JSON decoded and encoded.\ncalls: system calls per message. gen: CPU-us of the load generator, \
which is in no other figure.";

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { date, machine, rounds, body_bytes, rows, .. } = self;
        writeln!(
            f,
            "CPU-us per message of all server processes, and messages per second: median (min-max) of \
             {rounds} rounds, of an open loop three times as many\n{body_bytes} bytes a body, {date}, {machine}\n"
        )?;
        writeln!(
            f,
            "{:<11}{:<12}{:>20}{:>22}{:>16}{:>27}{:>10}{:>10}{:>8}",
            "load", "server", "CPU-us", "gate + node", "calls", "rate/s", "p50", "p99", "gen"
        )?;
        rows.iter().try_for_each(|row| write!(f, "{row}"))?;
        writeln!(f, "{NOTE}")?;
        match self.missed() {
            0 => write!(f, "Every target is met."),
            missed => write!(f, "Targets missed: {missed}."),
        }
    }
}

impl Display for RowReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { row, contenders, ratios, errors, .. } = self;
        contenders.iter().try_for_each(|contender| writeln!(f, "{row:<11}{contender}"))?;
        ratios.iter().try_for_each(|ratio| writeln!(f, "{row:<11}  {ratio}"))?;
        match errors {
            0 => Ok(()),
            _ => writeln!(f, "{row:<11}{errors} requests went wrong: not a result"),
        }
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, cpu_us, processes, rate, p50_us, p99_us, generator_cpu_us } = self;
        let joined = |text: fn(&ProcessFigures) -> String| match processes.as_slice() {
            [_] => String::new(),
            several => several.iter().map(text).collect::<Vec<_>>().join(" + "),
        };
        let calls = |process: &ProcessFigures| match process.system_calls {
            Some(calls) => format!("{calls:.3}"),
            None => "-".to_owned(),
        };
        write!(
            f,
            "{name:<12}{:>20}{:>22}{:>16}{:>27}{:>10}{:>10}{:>8.2}",
            format!("{:.2} ({:.2}-{:.2})", cpu_us.median, cpu_us.min, cpu_us.max),
            joined(|process| format!("{:.2}", process.cpu_us.median)),
            processes.iter().map(calls).collect::<Vec<_>>().join(" + "),
            format!("{:.0} ({:.0}-{:.0})", rate.median, rate.min, rate.max),
            Time(p50_us.median),
            Time(p99_us.median),
            generator_cpu_us.median
        )
    }
}

impl Display for Ratio {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { of, over, figure, ratio, rounds, bound, met } = self;
        write!(f, "{of} / {over}: {} {ratio:.2}", figure.name())?;
        write!(f, " (rounds {:.2}-{:.2})", rounds.min, rounds.max)?;
        match bound {
            Some(Bound::AtMost(bound)) => write!(f, ", at most {bound:.2}")?,
            Some(Bound::AtLeast(bound)) => write!(f, ", at least {bound:.2}")?,
            None => {}
        }
        match met {
            Some(true) => f.write_str(": met"),
            Some(false) => f.write_str(": MISSED"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::TOGETHER;
    use super::*;
    use crate::generator::{Load, Measured};
    use crate::report::{ProcessReport, Shape};
    use std::time::Duration;

    fn run(cpu_us: u64, lost: u64) -> LoadReport {
        let mut measured =
            Measured { sent: 1_000 + lost, received: 1_000, lost, ..Measured::default() };
        measured.elapsed = Duration::from_secs(1);
        let load = Load::Closed { depth: 1, messages: 1_000 };
        let cpu = Some(Duration::from_micros(cpu_us * 1_000));
        let mut report = LoadReport::new("x".into(), Shape::of(load, 1, 8, None), &measured, cpu);
        let gate = ProcessReport { name: "gate", cpu_us: 1.0, system_calls: Some(0.5) };
        let node = ProcessReport { name: "node", cpu_us: 2.0, system_calls: None };
        report.processes = vec![gate, node];
        report
    }

    fn runs(cpu_us: &[u64]) -> Vec<LoadReport> {
        cpu_us.iter().map(|cpu_us| run(*cpu_us, 0)).collect()
    }

    fn comparison(row: RowReport) -> Comparison {
        Comparison {
            date: String::new(),
            machine: Machine::default(),
            processes: true,
            rounds: 1,
            body_bytes: 8,
            rows: vec![row],
        }
    }

    #[test]
    fn the_ratio_is_of_medians_and_the_spread_of_rounds() {
        let row = RowReport::of(&TOGETHER[2], &[runs(&[10, 12, 50]), runs(&[15, 24, 18])]);
        let [cpu, rate] = row.ratios.as_slice() else { panic!("{row:?}") };
        assert_eq!((cpu.ratio, cpu.rounds.min, cpu.rounds.max), (1.5, 0.36, 2.0));
        assert_eq!((rate.ratio, rate.met, row.errors), (1.0, None, 0));
    }

    #[test]
    fn a_target_is_met_or_missed_and_the_table_says_which() {
        let met = comparison(RowReport::of(&TOGETHER[2], &[runs(&[10]), runs(&[18])]));
        let missed = comparison(RowReport::of(&TOGETHER[2], &[runs(&[10]), runs(&[19])]));
        assert_eq!((met.missed(), missed.missed()), (0, 1));
        let (met, missed) = (met.to_string(), missed.to_string());
        assert!(met.contains("CPU 1.80 (rounds 1.80-1.80), at most 1.80: met"), "{met}");
        assert!(missed.contains("at most 1.80: MISSED"), "{missed}");
        assert!(missed.contains("1.00 + 2.00") && missed.contains("0.500 + -"), "{missed}");
    }

    #[test]
    fn errors_of_any_contender_show_in_the_row() {
        let row = RowReport::of(&TOGETHER[0], &[runs(&[1]), vec![run(1, 3)]]);
        let comparison = comparison(row);
        assert_eq!(comparison.errors(), 3);
        assert!(comparison.to_string().contains("3 requests went wrong: not a result"));
    }
}
