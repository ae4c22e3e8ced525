//! The links of one instance: to whom, over what, and which calls wait for an answer.
//!
//! A link is dialled at its first use and duplex: to an instance on the same thread by a direct call, on
//! another thread by batches of bytes, in another process by connections.

mod load;
mod outside;

pub use load::Load;

use crate::{
    board::{Knock, Neighbours, Switchboard},
    far::{Far, directory::Directory, due::Due, pair::Pair},
    here::Here,
    near::{Near, NearEnd},
    outside::Peer,
};
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use yumen_core::locator::Incarnation;
use yumen_net::env::Env;
use yumen_proto::{
    id::InstanceId,
    link::{Command, Frame, Kind, LinkError, Reply},
};

/// Most bytes that wait for one lane; those that its peer has been sent and has not handled come on top.
pub const LANE_MAX: usize = 4 * 1024 * 1024;
/// Most calls of one instance that wait for an answer.
const CALLS_MAX: usize = 65_536;
/// Longest wait for the answer to a call, unless somebody says otherwise.
const CALL_MAX: Duration = Duration::from_secs(3);

/// A peer instance, within one instance. Never used again for another, nor for the same one after it
/// was gone: what is late for a lost link finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// The receiving end of an instance. Its code may send on any link, the one it hears from included.
pub trait Receive {
    /// A frame arrived. Answers to this instance's own calls do not come here.
    fn on_frame(&self, link: LinkId, frame: Frame<'_>);
    /// Write what the frames have caused.
    fn on_batch_end(&self) {}
    /// The peer is gone; `link` means nothing from now on. What was sent on it and not answered may
    /// have been carried out.
    fn on_lost(&self, _link: LinkId, _peer: &InstanceId) {}
    /// A frame that was queued for a peer can never be sent, and was not carried out. Comes after
    /// [`Receive::on_lost`], for each such frame in their order. Calls are not reported here: they end
    /// with [`CallError::NotSent`].
    fn on_unsent(&self, _peer: &InstanceId, _frame: Frame<'_>) {}
}

/// Why a frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsent {
    /// Too many bytes are on their way: wait for [`Links::room`], or answer that you are busy.
    #[error("the lane is full")]
    Full,
    /// There is no such peer, or it is gone.
    #[error("the peer is gone")]
    Closed,
    /// It cannot be written: a name or a list is longer than its field.
    #[error(transparent)]
    Unfit(#[from] LinkError),
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The peer never saw it.
    #[error("not sent: {0}")]
    NotSent(#[from] Unsent),
    /// The peer went away, or did not answer in time: it may have been carried out.
    #[error("no answer: it may have been carried out")]
    Unknown,
}

pub(crate) enum Carrier {
    Here(Here),
    Near(Near),
    Far(Rc<Pair>),
    Due(Rc<Due>),
}

struct Known {
    id: InstanceId,
    kind: Kind,
    carrier: Rc<Carrier>,
    /// Something was sent since the last flush.
    touched: bool,
}

type Answer = (u16, Reply);

/// What waits for the answer to a call.
type Waits = oneshot::Sender<Result<Answer, CallError>>;

/// The links of one instance.
pub struct Links {
    env: Env,
    me: InstanceId,
    kind: Kind,
    board: Switchboard,
    neighbours: Rc<Neighbours>,
    receiver: RefCell<Option<Rc<dyn Receive>>>,
    peers: RefCell<FxHashMap<LinkId, Known>>,
    ids: Cell<u32>,
    closed: Cell<bool>,
    known: RefCell<FxHashMap<InstanceId, LinkId>>,
    door: RefCell<Option<tokio::sync::mpsc::Receiver<Knock>>>,
    touched: RefCell<Vec<LinkId>>,
    calls: RefCell<FxHashMap<u64, (LinkId, Waits)>>,
    seq: Cell<u64>,
    call_max: Cell<Duration>,
    far: RefCell<Option<Rc<Far>>>,
    directory: RefCell<Directory>,
    fences: RefCell<BTreeMap<InstanceId, Incarnation>>,
    /// Answers nobody waited for any more.
    pub late: Cell<u64>,
    /// Frames that did not parse.
    pub malformed: Cell<u64>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Links {
    /// The links of the instance `me`, which others can find from now on.
    ///
    /// # Errors
    /// [`Unsent::Closed`] if another instance of this process has that id.
    pub fn open(
        env: &Env,
        me: &InstanceId,
        kind: Kind,
        board: &Switchboard,
        neighbours: &Rc<Neighbours>,
    ) -> Result<Rc<Self>, Unsent> {
        let door = board.open(me, kind).ok_or(Unsent::Closed)?;
        let links = Rc::new(Self {
            env: env.clone(),
            me: me.clone(),
            kind,
            board: board.clone(),
            neighbours: Rc::clone(neighbours),
            receiver: RefCell::default(),
            peers: RefCell::default(),
            ids: Cell::new(0),
            closed: Cell::new(false),
            known: RefCell::default(),
            door: RefCell::new(Some(door)),
            touched: RefCell::default(),
            calls: RefCell::default(),
            seq: Cell::new(0),
            call_max: Cell::new(CALL_MAX),
            far: RefCell::default(),
            directory: RefCell::default(),
            fences: RefCell::default(),
            late: Cell::new(0),
            malformed: Cell::new(0),
        });
        neighbours.enter(me, &links);
        Ok(links)
    }

    /// Starts to receive. To be called once, before anything is sent.
    pub fn start(self: &Rc<Self>, receiver: Rc<dyn Receive>) {
        self.receiver.replace(Some(receiver));
        let this = Rc::clone(self);
        self.env.spawn.local(async move {
            while let Some(knock) = this.next_knock().await {
                this.admit(knock);
            }
        });
        self.far().into_iter().for_each(|far| far.start());
    }

    /// Takes the instance off the board and drops every link; peers are told, after all that was
    /// sent. Nothing is received or dialled any more.
    pub fn close(&self) {
        self.leave();
        while let Some(knock) = self.knocked() {
            drop(knock); // which tells the peer
        }
        self.pairs().iter().for_each(|pair| pair.say_goodbye());
        self.dues().iter().for_each(|due| due.say_goodbye());
        self.far().into_iter().for_each(|far| far.close());
        let mut all: Vec<_> = self.peers.borrow().keys().copied().collect();
        all.sort_unstable();
        all.into_iter().for_each(|link| self.drop_link(link));
        // It knows us, and we know it: nothing of either would ever be freed.
        self.receiver.replace(None);
    }

    fn leave(&self) {
        if !self.closed.replace(true) {
            self.neighbours.leave(&self.me);
            self.board.close(&self.me);
        }
    }

    /// This instance.
    pub fn me(&self) -> &InstanceId {
        &self.me
    }

    /// The link to `peer`, dialled now if there is none.
    ///
    /// # Errors
    /// [`Unsent::Closed`] if no such instance can be reached.
    pub fn link(self: &Rc<Self>, peer: &InstanceId) -> Result<LinkId, Unsent> {
        if let Some(link) = self.known.borrow().get(peer) {
            return Ok(*link);
        }
        if self.closed.get() {
            return Err(Unsent::Closed);
        }
        // Whoever dialled us first has left its end at our door.
        self.admit_all();
        if let Some(link) = self.known.borrow().get(peer) {
            return Ok(*link);
        }
        // One that does not receive yet is sent to through its door, and nothing is lost.
        if let Some(there) = self.neighbours.find(peer).filter(|there| there.is_receiving()) {
            return Ok(self.meet(&there));
        }
        match self.board.dial((&self.me, self.kind), peer) {
            Some((kind, near, end)) => Ok(self.adopt((peer, kind), near, end)),
            None => {
                // Dialled by the peer between our look at the door and now.
                self.admit_all();
                if let Some(link) = self.known.borrow().get(peer) {
                    return Ok(*link);
                }
                self.far().ok_or(Unsent::Closed)?.link(self, peer)
            }
        }
    }

    /// The instance behind a link; `None` once it is gone.
    pub fn peer(&self, link: LinkId) -> Option<Peer> {
        let peers = self.peers.borrow();
        peers.get(&link).map(|peer| Peer {
            id: peer.id.clone(),
            kind: peer.kind,
            ours: !matches!(peer.carrier.as_ref(), Carrier::Due(_)),
        })
    }

    /// The links to instances of that kind that are up, in no order. Whoever has dialled us is among
    /// them although the registry may not have told of it yet.
    pub fn up(&self, kind: Kind) -> Vec<LinkId> {
        let peers = self.peers.borrow();
        let links = peers.iter().filter(|(_, peer)| peer.kind == kind).map(|(link, _)| *link);
        links.filter(|link| self.is_up(*link)).collect()
    }

    /// Whether what is sent on a link now is likely to arrive soon: not while it is being dialled, and
    /// not while its peer is silent. Nothing is known of one of due's, which only answers.
    pub fn is_up(&self, link: LinkId) -> bool {
        let peers = self.peers.borrow();
        peers.get(&link).is_some_and(|peer| match peer.carrier.as_ref() {
            Carrier::Here(_) | Carrier::Near(_) | Carrier::Due(_) => true,
            Carrier::Far(pair) => pair.is_up(),
        })
    }

    /// Sends a frame after all earlier ones of its lane. It may wait until [`Links::flush`].
    ///
    /// # Errors
    /// [`Unsent`] says why.
    pub fn send(&self, link: LinkId, frame: Frame<'_>) -> Result<(), Unsent> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.get_mut(&link).ok_or(Unsent::Closed)?;
        if !std::mem::replace(&mut peer.touched, true) {
            self.touched.borrow_mut().push(link);
        }
        let carrier = Rc::clone(&peer.carrier);
        drop(peers);
        match carrier.as_ref() {
            Carrier::Here(lane) => lane.send(frame),
            Carrier::Near(lane) => lane.send(frame),
            Carrier::Far(pair) => pair.send(frame),
            Carrier::Due(due) => due.send(frame),
        }
    }

    /// Ends a batch: what was sent is on its way.
    pub fn flush(&self) {
        loop {
            let Some(link) = self.touched.borrow_mut().pop() else { return };
            let mut peers = self.peers.borrow_mut();
            let Some(peer) = peers.get_mut(&link) else { continue };
            peer.touched = false;
            let carrier = Rc::clone(&peer.carrier);
            drop(peers);
            match carrier.as_ref() {
                Carrier::Here(lane) => lane.flush(),
                Carrier::Near(lane) => lane.flush(),
                Carrier::Far(pair) => pair.flush(),
                Carrier::Due(due) => due.flush(),
            }
        }
    }

    /// Resolves when a frame that found the lane full may be sent again, or the peer is gone.
    /// Safe to drop.
    pub async fn room(&self, link: LinkId) {
        let carrier = self.peers.borrow().get(&link).map(|p| Rc::clone(&p.carrier));
        match carrier.as_deref() {
            Some(Carrier::Near(lane)) => lane.room().await,
            Some(Carrier::Far(pair)) => pair.room().await,
            Some(Carrier::Due(due)) => due.room().await,
            Some(Carrier::Here(_)) => tokio::task::yield_now().await,
            None => {}
        }
    }

    /// Asks a peer and waits for its answer, at most 3 s or [`Tuning::call_max`](crate::Tuning::call_max). Dropping the future forgets the answer; the
    /// peer carries the command out all the same.
    ///
    /// # Errors
    /// [`CallError`] says whether it may have been carried out.
    pub async fn call(&self, link: LinkId, command: Command<'_>) -> Result<Answer, CallError> {
        if self.calls.borrow().len() >= CALLS_MAX {
            return Err(Unsent::Full.into());
        }
        let seq = self.seq.get().wrapping_add(1).max(1);
        self.seq.set(seq);
        let (tx, rx) = oneshot::channel();
        self.calls.borrow_mut().insert(seq, (link, tx));
        let _forgotten_when_dropped = Waiting { links: self, seq };
        self.send(link, Frame::Request { seq, command })?;
        self.flush();
        tokio::select! {
            biased;
            answer = rx => answer.unwrap_or(Err(CallError::Unknown)),
            () = self.late() => Err(CallError::Unknown),
        }
    }

    /// Resolves when an answer that is asked for now would come too late.
    async fn late(&self) {
        let max = self.call_max.get();
        if max.is_zero() {
            std::future::pending::<()>().await; // the peer's end is the end
        }
        self.env.clock.sleep(max).await;
    }

    /// A frame arrived on `link`. Once these links are closed nobody receives it.
    pub(crate) fn receive(&self, link: LinkId, frame: Frame<'_>) {
        if let Frame::Reply { seq, code, reply, .. } = frame {
            match self.take_call(link, seq) {
                Some(waits) => {
                    let _nobody_waits = waits.send(Ok((code, reply)));
                }
                None => self.count_late(),
            }
        } else if let Some(receiver) = self.receiver() {
            receiver.on_frame(link, frame);
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.env.clock.now().mono
    }

    pub(crate) fn count_malformed(&self) {
        self.malformed.set(self.malformed.get().wrapping_add(1));
    }

    pub(crate) fn batch_end(&self) {
        if let Some(receiver) = self.receiver() {
            receiver.on_batch_end();
        }
    }

    /// Cloned, because its code may close these links.
    fn receiver(&self) -> Option<Rc<dyn Receive>> {
        self.receiver.borrow().clone()
    }

    fn is_receiving(&self) -> bool {
        self.receiver.borrow().is_some()
    }

    /// Ties this instance to one on the same thread; to itself by one link that serves as both.
    fn meet(self: &Rc<Self>, there: &Rc<Self>) -> LinkId {
        let mine = self.reserve();
        if Rc::ptr_eq(self, there) {
            let to_itself = Here::new(Rc::downgrade(self), mine, LANE_MAX);
            self.settle(mine, (&self.me, self.kind), Carrier::Here(to_itself));
            return mine;
        }
        let theirs = there.reserve();
        let out = Here::new(Rc::downgrade(there), theirs, LANE_MAX);
        let back = Here::new(Rc::downgrade(self), mine, LANE_MAX);
        there.settle(theirs, (&self.me, self.kind), Carrier::Here(back));
        self.settle(mine, (&there.me, there.kind), Carrier::Here(out));
        mine
    }

    /// An id that no link has.
    pub(crate) fn reserve(&self) -> LinkId {
        let peers = self.peers.borrow();
        loop {
            let link = LinkId(self.ids.get());
            self.ids.set(link.0.wrapping_add(1));
            if !peers.contains_key(&link) {
                return link; // after 4 billion links it could be an old one
            }
        }
    }

    fn settle(&self, link: LinkId, (id, kind): (&InstanceId, Kind), carrier: Carrier) {
        let peer = Known { id: id.clone(), kind, carrier: Rc::new(carrier), touched: false };
        self.peers.borrow_mut().insert(link, peer);
        self.known.borrow_mut().insert(id.clone(), link);
    }

    /// Ties this instance to one on another thread.
    fn adopt(self: &Rc<Self>, peer: (&InstanceId, Kind), near: Near, end: NearEnd) -> LinkId {
        let link = self.reserve();
        self.settle(link, peer, Carrier::Near(near));
        let this = Rc::clone(self);
        self.env.spawn.local(tokio::task::coop::unconstrained(async move {
            end.run(&this, link).await;
            this.drop_link(link);
        }));
        link
    }

    async fn next_knock(&self) -> Option<Knock> {
        std::future::poll_fn(|cx| match self.door.borrow_mut().as_mut() {
            Some(door) => door.poll_recv(cx),
            None => std::task::Poll::Ready(None),
        })
        .await
    }

    fn admit_all(self: &Rc<Self>) {
        while let Some(knock) = self.knocked() {
            self.admit(knock);
        }
    }

    fn knocked(&self) -> Option<Knock> {
        self.door.borrow_mut().as_mut().and_then(|door| door.try_recv().ok())
    }

    fn admit(self: &Rc<Self>, knock: Knock) {
        let Knock { from, kind, near, end } = knock;
        self.adopt((&from, kind), near, end);
    }

    /// The peer is gone, or we are.
    pub(crate) fn drop_link(&self, link: LinkId) {
        let Some(peer) = self.peers.borrow_mut().remove(&link) else { return };
        let mut known = self.known.borrow_mut();
        // One that was restarted under its old id may have dialled before its old lanes ended.
        if known.get(&peer.id) == Some(&link) {
            known.remove(&peer.id);
            self.board.part(&self.me, &peer.id);
        }
        drop(known);
        let unsent = match peer.carrier.as_ref() {
            Carrier::Here(lane) => {
                lane.hang_up();
                None
            }
            // Not left to its drop: a future that waits for room has a share in it.
            Carrier::Near(lane) => {
                lane.hang_up();
                None
            }
            Carrier::Far(pair) => Some(Vec::from(pair.hang_up())),
            Carrier::Due(due) => Some(due.hang_up()),
        };
        if let Some(receiver) = self.receiver() {
            receiver.on_lost(link, &peer.id);
        }
        for frames in unsent.iter().flatten() {
            self.report_unsent((link, &peer.id), frames);
        }
        self.end_calls(link);
    }

    /// Nobody will answer what was asked of this peer.
    fn end_calls(&self, link: LinkId) {
        let asked = |(seq, (to, _)): (&u64, &(LinkId, Waits))| (*to == link).then_some(*seq);
        let lost: Vec<_> = self.calls.borrow().iter().filter_map(asked).collect();
        for seq in lost {
            self.calls.borrow_mut().remove(&seq);
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Forgets a call when its future is dropped.
struct Waiting<'a> {
    links: &'a Links,
    seq: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.links.calls.borrow_mut().remove(&self.seq);
    }
}

#[cfg(test)]
#[path = "links/tests.rs"]
mod tests;
