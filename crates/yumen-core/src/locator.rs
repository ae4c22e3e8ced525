//! Where a user is: which gate holds the connection, which node holds the state.
//!
//! The rules that every [`Locator`] keeps, and why:
//!
//! 1. **A claim always wins.** The newest claim of a user in a role is the place; the answer
//!    names the place that lost, so that a duplicate login is noticed (W-40).
//! 2. **Epochs only grow.** Every claim of one user in one role has a greater epoch than all
//!    before it, also after a release, also when the same place claims again. Gaps are normal.
//! 3. **A release is compare-and-delete** on place *and* epoch: an old owner that wakes up late
//!    can never remove a newer claim, not even its own.
//! 4. **Places live as long as their instance.** An instance opens and gets an incarnation; when
//!    it closes, fails to renew, or opens again, every place of the earlier incarnation is gone
//!    at once (W-19). A claim for an instance that is not open is refused.
//! 5. **Nothing else ends a place**: a node keeps its users while their connections come and go.
//! 6. **Every change is told** to those who [`Locator::watch`], in the order of the epochs of one
//!    user and role, at some time after it is true. Who cannot follow gets [`Moved::Lost`] and
//!    the stream goes on.
//!
//! A cache of places is kept right like this: drop everything at `Lost`; let an event change an
//! entry only if its epoch is not older; and throw the answer of a [`Locator::find`] away if an
//! event about that user, a `Closed` or a `Lost` came in between.
//!
//! Called from the service runtime only. A new backend is done when `conformance::locator` passes.

mod moves;
mod wrapped;

use crate::{
    health::{Health, Load},
    status::Status,
};
use std::{error::Error, fmt, sync::Arc, time::Duration};
use yumen_proto::{Epoch, InstanceId, UserId};

pub use moves::{Moved, Moves, MovesSender};
pub use wrapped::{Around, Operation, Request, Wrapped};

/// How often an open instance must renew. A backend gives up an instance after three of these
/// in silence.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(3);

/// What a user has a place for. A user has at most one place in each role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The gate that holds the user's connection.
    Gate,
    /// The node of this group (the nodes' alias) that holds the user's state.
    Node(Arc<str>),
}

impl Role {
    /// The role of the nodes of one group.
    pub fn node(group: impl Into<Arc<str>>) -> Self {
        Self::Node(group.into())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate => f.write_str("gate"),
            Self::Node(group) => write!(f, "node {group}"),
        }
    }
}

/// An instance in a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What for.
    pub role: Role,
    /// Where.
    pub instance: InstanceId,
}

impl Place {
    /// A gate.
    pub fn gate(instance: impl Into<InstanceId>) -> Self {
        Self { role: Role::Gate, instance: instance.into() }
    }

    /// A node of a group.
    pub fn node(group: impl Into<Arc<str>>, instance: impl Into<InstanceId>) -> Self {
        Self { role: Role::node(group), instance: instance.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.instance)
    }
}

/// One life of an instance: of two lives under one id, the greater number is the later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a user is, and since which claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The place.
    pub place: Place,
    /// The claim that made it so.
    pub epoch: Epoch,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The new claim; needed to release it.
    pub epoch: Epoch,
    /// Where the user was until now; it may be the same place. Places of instances that are
    /// gone are not reported.
    pub previous: Option<Located>,
}

/// The answer to a claim that takes nothing from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The place is the user's now.
    Claimed(Claim),
    /// The user is at another place, and stays there.
    Taken(Located),
}

/// Where users are. See the module for the rules.
///
/// Dropping a future may leave its effect done or not done. A caller that does not know whether
/// its claim took effect claims again.
pub trait Locator: Send + Sync + 'static {
    /// What it is, for a person: one or two words, as `redis`. Default: the name of its type.
    fn name(&self) -> &str {
        crate::type_name::<Self>()
    }

    /// Begins a life of an instance and gives its number, greater than of every earlier one. If
    /// the instance was open, that life ends: its places are gone and the watchers are told.
    ///
    /// # Errors
    /// [`LocatorError::Backend`], [`LocatorError::Full`].
    fn open<'a>(&'a self, instance: &'a InstanceId) -> Request<'a, Incarnation>;

    /// Says that the instance is alive, every [`RENEW_INTERVAL`].
    ///
    /// # Errors
    /// [`LocatorError::NotOpen`], [`LocatorError::Superseded`]: this life is over as far as
    /// others can see, because the backend gave it up or lost its memory. The instance opens
    /// again and claims its users again.
    fn renew<'a>(&'a self, instance: &'a InstanceId, incarnation: Incarnation) -> Request<'a, ()>;

    /// Ends a life: all places of the instance are gone and the watchers are told. Gives `false`,
    /// and does nothing, if that life is over already.
    ///
    /// Whoever must end a life without knowing its number opens the instance and closes that.
    ///
    /// # Errors
    /// [`LocatorError::Backend`]; the life then ends by itself for want of renewal.
    fn close<'a>(&'a self, instance: &'a InstanceId, incarnation: Incarnation)
    -> Request<'a, bool>;

    /// Makes `place` the user's place in its role.
    ///
    /// `incarnation` is the caller's own life when it claims for itself, so that a life that is
    /// over cannot claim; `None` claims on behalf of another instance, whichever life is open.
    ///
    /// # Errors
    /// [`LocatorError::NotOpen`], [`LocatorError::Superseded`], [`LocatorError::Full`]: nothing
    /// changed. [`LocatorError::Backend`]: the claim may have taken effect.
    fn claim<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> Request<'a, Claim>;

    /// As [`Locator::claim`], but only if the user is at no other place in that role. Whoever claims
    /// again what an earlier life held must not take it from who has it since.
    ///
    /// Not given by a backend, it searches and then claims: a claim between the two is lost. Backends
    /// that can do both at once do so.
    ///
    /// # Errors
    /// As [`Locator::claim`].
    fn claim_if_free<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> Request<'a, Attempt> {
        Box::pin(async move {
            match self.find(user, &place.role).await?.filter(|at| at.place != *place) {
                Some(located) => Ok(Attempt::Taken(located)),
                None => Ok(Attempt::Claimed(self.claim(user, place, incarnation).await?)),
            }
        })
    }

    /// Takes the user's place away if it still is this place by this claim. Gives whether it was.
    ///
    /// # Errors
    /// [`LocatorError::Backend`]; the release may have taken effect, and may be tried again.
    fn release<'a>(&'a self, user: UserId, place: &'a Place, epoch: Epoch) -> Request<'a, bool>;

    /// Where the user is in a role; `None` is an answer. Never a place of an instance that is
    /// gone, and never older than a claim or release that was answered before the search began.
    ///
    /// # Errors
    /// [`LocatorError::Backend`]: nobody knows.
    fn find<'a>(&'a self, user: UserId, role: &'a Role) -> Request<'a, Option<Located>>;

    /// Follows every change from now on. The stream outlives failures of the backend.
    fn watch(&self) -> Moves;

    /// How the backend is doing now; asked for reports, never waits. Default: well.
    fn health(&self) -> Health {
        Health::Good
    }

    /// How busy its connections are; asked for metrics, never waits. Default: it has none.
    fn load(&self) -> Option<Load> {
        None
    }
}

/// A locator that several share is one.
impl<L: Locator + ?Sized> Locator for Arc<L> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn open<'a>(&'a self, instance: &'a InstanceId) -> Request<'a, Incarnation> {
        (**self).open(instance)
    }

    fn renew<'a>(&'a self, instance: &'a InstanceId, incarnation: Incarnation) -> Request<'a, ()> {
        (**self).renew(instance, incarnation)
    }

    fn close<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> Request<'a, bool> {
        (**self).close(instance, incarnation)
    }

    fn claim<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> Request<'a, Claim> {
        (**self).claim(user, place, incarnation)
    }

    fn claim_if_free<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> Request<'a, Attempt> {
        (**self).claim_if_free(user, place, incarnation)
    }

    fn release<'a>(&'a self, user: UserId, place: &'a Place, epoch: Epoch) -> Request<'a, bool> {
        (**self).release(user, place, epoch)
    }

    fn find<'a>(&'a self, user: UserId, role: &'a Role) -> Request<'a, Option<Located>> {
        (**self).find(user, role)
    }

    fn watch(&self) -> Moves {
        (**self).watch()
    }

    fn health(&self) -> Health {
        (**self).health()
    }

    fn load(&self) -> Option<Load> {
        (**self).load()
    }
}

/// Why a locator did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocatorError {
    /// The instance has no life now: it never opened, was closed, or was given up.
    #[error("instance {instance} is not open")]
    NotOpen {
        /// The instance of the place.
        instance: InstanceId,
    },
    /// The caller's life is over and another one of the same instance has begun.
    #[error("instance {instance} is at incarnation {current}, not {stated}")]
    Superseded {
        /// The instance of the place.
        instance: InstanceId,
        /// The life that the caller believes in.
        stated: Incarnation,
        /// The life that is open.
        current: Incarnation,
    },
    /// The locator holds as much as it may.
    #[error("locator is full: {max} {what}")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// The backend could not be reached or refused.
    #[error("locator {backend}: {source}")]
    Backend {
        /// Which backend: a short lower-case name.
        backend: &'static str,
        /// What it reported.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// To a player all of these mean: not now.
impl From<LocatorError> for Status {
    fn from(error: LocatorError) -> Self {
        let status = match &error {
            LocatorError::Full { .. } => Self::busy("too many users"),
            LocatorError::NotOpen { .. } | LocatorError::Superseded { .. } => {
                Self::unavailable("the instance is going away")
            }
            LocatorError::Backend { .. } => Self::unavailable("locations cannot be reached"),
        };
        status.caused_by(error)
    }
}
