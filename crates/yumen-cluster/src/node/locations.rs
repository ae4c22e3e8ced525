//! Where users are, remembered.
//!
//! A cache in front of the locator, kept right by the stream of moves: a lag drops everything, an
//! answer that a move has overtaken is used but not kept. Bounded; when full it starts again empty.

use crate::backend::Backend;
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    collections::hash_map::Entry,
    sync::Arc,
};
use yumen_core::{
    BoxFuture, Status,
    locator::{Claim, Incarnation, Located, Locator, LocatorError, Moved, Place, Role},
    watch::Watch,
};
use yumen_proto::id::{Epoch, InstanceId, UserId};

/// Most places remembered.
const PLACES_MAX: usize = 131_072;

/// See the module.
pub(crate) struct Locations {
    locator: Arc<dyn Locator>,
    backend: Backend,
    incarnation: RefCell<Watch<Incarnation>>,
    places: RefCell<FxHashMap<(UserId, Role), Located>>,
    moves: Cell<u64>,
}

impl Locations {
    pub(crate) fn new(
        locator: Arc<dyn Locator>,
        backend: Backend,
        incarnation: Watch<Incarnation>,
    ) -> Self {
        let (places, incarnation) = (RefCell::default(), RefCell::new(incarnation));
        Self { locator, backend, incarnation, places, moves: Cell::new(0) }
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
        let (moves, role) = (self.moves.get(), key.1.clone());
        let asked = move |l: Arc<dyn Locator>| -> BoxFuture<'static, _> {
            Box::pin(async move { l.find(user, &role).await })
        };
        let found = self.ask(asked).await?;
        let Some(located) = found else { return Ok(None) };
        let instance = located.place.instance.clone();
        if moves == self.moves.get() {
            self.remember(key, located);
        }
        Ok(Some(instance))
    }

    /// What is remembered of the user in this role turned out to be wrong.
    pub(crate) fn forget(&self, user: UserId, role: Role) {
        self.places.borrow_mut().remove(&(user, role));
    }

    /// Makes `place` the user's place.
    pub(crate) async fn claim(&self, user: UserId, place: Place) -> Result<Claim, Status> {
        let incarnation = Some(self.incarnation.borrow_mut().current());
        let claimed = place.clone();
        let asked = move |l: Arc<dyn Locator>| -> BoxFuture<'static, _> {
            Box::pin(async move { l.claim(user, &claimed, incarnation).await })
        };
        let claim = self.ask(asked).await?;
        let located = Located { place: place.clone(), epoch: claim.epoch };
        self.newer((user, place.role), located);
        Ok(claim)
    }

    /// Takes the user's place away if it is `place`. Gives whether it was.
    pub(crate) async fn release(&self, user: UserId, place: Place) -> Result<bool, Status> {
        let asked = {
            let role = place.role.clone();
            move |l: Arc<dyn Locator>| -> BoxFuture<'static, _> {
                Box::pin(async move { l.find(user, &role).await })
            }
        };
        let Some(located) = self.ask(asked).await?.filter(|l| l.place == place) else {
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

    /// Follows the moves for ever; each life that is over is told to `fence` too.
    pub(crate) async fn follow(&self, fence: impl Fn(&InstanceId, Incarnation)) {
        let mut moves = self.locator.watch();
        while let Some(moved) = moves.next().await {
            if let Moved::Closed { instance, incarnation } = &moved {
                fence(instance, *incarnation);
            }
            self.on_move(moved);
        }
    }

    fn on_move(&self, moved: Moved) {
        self.moves.set(self.moves.get().wrapping_add(1));
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
