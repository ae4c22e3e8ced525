//! Lets others in, and settles which of two connections stays.
//!
//! Of two of ours the one with the smaller id decides. While it dials it refuses the other's dial,
//! unless its own gets nowhere; the other always takes what it is offered. The dialler sends no
//! command before the server has said that it keeps the connection, so nothing is lost by a refusal.

use super::{
    Conn, Far, Whose,
    pair::{Pair, Stage},
    stats::Reason,
};
use crate::links::Links;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use yumen_net::{driver::Transport, env::Listener, socket::Socket};
use yumen_proto::{
    conn::CloseReason,
    id::{ConnId, InstanceId},
    link::{Farewell, Kind, Lane, LinkConn, LinkFeatures, LinkMark, LinkPeer},
};

/// Pauses after an error of `accept`: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// An own dial that has not come through for so long gives way to the peer's.
const GETS_NOWHERE: Duration = Duration::from_millis(500);

/// What becomes of a connection that has arrived.
enum Place {
    /// It belongs to this link.
    Kept(Rc<Pair>),
    /// This side's dial is kept.
    Refused,
    /// Another process has that id.
    Taken,
    /// The old connections have to end first.
    Later(Rc<Pair>),
}

impl Far {
    /// Accepts for ever.
    pub(super) async fn listen(self: Rc<Self>, mut listener: Box<dyn Listener>) {
        let mut pause = PAUSE_MIN;
        loop {
            match listener.accept().await {
                Ok((socket, from)) => {
                    pause = PAUSE_MIN;
                    self.let_in(socket, from);
                }
                Err(error) => {
                    if !is_passing(&error) {
                        self.env.clock.sleep(pause).await;
                        pause = pause.saturating_mul(2).min(PAUSE_MAX);
                    }
                }
            }
        }
    }

    fn let_in(self: &Rc<Self>, socket: Socket, from: SocketAddr) {
        if self.accepted.get() >= self.tuning.accepted_max {
            return self.refused(Reason::TooMany, &from);
        }
        let provable = !self.settings.secrets.is_empty();
        if !provable && !self.allow.admits(from.ip()) {
            return self.refused(Reason::NotAllowed, &from);
        }
        let socket = self.guard.accept(socket, self.now().mono);
        let mark = self.mark(0, 0);
        let machine = LinkConn::accept(self.settings.clone(), self.now(), mark, self.nonce());
        let conn = Conn { from: Some(from.ip()), told: mark.life, whose: Whose::Nobody };
        let id = self.driver.accept(socket, Transport::Stream, machine, conn);
        self.accepted.set(self.accepted.get().saturating_add(1));
        self.half_open.borrow_mut().insert(id);
        self.make_room(from);
    }

    /// Ends the oldest connection that has not introduced itself, if there are too many of them.
    fn make_room(&self, from: SocketAddr) {
        while self.half_open.borrow().len() > self.tuning.half_open_max {
            let Some(oldest) = self.half_open.borrow_mut().pop_first() else { return };
            // One of due's may say who it is and nothing more for long.
            let trusted = self.driver.with(oldest, |machine, _, _| machine.is_trusted());
            if trusted == Some(false) {
                self.refused(Reason::HalfOpen, &from);
                self.driver.close_now(oldest, CloseReason::Done);
            }
        }
    }

    /// An accepted connection has ended.
    pub(super) fn left(&self, conn: ConnId, data: &Conn, reason: CloseReason) {
        self.accepted.set(self.accepted.get().saturating_sub(1));
        self.half_open.borrow_mut().remove(&conn);
        let known = !matches!(data.whose, Whose::Nobody);
        if let (CloseReason::Link(_) | CloseReason::Handshake(_), _)
        | (CloseReason::Idle | CloseReason::Stalled, false) = (reason, known)
        {
            match data.from {
                Some(from) => self.refused(Reason::of(reason), &from),
                None => self.stats.count(Reason::of(reason)),
            }
        }
    }

    /// Somebody has introduced itself on an accepted connection.
    pub(super) fn arrived(self: &Rc<Self>, links: &Rc<Links>, conn: ConnId) {
        let known = self
            .driver
            .with(conn, |machine, _, conn| (machine.peer().clone(), machine.lane(), conn.from));
        let Some((peer, lane, from)) = known else { return };
        self.half_open.borrow_mut().remove(&conn);
        let id = InstanceId::from(&*peer.id);
        if let Err((reason, farewell)) = self.admits(links, (conn, &id), &peer, from) {
            return self.refuse((conn, &id), reason, farewell);
        }
        if !peer.ours {
            if let Err(reason) = self.due_arrived(links, conn, (&id, &peer)) {
                self.refuse((conn, &id), reason, Farewell::IdTaken);
            }
            return;
        }
        if let Some(due) = links.due_of(&id) {
            links.drop_link(due.link); // one of ours has taken its place
        }
        match self.place(links, (&id, peer.kind), peer.mark) {
            Place::Kept(pair) => self.attach(&pair, (conn, lane), &peer),
            Place::Refused => self.refuse((conn, &id), Reason::Duplicate, Farewell::Duplicate),
            Place::Taken => self.refuse((conn, &id), Reason::IdTaken, Farewell::IdTaken),
            Place::Later(pair) => pair.late.borrow_mut().push(conn),
        }
    }

    /// Whether a peer may be linked at all.
    fn admits(
        &self,
        links: &Links,
        (conn, id): (ConnId, &InstanceId),
        peer: &LinkPeer,
        from: Option<IpAddr>,
    ) -> Result<(), (Reason, Farewell)> {
        let proved = peer.features.has(LinkFeatures::AUTHENTICATION);
        if !proved && from.is_some_and(|from| !self.allow.admits(from)) {
            return Err((Reason::NotAllowed, Farewell::Leaving));
        }
        let vouches = |socket: &Socket| self.guard.vouches(socket, id.as_str());
        if self.driver.socket(conn, vouches) != Some(true) {
            return Err((Reason::WrongCertificate, Farewell::Leaving));
        }
        if links.is_closed() {
            return Err((Reason::Leaving, Farewell::Leaving));
        }
        if peer.ours && (peer.mark.run == 0 || peer.mark.dial == 0) {
            return Err((Reason::BadHandshake, Farewell::Leaving));
        }
        if id == links.me() {
            return Err((Reason::IdTaken, Farewell::IdTaken));
        }
        if links.is_over(id, peer.mark.life) {
            return Err((Reason::LifeOver, Farewell::LifeOver));
        }
        Ok(())
    }

    fn refuse(&self, (conn, who): (ConnId, &InstanceId), reason: Reason, farewell: Farewell) {
        self.refused(reason, who);
        self.driver.with(conn, |machine, out, _| machine.farewell(farewell, out));
        self.driver.close(conn, CloseReason::Done, "");
    }

    /// Which link a connection of a peer's dial belongs to.
    fn place(
        self: &Rc<Self>,
        links: &Rc<Links>,
        (id, kind): (&InstanceId, Kind),
        mark: LinkMark,
    ) -> Place {
        let Some(pair) = links.pair_of(id) else {
            return Place::Kept(self.settle(links, (id, kind)));
        };
        let (mine, decides) = (pair.mine.get(), links.me() < id);
        let kept = match pair.stage() {
            // Two live processes under one id: the one that began its life later is believed.
            _ if pair.is_other(mark.run) && is_earlier(mark.life, pair.their_life.get()) => {
                return Place::Taken;
            }
            _ if pair.is_other(mark.run) => false,
            Stage::Dialling if decides && !self.gets_nowhere(&pair) => return Place::Refused,
            Stage::Dialling => {
                self.cut(&pair);
                true
            }
            Stage::Dormant => true,
            Stage::Parting => return Place::Later(pair),
            Stage::Joining | Stage::Open if !mine && pair.dial.get() == mark.dial => true,
            // It has dialled before it saw this side's dial come through: the two have crossed.
            Stage::Open if mine && decides && mark.last != pair.dial.get() => {
                return Place::Refused;
            }
            // It has lost what this side still has.
            Stage::Joining | Stage::Open | Stage::Over => false,
        };
        if kept {
            return Place::Kept(pair);
        }
        self.lose(links, &pair);
        Place::Kept(self.settle(links, (id, kind)))
    }

    /// Whether this side's dial has not even reached the peer.
    fn gets_nowhere(&self, pair: &Pair) -> bool {
        let waited = self.now().mono.saturating_duration_since(pair.since.get());
        let reached = pair.data.conn.get().is_some() || pair.control.conn.get().is_some();
        !reached && (waited >= GETS_NOWHERE || pair.is_repeated())
    }

    /// A connection becomes a lane.
    fn attach(self: &Rc<Self>, pair: &Rc<Pair>, (conn, lane): (ConnId, Lane), peer: &LinkPeer) {
        let LinkMark { life, run, dial, .. } = peer.mark;
        if pair.dial.get() != dial || pair.mine.get() {
            pair.join(dial, self.now().mono);
        }
        let end = pair.lane(lane);
        if end.conn.get().is_some() {
            return self.refuse((conn, &pair.peer), Reason::BadHandshake, Farewell::Duplicate);
        }
        end.conn.set(Some(conn));
        end.welcome.set(true);
        self.put_first(lane, conn);
        pair.their_run.set(run);
        pair.their_life.set(life);
        self.memories.borrow_mut().entry(pair.peer.clone()).or_default().last = dial;
        self.driver.with(conn, |machine, out, conn| {
            conn.whose = Whose::Ours { link: pair.link, lane, dial };
            machine.welcome(out);
        });
        if pair.data.conn.get().is_some() && pair.control.conn.get().is_some() {
            self.opened(pair);
        }
    }
}

/// Whether a life, if it is known, began before another that is known.
fn is_earlier(life: u64, than: u64) -> bool {
    life != 0 && life < than
}

/// Whether the next connection may be accepted right away: only this one was lost.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
