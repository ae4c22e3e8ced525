//! Instances in Nacos, as due v2.5 registers them there: interchangeable with due's processes.
//!
//! An instance is an ephemeral instance of the service that is named after its kind, in one namespace, group
//! and cluster, with its record in its metadata, as due writes and reads them. Nacos 2.3 is what it is tested
//! with; it is asked over its HTTP API, version 1.
//!
//! | When | What is promised |
//! |---|---|
//! | a state, a weight or a record changes | the instance is registered anew at once; Nacos shows it after about 1 s, and every set is read once a second |
//! | a process is killed | it is unhealthy, and out of every set, 9 to 16 s after its last heartbeat; they come every 3 s |
//! | Nacos is away, or silent | the last set stays; watching and registering are tried again for ever, every 0.05 to 2 s, at the next server if several are named |
//! | Nacos is back | all is read again; those who are missing and had not said that they go stay in the set for 15 s, until they had time to be seen again |
//! | Nacos has lost its memory, or an instance | registered again at the next heartbeat |
//! | another process registers under the same id at another address | neither is removed; [`Registry::health`] names the other until one is stopped. The first join of a process removes what is there: ask the set before |
//! | two instances of a kind have one address | they are one to Nacos, and the later counts |
//! | an instance of that service is no record, is unhealthy or disabled | skipped; what is no record is counted by [`NacosRegistry::unread`] and warned about once |
//! | a record's metadata are too long | a server takes 1,024 characters, names included, unless its check of parameters is off: about 30 routes. [`Registry::join`] says how many they are and which are the longest |
//! | a token runs out | one new login |
//! | a process starts while Nacos is down | with a folder for copies ([`NacosRegistryBuilder::cache_dir`]) it begins with the set that was kept last, and says so |
//!
//! Not the published SDK: its tree has 340 lines, it starts a runtime and an HTTP client of its own for the
//! whole process, wants a home directory, and none of that can be bounded from outside.

mod builder;
mod client;
mod follower;
mod keeper;
mod naming;
mod record;

pub use builder::NacosRegistryBuilder;

use crate::{
    followed::Follower,
    kept::{Kept, Of},
    orders::Keeper,
    tries,
};
use builder::Plan;
use client::{Access, Client};
use naming::Naming;
use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::runtime::Handle;
use yumen_core::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    health::Health,
    registry::{Registry, RegistryError},
    watch::Watch,
};
use yumen_proto::InstanceId;
use yumen_settings::{Settings, keys::backends::RegistryNacosSettings};

/// A registry on Nacos: see the module for what it promises. Share it in an `Arc`.
///
/// Made without a runtime; its work runs on the runtime of the first call, and ends when it is dropped. The
/// instances of a registry that is dropped without [`Registry::leave`] go when their heartbeats are missed.
///
/// ```
/// use yumen_plugins::nacos::NacosRegistry;
///
/// let registry = NacosRegistry::builder(["http://10.0.0.1:8848/nacos"]).user("game", "s3cret").build()?;
/// let problems = NacosRegistry::builder(["10.0.0.1:8848"]).group("").build().unwrap_err();
/// assert_eq!(problems.len(), 2);
/// # Ok::<(), Vec<String>>(())
/// ```
#[derive(Debug)]
pub struct NacosRegistry {
    plan: Plan,
    work: Mutex<Work>,
}

/// What runs once the registry has been called.
#[derive(Debug, Default)]
struct Work {
    naming: Option<(Handle, Arc<Naming>)>,
    keepers: BTreeMap<(Kind, InstanceId), Keeper>,
    followers: BTreeMap<Kind, Follower>,
}

impl NacosRegistry {
    /// A registry as `registry.nacos` says, without copies on disk.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, each with its key.
    pub fn new(settings: &RegistryNacosSettings) -> Result<Self, Vec<String>> {
        NacosRegistryBuilder::from_settings(settings).build()
    }

    /// A registry as the whole settings say: `registry.nacos`, and `yumen.registry` for the folder of
    /// copies.
    ///
    /// # Errors
    /// As [`NacosRegistry::new`].
    pub fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        NacosRegistryBuilder::from_settings(&settings.registry.nacos)
            .cache_dir(&settings.yumen.registry.cache_dir)
            .build()
    }

    /// A registry on these servers, each as `http://host:8848/nacos`, with due's defaults for the rest.
    pub fn builder<A: Into<String>>(urls: impl IntoIterator<Item = A>) -> NacosRegistryBuilder {
        NacosRegistryBuilder::new(urls)
    }

    /// How many instances of the services that are followed are no records, and are left out of the sets.
    pub fn unread(&self) -> usize {
        self.locked(|work| work.followers.values().map(Follower::unread).sum())
    }

    fn naming(&self, work: &mut Work) -> Result<(Handle, Arc<Naming>), RegistryError> {
        if let Some((runtime, naming)) = &work.naming {
            return Ok((runtime.clone(), Arc::clone(naming)));
        }
        let runtime = Handle::try_current().map_err(failed)?;
        let access = Access {
            urls: self.plan.urls.clone(),
            timeout: self.plan.timeout,
            user: self.plan.user.clone(),
            tls: self.plan.tls.clone(),
        };
        let naming = Arc::new(Naming {
            client: Client::new(access).map_err(failed)?,
            namespace: self.plan.namespace.clone(),
            group: self.plan.group.clone(),
            cluster: self.plan.cluster.clone(),
        });
        work.naming = Some((runtime.clone(), Arc::clone(&naming)));
        Ok((runtime, naming))
    }

    fn kept(&self, kind: Kind) -> Option<Kept> {
        let Plan { namespace, group, cluster, .. } = &self.plan;
        let of = Of {
            registry: "nacos".to_owned(),
            namespace: format!("{namespace}/{group}/{cluster}"),
            kind: record::word(kind).to_owned(),
        };
        self.plan.cache_dir.as_ref().map(|dir| Kept::new(dir, of))
    }

    /// A panic in an earlier holder is not a reason to stop: every step leaves the tables whole.
    fn locked<T>(&self, work: impl FnOnce(&mut Work) -> T) -> T {
        work(&mut self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Registry for NacosRegistry {
    fn name(&self) -> &str {
        "nacos"
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            // Before anything is tried: trying again changes nothing.
            record::Entry::new(instance).map_err(|problem| RegistryError::Unfit {
                backend: "nacos",
                problem: problem.to_string(),
            })?;
            let published = self.locked(|work| {
                let (runtime, naming) = self.naming(work)?;
                let (kind, id) = (instance.kind, &instance.id);
                let start = || keeper::start(&runtime, naming, kind, id.as_str());
                let keeper = work.keepers.entry((kind, id.clone()));
                Ok(keeper.or_insert_with(start).publish(instance))
            })?;
            published.await.map_err(failed)
        })
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            let withdrawn = self.locked(|work| {
                let keeper = work.keepers.get_mut(&(kind, id.clone()));
                keeper.map(Keeper::clear)
            });
            match withdrawn {
                Some(withdrawn) => withdrawn.await.map_err(failed),
                None => Ok(()),
            }
        })
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        Box::pin(async move {
            let watch = self.locked(|work| {
                let (runtime, naming) = self.naming(work)?;
                let start = || follower::start(&runtime, naming, kind, self.kept(kind));
                Ok(work.followers.entry(kind).or_insert_with(start).watch())
            })?;
            watch.await.map_err(failed)
        })
    }

    /// The worst of its parts: each record, and each kind that is followed.
    fn health(&self) -> Health {
        self.locked(|work| {
            let keepers = work.keepers.values().map(|keeper| keeper.tries.health());
            let followers = work.followers.values().map(|follower| follower.tries().health());
            keepers.chain(followers).fold(Health::Good, tries::worse)
        })
    }
}

fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> RegistryError {
    RegistryError::Backend { backend: "nacos", source: source.into() }
}
