//! A node instance and its sessions from other threads.
//!
//! Handles are `Send + Sync`. What they do is a job in the instance's inbox, which is bounded in jobs
//! and in bytes; a full inbox answers `Busy` and nothing has happened. Messages are encoded on the
//! caller's thread.

use crate::{
    metrics::Queue,
    node::{
        calls::{Audience, To},
        census::{ASKS_MAX, Ask, Census},
        clients::{self, Clients},
        hub::{self, Hub},
        message::Body,
        session::Session,
    },
};
use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use yumen_core::{BoxFuture, Outcome, Status, cluster::State};
use yumen_mesh::LinkId;
use yumen_net::env::LocalFuture;
use yumen_proto::{
    id::{ConnId, InstanceId, RouteId, UserId},
    link::{Command, Target},
    packet::Layout,
};

/// Most jobs in an inbox.
const JOBS_MAX: usize = 4096;
/// What a job costs beside its packet, in bytes.
const JOB_OVERHEAD: usize = 128;
/// Jobs taken from the inbox at once.
const BATCH_MAX: usize = 64;

type Task = Box<dyn FnOnce(Rc<Hub>) -> LocalFuture<'static, ()> + Send>;

struct Job {
    task: Task,
    room: OwnedSemaphorePermit,
}

/// The receiving end of a [`NodeHandle`].
pub(crate) struct Inbox {
    jobs: mpsc::Receiver<Job>,
    asks: mpsc::Receiver<Ask>,
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    id: InstanceId,
    layout: Layout,
    room: Arc<Semaphore>,
    room_max: usize,
    refused: AtomicU64,
}

/// A node instance, from any thread. Cheap to clone.
///
/// Every call fails with [`Code::BUSY`](yumen_core::Code::BUSY) if the inbox of the instance is full,
/// and with [`Code::UNAVAILABLE`](yumen_core::Code::UNAVAILABLE) if the instance has stopped; for the
/// rest see the method of the same name of [`Clients`]. Two calls are in order if the first was
/// awaited.
#[derive(Clone)]
pub struct NodeHandle {
    jobs: mpsc::Sender<Job>,
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle").field("node", &self.shared.id).finish_non_exhaustive()
    }
}

/// What a call of a handle gives: a future that is `Send`. The work is queued already; dropping the
/// future does not stop it.
pub type Asked<T> = BoxFuture<'static, Result<T, Status>>;

impl NodeHandle {
    /// A handle of an instance of the node `name`, and its inbox, which holds at most `bytes_max`
    /// bytes.
    pub(crate) fn new(
        (name, id): (&str, InstanceId),
        layout: Layout,
        bytes_max: usize,
    ) -> (Self, Inbox) {
        let room_max = bytes_max.min(Semaphore::MAX_PERMITS);
        let (room, refused) = (Arc::new(Semaphore::new(room_max)), AtomicU64::new(0));
        let name = Arc::from(name);
        let shared = Arc::new(Shared { name, id, layout, room, room_max, refused });
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let door = Inbox { jobs: inbox, asks: asked, shared: Arc::clone(&shared) };
        (Self { jobs, asks, shared }, door)
    }

    /// The node's name, which its instances share.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Which instance it is.
    pub fn node_id(&self) -> &InstanceId {
        &self.shared.id
    }

    /// [`Clients::push`].
    pub fn push(
        &self,
        user: UserId,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<()> {
        self.sending(route.into(), body, move |hub, packet| async move {
            let link = hub.gate_link(user).await?;
            let target = Target::User(user);
            hub.send(link, Command::Push { target, disconnect: false, packet: &packet })
        })
    }

    /// [`Clients::push_acked`].
    pub fn push_acked(
        &self,
        user: UserId,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<()> {
        self.sending(route.into(), body, move |hub, packet| async move {
            clients::push_acked(&hub, user, &packet).await
        })
    }

    /// [`Clients::multicast`].
    pub fn multicast(
        &self,
        users: Vec<UserId>,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<()> {
        self.sending(route.into(), body, move |hub, packet| async move {
            let lists = hub.by_gate(&users).await?;
            hub.send_lists(&lists, |targets| clients::multicast(targets, &packet))
        })
    }

    /// [`Clients::multicast_acked`].
    pub fn multicast_acked(
        &self,
        users: Vec<UserId>,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<u64> {
        self.sending(route.into(), body, move |hub, packet| async move {
            let lists = hub.by_gate(&users).await?;
            hub.call_lists(&lists, |targets| clients::multicast(targets, &packet)).await
        })
    }

    /// [`Clients::broadcast`].
    pub fn broadcast(
        &self,
        to: Audience,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<()> {
        let kind = to.kind();
        self.sending(route.into(), body, move |hub, packet| async move {
            hub.send_all(Command::Broadcast { kind, disconnect: false, packet: &packet })
        })
    }

    /// [`Clients::broadcast_acked`].
    pub fn broadcast_acked(
        &self,
        to: Audience,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<u64> {
        let kind = to.kind();
        self.sending(route.into(), body, move |hub, packet| async move {
            hub.call_all(Command::Broadcast { kind, disconnect: false, packet: &packet }).await
        })
    }

    /// [`Clients::publish`].
    pub fn publish(
        &self,
        channel: impl Into<String>,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<()> {
        let channel = channel.into();
        self.sending(route.into(), body, move |hub, packet| async move {
            let (channel, packet) = (channel.as_str(), packet.as_slice());
            hub.send_all(Command::Publish { channel, disconnect: false, packet })
        })
    }

    /// [`Clients::publish_acked`].
    pub fn publish_acked(
        &self,
        channel: impl Into<String>,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<u64> {
        let channel = channel.into();
        self.sending(route.into(), body, move |hub, packet| async move {
            let (channel, packet) = (channel.as_str(), packet.as_slice());
            hub.call_all(Command::Publish { channel, disconnect: false, packet }).await
        })
    }

    /// [`Clients::deliver`].
    pub fn deliver(
        &self,
        to: To,
        user: Option<UserId>,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<()> {
        let route = route.into();
        self.sending(route, body, move |hub, packet| async move {
            hub.deliver(to, (user, route), &packet).await
        })
    }

    /// [`Clients::close`].
    pub fn close(&self, user: UserId) -> Asked<()> {
        self.ask(0, move |hub| async move { clients::disconnect(&hub, user, false).await })
    }

    /// [`Clients::kick`].
    pub fn kick(&self, user: UserId) -> Asked<()> {
        self.ask(0, move |hub| async move { clients::disconnect(&hub, user, true).await })
    }

    /// [`Clients::is_online`].
    pub fn is_online(&self, user: UserId) -> Asked<bool> {
        self.ask(0, move |hub| async move { clients::is_online(&hub, user).await })
    }

    /// [`Clients::address`].
    pub fn address(&self, user: UserId) -> Asked<SocketAddr> {
        self.ask(0, move |hub| async move { clients::address(&hub, user).await })
    }

    /// [`Clients::count`].
    pub fn count(&self, who: Audience) -> Asked<u64> {
        self.run(move |clients| async move { clients.count(who).await })
    }

    /// [`Clients::locate`].
    pub fn locate(&self, user: UserId) -> Asked<Option<InstanceId>> {
        self.run(move |clients| async move { clients.locate(user).await })
    }

    /// [`Clients::state_of`].
    pub fn state_of(&self, instance: &InstanceId) -> Asked<State> {
        let instance = instance.clone();
        self.run(move |clients| async move { clients.state_of(&instance).await })
    }

    /// [`Clients::set_state`].
    pub fn set_state(&self, instance: &InstanceId, state: State) -> Asked<()> {
        let instance = instance.clone();
        self.run(move |clients| async move { clients.set_state(&instance, state).await })
    }

    /// Asks for the instance's census and does not wait for it. `None` if it has no room for the
    /// question, which takes none of the inbox's, or has stopped.
    pub(crate) fn ask_census(&self) -> Option<oneshot::Receiver<Box<Census>>> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(reply).ok().map(|()| answer)
    }

    /// What has happened on the instance: every counter of [`Stats`](super::Stats) with its name.
    pub fn stats(&self) -> Asked<Vec<(&'static str, u64)>> {
        self.run(|clients| async move { Ok(clients.stats().all().collect()) })
    }

    /// Runs `work` on the instance, as if one of its handlers did, and gives what it gives.
    ///
    /// A panic in it is counted there, and answered with an internal error here.
    pub fn run<T, F, Fut>(&self, work: F) -> Asked<T>
    where
        T: Send + 'static,
        F: FnOnce(Clients) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Status>> + 'static,
    {
        self.ask(0, move |hub| work(Clients::new(hub)))
    }

    fn sending<T, F, Fut>(&self, route: RouteId, body: &(impl Body + ?Sized), send: F) -> Asked<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Hub>, Vec<u8>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Status>> + 'static,
    {
        let mut packet = Vec::new();
        if let Err(status) = hub::encode(&self.shared.layout, (route, 0), body, &mut packet) {
            return Box::pin(async { Err(status) });
        }
        self.ask(packet.len(), move |hub| send(hub, packet))
    }

    fn ask<T, F, Fut>(&self, bytes: usize, work: F) -> Asked<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Hub>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Status>> + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue(
            bytes,
            Box::new(move |hub| {
                Box::pin(async move {
                    let result = hub::caught(work(Rc::clone(&hub))).await.unwrap_or_else(|| {
                        hub.stats.panics.bump();
                        Err(Status::internal("the work panicked"))
                    });
                    let _nobody_waits = answer.send(result);
                })
            }),
        );
        Box::pin(async move {
            queued?;
            let stopped = |_| Status::unavailable("the node has stopped").ended(Outcome::Unknown);
            answered.await.map_err(stopped)?
        })
    }

    fn queue(&self, bytes: usize, task: Task) -> Result<(), Status> {
        let bytes = u32::try_from(bytes.saturating_add(JOB_OVERHEAD)).unwrap_or(u32::MAX);
        let full = || {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            Status::busy("the inbox of the node is full")
        };
        let room = Arc::clone(&self.shared.room).try_acquire_many_owned(bytes);
        let room = room.map_err(|_| full())?;
        self.jobs.try_send(Job { task, room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => full(),
            mpsc::error::TrySendError::Closed(_) => Status::unavailable("the node has stopped"),
        })
    }
}

impl Shared {
    /// Bytes in the inbox.
    fn queue(&self) -> Queue {
        let wide = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
        let bytes = wide(self.room_max.saturating_sub(self.room.available_permits()));
        Queue { bytes, largest: bytes, max: wide(self.room_max) }
    }
}

impl Inbox {
    /// Serves the inbox for ever.
    pub(crate) async fn serve(mut self, hub: Rc<Hub>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let more = tokio::select! {
                biased;
                Some(reply) = self.asks.recv() => {
                    if !reply.is_closed() {
                        let _nobody_waits = reply.send(hub.census(self.shared.queue()));
                    }
                    continue;
                }
                more = self.jobs.recv_many(&mut batch, BATCH_MAX) => more,
            };
            if more == 0 {
                return;
            }
            for Job { task, room } in batch.drain(..) {
                let work = task(Rc::clone(&hub));
                hub.env.spawn.local(async move {
                    work.await;
                    drop(room);
                });
            }
            hub.stats.inbox_full.add(self.shared.refused.swap(0, Ordering::Relaxed));
        }
    }
}

/// A session, from any thread. Cheap to clone; an extractor too, for handlers on workers.
///
/// It fails as a [`NodeHandle`] does, and for the rest as the method of the same name of [`Session`].
#[derive(Clone, Debug)]
pub struct SessionRemote {
    pub(crate) node: NodeHandle,
    pub(crate) link: LinkId,
    pub(crate) conn: ConnId,
    pub(crate) user: Option<UserId>,
    pub(crate) from_node: bool,
}

impl SessionRemote {
    /// The connection.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// The user that the session had when this handle was made.
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// The instance that serves the session.
    pub fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// [`Session::push`]; in order with other calls of this handle that were awaited.
    pub fn push(&self, route: impl Into<RouteId>, body: &(impl Body + ?Sized)) -> Asked<()> {
        let this = self.clone();
        self.node.sending(route.into(), body, move |hub, packet| async move {
            Session::from_remote(hub, &this).send_packet(&packet, false)
        })
    }

    /// [`Session::push_and_close`].
    pub fn push_and_close(
        &self,
        route: impl Into<RouteId>,
        body: &(impl Body + ?Sized),
    ) -> Asked<()> {
        let this = self.clone();
        self.node.sending(route.into(), body, move |hub, packet| async move {
            Session::from_remote(hub, &this).send_packet(&packet, true)
        })
    }

    /// [`Session::bind`]. This handle keeps its [`SessionRemote::user`].
    pub fn bind(&self, user: UserId) -> Asked<()> {
        self.run(move |session| async move { session.bind(user).await })
    }

    /// [`Session::close`].
    pub fn close(&self) -> Asked<()> {
        self.run(|session| async move { session.close() })
    }

    /// [`Session::kick`].
    pub fn kick(&self) -> Asked<()> {
        self.run(|session| async move { session.kick() })
    }

    /// Runs `work` with the session itself, on its instance.
    pub fn run<T, F, Fut>(&self, work: F) -> Asked<T>
    where
        T: Send + 'static,
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Status>> + 'static,
    {
        let this = self.clone();
        self.node.ask(0, move |hub| work(Session::from_remote(hub, &this)))
    }
}
