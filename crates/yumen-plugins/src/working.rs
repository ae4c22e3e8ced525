//! What every registry on a server is while it works: one client, a keeper for each record, and a follower for
//! each kind.
//!
//! It speaks no protocol: a [`Vendor`] does. The one thing to know: it is made without a runtime, and all it
//! does runs on the runtime of its first call.

use crate::{followed::Follower, orders::Keeper, tries};
use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::runtime::Handle;
use yumen_core::{
    cluster::{Instance, Kind, Snapshot},
    health::Health,
    registry::RegistryError,
    watch::Watch,
};
use yumen_proto::InstanceId;

/// Why something of a vendor's failed.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// A registry of one vendor's, as its settings describe it.
pub(crate) trait Vendor: fmt::Debug + Send + Sync {
    /// What errors call it.
    const NAME: &'static str;
    /// Whether a keeper is there for the next record of its instance; else it ends with the record.
    const KEEPERS_STAY: bool;
    /// What asks its servers.
    type Client: fmt::Debug + Send + Sync;

    /// Dials nobody yet; called on the runtime that carries its connections.
    ///
    /// # Errors
    /// It cannot be made.
    fn client(&self) -> Result<Self::Client, Cause>;

    /// Whether a record can be kept there at all.
    ///
    /// # Errors
    /// What is wrong with it: to try again changes nothing.
    fn check(&self, instance: &Instance) -> Result<(), RegistryError>;

    /// Begins to keep the records of an instance.
    fn keep(&self, runtime: &Handle, client: Arc<Self::Client>, instance: &Instance) -> Keeper;

    /// Begins to follow a kind.
    fn follow(&self, runtime: &Handle, client: Arc<Self::Client>, kind: Kind) -> Follower;
}

/// See the module. Dropping it ends the work.
#[derive(Debug)]
pub(crate) struct Working<V: Vendor> {
    vendor: V,
    work: Mutex<Work<V::Client>>,
}

/// What runs once the registry has been called.
#[derive(Debug)]
struct Work<C> {
    client: Option<(Handle, Arc<C>)>,
    keepers: BTreeMap<(Kind, InstanceId), Keeper>,
    followers: BTreeMap<Kind, Follower>,
}

impl<V: Vendor> Working<V> {
    pub(crate) fn new(vendor: V) -> Self {
        let (keepers, followers) = (BTreeMap::new(), BTreeMap::new());
        Self { vendor, work: Mutex::new(Work { client: None, keepers, followers }) }
    }

    /// How many values of the kinds that are followed are no records.
    pub(crate) fn unread(&self) -> usize {
        self.locked(|work| work.followers.values().map(Follower::unread).sum())
    }

    /// See [`Registry::join`](yumen_core::registry::Registry::join).
    pub(crate) async fn join(&self, instance: &Instance) -> Result<(), RegistryError> {
        self.vendor.check(instance)?;
        let published = self.locked(|work| {
            let (runtime, client) = self.client(work)?;
            let start = || self.vendor.keep(&runtime, client, instance);
            let keeper = work.keepers.entry((instance.kind, instance.id.clone()));
            Ok(keeper.or_insert_with(start).publish(instance))
        })?;
        published.await.map_err(failed::<V>)
    }

    /// See [`Registry::leave`](yumen_core::registry::Registry::leave).
    pub(crate) async fn leave(&self, id: &InstanceId, kind: Kind) -> Result<(), RegistryError> {
        let key = (kind, id.clone());
        let withdrawn = if V::KEEPERS_STAY {
            let cleared = self.locked(|work| work.keepers.get_mut(&key).map(Keeper::clear));
            match cleared {
                Some(cleared) => cleared.await,
                None => Ok(()),
            }
        } else {
            match self.locked(|work| work.keepers.remove(&key)) {
                Some(keeper) => keeper.withdraw().await,
                None => Ok(()),
            }
        };
        withdrawn.map_err(failed::<V>)
    }

    /// See [`Registry::watch`](yumen_core::registry::Registry::watch).
    pub(crate) async fn watch(&self, kind: Kind) -> Result<Watch<Snapshot>, RegistryError> {
        let watch = self.locked(|work| {
            let (runtime, client) = self.client(work)?;
            let start = || self.vendor.follow(&runtime, client, kind);
            Ok(work.followers.entry(kind).or_insert_with(start).watch())
        })?;
        watch.await.map_err(failed::<V>)
    }

    /// The worst of its parts: each record, and each kind that is followed.
    pub(crate) fn health(&self) -> Health {
        self.locked(|work| {
            let keepers = work.keepers.values().map(|keeper| keeper.tries.health());
            let followers = work.followers.values().map(|follower| follower.tries().health());
            keepers.chain(followers).fold(Health::Good, tries::worse)
        })
    }

    fn client(
        &self,
        work: &mut Work<V::Client>,
    ) -> Result<(Handle, Arc<V::Client>), RegistryError> {
        if let Some((runtime, client)) = &work.client {
            return Ok((runtime.clone(), Arc::clone(client)));
        }
        let runtime = Handle::try_current().map_err(failed::<V>)?;
        let client = Arc::new(self.vendor.client().map_err(failed::<V>)?);
        work.client = Some((runtime.clone(), Arc::clone(&client)));
        Ok((runtime, client))
    }

    /// A panic in an earlier holder is not a reason to stop: every step leaves the tables whole.
    fn locked<T>(&self, work: impl FnOnce(&mut Work<V::Client>) -> T) -> T {
        work(&mut self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn failed<V: Vendor>(source: impl Into<Cause>) -> RegistryError {
    RegistryError::Backend { backend: V::NAME, source: source.into() }
}
