//! The sessions whose sockets have something to say: an instance's only wake-up list.
//!
//! Each session owns one small waker that marks its slot here; one task per driver serves the marks.
//! So an idle connection needs no task of its own, and what became ready together is served together.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// Slots to be served, and the task that serves them.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    marks: Mutex<Marks>,
    /// Some slot has precedence: a look at this costs no lock.
    hurry: AtomicBool,
}

#[derive(Debug, Default)]
struct Marks {
    slots: Vec<u32>,
    /// Those that have precedence.
    first: VecDeque<u32>,
    hub: Option<Waker>,
}

impl Ready {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the serving task without marking a slot.
    pub(crate) fn wake(&self) {
        let hub = self.marks().hub.take();
        hub.into_iter().for_each(Waker::wake);
    }

    /// Whether a slot waits to be served.
    pub(crate) fn is_marked(&self) -> bool {
        self.marks().is_marked()
    }

    /// The next slot that has precedence.
    pub(crate) fn take_first(&self) -> Option<u32> {
        if !self.hurry.load(Ordering::Acquire) {
            return None;
        }
        let mut marks = self.marks();
        let first = marks.first.pop_front();
        self.hurry.store(!marks.first.is_empty(), Ordering::Release);
        first
    }

    /// Appends the marked slots to `into`, those with precedence in front of the others.
    pub(crate) fn take(&self, into: &mut Vec<u32>) {
        let mut marks = self.marks();
        if !marks.first.is_empty() {
            self.hurry.store(false, Ordering::Release);
            into.extend(marks.first.drain(..));
        }
        if into.is_empty() {
            mem::swap(into, &mut marks.slots);
        } else {
            into.append(&mut marks.slots);
        }
    }

    /// Leaves a waker for the next mark; false if there is one already.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        let mut marks = self.marks();
        let empty = !marks.is_marked();
        if empty {
            marks.hub = Some(waker.clone());
        }
        empty
    }
}

impl Marks {
    fn is_marked(&self) -> bool {
        !self.slots.is_empty() || !self.first.is_empty()
    }
}

/// Marks one slot when its socket is ready.
#[derive(Debug)]
pub(crate) struct SlotWaker {
    ready: Arc<Ready>,
    slot: u32,
    marked: AtomicBool,
    first: AtomicBool,
}

impl SlotWaker {
    pub(crate) fn new(ready: &Arc<Ready>, slot: u32) -> Arc<Self> {
        Arc::new(Self {
            ready: Arc::clone(ready),
            slot,
            marked: AtomicBool::default(),
            first: AtomicBool::default(),
        })
    }

    /// From now on the slot is served before others.
    pub(crate) fn go_first(&self) {
        self.first.store(true, Ordering::Relaxed);
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
        if self.first.load(Ordering::Relaxed) {
            marks.first.push_back(self.slot);
            self.ready.hurry.store(true, Ordering::Release);
        } else {
            marks.slots.push(self.slot);
        }
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
    fn slots_with_precedence_are_taken_in_front_of_the_others_and_one_by_one() {
        let ready = Arc::<Ready>::default();
        let slots: Vec<_> = (0..4).map(|slot| SlotWaker::new(&ready, slot)).collect();
        slots[1].go_first();
        slots[3].go_first();
        let mark = || {
            slots.iter().for_each(|slot| {
                slot.unmark();
                slot.mark()
            })
        };
        mark();
        let mut turn = Vec::new();
        ready.take(&mut turn);
        assert_eq!((turn, ready.take_first()), (vec![1, 3, 0, 2], None));
        mark();
        assert_eq!(
            (ready.take_first(), ready.take_first(), ready.take_first()),
            (Some(1), Some(3), None)
        );
        let mut turn = Vec::new();
        ready.take(&mut turn);
        assert_eq!(turn, [0, 2]);
        slots[1].unmark();
        slots[1].mark();
        let count = Arc::<Count>::default();
        assert!(ready.is_marked() && !ready.park(&Waker::from(count)));
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
