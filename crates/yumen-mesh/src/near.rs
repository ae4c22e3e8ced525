//! To an instance on another thread of the process: batches of bytes behind a mutex.
//!
//! A batch costs one lock, and one wake-up only if the other side was waiting: 5 µs when its thread
//! sleeps, nothing when it is busy. Control frames have a queue of their own, which is taken first.

use crate::links::{LinkId, Links, Unsent};
use std::{
    cell::RefCell,
    future::poll_fn,
    mem,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};
use yumen_proto::link::{Command, Frame, table};

/// Bytes handed to the receiver before control and others get a turn, and how long that may take.
const BATCH_LEN: usize = 64 * 1024;
const BATCH_MAX: Duration = Duration::from_millis(1);
/// Frames between two looks at the clock.
const CLOCK_EVERY: usize = 16;
/// Largest buffer kept while it is empty, in bytes; a burst may have needed more.
const SPARE_MAX: usize = 1024 * 1024;

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Bytes flushed and not yet handled: what bounds the lane.
    on_the_way: AtomicUsize,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    control: Vec<u8>,
    data: Vec<u8>,
    receiver: Option<Waker>,
    senders: Vec<Waker>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut queue = self.queue();
        self.closed.store(true, Ordering::Release);
        let (receiver, senders) = (queue.receiver.take(), mem::take(&mut queue.senders));
        drop(queue);
        receiver.into_iter().chain(senders).for_each(Waker::wake);
    }
}

/// The sending end; `Send`, so it can be moved to its instance's thread.
#[derive(Debug)]
pub(crate) struct Near {
    shared: Arc<Shared>,
    batch: RefCell<Batch>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Batch {
    control: Vec<u8>,
    data: Vec<u8>,
}

/// The receiving end; `Send` as well.
#[derive(Debug)]
pub(crate) struct NearEnd {
    shared: Arc<Shared>,
}

/// A lane with at most `bytes_max` bytes of data on their way.
pub(crate) fn lane(bytes_max: usize) -> (Near, NearEnd) {
    let shared = Arc::new(Shared::default());
    let end = NearEnd { shared: Arc::clone(&shared) };
    (Near { shared, batch: RefCell::default(), bytes_max }, end)
}

impl Near {
    /// Whether `queued` more bytes are too many. Never when nothing else is on its way, so that a
    /// frame larger than the bound does not wait for ever.
    fn over(&self, queued: usize, more: usize) -> bool {
        let before = self.shared.on_the_way.load(Ordering::Acquire).saturating_add(queued);
        before > 0 && before.saturating_add(more) > self.bytes_max
    }

    pub(crate) fn send(&self, frame: Frame<'_>) -> Result<(), Unsent> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(Unsent::Closed);
        }
        let mut batch = self.batch.borrow_mut();
        let queued = batch.data.len().saturating_add(batch.control.len());
        // Control frames are few and bounded by the calls that wait, but not by nothing.
        let control = is_control(&frame);
        let spare = if control { self.bytes_max } else { 0 };
        if self.over(queued, frame.wire_len().saturating_sub(spare)) {
            return Err(Unsent::Full);
        }
        Ok(frame.encode(if control { &mut batch.control } else { &mut batch.data })?)
    }

    /// Bytes sent that the other side has not handled.
    pub(crate) fn queued(&self) -> usize {
        let batch = self.batch.borrow();
        let waiting = batch.data.len().saturating_add(batch.control.len());
        self.shared.on_the_way.load(Ordering::Relaxed).saturating_add(waiting)
    }

    pub(crate) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        let batch = &mut *batch;
        let len = batch.data.len().saturating_add(batch.control.len());
        if len == 0 {
            return;
        }
        self.shared.on_the_way.fetch_add(len, Ordering::AcqRel);
        let mut queue = self.shared.queue();
        append(&mut queue.control, &mut batch.control);
        append(&mut queue.data, &mut batch.data);
        trim(&mut batch.data);
        let waker = queue.receiver.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Resolves when at most half of the bound is on its way, or either side is gone.
    pub(crate) async fn room(&self) {
        self.flush(); // what nobody flushes is never handled, and would be waited for in vain
        poll_fn(|cx| {
            let mut queue = self.shared.queue();
            if !self.shared.closed.load(Ordering::Acquire) && self.over(0, self.bytes_max / 2) {
                if !queue.senders.iter().any(|known| known.will_wake(cx.waker())) {
                    queue.senders.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// Whether a frame may overtake data: questions, orders and their answers. A graceful disconnect may
/// not, because what was pushed before has to arrive.
pub(crate) fn is_control(frame: &Frame<'_>) -> bool {
    match frame {
        Frame::Heartbeat => true,
        Frame::Reply { route, .. } => table::row(*route).is_some_and(|row| {
            !matches!(row.name, "push" | "multicast" | "broadcast" | "publish" | "deliver")
        }),
        Frame::Request { command, .. } => matches!(
            command,
            Command::Bind { .. }
                | Command::Unbind { .. }
                | Command::GetIp { .. }
                | Command::Address { .. }
                | Command::Stat { .. }
                | Command::IsOnline { .. }
                | Command::Disconnect { force: true, .. }
                | Command::GetState
                | Command::SetState { .. }
        ),
    }
}

fn append(queue: &mut Vec<u8>, batch: &mut Vec<u8>) {
    if queue.is_empty() {
        mem::swap(queue, batch);
    } else {
        queue.append(batch);
    }
}

#[cfg(test)]
impl Near {
    /// Memory held by the lane on both sides, in bytes, except for what is being handled.
    pub(crate) fn held(&self) -> usize {
        let (queue, batch) = (self.shared.queue(), self.batch.borrow());
        [&queue.control, &queue.data, &batch.control, &batch.data].map(Vec::capacity).iter().sum()
    }
}

/// Gives up the memory of a burst.
fn trim(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > SPARE_MAX {
        *buffer = Vec::new();
    }
}

impl Near {
    /// Sends what is left and closes the lane.
    pub(crate) fn hang_up(&self) {
        self.flush();
        self.shared.close();
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl NearEnd {
    /// Hands frames to `links` until the sender is gone.
    pub(crate) async fn run(self, links: &Rc<Links>, link: LinkId) {
        let (mut control, mut data) = (Vec::new(), Vec::new());
        while self.next(&mut control, &mut data).await {
            let mut at = 0;
            loop {
                self.deliver(&control, links, link, usize::MAX);
                control.clear();
                let rest = data.get(at..).unwrap_or_default();
                at = at.saturating_add(self.deliver(rest, links, link, BATCH_LEN));
                links.batch_end();
                if at >= data.len() {
                    break;
                }
                tokio::task::yield_now().await;
                self.take_control(&mut control);
            }
            data.clear();
            tokio::task::yield_now().await;
        }
    }

    /// Hands out whole frames: all of them, or about `most` bytes for no longer than a batch may
    /// take. Returns how many bytes that were.
    fn deliver(&self, bytes: &[u8], links: &Links, link: LinkId, most: usize) -> usize {
        let mut rest = bytes;
        let used = |rest: &[u8]| bytes.len().saturating_sub(rest.len());
        let (began, mut frames) = (links.now(), 0_usize);
        while used(rest) < most {
            frames = frames.saturating_add(1);
            if most == BATCH_LEN
                && frames.checked_rem(CLOCK_EVERY) == Some(0)
                && links.now().saturating_duration_since(began) > BATCH_MAX
            {
                break;
            }
            match Frame::decode(&mut rest, usize::MAX) {
                Ok(Some(frame)) => links.receive(link, frame),
                Ok(None) => break,
                Err(error) => {
                    links.count_malformed();
                    if error.is_fatal() {
                        rest = &[]; // nothing tells where the next frame would begin
                    }
                }
            }
        }
        self.handled(used(rest));
        used(rest)
    }

    fn take_control(&self, control: &mut Vec<u8>) {
        mem::swap(control, &mut self.shared.queue().control);
    }

    /// Swaps the queues into empty buffers. False once the sender is gone.
    async fn next(&self, control: &mut Vec<u8>, data: &mut Vec<u8>) -> bool {
        poll_fn(|cx| {
            let mut queue = self.shared.queue();
            if queue.data.is_empty() && queue.control.is_empty() {
                if self.shared.closed.load(Ordering::Acquire) {
                    return Poll::Ready(false);
                }
                queue.receiver = Some(cx.waker().clone());
                [&mut *control, &mut *data, &mut queue.data].into_iter().for_each(trim);
                return Poll::Pending;
            }
            mem::swap(&mut queue.control, control);
            mem::swap(&mut queue.data, data);
            Poll::Ready(true)
        })
        .await
    }

    fn handled(&self, n: usize) {
        if n == 0 {
            return;
        }
        self.shared.on_the_way.fetch_sub(n, Ordering::AcqRel);
        let senders = mem::take(&mut self.shared.queue().senders);
        senders.into_iter().for_each(Waker::wake);
    }
}

impl Drop for NearEnd {
    fn drop(&mut self) {
        self.shared.close();
    }
}
