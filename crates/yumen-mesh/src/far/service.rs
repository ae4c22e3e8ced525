//! What the driver calls: frames to the instance, everything else to the link it concerns.
//!
//! A frame's bytes are given back to its sender once the instance is done with it, in one go for each
//! batch.

use super::{Conn, Far, Whose};
use crate::links::Links;
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};
use yumen_net::driver::{Service, Turn};
use yumen_proto::{
    conn::{CloseReason, Now},
    id::ConnId,
    link::{LinkConn, LinkEvent},
};

/// How long the frames of one connection may be handed out before others get a turn, and how many
/// pass between two looks at the clock.
const BATCH_MAX: Duration = Duration::from_millis(1);
const CLOCK_EVERY: u32 = 16;

/// The batch that is being handed out.
#[derive(Debug, Default)]
pub(super) struct Batch {
    began: Cell<Option<Instant>>,
    frames: Cell<u32>,
    /// Whose it is, once a frame has come.
    from: Cell<Option<(ConnId, Whose)>>,
    /// Bytes of frames that were handed out.
    done: Cell<usize>,
}

/// The driver's view of [`Far`].
pub(super) struct Switch(pub(super) Rc<Far>);

impl Service<LinkConn, Conn> for Switch {
    fn on_batch(&self, now: Now) {
        self.0.batch.began.set(Some(now.mono));
        self.0.batch.frames.set(0);
    }

    fn on_event(&self, conn: ConnId, event: LinkEvent<'_>) -> Turn {
        let far = &self.0;
        let Some(links) = far.links.upgrade() else {
            far.driver.close(conn, CloseReason::Shutdown, "");
            return Turn::Go;
        };
        let LinkEvent::Frame { frame, len } = event else {
            far.happened(&links, conn, event);
            return Turn::Go;
        };
        match far.sender(conn) {
            Whose::Nobody => return Turn::Go,
            Whose::Ours { link, .. } => links.receive(link, frame),
            Whose::Due { link, line } => far.due_frame(&links, (conn, link), line, frame),
        }
        far.batch.done.set(far.batch.done.get().saturating_add(len));
        far.turn(&links)
    }

    fn on_batch_end(&self) {
        let far = &self.0;
        let (from, done) = (far.batch.from.take(), far.batch.done.take());
        let Some((conn, whose)) = from else { return };
        let Some(links) = far.links.upgrade() else { return };
        links.batch_end();
        let Whose::Ours { link, .. } = whose else { return };
        far.driver.with(conn, |machine, out, _| machine.consumed(done, out));
        if let Some(pair) = links.pair(link) {
            pair.used.set(far.driver.now().mono);
        }
    }

    fn on_closed(&self, conn: ConnId, data: Conn, reason: CloseReason) {
        let far = &self.0;
        if data.from.is_some() {
            far.left(conn, &data, reason);
        }
        if let Some(links) = far.links.upgrade() {
            far.ended(&links, conn, data.whose, reason);
        }
    }

    fn on_sweep(&self, now: Now) {
        if let Some(links) = self.0.links.upgrade() {
            self.0.sweep(&links, now);
        }
    }
}

impl Far {
    pub(super) fn whose(&self, conn: ConnId) -> Whose {
        self.driver.with(conn, |_, _, data| data.whose).unwrap_or(Whose::Nobody)
    }

    /// Whose connection it is that a frame came on.
    fn sender(&self, conn: ConnId) -> Whose {
        if let Some((known, whose)) = self.batch.from.get()
            && known == conn
        {
            return whose;
        }
        let whose = self.whose(conn);
        if !matches!(whose, Whose::Nobody) {
            self.batch.from.set(Some((conn, whose)));
        }
        whose
    }

    fn turn(&self, links: &Links) -> Turn {
        let frames = self.batch.frames.get().wrapping_add(1);
        self.batch.frames.set(frames);
        let began = self.batch.began.get().filter(|_| frames.checked_rem(CLOCK_EVERY) == Some(0));
        let long = began.is_some_and(|at| links.now().saturating_duration_since(at) > BATCH_MAX);
        if long { Turn::Yield } else { Turn::Go }
    }

    /// Something other than a frame came.
    fn happened(self: &Rc<Self>, links: &Rc<Links>, conn: ConnId, event: LinkEvent<'_>) {
        let (link, lane, dial) = match self.whose(conn) {
            Whose::Ours { link, lane, dial } => (link, lane, dial),
            Whose::Due { link, line } if event == LinkEvent::Up => {
                return self.due_up(links, link, line);
            }
            Whose::Nobody if event == LinkEvent::Up => return self.arrived(links, conn),
            Whose::Due { .. } | Whose::Nobody => return,
        };
        let Some(pair) = links.pair(link).filter(|pair| pair.dial.get() == dial) else { return };
        if let LinkEvent::Farewell(why) = event {
            self.farewell(&pair, conn, why);
        } else if let LinkEvent::Life(life) = event {
            self.reborn(links, &pair, life);
        } else if event == LinkEvent::Room {
            pair.room_again();
        } else if event == LinkEvent::Welcome {
            self.welcomed(&pair, lane);
        } else if event == LinkEvent::Up {
            let mark = self.driver.with(conn, |machine, _, _| machine.peer().mark);
            mark.into_iter().for_each(|mark| self.recognised(&pair, (mark.run, mark.life)));
        }
    }

    /// Both lanes of a link are there.
    pub(super) fn opened(self: &Rc<Self>, pair: &Rc<super::Pair>) {
        let Some(conn) = pair.data.conn.get() else { return };
        let frame_max = self.driver.with(conn, |machine, _, _| machine.peer().frame_max);
        pair.open(frame_max.unwrap_or(0).min(self.settings.frame_max), self.now().mono);
        self.stats.opened();
        self.tell_life(pair);
        let oversized = pair.take_oversized();
        pair.pump();
        self.driver.flush();
        pair.wake();
        if let Some(links) = self.links.upgrade().filter(|_| !oversized.is_empty()) {
            links.report_unsent((pair.link, &pair.peer), &oversized);
        }
    }

    /// Ends a connection in peace.
    pub(super) fn say_goodbye(&self, conn: ConnId) {
        self.driver.close(conn, CloseReason::Shutdown, "");
    }
}
