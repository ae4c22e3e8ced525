//! Async functions with typed arguments, made callable.
//!
//! A handler *value* is `Send + Sync` (every `async fn` is), because all instances of a process share
//! one table; its *future* is not, because it never leaves its instance. Each instance keeps spare
//! memory for futures, so a message that is done at its first poll allocates nothing.

use crate::node::{
    extract::{FromHead, FromRequest, Incoming},
    reply::{Answer, EventOutcome, IntoReply},
};
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use yumen_core::status::Status;

/// An async function usable as a route handler. Implemented for functions; not by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a route handler",
    label = "not a handler",
    note = "a handler is an `async fn` of up to eight extractors that returns `impl IntoReply`",
    note = "extractors are `ConnId`, `UserId`, `Option<UserId>`, `Head`, `State<_>`, `Session`, \
            `Clients`, and as the last one `Msg<T>`, `Valid<T>` where `T: Validate`, or `Raw`",
    note = "it returns `()`, `Msg<_>`, `Raw` or `Result<_, E>` where `Status: From<E>`"
)]
pub trait Handler<Args, S>: Clone + Send + Sync + 'static {
    /// What the function returns.
    type Future: Future<Output = Self::Out> + 'static;
    /// What its future yields.
    type Out: IntoReply;

    /// Builds the arguments and creates the future, which borrows nothing of `body`.
    ///
    /// # Errors
    /// An argument refused the message.
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8]) -> Result<Self::Future, Status>;
}

/// An async function usable as an event handler. Implemented for functions; not by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event handler",
    label = "not an event handler",
    note = "an event handler is an `async fn` of up to eight extractors that do not use the body \
            (`ConnId`, `UserId`, `Option<UserId>`, `State<_>`, `Session`, `Clients`)",
    note = "it returns `()` or `Result<(), E>` where `Status: From<E>`"
)]
pub trait EventHandler<Args, S>: Clone + Send + Sync + 'static {
    /// What the function returns.
    type Future: Future<Output = Self::Out> + 'static;
    /// What its future yields.
    type Out: EventOutcome;

    /// Builds the arguments and creates the future.
    ///
    /// # Errors
    /// An argument refused the event.
    fn start(&self, incoming: &Incoming<'_, S>) -> Result<Self::Future, Status>;
}

macro_rules! handlers {
    ($([$($head:ident),*] $last:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<F, Fut, Out, S, Via, $($head,)* $last> Handler<(Via, $($head,)* $last,), S> for F
        where
            F: Fn($($head,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Out> + 'static,
            Out: IntoReply,
            $($head: FromHead<S>,)*
            $last: FromRequest<S, Via>,
        {
            type Future = Fut;
            type Out = Out;

            #[expect(non_snake_case, reason = "type names double as argument names")]
            fn start(&self, incoming: &Incoming<'_, S>, body: &[u8]) -> Result<Fut, Status> {
                $(let $head = $head::from_head(incoming)?;)*
                let $last = $last::from_request(incoming, body)?;
                Ok(self($($head,)* $last))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<F, Fut, Out, S, $($head,)* $last> EventHandler<($($head,)* $last,), S> for F
        where
            F: Fn($($head,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Out> + 'static,
            Out: EventOutcome,
            $($head: FromHead<S>,)*
            $last: FromHead<S>,
        {
            type Future = Fut;
            type Out = Out;

            #[expect(non_snake_case, reason = "type names double as argument names")]
            fn start(&self, incoming: &Incoming<'_, S>) -> Result<Fut, Status> {
                $(let $head = $head::from_head(incoming)?;)*
                let $last = $last::from_head(incoming)?;
                Ok(self($($head,)* $last))
            }
        }
    )*};
}
handlers! {
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
impl<F, Fut, Out, S> Handler<(), S> for F
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Out> + 'static,
    Out: IntoReply,
{
    type Future = Fut;
    type Out = Out;

    fn start(&self, _: &Incoming<'_, S>, _: &[u8]) -> Result<Fut, Status> {
        Ok(self())
    }
}

#[diagnostic::do_not_recommend]
impl<F, Fut, Out, S> EventHandler<(), S> for F
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Out> + 'static,
    Out: EventOutcome,
{
    type Future = Fut;
    type Out = Out;

    fn start(&self, _: &Incoming<'_, S>) -> Result<Fut, Status> {
        Ok(self())
    }
}

/// One route or event on one instance.
pub(crate) trait Runner<S> {
    /// Starts the handler and polls it once. A reply is appended to `reply`.
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8], reply: &mut Vec<u8>) -> Started;
}

/// What became of a message at once.
pub(crate) enum Started {
    /// The handler has finished.
    Done(Answer),
    /// The handler waits for something.
    Waits(Box<dyn Waiting>),
}

/// A handler that waits.
pub(crate) trait Waiting {
    /// Goes on. A reply is appended to `reply`.
    fn poll(&mut self, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Answer>;
}

/// Makes the future of a handler; one implementation for routes and one for events.
pub(crate) trait Start<S> {
    type Future: Future<Output: Finish> + 'static;
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8]) -> Result<Self::Future, Status>;
}

/// What a handler's future yields, turned into an answer.
pub(crate) trait Finish {
    fn finish(self, reply: &mut Vec<u8>) -> Answer;
}

impl<T: IntoReply> Finish for T {
    fn finish(self, reply: &mut Vec<u8>) -> Answer {
        self.into_reply(reply)
    }
}

pub(crate) struct Routed<H, A>(H, PhantomData<fn() -> A>);
pub(crate) struct Evented<H, A>(H, PhantomData<fn() -> A>);

impl<S, A, H: Handler<A, S>> Start<S> for Routed<H, A> {
    type Future = H::Future;
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8]) -> Result<H::Future, Status> {
        self.0.start(incoming, body)
    }
}

impl<S, A, H: EventHandler<A, S>> Start<S> for Evented<H, A> {
    type Future = H::Future;
    fn start(&self, incoming: &Incoming<'_, S>, _: &[u8]) -> Result<H::Future, Status> {
        self.0.start(incoming)
    }
}

/// The runner of a route that stays on its instance.
pub(crate) fn route_runner<H, A, S>(handler: H) -> Box<dyn Runner<S>>
where
    H: Handler<A, S>,
    A: 'static,
    S: 'static,
{
    local_runner(Routed(handler, PhantomData))
}

/// The runner of an event.
pub(crate) fn event_runner<H, A, S>(handler: H) -> Box<dyn Runner<S>>
where
    H: EventHandler<A, S>,
    A: 'static,
    S: 'static,
{
    local_runner(Evented(handler, PhantomData))
}

/// Memory for one future, used again and again by messages that are done at once.
type Slot<F> = Pin<Box<Option<F>>>;
/// Most spare slots kept per route and instance.
const SPARE_MAX: usize = 4;

struct LocalRunner<T, F> {
    handler: T,
    spare: RefCell<Vec<Slot<F>>>,
}

fn local_runner<S: 'static, T: Start<S> + 'static>(handler: T) -> Box<dyn Runner<S>> {
    Box::new(LocalRunner { handler, spare: RefCell::<Vec<Slot<T::Future>>>::default() })
}

impl<S, T: Start<S>> Runner<S> for LocalRunner<T, T::Future> {
    fn start(&self, incoming: &Incoming<'_, S>, body: &[u8], reply: &mut Vec<u8>) -> Started {
        let future = match self.handler.start(incoming, body) {
            Ok(future) => future,
            Err(no) => return Started::Done(Answer::Refused(no)),
        };
        let spare = self.spare.borrow_mut().pop();
        let mut slot = spare.unwrap_or_else(|| Box::pin(None));
        slot.set(Some(future));
        match first_poll(|cx| poll_slot(&mut slot, cx, reply)) {
            Poll::Pending => Started::Waits(Box::new(slot)),
            Poll::Ready(answer) => {
                slot.set(None);
                let mut spare = self.spare.borrow_mut();
                if spare.len() < SPARE_MAX {
                    spare.push(slot);
                }
                Started::Done(answer)
            }
        }
    }
}

impl<F: Future<Output: Finish>> Waiting for Slot<F> {
    fn poll(&mut self, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Answer> {
        poll_slot(self, cx, reply)
    }
}

/// Polls in place. Woken for nothing: if the handler waits, its task polls again with a waker of its
/// own. Unconstrained, or the reader's task would run out of tokio's budget of 128 operations a turn,
/// and from then on every handler that touches a channel would seem to wait.
pub(crate) fn first_poll(poll: impl FnMut(&mut Context<'_>) -> Poll<Answer>) -> Poll<Answer> {
    let poll = tokio::task::coop::unconstrained(poll_fn(poll));
    pin!(poll).poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_slot<F: Future<Output: Finish>>(
    slot: &mut Slot<F>,
    cx: &mut Context<'_>,
    reply: &mut Vec<u8>,
) -> Poll<Answer> {
    match slot.as_mut().as_pin_mut() {
        Some(future) => future.poll(cx).map(|out| out.finish(reply)),
        None => Poll::Ready(Answer::Nothing),
    }
}
