//! Messages that come back: from a node that does not have the user, or from a lane that has ended
//! before they were sent. Each is sent once more, to where the locator says the user is now.
//!
//! Nothing overtakes: a session with such messages is not read until they are on their way, and they
//! wait until what the session has in flight is done or has come back too, at most for a second.

use super::{
    forward::{NO_ANSWER, NO_NODE, NODE_GONE, NOT_BOUND, Refusal, UNROUTABLE},
    hall::{Hall, WAIT_MAX},
    sessions::{Bound, Wait},
    stats::bump,
    table::Member,
};
use std::{rc::Rc, time::Duration};
use yumen_core::{cluster::Event, status::Code};
use yumen_proto::{
    id::{ConnId, InstanceId},
    link::{Command, Frame},
    packet::{Data, Packet},
};

/// How often a session is looked at whose messages are still in flight.
const TICK: Duration = Duration::from_millis(2);

/// A message that came back.
#[derive(Debug)]
pub(super) struct Back {
    from: InstanceId,
    packet: Box<[u8]>,
    /// Its node said that it does not have the user; else it was never sent.
    refused: bool,
}

impl Hall {
    /// A frame for `peer` was never sent, and never will be.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nobody waits for anything else")]
    pub(super) fn unsent(self: &Rc<Self>, peer: &InstanceId, frame: Frame<'_>) {
        let Frame::Request { command, .. } = frame else { return };
        match command {
            Command::Deliver { conn, packet, .. } => self.came_back(peer, conn, packet, false),
            Command::Trigger { event, .. } => self.lost_event(peer, event),
            _ => {}
        }
    }

    /// A node will never hear of an event (W-03).
    fn lost_event(&self, node: &InstanceId, event: Event) {
        bump(&self.stats.events_lost);
        if let Some(untold) = self.faults.events.tells(self.env.clock.now().mono) {
            let untold = (untold > 0).then_some(untold);
            tracing::warn!(%node, ?event, untold, "an event could not be sent: the node is gone");
        }
    }

    /// A message of a session has come back from a node.
    pub(super) fn came_back(
        self: &Rc<Self>,
        from: &InstanceId,
        conn: ConnId,
        packet: &[u8],
        refused: bool,
    ) {
        self.take_back(conn, u32::try_from(packet.len()).unwrap_or(u32::MAX));
        let back = Back { from: from.clone(), packet: packet.into(), refused };
        if self.is_overtaken(conn, &back) {
            if let Some(data) = self.data_of(&back) {
                self.refuse(conn, &data, if refused { NOT_BOUND } else { NODE_GONE });
                self.driver.flush();
            }
            return;
        }
        let first = self.driver.with(conn, |_, _, session| {
            session.more.get_or_insert_default().back.push_back(back);
            std::mem::replace(&mut session.wait, Wait::Again) != Wait::Again
        });
        if first == Some(true) {
            let this = Rc::clone(self);
            self.env.spawn.local(async move { this.send_all_again(conn).await });
        }
    }

    /// Whether later messages of the session may have gone to another node already: what comes back
    /// then is too late.
    fn is_overtaken(&self, conn: ConnId, back: &Back) -> bool {
        let table = Rc::clone(&self.table.borrow());
        let route = self.plan.route_of(&back.packet).and_then(|id| table.route(id));
        let Some(route) = route.filter(|route| route.rules.stateful) else { return false };
        let elsewhere = self.driver.with(conn, |_, _, session| {
            let nodes = session.login.as_ref().map_or(&[][..], |login| &login.nodes);
            let other = |bound: &Bound| matches!(bound, Bound::To(id) if *id != back.from);
            // Also one that waits for messages that come back: where they waited too long before, later
            // ones went on, and the user has moved once more since.
            session.has_left(&back.from)
                || session.wait != Wait::Again
                    && nodes.iter().any(|(group, bound)| *group == route.group && other(bound))
        });
        elsewhere == Some(true)
    }

    /// The user has moved while messages of its session are in flight: those that come back go first.
    pub(super) fn wait_for_back(self: &Rc<Self>, conn: ConnId) {
        let waits = self.driver.with(conn, |_, _, session| {
            let waits = session.in_flight > 0 && session.wait == Wait::No;
            if waits {
                session.wait = Wait::Again;
            }
            waits
        });
        if waits == Some(true) {
            let this = Rc::clone(self);
            self.env.spawn.local(async move { this.send_all_again(conn).await });
        }
    }

    async fn send_all_again(self: &Rc<Self>, conn: ConnId) {
        let began = self.env.clock.now().mono;
        let in_flight = || self.driver.with(conn, |_, _, session| session.in_flight);
        while in_flight().is_some_and(|bytes| bytes > 0) {
            if self.env.clock.now().mono.saturating_duration_since(began) >= WAIT_MAX {
                break;
            }
            self.env.clock.sleep(TICK).await;
        }
        loop {
            let next = self.driver.with(conn, |_, _, session| {
                session.more.as_mut().and_then(|more| more.back.pop_front())
            });
            let Some(back) = next.flatten() else { break };
            let sent = self.send_again(conn, &back).await;
            if let (Err(refusal), Some(data)) = (sent, self.data_of(&back)) {
                self.refuse(conn, &data, refusal);
            }
        }
        self.driver.flush();
        self.driver.with(conn, |_, _, session| session.wait = Wait::No);
        self.driver.resume(conn);
    }

    fn data_of<'a>(&self, back: &'a Back) -> Option<Data<'a>> {
        match self.plan.listens.first()?.settings.layout.decode_message(&back.packet) {
            Ok(Packet::Data(data)) => Some(data),
            Ok(_) | Err(_) => None,
        }
    }

    async fn send_again(self: &Rc<Self>, conn: ConnId, back: &Back) -> Result<(), Refusal> {
        let Some(data) = self.data_of(back) else { return Ok(()) };
        let gone = if back.refused { NOT_BOUND } else { NODE_GONE };
        let table = Rc::clone(&self.table.borrow());
        let route = table.route(data.route).ok_or(UNROUTABLE)?;
        let user = self.driver.with(conn, |_, _, session| session.user()).flatten();
        let member = match user.filter(|_| route.rules.stateful) {
            Some(user) => {
                let group = &route.group;
                let known = |bound: Bound| match bound {
                    Bound::To(id) if id != back.from => Some(id),
                    Bound::To(_) | Bound::Unknown | Bound::Nowhere | Bound::Failed => None,
                };
                let told = self.driver.with(conn, |_, _, session| session.bound(group));
                let id = match told.and_then(known) {
                    Some(id) => id,
                    None => {
                        let found = self.find_node(conn, user, group).await;
                        self.driver.with(conn, |_, _, session| {
                            if session.user() == Some(user) {
                                session.set_bound(group, found.clone());
                            }
                        });
                        match found {
                            Bound::To(id) if id == back.from => return Err(gone),
                            Bound::To(id) => id,
                            Bound::Nowhere => return Err(NOT_BOUND),
                            Bound::Unknown | Bound::Failed => return Err(NO_ANSWER),
                        }
                    }
                };
                table.bound(route, &id).ok_or(NODE_GONE)?
            }
            None => {
                let how = (self.plan.dispatch, self.env.dice.roll());
                let member = table.pick_for(route, user, how).ok_or(NO_NODE)?;
                if member.id == back.from {
                    return Err(gone);
                }
                member
            }
        };
        bump(&self.stats.sent_again);
        self.deliver_again(member, conn, &data).await
    }

    /// Sends, and waits a while if the lane is full.
    async fn deliver_again(
        self: &Rc<Self>,
        member: &Member,
        conn: ConnId,
        data: &Data<'_>,
    ) -> Result<(), Refusal> {
        let bytes = u32::try_from(data.raw.len()).unwrap_or(u32::MAX);
        let began = self.env.clock.now().mono;
        loop {
            let user = self.driver.with(conn, |_, _, session| {
                session.in_flight = session.in_flight.saturating_add(bytes);
                session.user()
            });
            let Some(user) = user else { return Ok(()) }; // nobody waits for it any more
            self.in_flight.set(self.in_flight.get().saturating_add(u64::from(bytes)));
            let sent = self.deliver(member, (conn, user), data);
            self.links.flush();
            let Err(refusal) = sent else { return Ok(()) };
            self.take_back(conn, bytes);
            let late = self.env.clock.now().mono.saturating_duration_since(began) >= WAIT_MAX;
            if refusal.0 != Code::BUSY || late {
                return Err(refusal);
            }
            self.env.clock.sleep(TICK).await;
        }
    }
}
