//! Once a second: every deadline of every connection.

use super::{Driver, Service};
use std::{rc::Rc, time::Duration};
use yumen_proto::{
    conn::{CloseReason, Machine, Now},
    id::ConnId,
};

/// How often deadlines are looked at, and so how late they may be.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
/// Sessions looked at before others get a turn.
const SWEEP_SLICE: usize = 256;

impl<M: Machine + 'static, D: 'static> Driver<M, D> {
    pub(super) async fn sweep(self: &Rc<Self>, service: &dyn Service<M, D>) {
        loop {
            self.env.clock.sleep(SWEEP).await;
            let now = self.env.clock.now();
            self.now.set(now);
            let mut from = 0;
            while from < self.sessions.borrow().capacity() {
                let until = from.saturating_add(SWEEP_SLICE);
                let late: Vec<_> = (from..until).filter_map(|slot| self.late(slot, now)).collect();
                for (conn, reason) in late {
                    self.close_late(conn, reason);
                }
                from = until;
                tokio::task::yield_now().await;
            }
            let mut lingering = self.lingering.borrow_mut();
            while lingering.front().is_some_and(|(until, _)| *until <= now.mono) {
                lingering.pop_front();
            }
            drop(lingering);
            service.on_sweep(now);
        }
    }

    /// Gives one session its deadline call. Some if it has to end.
    fn late(&self, slot: usize, now: Now) -> Option<(ConnId, CloseReason)> {
        let id = self.sessions.borrow().get(slot)?.id;
        let slot = u32::try_from(slot).ok()?;
        self.session(slot, id, |s| {
            let verdict = s.transport.on_deadline(now.mono);
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
                machine.close(now, reason, "", out);
            }
        });
        self.close_now(id, reason);
    }
}
