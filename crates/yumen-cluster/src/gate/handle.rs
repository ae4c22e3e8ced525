//! A gate from outside: for operators, demos and tests.
//!
//! Questions travel through a bounded inbox and are answered between two batches, so looking at a gate
//! never stops it. A gate that has ended answers nothing.

use super::{
    census::Census,
    find::{Found, Part},
    hall::Hall,
    sessions::Session,
    stats::GateStats,
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use yumen_net::acceptor::{Counts, ListenerCounts};
use yumen_proto::{
    conn::{ConnState, ServerConn},
    id::{ConnId, InstanceId, UserId},
};

/// Questions that may wait at one instance.
pub(super) const INBOX_LEN: usize = 64;

/// One session, as it was when asked.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Which gate instance holds it.
    pub gate: InstanceId,
    /// Its connection.
    pub conn: ConnId,
    /// Who is logged in.
    pub user: Option<UserId>,
    /// Where the client is.
    pub peer: SocketAddr,
    /// Which of the gate's listeners it came through, from 0.
    pub listener: u16,
    /// Whether it is heard from.
    pub state: ConnState,
    /// How long ago it connected.
    pub connected: Duration,
    /// How long ago its user logged in.
    pub logged_in: Option<Duration>,
    /// How long ago its last whole packet came.
    pub last_packet: Duration,
    /// The channels it is subscribed to.
    pub channels: Vec<String>,
    /// Bytes given to nodes that they have not finished.
    pub in_flight: u32,
    /// Bytes queued for the client.
    pub backlog: usize,
}

/// What one listener of a gate has counted, since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerStats {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections accepted and handed to an instance.
    pub accepted: u64,
    /// Connections refused because the listener had as many as it may have.
    pub refused_listener: u64,
    /// Connections refused because their address had as many as it may have.
    pub refused_address: u64,
    /// Connections of load balancers refused because they began with no sound PROXY header in time.
    pub refused_header: u64,
    /// Errors of accepting: out of descriptors, mostly.
    pub accept_errors: u64,
}

#[derive(Debug)]
pub(super) enum Ask {
    Stats(oneshot::Sender<GateStats>),
    Census(oneshot::Sender<Box<Census>>),
    Sessions { max: usize, reply: oneshot::Sender<Vec<SessionInfo>> },
    Find { part: Part, reply: oneshot::Sender<Found> },
}

impl Ask {
    pub(super) async fn answer(self, hall: &Hall) {
        match self {
            Self::Stats(reply) => {
                let _nobody_waits = reply.send(hall.read_stats());
            }
            Self::Census(reply) if reply.is_closed() => {} // it came too late
            Self::Census(reply) => {
                let _nobody_waits = reply.send(hall.census().await);
            }
            Self::Sessions { max, reply } => {
                let all = hall.driver.ids();
                let some = all.into_iter().take(max).filter_map(|conn| describe(hall, conn));
                let _nobody_waits = reply.send(some.collect());
            }
            Self::Find { part, reply } => {
                let _nobody_waits = reply.send(part.answer(hall));
            }
        }
    }
}

pub(super) fn describe(hall: &Hall, conn: ConnId) -> Option<SessionInfo> {
    let now = hall.env.clock.now().mono;
    let ago = |at: Instant| now.saturating_duration_since(at);
    let backlog = hall.driver.backlog(conn)?;
    let info = |machine: &mut ServerConn, session: &mut Session| SessionInfo {
        gate: hall.id().clone(),
        conn,
        user: session.user(),
        peer: session.peer,
        listener: session.listener,
        state: machine.state(),
        connected: ago(session.since),
        logged_in: session.login.as_ref().map(|login| ago(login.since)),
        last_packet: ago(machine.last_packet()),
        channels: session
            .more
            .iter()
            .flat_map(|more| &more.channels)
            .map(|channel| channel.to_string())
            .collect(),
        in_flight: session.in_flight,
        backlog,
    };
    hall.driver.with(conn, |machine, _, session| info(machine, session))
}

/// Looks at the instances of a gate. Cheap to clone; `Send + Sync`.
#[derive(Clone, Debug)]
pub struct GateHandle {
    pub(super) name: Arc<str>,
    pub(super) ids: Vec<InstanceId>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) inboxes: Vec<mpsc::Sender<Ask>>,
    pub(super) counts: Arc<Counts>,
}

impl GateHandle {
    /// Where clients connect, in the order of the listeners, with the ports the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The gate's name, which other gates may share.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its instances, in their order.
    pub fn ids(&self) -> &[InstanceId] {
        &self.ids
    }

    /// Asks each of the instances that are there for its census, and waits for none: `None` if it
    /// has no room for the question, or has ended.
    pub(crate) fn ask_census(
        &self,
        is_there: impl Fn(&InstanceId) -> bool,
    ) -> Vec<(&InstanceId, Option<oneshot::Receiver<Box<Census>>>)> {
        let ask = |inbox: &mpsc::Sender<Ask>| {
            let (reply, answer) = oneshot::channel();
            inbox.try_send(Ask::Census(reply)).ok().map(|()| answer)
        };
        let there = self.ids.iter().zip(&self.inboxes).filter(|(id, _)| is_there(id));
        there.map(|(id, inbox)| (id, ask(inbox))).collect()
    }

    /// What happened at each listener, in their order.
    pub fn listeners(&self) -> Vec<ListenerStats> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let one = |(address, counts): (&SocketAddr, &ListenerCounts)| ListenerStats {
            address: *address,
            accepted: read(&counts.accepted),
            refused_listener: read(&counts.refused_total),
            refused_address: read(&counts.refused_address),
            refused_header: read(&counts.refused_header),
            accept_errors: read(&counts.errors),
        };
        self.addresses.iter().zip(self.counts.listeners()).map(one).collect()
    }

    /// What all instances together have counted. Instances that have ended are missing.
    pub async fn stats(&self) -> GateStats {
        let mut sum = GateStats::default();
        for listener in self.listeners() {
            sum.refused_listener = sum.refused_listener.saturating_add(listener.refused_listener);
            sum.refused_address = sum.refused_address.saturating_add(listener.refused_address);
            sum.refused_header = sum.refused_header.saturating_add(listener.refused_header);
            sum.accept_errors = sum.accept_errors.saturating_add(listener.accept_errors);
        }
        let beyond = sum.refused_listener.saturating_add(sum.refused_address);
        sum.refused = beyond.saturating_add(sum.refused_header);
        for inbox in &self.inboxes {
            let (reply, answer) = oneshot::channel();
            if inbox.send(Ask::Stats(reply)).await.is_ok()
                && let Ok(stats) = answer.await
            {
                sum.add(&stats);
            }
        }
        sum
    }

    /// Up to `max` sessions of each instance.
    pub async fn sessions(&self, max: usize) -> Vec<SessionInfo> {
        let mut all = Vec::new();
        for inbox in &self.inboxes {
            let (reply, answer) = oneshot::channel();
            if inbox.send(Ask::Sessions { max, reply }).await.is_ok()
                && let Ok(sessions) = answer.await
            {
                all.extend(sessions);
            }
        }
        all
    }
}
