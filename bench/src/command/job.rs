//! One measurement: connect, warm up, load, and see what each side used.
use super::note;
use crate::generator::{Generator, Load, Measured, Progress, Request, Target};
use crate::number::{count, float, ratio};
use crate::process::CpuTimes;
use crate::report::Time;
use std::io;
use std::time::Duration;

/// More warm-up requests than this change nothing.
const WARM_UP_MAX: u64 = 50_000;

/// What is to be measured.
pub(super) struct Job {
    pub(super) target: Target,
    pub(super) request: Request,
    pub(super) connections: usize,
    pub(super) load: Load,
    /// Processes whose CPU time is the server's.
    pub(super) pids: Vec<u32>,
    /// Whether a line of progress is printed each second.
    pub(super) progress: bool,
}

impl Job {
    /// Measures; also returns the CPU time of the server's processes, if they are known.
    pub(super) fn measure(&self) -> io::Result<(Measured, Option<Duration>)> {
        let mut generator =
            Generator::connect(&self.target, self.connections, self.request.clone())?;
        let warm = generator.run(self.warm_up(), &mut |_| ())?;
        if warm.errors() > 0 {
            note(&format!("warm-up: {} of {} requests failed", warm.errors(), warm.sent));
        }
        let before = CpuTimes::of(&self.pids)?;
        let measured = generator.run(self.load, &mut |progress| {
            if self.progress {
                note(&line(&progress));
            }
        })?;
        let used = CpuTimes::of(&self.pids)?.since(&before);
        Ok((measured, (!self.pids.is_empty()).then_some(used)))
    }

    /// A tenth of a closed loop, but not endless; one request per connection before an open one.
    fn warm_up(&self) -> Load {
        match self.load {
            Load::Closed { depth, messages } => {
                Load::Closed { depth, messages: (messages / 10).min(WARM_UP_MAX) }
            }
            Load::Timed { depth, .. } => Load::Closed { depth, messages: WARM_UP_MAX },
            Load::Open { .. } | Load::Idle { .. } => {
                Load::Closed { depth: 1, messages: count(self.connections) }
            }
        }
    }
}

fn line(progress: &Progress<'_>) -> String {
    let Progress { elapsed, sent, received, latencies } = progress;
    let seconds = elapsed.as_secs_f64();
    let rate = ratio(float(*received), seconds);
    let latency = latencies.summary();
    format!(
        "{seconds:5.0} s  sent {sent}  received {received}  {rate:.0}/s  p50 {}  p99 {}",
        Time(latency.p50_us),
        Time(latency.p99_us)
    )
}
