//! What all clients of a [`Clients`](super::Clients) have in common, and how it is set.

use super::{Clients, RunError, Usual, hub::Hub, reconnect::Backoff, tls};
use crate::instance::BuildError;
use std::{marker::PhantomData, time::Duration};
use tokio::runtime;
use yumen_core::codec::Codec;
use yumen_net::env::Env;
use yumen_proto::{
    conn::{Heartbeat, Settings},
    extension::Features,
    packet::Layout,
};

/// What is not a matter of the connection machine.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Whether connections announce themselves.
    pub(super) announces: bool,
    pub(super) call_max: Duration,
    pub(super) dial_max: Duration,
    pub(super) pushes_max: usize,
    pub(super) reconnect: Option<Backoff>,
    pub(super) tls: tls::Plan,
}

/// Settings of clients; [`Clients::builder`] makes one. Everything has a default.
///
/// ```
/// use std::time::Duration;
/// use yumen_cluster::client::{Backoff, Clients};
///
/// let settings = Clients::builder()
///     .call_max(Duration::from_secs(1))
///     .reconnect(Backoff { tries: 3, ..Backoff::default() });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder<C = Usual> {
    connection: Settings,
    plan: Plan,
    codec: PhantomData<C>,
}

impl<C: Codec> Builder<C> {
    pub(super) fn new() -> Self {
        let plan = Plan {
            announces: true,
            call_max: Duration::from_secs(3),
            dial_max: Duration::from_secs(3),
            pushes_max: 256 * 1024,
            reconnect: None,
            tls: tls::Plan::default(),
        };
        Self { connection: Settings::default(), plan, codec: PhantomData }
    }

    /// Layout of the packets, which must be the gate's. Default: due's (big-endian, route and
    /// sequence number of two bytes), bodies of up to 64 KiB.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.connection.layout = layout;
        self
    }

    /// When heartbeats are sent and a silent gate is given up. Default: every 10 s, 2 misses.
    /// An interval of zero: never.
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.connection.heartbeat = heartbeat;
        self
    }

    /// What is offered to the gate. Default: status replies and close notices.
    pub fn features(mut self, features: Features) -> Self {
        self.connection.features = features;
        self
    }

    /// Says nothing that a client of due would not say. Refused requests then end by their
    /// deadline, since only clients that announce themselves get an answer.
    pub fn unannounced(mut self) -> Self {
        self.plan.announces = false;
        self
    }

    /// Most bytes queued for sending on one connection; requests beyond are refused with
    /// [`Code::BUSY`](yumen_core::Code::BUSY). Default: 1 MiB.
    pub fn backlog_max(mut self, bytes: usize) -> Self {
        self.connection.backlog_max = bytes;
        self
    }

    /// Longest wait for an answer where the call names none. Default: 3 s.
    pub fn call_max(mut self, wait: Duration) -> Self {
        self.plan.call_max = wait;
        self
    }

    /// Longest time for opening a connection, the opening handshake included. Default: 3 s.
    pub fn dial_max(mut self, wait: Duration) -> Self {
        self.plan.dial_max = wait;
        self
    }

    /// Most bytes of pushes held for one client until it looks; then the oldest are dropped and
    /// counted. A push counts its body and about 50 bytes. Default: 256 KiB.
    pub fn pushes_max(mut self, bytes: usize) -> Self {
        self.plan.pushes_max = bytes;
        self
    }

    /// Connects again when a connection breaks. Default: no.
    ///
    /// Requests that wait at that moment end with [`Outcome::Unknown`](yumen_core::Outcome), and
    /// [`Event::Reconnected`](super::Event::Reconnected) tells that the user has to log in again.
    /// A client that the gate kicked, or could not understand, stays away.
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.plan.reconnect = Some(backoff);
        self
    }

    /// File in PEM with the certificates of those who may issue a gate's, for `tls://` and `wss://`.
    /// Default: what this machine trusts.
    pub fn trust_ca(mut self, file: impl Into<String>) -> Self {
        self.plan.tls.ca_file = Some(file.into());
        self
    }

    /// Name that a gate's certificate must have. Default: the host in the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.plan.tls.server_name = Some(name.into());
        self
    }

    /// How messages are encoded: `Json`, `MsgPack`, `Protobuf` of `yumen_core::codec`, or one's
    /// own. Default: `Json`.
    pub fn codec<D: Codec>(self, codec: D) -> Builder<D> {
        let _only_its_type_matters = codec;
        Builder { connection: self.connection, plan: self.plan, codec: PhantomData }
    }

    /// Starts without a connection, on the current thread: two small tasks, however many clients.
    ///
    /// # Errors
    /// [`BuildError`] names every setting that does not fit.
    pub fn start(self, env: &Env) -> Result<Clients<C>, BuildError> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(BuildError { component: "clients", problems });
        }
        Ok(self.start_as_is(env))
    }

    /// As [`Builder::start`], for settings that are known to fit.
    pub(super) fn start_as_is(self, env: &Env) -> Clients<C> {
        Clients { hub: Hub::start(env, self.connection, self.plan), codec: PhantomData }
    }

    /// Runs `main` on a runtime of its own, for programs that have none: on this thread, over real
    /// sockets. Connections still open when `main` returns are dropped.
    ///
    /// # Errors
    /// [`RunError`]: the settings do not fit, or the system gave no runtime.
    pub fn run<T>(self, main: impl AsyncFnOnce(Clients<C>) -> T) -> Result<T, RunError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(runtime::LocalOptions::default())
            .map_err(RunError::Runtime)?;
        runtime.block_on(async {
            let clients = self.start(&Env::real())?;
            Ok(main(clients).await)
        })
    }

    fn problems(&self) -> Vec<String> {
        let Plan { call_max, dial_max, reconnect, .. } = &self.plan;
        let mut problems = Vec::new();
        let mut check = |fits: bool, problem: &str| {
            if !fits {
                problems.push(problem.to_owned());
            }
        };
        check(!call_max.is_zero(), "call_max is zero; it must be longer");
        check(!dial_max.is_zero(), "dial_max is zero; it must be longer");
        let tls = self.plan.tls.problem();
        check(tls.is_none(), tls.as_deref().unwrap_or_default());
        let layout = &self.connection.layout;
        check(
            self.connection.backlog_max >= layout.body_max,
            "backlog_max is below body_max of the layout; the largest message must fit",
        );
        if let Some(Backoff { first, max, tries }) = reconnect {
            check(!first.is_zero(), "reconnect.first is zero; it must be longer");
            check(max >= first, "reconnect.max is below reconnect.first");
            check(*tries > 0, "reconnect.tries is 0; leave reconnect out instead");
        }
        problems
    }
}
