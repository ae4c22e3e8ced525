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

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::Sim;
    use std::time::Duration;

    #[test]
    fn a_task_that_ends_is_forgotten() {
        Sim::run(1, async |sim| {
            let env = sim.env();
            for _ in 0..100 {
                env.spawn.local(async {});
            }
            assert_eq!(env.spawn.len(), 100);
            env.spawn.idle().await;
            assert!(env.spawn.is_empty());
        });
    }

    #[test]
    fn no_task_outlives_its_instance() {
        Sim::run(1, async |sim| {
            let env = sim.env();
            let kept = Rc::new(());
            for _ in 0..10 {
                let kept = Rc::clone(&kept);
                env.spawn.local(async move {
                    std::future::pending::<()>().await;
                    drop(kept);
                });
            }
            tokio::task::yield_now().await;
            env.spawn.abort_all();
            env.spawn.idle().await;
            assert_eq!((env.spawn.len(), Rc::strong_count(&kept)), (0, 1));
        });
    }

    #[test]
    fn a_task_may_be_ended_by_its_handle() {
        Sim::run(1, async |sim| {
            let env = sim.env();
            let first = env.spawn.local(std::future::pending());
            let done = Rc::new(Cell::new(false));
            let set = Rc::clone(&done);
            env.spawn.local(async move { set.set(true) });
            first.abort();
            env.spawn.idle().await;
            assert!(done.get());
        });
    }

    #[test]
    fn a_frozen_instance_is_not_polled_and_goes_on_after_the_thaw() {
        Sim::run(1, async |sim| {
            let env = sim.env();
            let ticks = Rc::new(Cell::new(0));
            let (clock, seen) = (env.clock.clone(), Rc::clone(&ticks));
            env.spawn.local(async move {
                for _ in 0..3 {
                    clock.sleep(Duration::from_secs(1)).await;
                    seen.set(seen.get() + 1);
                }
            });
            env.spawn.freeze();
            env.clock.sleep(Duration::from_secs(10)).await;
            assert_eq!((ticks.get(), env.spawn.len()), (0, 1));
            env.spawn.thaw();
            env.spawn.idle().await;
            assert_eq!(ticks.get(), 3);
        });
    }

    #[test]
    fn a_frozen_instance_can_be_ended() {
        Sim::run(1, async |sim| {
            let env = sim.env();
            env.spawn.local(std::future::pending());
            env.spawn.freeze();
            tokio::task::yield_now().await;
            env.spawn.abort_all();
            env.spawn.idle().await;
        });
    }

    #[test]
    fn a_panic_in_our_own_task_is_reported_also_to_who_asks_later() {
        Sim::run(1, async |sim| {
            let env = sim.env();
            env.spawn.local(async { panic!("expected by this test") });
            env.spawn.crashed().await;
            env.spawn.crashed().await;
            assert!(env.spawn.is_empty());
        });
    }
}
