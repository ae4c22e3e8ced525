//! One measurement: connect, warm up, load, and see what each side used.
use super::note;
use crate::generator::{Generator, Load, Measured, Progress, Request, Target};
use crate::number::{count, float, micros_each, ratio};
use crate::process::CpuTimes;
use crate::report::{LoadReport, ProcessReport, Shape, Time};
use crate::syscalls;
use std::io;
use std::time::Duration;

/// More warm-up requests than this change nothing.
const WARM_UP_MAX: u64 = 50_000;
/// More messages than this do not change the system calls for each.
const COUNTED_MAX: u64 = 200_000;

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

/// What came of it.
pub(super) struct Run {
    pub(super) measured: Measured,
    /// CPU time of each of the server's processes.
    each: Vec<Duration>,
}

impl Job {
    /// Measures it once.
    pub(super) fn measure(&self) -> io::Result<Run> {
        let mut generator = self.warm()?;
        let before = CpuTimes::of(&self.pids)?;
        let measured = generator.run(self.load, &mut |progress| {
            if self.progress {
                note(&line(&progress));
            }
        })?;
        Ok(Run { measured, each: CpuTimes::of(&self.pids)?.each_since(&before) })
    }

    /// The report of a run; processes of the server are shown apart where `names` has a name for each.
    pub(super) fn report(&self, run: &Run, shape: Shape, names: &[&'static str]) -> LoadReport {
        let Run { measured, each } = run;
        let used = each.iter().fold(Duration::ZERO, |sum, used| sum.saturating_add(*used));
        let server_cpu = (!each.is_empty()).then_some(used);
        let mut report = LoadReport::new(self.target.to_string(), shape, measured, server_cpu);
        let process = |(name, cpu): (&&'static str, &Duration)| ProcessReport {
            name,
            cpu_us: micros_each(*cpu, measured.received),
            system_calls: None,
        };
        report.processes = names.iter().zip(each).map(process).collect();
        report
    }

    /// Counts the system calls of each process of `report`. Where they cannot be counted it says so.
    pub(super) fn count_system_calls(&self, report: &mut LoadReport) {
        match self.system_calls() {
            Ok(calls) => {
                for (process, calls) in report.processes.iter_mut().zip(calls) {
                    process.system_calls = Some(calls);
                }
            }
            Err(error) => note(&error.to_string()),
        }
    }

    /// System calls of each of the server's processes per reply, counted in a run of their own: counting
    /// costs time.
    ///
    /// # Errors
    /// `Unsupported` where they cannot be counted.
    fn system_calls(&self) -> io::Result<Vec<f64>> {
        let mut generator = self.warm()?;
        let load = match self.load {
            Load::Closed { depth, messages } => {
                Load::Closed { depth, messages: messages.min(COUNTED_MAX) }
            }
            load @ (Load::Timed { .. } | Load::Open { .. } | Load::Idle { .. }) => load,
        };
        let (measured, counts) =
            syscalls::counted(&self.pids, || generator.run(load, &mut |_| ()))?;
        let replies = float(measured.received);
        Ok(counts.into_iter().map(|calls| ratio(float(calls), replies)).collect())
    }

    /// Connects, and lets caches and buffers find their size.
    fn warm(&self) -> io::Result<Generator> {
        let mut generator =
            Generator::connect(&self.target, self.connections, self.request.clone())?;
        let warm = generator.run(self.warm_up(), &mut |_| ())?;
        if warm.errors() > 0 {
            note(&format!("warm-up: {} of {} requests failed", warm.errors(), warm.sent));
        }
        Ok(generator)
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
