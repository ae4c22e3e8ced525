//! Clients of a gate, for bots, tools and tests: any number of connections on one thread.
//!
//! A [`Clients`] has one driver; each [`Client`] is a connection of it. A client that waits for
//! nothing costs its socket and a few hundred bytes, and neither a task nor a timer: heartbeats and
//! deadlines of all of them are one sweep a second. Everything here stays on its thread.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use yumen_cluster::client::Clients;
//!
//! #[derive(Serialize)]
//! struct Hello { name: String }
//! #[derive(Deserialize)]
//! struct Greeting { text: String }
//! const GREET: i32 = 1;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = Clients::run(async |clients| {
//!     let client = clients.connect("tcp://127.0.0.1:3553").await?;
//!     let reply: Greeting = client.call(GREET, &Hello { name: "Ann".into() }).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(reply.text)
//! })??;
//! # Ok(()) }
//! ```
//!
//! A load generator that sends millions of messages needs no future for each: it can give
//! `yumen_net::driver::Driver` a `Service` of its own, as this module does.

mod address;
mod bot;
mod calls;
mod codec;
mod error;
mod hub;
mod inbox;
mod reconnect;
mod settings;
mod tls;

pub use codec::{Plain, Usual};
pub use error::{Closed, ConnectError, Notice, RunError};
pub use hub::Counts;
pub use inbox::{Event, Push};
pub use reconnect::Backoff;
pub use settings::Builder;

use address::Target;
use bot::Bot;
use bytes::Bytes;
use hub::{Hub, Refused};
use std::{future::poll_fn, marker::PhantomData, rc::Rc, time::Duration};
use yumen_core::{
    codec::{Codec, CodecError, Decode, Encode},
    status::{Outcome, Status},
};
use yumen_net::env::Env;
use yumen_proto::{
    conn::{ClientConn, Peer},
    extension::Features,
    id::RouteId,
};

/// Opens connections to gates, and owns what they share. Cheap to clone; stays on its thread.
///
/// `C` is how messages are encoded. The driver's tasks end with the last `Clients` and [`Client`].
pub struct Clients<C = Usual> {
    hub: Rc<Hub>,
    codec: PhantomData<C>,
}

impl Clients {
    /// Settings to start from.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Clients with the default settings, on the current thread: inside a tokio `LocalRuntime`.
    pub fn new(env: &Env) -> Self {
        Builder::<Usual>::new().start_as_is(env)
    }

    /// Runs `main` with the default settings on a runtime of its own; see [`Builder::run`].
    ///
    /// # Errors
    /// [`RunError::Runtime`].
    pub fn run<T>(main: impl AsyncFnOnce(Self) -> T) -> Result<T, RunError> {
        Self::builder().run(main)
    }
}

impl<C: Codec> Clients<C> {
    /// Connects to `tcp://host:port` (or plain `host:port`), or to `ws://host:port/path`; with TLS to
    /// `tls://host:port` or `wss://host:port/path`, in programs with the feature `tls`.
    ///
    /// Resolves once messages may be sent: it does not wait for the gate to answer the announcement.
    /// Dropping the returned future ends what was begun.
    ///
    /// # Errors
    /// [`ConnectError`]; after `dial_max` at the latest. The first connection is tried once, also
    /// with [`Builder::reconnect`].
    pub async fn connect(&self, address: &str) -> Result<Client<C>, ConnectError> {
        let owned = || address.to_owned();
        let target = Target::parse(address)
            .map_err(|why| ConnectError::Address { address: owned(), why })?;
        let target = Rc::new(target);
        let bot = Bot::new(&self.hub, &target);
        let opened = self.hub.open(&Rc::downgrade(&bot), &target).await;
        opened.map_err(|refused| match refused {
            Refused::Dial(source) => ConnectError::Dial { address: owned(), source },
            Refused::Ended(reason) => ConnectError::Ended { address: owned(), reason },
            Refused::TimedOut => {
                ConnectError::TimedOut { address: owned(), after: self.hub.plan.dial_max }
            }
        })?;
        Ok(Client { bot, codec: PhantomData })
    }

    /// Number of connections, those that are being opened or closed included.
    pub fn len(&self) -> usize {
        self.hub.driver.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.hub.counts.get()
    }

    /// Memory held by the buffers of all connections, in bytes: about none while they are idle.
    pub fn buffered(&self) -> usize {
        let driver = &self.hub.driver;
        driver.ids().into_iter().filter_map(|conn| driver.buffered(conn)).sum()
    }
}

impl<C> Clone for Clients<C> {
    fn clone(&self) -> Self {
        Self { hub: Rc::clone(&self.hub), codec: PhantomData }
    }
}

impl<C> std::fmt::Debug for Clients<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("connections", &self.hub.driver.len()).finish()
    }
}

/// One connection to a gate. Clones are handles of the same one; the last of them closes it.
///
/// A message that arrives is the answer of the call with its route and sequence number, or else an
/// event for [`Client::next_event`].
pub struct Client<C = Usual> {
    bot: Rc<Bot>,
    codec: PhantomData<C>,
}

impl<C: Codec> Client<C> {
    /// Sends `request` and waits for the answer, for `call_max` (default: 3 s).
    ///
    /// Calls may overlap; nothing is sent before the returned future is first polled. Dropping it
    /// gives the request up: it may still be carried out.
    ///
    /// # Errors
    /// * What the gate or the node answered, if it refused the request.
    /// * [`Code::DEADLINE_EXCEEDED`](yumen_core::Code::DEADLINE_EXCEEDED): no answer in time.
    /// * [`Code::UNAVAILABLE`](yumen_core::Code::UNAVAILABLE): not connected; with
    ///   [`Outcome::Unknown`] if the connection ended meanwhile.
    /// * [`Code::BUSY`](yumen_core::Code::BUSY): too many calls wait, or too many bytes are queued.
    /// * [`Code::INVALID_ARGUMENT`](yumen_core::Code::INVALID_ARGUMENT): the request has no form in
    ///   the codec, or is too large.
    /// * [`Code::INTERNAL`](yumen_core::Code::INTERNAL): the answer is not what was expected.
    pub async fn call<Q, A>(&self, route: impl Into<RouteId>, request: &Q) -> Result<A, Status>
    where
        C: Encode<Q> + Decode<A>,
        Q: ?Sized,
    {
        self.call_within(self.bot.hub.plan.call_max, route, request).await
    }

    /// As [`Client::call`], waiting for up to `wait`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_within<Q, A>(
        &self,
        wait: Duration,
        route: impl Into<RouteId>,
        request: &Q,
    ) -> Result<A, Status>
    where
        C: Encode<Q> + Decode<A>,
        Q: ?Sized,
    {
        let ticket = self.encoded(request, |body| self.bot.ask(route.into(), body))?;
        let answer = self.within(wait, ticket).await?;
        C::decode(&answer).map_err(|error| unreadable(&error))
    }

    /// As [`Client::call`], from bytes to bytes.
    ///
    /// # Errors
    /// As [`Client::call`], but for those about codecs.
    pub async fn call_raw(&self, route: impl Into<RouteId>, body: &[u8]) -> Result<Bytes, Status> {
        self.call_raw_within(self.bot.hub.plan.call_max, route, body).await
    }

    /// As [`Client::call_raw`], waiting for up to `wait`.
    ///
    /// # Errors
    /// As [`Client::call_raw`].
    pub async fn call_raw_within(
        &self,
        wait: Duration,
        route: impl Into<RouteId>,
        body: &[u8],
    ) -> Result<Bytes, Status> {
        let ticket = self.bot.ask(route.into(), body)?;
        self.within(wait, ticket).await
    }

    async fn within(&self, wait: Duration, ticket: bot::Ticket<'_>) -> Result<Bytes, Status> {
        tokio::select! {
            biased;
            answer = ticket => answer,
            () = self.bot.hub.env.clock.sleep(wait) => {
                Err(Status::deadline_exceeded(format!("no answer within {wait:?}")))
            }
        }
    }

    /// Sends `message` without waiting for anything: its sequence number is 0, to which nobody
    /// answers.
    ///
    /// # Errors
    /// As [`Client::call`]; in every case nothing was sent.
    pub fn send<Q>(&self, route: impl Into<RouteId>, message: &Q) -> Result<(), Status>
    where
        C: Encode<Q>,
        Q: ?Sized,
    {
        self.encoded(message, |body| self.bot.send(route.into(), body))
    }

    /// As [`Client::send`], with bytes.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_raw(&self, route: impl Into<RouteId>, body: &[u8]) -> Result<(), Status> {
        self.bot.send(route.into(), body)
    }

    fn encoded<Q, T>(
        &self,
        message: &Q,
        post: impl FnOnce(&[u8]) -> Result<T, Status>,
    ) -> Result<T, Status>
    where
        C: Encode<Q>,
        Q: ?Sized,
    {
        self.bot.hub.with_body(|body| {
            C::encode(message, body).map_err(unwritable)?;
            post(body)
        })
    }

    /// The message in a push.
    ///
    /// # Errors
    /// The body does not hold an `A`.
    pub fn decode<A>(&self, push: &Push) -> Result<A, CodecError>
    where
        C: Decode<A>,
    {
        C::decode(&push.body)
    }

    /// The next event, in the order of arrival; `None` once the connection has ended for good and
    /// everything was seen. Safe to drop.
    pub async fn next_event(&self) -> Option<Event> {
        poll_fn(|cx| self.bot.poll_event(cx)).await
    }

    /// The next event, if it has arrived.
    pub fn try_event(&self) -> Option<Event> {
        self.bot.try_event()
    }

    /// The next push; every other event is passed over. `None` once the connection has ended for
    /// good and everything was seen. Safe to drop.
    pub async fn next_push(&self) -> Option<Push> {
        loop {
            if let Event::Push(push) = self.next_event().await? {
                return Some(push);
            }
        }
    }

    /// How many pushes were dropped because more than `pushes_max` bytes of them waited.
    pub fn pushes_dropped(&self) -> u64 {
        self.bot.pushes_dropped()
    }

    /// What both sides offer; none until the gate has answered the announcement, and for ever with
    /// a gate of due.
    pub fn features(&self) -> Features {
        self.bot.machine(ClientConn::features).unwrap_or_default()
    }

    /// Who is at the other end, as far as is known: the gate's answer to the announcement tells.
    pub fn peer(&self) -> Peer {
        self.bot.machine(ClientConn::peer).unwrap_or(Peer::Unknown)
    }

    /// Whether the gate is known to be one of due.
    pub fn speaks_due(&self) -> bool {
        self.peer() == Peer::Due
    }

    /// Whether messages can be sent now.
    pub fn is_open(&self) -> bool {
        self.bot.is_open()
    }

    /// Why the connection ended; `None` while there is one, or one is awaited.
    pub fn close_reason(&self) -> Option<Closed> {
        self.bot.closed()
    }

    /// Waits until the connection has ended for good. Safe to drop.
    pub async fn closed(&self) -> Closed {
        poll_fn(|cx| self.bot.poll_closed(cx)).await
    }

    /// Closes the connection, after what is queued has been written, and does not come back. What
    /// arrives from now on is discarded: calls that wait end with [`Outcome::Unknown`].
    pub fn close(&self) {
        self.bot.close();
    }
}

impl<C> Clone for Client<C> {
    fn clone(&self) -> Self {
        Self { bot: Rc::clone(&self.bot), codec: PhantomData }
    }
}

impl<C> std::fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("open", &self.bot.is_open()).finish_non_exhaustive()
    }
}

/// Our own request has no form: nothing was sent.
fn unwritable(error: CodecError) -> Status {
    Status::invalid_argument(error.to_string()).ended(Outcome::NotSent).caused_by(error)
}

/// The request was carried out, but its answer is of no use.
fn unreadable(error: &CodecError) -> Status {
    Status::internal(format!("the answer is not what was expected: {error}"))
        .ended(Outcome::Applied)
        .caused_by(error.clone())
}
