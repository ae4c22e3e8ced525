//! Instances in etcd, as due v2.5 writes them there: interchangeable with due's processes on one server.
//!
//! A record is one key, `/<namespace>/<kind>/<id>`, on a lease of its own of `retryInterval` and a second;
//! its value is [`Instance`] as JSON, which is due's record byte for byte. etcd 3.4 and later.
//!
//! | When | What is promised |
//! |---|---|
//! | a state, a weight or a record changes | it is put on the same lease at once; watches see it within a second |
//! | a process is killed | its records go when their leases run out: after 11 s with due's `retryInterval` |
//! | etcd is away, or silent | the last set stays; watching and registering are tried again for ever, every 0.05 to 2 s |
//! | etcd is back | all is read again; those who are missing and had not said that they go stay in the set for a lease longer, since their leases may have run out with the server, not with them |
//! | there is no quorum | sets are read from any member, unless it is behind what was seen; new records wait |
//! | a lease is lost, a record deleted, a server's memory gone | registered again at the next check, at most a third of the lease later |
//! | another process puts a record under the same key | it is never written over; [`Registry::health`] names both until one is stopped. The first join of a process replaces what is there: ask the set before |
//! | a value is no record | skipped, counted by [`EtcdRegistry::unread`], warned about once |
//! | a process starts while etcd is down | with a folder for copies ([`EtcdRegistryBuilder::cache_dir`]) it begins with the set that was kept last, and says so |
//!
//! Every call has a deadline (`timeout`, 5 s at most) and goes to the next member if one fails. A stream that
//! is silent for that long is asked for a sign of life and is given up after as long again. `retryTimes` is
//! not honoured: nothing is given up. Connections are not encrypted; due has no keys for that either.

mod builder;
mod client;
mod follower;
mod keeper;
mod messages;

pub use builder::EtcdRegistryBuilder;

use crate::{
    followed::Follower,
    kept::{Kept, Of},
    orders::Keeper,
    working::{Cause, Vendor, Working},
};
use builder::Plan;
use client::{Access, Client};
use follower::Range;
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
use yumen_settings::{Settings, keys::backends::RegistryEtcdSettings};

/// A registry on etcd: see the module for what it promises. Share it in an `Arc`.
///
/// Made without a runtime; its work runs on the runtime of the first call, and ends when it is dropped. The
/// records of a registry that is dropped without [`Registry::leave`] go when their leases run out.
///
/// ```
/// use yumen_plugins::etcd::EtcdRegistry;
///
/// let registry = EtcdRegistry::builder(["10.0.0.1:2379", "10.0.0.2:2379"]).build()?;
/// let problems = EtcdRegistry::builder(["10.0.0.1"]).namespace("").build().unwrap_err();
/// assert_eq!(problems.len(), 2);
/// # Ok::<(), Vec<String>>(())
/// ```
#[derive(Debug)]
pub struct EtcdRegistry(Working<Plan>);

impl EtcdRegistry {
    /// A registry as `registry.etcd` says, without copies on disk.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, each with its key.
    pub fn new(settings: &RegistryEtcdSettings) -> Result<Self, Vec<String>> {
        EtcdRegistryBuilder::from_settings(settings).build()
    }

    /// A registry as the whole settings say: `registry.etcd`, and `yumen.registry` for the folder of
    /// copies.
    ///
    /// # Errors
    /// As [`EtcdRegistry::new`].
    pub fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        EtcdRegistryBuilder::from_settings(&settings.registry.etcd)
            .cache_dir(&settings.yumen.registry.cache_dir)
            .build()
    }

    /// A registry on these members, each as `host:port`, with due's defaults for the rest.
    pub fn builder<A: Into<String>>(addrs: impl IntoIterator<Item = A>) -> EtcdRegistryBuilder {
        EtcdRegistryBuilder::new(addrs)
    }

    /// How many values under the prefixes that are followed are no records, and are left out of the sets.
    pub fn unread(&self) -> usize {
        self.0.unread()
    }
}

impl Registry for EtcdRegistry {
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
    const NAME: &'static str = "etcd";
    const KEEPERS_STAY: bool = false;
    type Client = Client;

    fn client(&self) -> Result<Client, Cause> {
        let access = Access {
            endpoints: self.endpoints.clone(),
            timeout: self.timeout,
            user: self.user.clone(),
            tls: self.tls.clone(),
        };
        Client::new(access).ok_or_else(|| "no addresses".into())
    }

    fn check(&self, instance: &Instance) -> Result<(), RegistryError> {
        let id = &instance.id;
        if id.as_str().contains('/') {
            let problem = format!("the id {id} contains a slash, which ends a part of a key");
            return Err(RegistryError::Backend { backend: Self::NAME, source: problem.into() });
        }
        Ok(())
    }

    fn keep(&self, runtime: &Handle, client: Arc<Client>, instance: &Instance) -> Keeper {
        let key = format!("{}{}", self.prefix(instance.kind), instance.id);
        keeper::start(runtime, client, key, self.lease)
    }

    fn follow(&self, runtime: &Handle, client: Arc<Client>, kind: Kind) -> Follower {
        let of = Of {
            registry: "etcd".to_owned(),
            namespace: self.namespace.clone(),
            kind: word(kind).to_owned(),
        };
        let kept = self.cache_dir.as_ref().map(|dir| Kept::new(dir, of));
        let range = Range { kind, prefix: self.prefix(kind), grace: self.lease, kept };
        follower::start(runtime, client, range)
    }
}

impl Plan {
    fn prefix(&self, kind: Kind) -> String {
        format!("/{}/{}/", self.namespace, word(kind))
    }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Gate => "gate",
        Kind::Node => "node",
        Kind::Mesh => "mesh",
        Kind::Master => "master",
    }
}
