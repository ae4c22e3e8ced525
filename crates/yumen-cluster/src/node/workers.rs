//! Handlers that run elsewhere: `.on_workers()`.
//!
//! On the instance such a handler is one that waits for an answer from another thread, so order,
//! bounds, time limits and panics need no second mechanism. Bodies on their way are bounded in bytes.
//! Workers have a runtime of their own: a handler that blocks must not delay the service runtime.

use crate::node::{
    extract::{FromHead, FromRequest, Incoming},
    handler::{Runner, Started, Waiting},
    reply::{Answer, IntoReply},
};
use std::{
    future::{Future, poll_fn},
    io,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::AbortHandle,
};
use yumen_core::status::Status;
use yumen_net::spawn::Spawn;

/// Where heavy handlers run. Clones share the threads and the bound.
#[derive(Clone, Debug)]
pub struct Workers {
    threads: Option<Handle>,
    room: Arc<Semaphore>,
}

impl Workers {
    /// Default bound on the bodies that wait or run on workers, in bytes: 1 MiB.
    pub const BYTES_MAX: usize = 1024 * 1024;

    /// Runs on `runtime`, with at most `bytes_max` bytes of bodies waiting or running; a message
    /// beyond is answered `Busy`. Not the service runtime: a handler that blocks would delay leases.
    pub fn threads(runtime: Handle, bytes_max: usize) -> Self {
        Self { threads: Some(runtime), room: Arc::new(Semaphore::new(room(bytes_max))) }
    }

    /// Runs on the instance's own thread, with the same bound: for tests.
    pub fn here(bytes_max: usize) -> Self {
        Self { threads: None, room: Arc::new(Semaphore::new(room(bytes_max))) }
    }

    /// Takes `bytes` of the bound; at least one, so that empty bodies are bounded too.
    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.max(1)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(bytes).ok()
    }

    fn start(&self, spawn: &Spawn, job: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        match &self.threads {
            Some(runtime) => runtime.spawn(job).abort_handle(),
            None => spawn.local(job),
        }
    }
}

fn room(bytes_max: usize) -> usize {
    bytes_max.min(Semaphore::MAX_PERMITS)
}

/// Owns worker threads; dropping it lets running handlers finish in the background.
#[derive(Debug)]
pub struct WorkerThreads {
    runtime: Option<Runtime>,
    workers: Workers,
}

impl WorkerThreads {
    /// Starts `count` threads (at least 1) that take at most `bytes_max` bytes of bodies.
    ///
    /// # Errors
    /// The threads cannot be created.
    pub fn start(count: usize, bytes_max: usize) -> io::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        threads.worker_threads(count.max(1)).thread_name("yumen-worker").enable_time();
        let runtime = threads.build()?;
        let workers = Workers::threads(runtime.handle().clone(), bytes_max);
        Ok(Self { runtime: Some(runtime), workers })
    }

    /// A handle to them.
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }
}

impl Drop for WorkerThreads {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// What a worker sends back: the answer and its encoded body, or nothing if the handler panicked.
type Reply = Option<(Answer, Vec<u8>)>;
/// A handler on its way to a worker.
pub type Job = Pin<Box<dyn Future<Output = (Answer, Vec<u8>)> + Send>>;

/// An async function that may run on workers. Implemented for functions; not by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run on workers",
    label = "not a handler for workers",
    note = "its arguments and its future must be `Send`: take no `State<_>`, `Session` or `Clients` \
            (take `SessionRemote` or `NodeHandle`), and hold no `Rc` across an await"
)]
pub trait WorkerHandler<Args, S>: Clone + Send + Sync + 'static {
    /// Builds the arguments on the instance and creates the future.
    ///
    /// # Errors
    /// An argument refused the message.
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8]) -> Result<Job, Status>;
}

macro_rules! worker_handlers {
    ($([$($head:ident),*] $last:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<F, Fut, Out, S, Via, $($head,)* $last> WorkerHandler<(Via, $($head,)* $last,), S> for F
        where
            F: Fn($($head,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Out> + Send + 'static,
            Out: IntoReply,
            $($head: FromHead<S> + Send + 'static,)*
            $last: FromRequest<S, Via> + Send + 'static,
        {
            #[expect(non_snake_case, reason = "type names double as argument names")]
            fn start(&self, incoming: &Incoming<'_, S>, body: &[u8]) -> Result<Job, Status> {
                $(let $head = $head::from_head(incoming)?;)*
                let $last = $last::from_request(incoming, body)?;
                let handler = self.clone();
                Ok(Box::pin(async move {
                    let mut body = Vec::new();
                    let answer = handler($($head,)* $last).await.into_reply(&mut body);
                    (answer, body)
                }))
            }
        }
    )*};
}
worker_handlers! {
    [] A;
    [A] B;
    [A, B] C;
    [A, B, C] D;
    [A, B, C, D] E;
    [A, B, C, D, E] G;
    [A, B, C, D, E, G] H;
    [A, B, C, D, E, G, H] I;
}

#[diagnostic::do_not_recommend]
impl<F, Fut, Out, S> WorkerHandler<(), S> for F
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Out> + Send + 'static,
    Out: IntoReply,
{
    fn start(&self, _: &Incoming<'_, S>, _: &[u8]) -> Result<Job, Status> {
        let handler = self.clone();
        Ok(Box::pin(async move {
            let mut body = Vec::new();
            let answer = handler().await.into_reply(&mut body);
            (answer, body)
        }))
    }
}

/// One `.on_workers()` route on one instance.
pub(crate) struct WorkersRunner<H, A> {
    handler: H,
    workers: Workers,
    spawn: Spawn,
    _args: PhantomData<fn() -> A>,
}

impl<H, A: 'static> WorkersRunner<H, A> {
    pub(crate) fn boxed<S>(handler: H, workers: &Workers, spawn: &Spawn) -> Box<dyn Runner<S>>
    where
        H: WorkerHandler<A, S>,
    {
        let (workers, spawn) = (workers.clone(), spawn.clone());
        Box::new(Self { handler, workers, spawn, _args: PhantomData })
    }
}

impl<H: WorkerHandler<A, S>, A, S> Runner<S> for WorkersRunner<H, A> {
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8], _: &mut Vec<u8>) -> Started {
        let Some(room) = self.workers.take(body.len()) else {
            return Started::Done(Answer::Refused(Status::busy("the workers are busy")));
        };
        let job = match self.handler.start(incoming, body) {
            Ok(job) => job,
            Err(no) => return Started::Done(Answer::Refused(no)),
        };
        let (tx, rx) = oneshot::channel();
        let job = self.workers.start(&self.spawn, async move {
            let reply = caught(job).await;
            drop(room);
            let _nobody_waits = tx.send(reply);
        });
        Started::Waits(Box::new(OnWorker { reply: rx, job }))
    }
}

/// Runs a job; `None` if it panics.
async fn caught(job: Job) -> Reply {
    let mut job = pin!(job);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

struct OnWorker {
    reply: oneshot::Receiver<Reply>,
    job: AbortHandle,
}

impl Drop for OnWorker {
    /// Nobody waits any more (a time limit, or the stop): the handler ends at its next await.
    fn drop(&mut self) {
        self.job.abort();
    }
}

impl Waiting for OnWorker {
    fn poll(&mut self, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Answer> {
        Pin::new(&mut self.reply).poll(cx).map(|done| match done {
            Ok(Some((answer, body))) => {
                reply.extend_from_slice(&body);
                answer
            }
            // Goes on here, where every panic of a handler is caught and counted.
            Ok(None) => resume_unwind(Box::new("the handler panicked on a worker")),
            Err(_) => Answer::Refused(Status::unavailable("the workers have stopped")),
        })
    }
}
