//! A gate instance in numbers, for the metrics: who is connected in which state, what is queued.
//!
//! Counted when somebody asks, over slices of the sessions with others in between; nothing is kept
//! per message for it.

use super::{hall::Hall, sessions::Session, stats::GateStats, traffic::Carried};
use crate::metrics::Queue;
use std::cell::Cell;
use yumen_mesh::Load;
use yumen_net::histogram::Times;
use yumen_proto::{
    conn::{ConnState, ServerConn},
    id::RouteId,
};

/// Sessions looked at before others get a turn.
const SLICE: usize = 1024;

/// One gate instance, as it was when asked.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) stats: GateStats,
    pub(crate) listeners: Vec<Listened>,
    /// By route; `None` is all that nobody registered.
    pub(crate) routes: Vec<(Option<RouteId>, Carried)>,
    /// Bytes queued for clients.
    pub(crate) backlog: Queue,
    /// Bytes given to nodes that they have not finished.
    pub(crate) in_flight: Queue,
    pub(crate) links: Load,
    pub(crate) socket: Socket,
    pub(crate) sweeps: Times,
}

/// What one listener has let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listened {
    pub(crate) transport: &'static str,
    pub(crate) accepted: u64,
    pub(crate) opening: u64,
    pub(crate) active: u64,
    pub(crate) pending: u64,
    pub(crate) closing: u64,
}

/// Calls to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) blocked: u64,
    /// Times that the thread had not run, and deadlines were moved.
    pub(crate) pauses: u64,
}

impl Listened {
    fn add(&mut self, machine: &ServerConn, session: &Session) {
        let state = match machine.state() {
            ConnState::Closing => &mut self.closing,
            _ if !session.open => &mut self.opening,
            ConnState::Pending => &mut self.pending,
            ConnState::Active => &mut self.active,
        };
        *state = state.saturating_add(1);
    }
}

impl Hall {
    /// What the instance has counted, and what it holds.
    pub(super) fn read_stats(&self) -> GateStats {
        let mut stats = self.stats.read();
        stats.connections = wide(self.driver.len());
        stats.waiting = wide(self.waiting.borrow().len());
        stats.users = wide(self.index.borrow().users());
        let driver = &self.driver.stats;
        stats.packets_skipped = driver.skipped.get();
        (stats.bytes_in, stats.bytes_out) = (driver.bytes_in.get(), driver.bytes_out.get());
        for (_, carried) in self.routes.read() {
            stats.messages_in = stats.messages_in.saturating_add(carried.messages_in);
            stats.messages_out = stats.messages_out.saturating_add(carried.messages_out);
        }
        stats
    }

    /// Everything the metrics show of this instance.
    pub(super) async fn census(&self) -> Box<Census> {
        let mut listeners = self.listened();
        let mut backlog = Queue { max: self.backlog_max(), ..Queue::default() };
        let mut in_flight = Queue { max: u64::from(self.plan.in_flight_max), ..Queue::default() };
        let mut slot = Some(0);
        while let Some(from) = slot {
            slot = self.driver.survey(from, SLICE, |machine, session, queued| {
                backlog.add(wide(queued));
                in_flight.add(u64::from(session.in_flight));
                let listener = listeners.get_mut(usize::from(session.listener));
                listener.into_iter().for_each(|listener| listener.add(machine, session));
            });
            if slot.is_some() {
                tokio::task::yield_now().await;
            }
        }
        let driver = &self.driver.stats;
        let socket = Socket {
            reads: driver.reads.get(),
            writes: driver.writes.get(),
            blocked: driver.blocked.get(),
            pauses: driver.pauses.get(),
        };
        Box::new(Census {
            stats: self.read_stats(),
            listeners,
            routes: self.routes.read(),
            backlog,
            in_flight,
            links: self.links.load(),
            socket,
            sweeps: driver.sweeps.read(),
        })
    }

    fn backlog_max(&self) -> u64 {
        let listens = self.plan.listens.iter();
        listens.map(|listen| wide(listen.settings.backlog_max)).max().unwrap_or_default()
    }

    fn listened(&self) -> Vec<Listened> {
        let accepted = self.routes.accepted.iter().map(Cell::get);
        let listens = self.plan.listens.iter().zip(accepted);
        let listened = listens.map(|(listen, accepted)| Listened {
            transport: listen.transport.name(),
            accepted,
            ..Listened::default()
        });
        listened.collect()
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
