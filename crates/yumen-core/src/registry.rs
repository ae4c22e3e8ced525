//! Service discovery: who is there, and what do they offer.
//!
//! A [`Registry`] publishes instances and lets others follow one kind of them as whole
//! [`Snapshot`]s. It is called from the service runtime only; an instance never waits for a
//! backend, it reads the [`Watch`] it was given. A watch that works goes on working: while the
//! backend is away it keeps the last known set, and it never ends by itself.
//!
//! A new backend is done when `conformance::registry` passes against it.

/// The words of a record, for whoever only uses registries.
pub use crate::cluster::{Event, Instance, Kind, RouteInfo, Snapshot, State};
pub use crate::watch::Watch;

use crate::{BoxFuture, health::Health};
use std::{error::Error, sync::Arc};
use yumen_proto::InstanceId;

mod fixed;

pub use fixed::{StaticError, StaticRegistry};

/// Service discovery.
///
/// An instance is known by its kind *and* its id: a node that also serves a mesh is two records
/// under one id.
pub trait Registry: Send + Sync + 'static {
    /// What it is, for a person: one or two words, as `etcd`. Default: the name of its type.
    fn name(&self) -> &str {
        crate::type_name::<Self>()
    }

    /// Publishes an instance and keeps it alive until [`Registry::leave`]. Joining again with the
    /// same kind and id replaces the record: that is how a change of state is published.
    ///
    /// # Errors
    /// [`RegistryError`]; the record may then be published or not, and the caller tries again.
    /// Dropping the future has the same effect.
    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>>;

    /// Withdraws an instance. It is not an error if it is gone already.
    ///
    /// # Errors
    /// [`RegistryError`]; the record then goes by itself when the backend notices the silence.
    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>>;

    /// Follows one kind. The watch holds the whole current set at once.
    ///
    /// # Errors
    /// [`RegistryError`] if no set could be had at all.
    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>>;

    /// How the backend is doing now; asked for reports, never waits. Default: well.
    fn health(&self) -> Health {
        Health::Good
    }
}

/// A registry that several own: a program that keeps one in hand, and the cluster that uses it.
impl<R: Registry + ?Sized> Registry for Arc<R> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        (**self).join(instance)
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        (**self).leave(id, kind)
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        (**self).watch(kind)
    }

    fn health(&self) -> Health {
        (**self).health()
    }
}

/// The discovery backend failed. Keep the last good state, try again with back-off, and show it
/// in the health report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The backend could not be reached or refused.
    #[error("registry {backend}: {source}")]
    Backend {
        /// Which backend: a short lower-case name.
        backend: &'static str,
        /// What it reported.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The backend can never hold this record as it is, so trying again changes nothing.
    #[error("registry {backend} cannot hold the record: {problem}")]
    Unfit {
        /// Which backend: a short lower-case name.
        backend: &'static str,
        /// What does not fit, and what would.
        problem: String,
    },
    /// The registry holds as many instances as it may.
    #[error("registry is full: {max} instances")]
    Full {
        /// The bound.
        max: usize,
    },
}
