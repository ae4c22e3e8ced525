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

    /// Runs `request`, when it is its turn, and waits for its result. Dropping the future does not stop
    /// a request that has begun.
    ///
    /// # Errors
    /// Busy if too many wait for their turn; unavailable if the service runtime has ended.
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
        running.await.map_err(|_| Status::unavailable("the service runtime has ended"))
    }
}
