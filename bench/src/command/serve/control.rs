//! What a parent may ask the server under test, line by line.
//!
//! Questions are answered one after the other on a thread of their own, so that asking costs the
//! server's thread no more than the answer does. Both ends are this program, of the same build.
use super::ServeArgs;
use crate::clock::shared_ns;
use crate::command::LayoutArgs;
use crate::generator::{BodyCodec, Expect, Generator, Load, Measured, Request, Target};
use crate::poll;
use crate::stats::Percentiles;
use serde::{Deserialize, Serialize};
use std::io;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;
use yumen::gate::{Gate, GateHandle};
use yumen::node::{Audience, Node, NodeHandle};
use yumen::proto::RouteId;

/// The route of broadcasts; nothing is asked under it.
const BROADCAST: RouteId = RouteId(2);
/// Letters in the message of the echo probe.
const PROBE_LETTERS: usize = 64;

/// A line of the server's input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::command) enum Question {
    /// Answered with a [`Look`], without one at each session.
    Counts,
    /// Answered with a [`Look`].
    Sessions,
    /// Makes some noise and answers, behind it, with [`Noticed`].
    Noise(Noise),
}

/// What the gate holds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::command) struct Look {
    /// Connections now.
    pub(in crate::command) connections: u64,
    /// Connections closed so far because the peer did not read.
    pub(in crate::command) closed_slow: u64,
    /// The most bytes that are queued for a connection now; 0 if nobody looked.
    pub(in crate::command) backlog_max: usize,
}

/// Broadcasts to every connection beside an echo probe: one connection to this server's gate from
/// this process itself, whose requests are sent at even intervals whatever happens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::command) struct Noise {
    /// How long the probe runs.
    pub(in crate::command) duration: Duration,
    /// Requests of the probe per second.
    pub(in crate::command) probe_rate: NonZeroU32,
    /// Broadcasts in all; the first is sent half an interval after the probe began.
    pub(in crate::command) broadcasts: u32,
    /// Time from one broadcast to the next.
    pub(in crate::command) every: Duration,
    /// Length of a broadcast's body in bytes, at least [`Stamp::LEN`].
    pub(in crate::command) len: usize,
}

/// What came of a [`Noise`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::command) struct Noticed {
    /// The probe's latencies, from the intended send to the reply.
    pub(in crate::command) echo: Percentiles,
    /// Requests of the probe.
    pub(in crate::command) sent: u64,
    /// Those of them without the right reply.
    pub(in crate::command) errors: u64,
    /// Broadcasts that were not carried out.
    pub(in crate::command) failed: u32,
}

/// The start of a broadcast's body: which it is, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) struct Stamp {
    /// Counted from 0 in each [`Noise`].
    pub(in crate::command) number: u64,
    /// By [`shared_ns`].
    pub(in crate::command) sent_ns: u64,
}

impl Stamp {
    /// Bytes that it takes.
    pub(in crate::command) const LEN: usize = 16;

    fn body(self, len: usize) -> Vec<u8> {
        let mut body = self.number.to_be_bytes().to_vec();
        body.extend_from_slice(&self.sent_ns.to_be_bytes());
        body.resize(len.max(Self::LEN), 0);
        body
    }

    /// The stamp of a body that has one.
    pub(in crate::command) fn parse(body: &[u8]) -> Option<Self> {
        let (number, rest) = body.split_first_chunk()?;
        let sent_ns = rest.first_chunk()?;
        Some(Self { number: u64::from_be_bytes(*number), sent_ns: u64::from_be_bytes(*sent_ns) })
    }
}

/// Whoever answers.
pub(super) struct Desk {
    target: Target,
    layout: LayoutArgs,
    codec: BodyCodec,
    gate: GateHandle,
    node: NodeHandle,
    /// Only to wait for what gate and node answer: nothing of the server's runs on it.
    runtime: tokio::runtime::Runtime,
}

impl Desk {
    pub(super) fn new(args: &ServeArgs, gate: &Gate, node: &Node) -> io::Result<Self> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let address = gate.addresses().first().copied().ok_or_else(missing)?;
        let target = match args.transport {
            super::Transport::Tcp => Target::tcp(address),
            super::Transport::Ws => Target::web(address),
        };
        Ok(Self {
            target,
            layout: args.layout.clone(),
            codec: args.codec,
            gate: gate.handle(),
            node: node.handles().first().cloned().ok_or_else(missing)?,
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
        })
    }

    /// Answers one line.
    pub(super) fn answer(&self, line: &str) -> io::Result<String> {
        let answer = match serde_json::from_str(line)? {
            Question::Counts => serde_json::to_string(&self.look(0)),
            Question::Sessions => serde_json::to_string(&self.look(usize::MAX)),
            Question::Noise(noise) => serde_json::to_string(&self.noise(&noise)?),
        };
        Ok(answer?)
    }

    /// Looks at the gate, and at up to `most` of its sessions.
    fn look(&self, most: usize) -> Look {
        self.runtime.block_on(async {
            let stats = self.gate.stats().await;
            let sessions = if most > 0 { self.gate.sessions(most).await } else { Vec::new() };
            Look {
                connections: stats.connections,
                closed_slow: stats.closed_backlog.saturating_add(stats.closed_stalled),
                backlog_max: sessions.iter().map(|session| session.backlog).max().unwrap_or(0),
            }
        })
    }

    fn noise(&self, noise: &Noise) -> io::Result<Noticed> {
        thread::scope(|scope| {
            let probe = scope.spawn(|| self.probe(noise));
            let mut failed = 0_u32;
            let start = shared_ns();
            let mut due = noise.every.checked_div(2).unwrap_or_default();
            for number in 0..u64::from(noise.broadcasts) {
                let passed = Duration::from_nanos(shared_ns().saturating_sub(start));
                poll::pass(due.saturating_sub(passed))?;
                due = due.saturating_add(noise.every);
                let body = Stamp { number, sent_ns: shared_ns() }.body(noise.len);
                let sent =
                    self.node.broadcast_acked(Audience::Everybody, BROADCAST, body.as_slice());
                failed = failed.saturating_add(u32::from(self.runtime.block_on(sent).is_err()));
            }
            let probe = probe.join().map_err(|_| io::Error::other("the probe panicked"))??;
            Ok(Noticed {
                echo: probe.latencies.summary(),
                sent: probe.sent,
                errors: probe.errors().saturating_add(probe.closed),
                failed,
            })
        })
    }

    /// Echoes at an even rate from this very process.
    fn probe(&self, noise: &Noise) -> io::Result<Measured> {
        let body = self.codec.echo(PROBE_LETTERS);
        let request = Request {
            layout: self.layout.layout(body.len()),
            route: self.layout.route(),
            body,
            expect: Expect::Echo,
            announce: true,
        };
        let mut generator = Generator::connect(&self.target, 1, request)?;
        let load = Load::Open { rate: noise.probe_rate, duration: noise.duration };
        generator.run(load, &mut |_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_never_from_less() {
        let stamp = Stamp { number: 7, sent_ns: u64::MAX - 1 };
        let body = stamp.body(64);
        assert_eq!((body.len(), Stamp::parse(&body)), (64, Some(stamp)));
        assert_eq!(stamp.body(3).len(), Stamp::LEN);
        assert_eq!(Stamp::parse(&body[..Stamp::LEN - 1]), None);
    }
}
