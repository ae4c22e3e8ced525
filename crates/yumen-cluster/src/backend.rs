//! How an instance uses a plug-in: the work runs on the service runtime, the instance gets the result.
//!
//! An instance never polls a backend's future, so a backend that is slow or blocks delays no message.
//! Requests are bounded in number.

use std::{future::Future, sync::Arc};
use tokio::{runtime::Handle, sync::Semaphore};
use yumen_core::status::Status;

/// Most requests of one process that are under way.
const REQUESTS_MAX: usize = 4096;
/// Most requests that wait for their turn: as many as a gate has users that leave at once.
const WAITING_MAX: usize = 65_536;

/// Runs requests to plug-ins. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Backend {
    runtime: Option<Handle>,
    room: Arc<Semaphore>,
    line: Arc<Semaphore>,
}

impl Backend {
    /// Requests run on `runtime`.
    pub fn on(runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..Self::here() }
    }

    /// Requests run on the instance itself: for the virtual network, and for backends in memory.
    pub fn here() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { runtime: None, room: semaphore(REQUESTS_MAX), line: semaphore(WAITING_MAX) }
    }

    /// Requests that are under way, and that wait for their turn, each with its bound.
    pub(crate) fn load(&self) -> [(&'static str, usize, usize); 2] {
        let used = |max: usize, all: &Semaphore| max.saturating_sub(all.available_permits());
        [
            ("in_flight", used(REQUESTS_MAX, &self.room), REQUESTS_MAX),
            ("waiting", used(WAITING_MAX, &self.line), WAITING_MAX),
        ]
    }

    /// Runs `request`, when it is its turn, and waits for its result. Dropping the future does not stop
    /// a request that has begun.
    ///
    /// # Errors
    /// Busy if too many wait for their turn; unavailable if the service runtime has ended; internal if
    /// the request panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        let Ok(in_line) = self.line.try_acquire() else {
            return Err(Status::busy("too many requests to the cluster's stores"));
        };
        let ended = |_| Status::unavailable("the service runtime has ended");
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(ended)?;
        drop(in_line);
        let Some(runtime) = &self.runtime else { return Ok(request.await) };
        let running = runtime.spawn(async move {
            let result = request.await;
            drop(room);
            result
        });
        running.await.map_err(|lost| match lost.is_panic() {
            true => Status::internal("a request to the cluster's stores panicked"),
            false => Status::unavailable("the service runtime has ended"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::poll_fn,
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::Poll,
    };

    #[tokio::test]
    async fn a_request_that_panics_is_not_taken_for_the_end_of_the_runtime() {
        let backend = Backend::on(Handle::current());
        let request = async { panic!("expected by this test") };
        let status = backend.run::<()>(request).await.unwrap_err().to_string();
        assert!(status.contains("panicked"), "{status}");
    }

    #[tokio::test]
    async fn requests_beyond_the_bound_wait_for_their_turn_and_none_is_refused() {
        let backend = Backend::on(Handle::current());
        let (open, under_way) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let request = || {
            let (open, under_way) = (Arc::clone(&open), Arc::clone(&under_way));
            backend.run(async move {
                under_way.fetch_add(1, Ordering::Relaxed);
                drop(open.acquire().await);
            })
        };
        let count = REQUESTS_MAX + 2000;
        let mut requests: Vec<Pin<Box<_>>> = (0..count).map(|_| Box::pin(request())).collect();
        let mut poll_all = async |limit: usize| {
            let mut done = 0;
            poll_fn(|cx| {
                requests.retain_mut(|request| match request.as_mut().poll(cx) {
                    Poll::Ready(result) => {
                        result.unwrap();
                        done += 1;
                        false
                    }
                    Poll::Pending => true,
                });
                let enough = done >= limit && under_way.load(Ordering::Relaxed) >= REQUESTS_MAX;
                if enough {
                    Poll::Ready(())
                } else {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
        };
        poll_all(0).await;
        assert_eq!(under_way.load(Ordering::Relaxed), REQUESTS_MAX, "the bound");
        open.add_permits(1);
        poll_all(count).await;
        assert_eq!(under_way.load(Ordering::Relaxed), count);
    }
}
