//! One client, as a handler sees it: the connection that the message came from.
//!
//! Direct and cheap, and it never leaves its instance: what it sends is on its link before the call
//! returns, in order with the reply. [`Session::remote`] is its twin for other threads.

use crate::node::{extract::Head, hub::Hub, message::Body, remote::SessionRemote};
use std::{cell::Cell, fmt, net::SocketAddr, rc::Rc};
use yumen_core::{
    Code, Status,
    locator::{Place, Role},
};
use yumen_mesh::LinkId;
use yumen_proto::{
    id::{ConnId, InstanceId, RouteId, UserId},
    link::{Command, Target, TargetKind, Targets},
};

/// The connection that a message or an event came from.
///
/// Every call that needs the client's gate fails with [`Code::ILLEGAL_INVOKE`] if the message came
/// from another node, with [`Code::NOT_FOUND`] if the connection is gone, and with
/// [`Code::UNAVAILABLE`] if the gate is.
#[derive(Clone)]
pub struct Session {
    hub: Rc<Hub>,
    link: LinkId,
    conn: ConnId,
    user: Cell<Option<UserId>>,
    from_node: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("conn", &self.conn)
            .field("user", &self.user.get())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(hub: Rc<Hub>, head: &Head) -> Self {
        let (link, conn, from_node) = (head.link, head.conn, head.from_node);
        Self { hub, link, conn, user: Cell::new(head.user), from_node }
    }

    pub(crate) fn at(hub: Rc<Hub>, gate: LinkId, conn: ConnId, user: Option<UserId>) -> Self {
        Self { hub, link: gate, conn, user: Cell::new(user), from_node: false }
    }

    pub(crate) fn from_remote(hub: Rc<Hub>, remote: &SessionRemote) -> Self {
        let SessionRemote { link, conn, user, from_node, .. } = *remote;
        Self { hub, link, conn, user: Cell::new(user), from_node }
    }

    /// The connection; unique together with [`Session::gate`].
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// The user that the connection was bound to when the message came, or that this session has
    /// bound since.
    pub fn user(&self) -> Option<UserId> {
        self.user.get()
    }

    /// The gate, or the node, that the message came from; `None` once it is gone.
    pub fn gate(&self) -> Option<InstanceId> {
        self.hub.outbox.uplink().peer(self.link).map(|peer| peer.id)
    }

    /// Sends a message to the client, before the reply and after everything sent earlier.
    ///
    /// # Errors
    /// [`Code::BUSY`] if the link to the gate is full (see [`Session::room`]); nothing was sent.
    pub fn push(
        &self,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        self.push_packet(route.into(), body, false)
    }

    /// Sends a last message; the gate closes the connection once it is written (W-01).
    ///
    /// # Errors
    /// As [`Session::push`].
    pub fn push_and_close(
        &self,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        self.push_packet(route.into(), body, true)
    }

    fn push_packet(
        &self,
        route: RouteId,
        body: &(impl Body + ?Sized),
        disconnect: bool,
    ) -> Result<(), Status> {
        self.hub.with_packet(route, body, |packet| self.send_packet(packet, disconnect))
    }

    /// Sends a packet that is encoded already.
    pub(crate) fn send_packet(&self, packet: &[u8], disconnect: bool) -> Result<(), Status> {
        let target = self.target()?;
        self.hub.send(self.link, Command::Push { target, disconnect, packet })
    }

    /// Waits until the link to the gate has room again. Safe to drop.
    pub async fn room(&self) {
        self.hub.outbox.uplink().room(self.link).await;
    }

    /// Logs the user in: from now on the connection is theirs.
    ///
    /// The gate applies its policy to another connection of the same user, and tells the nodes by a
    /// Reconnect event. [`Session::user`] gives the user once this has succeeded; messages that the
    /// gate had forwarded before still come without.
    ///
    /// # Errors
    /// [`Code::INVALID_ARGUMENT`] for a number below 1; what the gate answers if it refuses.
    pub async fn bind(&self, user: UserId) -> Result<(), Status> {
        if !user.is_valid() {
            return Err(Status::invalid_argument("a user's number is at least 1"));
        }
        self.target()?;
        self.hub.call(self.link, Command::Bind { conn: self.conn, user }).await?;
        // News of it may come behind the next push.
        if let Some(gate) = self.gate() {
            self.hub.locations.arrived(user, Place::gate(gate));
        }
        self.user.set(Some(user));
        Ok(())
    }

    /// Logs the user out; the connection stays.
    ///
    /// # Errors
    /// [`Code::UNAUTHORIZED`] if there is no user.
    pub async fn unbind(&self) -> Result<(), Status> {
        self.target()?;
        let user = self.user.get().ok_or_else(|| Status::unauthorized("not logged in"))?;
        self.hub.call(self.link, Command::Unbind { user }).await?;
        self.hub.locations.outdated(user, Role::Gate);
        self.user.set(None);
        Ok(())
    }

    /// From now on the user's messages of sticky routes come to this node. Gives the node of the same
    /// name that had them before, if there was one.
    ///
    /// # Errors
    /// [`Code::UNAUTHORIZED`] if there is no user; what the locator answers.
    pub async fn bind_node(&self) -> Result<Option<InstanceId>, Status> {
        self.hub.bind_node(self.logged_in()?).await
    }

    /// Undoes [`Session::bind_node`]; gives whether the user was bound to this node.
    ///
    /// # Errors
    /// As [`Session::bind_node`].
    pub async fn unbind_node(&self) -> Result<bool, Status> {
        self.hub.unbind_node(self.logged_in()?).await
    }

    /// Closes the connection once everything sent is written.
    ///
    /// # Errors
    /// As [`Session::push`].
    pub fn close(&self) -> Result<(), Status> {
        let target = self.target()?;
        self.hub.send(self.link, Command::Disconnect { target, force: false })
    }

    /// Closes the connection at once; what is not written is lost.
    ///
    /// # Errors
    /// As [`Session::push`].
    pub fn kick(&self) -> Result<(), Status> {
        let target = self.target()?;
        self.hub.send(self.link, Command::Disconnect { target, force: true })
    }

    /// Where the client connects from. Behind a due gate: IPv4 only, without the port.
    ///
    /// # Errors
    /// See [`Session`].
    pub async fn address(&self) -> Result<SocketAddr, Status> {
        self.hub.address(self.link, self.target()?).await
    }

    /// Whether the connection is still there.
    ///
    /// # Errors
    /// See [`Session`].
    pub async fn is_online(&self) -> Result<bool, Status> {
        let target = self.target()?;
        let reply = self.hub.call(self.link, Command::IsOnline { target }).await?;
        Ok(crate::node::calls::online_of(&reply))
    }

    /// From now on the connection gets what is published to `channel`, on its gate and until it
    /// closes.
    ///
    /// # Errors
    /// See [`Session`].
    pub async fn subscribe(&self, channel: &str) -> Result<(), Status> {
        self.target()?;
        let (list, kind) = ([self.conn.0], TargetKind::Conn);
        let targets = Targets::from_slice(&list);
        self.hub.call(self.link, Command::Subscribe { kind, targets, channel }).await?;
        Ok(())
    }

    /// Undoes [`Session::subscribe`].
    ///
    /// # Errors
    /// See [`Session`].
    pub async fn unsubscribe(&self, channel: &str) -> Result<(), Status> {
        self.target()?;
        let (list, kind) = ([self.conn.0], TargetKind::Conn);
        let targets = Targets::from_slice(&list);
        self.hub.call(self.link, Command::Unsubscribe { kind, targets, channel }).await?;
        Ok(())
    }

    /// A handle to the same connection for other threads: `Send` and `Sync`.
    pub fn remote(&self) -> SessionRemote {
        SessionRemote {
            node: self.hub.handle(),
            link: self.link,
            conn: self.conn,
            user: self.user.get(),
            from_node: self.from_node,
        }
    }

    fn target(&self) -> Result<Target, Status> {
        if self.from_node {
            return Err(Status::new(Code::ILLEGAL_INVOKE, "the message came from another node"));
        }
        Ok(Target::Conn(self.conn))
    }

    fn logged_in(&self) -> Result<UserId, Status> {
        self.user.get().ok_or_else(|| Status::unauthorized("not logged in"))
    }
}
