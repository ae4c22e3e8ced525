//! The servers of one Redis Cluster: finds the one that owns a key, and learns who took over.
//!
//! A command is tried until it is answered; its caller bounds the time, and drops what takes too long. So
//! every command sent through here must be one that can be sent twice. The one thing to know: each server
//! has a connection of its own and is waited for by itself. The client library's own cluster connection
//! holds up the commands for all servers while it looks for one that has gone, so it is not used here.

use redis::{
    Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep, timeout},
};

use super::server::now;

/// Between two tries of a command, and between two questions who owns what.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for an answer to that question, and for a connection.
const LEARN_MAX: Duration = Duration::from_millis(500);
/// After a failed attempt to connect nobody tries that server again for so long.
const AWAY: Duration = Duration::from_millis(200);

/// What a server says that cannot serve a slot now, but it or another soon will.
const NOT_NOW: [ServerErrorKind; 5] = [
    ServerErrorKind::TryAgain,
    ServerErrorKind::ClusterDown,
    ServerErrorKind::MasterDown,
    ServerErrorKind::BusyLoading,
    ServerErrorKind::ReadOnly,
];

/// Makes a client for one server.
pub(super) type Connect = dyn Fn(&str, u16) -> RedisResult<Client> + Send + Sync;
/// Host and port of a server.
type Addr = (String, u16);

/// See the module.
pub(super) struct Router {
    connect: Arc<Connect>,
    /// The servers that were named.
    named: Vec<Addr>,
    /// How long one server may be silent before others are asked.
    silent_max: Duration,
    slots: Mutex<Slots>,
    nodes: Mutex<BTreeMap<Addr, Arc<Node>>>,
    learning: AsyncMutex<Option<Instant>>,
}

/// First and last slot, and who owns them.
type Slots = Vec<(u16, u16, Addr)>;

/// One server.
#[derive(Default)]
struct Node {
    line: AsyncMutex<Line>,
    /// Answers that it gave.
    answered: AtomicU64,
}

#[derive(Default)]
struct Line {
    conn: Option<MultiplexedConnection>,
    /// Which connection it is, of all.
    number: u64,
    failed: Option<Instant>,
}

fn unreachable(what: &str) -> RedisError {
    io::Error::new(io::ErrorKind::NotConnected, what.to_owned()).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Router {
    pub(super) fn new(connect: Arc<Connect>, named: Vec<Addr>, silent_max: Duration) -> Self {
        Self {
            connect,
            named,
            silent_max,
            slots: Mutex::default(),
            nodes: Mutex::default(),
            learning: AsyncMutex::default(),
        }
    }

    /// Sends a command to the server that owns this key, and waits for its answer through redirections
    /// and failovers.
    ///
    /// # Errors
    /// What that server answered; or that no server can be reached at all.
    pub(super) async fn send(&self, key: &[u8], command: &Cmd) -> RedisResult<Value> {
        let slot = slot_of(key);
        let mut asked: Option<Addr> = None;
        loop {
            let redirected = asked.take();
            let asking = redirected.is_some();
            let Some(addr) = redirected.or_else(|| self.owner(slot)) else {
                self.learn().await?;
                sleep(PAUSE).await;
                continue;
            };
            let error = match self.try_at(&addr, command, asking).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                // Nothing came back: perhaps another server has the slot by now.
                Err(_) => {
                    self.learn().await?;
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let ErrorKind::Server(kind) = error.kind() else { return Err(error) };
            if kind == ServerErrorKind::Ask {
                asked = redirection(&error, &addr);
            } else if kind == ServerErrorKind::Moved {
                if let Some(owner) = redirection(&error, &addr) {
                    lock(&self.slots).push((slot, slot, owner));
                }
                self.learn().await?;
            } else if NOT_NOW.contains(&kind) {
                sleep(PAUSE).await;
                self.learn().await?;
            } else {
                return Err(error);
            }
        }
    }

    /// Asks who owns what now, whether or not that is known.
    ///
    /// # Errors
    /// No server can be reached.
    pub(super) async fn ping(&self) -> RedisResult<()> {
        self.learn().await
    }

    /// The newest word on a slot stands last.
    fn owner(&self, slot: u16) -> Option<Addr> {
        let slots = lock(&self.slots);
        let owner = slots.iter().rev().find(|(first, last, _)| (*first..=*last).contains(&slot));
        owner.map(|(_, _, addr)| addr.clone())
    }

    fn node(&self, addr: &Addr) -> Arc<Node> {
        Arc::clone(lock(&self.nodes).entry(addr.clone()).or_default())
    }

    /// What a server answered; the outer error is that it did not.
    async fn try_at(
        &self,
        addr: &Addr,
        command: &Cmd,
        asking: bool,
    ) -> Result<RedisResult<Value>, RedisError> {
        let node = self.node(addr);
        let (mut conn, number) = self.line(addr, &node).await?;
        let before = node.answered.load(Ordering::Relaxed);
        let answer = async {
            if !asking {
                return conn.req_packed_command(command).await;
            }
            let mut both = redis::pipe();
            both.cmd("ASKING").add_command(command.clone());
            let answers = conn.req_packed_commands(&both, 1, 1).await?;
            answers.into_iter().next().ok_or_else(|| unreachable("no answer"))
        };
        match timeout(self.silent_max, answer).await {
            Ok(answer) => match answer.and_then(Value::extract_error) {
                Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) => {
                    Self::hang_up(&node, number).await;
                    Err(error)
                }
                answer => {
                    node.answered.fetch_add(1, Ordering::Relaxed);
                    Ok(answer)
                }
            },
            Err(_) => {
                // Others were answered meanwhile: slow, not dead.
                if before == node.answered.load(Ordering::Relaxed) {
                    Self::hang_up(&node, number).await;
                }
                Err(unreachable("silent"))
            }
        }
    }

    async fn hang_up(node: &Node, number: u64) {
        let mut line = node.line.lock().await;
        if line.number == number {
            line.conn = None;
        }
    }

    /// The connection to a server; one caller makes it, the others wait for that.
    async fn line(
        &self,
        addr: &Addr,
        node: &Node,
    ) -> Result<(MultiplexedConnection, u64), RedisError> {
        let mut line = node.line.lock().await;
        if let Some(conn) = &line.conn {
            return Ok((conn.clone(), line.number));
        }
        if line.failed.is_some_and(|at| now().saturating_duration_since(at) < AWAY) {
            return Err(unreachable("away"));
        }
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = (self.connect)(&addr.0, addr.1)?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connected = match timeout(LEARN_MAX, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(unreachable("no connection")),
        };
        match connected {
            Ok(conn) => {
                line.number = line.number.saturating_add(1);
                line.failed = None;
                line.conn = Some(conn.clone());
                Ok((conn, line.number))
            }
            Err(error) => {
                line.failed = Some(now());
                Err(error)
            }
        }
    }

    /// Asks the servers, one after another, who owns what; one caller at a time, and not too often.
    async fn learn(&self) -> RedisResult<()> {
        let mut last = self.learning.lock().await;
        if last.is_some_and(|at| now().saturating_duration_since(at) < PAUSE) {
            return Ok(());
        }
        let mut error = unreachable("no server was named");
        for addr in self.candidates() {
            match timeout(LEARN_MAX, self.ask_slots(&addr)).await {
                Ok(Ok(slots)) if !slots.is_empty() => {
                    let still = |node: &Addr| slots.iter().any(|(_, _, owner)| owner == node);
                    lock(&self.nodes).retain(|node, _| still(node) || self.named.contains(node));
                    *lock(&self.slots) = slots;
                    *last = Some(now());
                    return Ok(());
                }
                Ok(Ok(_)) => error = unreachable("no slots are assigned"),
                Ok(Err(refused)) => error = refused,
                Err(_) => error = unreachable("silent"),
            }
        }
        Err(error)
    }

    /// Those that answered before, then those that were named.
    fn candidates(&self) -> Vec<Addr> {
        let nodes = lock(&self.nodes);
        let mut known: Vec<(bool, Addr)> = nodes
            .iter()
            .map(|(addr, node)| {
                let connected = node.line.try_lock().is_ok_and(|line| line.conn.is_some());
                (!connected, addr.clone())
            })
            .collect();
        known.extend(self.named.iter().map(|addr| (true, addr.clone())));
        known.sort();
        known.dedup_by(|one, other| one.1 == other.1);
        known.into_iter().map(|(_, addr)| addr).collect()
    }

    async fn ask_slots(&self, addr: &Addr) -> RedisResult<Slots> {
        let node = self.node(addr);
        let (mut conn, number) = self.line(addr, &node).await?;
        let mut ask = redis::cmd("CLUSTER");
        let answer = timeout(LEARN_MAX, conn.req_packed_command(ask.arg("SLOTS"))).await;
        let Ok(answer) = answer else {
            Self::hang_up(&node, number).await;
            return Err(unreachable("silent"));
        };
        let answer = answer.and_then(Value::extract_error);
        match answer {
            Ok(answer) => Ok(read_slots(&answer, addr)),
            Err(error) => {
                if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) {
                    Self::hang_up(&node, number).await;
                }
                Err(error)
            }
        }
    }
}

/// CRC-16 (XMODEM) of the key, or of its hash tag, modulo 16,384.
fn slot_of(key: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in hash_tag(key).unwrap_or(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc & 0x3fff
}

/// What stands between the first `{` and the next `}`, if it is anything.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let (_, rest) = split_at(key, b'{')?;
    let (tag, _) = split_at(rest, b'}')?;
    (!tag.is_empty()).then_some(tag)
}

fn split_at(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..place)?, bytes.get(place.checked_add(1)?..)?))
}

/// Where `MOVED` and `ASK` lead; a server without a name is the one that said so, at another port.
fn redirection(error: &RedisError, from: &Addr) -> Option<Addr> {
    let (addr, _) = error.redirect_node()?;
    let (host, port) = addr.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let host = if host.is_empty() || host == "?" { &from.0 } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

/// Reads `CLUSTER SLOTS`: first, last, the owner as host, port and more, and its replicas.
fn read_slots(answer: &Value, asked: &Addr) -> Slots {
    let Value::Array(ranges) = answer else { return Vec::new() };
    let read = |range: &Value| {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(owner), ..] = range.as_slice()
        else {
            return None;
        };
        let [host, Value::Int(port), ..] = owner.as_slice() else { return None };
        let host: Option<String> = redis::from_redis_value(host.clone()).ok()?;
        let host = host.unwrap_or_default();
        let host = if host.is_empty() || host == "?" { asked.0.clone() } else { host };
        let slot = |slot: &i64| u16::try_from(*slot).ok();
        Some((slot(first)?, slot(last)?, (host, u16::try_from(*port).ok()?)))
    };
    ranges.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `CLUSTER KEYSLOT` answers.
    #[test]
    fn slots_are_the_ones_that_servers_compute() {
        let keys =
            [("123456789", 12_739), ("foo", 12_182), ("{foo}:bar", 12_182), ("a{}b", 13_694)];
        for (key, slot) in keys {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn owners_without_a_name_are_where_they_were_asked() {
        let range = |first, last, host: Value, port| {
            let owner = Value::Array(vec![host, Value::Int(port), Value::Nil]);
            Value::Array(vec![Value::Int(first), Value::Int(last), owner.clone(), owner])
        };
        let answer = Value::Array(vec![
            range(0, 100, Value::BulkString(b"a".to_vec()), 1),
            range(101, 16_383, Value::Nil, 2),
            range(5, 70_000, Value::Nil, 2),
            Value::Nil,
        ]);
        let asked = ("x".to_owned(), 9);
        let slots = read_slots(&answer, &asked);
        let owners = [(0, 100, ("a".to_owned(), 1)), (101, 16_383, ("x".to_owned(), 2))];
        assert_eq!(slots, owners);
        assert_eq!(read_slots(&Value::Nil, &asked), []);
    }
}
