//! What a measurement says, as one JSON object and as a few lines for a person.
//!
//! Field names carry their units. The JSON is for machines to keep; nothing in it is rounded.
use crate::generator::{BodyCodec, Load, Measured};
use crate::machine::Machine;
use crate::number::{float, micros_each, ratio};
use crate::stats::Percentiles;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// One run of the generator against one server.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// Where the load went.
    pub target: String,
    /// How the load was made.
    #[serde(flatten)]
    pub shape: Shape,
    /// Requests sent.
    pub sent: u64,
    /// Replies to them.
    pub received: u64,
    /// Requests without a reply.
    pub lost: u64,
    /// Replies to no request that waited.
    pub duplicated: u64,
    /// Requests answered with a status.
    pub refused: u64,
    /// Replies with another route, length or content than asked for.
    pub wrong: u64,
    /// Requests that were due and could not be sent.
    pub unsent: u64,
    /// Connections that ended.
    pub closed: u64,
    /// The first reason the server gave for ending one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_reason: Option<String>,
    /// From the first request to the last reply.
    pub seconds: f64,
    /// Replies per second.
    pub rate: f64,
    /// From the send, or the intended send of an open loop, to the reply.
    pub latency: Percentiles,
    /// CPU time of the generator per reply, in microseconds.
    pub generator_cpu_us: f64,
    /// CPU time of the server's processes per reply, in microseconds; absent if not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_us: Option<f64>,
    /// The server's processes one by one, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessReport>,
}

/// What one of the server's processes used.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessReport {
    /// What it is: `gate` or `node`.
    pub name: &'static str,
    /// CPU time per reply, in microseconds.
    pub cpu_us: f64,
    /// System calls per reply; absent where they cannot be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_calls: Option<f64>,
}

/// How a load was made.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Shape {
    /// Connections.
    pub connections: usize,
    /// Requests outstanding per connection, in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Requests per second that were intended, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended_rate: Option<u32>,
    /// Length of a request's body on the wire, in bytes.
    pub body_bytes: usize,
    /// Codec of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<BodyCodec>,
}

impl Shape {
    /// The shape of `load` over `connections`.
    pub fn of(load: Load, connections: usize, body_bytes: usize, codec: Option<BodyCodec>) -> Self {
        let (depth, intended_rate) = match load {
            Load::Closed { depth, .. } | Load::Timed { depth, .. } => (Some(depth), None),
            Load::Open { rate, .. } => (None, Some(rate.get())),
            Load::Idle { .. } => (None, None),
        };
        Self { connections, depth, intended_rate, body_bytes, codec }
    }
}

impl LoadReport {
    /// The report of one run. `server_cpu` is what the server's processes used meanwhile.
    pub fn new(
        target: String,
        shape: Shape,
        measured: &Measured,
        server_cpu: Option<Duration>,
    ) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        Self {
            target,
            shape,
            sent: measured.sent,
            received: measured.received,
            lost: measured.lost,
            duplicated: measured.duplicated,
            refused: measured.refused,
            wrong: measured.wrong,
            unsent: measured.unsent,
            closed: measured.closed,
            close_reason: measured.close_reason.clone(),
            seconds,
            rate: ratio(float(measured.received), seconds),
            latency: measured.latencies.summary(),
            generator_cpu_us: micros_each(measured.cpu, measured.received),
            server_cpu_us: server_cpu.map(|cpu| micros_each(cpu, measured.received)),
            processes: Vec::new(),
        }
    }

    /// Requests that did not end with the right reply, and replies nobody asked for.
    pub fn errors(&self) -> u64 {
        [self.lost, self.duplicated, self.refused, self.wrong, self.unsent]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Errors as a share of all requests that were meant, 0 to 1. Nothing sent is all wrong.
    pub fn error_share(&self) -> f64 {
        let meant = self.sent.saturating_add(self.unsent);
        if meant == 0 { 1.0 } else { ratio(float(self.errors()), float(meant)) }
    }
}

impl Display for LoadReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Shape { connections, depth, intended_rate, body_bytes, .. } = self.shape;
        write!(f, "{}: {connections} connections", self.target)?;
        match (depth, intended_rate) {
            (Some(depth), _) => write!(f, " x {depth} outstanding")?,
            (None, Some(rate)) => write!(f, ", {rate}/s intended")?,
            (None, None) => {}
        }
        writeln!(f, ", {body_bytes} bytes a message")?;
        let Self { sent, received, lost, duplicated, refused, wrong, unsent, closed, .. } = self;
        writeln!(
            f,
            "  sent {sent}, received {received}, lost {lost}, duplicated {duplicated}, \
             refused {refused}, wrong {wrong}, unsent {unsent}, connections closed {closed}"
        )?;
        if let Some(reason) = &self.close_reason {
            writeln!(f, "  closed by the server: {reason}")?;
        }
        writeln!(f, "  {:.3} s, {:.0} messages/s", self.seconds, self.rate)?;
        writeln!(f, "  latency {}", self.latency)?;
        write!(f, "  CPU per message: generator {:.2} us", self.generator_cpu_us)?;
        match self.server_cpu_us {
            Some(cpu) => write!(f, ", server {cpu:.2} us")?,
            None => write!(f, ", server unknown (give --server-pid)")?,
        }
        self.processes.iter().try_for_each(|process| write!(f, "\n    {process}"))
    }
}

impl Display for ProcessReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, cpu_us, system_calls } = self;
        write!(f, "{name}: {cpu_us:.2} us")?;
        match system_calls {
            Some(calls) => write!(f, ", {calls:.3} system calls"),
            None => write!(f, ", system calls not counted"),
        }
    }
}

impl Display for Percentiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p90_us, p99_us, p999_us, max_us } = *self;
        write!(f, "p50 {}, p90 {}, p99 {}", Time(p50_us), Time(p90_us), Time(p99_us))?;
        write!(f, ", p99.9 {}, max {}", Time(p999_us), Time(max_us))
    }
}

/// Microseconds, printed in the unit a person would choose.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub f64);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(us) = *self;
        let text = if us < 1e3 {
            format!("{us:.0} us")
        } else if us < 1e6 {
            format!("{:.2} ms", us / 1e3)
        } else {
            format!("{:.2} s", us / 1e6)
        };
        f.pad(&text)
    }
}

/// Several runs and the machine they were made on.
#[derive(Debug, Clone, Serialize)]
pub struct EchoReport {
    /// The machine.
    pub machine: Machine,
    /// The runs, in the order they were made.
    pub runs: Vec<LoadReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sent: u64, lost: u64, unsent: u64) -> LoadReport {
        let received = sent - lost;
        let measured = Measured { sent, received, lost, unsent, ..Measured::default() };
        let load = Load::Closed { depth: 1, messages: sent + unsent };
        LoadReport::new("x".into(), Shape::of(load, 1, 8, None), &measured, None)
    }

    #[test]
    fn errors_are_a_share_of_what_was_meant() {
        assert_eq!(report(100, 0, 0).error_share(), 0.0);
        assert_eq!(report(80, 5, 20).error_share(), 0.25);
        assert_eq!(report(0, 0, 0).error_share(), 1.0);
    }

    #[test]
    fn times_are_printed_in_a_fitting_unit() {
        assert_eq!(Time(412.4).to_string(), "412 us");
        assert_eq!(Time(8_258.0).to_string(), "8.26 ms");
        assert_eq!(Time(1_500_000.0).to_string(), "1.50 s");
        assert_eq!(format!("{:>8}", Time(1.0)), "    1 us");
    }
}
