//! How an instance uses a plug-in: the work runs on the service runtime, the instance gets the result.
//!
//! An instance never polls a backend's future, so a backend that is slow or blocks delays no message.
//! Requests are bounded in number.

use std::{future::Future, sync::Arc};
use tokio::{runtime::Handle, sync::Semaphore};
use yumen_core::status::Status;

/// Most requests of one process that are under way.
const REQUESTS_MAX: usize = 4096;

/// Runs requests to plug-ins. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Backend {
    runtime: Option<Handle>,
    room: Arc<Semaphore>,
}

impl Backend {
    /// Requests run on `runtime`.
    pub fn on(runtime: Handle) -> Self {
        Self { runtime: Some(runtime), room: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// Requests run on the instance itself: for the virtual network, and for backends in memory.
    pub fn here() -> Self {
        Self { runtime: None, room: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// Runs `request` and waits for its result. Dropping the future does not stop the request.
    ///
    /// # Errors
    /// Busy if too many are under way; unavailable if the service runtime has ended.
    pub async fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(Status::busy("too many requests to the cluster's stores"));
        };
        let Some(runtime) = &self.runtime else { return Ok(request.await) };
        let running = runtime.spawn(async move {
            let result = request.await;
            drop(room);
            result
        });
        running.await.map_err(|_| Status::unavailable("the service runtime has ended"))
    }
}
