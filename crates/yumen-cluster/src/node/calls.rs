//! What can be asked of gates and nodes: the one implementation behind sessions, [`Clients`] and
//! [`NodeHandle`].
//!
//! Targets are grouped by gate, so that a list of users costs one frame per gate (W-47). A user is
//! looked for where it was last seen; if the gate there does not know it, the memory is dropped, the
//! locator is asked and the gate it names is tried, once.
//!
//! [`Clients`]: super::Clients
//! [`NodeHandle`]: super::NodeHandle

use crate::{node::hub::Hub, shard, together};
use rustc_hash::FxHashMap;
use std::net::{IpAddr, SocketAddr};
use yumen_core::{
    Code, Status,
    cluster::{Instance, State},
    locator::{Place, Role},
};
use yumen_mesh::LinkId;
use yumen_proto::{
    id::{ConnId, InstanceId, RouteId, UserId},
    link::{Command, Reply, TARGETS_MAX, TARGETS_MAX_DUE, Target, TargetKind, Targets},
};

/// Who gets a broadcast, or is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every connection, logged in or not.
    Everybody,
    /// Connections with a user.
    Users,
}

impl Audience {
    pub(crate) fn kind(self) -> TargetKind {
        match self {
            Self::Everybody => TargetKind::Conn,
            Self::Users => TargetKind::User,
        }
    }
}

/// Which node gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// This instance.
    Node(InstanceId),
    /// The node of this name that the user is bound to.
    BoundNode(String),
    /// The node of this name that owns the user on the message's route: see
    /// [`Route::shard_by_user`](super::router::Route::shard_by_user).
    OwnerNode(String),
}

impl Hub {
    pub(crate) fn role(&self) -> Role {
        Role::Node(self.group.clone())
    }

    fn place(&self) -> Place {
        Place { role: self.role(), instance: self.id.clone() }
    }

    /// The link to the gate that the user is connected to; looked for once more if the gate that was
    /// remembered is gone.
    pub(crate) async fn gate_link(&self, user: UserId) -> Result<LinkId, Status> {
        let none = || Status::not_found("the user is not online");
        let known = self.locations.find(user, Role::Gate).await?.ok_or_else(none)?;
        if let Ok(link) = self.link(&known) {
            return Ok(link);
        }
        self.locations.forget(user, Role::Gate);
        self.link(&self.locations.find(user, Role::Gate).await?.ok_or_else(none)?)
    }

    /// Asks the user's gate; a second time if the user was remembered at the wrong one.
    pub(crate) async fn call_user<'a>(
        &self,
        user: UserId,
        command: impl Fn(Target) -> Command<'a>,
    ) -> Result<Reply, Status> {
        let first = self.gate_link(user).await?;
        let answer = self.call(first, command(Target::User(user))).await;
        match answer {
            Err(status) if is_gone(&status) => {
                self.locations.forget(user, Role::Gate);
                let second = self.gate_link(user).await?;
                if second == first {
                    return Err(status);
                }
                self.call(second, command(Target::User(user))).await
            }
            answer => answer,
        }
    }

    /// The users' numbers by gate, in the order in which the gates first occur. Users who are not
    /// online are left out.
    pub(crate) async fn by_gate(
        &self,
        users: &[UserId],
    ) -> Result<Vec<(LinkId, Vec<i64>)>, Status> {
        let mut gates: Vec<(LinkId, Vec<i64>)> = Vec::new();
        let mut known: FxHashMap<LinkId, usize> = FxHashMap::default();
        for user in users {
            let Some(gate) = self.locations.find(*user, Role::Gate).await? else { continue };
            let Ok(link) = self.link(&gate) else { continue };
            let at = *known.entry(link).or_insert(gates.len());
            match gates.get_mut(at) {
                Some((_, list)) => list.push(user.0),
                None => gates.push((link, vec![user.0])),
            }
        }
        Ok(gates)
    }

    /// Most targets of one frame to that gate: due misreads more (W-08).
    fn targets_max(&self, link: LinkId) -> usize {
        let dues = matches!(self.peer(link), Some((_, false)));
        if dues { TARGETS_MAX_DUE } else { TARGETS_MAX }
    }

    /// Sends something about lists of users, in as many frames as the lists need.
    pub(crate) fn send_lists<'a>(
        &self,
        lists: &'a [(LinkId, Vec<i64>)],
        command: impl Fn(Targets<'a>) -> Command<'a>,
    ) -> Result<(), Status> {
        let mut result = Ok(());
        for (link, users) in lists {
            for part in users.chunks(self.targets_max(*link)) {
                result = result.and(self.send(*link, command(Targets::from_slice(part))));
            }
        }
        result
    }

    /// The same with an answer: the sum of what the gates report.
    pub(crate) async fn call_lists<'a>(
        &self,
        lists: &'a [(LinkId, Vec<i64>)],
        command: impl Fn(Targets<'a>) -> Command<'a>,
    ) -> Result<u64, Status> {
        let mut calls = Vec::new();
        for (link, users) in lists {
            for part in users.chunks(self.targets_max(*link)) {
                calls.push((*link, command(Targets::from_slice(part))));
            }
        }
        self.sum(calls).await
    }

    /// Every gate that can be reached: those that the registry tells of, and those that have dialled us
    /// before it did, for they have clients by then.
    pub(crate) fn gate_links(&self) -> Vec<LinkId> {
        let gates = self.gates();
        let told = gates.iter().filter_map(|gate: &Instance| self.link(&gate.id).ok());
        let mut links: Vec<LinkId> = told.chain(self.gates_up()).collect();
        links.sort_unstable();
        links.dedup();
        links
    }

    /// Sends to every gate; the first failure is reported after all have been tried.
    pub(crate) fn send_all(&self, command: Command<'_>) -> Result<(), Status> {
        let send = |link| self.send(link, command);
        self.gate_links().into_iter().map(send).fold(Ok(()), Result::and)
    }

    /// Asks every gate and adds up.
    pub(crate) async fn call_all(&self, command: Command<'_>) -> Result<u64, Status> {
        let calls = self.gate_links().into_iter().map(|link| (link, command)).collect();
        self.sum(calls).await
    }

    /// All calls at once; fails only if none succeeds.
    async fn sum(&self, calls: Vec<(LinkId, Command<'_>)>) -> Result<u64, Status> {
        let (mut total, mut reached, mut failed) = (0u64, calls.is_empty(), None);
        let calls = calls.into_iter().map(|(link, command)| self.call(link, command));
        for answer in together::all(calls).await {
            match answer {
                Ok(reply) => {
                    reached = true;
                    total = total.saturating_add(total_of(&reply));
                }
                Err(status) => failed = Some(status),
            }
        }
        match failed {
            Some(status) if !reached => Err(status),
            _ => Ok(total),
        }
    }

    /// The address of a client.
    pub(crate) async fn address(&self, link: LinkId, target: Target) -> Result<SocketAddr, Status> {
        let ours = self.peer(link).is_none_or(|(_, ours)| ours);
        let command = if ours { Command::Address { target } } else { Command::GetIp { target } };
        address_of(self.call(link, command).await?)
    }

    /// Makes this node the user's node of its name.
    pub(crate) async fn bind_node(&self, user: UserId) -> Result<Option<InstanceId>, Status> {
        self.bind_to(user, self.id.clone()).await
    }

    /// Makes an instance of this node's name the user's.
    pub(crate) async fn bind_to(
        &self,
        user: UserId,
        instance: InstanceId,
    ) -> Result<Option<InstanceId>, Status> {
        let place = Place { role: self.role(), instance };
        let claim = self.locations.claim(user, place).await?;
        Ok(claim.previous.map(|before| before.place.instance))
    }

    /// Undoes [`Hub::bind_node`]; gives whether the user was bound here.
    pub(crate) async fn unbind_node(&self, user: UserId) -> Result<bool, Status> {
        self.locations.release(user, self.place()).await
    }

    /// Whether an instance takes work, as it says itself.
    pub(crate) async fn state_of(&self, instance: &InstanceId) -> Result<State, Status> {
        if *instance == self.id {
            return Ok(self.standing.state());
        }
        match self.call(self.link(instance)?, Command::GetState).await? {
            Reply::State(state) => Ok(state),
            Reply::Done | Reply::Ip(_) | Reply::Address(_) | Reply::Total(_) | Reply::Online(_) => {
                Err(Status::internal("the peer did not say its state"))
            }
        }
    }

    /// Has an instance be in this state, and say so in the registry.
    pub(crate) async fn set_state(
        &self,
        instance: &InstanceId,
        state: State,
    ) -> Result<(), Status> {
        if *instance == self.id {
            return self.standing.set_state(state);
        }
        self.call(self.link(instance)?, Command::SetState { state }).await.map(drop)
    }

    /// Gives a packet to another node, and waits until that has taken it.
    pub(crate) async fn deliver(
        &self,
        to: To,
        (user, route): (Option<UserId>, RouteId),
        packet: &[u8],
    ) -> Result<(), Status> {
        let node = match (to, user) {
            (To::Node(id), _) => id,
            (To::BoundNode(_) | To::OwnerNode(_), None) => {
                return Err(Status::invalid_argument("only a user is bound to a node, or owned"));
            }
            (To::OwnerNode(name), Some(user)) => {
                let nodes = self.nodes();
                let owner = shard::owner_among(&nodes, (&name, route), user);
                let none = || Status::new(Code::UNROUTABLE, "no node of that name takes the route");
                owner.ok_or_else(none)?.id.clone()
            }
            (To::BoundNode(name), Some(user)) => {
                return self.deliver_bound((user, Role::node(name)), packet).await;
            }
        };
        self.deliver_to(&node, user, packet).await
    }

    /// To the user's node of that role; looked for once more if the one that was remembered is gone, or
    /// has the user no more.
    async fn deliver_bound(
        &self,
        (user, role): (UserId, Role),
        packet: &[u8],
    ) -> Result<(), Status> {
        let none = || Status::new(Code::NOT_BOUND, "the user is bound to no node");
        let find = || self.locations.find(user, role.clone());
        let first = find().await?.ok_or_else(none)?;
        let status = match self.deliver_to(&first, Some(user), packet).await {
            Err(status) if is_gone(&status) => status,
            done => return done,
        };
        self.locations.forget(user, role.clone());
        let second = find().await?.ok_or_else(none)?;
        if second == first {
            return Err(status);
        }
        self.deliver_to(&second, Some(user), packet).await
    }

    async fn deliver_to(
        &self,
        node: &InstanceId,
        user: Option<UserId>,
        packet: &[u8],
    ) -> Result<(), Status> {
        if *node == self.id {
            return Err(Status::new(Code::ILLEGAL_INVOKE, "the message is for this node itself"));
        }
        let link = self.link(node)?;
        self.call(link, Command::Deliver { conn: ConnId(0), user, packet }).await.map(drop)
    }
}

/// Whether a peer is gone, or does not know the user; nothing has been carried out there.
fn is_gone(status: &Status) -> bool {
    matches!(status.code(), Code::NOT_FOUND | Code::UNAVAILABLE)
}

fn total_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Total(total) => *total,
        Reply::Done | Reply::Ip(_) | Reply::Address(_) | Reply::Online(_) | Reply::State(_) => 0,
    }
}

pub(crate) fn online_of(reply: &Reply) -> bool {
    matches!(reply, Reply::Online(true))
}

pub(crate) fn address_of(reply: Reply) -> Result<SocketAddr, Status> {
    match reply {
        Reply::Address(Some(address)) => Ok(address),
        Reply::Ip(Some(ip)) if !ip.is_unspecified() => Ok(SocketAddr::new(IpAddr::V4(ip), 0)),
        Reply::Ip(Some(_)) => Err(Status::not_found(
            "the client has an IPv6 address, which a gate of due cannot tell: it says 0.0.0.0",
        )),
        Reply::Done
        | Reply::Ip(None)
        | Reply::Address(None)
        | Reply::Total(_)
        | Reply::Online(_)
        | Reply::State(_) => Err(Status::not_found("the gate does not know the address")),
    }
}
