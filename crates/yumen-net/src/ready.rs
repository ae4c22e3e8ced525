//! The sessions whose sockets have something to say: an instance's only wake-up list.
//!
//! Each session owns one small waker that marks its slot here; one task per driver serves the marks.
//! So an idle connection needs no task of its own, and what became ready together is served together.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// Slots to be served, and the task that serves them.
#[derive(Debug, Default)]
pub(crate) struct Ready(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    slots: Vec<u32>,
    hub: Option<Waker>,
}

impl Ready {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the serving task without marking a slot.
    pub(crate) fn wake(&self) {
        let hub = self.marks().hub.take();
        hub.into_iter().for_each(Waker::wake);
    }

    /// Whether a slot waits to be served.
    pub(crate) fn is_marked(&self) -> bool {
        !self.marks().slots.is_empty()
    }

    /// Appends the marked slots to `into`.
    pub(crate) fn take(&self, into: &mut Vec<u32>) {
        let mut marks = self.marks();
        if into.is_empty() {
            mem::swap(into, &mut marks.slots);
        } else {
            into.append(&mut marks.slots);
        }
    }

    /// Leaves a waker for the next mark; false if there is one already.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        let mut marks = self.marks();
        let empty = marks.slots.is_empty();
        if empty {
            marks.hub = Some(waker.clone());
        }
        empty
    }
}

/// Marks one slot when its socket is ready.
#[derive(Debug)]
pub(crate) struct SlotWaker {
    ready: Arc<Ready>,
    slot: u32,
    marked: AtomicBool,
}

impl SlotWaker {
    pub(crate) fn new(ready: &Arc<Ready>, slot: u32) -> Arc<Self> {
        Arc::new(Self { ready: Arc::clone(ready), slot, marked: AtomicBool::new(false) })
    }

    /// The slot is about to be served: what happens from now on marks it again.
    pub(crate) fn unmark(&self) {
        self.marked.store(false, Ordering::Release);
    }

    /// Marks the slot: it is served in the next turn.
    pub(crate) fn mark(&self) {
        if self.marked.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut marks = self.ready.marks();
        marks.slots.push(self.slot);
        let hub = marks.hub.take();
        drop(marks);
        hub.into_iter().for_each(Waker::wake);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.mark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mark();
    }
}
