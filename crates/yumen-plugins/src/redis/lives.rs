//! Ends the lives that are not renewed, and takes away what lives that are over have left.
//!
//! Every process with an instance of its own looks, one at a time; who dies in the middle is followed by
//! the next. It never ends a life right after the server was away: those who live are given the time to
//! renew first.

use super::{
    KEPT, Shared,
    keys::{Change, Seat, read_member},
    server::{Call, Fault, Request},
};
use redis::Value;
use std::{sync::Arc, sync::atomic::Ordering, time::Duration};
use tokio::time::sleep;
use yumen_core::locator::RENEW_INTERVAL;
use yumen_proto::InstanceId;

/// Between two looks of one process, and between two looks of all.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const TURN: Duration = Duration::from_millis(200);
/// For how long commands must have been answered before a life is called overdue: in that time whoever
/// lives has connected and renewed.
const WELL: Duration = RENEW_INTERVAL.saturating_add(Duration::from_secs(2));
/// Places that are taken away in one go.
const BATCH: usize = 256;

/// Looks for ever.
pub(super) async fn look(shared: Arc<Shared>) {
    loop {
        sleep(LOOK_EVERY).await;
        // One that is not well leaves the turn to those who are.
        if shared.holds.load(Ordering::Relaxed) && shared.server.well_for() >= WELL {
            // What goes wrong is counted, and the next look is near.
            let _looked = match &shared.slots {
                Some(slots) => shared.look_in_slots(slots).await,
                None => shared.look().await,
            };
        }
    }
}

impl Shared {
    async fn look(&self) -> Result<(), Fault> {
        let keys = &self.keys;
        let call = Call {
            script: &self.scripts.look,
            keys: vec![keys.turn(), keys.lives(), keys.ended()],
            args: vec![ms(TURN)],
        };
        let answer = self.server.ask(Request::Script(call)).await?;
        let tables: Vec<Vec<String>> = self.server.read("a look", answer)?;
        let [open, ended] = tables.as_slice() else { return Ok(()) };
        self.end_overdue(open).await?;
        for pair in ended.chunks_exact(2) {
            if let [instance, life] = pair {
                self.sweep(&InstanceId::from(instance.as_str()), life, usize::MAX).await?;
            }
        }
        Ok(())
    }

    /// `open`: instance, life, instance, life …
    async fn end_overdue(&self, open: &[String]) -> Result<(), Fault> {
        for lives in open.chunks(BATCH) {
            let names = lives
                .iter()
                .step_by(2)
                .map(|instance| self.keys.life(&InstanceId::from(instance.as_str())));
            let mut renewals = redis::cmd("MGET");
            renewals.arg(names.collect::<Vec<_>>());
            let answer = self.server.ask(Request::Command(renewals)).await?;
            let renewals: Vec<Option<String>> = self.server.read("renewals", answer)?;
            for (life, _) in lives.chunks_exact(2).zip(renewals).filter(|(_, r)| r.is_none()) {
                let [instance, life] = life else { continue };
                let instance = InstanceId::from(instance.as_str());
                if self.end(&instance, life, "overdue").await? {
                    tracing::warn!(
                        "instance {instance} has not renewed its life {life}: it is over"
                    );
                    self.sweep(&instance, life, usize::MAX).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a life if it is open; with `when` `overdue` only if it is not renewed.
    pub(super) async fn end(
        &self,
        instance: &InstanceId,
        life: &str,
        when: &str,
    ) -> Result<bool, Fault> {
        let keys = &self.keys;
        let call = Call {
            script: &self.scripts.close,
            keys: vec![keys.life(instance), keys.last(instance), keys.lives(), keys.ended()],
            args: vec![
                bytes(instance.as_str()),
                bytes(life),
                bytes(when),
                ms(KEPT),
                bytes(&keys.moves()),
            ],
        };
        let answer = self.server.ask(Request::Script(call)).await?;
        self.server.read("the end of a life", answer)
    }

    /// Takes away the places of a life that is over, and of all before it: at most so many batches, the
    /// rest when somebody looks.
    pub(super) async fn sweep(
        &self,
        instance: &InstanceId,
        life: &str,
        batches_max: usize,
    ) -> Result<(), Fault> {
        let mut from = [b"[", instance.as_str().as_bytes(), b"\0"].concat();
        let to = [b"(", instance.as_str().as_bytes(), b"\x01"].concat();
        for _ in 0..batches_max {
            let mut range = redis::cmd("ZRANGEBYLEX");
            range.arg(self.keys.seats()).arg(&from).arg(&to).arg("LIMIT").arg(0).arg(BATCH);
            let answer = self.server.ask_again(Request::Command(range)).await?;
            let members: Vec<Vec<u8>> = self.server.read("seats", answer)?;
            let Some(last) = members.last() else {
                return self.swept(instance, life).await;
            };
            from = [b"(", last.as_slice()].concat();
            let seats = members.iter();
            let seats =
                seats.filter_map(|member| read_member(&self.keys, instance.as_str(), member));
            self.drop_seats(seats, instance, life).await?;
        }
        Ok(())
    }

    async fn drop_seats(
        &self,
        seats: impl Iterator<Item = Seat>,
        instance: &InstanceId,
        life: &str,
    ) -> Result<(), Fault> {
        let script = &self.scripts.drop;
        let mut batch = redis::pipe();
        batch.add_command(script.load()).ignore();
        for seat in seats {
            let event = seat.event(Change::Unbound, instance).bytes();
            let rest = [bytes(life), ms(KEPT), event];
            batch.add_command(self.call(script, &seat, instance.as_str(), rest).by_hash()).ignore();
        }
        let _done: Value = self.server.ask(Request::Batch(batch)).await?;
        Ok(())
    }

    async fn swept(&self, instance: &InstanceId, life: &str) -> Result<(), Fault> {
        let call = Call {
            script: &self.scripts.swept,
            keys: vec![self.keys.ended()],
            args: vec![bytes(instance.as_str()), bytes(life)],
        };
        self.server.ask_again(Request::Script(call)).await.map(drop)
    }
}

pub(super) fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

pub(super) fn ms(duration: Duration) -> Vec<u8> {
    duration.as_millis().to_string().into_bytes()
}
