//! Where the instances of one process find each other.
//!
//! [`Neighbours`] knows those on this thread, [`Switchboard`] all of the process. Neither is global:
//! both are handed to each instance when it starts.

use crate::{
    links::{LANE_MAX, Links},
    near::{Near, NearEnd, lane},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::{Rc, Weak},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;
use yumen_proto::{id::InstanceId, link::Kind};

/// Peers that may wait at an instance's door: more than a process has instances.
const DOOR_LEN: usize = 1024;

/// A defence of links that is left out, so that the simulator can prove that it would notice. Nothing but a
/// test can ask for it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is left out.
    #[default]
    None,
    /// Links of a life that is over are not cut, and its handshakes not refused.
    NoFence,
    /// What a peer says of its life at a handshake is not compared.
    AnyLife,
}

/// The instances on one thread.
#[derive(Default)]
pub struct Neighbours {
    links: RefCell<BTreeMap<InstanceId, Weak<Links>>>,
    flaw: Flaw,
}

impl std::fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.links.borrow().keys()).finish()
    }
}

impl Neighbours {
    /// Nobody yet, and links with a flaw.
    #[doc(hidden)]
    pub fn flawed(flaw: Flaw) -> Self {
        Self { flaw, ..Self::default() }
    }

    pub(crate) fn has_flaw(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    pub(crate) fn enter(&self, id: &InstanceId, links: &Rc<Links>) {
        self.links.borrow_mut().insert(id.clone(), Rc::downgrade(links));
    }

    pub(crate) fn leave(&self, id: &InstanceId) {
        self.links.borrow_mut().remove(id);
    }

    pub(crate) fn find(&self, id: &InstanceId) -> Option<Rc<Links>> {
        self.links.borrow().get(id).and_then(Weak::upgrade)
    }

    /// Whether `id` lives on this thread.
    pub fn has(&self, id: &InstanceId) -> bool {
        self.find(id).is_some()
    }
}

/// The instances of one process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Switchboard(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    doors: BTreeMap<InstanceId, (Kind, mpsc::Sender<Knock>)>,
    /// Pairs that have lanes, the smaller id first: two that dial each other at once get one pair.
    pairs: BTreeSet<(InstanceId, InstanceId)>,
}

/// A dialling peer, and our ends of the two lanes it made.
#[derive(Debug)]
pub(crate) struct Knock {
    pub(crate) from: InstanceId,
    pub(crate) kind: Kind,
    pub(crate) near: Near,
    pub(crate) end: NearEnd,
}

fn pair(a: &InstanceId, b: &InstanceId) -> (InstanceId, InstanceId) {
    if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

impl Switchboard {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `id` is an instance of this process.
    pub fn has(&self, id: &InstanceId) -> bool {
        self.board().doors.contains_key(id)
    }

    /// Puts an instance on the board; `None` if its id is taken.
    pub(crate) fn open(&self, id: &InstanceId, kind: Kind) -> Option<mpsc::Receiver<Knock>> {
        let mut board = self.board();
        if board.doors.contains_key(id) {
            return None;
        }
        let (tx, rx) = mpsc::channel(DOOR_LEN);
        board.doors.insert(id.clone(), (kind, tx));
        Some(rx)
    }

    pub(crate) fn close(&self, id: &InstanceId) {
        let mut board = self.board();
        board.doors.remove(id);
        board.pairs.retain(|(a, b)| a != id && b != id);
    }

    /// Makes the two lanes between `me` and `peer` and leaves the peer's ends at its door. `None` if
    /// there is no such instance, or the peer was first and its ends lie at our door.
    pub(crate) fn dial(
        &self,
        (me, my_kind): (&InstanceId, Kind),
        peer: &InstanceId,
    ) -> Option<(Kind, Near, NearEnd)> {
        let mut board = self.board();
        let (kind, door) = board.doors.get(peer)?.clone();
        if !board.pairs.insert(pair(me, peer)) {
            return None;
        }
        let ((out, their_end), (back, end)) = (lane(LANE_MAX), lane(LANE_MAX));
        let knock = Knock { from: me.clone(), kind: my_kind, near: back, end: their_end };
        if door.try_send(knock).is_err() {
            board.pairs.remove(&pair(me, peer));
            return None;
        }
        Some((kind, out, end))
    }

    /// The lanes between two instances are gone.
    pub(crate) fn part(&self, a: &InstanceId, b: &InstanceId) {
        self.board().pairs.remove(&pair(a, b));
    }
}
