//! Every client of the cluster, as code on a node instance reaches them: by user, by list, by channel.
//!
//! Direct, and never leaves its instance. [`NodeHandle`] is its twin for other threads. What is sent
//! without an answer is on its link when the call returns; the `_acked` twins wait until the gates
//! have answered, and give how many connections took the message.

use crate::node::{
    calls::{Audience, To, address_of, online_of},
    hub::{self, Hub},
    message::Body,
    remote::NodeHandle,
    session::Session,
    stats::Stats,
};
use std::{fmt, future::Future, net::SocketAddr, rc::Rc};
use yumen_core::{
    Status,
    cluster::{Snapshot, State},
    locator::Role,
};
use yumen_net::env::Clock;
use yumen_proto::{
    id::{ConnId, InstanceId, RouteId, UserId},
    link::{Command, Target, TargetKind},
};

/// Every client of the cluster. An extractor, and part of the [`Place`](super::Place) that state is
/// built from. Cheap to clone.
///
/// A call about a user who is not online fails with [`Code::NOT_FOUND`](yumen_core::Code::NOT_FOUND).
#[derive(Clone)]
pub struct Clients {
    hub: Rc<Hub>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("node", &self.hub.id).finish_non_exhaustive()
    }
}

impl Clients {
    pub(crate) fn new(hub: Rc<Hub>) -> Self {
        Self { hub }
    }

    /// Sends a message to a user. Waits only if it must ask where the user is.
    ///
    /// # Errors
    /// See [`Clients`]; [`Code::BUSY`](yumen_core::Code::BUSY) if the link to the gate is full.
    pub async fn push(
        &self,
        user: UserId,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        let link = self.hub.gate_link(user).await?;
        let target = Target::User(user);
        self.hub.with_packet(route.into(), body, |packet| {
            self.hub.send(link, Command::Push { target, disconnect: false, packet })
        })
    }

    /// The same, and waits until the gate has queued it for the user's connection.
    ///
    /// # Errors
    /// As [`Clients::push`].
    pub async fn push_acked(
        &self,
        user: UserId,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        let packet = self.packet(route.into(), body)?;
        push_acked(&self.hub, user, &packet).await
    }

    /// Sends one message to many users: one frame per gate. Users who are not online are left out.
    ///
    /// # Errors
    /// A gate that could not be reached; the others got it.
    pub async fn multicast(
        &self,
        users: &[UserId],
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        let lists = self.hub.by_gate(users).await?;
        self.hub.with_packet(route.into(), body, |packet| {
            self.hub.send_lists(&lists, |targets| multicast(targets, packet))
        })
    }

    /// The same, and gives how many connections took it.
    ///
    /// # Errors
    /// No gate could be reached.
    pub async fn multicast_acked(
        &self,
        users: &[UserId],
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<u64, Status> {
        let lists = self.hub.by_gate(users).await?;
        let packet = self.packet(route.into(), body)?;
        self.hub.call_lists(&lists, |targets| multicast(targets, &packet)).await
    }

    /// Sends one message to everybody, or to all users.
    ///
    /// # Errors
    /// A gate that could not be reached; the others got it.
    pub fn broadcast(
        &self,
        to: Audience,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        let kind = to.kind();
        self.hub.with_packet(route.into(), body, |packet| {
            self.hub.send_all(Command::Broadcast { kind, disconnect: false, packet })
        })
    }

    /// The same, and gives how many connections took it.
    ///
    /// # Errors
    /// No gate could be reached.
    pub async fn broadcast_acked(
        &self,
        to: Audience,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<u64, Status> {
        let (kind, packet) = (to.kind(), self.packet(route.into(), body)?);
        let packet = packet.as_slice();
        self.hub.call_all(Command::Broadcast { kind, disconnect: false, packet }).await
    }

    /// Sends one message to everybody who subscribed to `channel`.
    ///
    /// # Errors
    /// A gate that could not be reached; the others got it.
    pub fn publish(
        &self,
        channel: &str,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        self.hub.with_packet(route.into(), body, |packet| {
            self.hub.send_all(Command::Publish { channel, disconnect: false, packet })
        })
    }

    /// The same, and gives how many connections took it.
    ///
    /// # Errors
    /// No gate could be reached.
    pub async fn publish_acked(
        &self,
        channel: &str,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<u64, Status> {
        let packet = self.packet(route.into(), body)?;
        let packet = packet.as_slice();
        self.hub.call_all(Command::Publish { channel, disconnect: false, packet }).await
    }

    /// Subscribes users to a channel, each on the gate where it is, until its connection closes.
    ///
    /// # Errors
    /// No gate could be reached.
    pub async fn subscribe(&self, users: &[UserId], channel: &str) -> Result<(), Status> {
        let (lists, kind) = (self.hub.by_gate(users).await?, TargetKind::User);
        let command = |targets| Command::Subscribe { kind, targets, channel };
        self.hub.call_lists(&lists, command).await.map(drop)
    }

    /// Undoes [`Clients::subscribe`].
    ///
    /// # Errors
    /// No gate could be reached.
    pub async fn unsubscribe(&self, users: &[UserId], channel: &str) -> Result<(), Status> {
        let (lists, kind) = (self.hub.by_gate(users).await?, TargetKind::User);
        let command = |targets| Command::Unsubscribe { kind, targets, channel };
        self.hub.call_lists(&lists, command).await.map(drop)
    }

    /// Closes the user's connection once everything sent is written.
    ///
    /// # Errors
    /// See [`Clients`].
    pub async fn close(&self, user: UserId) -> Result<(), Status> {
        disconnect(&self.hub, user, false).await
    }

    /// Closes the user's connection at once.
    ///
    /// # Errors
    /// See [`Clients`].
    pub async fn kick(&self, user: UserId) -> Result<(), Status> {
        disconnect(&self.hub, user, true).await
    }

    /// Logs the user out; the connection stays.
    ///
    /// # Errors
    /// See [`Clients`].
    pub async fn unbind(&self, user: UserId) -> Result<(), Status> {
        self.hub.call_user(user, |_| Command::Unbind { user }).await.map(drop)
    }

    /// Whether the user is connected.
    ///
    /// # Errors
    /// The locator or the gate could not be asked.
    pub async fn is_online(&self, user: UserId) -> Result<bool, Status> {
        is_online(&self.hub, user).await
    }

    /// Where the user connects from.
    ///
    /// # Errors
    /// See [`Clients`].
    pub async fn address(&self, user: UserId) -> Result<SocketAddr, Status> {
        address(&self.hub, user).await
    }

    /// How many connections, or users, all gates have.
    ///
    /// # Errors
    /// No gate could be reached.
    pub async fn count(&self, who: Audience) -> Result<u64, Status> {
        self.hub.call_all(Command::Stat { kind: who.kind() }).await
    }

    /// The gate that the user is connected to.
    ///
    /// # Errors
    /// The locator could not be asked.
    pub async fn locate(&self, user: UserId) -> Result<Option<InstanceId>, Status> {
        self.hub.locations.find(user, Role::Gate).await
    }

    /// The node of the name `node` that the user is bound to.
    ///
    /// # Errors
    /// The locator could not be asked.
    pub async fn locate_node(
        &self,
        user: UserId,
        node: &str,
    ) -> Result<Option<InstanceId>, Status> {
        self.hub.locations.find(user, Role::node(node)).await
    }

    /// Binds the user to this node; see [`Session::bind_node`].
    ///
    /// # Errors
    /// What the locator answers.
    pub async fn bind_node(&self, user: UserId) -> Result<Option<InstanceId>, Status> {
        self.hub.bind_node(user).await
    }

    /// Binds the user to another instance of this node: from now on its messages of sticky routes go
    /// there. Gives the instance that had them before, if there was one.
    ///
    /// # Errors
    /// [`Code::UNAVAILABLE`](yumen_core::Code::UNAVAILABLE) if that instance does not run; what else
    /// the locator answers.
    pub async fn bind_to(
        &self,
        user: UserId,
        instance: &InstanceId,
    ) -> Result<Option<InstanceId>, Status> {
        self.hub.bind_to(user, instance.clone()).await
    }

    /// The users who are bound to this instance, in the order of their numbers.
    pub fn bound_users(&self) -> Vec<UserId> {
        self.hub.locations.bound.users()
    }

    /// Undoes [`Clients::bind_node`]; gives whether the user was bound to this node.
    ///
    /// # Errors
    /// What the locator answers.
    pub async fn unbind_node(&self, user: UserId) -> Result<bool, Status> {
        self.hub.unbind_node(user).await
    }

    /// Gives a message to another node, as if `user` had sent it, and waits until that has let it in.
    ///
    /// The reply of its handler, if it gives one, comes back as a message of the same route to this
    /// node: answer it with `()`, or the two nodes answer each other for ever.
    ///
    /// # Errors
    /// The node is gone, refused the message, or is this one;
    /// [`Code::NOT_BOUND`](yumen_core::Code::NOT_BOUND) if the user is bound to no such node (W-04).
    pub async fn deliver(
        &self,
        to: To,
        user: Option<UserId>,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Result<(), Status> {
        let route = route.into();
        let packet = self.packet(route, body)?;
        self.hub.deliver(to, (user, route), &packet).await
    }

    /// A connection by its gate and number, of which this code has heard before.
    ///
    /// # Errors
    /// No such gate.
    pub fn session(&self, gate: &InstanceId, conn: ConnId) -> Result<Session, Status> {
        Ok(Session::at(Rc::clone(&self.hub), self.hub.link(gate)?, conn, None))
    }

    /// The gates of the cluster as last heard of.
    pub fn gates(&self) -> Snapshot {
        self.hub.gates()
    }

    /// The nodes of the cluster as last heard of.
    pub fn nodes(&self) -> Snapshot {
        self.hub.nodes()
    }

    /// Whether a gate or node takes work, as it says now: [`Clients::gates`] and [`Clients::nodes`] have
    /// what all said when they were last heard of.
    ///
    /// # Errors
    /// No such instance, or it did not answer.
    pub async fn state_of(&self, instance: &InstanceId) -> Result<State, Status> {
        self.hub.state_of(instance).await
    }

    /// Has a gate or node, this one or another, take work or not: see [`State`] for what each means to
    /// whoever gives it work. It says so to the others within a second. A gate of due's tells nobody.
    ///
    /// # Errors
    /// No such instance, it did not answer, or it was told to stop and stays hanging.
    pub async fn set_state(&self, instance: &InstanceId, state: State) -> Result<(), Status> {
        self.hub.set_state(instance, state).await
    }

    /// This instance.
    pub fn node_id(&self) -> &InstanceId {
        &self.hub.id
    }

    /// The time of this instance.
    pub fn clock(&self) -> &Clock {
        &self.hub.env.clock
    }

    /// What has happened on this instance.
    pub fn stats(&self) -> &Stats {
        &self.hub.stats
    }

    /// A handle to this instance for other threads: `Send` and `Sync`.
    pub fn handle(&self) -> NodeHandle {
        self.hub.handle()
    }

    /// Runs `task` on this instance until it ends or the instance stops. A panic in it ends only
    /// itself, and is counted.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.hub.spawn(task);
    }

    fn packet(&self, route: RouteId, body: &(impl Body + ?Sized)) -> Result<Vec<u8>, Status> {
        let mut packet = Vec::new();
        hub::encode(&self.hub.layout, (route, 0), body, &mut packet)?;
        Ok(packet)
    }
}

pub(crate) fn multicast<'a>(
    targets: yumen_proto::link::Targets<'a>,
    packet: &'a [u8],
) -> Command<'a> {
    Command::Multicast { kind: TargetKind::User, targets, disconnect: false, packet }
}

pub(crate) async fn push_acked(hub: &Hub, user: UserId, packet: &[u8]) -> Result<(), Status> {
    let push = |target| Command::Push { target, disconnect: false, packet };
    hub.call_user(user, push).await.map(drop)
}

pub(crate) async fn disconnect(hub: &Hub, user: UserId, force: bool) -> Result<(), Status> {
    hub.call_user(user, |target| Command::Disconnect { target, force }).await.map(drop)
}

pub(crate) async fn is_online(hub: &Hub, user: UserId) -> Result<bool, Status> {
    if hub.locations.find(user, Role::Gate).await?.is_none() {
        return Ok(false);
    }
    let reply = hub.call_user(user, |target| Command::IsOnline { target }).await?;
    Ok(online_of(&reply))
}

pub(crate) async fn address(hub: &Hub, user: UserId) -> Result<SocketAddr, Status> {
    let link = hub.gate_link(user).await?;
    let ours = hub.peer(link).is_none_or(|(_, ours)| ours);
    let ask = |target| match ours {
        true => Command::Address { target },
        false => Command::GetIp { target },
    };
    address_of(hub.call_user(user, ask).await?)
}

#[cfg(test)]
#[cfg(feature = "json")]
#[path = "clients_tests.rs"]
mod tests;
