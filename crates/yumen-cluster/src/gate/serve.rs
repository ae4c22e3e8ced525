//! From nodes to clients: everything a gate does for them.
//!
//! Every kind of downlink is appended to its connections at once and in the order of its frames; the
//! driver writes in slices. So one client sees what one node sent in the order it was sent (W-46).

use super::{
    hall::{Faults, Front, Hall},
    sessions::Session,
    stats::{add, bump},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
};
use yumen_core::cluster::Event;
use yumen_mesh::{LinkId, Receive};
use yumen_proto::{
    conn::{CloseReason, Machine, ServerConn},
    id::{ConnId, InstanceId, UserId},
    link::{Command, Frame, Reply, Target, TargetKind, Targets, code},
};

/// Who asked, and whether it waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) link: LinkId,
    /// 0 if no answer is wanted.
    pub(super) seq: u64,
    pub(super) route: u8,
}

type Answer = (u16, Reply);
const DONE: Answer = (code::OK, Reply::Done);
const NOT_FOUND: Answer = (code::NOT_FOUND, Reply::Done);
const FAILED: Answer = (code::INTERNAL, Reply::Done);

impl Receive for Front {
    #[expect(clippy::wildcard_enum_match_arm, reason = "`serve` and `ask` do the others")]
    fn on_frame(&self, link: LinkId, frame: Frame<'_>) {
        let Frame::Request { seq, command } = frame else { return };
        let asker = Asker { link, seq, route: command.code() };
        match command {
            Command::Consumed { conn, bytes } => self.0.consume(conn, bytes),
            Command::Status { conn, route, seq, reply } => {
                bump(&self.0.stats.refused_by_nodes);
                self.0.tell(conn, (route, seq), &reply);
            }
            Command::HandBack { conn, packet } => {
                if let Some(node) = self.0.links.peer(link) {
                    self.0.came_back(&node.id, conn, packet, true);
                }
            }
            Command::Bind { conn, user } => self.0.bind(asker, conn, user),
            Command::Unbind { user } => self.0.unbind(asker, user),
            other => {
                let answer = self.0.serve(other);
                self.0.answer(asker, answer);
            }
        }
    }

    fn on_batch_end(&self) {
        self.0.driver.flush();
    }

    fn on_lost(&self, link: LinkId, _peer: &InstanceId) {
        self.0.lose(link);
    }

    fn on_unsent(&self, peer: &InstanceId, frame: Frame<'_>) {
        self.0.unsent(peer, frame);
    }
}

impl Hall {
    /// Answers, if somebody waits for it.
    pub(super) fn answer(&self, asker: Asker, (code, reply): Answer) {
        if asker.seq == 0 {
            return;
        }
        let Asker { link, seq, route } = asker;
        if self.links.send(link, Frame::Reply { seq, route, code, reply }).is_err() {
            bump(&self.stats.undeliverable);
        }
        self.links.flush();
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`ask` does the others")]
    fn serve(self: &Rc<Self>, command: Command<'_>) -> Answer {
        match command {
            Command::Push { target, disconnect, packet } => {
                let conn = self.index.borrow().conn(target);
                let pushed = match conn {
                    Some(conn) => self.push(conn, packet, disconnect),
                    None => {
                        bump(&self.stats.undeliverable);
                        false
                    }
                };
                if pushed {
                    self.went_out(1, packet);
                }
                if pushed { DONE } else { NOT_FOUND }
            }
            Command::Multicast { kind, targets, disconnect, packet } => {
                let conns = self.resolve(kind, targets);
                let unknown = targets.len().saturating_sub(conns.len());
                add(&self.stats.undeliverable, unknown);
                self.fan_out(conns, packet, disconnect)
            }
            Command::Broadcast { kind, disconnect, packet } => {
                let conns = match kind {
                    TargetKind::Conn => self.driver.ids(),
                    TargetKind::User => self.index.borrow().user_conns(),
                };
                self.fan_out(conns, packet, disconnect)
            }
            Command::Publish { channel, disconnect, packet } => {
                let conns = self.index.borrow().subscribers(channel);
                self.fan_out(conns, packet, disconnect)
            }
            Command::Subscribe { kind, targets, channel } => {
                for conn in self.resolve(kind, targets) {
                    self.subscribe(conn, channel);
                }
                DONE
            }
            Command::Unsubscribe { kind, targets, channel } => {
                for conn in self.resolve(kind, targets) {
                    self.unsubscribe(conn, channel);
                }
                DONE
            }
            Command::Disconnect { target, force } => self.disconnect(target, force),
            other => self.ask(other),
        }
    }

    /// Questions.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other commands are for nodes")]
    fn ask(self: &Rc<Self>, command: Command<'_>) -> Answer {
        match command {
            Command::GetIp { target } => match self.peer_of(target) {
                None => NOT_FOUND,
                Some(peer) => (code::OK, Reply::Ip(Some(ip_for_due(peer.ip())))),
            },
            Command::Address { target } => match self.peer_of(target) {
                None => NOT_FOUND,
                Some(peer) => (code::OK, Reply::Address(Some(peer))),
            },
            Command::Stat { kind } => {
                let total = match kind {
                    TargetKind::Conn => self.driver.len(),
                    TargetKind::User => self.index.borrow().users(),
                };
                (code::OK, Reply::Total(u64::try_from(total).unwrap_or(u64::MAX)))
            }
            Command::IsOnline { target } => {
                (code::OK, Reply::Online(self.peer_of(target).is_some()))
            }
            Command::GetState => (code::OK, Reply::State(self.record.borrow().state)),
            Command::SetState { state } => {
                if self.set_state(state) {
                    DONE
                } else {
                    FAILED
                }
            }
            _ => {
                bump(&self.stats.unserved);
                FAILED
            }
        }
    }

    fn peer_of(&self, target: Target) -> Option<std::net::SocketAddr> {
        let conn = self.index.borrow().conn(target)?;
        self.live(conn, |session| session.peer)
    }

    /// Something of a session whose connection is open and not closing.
    pub(super) fn live<T>(&self, conn: ConnId, f: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let live = |machine: &mut ServerConn, session: &mut Session| {
            (session.open && machine.closing().is_none()).then(|| f(session))
        };
        self.driver.with(conn, |machine, _, session| live(machine, session)).flatten()
    }

    fn resolve(&self, kind: TargetKind, targets: Targets<'_>) -> Vec<ConnId> {
        let index = self.index.borrow();
        targets.iter().filter_map(|number| index.target(kind, number)).collect()
    }

    fn push(&self, conn: ConnId, packet: &[u8], disconnect: bool) -> bool {
        let queued = self.driver.append(conn, packet);
        if !queued {
            bump(&self.stats.undeliverable);
        } else if disconnect {
            self.driver.close(conn, CloseReason::ByGame, "");
        }
        queued
    }

    /// Counts a packet that was queued for so many clients.
    fn went_out(&self, times: usize, packet: &[u8]) {
        let table = self.table.borrow();
        let route = self.plan.route_of(packet).and_then(|id| table.route(id));
        let traffic = route.map_or(&self.routes.other, |route| &route.traffic);
        traffic.went_out(times, packet.len());
    }

    /// One packet to many: encoded once by its sender, appended to each, written in slices.
    fn fan_out(&self, conns: Vec<ConnId>, packet: &[u8], disconnect: bool) -> Answer {
        let matched = conns.len();
        let reached = conns.into_iter().filter(|conn| self.push(*conn, packet, disconnect)).count();
        self.went_out(reached, packet);
        let total = u64::try_from(reached).unwrap_or(u64::MAX);
        let code = if reached == 0 && matched > 0 { code::INTERNAL } else { code::OK };
        (code, Reply::Total(total))
    }

    fn subscribe(&self, conn: ConnId, channel: &str) {
        if self.live(conn, |_| ()).is_none() {
            return;
        }
        let (name, fresh) = self.index.borrow_mut().subscribe(channel, conn);
        if fresh {
            self.live(conn, |session| {
                session.more.get_or_insert_default().channels.push(name);
            });
        }
    }

    fn unsubscribe(&self, conn: ConnId, channel: &str) {
        self.index.borrow_mut().unsubscribe(channel, conn);
        self.driver.with(conn, |_, _, session| {
            if let Some(more) = &mut session.more {
                more.channels.retain(|known| **known != *channel);
            }
        });
    }

    fn disconnect(&self, target: Target, force: bool) -> Answer {
        let Some(conn) = self.index.borrow().conn(target) else { return NOT_FOUND };
        if self.live(conn, |_| ()).is_none() {
            return NOT_FOUND;
        }
        if force {
            self.driver.close_now(conn, CloseReason::ByGame);
        } else {
            self.driver.close(conn, CloseReason::ByGame, "");
        }
        DONE
    }

    /// A connection has ended: it leaves users and channels, and the nodes are told last, after
    /// everything it sent (W-42).
    pub(super) fn leave(self: &Rc<Self>, conn: ConnId, session: Session, reason: CloseReason) {
        self.stats.close(reason);
        self.left.notify_one();
        let left = u64::from(session.in_flight);
        self.in_flight.set(self.in_flight.get().saturating_sub(left));
        let mut index = self.index.borrow_mut();
        let user = session.login.as_ref().map(|login| (login.user, login.epoch));
        if let Some((user, _)) = user {
            index.clear_user(user, conn);
        }
        for channel in session.more.iter().flat_map(|more| &more.channels) {
            index.unsubscribe(channel, conn);
        }
        drop(index);
        if let Some((user, epoch)) = user {
            self.release(user, epoch);
        }
        if session.open {
            self.trigger(Event::Disconnect, conn, user.map(|(user, _)| user));
        }
    }

    /// Takes the user's place at this gate back, unless somebody has claimed it since.
    pub(super) fn release(self: &Rc<Self>, user: UserId, epoch: yumen_proto::id::Epoch) {
        let this = Rc::clone(self);
        let (locator, place) = (Arc::clone(&self.locator), self.me.clone());
        self.env.spawn.local(async move {
            let request = async move { locator.release(user, &place, epoch).await };
            if let Ok(Err(error)) = this.backend.run(request).await {
                let (calm, now) = (&this.faults.release, this.env.clock.now().mono);
                Faults::tell(calm, now, &error, "users' places could not be released");
            }
        });
    }
}

/// A client's address as due tells it: what is no IPv4 is 0.0.0.0. One of ours asks for the whole address.
fn ip_for_due(ip: IpAddr) -> Ipv4Addr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_is_told_0_0_0_0_of_a_client_with_ipv6() {
        for (ip, expected) in [
            ("2001:db8::7", "0.0.0.0"),
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(ip_for_due(ip.parse().unwrap()).to_string(), expected);
        }
    }
}
