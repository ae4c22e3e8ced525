//! Once a second: every deadline of every connection.
//!
//! Time in which this thread did not run is nobody's silence: after a pause (the process was
//! suspended, a handler blocked the thread) the sockets hold what the peers sent meanwhile, unread.
//! Every deadline moves by what was lost, and the first sweep judges nobody.

use super::{Driver, Service, count};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};
use yumen_proto::{
    conn::{CloseReason, Machine, Now},
    id::ConnId,
};

/// How often deadlines are looked at, and so how late they may be.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
/// A sweep that comes later than this by itself has missed something.
const LATE: Duration = Duration::from_millis(500);
/// Sessions looked at before others get a turn.
const SWEEP_SLICE: usize = 256;

impl<M: Machine + 'static, D: 'static> Driver<M, D> {
    pub(super) async fn sweep(self: &Rc<Self>, service: &dyn Service<M, D>) {
        let (mut last, mut forgave) = (self.env.clock.now().mono, false);
        loop {
            self.env.clock.sleep(SWEEP).await;
            let now = self.env.clock.now();
            self.now.set(now);
            let lost = now.mono.saturating_duration_since(last).saturating_sub(SWEEP);
            last = now.mono;
            let mut took = Duration::ZERO;
            if lost > LATE {
                count(&self.stats.pauses, 1);
                took = self.each_slice(|slot| self.forgive(slot, now, lost)).await;
            }
            // One that is always late has to judge all the same.
            forgave = lost > LATE && !forgave;
            if !forgave {
                let late = |slot| {
                    if let Some((conn, reason)) = self.late(slot, now) {
                        self.close_late(conn, reason);
                    }
                };
                took = took.saturating_add(self.each_slice(late).await);
            }
            let began = self.env.clock.now().mono;
            let mut lingering = self.lingering.borrow_mut();
            while lingering.front().is_some_and(|(until, _)| *until <= now.mono) {
                lingering.pop_front();
            }
            drop(lingering);
            service.on_sweep(now);
            self.stats.sweeps.record(took.saturating_add(self.since(began)));
        }
    }

    /// Calls `f` with every slot there is, and gives way between slices. Gives how long that took,
    /// without what ran in between.
    async fn each_slice(&self, f: impl Fn(usize)) -> Duration {
        let (mut from, mut took) = (0, Duration::ZERO);
        while from < self.sessions.borrow().capacity() {
            let began = self.env.clock.now().mono;
            let until = from.saturating_add(SWEEP_SLICE);
            (from..until).for_each(&f);
            from = until;
            took = took.saturating_add(self.since(began));
            tokio::task::yield_now().await;
        }
        took
    }

    fn since(&self, began: Instant) -> Duration {
        self.env.clock.now().mono.saturating_duration_since(began)
    }

    fn forgive(&self, slot: usize, now: Now, lost: Duration) {
        if let Some(session) = self.sessions.borrow_mut().get_mut(slot) {
            session.machine.forgive(now, lost);
            session.transport.forgive(lost);
            session.socket.forgive(lost);
        }
    }

    /// Gives one session its deadline call. Some if it has to end.
    fn late(&self, slot: usize, now: Now) -> Option<(ConnId, CloseReason)> {
        let id = self.sessions.borrow().get(slot)?.id;
        let slot = u32::try_from(slot).ok()?;
        self.session(slot, id, |s| {
            let verdict = s.transport.on_deadline(now.mono);
            let verdict = verdict.and_then(|()| s.socket.on_deadline(now.mono));
            let verdict = verdict.and_then(|()| s.machine.on_deadline(now, &mut s.out));
            verdict.err().or_else(|| self.account(s))
        })?
        .map(|reason| (id, reason))
    }

    /// A peer that is late is told why, if it can be told at once; it is not waited for again.
    fn close_late(&self, id: ConnId, reason: CloseReason) {
        let now = self.now.get();
        self.with(id, |machine, out, _| {
            if machine.closing().is_none() {
                machine.close(now, reason, "".into(), out);
            }
        });
        self.close_now(id, reason);
    }
}
