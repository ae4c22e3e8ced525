//! A locator around another one: for whoever counts, delays or refuses requests, whatever they ask for.
//!
//! It never changes what is asked for; what a request comes to is up to its [`Around`].

use super::{Attempt, Claim, Incarnation, Located, Locator, LocatorError, Moves, Place, Role};
use crate::{
    BoxFuture,
    health::{Health, Load},
};
use yumen_proto::{Epoch, InstanceId, UserId};

/// What a locator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// [`Locator::open`].
    Open,
    /// [`Locator::renew`].
    Renew,
    /// [`Locator::close`].
    Close,
    /// [`Locator::claim`] and [`Locator::claim_if_free`].
    Claim,
    /// [`Locator::release`].
    Release,
    /// [`Locator::find`], in this role.
    Find(&'a Role),
}

/// The answer to a request, once somebody waits for it.
pub type Request<'a, T> = BoxFuture<'a, Result<T, LocatorError>>;

/// What stands around a locator.
pub trait Around: Send + Sync + 'static {
    /// Carries out `request`, which does nothing before it is polled, and gives its answer or another.
    fn request<'a, T: Send + 'a>(
        &'a self,
        operation: Operation<'a>,
        request: Request<'a, T>,
    ) -> Request<'a, T>;

    /// Follows the changes of `inner`. Default: all of them.
    fn watch(&self, inner: &impl Locator) -> Moves {
        inner.watch()
    }
}

/// A locator, and what stands around it.
#[derive(Clone, Debug, Default)]
pub struct Wrapped<L, A> {
    /// The locator.
    pub inner: L,
    /// What stands around it.
    pub around: A,
}

impl<L: Locator, A: Around> Locator for Wrapped<L, A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn open<'a>(&'a self, instance: &'a InstanceId) -> Request<'a, Incarnation> {
        self.around.request(Operation::Open, self.inner.open(instance))
    }

    fn renew<'a>(&'a self, instance: &'a InstanceId, incarnation: Incarnation) -> Request<'a, ()> {
        self.around.request(Operation::Renew, self.inner.renew(instance, incarnation))
    }

    fn close<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> Request<'a, bool> {
        self.around.request(Operation::Close, self.inner.close(instance, incarnation))
    }

    fn claim<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> Request<'a, Claim> {
        self.around.request(Operation::Claim, self.inner.claim(user, place, incarnation))
    }

    fn claim_if_free<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> Request<'a, Attempt> {
        self.around.request(Operation::Claim, self.inner.claim_if_free(user, place, incarnation))
    }

    fn release<'a>(&'a self, user: UserId, place: &'a Place, epoch: Epoch) -> Request<'a, bool> {
        self.around.request(Operation::Release, self.inner.release(user, place, epoch))
    }

    fn find<'a>(&'a self, user: UserId, role: &'a Role) -> Request<'a, Option<Located>> {
        self.around.request(Operation::Find(role), self.inner.find(user, role))
    }

    fn watch(&self) -> Moves {
        self.around.watch(&self.inner)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn load(&self) -> Option<Load> {
        self.inner.load()
    }
}
