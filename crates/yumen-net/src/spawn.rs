//! The tasks of one instance: counted, owned, stopped together, and frozen by tests.
//!
//! No task outlives its instance, and a panic in one of them is reported to whoever runs the
//! instance. User code is caught where it is called, so a panic here is ours.

use pin_project_lite::pin_project;
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tokio::{sync::Notify, task::AbortHandle};

/// Starts tasks on this thread and owns them. Clones share one set.
#[derive(Clone, Default)]
pub struct Spawn(Rc<Tasks>);

#[derive(Default)]
struct Tasks {
    live: RefCell<Slab<Option<AbortHandle>>>,
    changed: Notify,
    crashed: Cell<bool>,
    frozen: Cell<bool>,
    parked: RefCell<Vec<Waker>>,
}

impl std::fmt::Debug for Spawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spawn").field("live", &self.len()).finish()
    }
}

impl Spawn {
    /// Starts a task on this thread's `LocalRuntime`. It ends by itself, by the returned handle, or
    /// by [`Spawn::abort_all`].
    #[expect(clippy::disallowed_methods, reason = "the one place that starts local tasks")]
    pub fn local(&self, task: impl Future<Output = ()> + 'static) -> AbortHandle {
        let key = self.0.live.borrow_mut().insert(None);
        let owner = Owner { tasks: self.clone(), key, inside: false };
        let handle = tokio::task::spawn_local(Task { future: task, owner }).abort_handle();
        if let Some(slot) = self.0.live.borrow_mut().get_mut(key) {
            *slot = Some(handle.clone());
        }
        handle
    }

    /// Number of live tasks.
    pub fn len(&self) -> usize {
        self.0.live.borrow().len()
    }

    /// Whether no task is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends every task at its next turn.
    pub fn abort_all(&self) {
        for (_, handle) in self.0.live.borrow().iter() {
            handle.iter().for_each(AbortHandle::abort);
        }
    }

    /// Resolves when no task is left. Safe to drop.
    pub async fn idle(&self) {
        self.until(|| self.is_empty()).await;
    }

    /// Resolves when a task has panicked: the instance has to end. Safe to drop.
    pub async fn crashed(&self) {
        self.until(|| self.0.crashed.get()).await;
    }

    async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if done() {
                return;
            }
            changed.await;
        }
    }

    /// For tests: a frozen instance is not polled, as if its thread were stuck.
    pub fn freeze(&self) {
        self.0.frozen.set(true);
    }

    /// Ends [`Spawn::freeze`].
    pub fn thaw(&self) {
        self.0.frozen.set(false);
        self.0.parked.take().into_iter().for_each(Waker::wake);
    }
}

pin_project! {
    struct Task<F> {
        #[pin]
        future: F,
        owner: Owner,
    }
}

struct Owner {
    tasks: Spawn,
    key: usize,
    inside: bool,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.owner.tasks.0.frozen.get() {
            this.owner.tasks.0.parked.borrow_mut().push(cx.waker().clone());
            return Poll::Pending;
        }
        this.owner.inside = true;
        let polled = this.future.poll(cx);
        this.owner.inside = false;
        polled
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let tasks = &self.tasks.0;
        tasks.live.borrow_mut().try_remove(self.key);
        if self.inside {
            tasks.crashed.set(true);
        }
        if self.inside || tasks.live.borrow().is_empty() {
            tasks.changed.notify_waiters();
        }
    }
}
