//! The connection that carries commands: one, shared, made again when it breaks.
//!
//! It never waits longer than a command may take, and never sends a command again that may have changed
//! something. While the server cannot be reached commands fail at once; nobody queues up behind it.

use super::router::Router;
use redis::{
    Client, Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use yumen_core::{health::Health, locator::LocatorError};

/// Back-off between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Bounds; each has its setter in the builder.
#[derive(Clone, Debug)]
pub(super) struct Tuning {
    pub(super) command_max: Duration,
    pub(super) connect_max: Duration,
    pub(super) ping_every: Duration,
    pub(super) in_flight_max: usize,
    pub(super) waiting_max: usize,
    pub(super) retries_max: u32,
}

/// Why a command was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{server} cannot be reached: {why}")]
    Away { server: Arc<str>, why: Arc<str> },
    #[error("{server} did not answer within {} ms", .within.as_millis())]
    Silent { server: Arc<str>, within: Duration },
    #[error("{max} commands wait for {server} already")]
    Crowded { server: Arc<str>, max: usize },
    #[error("{server}: {source}")]
    Refused { server: Arc<str>, source: redis::RedisError },
    #[error(
        "{server} is one server of a Redis Cluster ({source}); name two or more of its servers in \
         locate.redis.addrs, and all of them are found"
    )]
    OneOfMany { server: Arc<str>, source: redis::RedisError },
    #[error("{server} answered {what} with something else")]
    Odd { server: Arc<str>, what: &'static str },
    #[error("a locator needs a runtime with time and network: {0}")]
    NoRuntime(tokio::runtime::TryCurrentError),
}

impl From<Fault> for LocatorError {
    fn from(fault: Fault) -> Self {
        Self::Backend { backend: "redis", source: Box::new(fault) }
    }
}

/// Whether only a server of a Redis Cluster says that.
fn only_of_a_cluster(error: &redis::RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, CrossSlot, Moved};
    [Moved, Ask, CrossSlot, ClusterDown].into_iter().any(|kind| error.kind() == kind.into())
}

/// A script and the name by which the server knows it.
#[derive(Debug)]
pub(super) struct Script {
    code: String,
    hash: String,
}

impl Script {
    pub(super) fn new(parts: &[&str]) -> Self {
        let code = parts.concat();
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    /// A command that puts it on the server.
    pub(super) fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&self.code);
        load
    }
}

/// One run of a script.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<Vec<u8>>,
}

impl Call<'_> {
    /// By name, for a server that has it.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    fn in_full(&self) -> Cmd {
        self.command("EVAL", &self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}

/// What can be asked.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Script(Call<'a>),
    Command(Cmd),
    Batch(Pipeline),
}

impl Request<'_> {
    async fn send(&self, mut conn: Conn) -> RedisResult<Value> {
        match self {
            Self::Command(command) => {
                let key = command.args_iter().nth(1);
                let key = match key {
                    Some(redis::Arg::Simple(key)) => key.to_vec(),
                    _ => Vec::new(),
                };
                conn.send(&key, command).await
            }
            Self::Batch(batch) => conn.send_all(batch).await,
            Self::Script(call) => {
                let key = call.keys.first().map_or(&b""[..], |key| key.as_bytes());
                match conn.send(key, &call.by_hash()).await {
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                        conn.send(key, &call.in_full()).await
                    }
                    answered => answered,
                }
            }
        }
    }
}

/// How connections are made.
pub(super) enum Dialer {
    /// To one server.
    One(Client),
    /// To the servers of Redis Cluster; and to each that was named, for events.
    Slots(Box<dyn Fn() -> Router + Send + Sync>, Vec<Client>),
}

/// One server, or all of Redis Cluster.
#[derive(Clone)]
enum Conn {
    One(MultiplexedConnection),
    Slots(Arc<Router>),
}

impl Conn {
    async fn send(&mut self, key: &[u8], command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(conn) => conn.req_packed_command(command).await?.extract_error(),
            Self::Slots(router) => router.send(key, command).await,
        }
    }

    async fn send_all(&mut self, batch: &Pipeline) -> RedisResult<Value> {
        match self {
            Self::One(conn) => batch.query_async(conn).await,
            Self::Slots(_) => {
                Err((ErrorKind::Client, "a batch belongs to one server, and there are many").into())
            }
        }
    }

    async fn ping(&mut self) -> RedisResult<()> {
        match self {
            Self::One(conn) => conn.req_packed_command(&redis::cmd("PING")).await.map(drop),
            Self::Slots(router) => router.ping().await,
        }
    }
}

/// A connection that works as far as is known.
#[derive(Clone)]
struct Up {
    conn: Conn,
    /// Which of all connections.
    number: u64,
    /// Answers that it has brought.
    answered: Arc<AtomicU64>,
}

#[derive(Clone)]
enum State {
    Connecting,
    Up(Up),
    Down(Arc<str>),
}

/// Figures of the connection.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connects: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) waiting: AtomicUsize,
}

/// See the module.
pub(super) struct Server {
    /// For errors: `redis at HOST:PORT`.
    pub(super) name: Arc<str>,
    dialer: Dialer,
    pub(super) tuning: Tuning,
    pub(super) counts: Counts,
    room: Semaphore,
    state: watch::Sender<State>,
    trouble: Mutex<Trouble>,
}

/// How long all has been well, and how it is not.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    last: String,
    /// Since when every command was answered.
    well_since: Option<Instant>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Counts one who waits for as long as it lives.
struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn join(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let this = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < max).then_some(this)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    pub(super) fn new(name: Arc<str>, dialer: Dialer, tuning: Tuning) -> Self {
        let room = Semaphore::new(tuning.in_flight_max);
        Self {
            name,
            dialer,
            tuning,
            counts: Counts::default(),
            room,
            state: watch::Sender::new(State::Connecting),
            trouble: Mutex::default(),
        }
    }

    /// Sends a request once and waits for its answer; what it changes it may have changed if this fails.
    pub(super) async fn ask(&self, request: Request<'_>) -> Result<Value, Fault> {
        self.ask_within(&request, 0).await
    }

    /// As [`Server::ask`], and again if the connection broke, which must not matter to the request.
    pub(super) async fn ask_again(&self, request: Request<'_>) -> Result<Value, Fault> {
        self.ask_within(&request, self.tuning.retries_max).await
    }

    async fn ask_within(&self, request: &Request<'_>, retries: u32) -> Result<Value, Fault> {
        let deadline = now().checked_add(self.tuning.command_max).unwrap_or_else(now);
        let _room = self.enter(deadline).await?;
        let mut retries = retries;
        loop {
            let up = self.up(deadline).await?;
            let before = up.answered.load(Ordering::Relaxed);
            match timeout_at(deadline, request.send(up.conn.clone())).await {
                Ok(Ok(value)) => {
                    up.answered.fetch_add(1, Ordering::Relaxed);
                    self.well();
                    return Ok(value);
                }
                Ok(Err(error)) if error.is_unrecoverable_error() => {
                    self.lost(&up);
                    let Some(left) = retries.checked_sub(1) else {
                        return Err(self.failed(Fault::Refused {
                            server: Arc::clone(&self.name),
                            source: error,
                        }));
                    };
                    retries = left;
                }
                Ok(Err(source)) => {
                    up.answered.fetch_add(1, Ordering::Relaxed);
                    let server = Arc::clone(&self.name);
                    let alone = matches!(up.conn, Conn::One(_));
                    return Err(self.failed(if alone && only_of_a_cluster(&source) {
                        Fault::OneOfMany { server, source }
                    } else {
                        Fault::Refused { server, source }
                    }));
                }
                Err(_) => {
                    // Others were answered meanwhile: slow, not dead. Of many servers each is watched
                    // by itself.
                    let one = matches!(up.conn, Conn::One(_));
                    if one && before == up.answered.load(Ordering::Relaxed) {
                        self.lost(&up);
                    }
                    return Err(self.failed(self.silent()));
                }
            }
        }
    }

    fn silent(&self) -> Fault {
        Fault::Silent { server: Arc::clone(&self.name), within: self.tuning.command_max }
    }

    /// A place among those whose commands are under way.
    async fn enter(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Fault> {
        if let Ok(room) = self.room.try_acquire() {
            return Ok(room);
        }
        let max = self.tuning.waiting_max;
        let Some(_in_line) = InLine::join(&self.counts.waiting, max) else {
            return Err(self.failed(Fault::Crowded { server: Arc::clone(&self.name), max }));
        };
        match timeout_at(deadline, self.room.acquire()).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(self.failed(self.silent())),
        }
    }

    /// The connection; waits for an attempt that is under way, and not while there is none.
    async fn up(&self, deadline: Instant) -> Result<Up, Fault> {
        let mut states = self.state.subscribe();
        let settled = states.wait_for(|state| !matches!(state, State::Connecting));
        let state = match timeout_at(deadline, settled).await {
            Ok(Ok(state)) => state.clone(),
            _ => return Err(self.failed(self.silent())),
        };
        match state {
            State::Up(up) => Ok(up),
            State::Down(why) => {
                Err(self.failed(Fault::Away { server: Arc::clone(&self.name), why }))
            }
            State::Connecting => Err(self.failed(self.silent())),
        }
    }

    /// That connection is of no use any more.
    fn lost(&self, lost: &Up) {
        self.state.send_if_modified(|state| {
            let same = matches!(state, State::Up(up) if up.number == lost.number);
            if same {
                *state = State::Connecting;
            }
            same
        });
    }

    fn well(&self) {
        self.trouble(|trouble| {
            trouble.failures = 0;
            trouble.well_since.get_or_insert_with(now);
        });
    }

    fn failed(&self, fault: Fault) -> Fault {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        // A key that holds something else than it should says nothing about the server.
        let one_key =
            matches!(&fault, Fault::Refused { source, .. } if source.code() == Some("WRONGTYPE"));
        self.trouble(|trouble| {
            trouble.failures = trouble.failures.saturating_add(1);
            trouble.last = fault.to_string();
            if !one_key {
                trouble.well_since = None;
            }
        });
        fault
    }

    fn trouble<T>(&self, read: impl FnOnce(&mut Trouble) -> T) -> T {
        read(&mut self.trouble.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn health(&self) -> Health {
        self.trouble(|trouble| match trouble.failures {
            0 => Health::Good,
            failures => Health::Failing { failures, last: trouble.last.clone() },
        })
    }

    /// For how long every command was answered.
    pub(super) fn well_for(&self) -> Duration {
        let since = self.trouble(|trouble| trouble.well_since);
        since.map_or(Duration::ZERO, |since| now().saturating_duration_since(since))
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    /// Commands that are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.tuning.in_flight_max.saturating_sub(self.room.available_permits())
    }

    /// Keeps a connection for ever.
    pub(super) async fn keep(&self) {
        let mut pause = PAUSE_MIN;
        let mut number = 0_u64;
        loop {
            match self.connect().await {
                Ok(conn) => {
                    number = number.saturating_add(1);
                    if pause > PAUSE_MIN {
                        tracing::info!("{} is back", self.name);
                    }
                    pause = PAUSE_MIN;
                    self.counts.connects.fetch_add(1, Ordering::Relaxed);
                    let up = Up { conn, number, answered: Arc::default() };
                    self.state.send_replace(State::Up(up.clone()));
                    self.attend(up).await;
                }
                Err(why) => {
                    if pause == PAUSE_MIN {
                        tracing::warn!("{} cannot be reached: {why}; trying again", self.name);
                    }
                    self.state.send_replace(State::Down(Arc::clone(&why)));
                    let server = Arc::clone(&self.name);
                    let _fault = self.failed(Fault::Away { server, why });
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Whether it is Redis Cluster.
    pub(super) fn has_slots(&self) -> bool {
        matches!(self.dialer, Dialer::Slots(..))
    }

    /// A connection for events, to the server that was named so many places after the first, and around.
    pub(super) fn listener(&self, place: usize) -> Option<&Client> {
        match &self.dialer {
            Dialer::One(client) => Some(client),
            Dialer::Slots(_, named) => named.get(place.checked_rem(named.len())?),
        }
    }

    async fn dial(&self) -> RedisResult<Conn> {
        match &self.dialer {
            Dialer::One(client) => {
                let config = redis::AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None);
                client.get_multiplexed_async_connection_with_config(&config).await.map(Conn::One)
            }
            Dialer::Slots(router, _) => {
                let router = router();
                router.ping().await?;
                Ok(Conn::Slots(Arc::new(router)))
            }
        }
    }

    async fn connect(&self) -> Result<Conn, Arc<str>> {
        let within = self.tuning.connect_max;
        match timeout(within, self.dial()).await {
            Ok(connected) => connected.map_err(|error| error.to_string().into()),
            Err(_) => Err(format!("no answer within {} ms", within.as_millis()).into()),
        }
    }

    /// Asks a connection now and then whether it lives, until it does not.
    async fn attend(&self, up: Up) {
        let mut states = self.state.subscribe();
        let over = states.wait_for(|state| !matches!(state, State::Up(_)));
        let pings = async {
            loop {
                sleep(self.tuning.ping_every).await;
                let mut conn = up.conn.clone();
                match timeout(self.tuning.command_max, conn.ping()).await {
                    Ok(Ok(())) => self.well(),
                    _ => break,
                }
            }
        };
        tokio::select! {
            _ = over => {}
            () = pings => {
                let _fault = self.failed(self.silent());
                self.lost(&up);
            }
        }
    }

    /// Reads an answer.
    pub(super) fn read<T: redis::FromRedisValue>(
        &self,
        what: &'static str,
        value: Value,
    ) -> Result<T, Fault> {
        let odd = |_| Fault::Odd { server: Arc::clone(&self.name), what };
        redis::from_redis_value(value).map_err(odd)
    }

    pub(super) fn odd(&self, what: &'static str) -> Fault {
        Fault::Odd { server: Arc::clone(&self.name), what }
    }
}

/// Of the runtime, so that a test can stop it.
pub(super) fn now() -> Instant {
    Instant::now()
}
