//! Calls to etcd's v3 API: to one member at a time, with a deadline each, to the next when one fails.
//!
//! Ours, over `tonic`, and not the `etcd-client` crate: that one runs `protoc` in its build script, and a
//! newcomer's build must need no tool. Never retries what the server answered. The one thing to know: a
//! member that did not answer in time loses its connection too, so that a connection that is dead without
//! saying so costs one deadline, not one for each call.

use super::messages::{
    Ask, AuthenticateRequest, AuthenticateResponse, WatchCreate, WatchRequest, WatchResponse,
};
use futures_core::Stream;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use prost::Message;
use rustls::ClientConfig;
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::timeout,
};
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use yumen_settings::Secret;

/// Most bytes of an answer.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// Most bytes of a request: what a server takes by default.
const REQUEST_MAX: usize = 1_572_864;
/// An idle connection is tried so often. etcd closes those that ask more often than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where the members are and how long they may take.
#[derive(Debug)]
pub(super) struct Access {
    /// At least one.
    pub(super) endpoints: Vec<Endpoint>,
    /// Longest time for one answer.
    pub(super) timeout: Duration,
    pub(super) user: Option<(String, Secret)>,
    /// Whom to trust, where the endpoints are `https`.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Access {
    /// A connection to that member, opened when it is first used.
    fn channel(&self, endpoint: &Endpoint) -> Channel {
        let Some(tls) = &self.tls else { return endpoint.connect_lazy() };
        let mut tls = ClientConfig::clone(tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // tonic's own TLS reads certificates once; ours reads them again at every handshake.
        endpoint.connect_with_connector_lazy(HttpsConnector::from((tcp, tls)))
    }

    fn what(&self, error: &Status) -> String {
        let text = what(error);
        let is_naked =
            self.tls.as_ref().is_some_and(|tls| !tls.client_auth_cert_resolver.has_certs());
        // The server's alert comes behind the handshake, and is often lost with the connection.
        if is_naked
            && ["closed", "canceled", "reset", "pipe"].iter().any(|word| text.contains(word))
        {
            return format!(
                "{text} (so does a server that demands a certificate: certFile and keyFile name none)"
            );
        }
        text
    }
}

/// Whether that address asks for an encrypted connection.
pub(super) fn is_encrypted(addr: &str) -> bool {
    addr.starts_with("https://")
}

/// The members as they are to be dialled.
///
/// # Errors
/// The address that is none, and why.
pub(super) fn endpoint(addr: &str, dial_max: Duration, wait: Duration) -> Result<Endpoint, String> {
    let scheme = if is_encrypted(addr) { "https://" } else { "http://" };
    let bare = addr.strip_prefix(scheme).unwrap_or(addr).trim_end_matches('/');
    let (host, port) = bare.rsplit_once(':').unwrap_or((bare, ""));
    if host.is_empty() || host.contains('/') || !port.parse().is_ok_and(|port: u16| port > 0) {
        return Err(format!("{addr:?} is not host:port"));
    }
    let endpoint = Endpoint::from_shared(format!("{scheme}{bare}"))
        .map_err(|error| format!("{addr:?} is not host:port: {error}"))?;
    Ok(endpoint
        .connect_timeout(dial_max)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(wait)
        .keep_alive_while_idle(true))
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody answered, or nobody who could: the next try may succeed.
    #[error("{addr}: {what}")]
    Away {
        addr: String,
        what: String,
        /// Whether a member said that itself, rather than nothing.
        answered: bool,
    },
    /// The server answered, with a refusal.
    #[error("{addr}: {}", status.message())]
    Refused { addr: String, status: Box<Status> },
}

/// What must hold for a call to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// A member that knows of a leader.
    Leader,
    /// Any member.
    Member,
}

/// The connection in use. Its number tells a failure of it from one of its predecessor.
struct Line {
    at: usize,
    number: u64,
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

pub(super) struct Client {
    access: Access,
    line: Mutex<Line>,
    /// Whoever needs a token asks for one, and the others wait for it: etcd takes its time over passwords.
    logging_in: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Client {
    /// Dials nobody yet. Needs a runtime, which then carries the connections.
    ///
    /// `None` if there is no endpoint.
    pub(super) fn new(access: Access) -> Option<Self> {
        let channel = access.channel(access.endpoints.first()?);
        let line = Mutex::new(Line { at: 0, number: 0, channel, token: None });
        Some(Self { access, line, logging_in: tokio::sync::Mutex::new(()) })
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.access.timeout
    }

    /// One request, one answer.
    ///
    /// # Errors
    /// [`CallError`], after every member was asked once.
    pub(super) async fn call<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        needs: Needs,
    ) -> Result<A, CallError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut left = self.access.endpoints.len();
        let (mut renewed, mut answered) = (false, false);
        loop {
            left = left.saturating_sub(1);
            let (number, addr, grpc) = self.grpc();
            let error = match self.once(grpc, path, request.clone(), needs).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if wants_token(&error) && self.access.user.is_some() && !renewed {
                renewed = true;
                left = left.saturating_add(1);
                self.forget_token();
                continue;
            }
            if !is_away(&error) {
                return Err(CallError::Refused { addr, status: Box::new(error) });
            }
            self.hang_up(number);
            answered |= is_from_server(&error);
            if left == 0 {
                return Err(CallError::Away { addr, what: self.access.what(&error), answered });
            }
        }
    }

    async fn once<Q, A>(
        &self,
        mut grpc: Grpc<Channel>,
        path: &'static str,
        request: Q,
        needs: Needs,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let call = async {
            let token = self.token(&mut grpc).await?;
            let request = self.addressed(Request::new(request), token, needs);
            unary(&mut grpc, path, request).await
        };
        timeout(self.access.timeout, call).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Follows a range of keys.
    ///
    /// # Errors
    /// [`CallError`] if no member answered. What it answered comes from [`Events::next`].
    pub(super) async fn watch(&self, create: WatchCreate) -> Result<Events, CallError> {
        let (number, addr, mut grpc) = self.grpc();
        let open = async {
            let token = self.token(&mut grpc).await?;
            // One question is under way at a time; one more that finds no room means a dead stream.
            let (asks, questions) = mpsc::channel(2);
            let first = WatchRequest { ask: Some(Ask::Create(create)) };
            asks.try_send(first).map_err(|_| Status::internal("no room for a first request"))?;
            let request = Request::new(Questions(questions));
            let request = self.addressed(request, token, Needs::Leader);
            ready(&mut grpc).await?;
            let path = path("/etcdserverpb.Watch/Watch")?;
            let answers = grpc.streaming(request, path, ProstCodec::default()).await?.into_inner();
            Ok(Events { asks, answers, addr: addr.clone(), number })
        };
        let opened = timeout(self.access.timeout, open).await;
        opened
            .unwrap_or_else(|_| Err(self.late()))
            .map_err(|error| self.broken(&error, &addr, number))
    }

    /// What a stream that ended with `error` means for the next one.
    pub(super) fn broken(&self, error: &Status, addr: &str, number: u64) -> CallError {
        if wants_token(error) {
            self.forget_token();
        }
        if is_away(error) {
            self.hang_up(number);
            let answered = is_from_server(error);
            return CallError::Away {
                addr: addr.to_owned(),
                what: self.access.what(error),
                answered,
            };
        }
        CallError::Refused { addr: addr.to_owned(), status: Box::new(error.clone()) }
    }

    /// Whatever was answered with this token, the next call brings a new one.
    pub(super) fn forget_token(&self) {
        self.line().token = None;
    }

    /// The next call goes to the next member, over a connection of its own. Only the first of those whom
    /// one connection failed does it.
    pub(super) fn hang_up(&self, number: u64) {
        let mut line = self.line();
        if line.number != number {
            return;
        }
        let next = line.at.saturating_add(1);
        line.at = if next < self.access.endpoints.len() { next } else { 0 };
        line.number = number.saturating_add(1);
        if let Some(endpoint) = self.access.endpoints.get(line.at) {
            line.channel = self.access.channel(endpoint);
        }
    }

    fn grpc(&self) -> (u64, String, Grpc<Channel>) {
        let line = self.line();
        let endpoint = self.access.endpoints.get(line.at);
        let addr = endpoint.and_then(|endpoint| endpoint.uri().authority());
        let grpc = Grpc::new(line.channel.clone())
            .max_decoding_message_size(ANSWER_MAX)
            .max_encoding_message_size(REQUEST_MAX);
        (line.number, addr.map(ToString::to_string).unwrap_or_default(), grpc)
    }

    /// The token of the user, if there is one: the one in use, or a new one.
    async fn token(
        &self,
        grpc: &mut Grpc<Channel>,
    ) -> Result<Option<MetadataValue<Ascii>>, Status> {
        let Some((name, password)) = &self.access.user else { return Ok(None) };
        if let Some(token) = &self.line().token {
            return Ok(Some(token.clone()));
        }
        let _turn = self.logging_in.lock().await;
        if let Some(token) = &self.line().token {
            return Ok(Some(token.clone()));
        }
        let password = password.expose().to_owned();
        let request = Request::new(AuthenticateRequest { name: name.clone(), password });
        let path = "/etcdserverpb.Auth/Authenticate";
        let answer: Result<AuthenticateResponse, _> = unary(grpc, path, request).await;
        let token = match answer {
            Ok(answer) => answer.token,
            // Its accounts are switched off: it asks nobody for a token.
            Err(refused) if refused.code() == Code::FailedPrecondition => return Ok(None),
            Err(refused) => return Err(refused),
        };
        let token = MetadataValue::try_from(token)
            .map_err(|_| Status::internal("a token that no header can carry"))?;
        self.line().token = Some(token.clone());
        Ok(Some(token))
    }

    fn addressed<Q>(
        &self,
        mut request: Request<Q>,
        token: Option<MetadataValue<Ascii>>,
        needs: Needs,
    ) -> Request<Q> {
        if let Some(token) = token {
            request.metadata_mut().insert("token", token);
        }
        if needs == Needs::Leader {
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        }
        request
    }

    fn late(&self) -> Status {
        Status::deadline_exceeded(format!("no answer within {:?}", self.access.timeout))
    }

    /// A panic in an earlier holder is not a reason to stop: every step leaves the line whole.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn unary<Q, A>(
    grpc: &mut Grpc<Channel>,
    to: &'static str,
    request: Request<Q>,
) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    ready(grpc).await?;
    Ok(grpc.unary(request, path(to)?, ProstCodec::default()).await?.into_inner())
}

async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), Status> {
    grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))
}

/// Generic only because the type of a path belongs to a crate that is not ours to name.
fn path<P: std::str::FromStr>(text: &'static str) -> Result<P, Status> {
    text.parse().map_err(|_| Status::internal("a path that is none"))
}

/// Whether another member, or the same later, may answer.
fn is_away(error: &Status) -> bool {
    matches!(
        error.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// What broke on the way has a cause, and what came too late has its code.
fn is_from_server(error: &Status) -> bool {
    std::error::Error::source(error).is_none() && error.code() != Code::DeadlineExceeded
}

/// Whether the server no longer knows the token, or knows of changed accounts.
fn wants_token(error: &Status) -> bool {
    error.code() == Code::Unauthenticated
        || error.message().contains("revision of auth store is old")
}

/// What went wrong, down to its cause: the first words of a broken connection say nothing.
fn what(error: &Status) -> String {
    let mut text = error.message().to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The requests of a stream.
struct Questions(Receiver<WatchRequest>);

impl Stream for Questions {
    type Item = WatchRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchRequest>> {
        self.0.poll_recv(cx)
    }
}

/// The answers to [`Client::watch`]. Dropping it ends the stream.
pub(super) struct Events {
    asks: Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    pub(super) addr: String,
    pub(super) number: u64,
}

impl Events {
    /// The next answer. Safe to drop while it waits.
    ///
    /// # Errors
    /// The stream ended: with the server's word, or without one.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Status> {
        let ended = || Status::unavailable("the stream of changes ended");
        self.answers.message().await?.ok_or_else(ended)
    }

    /// Asks for a sign of life. Gives `false` if the last question has not even been taken.
    pub(super) fn ask(&self) -> bool {
        let ask = WatchRequest { ask: Some(Ask::Progress(super::messages::Done {})) };
        self.asks.try_send(ask).is_ok()
    }
}
