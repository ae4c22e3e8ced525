//! What the demo prints: where to connect, a live line each second, and the summary.
//!
//! On a terminal the line is drawn over the last one; elsewhere each is a line of its own, so that
//! a log can be read later. Numbers only; where they come from is not known here.
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io::{self, IsTerminal, Stderr, Write};
use std::net::SocketAddr;
use std::time::Duration;
use yumen_bench::report::Time;
use yumen_bench::stats::Percentiles;

/// What the demo has counted from its start up to one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Since the first request.
    pub(super) elapsed: Duration,
    /// Bots that are connected now.
    pub(super) connected: u64,
    /// Requests sent by bots.
    pub(super) sent: u64,
    /// Requests answered as they should be.
    pub(super) answered: u64,
    /// Requests answered with a status, or not in time.
    pub(super) failed: u64,
    /// Messages to bots that nobody had asked for: broadcasts and pushes.
    pub(super) pushed: u64,
    /// Messages that gate or node dropped, whatever the reason.
    pub(super) dropped: u64,
    /// From request to answer, as the bots see it.
    pub(super) latency: Percentiles,
}

/// The live display.
#[derive(Debug)]
pub(super) struct Table {
    out: Stderr,
    /// Lines are drawn over each other.
    live: bool,
    bots: usize,
    tcp: SocketAddr,
    ws: SocketAddr,
    last: Sample,
}

const HEAD: &str =
    "   time     bots   requests/s  answered/s   pushed/s       p50       p99   failed  dropped";

impl Table {
    pub(super) fn new(bots: usize, tcp: SocketAddr, ws: SocketAddr) -> Self {
        let out = io::stderr();
        let live = out.is_terminal();
        Self { out, live, bots, tcp, ws, last: Sample::default() }
    }

    /// Says where to connect and what to try.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let Self { bots, tcp, ws, .. } = *self;
        writeln!(
            self.out,
            "gate on tcp {tcp} and ws://{ws}/, one node, {bots} bots; Ctrl-C stops"
        )?;
        writeln!(
            self.out,
            "from another terminal: cargo run --release -- bench echo --connect {tcp} --route 2"
        )?;
        writeln!(self.out, "\n{HEAD}")
    }

    /// Shows the next moment.
    pub(super) fn show(&mut self, sample: &Sample) -> io::Result<()> {
        let line = line(&self.last, sample);
        self.last = sample.clone();
        if self.live {
            // Back to the start of the line, and clear what a longer one has left.
            write!(self.out, "\r{line}\x1b[K")?;
            self.out.flush()
        } else {
            writeln!(self.out, "{line}")
        }
    }
}

/// Rates since the sample before; latencies and counts since the start.
fn line(before: &Sample, now: &Sample) -> String {
    let seconds = now.elapsed.saturating_sub(before.elapsed).as_secs_f64();
    let rate = |now: u64, before: u64| per_second(now.saturating_sub(before), seconds);
    format!(
        "{:>5.0} s {:>8} {:>12.0} {:>11.0} {:>10.0} {:>9} {:>9} {:>8} {:>8}",
        now.elapsed.as_secs_f64(),
        now.connected,
        rate(now.sent, before.sent),
        rate(now.answered, before.answered),
        rate(now.pushed, before.pushed),
        Time(now.latency.p50_us),
        Time(now.latency.p99_us),
        now.failed,
        now.dropped
    )
}

#[expect(clippy::as_conversions, reason = "a figure to print; std has no lossy From")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// The demo in the end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    bots: usize,
    seconds: f64,
    requests: u64,
    answered: u64,
    failed: u64,
    /// Requests that have neither an answer nor a refusal.
    unanswered: u64,
    pushed: u64,
    dropped: u64,
    /// Answers per second over the whole time.
    rate: f64,
    latency: Percentiles,
}

impl Summary {
    /// Sums up what was counted when the last bot had stopped.
    pub(super) fn new(bots: usize, last: &Sample) -> Self {
        let seconds = last.elapsed.as_secs_f64();
        Self {
            bots,
            seconds,
            requests: last.sent,
            answered: last.answered,
            failed: last.failed,
            unanswered: last.sent.saturating_sub(last.answered.saturating_add(last.failed)),
            pushed: last.pushed,
            dropped: last.dropped,
            rate: per_second(last.answered, seconds),
            latency: last.latency,
        }
    }

    /// Whether every request was answered, and there was at least one.
    pub(super) fn all_answered(&self) -> bool {
        self.requests > 0 && self.answered == self.requests
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { bots, seconds, requests, answered, failed, unanswered, .. } = self;
        writeln!(f, "{bots} bots in {seconds:.1} s: {requests} requests, {answered} answered")?;
        writeln!(f, "  {:.0} per second, {}", self.rate, self.latency)?;
        write!(
            f,
            "  failed {failed}, unanswered {unanswered}, pushed {}, dropped {}",
            self.pushed, self.dropped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, sent: u64, answered: u64, failed: u64) -> Sample {
        let elapsed = Duration::from_secs(seconds);
        Sample { elapsed, connected: 10, sent, answered, failed, ..Sample::default() }
    }

    #[test]
    fn rates_are_those_of_the_last_second() {
        let line = line(&sample(3, 3_000, 2_900, 0), &sample(5, 7_000, 6_900, 1));
        let columns: Vec<_> = line.split_whitespace().collect();
        assert_eq!(columns[..5], ["5", "s", "10", "2000", "2000"]);
        assert_eq!(line.len(), HEAD.len(), "columns stand under their names");
    }

    #[test]
    fn only_a_demo_that_answered_everything_has_succeeded() {
        assert!(Summary::new(1, &sample(1, 10, 10, 0)).all_answered());
        assert!(!Summary::new(1, &sample(1, 10, 9, 1)).all_answered());
        assert!(!Summary::new(1, &sample(1, 0, 0, 0)).all_answered());
        assert_eq!(Summary::new(1, &sample(1, 10, 7, 1)).unanswered, 2);
    }
}
