//! The load generator: drives any gate that speaks due's client packets, and checks every reply.
//!
//! One thread and one epoll loop, so that its own cost is small and can be told from the server's.
//! A request that is never answered is counted as lost; it never hangs the run. In an open loop a
//! latency counts from the moment the request was *meant* to be sent, so a server that stalls
//! cannot hide it by holding the generator back.
mod body;
mod conn;
mod flight;
mod run;
mod target;
#[cfg(test)]
mod tests;
mod ws;

pub use body::BodyCodec;
pub use target::{Target, TargetError};

use crate::clock::Clock;
use crate::poll::{Interest, Poll};
use crate::stats::Latencies;
use conn::Conn;
use std::io;
use std::num::NonZeroU32;
use std::time::Duration;
use yumen::proto::{Layout, RouteId};

/// How many threads dial at once. More would overrun a listener's backlog.
const DIALLERS: usize = 16;

/// What is sent, and what must come back.
#[derive(Debug, Clone)]
pub struct Request {
    /// Layout of the packets, the same as the server's.
    pub layout: Layout,
    /// The route of every request, and of every reply.
    pub route: RouteId,
    /// The body of every request.
    pub body: Vec<u8>,
    /// What a reply's body has to be.
    pub expect: Expect,
    /// Whether each connection announces itself first, so that a server of ours says why it
    /// refuses a request. Others take the announcement for a heartbeat.
    pub announce: bool,
}

/// What a reply's body has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// As long as the request's; every 64th is compared byte by byte.
    Echo,
    /// Anything.
    Any,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Closed loop: every connection keeps `depth` requests unanswered until `messages` are sent.
    Closed {
        /// Requests outstanding per connection, at least 1.
        depth: u32,
        /// Requests in total.
        messages: u64,
    },
    /// Closed loop for a time: every connection keeps `depth` requests unanswered for `duration`.
    Timed {
        /// Requests outstanding per connection, at least 1.
        depth: u32,
        /// How long requests are sent; replies are then still awaited.
        duration: Duration,
    },
    /// Open loop: `rate` requests per second in all, whatever the server does.
    Open {
        /// Requests per second, over all connections.
        rate: NonZeroU32,
        /// How long requests are sent; replies are then still awaited.
        duration: Duration,
    },
    /// No requests: connections only stay, for `duration`.
    Idle {
        /// How long.
        duration: Duration,
    },
}

/// A moment of a run, for a line of progress.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Time since the first request.
    pub elapsed: Duration,
    /// Requests sent so far.
    pub sent: u64,
    /// Replies received so far.
    pub received: u64,
    /// Latencies so far.
    pub latencies: &'a Latencies,
}

/// What one run counted.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Requests handed to a connection.
    pub sent: u64,
    /// First replies to a request, right or wrong, without refusals.
    pub received: u64,
    /// Requests without any reply at the end.
    pub lost: u64,
    /// Replies to no request that waited: second ones, late ones.
    pub duplicated: u64,
    /// Requests answered with a status instead of a reply.
    pub refused: u64,
    /// Replies with another route, length or content than asked for, and packets cut short.
    pub wrong: u64,
    /// Messages that came without a request: those with the sequence number 0, where the layout has
    /// sequence numbers.
    pub pushed: u64,
    /// Requests that were due but not sent: no connection, or one that takes no more.
    pub unsent: u64,
    /// Connections that ended during the run.
    pub closed: u64,
    /// The first reason that the server gave for closing a connection.
    pub close_reason: Option<String>,
    /// The body of the first reply, for a person to look at.
    pub first_reply: Option<Vec<u8>>,
    /// From the send (closed loop) or the intended send (open loop) to the reply.
    pub latencies: Latencies,
    /// From the first send to the last reply.
    pub elapsed: Duration,
    /// CPU time of the generator's thread.
    pub cpu: Duration,
}

impl Measured {
    /// Requests that still wait for a reply.
    fn waiting(&self) -> u64 {
        let ended = self.received.saturating_add(self.lost).saturating_add(self.refused);
        self.sent.saturating_sub(ended)
    }

    /// Requests that did not end with the right reply, and replies nobody asked for.
    pub fn errors(&self) -> u64 {
        [self.lost, self.duplicated, self.refused, self.wrong, self.unsent]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// Connections to one server, ready to be loaded any number of times.
///
/// While a load runs, a connection that has nothing to send for some seconds sends a heartbeat, so
/// that no server takes it for dead.
#[derive(Debug)]
pub struct Generator {
    clock: Clock,
    poll: Poll,
    conns: Vec<Conn>,
    request: Request,
    scratch: Vec<u8>,
    wait_max: Duration,
    /// Nothing is read any more.
    deaf: bool,
    /// How often some connections are looked at for whether they need a heartbeat.
    beat_every: Duration,
}

impl Generator {
    /// Opens `connections` connections to `target`.
    ///
    /// # Errors
    /// The first connection that cannot be opened. Each may take five seconds.
    pub fn connect(target: &Target, connections: usize, request: Request) -> io::Result<Self> {
        let share = connections.div_ceil(DIALLERS).max(1);
        let dialled = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..connections)
                .step_by(share)
                .map(|first| {
                    let share = share.min(connections.saturating_sub(first));
                    let request = &request;
                    scope.spawn(move || {
                        (0..share).map(|_| Conn::dial(target, request)).collect::<Vec<_>>()
                    })
                })
                .collect();
            let results = threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default());
            results.collect::<io::Result<Vec<_>>>()
        })?;
        let poll = Poll::new()?;
        for (token, conn) in (0_u64..).zip(&dialled) {
            poll.add(conn.socket(), token, Interest::Read)?;
        }
        let wait_max = Duration::from_secs(5);
        Ok(Self {
            clock: Clock::start(),
            poll,
            conns: dialled,
            request,
            scratch: Vec::new(),
            wait_max,
            deaf: false,
            beat_every: run::BEAT_EVERY,
        })
    }

    /// Longest silence of the whole server before unanswered requests count as lost. Default: 5 s.
    pub fn wait_max(&mut self, wait_max: Duration) {
        self.wait_max = wait_max;
    }

    /// Applies `load` and waits for the replies. `progress` is called once a second.
    ///
    /// # Errors
    /// Those of the loop itself. A lost connection is counted instead.
    pub fn run(
        &mut self,
        load: Load,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> io::Result<Measured> {
        run::run(self, load, run::Hooks { progress, pushed: &mut |_| () })
    }

    /// Stays for `duration` without a request. `pushed` is called with the body of every message
    /// that comes without one.
    ///
    /// # Errors
    /// As [`Generator::run`].
    pub fn listen(
        &mut self,
        duration: Duration,
        pushed: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Measured> {
        run::run(self, Load::Idle { duration }, run::Hooks { progress: &mut |_| (), pushed })
    }

    /// From now on every connection sends and never reads, and its system accepts as little as it
    /// may: what a client does that hangs. Later loads wait for no reply.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn stop_reading(&mut self) -> io::Result<()> {
        self.deaf = true;
        for (token, conn) in (0_u64..).zip(&mut self.conns) {
            conn.stop_reading(&self.poll, token)?;
        }
        Ok(())
    }
}
