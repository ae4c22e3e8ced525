//! What a process of due's wrote gets its epoch, and is told to ours.
//!
//! Every process of ours hears due's event and looks; the first one's script writes the record and tells
//! it, the others' find it written. Many at a time, in the order in which they were told.

use super::{
    KEPT, Shared, bytes,
    follow::Told,
    keys::Seat,
    ms,
    server::{Call, Fault, Request},
};
use redis::Value;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::mpsc;
use yumen_core::locator::Moved;

/// Most events that are followed up in one go.
const BATCH: usize = 256;

/// Follows up what due tells, for ever.
pub(super) async fn settle(shared: Arc<Shared>, mut told: mpsc::Receiver<Told>) {
    let mut batch = Vec::with_capacity(BATCH);
    while told.recv_many(&mut batch, BATCH).await > 0 {
        let failed = match &shared.slots {
            Some(slots) => shared.settle_all_in_slots(slots, &batch).await.is_err(),
            None => shared.settle(&batch).await.is_err(),
        };
        // What could not be followed up is lost: whoever asks from now on sees the truth.
        if shared.behind.swap(false, Ordering::Relaxed) || failed {
            shared.moves.send(Moved::Lost);
        }
        batch.clear();
    }
}

impl Shared {
    async fn settle(&self, told: &[Told]) -> Result<(), Fault> {
        let mut batch = redis::pipe();
        batch.add_command(self.scripts.settle.load()).ignore();
        for Told { user, role, instance, bound } in told {
            let seat = self.keys.seat(*user, role);
            batch.add_command(self.settling(&seat, instance.as_str(), *bound).by_hash()).ignore();
        }
        let _settled: Value = self.server.ask_again(Request::Batch(batch)).await?;
        Ok(())
    }

    /// `bound`: due has just told that the user is on this instance.
    pub(super) fn settling(&self, seat: &Seat, instance: &str, bound: bool) -> Call<'_> {
        let told = if bound { "1" } else { "0" };
        let rest = [self.time().to_string().into_bytes(), ms(KEPT), bytes(told)];
        self.call(&self.scripts.settle, seat, instance, rest)
    }
}
