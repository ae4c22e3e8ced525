//! One client sends without a pause and keeps thousands of requests outstanding.
//!
//! The calm ones are measured on a thread of their own: on the hot one's thread they would queue
//! behind its replies, which the server has no part in.
use super::{Check, Figures as Kinds, Measurement, Pair, Unit};
use super::{connect, core_share, failures, joined, start};
use crate::command::note;
use crate::generator::{Load, Measured};
use crate::number::{float, ratio};
use crate::process::CpuTimes;
use crate::report::Time;
use crate::stats::{Percentiles, Spread};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

/// Bytes of a request.
const LEN: usize = 256;
const CALM: usize = 100;
/// Requests per second of all calm ones.
const RATE: u32 = 2_000;
const DEPTH: u32 = 4_000;

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    latency: Percentiles,
    failures: u64,
    /// The part of one core that the server used.
    server_cores: f64,
    /// Replies per second that the hot one got.
    hot_rate: f64,
    hot_failures: u64,
}

/// All runs.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    p50_us: Pair,
    p99_us: Pair,
    server_cores: Pair,
    hot_rate: Spread,
    without: Vec<Run>,
    with: Vec<Run>,
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p99_us, server_cores, hot_rate, .. } = self;
        writeln!(f, "  calm p50 {p50_us}")?;
        writeln!(f, "  calm p99 {p99_us}")?;
        writeln!(
            f,
            "  hot: {:.0} replies/s ({:.0}-{:.0}); server {:.2} cores without, {:.2} with",
            hot_rate.median,
            hot_rate.min,
            hot_rate.max,
            server_cores.without.median,
            server_cores.with.median
        )
    }
}

pub(super) fn run(quick: bool, rounds: u32) -> io::Result<Measurement> {
    let duration = Duration::from_secs(if quick { 1 } else { 5 });
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (hot, runs) in [(false, &mut without), (true, &mut with)] {
            let run = one(duration, hot)?;
            note(&format!(
                "hot round {round}/{rounds}, {}: calm p99 {}, {} failures, hot {:.0}/s",
                if hot { "with" } else { "without" },
                Time(run.latency.p99_us),
                run.failures,
                run.hot_rate
            ));
            runs.push(run);
        }
    }
    let how = format!(
        "{CALM} calm clients send {RATE} requests/s of {LEN} bytes in all for {} s; the hot one \
         keeps {DEPTH} outstanding.\n  Calm and hot clients are driven by a thread each, so what \
         is shown is not the queue of the hot one's own thread",
        duration.as_secs()
    );
    let pair = |figure: fn(&Run) -> f64| Pair::of(&without, &with, figure);
    let p99_us = pair(|run| run.latency.p99_us);
    let rates: Vec<_> = with.iter().map(|run| run.hot_rate).collect();
    let failed = without.iter().chain(&with);
    let failed = failed.map(|run| run.failures.saturating_add(run.hot_failures)).sum();
    let checks = vec![
        Check::new("failures", float(failed), 0.0, Unit::Count),
        Check {
            without: Some(p99_us.without.median),
            ..Check::new("calm p99 beside the hot one", p99_us.with.median, 5e3, Unit::Us)
        },
    ];
    let figures = Figures {
        p50_us: pair(|run| run.latency.p50_us),
        p99_us,
        server_cores: pair(|run| run.server_cores),
        hot_rate: Spread::of(&rates),
        without,
        with,
    };
    Ok(Measurement { scenario: "hot", how, checks, figures: Kinds::Hot(figures) })
}

fn one(duration: Duration, hot: bool) -> io::Result<Run> {
    let server = start()?;
    let mut calm = connect(&server, CALM, LEN)?;
    let mut one = if hot { Some(connect(&server, 1, LEN)?) } else { None };
    let pids = server.pids();
    let before = CpuTimes::of(&pids)?;
    let (calm_measured, hot_measured) = thread::scope(|scope| {
        let hot = one.as_mut().map(|one| {
            scope.spawn(move || one.run(Load::Timed { depth: DEPTH, duration }, &mut |_| ()))
        });
        let rate = NonZeroU32::new(RATE).unwrap_or(NonZeroU32::MIN);
        let calm = calm.run(Load::Open { rate, duration }, &mut |_| ());
        let hot = hot.map(joined).transpose()?;
        Ok::<_, io::Error>((calm?, hot.unwrap_or_default()))
    })?;
    let server_cores = core_share(&pids, &before, calm_measured.elapsed)?;
    drop((calm, one));
    server.stop()?;
    Ok(Run {
        latency: calm_measured.latencies.summary(),
        failures: failures(&calm_measured),
        server_cores,
        hot_rate: rate(&hot_measured),
        hot_failures: failures(&hot_measured),
    })
}

fn rate(measured: &Measured) -> f64 {
    ratio(float(measured.received), measured.elapsed.as_secs_f64())
}
