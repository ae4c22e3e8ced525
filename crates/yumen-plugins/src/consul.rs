//! Instances in Consul, as due v2.5 registers them there: interchangeable with due's processes.
//!
//! An instance is a service of the agent at `addr`, `<kind>-<id>`, named after its kind, with its record in
//! the service's texts, as due writes and reads them. Consul 1.13 is what it is tested with.
//!
//! | When | What is promised |
//! |---|---|
//! | a state, a weight or a record changes | the service is registered anew at once and stays passing; watches see it within a second |
//! | a process is killed | it goes when its heartbeat has run out: within 10 s with due's `heartbeatCheckInterval` |
//! | Consul is away, or silent | the last set stays; watching and registering are tried again for ever, every 0.05 to 2 s |
//! | Consul is back | all is read again; those who are missing and had not said that they go stay in the set until they had time to be seen again: 25 s with due's settings |
//! | an agent is restarted, with its memory or without, or has lost the service or its check | registered again at the next heartbeat, 5 s later at most (due never does, W-20) |
//! | the index goes backwards | everything is read anew, as after an outage |
//! | another process registers under the same id at this agent | it is never written over; [`Registry::health`] names both until one is stopped. The first join of a process replaces what is there: ask the set before |
//! | two agents have the same id | the one that was registered later counts, for everybody |
//! | a service of that name is no record | skipped, counted by [`ConsulRegistry::unread`], warned about once |
//! | a record does not fit into Consul | [`RegistryError::Unfit`] names what is too long: 512 bytes for each text, 64 texts; routes take one for each 80 or so |
//! | a process starts while Consul is down | with a folder for copies ([`ConsulRegistryBuilder::cache_dir`]) it begins with the set that was kept last, and says so |
//!
//! due's records carry no status, so its instances are seen once the first checks have passed; Yumen's say
//! that they pass from the start. Routes below zero are written as due does, and are read, which due cannot.

mod builder;
mod client;
mod follower;
mod keeper;
mod record;

pub use builder::ConsulRegistryBuilder;

use crate::{
    followed::Follower,
    kept::{Kept, Of},
    orders::Keeper,
    working::{Cause, Vendor, Working},
};
use builder::Plan;
use client::{Access, Client};
use follower::Range;
use std::{sync::Arc, time::Duration};
use tokio::runtime::Handle;
use yumen_core::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    health::Health,
    registry::{Registry, RegistryError},
    watch::Watch,
};
use yumen_proto::InstanceId;
use yumen_settings::{Settings, keys::backends::RegistryConsulSettings};

/// Longest time that one question waits for something new.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A registry on Consul: see the module for what it promises. Share it in an `Arc`.
///
/// Made without a runtime; its work runs on the runtime of the first call, and ends when it is dropped. The
/// instances of a registry that is dropped without [`Registry::leave`] go when their heartbeats have run out.
///
/// ```
/// use yumen_plugins::consul::ConsulRegistry;
///
/// let registry = ConsulRegistry::builder("127.0.0.1:8500").token("b1gs33cr3t").build()?;
/// let problems = ConsulRegistry::builder("127.0.0.1").build().unwrap_err();
/// assert!(problems[0].starts_with("registry.consul.addr: \"127.0.0.1\" is not host:port"));
/// # Ok::<(), Vec<String>>(())
/// ```
#[derive(Debug)]
pub struct ConsulRegistry(Working<Plan>);

impl ConsulRegistry {
    /// A registry as `registry.consul` says, without copies on disk.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, each with its key.
    pub fn new(settings: &RegistryConsulSettings) -> Result<Self, Vec<String>> {
        ConsulRegistryBuilder::from_settings(settings).build()
    }

    /// A registry as the whole settings say: `registry.consul`, and `yumen.registry` for the folder of
    /// copies.
    ///
    /// # Errors
    /// As [`ConsulRegistry::new`].
    pub fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        ConsulRegistryBuilder::from_settings(&settings.registry.consul)
            .cache_dir(&settings.yumen.registry.cache_dir)
            .build()
    }

    /// A registry at this agent, as `host:port`, `http://host:port` or `https://host:port`, with due's
    /// defaults for the rest.
    pub fn builder(addr: impl Into<String>) -> ConsulRegistryBuilder {
        ConsulRegistryBuilder::new(addr)
    }

    /// How many services with the names that are followed are no records, and are left out of the sets.
    pub fn unread(&self) -> usize {
        self.0.unread()
    }
}

impl Registry for ConsulRegistry {
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
    const NAME: &'static str = "consul";
    const KEEPERS_STAY: bool = true;
    type Client = Client;

    fn client(&self) -> Result<Client, Cause> {
        let access = Access {
            url: self.url.clone(),
            timeout: self.timeout,
            token: self.token.clone(),
            tls: self.tls.clone(),
        };
        Ok(Client::new(access)?)
    }

    fn check(&self, instance: &Instance) -> Result<(), RegistryError> {
        record::registration(instance, &self.checks).map(drop)
    }

    fn keep(&self, runtime: &Handle, client: Arc<Client>, instance: &Instance) -> Keeper {
        let whose = (instance.kind, instance.id.as_str());
        keeper::start(runtime, client, whose, (self.checks, self.every))
    }

    fn follow(&self, runtime: &Handle, client: Arc<Client>, kind: Kind) -> Follower {
        let of = Of {
            registry: "consul".to_owned(),
            namespace: "services".to_owned(),
            kind: record::word(kind).to_owned(),
        };
        let kept = self.cache_dir.as_ref().map(|dir| Kept::new(dir, of));
        // A server that sleeps is noticed before the first heartbeat has run out.
        let wait = self.every.mul_f64(0.4).min(WAIT_MAX);
        let checked = self.checks.health;
        let checked =
            checked.map_or(Duration::ZERO, |(interval, timeout)| interval.saturating_add(timeout));
        let grace = self.every.saturating_mul(2).saturating_add(checked);
        follower::start(runtime, client, Range { kind, wait, grace, kept })
    }
}
