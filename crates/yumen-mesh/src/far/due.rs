//! To one of due's instances: some connections that this side dials and asks on, and any number that
//! the peer dials and asks on. All of them are one link.
//!
//! Everything for one client goes over one connection, and so does everything without an answer to
//! one gate: due keeps no order between connections. Calls go over the others, because due finishes
//! one before it reads the next. What is queued survives a broken connection; what was written does
//! not. An answer goes back on the connection of its question, in time or never: one that comes late
//! stops a due process from reading that connection for ever.

mod asked;
mod line;

use super::{Conn, Far, Whose, stats::Reason};
use crate::links::{LANE_MAX, LinkId, Links, Unsent};
use asked::Asked;
use line::Line;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    mem,
    rc::Rc,
    time::Duration,
};
use yumen_net::driver::Transport;
use yumen_proto::{
    conn::{CloseReason, Now},
    id::{ConnId, InstanceId},
    link::{
        CHANNEL_MAX_DUE, Command, Flow, Frame, Kind, LinkError, LinkPeer, TARGETS_MAX_DUE, code,
    },
};

/// Pause between two looks at a connection that accepts no more.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// A link to one of due's.
pub(crate) struct Due {
    far: Rc<Far>,
    pub(crate) link: LinkId,
    pub(super) peer: InstanceId,
    kind: Kind,
    lines: Vec<Line>,
    /// Counts calls, which take turns.
    turn: Cell<usize>,
    /// Told apart from earlier dials, whose tasks may still be about; odd while this side dials or is
    /// connected.
    dial: Cell<u64>,
    /// Connections that the peer dialled.
    theirs: RefCell<BTreeSet<ConnId>>,
    asked: RefCell<Asked>,
    over: Cell<bool>,
}

impl Due {
    fn new(far: &Rc<Far>, link: LinkId, (peer, kind): (&InstanceId, Kind)) -> Self {
        Self {
            far: Rc::clone(far),
            link,
            peer: peer.clone(),
            kind,
            lines: (0..far.tuning.conns.max(1)).map(|_| Line::default()).collect(),
            turn: Cell::new(0),
            dial: Cell::new(0),
            theirs: RefCell::default(),
            asked: RefCell::default(),
            over: Cell::new(false),
        }
    }

    /// Whether this side dials, or is connected.
    fn is_dialled(&self) -> bool {
        self.dial.get() & 1 == 1
    }

    /// Whether any connection that this side dialled is in use.
    fn is_up(&self) -> bool {
        self.lines.iter().any(Line::is_up)
    }

    /// Sends a question, or the answer to one.
    pub(crate) fn send(&self, frame: Frame<'_>) -> Result<(), Unsent> {
        if self.over.get() {
            return Err(Unsent::Closed);
        }
        let size = frame.wire_len().saturating_sub(4);
        let max = self.far.settings.frame_max;
        if size > max {
            return Err(LinkError::TooLarge { size, max }.into());
        }
        match frame {
            Frame::Request { seq, command } => self.ask(seq, command),
            Frame::Reply { .. } => self.answer(frame),
            Frame::Heartbeat => Ok(()), // each connection has its own
        }
    }

    fn ask(&self, seq: u64, command: Command<'_>) -> Result<(), Unsent> {
        if !is_readable_for_due(&command) {
            return Err(LinkError::Unfit { route: command.code() }.into());
        }
        if !self.is_dialled() && self.far.is_held_back(&self.peer) {
            return Err(Unsent::Closed);
        }
        let Some(line) = self.lines.get(self.line_of(seq, &command)) else {
            return Err(Unsent::Closed);
        };
        if line.holds(&self.far) >= LANE_MAX {
            return Err(Unsent::Full);
        }
        let frame = Frame::Request { seq, command };
        frame.encode_as(Flow::Requests, &mut line.queue.borrow_mut())?;
        self.far.stats.frame();
        Ok(())
    }

    /// Which connection carries a question.
    fn line_of(&self, seq: u64, command: &Command<'_>) -> usize {
        let count = u64::try_from(self.lines.len()).unwrap_or(1);
        let of = |key: i64| {
            let line = key.unsigned_abs().checked_rem(count).unwrap_or(0);
            usize::try_from(line).unwrap_or(0)
        };
        if let Command::Deliver { conn, .. } | Command::Trigger { conn, .. } = command
            && conn.0 != 0
        {
            return of(conn.0);
        }
        if let Command::Deliver { user, .. } = command {
            return of(user.map_or(0, |user| user.0)); // from node to node
        }
        if seq == 0 {
            return 0;
        }
        let calls = self.lines.len().saturating_sub(1);
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn.checked_rem(calls).map_or(0, |turn| turn.saturating_add(1))
    }

    /// Answers what the peer asked, unless it is too late for that.
    fn answer(&self, frame: Frame<'_>) -> Result<(), Unsent> {
        let Frame::Reply { seq, route, code, reply } = frame else { return Ok(()) };
        let now = self.far.now().mono;
        let Some((conn, seq)) = self.asked.borrow_mut().take(seq, now) else {
            self.far.stats.answered_late();
            return Ok(());
        };
        // It knows no other codes.
        let code = code.min(code::INTERNAL);
        let mut bytes = Vec::new();
        Frame::Reply { seq, route, code, reply }.encode_as(Flow::Replies, &mut bytes)?;
        if self.far.driver.append(conn, &bytes) {
            self.far.stats.frame();
        } else {
            self.far.stats.answered_late(); // whoever asked is gone
        }
        Ok(())
    }

    /// What was queued is on its way: it is written at the driver's next turn.
    pub(crate) fn flush(self: &Rc<Self>) {
        let waits = self.lines.iter().any(|line| !line.queue.borrow().is_empty());
        if waits && !self.is_dialled() && !self.over.get() {
            self.far.dial_due(self);
        }
        self.lines.iter().for_each(|line| line.pump(&self.far));
    }

    fn has_room(&self) -> bool {
        let half_full = |line: &Line| line.holds(&self.far) > LANE_MAX / 2;
        self.over.get() || !self.lines.iter().any(half_full)
    }

    /// Resolves when there is room again, or the peer is gone. Nobody tells when a socket accepts
    /// more, so it looks from time to time.
    pub(crate) async fn room(self: &Rc<Self>) {
        self.flush();
        tokio::task::yield_now().await;
        while !self.has_room() {
            self.far.env.clock.sleep(ROOM_PAUSE).await;
            self.flush();
        }
    }

    /// Bytes that wait here, or that a socket has not accepted.
    pub(crate) fn queued(&self) -> usize {
        let holds = |sum: usize, line: &Line| sum.saturating_add(line.holds(&self.far));
        self.lines.iter().fold(0, holds)
    }

    /// Sends what is queued as far as possible, and lets go of the connections.
    pub(crate) fn say_goodbye(&self) {
        for line in &self.lines {
            line.pump(&self.far);
            line.conn.take().into_iter().for_each(|conn| self.far.say_goodbye(conn));
        }
        for conn in self.theirs.take() {
            self.far.say_goodbye(conn);
        }
    }

    /// Ends it. What could not be sent, for each connection.
    pub(crate) fn hang_up(&self) -> Vec<Vec<u8>> {
        self.over.set(true);
        for conn in self.theirs.take() {
            self.far.driver.close_now(conn, CloseReason::Done);
        }
        self.stop_dialling()
    }

    /// Gives up the connections that this side dialled. What could not be sent on them.
    fn stop_dialling(&self) -> Vec<Vec<u8>> {
        self.dial.set(self.dial.get().saturating_add(self.dial.get() & 1));
        let end = |line: &Line| {
            if let Some(conn) = line.conn.take() {
                self.far.driver.close_now(conn, CloseReason::Done);
            }
            line.end()
        };
        self.lines.iter().map(end).collect()
    }
}

/// Whether due reads a command as it is meant: it computes some offsets in too few bits.
#[expect(clippy::wildcard_enum_match_arm, reason = "what has neither a list nor a channel")]
fn is_readable_for_due(command: &Command<'_>) -> bool {
    match command {
        Command::Multicast { targets, .. }
        | Command::Subscribe { targets, .. }
        | Command::Unsubscribe { targets, .. } => targets.len() <= TARGETS_MAX_DUE,
        Command::Publish { channel, .. } => channel.len() <= CHANNEL_MAX_DUE,
        _ => true,
    }
}

impl Far {
    /// The link to one of due's that is reached by none yet.
    pub(super) fn link_due(
        self: &Rc<Self>,
        links: &Links,
        peer: (&InstanceId, Kind),
    ) -> Result<LinkId, Unsent> {
        if !self.settings.trusts_anybody() {
            self.dial_failed(Reason::Unproven, peer.0);
            return Err(Unsent::Closed);
        }
        let due = self.settle_due(links, peer);
        self.dial_due(&due);
        Ok(due.link)
    }

    fn settle_due(self: &Rc<Self>, links: &Links, peer: (&InstanceId, Kind)) -> Rc<Due> {
        let due = Rc::new(Due::new(self, links.reserve(), peer));
        links.settle_due(due.link, peer, Rc::clone(&due));
        due
    }

    /// One of due's has introduced itself on a connection that it dialled.
    pub(super) fn due_arrived(
        self: &Rc<Self>,
        links: &Links,
        conn: ConnId,
        (id, peer): (&InstanceId, &LinkPeer),
    ) -> Result<(), Reason> {
        let ours = links.directory().find(id).is_some_and(|(_, ours)| ours);
        if ours || id.as_str().is_empty() {
            return Err(Reason::IdTaken); // whoever proves nothing cannot pass for one of ours
        }
        let due = match links.due_of(id) {
            Some(due) => due,
            None if links.is_linked(id) => return Err(Reason::IdTaken),
            None => self.settle_due(links, (id, peer.kind)),
        };
        due.theirs.borrow_mut().insert(conn);
        let whose = Whose::Due { link: due.link, line: None };
        self.driver.with(conn, |_, _, conn| conn.whose = whose);
        Ok(())
    }

    /// A frame of one of due's.
    pub(super) fn due_frame(
        &self,
        links: &Links,
        (conn, link): (ConnId, LinkId),
        line: Option<usize>,
        frame: Frame<'_>,
    ) {
        let Some(due) = links.due(link) else { return };
        match (frame, line.and_then(|line| due.lines.get(line))) {
            (Frame::Reply { seq, .. }, Some(line)) => {
                let asked_here = line.asked.borrow_mut().remove(&seq);
                if asked_here { links.receive(link, frame) } else { links.count_late() }
            }
            (Frame::Request { seq, command }, None) => {
                // Due's nodes answer these two even where no answer is asked for.
                let always = matches!(command, Command::GetState | Command::SetState { .. });
                let wanted = seq != 0 || (always && self.settings.kind == Kind::Node);
                let now = self.now().mono;
                let seq = if wanted { due.asked.borrow_mut().put((conn, seq), now) } else { 0 };
                links.receive(link, Frame::Request { seq, command });
            }
            _ => links.count_malformed(),
        }
    }

    /// A connection with one of due's has ended.
    pub(super) fn due_ended(
        self: &Rc<Self>,
        links: &Links,
        conn: ConnId,
        (link, line): (LinkId, Option<usize>),
        reason: CloseReason,
    ) {
        let Some(due) = links.due(link) else { return };
        if let Some(line) = line.and_then(|line| due.lines.get(line)) {
            if line.conn.get() == Some(conn) {
                let lost = line.broke(Reason::of(reason));
                lost.into_iter().for_each(|seq| links.forget_call(link, seq));
            }
        } else if due.theirs.borrow_mut().remove(&conn) {
            due.asked.borrow_mut().forget(conn);
            if due.theirs.borrow().is_empty() && !due.is_dialled() {
                links.drop_link(link);
            }
        }
    }

    /// The peer of a connection that was dialled has answered the handshake.
    pub(super) fn due_up(self: &Rc<Self>, links: &Links, link: LinkId, line: Option<usize>) {
        let Some(due) = links.due(link) else { return };
        let Some(line) = line.and_then(|line| due.lines.get(line)) else { return };
        if !due.is_up() {
            self.stats.opened();
        }
        line.came_up();
        line.pump(self);
        self.driver.flush();
        if let Some(memory) = self.memories.borrow_mut().get_mut(&due.peer) {
            memory.steady();
        }
    }

    /// The registry has other records than before: one of ours may have taken the place of one of due's,
    /// under its id.
    pub(super) fn dues_changed(&self, links: &Links) {
        for due in links.dues() {
            if links.directory().find(&due.peer).is_some_and(|(_, ours)| ours) {
                links.drop_link(due.link);
            }
        }
    }

    /// A second has passed.
    pub(super) fn sweep_dues(&self, links: &Links, now: Now) {
        for due in links.dues() {
            due.asked.borrow_mut().sweep(now.mono);
            for line in &due.lines {
                line.asked.borrow_mut().retain(|seq| links.has_call(due.link, *seq));
            }
        }
    }

    /// None of the connections can be opened.
    fn due_unreachable(self: &Rc<Self>, due: &Rc<Due>) {
        let Some(links) = self.links.upgrade() else { return };
        let now = self.now().mono;
        self.memories.borrow_mut().entry(due.peer.clone()).or_default().failed(now, &self.env.dice);
        if due.theirs.borrow().is_empty() {
            return links.drop_link(due.link);
        }
        // It still asks, so it is there; but nothing can be asked of it.
        for unsent in due.stop_dialling() {
            links.report_unsent((due.link, &due.peer), &unsent);
        }
    }
}
