//! The users that are bound to this node, known without asking, and kept right over lives.
//!
//! A node whose life ended, because it was paused for too long or the store lost its memory, has lost
//! the places of its users. It claims them again in its next life, and takes none from a node that has
//! the user since: such a user is lost, and the game is told.

use crate::{
    node::{hub::Hub, locations::Locations, stats::Stats},
    together,
};
use rustc_hash::FxHashMap;
use std::{cell::RefCell, collections::hash_map, rc::Rc, time::Duration};
use tokio::sync::Notify;
use yumen_core::{
    Status,
    locator::{Attempt, Incarnation, LocatorError, Moved, Place, Role},
    watch::Watch,
};
use yumen_proto::id::{Epoch, InstanceId, UserId};

/// Most users that a node may bind to itself.
const BOUND_MAX: usize = 1_048_576;
/// Users that are asked about at once.
const AT_ONCE: usize = 256;
/// Pause before those whose requests failed are asked about again.
const AGAIN: Duration = Duration::from_millis(500);

/// Told of every user that is lost.
type OnLost = dyn Fn(UserId);

/// See the module.
pub(crate) struct Bound {
    /// This node, as a place for users.
    pub(crate) me: Place,
    users: RefCell<FxHashMap<UserId, Epoch>>,
    /// Users whom this node takes off itself, until the news of that has come: earlier claims that are
    /// heard of late do not count.
    leaving: RefCell<FxHashMap<UserId, Epoch>>,
    on_lost: RefCell<Option<Rc<OnLost>>>,
    stats: Rc<Stats>,
    /// News of places was lost.
    pub(super) recheck: Notify,
    /// There are fewer than before.
    pub(super) fewer: Notify,
}

impl Bound {
    pub(super) fn new(me: Place, stats: Rc<Stats>) -> Self {
        let (users, on_lost) = (RefCell::default(), RefCell::default());
        let leaving = RefCell::default();
        Self { me, leaving, users, on_lost, stats, recheck: Notify::new(), fewer: Notify::new() }
    }

    /// From now on `told` hears of users that are lost.
    pub(crate) fn set_on_lost(&self, told: Rc<OnLost>) {
        self.on_lost.replace(Some(told));
    }

    /// Whether the user is known to be bound to this node.
    #[inline]
    pub(crate) fn has(&self, user: UserId) -> bool {
        self.users.borrow().contains_key(&user)
    }

    /// Who is bound, in the order of their numbers.
    pub(crate) fn users(&self) -> Vec<UserId> {
        let mut users: Vec<_> = self.users.borrow().keys().copied().collect();
        users.sort_unstable();
        users
    }

    pub(crate) fn len(&self) -> usize {
        self.users.borrow().len()
    }

    /// Whether nobody else can be bound.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= BOUND_MAX
    }

    /// The user is bound here by that claim.
    pub(super) fn add(&self, user: UserId, epoch: Epoch) {
        self.leaving.borrow_mut().remove(&user);
        let mut users = self.users.borrow_mut();
        let known = users.entry(user).or_insert(epoch);
        *known = epoch.max(*known);
    }

    /// This node takes the user off itself. By which claim it was bound; then [`Bound::left`] or, if
    /// that failed, [`Bound::add`] follows.
    pub(super) fn remove(&self, user: UserId) -> Option<Epoch> {
        let removed = self.users.borrow_mut().remove(&user)?;
        self.leaving.borrow_mut().insert(user, Epoch(u64::MAX));
        self.fewer.notify_waiters();
        Some(removed)
    }

    /// The user was taken off by that claim, or by the release of it.
    pub(super) fn left(&self, user: UserId, epoch: Epoch) {
        self.leaving.borrow_mut().entry(user).and_modify(|known| *known = epoch);
    }

    /// Others have decided where a user is bound.
    pub(super) fn on_move(&self, moved: &Moved) {
        match moved {
            Moved::Claimed { user, place, epoch } if *place == self.me => {
                let leaving = self.leaving.borrow().get(user).copied();
                if leaving.is_none_or(|left| left < *epoch) {
                    self.add(*user, *epoch);
                }
            }
            Moved::Claimed { user, place, epoch } if place.role == self.me.role => {
                self.lose(*user, |known| known < *epoch);
            }
            Moved::Released { user, place, epoch } if *place == self.me => {
                self.lose(*user, |known| known <= *epoch);
            }
            Moved::Lost => {
                self.leaving.borrow_mut().clear();
                self.recheck.notify_one();
            }
            // The end of this node's own life is heard from its lease.
            Moved::Claimed { .. } | Moved::Released { .. } | Moved::Closed { .. } | _ => {}
        }
    }

    /// The user is bound elsewhere, or nowhere, if `older` says so of the claim that is known.
    fn lose(&self, user: UserId, older: impl FnOnce(Epoch) -> bool) {
        self.leaving.borrow_mut().remove(&user);
        let mut users = self.users.borrow_mut();
        let hash_map::Entry::Occupied(known) = users.entry(user) else { return };
        if !older(*known.get()) {
            return;
        }
        known.remove();
        drop(users);
        self.stats.users_lost.bump();
        self.fewer.notify_waiters();
        let told = self.on_lost.borrow().clone();
        told.into_iter().for_each(|told| told(user));
    }
}

impl Locations {
    /// The node of this name that the user is bound to, as the locator has it now unless it is this one.
    pub(crate) async fn find_bound(&self, user: UserId) -> Result<Option<InstanceId>, Status> {
        if self.bound.has(user) {
            return Ok(Some(self.bound.me.instance.clone()));
        }
        let found = self.look(user, &self.bound.me.role).await?;
        Ok(found.map(|located| {
            if located.place == self.bound.me {
                self.bound.add(user, located.epoch);
            }
            located.place.instance
        }))
    }

    /// Claims the bound users again whenever this node has another life.
    pub(crate) async fn follow_life(&self, mut life: Watch<Incarnation>) {
        while life.changed().await {
            self.claim_again().await;
        }
    }

    async fn claim_again(&self) {
        let (node, mut left) = (&self.bound.me.instance, self.bound.users());
        let users = left.len();
        tracing::info!(%node, users, "a new life begins: the bound users are claimed again");
        while !left.is_empty() {
            left = together::failed(&left, AT_ONCE, |user| self.restore(user)).await;
            if !left.is_empty() {
                let left = left.len();
                tracing::warn!(%node, users, left, "some bound users are not claimed yet");
                self.clock.sleep(AGAIN).await;
            }
        }
        tracing::info!(%node, users, "the bound users are claimed again");
    }

    /// Claims a bound user, unless another node has it. False if nobody knows.
    async fn restore(&self, user: UserId) -> bool {
        let Some(before) = self.bound.users.borrow().get(&user).copied() else { return true };
        match self.claim_if_free(user, self.bound.me.clone()).await {
            Ok(Attempt::Claimed(claim)) => {
                if self.bound.has(user) {
                    self.bound.add(user, claim.epoch);
                } else {
                    // Unbound while it was claimed.
                    let _the_store_is_away = self.release(user, self.bound.me.clone()).await;
                }
                true
            }
            Ok(Attempt::Taken(_)) => {
                self.bound.lose(user, |known| known <= before);
                true
            }
            Err(_) => false,
        }
    }

    /// Asks about every bound user whenever news was lost.
    pub(crate) async fn follow_losses(&self) {
        loop {
            self.bound.recheck.notified().await;
            while !self.check_users().await {
                self.clock.sleep(AGAIN).await;
            }
        }
    }

    /// Finds out which users are bound here no more. False if that could not be done.
    async fn check_users(&self) -> bool {
        let users = self.bound.users.borrow().iter().map(|(user, at)| (*user, *at)).collect();
        let users: Vec<(UserId, Epoch)> = users;
        let gone = RefCell::new(Vec::new());
        let ask = |(user, before)| {
            let gone = &gone;
            async move {
                let Ok(found) = self.look(user, &self.bound.me.role).await else { return false };
                match found {
                    Some(at) if at.place == self.bound.me => self.bound.add(user, at.epoch),
                    _ => gone.borrow_mut().push((user, before)),
                }
                true
            }
        };
        if !together::failed(&users, AT_ONCE, ask).await.is_empty() {
            return false;
        }
        // Users who are nowhere because this life is over are claimed again in the next.
        match self.renew().await {
            Ok(Ok(())) => {
                let gone = gone.take();
                for (user, before) in gone {
                    self.bound.lose(user, |known| known <= before);
                }
                true
            }
            Ok(Err(LocatorError::NotOpen { .. } | LocatorError::Superseded { .. })) => true,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl Hub {
    /// Follows the moves for ever: what is remembered stays right, and lives that are over are fenced
    /// off.
    pub(crate) async fn follow_moves(&self) {
        let mut moves = self.locations.watch();
        while let Some(moved) = moves.next().await {
            if let Moved::Closed { instance, incarnation } = &moved
                && *instance != self.id
            {
                self.outbox.uplink().fence(instance, *incarnation);
            }
            self.locations.on_move(moved);
        }
    }

    /// Resolves when no user who is bound to this node is connected to a gate, or it cannot be known for
    /// as long as the locator does not answer. Gives whether there was anybody to wait for.
    pub(crate) async fn users_gone(&self) -> bool {
        let (bound, clock) = (&self.locations.bound, &self.env.clock);
        let mut waited = false;
        for part in bound.users().chunks(AT_ONCE) {
            while self.is_anybody_there(part).await {
                waited = true;
                tokio::select! {
                    biased;
                    () = bound.fewer.notified() => {}
                    () = clock.sleep(AGAIN) => {}
                }
            }
        }
        waited
    }

    /// Whether one of them is still bound to this node and may be connected to a gate.
    async fn is_anybody_there(&self, users: &[UserId]) -> bool {
        let users: Vec<_> =
            users.iter().copied().filter(|user| self.locations.bound.has(*user)).collect();
        let away = async |user| matches!(self.locations.find(user, Role::Gate).await, Ok(None));
        !together::failed(&users, AT_ONCE, away).await.is_empty()
    }
}

#[cfg(test)]
#[cfg(feature = "json")]
mod tests {
    use super::*;
    use crate::node::{Router, testing::Bench};
    use yumen_core::locator::Locator;

    fn run(test: impl AsyncFnOnce(Bench<()>)) {
        Bench::run(
            Router::new(),
            || (),
            |_| {},
            async |bench| {
                let (hub, life) = (Rc::clone(&bench.front.hub), bench.lives.watch());
                let locations = Rc::clone(&hub.locations);
                bench.env.spawn.local(async move { hub.follow_moves().await });
                let follows = Rc::clone(&locations);
                bench.env.spawn.local(async move { follows.follow_life(life).await });
                bench.env.spawn.local(async move { locations.follow_losses().await });
                tokio::task::yield_now().await; // they follow
                test(bench).await;
            },
        );
    }

    fn bound(bench: &Bench<()>) -> Vec<i64> {
        bench.front.hub.locations.bound.users().iter().map(|user| user.0).collect()
    }

    fn lobby(id: &str) -> Place {
        Place::node("lobby", id)
    }

    async fn bind(bench: &Bench<()>, users: &[i64]) {
        for user in users {
            bench.front.hub.bind_node(UserId(*user)).await.unwrap();
        }
    }

    #[test]
    fn bound_users_are_claimed_again_in_a_new_life_but_not_those_whom_another_has() {
        run(async |bench| {
            let lost = Rc::new(RefCell::new(Vec::new()));
            let told = Rc::clone(&lost);
            let on_lost: Rc<OnLost> = Rc::new(move |user: UserId| told.borrow_mut().push(user.0));
            bench.front.hub.locations.bound.set_on_lost(on_lost);
            bind(&bench, &[7, 8, 9]).await;
            assert_eq!(bound(&bench), [7, 8, 9]);
            // The life ends and another node takes one of the users, before this one wakes up.
            let (me, other) = (bench.front.hub.id.clone(), "node-2".into());
            bench.locator.open(&other).await.unwrap();
            let next = bench.locator.open(&me).await.unwrap();
            let its = bench.locator.claim(UserId(8), &lobby("node-2"), None).await.unwrap();
            bench.lives.send(next);
            bench.env.clock.sleep(AGAIN * 3).await;
            assert_eq!((bound(&bench), lost.take()), (vec![7, 9], vec![8]));
            let at =
                |user| bench.locator.find(UserId(user), &bench.front.hub.locations.bound.me.role);
            assert_eq!(at(8).await.unwrap().map(|at| at.epoch), Some(its.epoch), "and keeps it");
            for user in [7, 9] {
                assert_eq!(at(user).await.unwrap().map(|at| at.place), Some(lobby("node-1")));
            }
            assert_eq!(bench.count("users_lost"), 1);
        });
    }

    #[test]
    fn users_whom_others_bind_or_release_are_followed() {
        run(async |bench| {
            bind(&bench, &[7, 8]).await;
            bench.locator.claim(UserId(9), &lobby("node-1"), None).await.unwrap();
            bench.locator.open(&"node-2".into()).await.unwrap();
            bench.front.hub.bind_to(UserId(7), "node-2".into()).await.unwrap();
            bench.env.clock.sleep(AGAIN).await;
            assert_eq!((bound(&bench), bench.count("users_lost")), (vec![8, 9], 0));
            bench.locator.claim(UserId(8), &lobby("node-2"), None).await.unwrap();
            bench.env.clock.sleep(AGAIN).await;
            assert_eq!((bound(&bench), bench.count("users_lost")), (vec![9], 1));
            assert!(bench.front.hub.unbind_node(UserId(9)).await.unwrap());
            bench.env.clock.sleep(AGAIN).await;
            assert_eq!((bound(&bench), bench.count("users_lost")), (vec![], 1));
        });
    }

    #[test]
    fn after_lost_news_the_bound_users_are_asked_about() {
        run(async |bench| {
            bind(&bench, &[7, 8]).await;
            let role = Role::node("lobby");
            let at = bench.locator.find(UserId(7), &role).await.unwrap().unwrap();
            // Nobody hears of it.
            bench.locator.release(UserId(7), &at.place, at.epoch).await.unwrap();
            bench.front.hub.locations.bound.recheck.notify_one();
            bench.env.clock.sleep(AGAIN).await;
            assert_eq!(bound(&bench), [8]);
        });
    }

    #[test]
    fn lives_that_are_over_are_fenced_off() {
        run(async |bench| {
            let gate = "gate-1".into();
            let next = bench.locator.open(&gate).await.unwrap();
            bench.env.clock.sleep(AGAIN).await;
            let fenced = bench.paper.fences.borrow().clone();
            let [(id, life)] = fenced.as_slice() else { panic!("{fenced:?}") };
            assert!(*id == gate && *life < next, "{id} {life}, {next} is alive");
            let me = bench.front.hub.id.clone();
            bench.locator.open(&me).await.unwrap();
            bench.env.clock.sleep(AGAIN).await;
            assert_eq!(bench.paper.fences.borrow().len(), 1, "nobody cuts itself off");
        });
    }
}
