//! Broadcasts to thousands of receivers, beside an echo.
//!
//! The echo is asked for and timed in the server's own process, on a thread of its own: it shows
//! how long the server lets others wait, and not how long thousands of readers on the same machine
//! keep the processors busy. When the last receiver had a broadcast is seen from here, by a clock
//! that both processes share.
use super::{Check, Figures as Kinds, Measurement, Pair, Unit};
use super::{connect, core_share, joined, start};
use crate::clock::shared_ns;
use crate::command::note;
use crate::command::serve::{Noise, Noticed, Question, Stamp};
use crate::command::side::Running;
use crate::generator::Generator;
use crate::number::{count, float};
use crate::process::{CpuTimes, need_descriptors};
use crate::report::Time;
use crate::stats::{Percentiles, Spread};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

/// Bytes of a broadcast's body.
const LEN: usize = 64;
const EVERY: Duration = Duration::from_millis(500);
/// Requests per second of the echo probe.
const PROBE_RATE: u32 = 500;
/// How long the receivers stay after the probe has ended, for what is still on its way.
const TAIL: Duration = Duration::from_secs(2);

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    echo: Percentiles,
    /// Requests of the probe, and broadcasts, that went wrong; messages that receivers lack;
    /// receivers lost.
    failures: u64,
    /// Of each broadcast: from when it was sent to when the last receiver had it.
    last_us: Vec<f64>,
    /// The part of one core that the server used, its probe included.
    server_cores: f64,
}

/// All runs.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    p50_us: Pair,
    p99_us: Pair,
    max_us: Pair,
    /// Of all broadcasts.
    last_us: Spread,
    server_cores: Pair,
    without: Vec<Run>,
    with: Vec<Run>,
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p99_us, max_us, last_us, server_cores, .. } = self;
        writeln!(f, "  echo p50 {p50_us}")?;
        writeln!(f, "  echo p99 {p99_us}")?;
        writeln!(f, "  echo max {max_us}")?;
        writeln!(
            f,
            "  broadcast to last receiver {} ({}-{}); server {:.2} cores without, {:.2} with",
            Time(last_us.median),
            Time(last_us.min),
            Time(last_us.max),
            server_cores.without.median,
            server_cores.with.median
        )
    }
}

/// What receivers have got.
#[derive(Debug, Default)]
struct Arrivals {
    /// By the number of the broadcast: how many have it, and how long the last of them waited.
    broadcasts: Vec<(u64, u64)>,
    /// Messages without a stamp.
    strange: u64,
}

impl Arrivals {
    fn add(&mut self, body: &[u8], now: u64) {
        let stamp = Stamp::parse(body);
        let at = stamp.and_then(|stamp| usize::try_from(stamp.number).ok());
        match (stamp, at.and_then(|at| self.broadcasts.get_mut(at))) {
            (Some(stamp), Some((receivers, last))) => {
                *receivers = receivers.saturating_add(1);
                *last = (*last).max(now.saturating_sub(stamp.sent_ns));
            }
            _ => self.strange = self.strange.saturating_add(1),
        }
    }

    /// Messages too few or too many.
    fn failures(&self, receivers: u64) -> u64 {
        let wrong = self.broadcasts.iter().map(|(got, _)| got.abs_diff(receivers));
        wrong.fold(self.strange, u64::saturating_add)
    }
}

pub(super) fn run(quick: bool, rounds: u32) -> io::Result<Measurement> {
    let receivers = if quick { 300 } else { 9_000 };
    let duration = Duration::from_secs(if quick { 1 } else { 5 });
    need_descriptors(receivers)?;
    let mut server = start()?;
    let mut all = connect(&server, receivers, LEN)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (loud, runs) in [(false, &mut without), (true, &mut with)] {
            let run = one(&mut server, (&mut all, receivers), duration, loud)?;
            note(&format!(
                "broadcast round {round}/{rounds}, {}: echo p99 {}, {} failures, last receiver {}",
                if loud { "with" } else { "without" },
                Time(run.echo.p99_us),
                run.failures,
                Time(Spread::of(&run.last_us).median)
            ));
            runs.push(run);
        }
    }
    drop(all);
    server.stop()?;
    let how = format!(
        "{receivers} receivers, {} broadcasts/s of {LEN} bytes to all of them for {} s, beside \
         {PROBE_RATE} echoes/s.\n  The echoes are sent and timed on a thread of the server's own \
         process; the receivers are in another",
        1_000_u128.checked_div(EVERY.as_millis()).unwrap_or(0),
        duration.as_secs()
    );
    let (checks, figures) = judge(without, with);
    Ok(Measurement { scenario: "broadcast", how, checks, figures: Kinds::Broadcast(figures) })
}

fn judge(without: Vec<Run>, with: Vec<Run>) -> (Vec<Check>, Figures) {
    let pair = |figure: fn(&Run) -> f64| Pair::of(&without, &with, figure);
    let p99_us = pair(|run| run.echo.p99_us);
    let failures = without.iter().chain(&with).map(|run| run.failures).sum();
    let last: Vec<_> = with.iter().flat_map(|run| run.last_us.iter().copied()).collect();
    let checks = vec![
        Check::new("failures", float(failures), 0.0, Unit::Count),
        Check {
            without: Some(p99_us.without.median),
            ..Check::new("echo p99 beside broadcasts", p99_us.with.median, 20e3, Unit::Us)
        },
    ];
    let figures = Figures {
        p50_us: pair(|run| run.echo.p50_us),
        p99_us,
        max_us: pair(|run| run.echo.max_us),
        last_us: Spread::of(&last),
        server_cores: pair(|run| run.server_cores),
        without,
        with,
    };
    (checks, figures)
}

fn one(
    server: &mut Running,
    (all, receivers): (&mut Generator, usize),
    duration: Duration,
    loud: bool,
) -> io::Result<Run> {
    let most = duration.as_nanos().checked_div(EVERY.as_nanos()).unwrap_or(0);
    let broadcasts = if loud { u32::try_from(most).unwrap_or(u32::MAX) } else { 0 };
    let probe_rate = NonZeroU32::new(PROBE_RATE).unwrap_or(NonZeroU32::MIN);
    let noise = Noise { duration, probe_rate, broadcasts, every: EVERY, len: LEN };
    let mut arrivals = Arrivals::default();
    arrivals.broadcasts.resize(usize::try_from(broadcasts).unwrap_or(0), (0, 0));
    let pids = server.pids();
    let before = CpuTimes::of(&pids)?;
    let (silence, noticed) = thread::scope(|scope| {
        let wait_max = duration.saturating_mul(3).saturating_add(TAIL);
        let noticed = scope.spawn(move || server.ask::<Noticed>(&Question::Noise(noise), wait_max));
        let stay = duration.saturating_add(TAIL);
        let silence = all.listen(stay, &mut |body| arrivals.add(body, shared_ns()));
        Ok::<_, io::Error>((silence?, joined(noticed)?))
    })?;
    let failures = [noticed.errors, u64::from(noticed.failed), silence.closed];
    let lacking = arrivals.failures(count(receivers));
    Ok(Run {
        echo: noticed.echo,
        failures: failures.into_iter().fold(lacking, u64::saturating_add),
        last_us: arrivals.broadcasts.iter().map(|(_, last)| float(*last) / 1e3).collect(),
        // The probe's thread has ended: this is exact to the kernel's ticks only.
        server_cores: core_share(&pids, &before, duration.saturating_add(TAIL))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(number: u64, sent_ns: u64) -> Vec<u8> {
        [number.to_be_bytes(), sent_ns.to_be_bytes()].concat()
    }

    #[test]
    fn a_broadcast_is_timed_by_its_last_receiver_and_counted_by_all() {
        let mut arrivals = Arrivals { broadcasts: vec![(0, 0); 2], strange: 0 };
        arrivals.add(&body(0, 100), 150);
        arrivals.add(&body(0, 100), 900);
        arrivals.add(&body(1, 1_000), 1_010);
        assert_eq!(arrivals.broadcasts, [(2, 800), (1, 10)]);
        assert_eq!(arrivals.failures(2), 1, "one receiver lacks the second");
        arrivals.add(&body(2, 0), 0);
        arrivals.add(b"short", 0);
        assert_eq!(arrivals.failures(2), 3, "no such broadcast, no stamp");
    }
}
