//! What every handler, session and task of one node instance shares: its links and its name.
//!
//! It knows no route and no state of the user's, so it needs no type parameter. Everything that goes
//! to a gate or to another node passes here, as one of four kinds: sent and forgotten, asked with a
//! deadline, owed ([`Outbox`]), or answered.

use crate::node::{
    census::{Handlers, Observed},
    locations::Locations,
    message::Body,
    outbox::{Asker, Outbox},
    packet,
    remote::NodeHandle,
    standing::Standing,
    stats::Stats,
    uplink::{Peer, Uplink},
};
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
};
use yumen_core::{
    Code, Outcome, Status,
    cluster::{Kind, Snapshot},
    watch::Watch,
};
use yumen_mesh::{CallError, LinkId, Unsent};
use yumen_net::env::Env;
use yumen_proto::{
    id::{InstanceId, RouteId},
    link::{Command, Reply},
    packet::Layout,
};

/// See the module.
pub(crate) struct Hub {
    pub(crate) env: Env,
    pub(crate) id: InstanceId,
    /// The node's name, under which users are bound to it.
    pub(crate) group: Arc<str>,
    pub(crate) layout: Layout,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) locations: Rc<Locations>,
    pub(crate) stats: Rc<Stats>,
    pub(super) standing: Standing,
    gates: RefCell<Watch<Snapshot>>,
    nodes: RefCell<Watch<Snapshot>>,
    scratch: Cell<Vec<u8>>,
    last_peer: Cell<Option<(LinkId, Kind, bool)>>,
    handle: NodeHandle,
    handlers: RefCell<Option<Weak<dyn Observed>>>,
}

/// What a [`Hub`] is made of.
pub(crate) struct Parts {
    pub(crate) env: Env,
    pub(crate) id: InstanceId,
    pub(crate) group: Arc<str>,
    pub(crate) layout: Layout,
    pub(crate) uplink: Rc<dyn Uplink>,
    pub(crate) locations: Locations,
    pub(crate) stats: Rc<Stats>,
    pub(crate) gates: Watch<Snapshot>,
    pub(crate) nodes: Watch<Snapshot>,
    pub(crate) standing: Standing,
    pub(crate) handle: NodeHandle,
}

impl Hub {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let stats = parts.stats;
        let outbox = Outbox::new(&parts.env, parts.uplink, Rc::clone(&stats));
        Rc::new(Self {
            env: parts.env,
            id: parts.id,
            group: parts.group,
            layout: parts.layout,
            outbox,
            locations: Rc::new(parts.locations),
            stats,
            standing: parts.standing,
            gates: RefCell::new(parts.gates),
            nodes: RefCell::new(parts.nodes),
            scratch: Cell::default(),
            last_peer: Cell::new(None),
            handle: parts.handle,
            handlers: RefCell::new(None),
        })
    }

    pub(crate) fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// From now on these handlers are shown in the metrics.
    pub(crate) fn set_handlers(&self, handlers: Weak<dyn Observed>) {
        self.handlers.replace(Some(handlers));
    }

    pub(crate) fn observe(&self) -> Handlers {
        let handlers = self.handlers.borrow().as_ref().and_then(Weak::upgrade);
        handlers.map_or_else(Handlers::default, |handlers| handlers.observe())
    }

    pub(crate) fn gates(&self) -> Snapshot {
        self.gates.borrow_mut().current()
    }

    pub(crate) fn nodes(&self) -> Snapshot {
        self.nodes.borrow_mut().current()
    }

    /// What is at the other end, and whether it knows our commands. Frames come in runs from one
    /// link, so the last answer is remembered.
    pub(crate) fn peer(&self, link: LinkId) -> Option<(Kind, bool)> {
        if let Some((last, kind, ours)) = self.last_peer.get()
            && last == link
        {
            return Some((kind, ours));
        }
        let Peer { kind, ours, .. } = self.outbox.uplink().peer(link)?;
        self.last_peer.set(Some((link, kind, ours)));
        Some((kind, ours))
    }

    pub(crate) fn forget_peer(&self) {
        self.last_peer.set(None);
    }

    /// The buffer for packets. Whoever finds it taken, because a send has led back here, gets an
    /// empty one.
    pub(crate) fn take_scratch(&self) -> Vec<u8> {
        self.scratch.take()
    }

    pub(crate) fn give_scratch(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.scratch.set(buffer);
    }

    /// Encodes a push and lends it to `send`.
    pub(crate) fn with_packet<T>(
        &self,
        route: RouteId,
        body: &(impl Body + ?Sized),
        send: impl FnOnce(&[u8]) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut buffer = self.take_scratch();
        let sent = encode(&self.layout, (route, 0), body, &mut buffer).and_then(|()| send(&buffer));
        self.give_scratch(buffer);
        sent
    }

    /// Sends and forgets.
    pub(crate) fn send(&self, link: LinkId, command: Command<'_>) -> Result<(), Status> {
        self.outbox.send(link, command).map_err(unsent)
    }

    /// Links to gates that are up; the registry may not know all of these gates yet.
    pub(crate) fn gates_up(&self) -> Vec<LinkId> {
        self.outbox.uplink().gates_up()
    }

    /// Sends to an instance by name and forgets.
    pub(crate) fn link(&self, peer: &InstanceId) -> Result<LinkId, Status> {
        self.outbox.uplink().link(peer).map_err(unsent)
    }

    /// Asks, and waits for the answer; the links set the deadline.
    pub(crate) async fn call(&self, link: LinkId, command: Command<'_>) -> Result<Reply, Status> {
        match self.outbox.uplink().call(link, command).await {
            Ok((0, reply)) => Ok(reply),
            Ok((1, _)) => Err(Status::not_found("no such session")),
            Ok((2, _)) => Err(Status::internal("the peer could not do it")),
            // Beyond due's three, the numbers of links are those of statuses.
            Ok((code, _)) => Err(Status::from(Code(code))),
            Err(CallError::NotSent(why)) => Err(unsent(why)),
            Err(_) => Err(Status::deadline_exceeded("the peer did not answer")),
        }
    }

    /// Answers a message with a status, where somebody waits for one.
    pub(crate) fn refuse(&self, asker: Asker, status: Status) {
        let waits = asker.seq != 0 && asker.conn.0 > 0;
        if waits && matches!(self.peer(asker.link), Some((Kind::Gate, true))) {
            self.outbox.refuse(asker, status);
        }
    }

    /// `task` runs to its end or to the stop of the instance; a panic in it ends only itself.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let stats = Rc::clone(&self.stats);
        self.env.spawn.local(async move {
            if caught(task).await.is_none() {
                stats.panics.bump();
            }
        });
    }
}

/// Runs code of the user's; `None` if it panics.
pub(crate) async fn caught<T>(task: impl Future<Output = T>) -> Option<T> {
    let mut task = pin!(task);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Encodes a packet into `buffer`, which is emptied first.
pub(crate) fn encode(
    layout: &Layout,
    (route, seq): (RouteId, i32),
    body: &(impl Body + ?Sized),
    buffer: &mut Vec<u8>,
) -> Result<(), Status> {
    packet::begin(layout, route, seq, buffer)
        .map_err(|error| Status::invalid_argument(error.to_string()).ended(Outcome::NotSent))?;
    body.encode(buffer)?;
    packet::finish(layout, buffer)
}

fn unsent(why: Unsent) -> Status {
    match why {
        Unsent::Full => Status::busy("the link is full").ended(Outcome::NotSent),
        Unsent::Closed => Status::unavailable("no such peer"),
        Unsent::Unfit(_) | _ => Status::invalid_argument(why.to_string()).ended(Outcome::NotSent),
    }
}
