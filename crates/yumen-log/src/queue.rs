//! The way of lines from whoever makes them to the one thread that writes them.
//!
//! Bounded in bytes, and it never waits for room: a line that finds it full is dropped and counted. The
//! one thing to know: lines lie in one buffer, which the writer swaps for an empty one, so a line costs
//! its maker a lock for the time of a copy and no allocation.

use crate::{severity::Severity, stack::Stack};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The most stacks that wait at once: naming their functions takes the writer milliseconds each.
const STACKS_MAX: usize = 16;
/// What a batch may keep for the next burst of lines.
const KEPT_MAX: usize = 256 * 1024;
const RECORDS_KEPT_MAX: usize = 4096;

/// What is known of one line in a batch.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its bytes.
    pub(crate) len: usize,
    /// The terminals that take it, a bit for each.
    pub(crate) takers: u8,
    pub(crate) severity: Severity,
    pub(crate) stack: Option<Arc<Stack>>,
}

/// Lines that travel together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    text: String,
    records: Vec<Record>,
}

impl Batch {
    fn push(&mut self, record: Record, text: &str) {
        self.text.push_str(text);
        self.records.push(record);
    }

    /// Each line with what is known of it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Record, &str)> {
        let mut start = 0_usize;
        self.records.iter().map(move |record| {
            let end = start.saturating_add(record.len);
            let text = self.text.get(start..end).unwrap_or_default();
            start = end;
            (record, text)
        })
    }

    /// Empties it, and gives back what a burst took.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_MAX);
        self.records.clear();
        self.records.shrink_to(RECORDS_KEPT_MAX);
    }

    /// What it counts for in the bound of the queue.
    fn weight(&self) -> usize {
        self.text.len().saturating_add(self.records.len().saturating_mul(size_of::<Record>()))
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: Batch,
    /// What the batch that is being written counts for.
    writing: usize,
    stacks: usize,
    /// Events that were ever taken in, and how many of them the writer is done with.
    taken: u64,
    done: u64,
    /// Dropped since the writer last asked.
    dropped: u64,
    asleep: bool,
    closed: bool,
}

/// What the writer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Lines, and how many had to be dropped behind them.
    Lines { dropped: u64, upto: u64 },
    /// Nothing, for the time it was to wait.
    Nothing,
    /// Nothing, and nothing will come.
    End,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bytes_max: usize,
    /// Wakes the writer.
    filled: Condvar,
    /// Wakes those who wait until all is written.
    written: Condvar,
    dropped: AtomicU64,
    /// Held for reading while stacks are walked, and for writing while one is named.
    naming: RwLock<()>,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            bytes_max,
            filled: Condvar::new(),
            written: Condvar::new(),
            dropped: AtomicU64::new(0),
            naming: RwLock::new(()),
        }
    }

    /// No code of others runs under this lock, so it is never left half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one event, as a line for each form it is wanted in; all of them or none.
    pub(crate) fn push(&self, severity: Severity, lines: &[(u8, &str)], stack: Option<Arc<Stack>>) {
        let weigh = |(_, text): &(u8, &str)| text.len().saturating_add(size_of::<Record>());
        let weight = lines.iter().map(weigh).fold(0, usize::saturating_add);
        let mut state = self.lock();
        let held = state.waiting.weight().saturating_add(state.writing);
        if state.closed || held.saturating_add(weight) > self.bytes_max {
            state.dropped = state.dropped.saturating_add(1);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.taken = state.taken.saturating_add(1);
        let stack = stack.filter(|_| state.stacks < STACKS_MAX);
        state.stacks = state.stacks.saturating_add(usize::from(stack.is_some()));
        for (takers, text) in lines {
            let (takers, len, stack) = (*takers, text.len(), stack.clone());
            state.waiting.push(Record { len, takers, severity, stack }, text);
        }
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// The stack of this thread, for a line made in `file` at `line`; `None` if too many wait already,
    /// or if one is being named: the standard library lets only one thread at a time do either, and
    /// naming is what must not be waited for.
    pub(crate) fn stack(&self, file: &str, line: u32) -> Option<Arc<Stack>> {
        let room = self.lock().stacks < STACKS_MAX;
        let _nobody_names = self.naming.try_read().ok().filter(|_| room)?;
        Some(Stack::capture(file, line))
    }

    /// Finds the names of a stack. For the writer only.
    pub(crate) fn name(&self, stack: &Stack) {
        let _alone = self.naming.write().unwrap_or_else(PoisonError::into_inner);
        stack.frames();
    }

    /// Puts what waits into `batch`, which is empty; waits for it up to `patience`.
    pub(crate) fn next(&self, batch: &mut Batch, patience: Duration) -> Next {
        let mut state = self.lock();
        let nothing =
            |state: &State| state.waiting.records.is_empty() && state.dropped == 0 && !state.closed;
        if nothing(&state) {
            state.asleep = true;
            let waited = self.filled.wait_timeout_while(state, patience, |state| nothing(state));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.asleep = false;
        }
        if nothing(&state) {
            return Next::Nothing;
        }
        if state.waiting.records.is_empty() && state.dropped == 0 {
            return Next::End;
        }
        std::mem::swap(&mut state.waiting, batch);
        state.writing = batch.weight();
        state.stacks = 0;
        Next::Lines { dropped: std::mem::take(&mut state.dropped), upto: state.taken }
    }

    /// The writer is done with everything up to `upto`.
    pub(crate) fn done(&self, upto: u64) {
        let mut state = self.lock();
        state.writing = 0;
        state.done = upto;
        drop(state);
        self.written.notify_all();
    }

    /// Waits until what was taken so far is written. False if `patience` ended before.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let state = self.lock();
        let upto = state.taken;
        let waited = self.written.wait_timeout_while(state, patience, |state| state.done < upto);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.done >= upto
    }

    /// Takes nothing more; the writer ends when it has written what is there.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Events dropped so far because there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes held: waiting, and being written.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.lock();
        state.waiting.weight().saturating_add(state.writing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn texts(batch: &Batch) -> Vec<(u8, String)> {
        batch.lines().map(|(record, text)| (record.takers, text.to_owned())).collect()
    }

    #[test]
    fn a_full_queue_drops_the_newest_whole_and_says_how_many() {
        let line = "x".repeat(100);
        let queue = Queue::new(3 * (100 + size_of::<Record>()));
        queue.push(Severity::Info, &[(1, &line)], None);
        queue.push(Severity::Info, &[(1, &line), (2, "short")], None);
        // There is room for one form of it, so for none.
        queue.push(Severity::Info, &[(1, &line), (2, "short")], None);
        queue.push(Severity::Info, &[(1, &line)], None);
        assert_eq!(queue.dropped(), 2);
        let mut batch = Batch::default();
        assert_eq!(queue.next(&mut batch, NOW), Next::Lines { dropped: 2, upto: 2 });
        let wanted = [(1, line.clone()), (1, line.clone()), (2, "short".to_owned())];
        assert_eq!(texts(&batch), wanted);
        // What is being written counts until it is done.
        queue.push(Severity::Info, &[(1, &line), (2, "short")], None);
        assert_eq!(queue.dropped(), 3);
        queue.done(2);
        batch.clear();
        assert_eq!(queue.bytes(), 0);
        queue.push(Severity::Info, &[(1, &line), (2, "short")], None);
        assert_eq!(queue.next(&mut batch, NOW), Next::Lines { dropped: 1, upto: 3 });
    }

    #[test]
    fn flush_is_true_once_the_writer_is_done_with_what_was_there() {
        let queue = Queue::new(1 << 20);
        assert!(queue.flush(NOW), "nothing is there");
        queue.push(Severity::Info, &[(1, "a")], None);
        assert!(!queue.flush(NOW));
        let mut batch = Batch::default();
        let Next::Lines { upto, .. } = queue.next(&mut batch, NOW) else { panic!() };
        assert!(!queue.flush(NOW), "it is taken and not yet written");
        queue.push(Severity::Info, &[(1, "b")], None);
        queue.done(upto);
        assert!(!queue.flush(NOW), "the second one is still there");
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_then_its_end() {
        let queue = Queue::new(1 << 20);
        let mut batch = Batch::default();
        assert_eq!(queue.next(&mut batch, NOW), Next::Nothing);
        queue.push(Severity::Info, &[(1, "a")], None);
        queue.close();
        assert_eq!(queue.next(&mut batch, NOW), Next::Lines { dropped: 0, upto: 1 });
        batch.clear();
        assert_eq!(queue.next(&mut batch, NOW), Next::End);
    }

    #[test]
    fn a_sleeping_writer_is_woken_by_a_line() {
        let queue = Arc::new(Queue::new(1 << 20));
        let writer = std::thread::spawn({
            let queue = queue.clone();
            move || queue.next(&mut Batch::default(), Duration::from_secs(600))
        });
        queue.push(Severity::Info, &[(1, "a")], None);
        assert!(matches!(writer.join().unwrap(), Next::Lines { .. }));
    }

    #[test]
    fn only_so_many_stacks_wait_at_once() {
        let queue = Queue::new(1 << 20);
        for _ in 0..2 * STACKS_MAX {
            queue.push(Severity::Error, &[(1, "a")], Some(Stack::capture("", 0)));
        }
        assert!(queue.stack("", 0).is_none());
        let mut batch = Batch::default();
        queue.next(&mut batch, NOW);
        assert_eq!(batch.lines().filter(|(record, _)| record.stack.is_some()).count(), STACKS_MAX);
        assert!(queue.stack("", 0).is_some());
    }

    #[test]
    fn nobody_waits_for_a_stack_while_another_one_is_named() {
        let queue = Queue::new(1 << 20);
        let naming = queue.naming.write().unwrap();
        // It would hang here if it waited: the lock is held by this very thread.
        assert!(queue.stack("", 0).is_none());
        drop(naming);
        let stack = queue.stack("", 0).unwrap();
        let walking = queue.naming.read().unwrap();
        assert!(queue.stack("", 0).is_some(), "many may walk at once");
        drop(walking);
        queue.name(&stack);
        assert!(!stack.frames().is_empty());
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut batch = Batch::default();
        for _ in 0..100_000 {
            let record = Record { len: 20, takers: 1, severity: Severity::Info, stack: None };
            batch.push(record, "twenty bytes of text");
        }
        batch.clear();
        assert!(batch.text.capacity() <= KEPT_MAX);
        assert!(batch.records.capacity() <= RECORDS_KEPT_MAX);
    }
}
