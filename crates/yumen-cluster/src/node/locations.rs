//! Where users are, remembered.
//!
//! A cache in front of the locator, kept right by the stream of moves: a lag drops everything, an
//! answer that a move has overtaken is used but not kept. Bounded; when full it starts again empty.

use crate::{
    backend::Backend,
    node::{bound::Bound, stats::Stats},
};
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    collections::hash_map::Entry,
    rc::Rc,
    sync::Arc,
};
use yumen_core::{
    BoxFuture, Status,
    locator::{
        Attempt, Claim, Incarnation, Located, Locator, LocatorError, Moved, Moves, Place, Role,
    },
    watch::Watch,
};
use yumen_net::env::Clock;
use yumen_proto::id::{Epoch, InstanceId, UserId};

/// Most places remembered.
const PLACES_MAX: usize = 131_072;

/// See the module.
pub(crate) struct Locations {
    locator: Arc<dyn Locator>,
    backend: Backend,
    incarnation: RefCell<Watch<Incarnation>>,
    pub(super) clock: Clock,
    /// The users bound to this node.
    pub(crate) bound: Bound,
    places: RefCell<FxHashMap<(UserId, Role), Located>>,
    moves: Cell<u64>,
}

impl Locations {
    pub(crate) fn new(
        locator: Arc<dyn Locator>,
        backend: Backend,
        incarnation: Watch<Incarnation>,
        (me, clock, stats): (Place, Clock, Rc<Stats>),
    ) -> Self {
        let (places, incarnation) = (RefCell::default(), RefCell::new(incarnation));
        let bound = Bound::new(me, stats);
        Self { locator, backend, incarnation, clock, bound, places, moves: Cell::new(0) }
    }

    /// Where the user is in this role.
    pub(crate) async fn find(
        &self,
        user: UserId,
        role: Role,
    ) -> Result<Option<InstanceId>, Status> {
        let key = (user, role);
        if let Some(known) = self.places.borrow().get(&key) {
            return Ok(Some(known.place.instance.clone()));
        }
        let moves = self.moves.get();
        let Some(located) = self.look(user, &key.1).await? else { return Ok(None) };
        let instance = located.place.instance.clone();
        if moves == self.moves.get() {
            self.remember(key, located);
        }
        Ok(Some(instance))
    }

    /// The same, whatever is remembered.
    pub(super) async fn look(&self, user: UserId, role: &Role) -> Result<Option<Located>, Status> {
        let role = role.clone();
        let asked = move |l: Arc<dyn Locator>| -> BoxFuture<'static, _> {
            Box::pin(async move { l.find(user, &role).await })
        };
        self.ask(asked).await
    }

    /// What is remembered of the user in this role turned out to be wrong.
    pub(crate) fn forget(&self, user: UserId, role: Role) {
        self.places.borrow_mut().remove(&(user, role));
    }

    /// The user has just been claimed for `place`, by it, in an epoch that is not known here: a later one
    /// than what is remembered. No look is needed, so what is sent next overtakes nothing.
    pub(super) fn arrived(&self, user: UserId, place: Place) {
        self.moves.set(self.moves.get().wrapping_add(1));
        let key = (user, place.role.clone());
        let known = self.places.borrow().get(&key).map_or(0, |known| known.epoch.0);
        self.remember(key, Located { place, epoch: Epoch(known.saturating_add(1)) });
    }

    /// The user's place in this role has just changed: neither what is remembered of it is right, nor what
    /// somebody is being answered.
    pub(super) fn outdated(&self, user: UserId, role: Role) {
        self.moves.set(self.moves.get().wrapping_add(1));
        self.forget(user, role);
    }

    /// Makes `place` the user's place.
    pub(crate) async fn claim(&self, user: UserId, place: Place) -> Result<Claim, Status> {
        let here = place == self.bound.me;
        if here && self.bound.is_full() && !self.bound.has(user) {
            return Err(Status::busy("too many users are bound to this node"));
        }
        // Only for itself can it say in which life it claims.
        let incarnation = here.then(|| self.incarnation.borrow_mut().current());
        let claimed = place.clone();
        let asked = move |l: Arc<dyn Locator>| -> BoxFuture<'static, _> {
            Box::pin(async move { l.claim(user, &claimed, incarnation).await })
        };
        let leaves = place.role == self.bound.me.role && !here;
        // Before the news of it, which would else be that the user is lost.
        let known = if leaves { self.bound.remove(user) } else { None };
        let claimed = self.ask(asked).await;
        if claimed.is_err() {
            known.into_iter().for_each(|epoch| self.bound.add(user, epoch));
        }
        let claim = claimed?;
        self.bound.left(user, claim.epoch);
        if here {
            self.bound.add(user, claim.epoch);
        }
        let located = Located { place: place.clone(), epoch: claim.epoch };
        self.newer((user, place.role), located);
        Ok(claim)
    }

    /// The same for this node's own life, unless the user is at another place.
    pub(super) async fn claim_if_free(
        &self,
        user: UserId,
        place: Place,
    ) -> Result<Attempt, Status> {
        let life = Some(self.incarnation.borrow_mut().current());
        let asked = move |l: Arc<dyn Locator>| -> BoxFuture<'static, _> {
            Box::pin(async move { l.claim_if_free(user, &place, life).await })
        };
        self.ask(asked).await
    }

    /// Whether this node's life goes on.
    pub(super) async fn renew(&self) -> Result<Result<(), LocatorError>, Status> {
        let life = self.incarnation.borrow_mut().current();
        let (locator, id) = (Arc::clone(&self.locator), self.bound.me.instance.clone());
        self.backend.run(async move { locator.renew(&id, life).await }).await
    }

    /// Takes the user's place away if it is `place`. Gives whether it was.
    pub(crate) async fn release(&self, user: UserId, place: Place) -> Result<bool, Status> {
        let known = if place == self.bound.me { self.bound.remove(user) } else { None };
        let released = self.take_back(user, place).await;
        if released.is_ok() {
            known.into_iter().for_each(|epoch| self.bound.left(user, epoch));
        } else {
            // Nobody knows; it was not unbound for the one who asked.
            known.into_iter().for_each(|epoch| self.bound.add(user, epoch));
        }
        released
    }

    async fn take_back(&self, user: UserId, place: Place) -> Result<bool, Status> {
        let found = self.look(user, &place.role).await?;
        let Some(located) = found.filter(|located| located.place == place) else {
            return Ok(false);
        };
        let role = place.role.clone();
        let asked = move |l: Arc<dyn Locator>| -> BoxFuture<'static, _> {
            Box::pin(async move { l.release(user, &place, located.epoch).await })
        };
        let released = self.ask(asked).await?;
        self.released((user, role), located.epoch);
        Ok(released)
    }

    pub(super) fn watch(&self) -> Moves {
        self.locator.watch()
    }

    pub(super) fn on_move(&self, moved: Moved) {
        self.moves.set(self.moves.get().wrapping_add(1));
        self.bound.on_move(&moved);
        match moved {
            Moved::Claimed { user, place, epoch } => {
                let key = (user, place.role.clone());
                let known = self.places.borrow().contains_key(&key);
                if known {
                    self.newer(key, Located { place, epoch });
                }
            }
            Moved::Released { user, place, epoch } => self.released((user, place.role), epoch),
            Moved::Closed { instance, .. } => {
                self.places.borrow_mut().retain(|_, at| at.place.instance != instance);
            }
            Moved::Lost | _ => self.places.borrow_mut().clear(),
        }
    }

    fn newer(&self, key: (UserId, Role), located: Located) {
        let stale = |known: &Located| known.epoch > located.epoch;
        if !self.places.borrow().get(&key).is_some_and(stale) {
            self.remember(key, located);
        }
    }

    fn released(&self, key: (UserId, Role), epoch: Epoch) {
        if let Entry::Occupied(known) = self.places.borrow_mut().entry(key)
            && known.get().epoch <= epoch
        {
            known.remove();
        }
    }

    fn remember(&self, key: (UserId, Role), located: Located) {
        let mut places = self.places.borrow_mut();
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert(key, located);
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(Arc<dyn Locator>) -> BoxFuture<'static, Result<T, LocatorError>>,
    ) -> Result<T, Status> {
        Ok(self.backend.run(ask(Arc::clone(&self.locator))).await??)
    }
}
