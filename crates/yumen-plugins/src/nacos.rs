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
    working::{Cause, Vendor, Working},
};
use builder::Plan;
use client::{Access, Client};
use naming::Naming;
use std::sync::Arc;
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
pub struct NacosRegistry(Working<Plan>);

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
        self.0.unread()
    }
}

impl Registry for NacosRegistry {
    fn name(&self) -> &str {
        Plan::NAME
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(self.0.join(instance))
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(self.0.leave(id, kind))
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        Box::pin(self.0.watch(kind))
    }

    fn health(&self) -> Health {
        self.0.health()
    }
}

impl Vendor for Plan {
    const NAME: &'static str = "nacos";
    const KEEPERS_STAY: bool = true;
    type Client = Naming;

    fn client(&self) -> Result<Naming, Cause> {
        let access = Access {
            urls: self.urls.clone(),
            timeout: self.timeout,
            user: self.user.clone(),
            tls: self.tls.clone(),
        };
        Ok(Naming {
            client: Client::new(access)?,
            namespace: self.namespace.clone(),
            group: self.group.clone(),
            cluster: self.cluster.clone(),
        })
    }

    fn check(&self, instance: &Instance) -> Result<(), RegistryError> {
        let unfit = |problem: record::UnfitError| RegistryError::Unfit {
            backend: Self::NAME,
            problem: problem.to_string(),
        };
        record::Entry::new(instance).map(drop).map_err(unfit)
    }

    fn keep(&self, runtime: &Handle, naming: Arc<Naming>, instance: &Instance) -> Keeper {
        keeper::start(runtime, naming, instance.kind, instance.id.as_str())
    }

    fn follow(&self, runtime: &Handle, naming: Arc<Naming>, kind: Kind) -> Follower {
        let Self { namespace, group, cluster, .. } = self;
        let of = Of {
            registry: "nacos".to_owned(),
            namespace: format!("{namespace}/{group}/{cluster}"),
            kind: record::word(kind).to_owned(),
        };
        let kept = self.cache_dir.as_ref().map(|dir| Kept::new(dir, of));
        follower::start(runtime, naming, kind, kept)
    }
}
