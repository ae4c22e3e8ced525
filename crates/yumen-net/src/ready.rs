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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_mark_that_came_before_the_hub_parked_is_not_slept_through() {
        let (ready, count) = (Arc::<Ready>::default(), Arc::<Count>::default());
        let waker = Waker::from(Arc::clone(&count));
        let slot = SlotWaker::new(&ready, 7);
        slot.mark();
        assert!(!ready.park(&waker) && ready.is_marked());
        let mut turn = vec![3];
        ready.take(&mut turn);
        assert_eq!(turn, [3, 7]);
        assert!(ready.park(&waker));
        slot.unmark();
        slot.mark();
        slot.mark();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "woken once for any number of marks");
        turn.clear();
        ready.take(&mut turn);
        assert_eq!(turn, [7], "and served once");
    }

    #[test]
    fn marks_from_other_threads_are_all_served() {
        let ready = Arc::<Ready>::default();
        let threads: Vec<_> = (0..4)
            .map(|first| {
                let ready = Arc::clone(&ready);
                std::thread::spawn(move || {
                    for slot in 0..1000 {
                        SlotWaker::new(&ready, first * 1000 + slot).mark();
                    }
                })
            })
            .collect();
        let mut served = Vec::new();
        while served.len() < 4000 {
            ready.take(&mut served);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        served.sort_unstable();
        assert!(served.into_iter().eq(0..4000));
    }
}
