//! What a handler takes: typed arguments, built from one message.
//!
//! Arguments are built *before* the handler's future exists: [`Msg`](super::Msg) is decoded straight
//! from the bytes that arrived and [`Raw`](super::Raw) copies them. So a future borrows nothing, a message that is done at
//! once copies nothing it does not keep, and one that waits owns exactly what it needs.
//!
//! To add an extractor, implement [`FromHead`] (anything but the body) or [`FromRequest`] (the last
//! argument, which may use the body) for a type of your own:
//!
//! ```
//! use yumen_cluster::node::{FromHead, Incoming};
//! use yumen_core::status::Status;
//!
//! struct Odd(bool);
//! impl<S> FromHead<S> for Odd {
//!     fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
//!         Ok(Self(incoming.head().conn.0 % 2 == 1))
//!     }
//! }
//! ```

use crate::node::{
    clients::Clients,
    hub::Hub,
    remote::{NodeHandle, SessionRemote},
    session::Session,
};
use std::{fmt, ops::Deref, rc::Rc};
use yumen_core::status::Status;
use yumen_mesh::LinkId;
use yumen_proto::id::{ConnId, RouteId, UserId};

/// Everything known about one message but its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// Route number; 0 for an event.
    pub route: RouteId,
    /// Sequence number of the request, repeated in the reply; 0 for an event, and where the client
    /// wants no status.
    pub seq: i32,
    /// The connection at its gate; 0 for a message that another node sent.
    pub conn: ConnId,
    /// The user that the connection was bound to when the gate forwarded the message.
    pub user: Option<UserId>,
    pub(crate) link: LinkId,
    pub(crate) from_node: bool,
    /// Another node has handed it on.
    pub(crate) relayed: bool,
}

impl Head {
    /// Whether another node sent the message, not a client.
    pub fn is_from_node(&self) -> bool {
        self.from_node
    }
}

/// What arguments are built from.
pub struct Incoming<'a, S> {
    pub(crate) head: &'a Head,
    pub(crate) state: &'a Rc<S>,
    pub(crate) hub: &'a Rc<Hub>,
}

impl<S> fmt::Debug for Incoming<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("head", self.head).finish_non_exhaustive()
    }
}

impl<S> Incoming<'_, S> {
    /// Route, sequence number, connection and user.
    pub fn head(&self) -> &Head {
        self.head
    }

    /// The state of this instance.
    pub fn state(&self) -> &Rc<S> {
        self.state
    }

    /// The connection that the message came from.
    pub fn session(&self) -> Session {
        Session::new(Rc::clone(self.hub), self.head)
    }

    /// Every client of the cluster.
    pub fn clients(&self) -> Clients {
        Clients::new(Rc::clone(self.hub))
    }
}

/// An argument that does not use the body.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a handler argument",
    note = "take `ConnId`, `UserId`, `Option<UserId>`, `Head`, `State<_>`, `Session` or `Clients`; \
            `Msg<_>`, `Valid<_>` or `Raw` only as the last argument"
)]
pub trait FromHead<S>: Sized {
    /// Builds the argument.
    ///
    /// # Errors
    /// The message is answered with the [`Status`]; the handler does not run.
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status>;
}

/// The last argument, which may use the body.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the last argument of a handler",
    note = "the last argument is `Msg<_>`, `Valid<_>`, `Raw` or any other extractor"
)]
pub trait FromRequest<S, Via = ViaBody>: Sized {
    /// Builds the argument, which owns what it keeps of `body`.
    ///
    /// # Errors
    /// The message is answered with the [`Status`]; the handler does not run.
    fn from_request(incoming: &Incoming<'_, S>, body: &[u8]) -> Result<Self, Status>;
}

/// Marker: built from the body.
#[derive(Debug)]
pub enum ViaBody {}
/// Marker: built from the head.
#[derive(Debug)]
pub enum ViaHead {}

impl<S, T: FromHead<S>> FromRequest<S, ViaHead> for T {
    fn from_request(incoming: &Incoming<'_, S>, _: &[u8]) -> Result<Self, Status> {
        T::from_head(incoming)
    }
}

impl<S> FromHead<S> for Head {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(*incoming.head)
    }
}

impl<S> FromHead<S> for ConnId {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(incoming.head.conn)
    }
}

/// Refuses a connection without a user with [`Code::UNAUTHORIZED`](yumen_core::Code::UNAUTHORIZED).
impl<S> FromHead<S> for UserId {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        incoming.head.user.ok_or_else(|| Status::unauthorized("not logged in"))
    }
}

impl<S> FromHead<S> for Option<UserId> {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(incoming.head.user)
    }
}

impl<S> FromHead<S> for Session {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(incoming.session())
    }
}

impl<S> FromHead<S> for SessionRemote {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(incoming.session().remote())
    }
}

impl<S> FromHead<S> for Clients {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(incoming.clients())
    }
}

impl<S> FromHead<S> for NodeHandle {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(incoming.hub.handle())
    }
}

/// The state of this instance, lent without an atomic: one instance is one thread.
#[derive(Debug)]
pub struct State<T>(pub Rc<T>);

impl<T> Deref for State<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<S> FromHead<S> for State<S> {
    fn from_head(incoming: &Incoming<'_, S>) -> Result<Self, Status> {
        Ok(Self(Rc::clone(incoming.state)))
    }
}
