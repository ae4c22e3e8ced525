//! The locator as one host sees it.

use super::{Fact, HostStores, NoAnswer, Store};
use tokio::time::Instant;
use yumen_core::{
    BoxFuture,
    locator::{Attempt, Claim, Incarnation, Located, Locator, LocatorError, Moves, Place, Role},
};
use yumen_proto::{Epoch, InstanceId, UserId};

fn failed(source: NoAnswer) -> LocatorError {
    LocatorError::Backend { backend: "simulated", source: Box::new(source) }
}

impl HostStores {
    /// A life is new, or has given a sign.
    fn seen(&self, instance: &InstanceId, life: Incarnation) {
        self.stores.state().lives.insert(instance.clone(), (life, Instant::now()));
    }

    fn claimed(&self, user: UserId, place: &Place, claim: &Claim) {
        let millis = self.stores.0.trace.millis();
        let mut state = self.stores.state();
        let life = state.lives.get(&place.instance).map(|(life, _)| *life).unwrap_or_default();
        let instance = place.instance.clone();
        let is_gate = place.role == Role::Gate;
        let fact = Fact::Claimed { user, instance, is_gate, epoch: claim.epoch, life };
        state.facts.push((millis, fact));
    }
}

impl Locator for HostStores {
    fn name(&self) -> &str {
        "simulated"
    }

    fn open<'a>(
        &'a self,
        instance: &'a InstanceId,
    ) -> BoxFuture<'a, Result<Incarnation, LocatorError>> {
        Box::pin(async move {
            self.way(Store::Locator).await.map_err(failed)?;
            let life = self.stores.0.places.open(instance).await?;
            self.note(format_args!("open {instance}: {life}"));
            self.seen(instance, life);
            self.way(Store::Locator).await.map_err(failed)?;
            Ok(life)
        })
    }

    fn renew<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<(), LocatorError>> {
        Box::pin(async move {
            self.way(Store::Locator).await.map_err(failed)?;
            let renewed = self.stores.0.places.renew(instance, incarnation).await;
            self.note(format_args!("renew {instance} {incarnation}: {}", renewed.is_ok()));
            if renewed.is_ok() {
                self.seen(instance, incarnation);
            }
            self.way(Store::Locator).await.map_err(failed)?;
            renewed
        })
    }

    fn close<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        Box::pin(async move {
            self.way(Store::Locator).await.map_err(failed)?;
            let was_open = self.stores.0.places.close(instance, incarnation).await?;
            self.note(format_args!("close {instance} {incarnation}: {was_open}"));
            if was_open {
                self.stores.state().lives.remove(instance);
            }
            self.way(Store::Locator).await.map_err(failed)?;
            Ok(was_open)
        })
    }

    fn claim<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> BoxFuture<'a, Result<Claim, LocatorError>> {
        Box::pin(async move {
            self.way(Store::Locator).await.map_err(failed)?;
            let claim = self.stores.0.places.claim(user, place, incarnation).await;
            let epoch = claim.as_ref().ok().map(|claim| claim.epoch);
            self.note(format_args!("claim {user} {place} {incarnation:?}: {epoch:?}"));
            claim.iter().for_each(|claim| self.claimed(user, place, claim));
            self.way(Store::Locator).await.map_err(failed)?;
            claim
        })
    }

    fn claim_if_free<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> BoxFuture<'a, Result<Attempt, LocatorError>> {
        Box::pin(async move {
            self.way(Store::Locator).await.map_err(failed)?;
            let tried = self.stores.0.places.claim_if_free(user, place, incarnation).await;
            self.note(format_args!("claim {user} {place} {incarnation:?} if free: {tried:?}"));
            if let Ok(Attempt::Claimed(claim)) = &tried {
                self.claimed(user, place, claim);
            }
            self.way(Store::Locator).await.map_err(failed)?;
            tried
        })
    }

    fn release<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        Box::pin(async move {
            self.way(Store::Locator).await.map_err(failed)?;
            let released = self.stores.0.places.release(user, place, epoch).await;
            self.note(format_args!(
                "release {user} {place} {epoch:?}: {:?}",
                released.as_ref().ok()
            ));
            self.way(Store::Locator).await.map_err(failed)?;
            released
        })
    }

    fn find<'a>(
        &'a self,
        user: UserId,
        role: &'a Role,
    ) -> BoxFuture<'a, Result<Option<Located>, LocatorError>> {
        Box::pin(async move {
            self.way(Store::Locator).await.map_err(failed)?;
            let found = self.stores.0.places.find(user, role).await;
            self.note(format_args!("find {user} {role}: {:?}", found.as_ref().ok()));
            self.way(Store::Locator).await.map_err(failed)?;
            found
        })
    }

    fn watch(&self) -> Moves {
        self.host.moves.watch()
    }
}
