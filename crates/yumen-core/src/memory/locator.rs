//! Locations inside one process.
//!
//! There is no clock here, so nothing expires: whoever runs the instances closes the one that
//! died. One counter numbers claims and lives alike; so both only grow, and nothing has to be
//! remembered about users and instances that are gone.

use super::{done, locked};
use crate::{
    BoxFuture,
    locator::{
        Attempt, Claim, Incarnation, Located, Locator, LocatorError, Moved, Moves, MovesSender,
        Place, Role,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Mutex,
};
use yumen_proto::{Epoch, InstanceId, UserId};

/// How much a [`MemoryLocator`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocatorLimits {
    /// Users times roles; one more claim is refused. Default: 2,000,000, which take about 230 MB.
    pub places_max: usize,
    /// Open instances; one more is refused. Default: 10,000.
    pub instances_max: usize,
    /// Events a follower may be behind before it is told [`Moved::Lost`]. Default: 4,096.
    pub moves_max: usize,
}

impl Default for LocatorLimits {
    fn default() -> Self {
        Self { places_max: 2_000_000, instances_max: 10_000, moves_max: 4_096 }
    }
}

/// Locations inside one process: share it in an `Arc`.
///
/// ```
/// use yumen_core::{locator::{Locator, Place, Role}, memory::MemoryLocator};
/// use yumen_proto::UserId;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let locator = MemoryLocator::default();
/// let (gate, user) = (Place::gate("gate-1"), UserId(7));
/// let life = locator.open(&gate.instance).await?;
/// let claim = locator.claim(user, &gate, Some(life)).await?;
/// assert_eq!(claim.previous, None);
/// assert_eq!(locator.find(user, &Role::Gate).await?.map(|found| found.place), Some(gate.clone()));
/// assert!(locator.release(user, &gate, claim.epoch).await?);
/// # Ok::<(), yumen_core::locator::LocatorError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryLocator {
    limits: LocatorLimits,
    // Changed and told under one lock, so that events have the order of the changes.
    state: Mutex<State>,
    moves: MovesSender,
}

#[derive(Debug, Default)]
struct State {
    counter: u64,
    places: BTreeMap<Seat, Held>,
    open: BTreeMap<InstanceId, Life>,
}

/// What can be held by one instance at a time.
type Seat = (UserId, Role);

#[derive(Debug)]
struct Held {
    instance: InstanceId,
    epoch: Epoch,
}

/// One life of an instance, and the seats it holds: exactly those in `places` that name it.
#[derive(Debug)]
struct Life {
    incarnation: Incarnation,
    seats: BTreeSet<Seat>,
}

impl State {
    fn count(&mut self) -> u64 {
        self.counter = self.counter.saturating_add(1);
        self.counter
    }

    /// The life of an instance, if it is the stated one.
    fn life(
        &mut self,
        instance: &InstanceId,
        stated: Option<Incarnation>,
    ) -> Result<&mut Life, LocatorError> {
        let Some(life) = self.open.get_mut(instance) else {
            return Err(LocatorError::NotOpen { instance: instance.clone() });
        };
        match stated {
            Some(stated) if stated != life.incarnation => Err(LocatorError::Superseded {
                instance: instance.clone(),
                stated,
                current: life.incarnation,
            }),
            _ => Ok(life),
        }
    }

    /// Ends the life of an instance, whichever it is; what to tell, if there was one.
    fn end(&mut self, instance: &InstanceId) -> Option<Moved> {
        let life = self.open.remove(instance)?;
        for seat in &life.seats {
            self.places.remove(seat);
        }
        Some(Moved::Closed { instance: instance.clone(), incarnation: life.incarnation })
    }

    fn claim(
        &mut self,
        user: UserId,
        place: &Place,
        stated: Option<Incarnation>,
        places_max: usize,
    ) -> Result<Claim, LocatorError> {
        let seat = (user, place.role.clone());
        self.life(&place.instance, stated)?;
        if self.places.len() >= places_max && !self.places.contains_key(&seat) {
            return Err(LocatorError::Full { what: "places", max: places_max });
        }
        let epoch = Epoch(self.count());
        self.life(&place.instance, stated)?.seats.insert(seat.clone());
        let held = Held { instance: place.instance.clone(), epoch };
        let lost = self.places.insert(seat.clone(), held);
        let previous = lost.map(|lost| {
            if lost.instance != place.instance
                && let Some(loser) = self.open.get_mut(&lost.instance)
            {
                loser.seats.remove(&seat);
            }
            let place = Place { role: seat.1, instance: lost.instance };
            Located { place, epoch: lost.epoch }
        });
        Ok(Claim { epoch, previous })
    }

    fn release(&mut self, user: UserId, place: &Place, epoch: Epoch) -> bool {
        let seat = (user, place.role.clone());
        let Entry::Occupied(entry) = self.places.entry(seat) else {
            return false;
        };
        if entry.get().epoch != epoch || entry.get().instance != place.instance {
            return false;
        }
        let (seat, held) = entry.remove_entry();
        if let Some(life) = self.open.get_mut(&held.instance) {
            life.seats.remove(&seat);
        }
        true
    }
}

impl Default for MemoryLocator {
    fn default() -> Self {
        Self::bounded(LocatorLimits::default())
    }
}

impl MemoryLocator {
    /// A locator that holds so much and no more.
    pub fn bounded(limits: LocatorLimits) -> Self {
        let moves = MovesSender::bounded(limits.moves_max);
        Self { limits, state: Mutex::default(), moves }
    }

    /// How many places are held now.
    pub fn places(&self) -> usize {
        locked(&self.state, |state| state.places.len())
    }
}

impl Locator for MemoryLocator {
    fn name(&self) -> &str {
        "in memory"
    }

    fn open<'a>(
        &'a self,
        instance: &'a InstanceId,
    ) -> BoxFuture<'a, Result<Incarnation, LocatorError>> {
        let max = self.limits.instances_max;
        done(locked(&self.state, |state| {
            if state.open.len() >= max && !state.open.contains_key(instance) {
                return Err(LocatorError::Full { what: "instances", max });
            }
            state.end(instance).into_iter().for_each(|closed| self.moves.send(closed));
            let incarnation = Incarnation(state.count());
            let life = Life { incarnation, seats: BTreeSet::new() };
            state.open.insert(instance.clone(), life);
            Ok(incarnation)
        }))
    }

    fn renew<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<(), LocatorError>> {
        done(locked(&self.state, |state| state.life(instance, Some(incarnation)).map(|_| ())))
    }

    fn close<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        done(Ok(locked(&self.state, |state| {
            let alive = state.life(instance, Some(incarnation)).is_ok();
            let closed = if alive { state.end(instance) } else { None };
            closed.into_iter().for_each(|closed| self.moves.send(closed));
            alive
        })))
    }

    fn claim<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> BoxFuture<'a, Result<Claim, LocatorError>> {
        done(locked(&self.state, |state| {
            let claim = state.claim(user, place, incarnation, self.limits.places_max)?;
            let (place, epoch) = (place.clone(), claim.epoch);
            self.moves.send(Moved::Claimed { user, place, epoch });
            Ok(claim)
        }))
    }

    fn claim_if_free<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> BoxFuture<'a, Result<Attempt, LocatorError>> {
        done(locked(&self.state, |state| {
            state.life(&place.instance, incarnation)?;
            let held = state.places.get(&(user, place.role.clone()));
            if let Some(held) = held.filter(|held| held.instance != place.instance) {
                let at = Place { role: place.role.clone(), instance: held.instance.clone() };
                return Ok(Attempt::Taken(Located { place: at, epoch: held.epoch }));
            }
            let claim = state.claim(user, place, incarnation, self.limits.places_max)?;
            let (place, epoch) = (place.clone(), claim.epoch);
            self.moves.send(Moved::Claimed { user, place, epoch });
            Ok(Attempt::Claimed(claim))
        }))
    }

    fn release<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        done(Ok(locked(&self.state, |state| {
            let released = state.release(user, place, epoch);
            if released {
                let place = place.clone();
                self.moves.send(Moved::Released { user, place, epoch });
            }
            released
        })))
    }

    fn find<'a>(
        &'a self,
        user: UserId,
        role: &'a Role,
    ) -> BoxFuture<'a, Result<Option<Located>, LocatorError>> {
        let seat = (user, role.clone());
        done(Ok(locked(&self.state, |state| {
            let held = state.places.get(&seat)?;
            let place = Place { role: seat.1, instance: held.instance.clone() };
            Some(Located { place, epoch: held.epoch })
        })))
    }

    fn watch(&self) -> Moves {
        self.moves.watch()
    }
}
