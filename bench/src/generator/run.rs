//! The loop of one run: when to send, when to stop.
//!
//! It ends when every request has its reply, or when the whole server has been silent for the
//! generator's `wait_max`: what is unanswered then is lost.
use super::conn::{Conn, Tally, Work};
use super::{Generator, Load, Measured, Progress};
use crate::clock::thread_cpu;
use crate::number::{count, nanos};
use crate::poll::Events;
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::time::Duration;
use yumen::proto::WireError;

const SECOND: u64 = 1_000_000_000;
/// How often some connections are looked at for whether they need a heartbeat, and in how many
/// steps all of them are: in five seconds, so that none is silent for more than ten.
/// Small steps: real clients do not send theirs all at once.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(10);
const BEAT_STEPS: usize = 500;

/// Whom a run tells what happens.
pub(super) struct Hooks<'a> {
    /// Called once a second.
    pub(super) progress: &'a mut dyn FnMut(Progress<'_>),
    /// Called with the body of every message that nobody asked for.
    pub(super) pushed: &'a mut dyn FnMut(&[u8]),
}

/// What decides when the next request goes out. Times are nanoseconds of the generator's clock.
enum Pace {
    Closed { depth: usize, left: u64, until: Option<u64> },
    Open { rate: u64, next: u64, total: u64 },
    Idle { until: u64 },
}

struct Run<'g> {
    conns: &'g mut [Conn],
    work: Work<'g>,
    pace: Pace,
    start: u64,
    /// Since when requests have waited without anything being received.
    quiet: u64,
    /// Connections that were there at the start.
    alive: u64,
    /// Connections with something new to write.
    dirty: Vec<usize>,
    /// Replies are not awaited, because nothing is read.
    deaf: bool,
    /// When the next connections are looked at for heartbeats, and where they begin.
    beat: (u64, usize),
    beat_every: u64,
}

pub(super) fn run(generator: &mut Generator, load: Load, hooks: Hooks<'_>) -> io::Result<Measured> {
    let cpu = thread_cpu();
    let mut measured = Measured::default();
    let wait_max = nanos(generator.wait_max);
    let clock = generator.clock;
    let start = clock.ns();
    let alive = generator.conns.iter().filter(|conn| conn.alive()).count();
    let mut run = Run {
        conns: &mut generator.conns,
        work: Work {
            clock,
            poll: &generator.poll,
            scratch: &mut generator.scratch,
            packet: Vec::new(),
            tally: Tally {
                request: &generator.request,
                measured: &mut measured,
                pushed: hooks.pushed,
                heard: start,
            },
        },
        pace: Pace::new(load, start),
        start,
        quiet: start,
        alive: count(alive),
        dirty: Vec::new(),
        deaf: generator.deaf,
        beat: (start, 0),
        beat_every: nanos(generator.beat_every),
    };
    run.go(wait_max, hooks.progress)?;
    run.finish();
    let heard = run.work.tally.heard;
    measured.elapsed = Duration::from_nanos(heard.saturating_sub(start));
    measured.cpu = thread_cpu().saturating_sub(cpu);
    Ok(measured)
}

impl Pace {
    fn new(load: Load, start: u64) -> Self {
        let size = |depth: u32| usize::try_from(depth.max(1)).unwrap_or(usize::MAX);
        let until = |duration| start.saturating_add(nanos(duration));
        match load {
            Load::Closed { depth, messages } => {
                Self::Closed { depth: size(depth), left: messages, until: None }
            }
            Load::Timed { depth, duration } => {
                let until = Some(until(duration));
                Self::Closed { depth: size(depth), left: u64::MAX, until }
            }
            Load::Idle { duration } => Self::Idle { until: until(duration) },
            Load::Open { rate, duration } => {
                // Timers of this thread may be late by 50 us by default; the open loop asks for
                // exact ones. Where the system refuses, the lateness shows in the latencies.
                rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).unwrap_or_default();
                let rate = u64::from(rate.get());
                let total = u128::from(rate).saturating_mul(duration.as_nanos());
                let total = total.checked_div(u128::from(SECOND)).unwrap_or(0);
                Self::Open { rate, next: 0, total: u64::try_from(total).unwrap_or(u64::MAX) }
            }
        }
    }

    /// Whether every request has gone out.
    fn done(&self) -> bool {
        match self {
            Self::Closed { left, .. } => *left == 0,
            Self::Open { next, total, .. } => next >= total,
            Self::Idle { .. } => false,
        }
    }

    /// Ends what is over at `now`. Returns when to look again.
    fn until(&mut self, now: u64) -> Option<u64> {
        match self {
            Self::Closed { until: Some(until), left, .. } => {
                if now >= *until {
                    *left = 0;
                }
                Some(*until).filter(|until| *until > now)
            }
            Self::Idle { until } => Some(*until).filter(|until| *until > now),
            Self::Closed { until: None, .. } | Self::Open { .. } => None,
        }
    }
}

/// When the request with this number is meant to go out, in nanoseconds after the start.
fn intended(number: u64, rate: u64) -> u64 {
    let scaled = u128::from(number).saturating_mul(u128::from(SECOND));
    let at = scaled.checked_div(u128::from(rate)).unwrap_or(u128::MAX);
    u64::try_from(at).unwrap_or(u64::MAX)
}

impl Run<'_> {
    fn go(&mut self, wait_max: u64, progress: &mut dyn FnMut(Progress<'_>)) -> io::Result<()> {
        let mut events = Events::default();
        let mut report = self.start.saturating_add(SECOND);
        self.fill_all()?;
        loop {
            let mut now = self.work.clock.ns();
            let due = self.issue(now)?;
            self.beat(now);
            let waiting = if self.deaf { 0 } else { self.work.tally.measured.waiting() };
            let silent = now.saturating_sub(self.quiet.max(self.work.tally.heard));
            // A closed loop in which nothing waits cannot send: every connection is stuck.
            let stuck = waiting == 0 && (self.pace.done() || due.is_none());
            let all_closed = self.work.tally.measured.closed >= self.alive;
            if stuck || all_closed || (waiting > 0 && silent >= wait_max) {
                return Ok(());
            }
            if now >= report {
                report = now.saturating_add(SECOND);
                progress(self.progress(now));
                now = self.work.clock.ns();
            }
            let wake = due.unwrap_or(u64::MAX).min(report).min(self.beat.0);
            let timeout = Duration::from_nanos(wake.saturating_sub(now));
            self.work.poll.wait(&mut events, Some(timeout))?;
            for event in events.iter() {
                let Ok(at) = usize::try_from(event.token) else { continue };
                self.serve(at, event.token, event.readable, event.writable)?;
            }
        }
    }

    /// Gives some connections the chance to send a heartbeat.
    fn beat(&mut self, now: u64) {
        let (at, first) = self.beat;
        if now < at {
            return;
        }
        let share = self.conns.len().div_ceil(BEAT_STEPS);
        let next = first.saturating_add(share);
        self.beat =
            (now.saturating_add(self.beat_every), if next < self.conns.len() { next } else { 0 });
        let some = self.conns.get_mut(first..).unwrap_or_default();
        for (conn, token) in some.iter_mut().take(share).zip(count(first)..) {
            conn.beat(token, &mut self.work);
        }
    }

    fn progress(&self, now: u64) -> Progress<'_> {
        Progress {
            elapsed: Duration::from_nanos(now.saturating_sub(self.start)),
            sent: self.work.tally.measured.sent,
            received: self.work.tally.measured.received,
            latencies: &self.work.tally.measured.latencies,
        }
    }

    /// Fills every connection of a closed loop to its depth.
    fn fill_all(&mut self) -> io::Result<()> {
        for (at, token) in (0..self.conns.len()).zip(0_u64..) {
            self.fill(at, token)?;
        }
        Ok(())
    }

    fn fill(&mut self, at: usize, token: u64) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(()) };
        if let Pace::Closed { depth, left, .. } = &mut self.pace {
            let now = self.work.clock.ns();
            while *left > 0 && conn.open() < *depth {
                if !conn.send(now, &mut self.work).map_err(invalid)? {
                    break;
                }
                *left = left.saturating_sub(1);
            }
        }
        conn.flush(token, &mut self.work);
        Ok(())
    }

    fn serve(&mut self, at: usize, token: u64, readable: bool, writable: bool) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(()) };
        if readable {
            conn.receive(&mut self.work);
        }
        if readable || writable {
            self.fill(at, token)?;
        }
        Ok(())
    }

    /// Sends what an open loop owes at `now`. Returns when the next request is due.
    fn issue(&mut self, now: u64) -> io::Result<Option<u64>> {
        let Pace::Open { rate, next, total } = &mut self.pace else {
            return Ok(self.pace.until(now));
        };
        let Some(conns) = NonZeroU64::new(count(self.conns.len())) else { return Ok(None) };
        if self.work.tally.measured.waiting() == 0 {
            self.quiet = now;
        }
        let due = loop {
            if *next >= *total {
                break None;
            }
            let at = self.start.saturating_add(intended(*next, *rate));
            if at > now {
                break Some(at);
            }
            let chosen = usize::try_from(*next % conns).unwrap_or(0);
            *next = next.saturating_add(1);
            let sent = match self.conns.get_mut(chosen) {
                Some(conn) => conn.send(at, &mut self.work).map_err(invalid)?,
                None => false,
            };
            if sent {
                self.dirty.push(chosen);
            } else {
                self.work.tally.measured.unsent = self.work.tally.measured.unsent.saturating_add(1);
            }
        };
        for chosen in self.dirty.drain(..) {
            if let Some(conn) = self.conns.get_mut(chosen) {
                conn.flush(count(chosen), &mut self.work);
            }
        }
        Ok(due)
    }

    /// Counts what never came.
    fn finish(&mut self) {
        let lost: usize = self.conns.iter_mut().map(Conn::forget).sum();
        let measured = &mut *self.work.tally.measured;
        measured.lost = measured.lost.saturating_add(count(lost));
        if let Pace::Closed { left, until: None, .. } = self.pace {
            measured.unsent = measured.unsent.saturating_add(left);
        }
    }
}

fn invalid(error: WireError) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, error)
}
