//! The part of [`Links`] that knows of other processes.

use super::{Answer, CallError, Carrier, Known, LinkId, Links, Unsent};
use crate::{
    board::Flaw,
    far::{Far, directory::Directory, due::Due, pair::Pair},
    outside::{Outside, Tuning},
};
use std::{cell::Ref, collections::hash_map::Entry, rc::Rc};
use tokio::sync::oneshot;
use yumen_core::{cluster::Snapshot, locator::Incarnation};
use yumen_proto::{
    id::InstanceId,
    link::{Frame, Kind},
};

/// Most instances whose ended lives are remembered.
const FENCES_MAX: usize = 65_536;

impl Links {
    /// Lets instances of other processes reach this one, and this one them. To be called once, after
    /// [`Links::open`] and before [`Links::start`].
    pub fn go_outside(self: &Rc<Self>, mut outside: Outside) {
        if outside.tuning.dial_max.is_zero() {
            outside.tuning.dial_max = Tuning::default().dial_max;
        }
        self.call_max.set(outside.tuning.call_max);
        let far = Far::open(self, &self.env, outside);
        self.far.replace(Some(far));
    }

    /// Tells who there is of one kind, as the registry has it: at every snapshot. Instances of this
    /// process need none.
    pub fn set_peers(&self, kind: Kind, peers: &Snapshot) {
        self.directory.borrow_mut().set(kind, peers);
        if let Some(far) = self.far() {
            far.peers_changed(self);
        }
    }

    /// That life of an instance is over, and every earlier one: its links are cut, and its handshakes
    /// refused. An instance of this process lives as long as the process, and is not cut off.
    pub fn fence(&self, instance: &InstanceId, life: Incarnation) {
        if self.has_flaw(Flaw::NoFence) {
            return;
        }
        let mut fences = self.fences.borrow_mut();
        let over = fences.entry(instance.clone()).or_default();
        *over = life.max(*over);
        if fences.len() > FENCES_MAX {
            fences.pop_first();
        }
        drop(fences);
        if let (Some(far), Some(pair)) = (self.far(), self.pair_of(instance)) {
            far.fence(self, &pair, life);
        }
    }

    /// Resolves when every connection to another process has ended, after [`Links::close`]: what was
    /// sent is written, or nobody takes it. Bound it by a time. Safe to drop.
    pub async fn drained(&self) {
        let Some(far) = self.far() else { return };
        while far.conns() > 0 {
            self.env.clock.sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Whether a test has left this defence out.
    pub(crate) fn has_flaw(&self, flaw: Flaw) -> bool {
        self.neighbours.has_flaw(flaw)
    }

    /// Whether that life of an instance is known to be over.
    pub(crate) fn is_over(&self, instance: &InstanceId, life: u64) -> bool {
        let compares = !self.has_flaw(Flaw::AnyLife);
        compares
            && life != 0
            && self.fences.borrow().get(instance).is_some_and(|over| over.0 >= life)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn far(&self) -> Option<Rc<Far>> {
        self.far.borrow().clone()
    }

    pub(crate) fn directory(&self) -> Ref<'_, Directory> {
        self.directory.borrow()
    }

    pub(crate) fn settle_far(&self, link: LinkId, peer: (&InstanceId, Kind), pair: Rc<Pair>) {
        self.settle(link, peer, Carrier::Far(pair));
    }

    /// A link to one of ours in another process.
    pub(crate) fn pair(&self, link: LinkId) -> Option<Rc<Pair>> {
        match self.peers.borrow().get(&link)?.carrier.as_ref() {
            Carrier::Far(pair) => Some(Rc::clone(pair)),
            Carrier::Here(_) | Carrier::Near(_) | Carrier::Due(_) => None,
        }
    }

    /// A link to one of due's.
    pub(crate) fn due(&self, link: LinkId) -> Option<Rc<Due>> {
        match self.peers.borrow().get(&link)?.carrier.as_ref() {
            Carrier::Due(due) => Some(Rc::clone(due)),
            Carrier::Here(_) | Carrier::Near(_) | Carrier::Far(_) => None,
        }
    }

    pub(crate) fn due_of(&self, peer: &InstanceId) -> Option<Rc<Due>> {
        let link = self.known.borrow().get(peer).copied();
        link.and_then(|link| self.due(link))
    }

    /// All of them, in the order of their links.
    pub(crate) fn dues(&self) -> Vec<Rc<Due>> {
        let due = |known: &Known| match known.carrier.as_ref() {
            Carrier::Due(due) => Some(Rc::clone(due)),
            Carrier::Here(_) | Carrier::Near(_) | Carrier::Far(_) => None,
        };
        let mut dues: Vec<_> = self.peers.borrow().values().filter_map(due).collect();
        dues.sort_unstable_by_key(|due| due.link);
        dues
    }

    pub(crate) fn settle_due(&self, link: LinkId, peer: (&InstanceId, Kind), due: Rc<Due>) {
        self.settle(link, peer, Carrier::Due(due));
    }

    /// Whether there is a link to a peer, whatever carries it.
    pub(crate) fn is_linked(&self, peer: &InstanceId) -> bool {
        self.known.borrow().contains_key(peer)
    }

    pub(crate) fn pair_of(&self, peer: &InstanceId) -> Option<Rc<Pair>> {
        let link = self.known.borrow().get(peer).copied();
        link.and_then(|link| self.pair(link))
    }

    /// All of them, in the order of their links.
    pub(crate) fn pairs(&self) -> Vec<Rc<Pair>> {
        let pair = |known: &Known| match known.carrier.as_ref() {
            Carrier::Far(pair) => Some(Rc::clone(pair)),
            Carrier::Here(_) | Carrier::Near(_) | Carrier::Due(_) => None,
        };
        let mut pairs: Vec<_> = self.peers.borrow().values().filter_map(pair).collect();
        pairs.sort_unstable_by_key(|pair| pair.link);
        pairs
    }

    pub(crate) fn has_calls(&self, link: LinkId) -> bool {
        self.calls.borrow().values().any(|(to, _)| *to == link)
    }

    /// Whether somebody waits for the answer of a call to that link.
    pub(crate) fn has_call(&self, link: LinkId, seq: u64) -> bool {
        self.calls.borrow().get(&seq).is_some_and(|(to, _)| *to == link)
    }

    /// Nobody will answer that call to that link, which may have been carried out.
    pub(crate) fn forget_call(&self, link: LinkId, seq: u64) {
        drop(self.take_call(link, seq));
    }

    pub(crate) fn count_late(&self) {
        self.late.set(self.late.get().wrapping_add(1));
    }

    /// Tells of queued frames that can never be sent: calls to whoever waits for them, others to the
    /// receiver.
    pub(crate) fn report_unsent(&self, (link, peer): (LinkId, &InstanceId), frames: &[u8]) {
        let (far, mut rest) = (self.far(), frames);
        while let Ok(Some(frame)) = Frame::decode(&mut rest, usize::MAX) {
            far.iter().for_each(|far| far.stats.unsent());
            if let Frame::Request { seq: seq @ 1.., .. } = frame {
                if let Some(waits) = self.take_call(link, seq) {
                    let _nobody_waits = waits.send(Err(CallError::NotSent(Unsent::Closed)));
                }
            } else if let Some(receiver) = self.receiver() {
                receiver.on_unsent(peer, frame);
            }
        }
    }

    /// Whoever waits for the answer of a call to that link.
    pub(super) fn take_call(
        &self,
        link: LinkId,
        seq: u64,
    ) -> Option<oneshot::Sender<Result<Answer, CallError>>> {
        match self.calls.borrow_mut().entry(seq) {
            Entry::Occupied(call) if call.get().0 == link => Some(call.remove().1),
            Entry::Occupied(_) | Entry::Vacant(_) => None,
        }
    }
}
