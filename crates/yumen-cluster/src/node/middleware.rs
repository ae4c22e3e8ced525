//! Code around handlers: it may look at a request, change it, answer it itself, or change the answer.
//!
//! A middleware is an async function `(Request<S>, Next<S>) -> impl IntoReply`. A route without
//! middleware costs nothing for it; one with middleware costs a copy of the body and one allocation
//! per layer. A panic in a middleware ends that message like one in a handler (W-11).
//!
//! ```
//! use yumen_cluster::node::{Next, Request, Response};
//! use yumen_core::Status;
//!
//! async fn only_short<S: 'static>(request: Request<S>, next: Next<S>) -> Response {
//!     if request.body().len() > 1_000 {
//!         return Response::refused(Status::invalid_argument("too long"));
//!     }
//!     next.run(request).await
//! }
//! ```

use crate::node::{
    clients::Clients,
    extract::{Head, Incoming},
    handler::{Runner, Started, Waiting, first_poll},
    hub::Hub,
    reply::{Answer, IntoReply},
    session::Session,
};
use bytes::Bytes;
use std::{
    fmt,
    future::{Future, poll_fn},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use yumen_core::status::Status;
use yumen_net::env::LocalFuture;

/// One message on its way to its handler.
pub struct Request<S> {
    head: Head,
    body: Bytes,
    state: Rc<S>,
    hub: Rc<Hub>,
}

impl<S> fmt::Debug for Request<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("head", &self.head).finish_non_exhaustive()
    }
}

impl<S> Request<S> {
    /// Route, sequence number, connection and user.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The encoded message.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Replaces the encoded message: to decrypt it, say.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
    }

    /// The state of this instance.
    pub fn state(&self) -> &Rc<S> {
        &self.state
    }

    /// The connection that the message came from.
    pub fn session(&self) -> Session {
        Session::new(Rc::clone(&self.hub), &self.head)
    }

    /// Every client of the cluster.
    pub fn clients(&self) -> Clients {
        Clients::new(Rc::clone(&self.hub))
    }
}

/// The answer of a handler on its way back.
#[derive(Debug)]
pub struct Response {
    answer: Answer,
    body: Vec<u8>,
}

impl Response {
    /// No answer at all.
    pub fn nothing() -> Self {
        Self { answer: Answer::Nothing, body: Vec::new() }
    }

    /// An answer with this encoded message.
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { answer: Answer::Body, body: body.into() }
    }

    /// A refusal.
    pub fn refused(status: Status) -> Self {
        Self { answer: Answer::Refused(status), body: Vec::new() }
    }

    /// The encoded message, if there is one.
    pub fn as_body(&self) -> Option<&[u8]> {
        matches!(self.answer, Answer::Body).then_some(&self.body)
    }

    /// Why the message was refused, if it was.
    pub fn as_status(&self) -> Option<&Status> {
        match &self.answer {
            Answer::Refused(status) => Some(status),
            Answer::Nothing | Answer::Body => None,
        }
    }

    fn of(out: impl IntoReply) -> Self {
        let mut body = Vec::new();
        Self { answer: out.into_reply(&mut body), body }
    }
}

impl IntoReply for Response {
    fn into_reply(self, body: &mut Vec<u8>) -> Answer {
        body.extend_from_slice(&self.body);
        self.answer
    }
}

/// Code around handlers. Implemented for async functions `(Request<S>, Next<S>) -> impl IntoReply`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware",
    label = "not a middleware",
    note = "a middleware is an `async fn(Request<S>, Next<S>) -> Response` (or anything else that \
            is `IntoReply`), where `S` is the state of the node"
)]
pub trait Middleware<S>: Send + Sync + 'static {
    /// Answers `request`, by [`Next::run`] or otherwise.
    fn call(&self, request: Request<S>, next: Next<S>) -> LocalFuture<'static, Response>;
}

#[diagnostic::do_not_recommend]
impl<S, F, Fut> Middleware<S> for F
where
    F: Fn(Request<S>, Next<S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply> + 'static,
{
    fn call(&self, request: Request<S>, next: Next<S>) -> LocalFuture<'static, Response> {
        let answer = self(request, next);
        Box::pin(async move { Response::of(answer.await) })
    }
}

pub(crate) type Layers<S> = Rc<[Arc<dyn Middleware<S>>]>;

/// What comes after a middleware: the next one, or the handler.
pub struct Next<S> {
    layers: Layers<S>,
    at: usize,
    runner: Rc<dyn Runner<S>>,
}

impl<S> fmt::Debug for Next<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.layers.len().saturating_sub(self.at);
        f.debug_struct("Next").field("layers_left", &left).finish_non_exhaustive()
    }
}

impl<S: 'static> Next<S> {
    /// Goes on with `request` and gives its answer. Dropping the future drops the handler.
    pub async fn run(mut self, request: Request<S>) -> Response {
        if let Some(layer) = self.layers.get(self.at).map(Arc::clone) {
            self.at = self.at.saturating_add(1);
            return layer.call(request, self).await;
        }
        let Request { head, body, state, hub } = request;
        let mut reply = Vec::new();
        let incoming = Incoming { head: &head, state: &state, hub: &hub };
        let mut waiting = match self.runner.start(&incoming, &body, &mut reply) {
            Started::Done(answer) => return Response { answer, body: reply },
            Started::Waits(waiting) => waiting,
        };
        drop(body);
        let answer = poll_fn(|cx| waiting.poll(cx, &mut reply)).await;
        Response { answer, body: reply }
    }
}

/// A route behind middleware.
pub(crate) struct LayeredRunner<S> {
    pub(crate) layers: Layers<S>,
    pub(crate) runner: Rc<dyn Runner<S>>,
}

impl<S: 'static> Runner<S> for LayeredRunner<S> {
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8], reply: &mut Vec<u8>) -> Started {
        let request = Request {
            head: *incoming.head,
            body: Bytes::copy_from_slice(body),
            state: Rc::clone(incoming.state),
            hub: Rc::clone(incoming.hub),
        };
        let (layers, runner) = (Rc::clone(&self.layers), Rc::clone(&self.runner));
        let mut chain = Chain(Box::pin(Next { layers, at: 0, runner }.run(request)));
        match first_poll(|cx| chain.poll(cx, reply)) {
            Poll::Ready(answer) => Started::Done(answer),
            Poll::Pending => Started::Waits(Box::new(chain)),
        }
    }
}

struct Chain(LocalFuture<'static, Response>);

impl Waiting for Chain {
    fn poll(&mut self, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Answer> {
        self.0.as_mut().poll(cx).map(|response| response.into_reply(reply))
    }
}
