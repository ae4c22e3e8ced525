//! Game logic: async functions that answer messages of clients.
//!
//! A [`Node`] is a route table ([`Router`]) and a state built once on each of its instances. It never
//! touches a socket: messages come over links from gates, and answers go back the same way. One
//! instance is one thread, so handlers and state need neither `Send` nor locks.
//!
//! To add an extractor see [`FromHead`]; a middleware, [`Middleware`]; a body format, [`Body`].
//! Inside: `run` is one instance, `dispatch` takes a message to its handler, `hub` is what everything
//! on an instance shares.

mod bound;
mod calls;
pub(crate) mod census;
mod clients;
mod decide;
mod dispatch;
mod drain;
mod extract;
mod handler;
mod hub;
mod line;
mod locations;
mod message;
mod middleware;
mod outbox;
mod packet;
mod relay;
mod remote;
mod reply;
mod router;
mod run;
mod session;
mod standing;
mod stats;
pub(crate) mod table;
#[cfg(test)]
#[cfg(feature = "json")]
mod testing;
mod uplink;
pub mod workers;

pub use calls::{Audience, To};
pub use clients::Clients;
pub use extract::{FromHead, FromRequest, Head, Incoming, State, ViaBody, ViaHead};
pub use handler::{EventHandler, Handler};
pub use message::{Body, Invalid, Raw, Validate};
#[cfg(feature = "json")]
pub use message::{Msg, Valid};
#[cfg(feature = "msgpack")]
pub use message::{PackMsg, ValidPack};
#[cfg(feature = "protobuf")]
pub use message::{ProtoMsg, ValidProto};
pub use middleware::{Middleware, Next, Request, Response};
pub use remote::{Asked, NodeHandle, SessionRemote};
pub use reply::{Answer, EventOutcome, IntoReply};
pub use router::{IntoRoute, OnInstance, OnWorkers, Route, Router, Rules, on};
pub use run::Place;
pub use session::Session;
pub use stats::{Counter, Stats};

use crate::{
    cluster::Cluster,
    gate::fresh_id,
    instance::{BuildError, Member, check_common, instance_id},
    link,
};
use decide::Code;
use run::Plan;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use yumen_core::cluster::Kind;
use yumen_proto::{id::UserId, packet::Layout};
use yumen_settings::Settings;

/// A node, ready to be given to an `App`: as many instances as it should use cores.
#[derive(Debug)]
pub struct Node {
    cluster: Cluster,
    members: Vec<Member>,
    handles: Vec<NodeHandle>,
}

impl Node {
    /// Starts describing a node called `name`, the name under which users are bound to it; an empty one
    /// takes `cluster.node.name` of its [`settings`](NodeBuilder::settings), if it has any. `state` runs once on each instance, on its thread; what instances share, it shares explicitly.
    ///
    /// ```
    /// use yumen_cluster::{cluster::Cluster, node::{Msg, Node, Router, on}};
    ///
    /// async fn double(Msg(n): Msg<i64>) -> Msg<i64> {
    ///     Msg(n * 2)
    /// }
    ///
    /// let cluster = Cluster::in_process();
    /// let node = Node::builder(&cluster, "math", |_| ())
    ///     .routes(Router::new().route(1, on(double)))
    ///     .build()?;
    /// # Ok::<(), yumen_cluster::instance::BuildError>(())
    /// ```
    pub fn builder<S: 'static>(
        cluster: &Cluster,
        name: impl Into<String>,
        state: impl Fn(&Place) -> S + Send + Sync + 'static,
    ) -> NodeBuilder<S> {
        NodeBuilder {
            cluster: cluster.clone(),
            plan: Plan::new(name.into(), state),
            code: Code::default(),
            links: link::Code::default(),
            written: None,
        }
    }

    /// Handles to its instances, in their order, for other threads. What is asked before the instance
    /// runs waits for it, within [`NodeBuilder::inbox_max`].
    pub fn handles(&self) -> &[NodeHandle] {
        &self.handles
    }

    /// The cluster it belongs to, and its instances.
    pub(crate) fn into_parts(self) -> (Cluster, Vec<Member>) {
        (self.cluster, self.members)
    }
}

/// Settings of a node before they are checked. Made by [`Node::builder`]. What a method has said wins over
/// [`settings`](Self::settings), whichever comes first.
#[must_use = "call `build`"]
pub struct NodeBuilder<S> {
    cluster: Cluster,
    plan: Plan<S>,
    code: Code,
    links: link::Code,
    written: Option<Settings>,
}

impl<S> fmt::Debug for NodeBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder").field("name", &self.plan.name).finish_non_exhaustive()
    }
}

impl<S: 'static> NodeBuilder<S> {
    /// Takes what code does not say from `settings`: `cluster.node.*`, `packet.*`, `yumen.node.*`,
    /// `yumen.cluster.*` where the cluster has no settings, and `shutdownMaxWaitTime`. While it runs in an `App` it follows `cluster.node.weight`. Default: none.
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.written = Some(settings.clone());
        self
    }

    /// Id in the cluster; every process needs its own. Default: `cluster.node.id` of the settings, or
    /// else the name, with a random number behind it in a cluster of several processes. Further instances are called `<id>.1`, `<id>.2` and so on.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.code.id = Some(id.into());
        self
    }

    /// The routes this node serves. Default: none.
    pub fn routes(mut self, router: Router<S>) -> Self {
        self.plan.router = router;
        self
    }

    /// Instances in this process, 1 to 256; each is a thread. Default: 1.
    pub fn instances(mut self, count: u16) -> Self {
        self.code.instances = Some(count);
        self
    }

    /// Its share of the messages of stateless routes under weighted round robin, 1 to 1000.
    /// Default: 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.code.weight = Some(weight);
        self
    }

    /// Adds one more fact about the node to its record in the registry. Default: what
    /// `cluster.node.metadata` has.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.code.metadata.insert(key.into(), value.into());
        self
    }

    /// Where it listens for gates and nodes of other processes, as `host:port`; port 0 is any free one,
    /// and further instances take the ports behind a fixed one. Without effect in a cluster of one
    /// process. Default: `cluster.node.addr`, or else `:0`.
    pub fn link_addr(mut self, addr: impl Into<String>) -> Self {
        self.links.addr = Some(addr.into());
        self
    }

    /// Where other processes dial it, as `host:port`; port 0 is the one it listens on. Default:
    /// `yumen.node.advertise`, or else the address it listens on, or else the first private one of this
    /// machine.
    pub fn advertise(mut self, addr: impl Into<String>) -> Self {
        self.links.advertise = Some(addr.into());
        self
    }

    /// Layout of client packets; the same on every gate and node of a cluster. Default: big-endian,
    /// two bytes of route, two of sequence number.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.code.layout = Some(layout);
        self
    }

    /// Most bytes held per connection behind a handler that waits; a message beyond is answered
    /// `Busy`. Default: 1 MiB, which is beyond what a gate lets a session have in flight. Zero holds
    /// nothing.
    pub fn held_max(mut self, bytes: usize) -> Self {
        self.code.held_max = Some(bytes);
        self
    }

    /// Most handlers waiting at once on one instance; a message beyond is answered `Busy`.
    /// At least 1. Default: 65,536.
    pub fn waiting_max(mut self, count: usize) -> Self {
        self.code.waiting_max = Some(count);
        self
    }

    /// A handler that keeps its instance for longer is counted, and named in a warning at most once a
    /// minute per route. More than zero. Default: 10 ms.
    pub fn slow_min(mut self, limit: Duration) -> Self {
        self.code.slow_min = Some(limit);
        self
    }

    /// Most bytes of requests from other threads that wait for one instance; a request beyond fails
    /// with `Busy`. At least 4096. Default: 1 MiB.
    pub fn inbox_max(mut self, bytes: usize) -> Self {
        self.code.inbox_max = Some(bytes);
        self
    }

    /// Longest stop. In a cluster of several processes the node stays as long as users who are bound to
    /// it are connected to a gate, for up to three quarters of this; what remains is for
    /// [`NodeBuilder::on_stop`] and the handlers that run. In a cluster of one process, whose gates have
    /// gone by then, no user is waited for. Default: 30 s.
    pub fn drain_max(mut self, limit: Duration) -> Self {
        self.code.drain_max = Some(limit);
        self
    }

    /// Runs on each instance before it takes messages, which it does when the future ends. A panic is
    /// counted and ends only the hook (W-36). Several run in the order in which they were added.
    pub fn on_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(State<S>, Clients) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.plan.on_start.push(run::hook(hook));
        self
    }

    /// Runs on each instance when it stops: behind the last bound user (see
    /// [`NodeBuilder::drain_max`]), while its links still work. A quarter of that time is kept for it.
    /// Otherwise as [`NodeBuilder::on_start`].
    pub fn on_stop<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(State<S>, Clients) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.plan.on_stop.push(run::hook(hook));
        self
    }

    /// Runs once on each instance when it is told to stop, as soon as it calls itself hanging: messages
    /// that any node may serve go elsewhere from then on, and users who are bound here still come. The
    /// hook may bind them to other nodes or unbind them: see [`Clients::bound_users`] and
    /// [`Clients::bind_to`]. The instance waits for the hook; whomever it leaves bound is served on as
    /// without a hook, so a hook that wants an end at once unbinds everybody. A hook that takes longer
    /// than [`NodeBuilder::drain_max`] is cut off, and named as work left. Otherwise as
    /// [`NodeBuilder::on_start`].
    pub fn on_hang<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(State<S>, Clients) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.plan.on_hang.push(run::hook(hook));
        self
    }

    /// Runs for each user who was bound to this instance and is not any more, although this instance
    /// has not unbound it: another node has the user, or the store forgot this instance while it was
    /// paused. What it holds of the user is outdated from now on. A panic is counted and ends only the
    /// hook.
    pub fn on_unbound<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(State<S>, Clients, UserId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.plan.on_unbound.push(Arc::new(move |state, clients, user| {
            Box::pin(hook(State(state), clients, user))
        }));
        self
    }

    /// Checks the settings and binds the listeners for other processes, if there are to be any.
    ///
    /// # Errors
    /// [`BuildError`] lists every setting that is out of range, everything that is wrong with the
    /// route table, and every address that cannot be bound.
    pub fn build(self) -> Result<Node, BuildError> {
        self.build_with(link::bind)
    }

    /// Checks the settings and binds nothing: each instance listens through its own `Env`. For virtual
    /// networks.
    ///
    /// # Errors
    /// As [`build`](Self::build), addresses aside.
    pub fn build_unbound(self) -> Result<Node, BuildError> {
        self.build_with(|links, instances, _| link::unbound(links, instances))
    }

    fn build_with(self, bind: Bind) -> Result<Node, BuildError> {
        let Self { cluster, mut plan, code, links, written } = self;
        let mut problems = Vec::new();
        let is_written = |settings: &Settings| !settings.cluster.node.id.is_empty();
        let is_named = code.id.is_some() || written.as_ref().is_some_and(is_written);
        let (id, instances) = code.decide(&mut plan, written.as_ref(), &mut problems);
        // The name would be the id of every process that runs this program.
        let id = if is_named || !cluster.is_apart() { id } else { fresh_id(&plan.name) };
        check_common(&id, &plan.name, instances, &mut problems);
        plan.check(&mut problems);
        let links =
            link::Plan::decide(&cluster, Kind::Node, links, written.as_ref(), &mut problems);
        let doors = bind(links.as_ref(), (&id, instances), &mut problems);
        if !problems.is_empty() {
            return Err(BuildError { component: "node", problems });
        }
        let plan = Arc::new(plan);
        let (mut members, mut handles) = (Vec::new(), Vec::new());
        for (index, door) in (0..).zip(doors) {
            let id = instance_id(&id, index);
            let (handle, inbox) =
                NodeHandle::new((&plan.name, id.clone()), plan.layout, plan.inbox_max);
            handles.push(handle.clone());
            members.push(Member {
                id,
                kind: Kind::Node,
                name: plan.name.clone(),
                drain_max: plan.drain_max,
                link: link::facts(door.as_ref()),
                launch: plan.launch((handle, inbox), door),
            });
        }
        Ok(Node { cluster, members, handles })
    }
}

/// How the doors of the instances are made.
type Bind = fn(Option<&link::Plan>, (&str, u16), &mut Vec<String>) -> Vec<Option<link::Door>>;
