//! Some clients stop reading, and go on sending.
//!
//! Beside the many that are measured a few send larger requests at their own pace. In one run they
//! read their replies, in the other they do not: the load is the same, so the difference is what
//! the full sockets cost. The server has to close them at a limit, or to hold no more than it may.
use super::{Check, Figures as Kinds, Measurement, Pair, Unit};
use super::{connect, core_share, failures, joined, start};
use crate::clock::Clock;
use crate::command::note;
use crate::command::serve::{Look, Question};
use crate::command::side::Running;
use crate::generator::{Generator, Load, Measured};
use crate::number::{count, float, ratio};
use crate::poll;
use crate::process::{CpuTimes, anonymous_memory};
use crate::report::Time;
use crate::stats::{Percentiles, Spread};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

/// What a gate queues for a client before it closes it, by default.
const BACKLOG_MAX: usize = 1024 * 1024;
/// Bytes of a request of the many, and of the few.
const LEN: usize = 1024;
const FEW_LEN: usize = 16 * 1024;
/// Longest wait for the server's answer to a question.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How much of it.
#[derive(Debug, Clone, Copy)]
struct Size {
    clients: usize,
    few: usize,
    /// Requests per second of all but the few.
    rate: NonZeroU32,
    /// Requests per second of the few.
    few_rate: NonZeroU32,
    duration: Duration,
}

impl Size {
    fn new(quick: bool) -> Self {
        let rate = |rate| NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN);
        if quick {
            let duration = Duration::from_secs(1);
            return Self { clients: 100, few: 10, rate: rate(500), few_rate: rate(250), duration };
        }
        let duration = Duration::from_secs(12);
        Self { clients: 1_000, few: 10, rate: rate(RATE), few_rate: rate(400), duration }
    }
}

/// About a third of a core of the machine that the figures were first taken on.
const RATE: u32 = 20_000;

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    latency: Percentiles,
    failures: u64,
    /// The part of one core that the server used.
    server_cores: f64,
    few: Few,
}

/// What became of the few.
#[derive(Debug, Clone, Default, Serialize)]
struct Few {
    requests: u64,
    /// Closed by the server because they did not read, and when that was seen for the first and
    /// for the last of them, in seconds.
    closed: u64,
    closed_first_s: Option<f64>,
    closed_last_s: Option<f64>,
    /// The most bytes queued for one connection at the end.
    backlog_max: usize,
    /// The most anonymous memory of the server that was seen.
    server_bytes_max: u64,
}

/// All runs.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    p50_us: Pair,
    p99_us: Pair,
    /// Of p99, round by round.
    ratio_rounds: Spread,
    server_cores: Pair,
    without: Vec<Run>,
    with: Vec<Run>,
    few: usize,
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p99_us, ratio_rounds, server_cores, few, .. } = self;
        writeln!(f, "  p50 of the others {p50_us}")?;
        writeln!(
            f,
            "  p99 of the others {p99_us}; ratios {:.2}-{:.2}",
            ratio_rounds.min, ratio_rounds.max
        )?;
        writeln!(
            f,
            "  server: {:.2} cores without, {:.2} with",
            server_cores.without.median, server_cores.with.median
        )?;
        for (run, round) in self.with.iter().zip(1..) {
            let Few {
                closed, closed_first_s, closed_last_s, backlog_max, server_bytes_max, ..
            } = &run.few;
            write!(f, "  round {round}: {closed} of {few} stalled clients closed as slow")?;
            if let (Some(first), Some(last)) = (closed_first_s, closed_last_s) {
                write!(f, ", from {first:.1} s to {last:.1} s")?;
            }
            writeln!(
                f,
                "; at the end at most {} KiB queued for one; server at most {} MiB",
                backlog_max / 1024,
                server_bytes_max / (1024 * 1024)
            )?;
        }
        Ok(())
    }
}

pub(super) fn run(quick: bool, rounds: u32) -> io::Result<Measurement> {
    let size = Size::new(quick);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (stalls, runs) in [(false, &mut without), (true, &mut with)] {
            let run = one(size, stalls)?;
            note(&format!(
                "stalled round {round}/{rounds}, {}: p99 {}, {} failures, {} closed as slow",
                if stalls { "with" } else { "without" },
                Time(run.latency.p99_us),
                run.failures,
                run.few.closed
            ));
            runs.push(run);
        }
    }
    let Size { clients, few, rate, few_rate, duration } = size;
    let how = format!(
        "{clients} clients, of which {few} send {few_rate} requests/s of {} KiB and stop reading; \
         the others send {rate} requests/s of {LEN} bytes for {} s, and are measured",
        FEW_LEN / 1024,
        duration.as_secs()
    );
    let (checks, figures) = judge(without, with, few);
    Ok(Measurement { scenario: "stalled", how, checks, figures: Kinds::Stalled(figures) })
}

fn judge(without: Vec<Run>, with: Vec<Run>, few: usize) -> (Vec<Check>, Figures) {
    let pair = |figure: fn(&Run) -> f64| Pair::of(&without, &with, figure);
    let p99_us = pair(|run| run.latency.p99_us);
    let rounds: Vec<_> = without
        .iter()
        .zip(&with)
        .map(|(without, with)| ratio(with.latency.p99_us, without.latency.p99_us))
        .collect();
    let failures = without.iter().chain(&with).map(|run| run.failures).sum();
    // Whoever is still there may have no more queued than the limit and one batch.
    let unbounded = with.iter().filter(|run| {
        run.few.closed < count(few) && run.few.backlog_max > BACKLOG_MAX.saturating_mul(2)
    });
    let checks = vec![
        Check::new("failures of the others", float(failures), 0.0, Unit::Count),
        Check::new(
            "rounds with a stalled client unbounded",
            float(count(unbounded.count())),
            0.0,
            Unit::Count,
        ),
        Check::new("p99 of the others, with over without", p99_us.ratio(), 1.3, Unit::Ratio),
    ];
    let figures = Figures {
        p50_us: pair(|run| run.latency.p50_us),
        p99_us,
        ratio_rounds: Spread::of(&rounds),
        server_cores: pair(|run| run.server_cores),
        without,
        with,
        few,
    };
    (checks, figures)
}

fn one(size: Size, stalls: bool) -> io::Result<Run> {
    let mut server = start()?;
    let mut others = connect(&server, size.clients.saturating_sub(size.few), LEN)?;
    let mut few = connect(&server, size.few, FEW_LEN)?;
    if stalls {
        few.stop_reading()?;
    }
    let pids = server.pids();
    let before = CpuTimes::of(&pids)?;
    let (measured, sent, mut ends) = load(size, &mut server, &mut others, &mut few)?;
    let server_cores = core_share(&pids, &before, measured.elapsed)?;
    let look: Look = server.ask(&Question::Sessions, ANSWER_MAX)?;
    ends.requests = sent.sent;
    ends.closed = look.closed_slow;
    ends.backlog_max = look.backlog_max;
    drop((others, few));
    server.stop()?;
    let failures = failures(&measured);
    Ok(Run { latency: measured.latencies.summary(), failures, server_cores, few: ends })
}

/// Loads the server from both groups at once, and watches how many it closes.
fn load(
    size: Size,
    server: &mut Running,
    others: &mut Generator,
    few: &mut Generator,
) -> io::Result<(Measured, Measured, Few)> {
    let Size { rate, few_rate, duration, .. } = size;
    thread::scope(|scope| {
        let others = scope.spawn(move || others.run(Load::Open { rate, duration }, &mut |_| ()));
        let few =
            scope.spawn(move || few.run(Load::Open { rate: few_rate, duration }, &mut |_| ()));
        let (clock, mut ends) = (Clock::start(), Few::default());
        let pid = server.pids().first().copied().unwrap_or_default();
        while !others.is_finished() {
            poll::pass(LOOK_EVERY)?;
            let look: Look = server.ask(&Question::Counts, ANSWER_MAX)?;
            ends.server_bytes_max = ends.server_bytes_max.max(anonymous_memory(pid)?);
            if look.closed_slow > ends.closed {
                ends.closed = look.closed_slow;
                let now = Duration::from_nanos(clock.ns()).as_secs_f64();
                ends.closed_first_s.get_or_insert(now);
                ends.closed_last_s = Some(now);
            }
        }
        Ok((joined(others)?, joined(few)?, ends))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(p99_us: f64, failures: u64, closed: u64, backlog_max: usize) -> Run {
        let latency = Percentiles { p99_us, ..Percentiles::default() };
        let few = Few { closed, backlog_max, ..Few::default() };
        Run { latency, failures, server_cores: 0.3, few }
    }

    fn missed(with: Run) -> Vec<&'static str> {
        let (checks, _) = judge(vec![run(100.0, 0, 0, 0)], vec![with], 10);
        checks.iter().filter(|check| !check.met()).map(|check| check.what).collect()
    }

    #[test]
    fn slow_others_and_failed_others_and_endless_queues_are_missed_targets() {
        assert!(missed(run(129.0, 0, 10, 0)).is_empty());
        assert!(missed(run(129.0, 0, 9, BACKLOG_MAX)).is_empty());
        assert_eq!(missed(run(131.0, 0, 10, 0)), ["p99 of the others, with over without"]);
        assert_eq!(missed(run(100.0, 1, 10, 0)), ["failures of the others"]);
        let endless = missed(run(100.0, 0, 9, BACKLOG_MAX * 3));
        assert_eq!(endless, ["rounds with a stalled client unbounded"]);
    }
}
