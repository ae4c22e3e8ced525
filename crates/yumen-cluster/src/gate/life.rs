//! What a gate does when a life ends: that of another instance, or its own.
//!
//! A life that is over is fenced off: nothing it still sends is obeyed. A gate whose own life ended,
//! because it was paused for too long or the store lost its memory, has lost the places of its users.
//! It claims them again in its next life, and takes none from a gate that has the user since.

use super::{
    hall::{Faults, Hall},
    stats::bump,
};
use crate::together;
use std::{rc::Rc, sync::Arc, time::Duration};
use yumen_core::{
    locator::{Attempt, Incarnation, LocatorError, Role},
    watch::Watch,
};
use yumen_proto::{
    conn::Machine,
    id::{Epoch, InstanceId, UserId},
};

/// Users that are asked about at once.
const AT_ONCE: usize = 256;
/// Pause before those whose claims failed are claimed again.
const AGAIN: Duration = Duration::from_millis(500);

impl Hall {
    /// That life of an instance is over: its users are nowhere, and its links are cut.
    pub(super) fn life_ended(&self, instance: &InstanceId, life: Incarnation) {
        self.upheavals.set(self.upheavals.get().wrapping_add(1));
        self.forget_nodes(Some(instance));
        if instance != self.id() {
            self.links.fence(instance, life);
        }
    }

    /// News of places was lost: nothing that is known from before holds.
    pub(super) fn news_lost(&self) {
        self.upheavals.set(self.upheavals.get().wrapping_add(1));
        self.forget_nodes(None);
        self.recheck.notify_one();
    }

    /// Claims the users again whenever this gate has another life.
    pub(super) async fn follow_life(self: &Rc<Self>, mut life: Watch<Incarnation>) {
        while life.changed().await {
            self.claim_again().await;
        }
    }

    async fn claim_again(self: &Rc<Self>) {
        let mut left = self.users();
        let users = left.len();
        tracing::info!(gate = %self.id(), users, "a new life begins: its users are claimed again");
        while !left.is_empty() {
            left = together::failed(&left, AT_ONCE, |user| self.restore(user)).await;
            if !left.is_empty() {
                let left = left.len();
                tracing::warn!(gate = %self.id(), users, left, "some users are not claimed yet");
                self.env.clock.sleep(AGAIN).await;
            }
        }
        tracing::info!(gate = %self.id(), users, "the users are claimed again");
    }

    /// Asks about every user whenever news was lost.
    pub(super) async fn follow_losses(self: &Rc<Self>) {
        loop {
            self.recheck.notified().await;
            let mut left = self.users();
            while !left.is_empty() {
                left = together::failed(&left, AT_ONCE, |user| self.check_user(user)).await;
                if !left.is_empty() {
                    self.env.clock.sleep(AGAIN).await;
                }
            }
        }
    }

    /// Who is logged in here.
    fn users(&self) -> Vec<UserId> {
        let conns = self.index.borrow().user_conns();
        conns.into_iter().filter_map(|conn| self.live(conn, |s| s.user()).flatten()).collect()
    }

    /// Whether a user that is logged in here has been claimed elsewhere since, or is nowhere. False if
    /// nobody knows.
    pub(super) async fn check_user(self: &Rc<Self>, user: UserId) -> bool {
        let locator = Arc::clone(&self.locator);
        let found = self.backend.run(async move { locator.find(user, &Role::Gate).await }).await;
        match found {
            Ok(Ok(Some(located))) => {
                if located.place != self.me {
                    self.lost_to(user, located.epoch);
                }
                true
            }
            Ok(Ok(None)) => self.restore(user).await,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Claims a user that is logged in here, unless another gate has it. False if nobody knows.
    async fn restore(self: &Rc<Self>, user: UserId) -> bool {
        let Some(before) = self.epoch_of(user) else { return true };
        let (locator, place) = (Arc::clone(&self.locator), self.me.clone());
        let life = self.incarnation.borrow_mut().current();
        let request = async move { locator.claim_if_free(user, &place, Some(life)).await };
        match self.backend.run::<Result<Attempt, LocatorError>>(request).await {
            Ok(Ok(Attempt::Claimed(claim))) => {
                if !self.stays(user, claim.epoch) {
                    self.release(user, claim.epoch);
                }
                true
            }
            Ok(Ok(Attempt::Taken(at))) => {
                // Whatever it is there by, it is not here: by that login, not by one made meanwhile.
                let newer = Epoch(before.0.saturating_add(1)).max(at.epoch);
                self.lost_to(user, newer);
                true
            }
            Ok(Err(error)) => {
                let (calm, now) = (&self.faults.claim, self.env.clock.now().mono);
                Faults::tell(calm, now, &error, "users could not be claimed again");
                false
            }
            Err(_) => false,
        }
    }

    /// By which claim the user is logged in here.
    fn epoch_of(&self, user: UserId) -> Option<Epoch> {
        let conn = self.index.borrow().of_user(user)?;
        self.live(conn, |session| {
            session.login.as_ref().filter(|login| login.user == user).map(|login| login.epoch)
        })?
    }

    /// Somebody else has the user now, if that claim is newer than ours.
    pub(super) fn lost_to(self: &Rc<Self>, user: UserId, epoch: Epoch) {
        let Some(conn) = self.index.borrow().of_user(user) else { return };
        let older = self.driver.with(conn, |machine, _, session| {
            let older = session.login.as_ref().is_some_and(|login| login.epoch < epoch);
            older && machine.closing().is_none()
        });
        if older == Some(true) {
            bump(&self.stats.duplicates);
            self.index.borrow_mut().clear_user(user, conn);
            self.evict(conn);
        }
    }
}
