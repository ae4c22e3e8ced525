//! What an instance gets from outside: time, sockets, dice, and a place to put its tasks.
//!
//! `Env` is a plain struct and sockets are opened through a trait object, so no type parameter has to
//! spread through gate, node and client. The virtual network fills the same struct and runs on the
//! same tokio runtime with paused time.

use crate::{socket::Socket, spawn::Spawn};
use std::{
    cell::Cell,
    future::Future,
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use yumen_proto::conn::Now;

/// A boxed future that stays on its thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Everything an instance may use. Cheap to clone; never leaves its thread.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Clock,
    /// Sockets.
    pub net: Rc<dyn Net>,
    /// Random numbers.
    pub dice: Dice,
    /// Tasks.
    pub spawn: Spawn,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Env {
    /// The real one. Must be used inside a tokio `LocalRuntime` with time and I/O enabled.
    pub fn real() -> Self {
        Self {
            clock: Clock::real(),
            net: Rc::new(crate::tcp::Tcp),
            dice: Dice::real(),
            spawn: Spawn::default(),
        }
    }
}

/// Tells the time. Timers are tokio's in both worlds; the virtual network's runtime is paused.
#[derive(Clone, Debug)]
pub struct Clock(Rc<Source>);

#[derive(Debug)]
enum Source {
    /// The machine's clocks: wall time is read once a second and carried forward between.
    Real { read_at: Cell<Instant>, unix_ns: Cell<i64> },
    /// The paused clock of a test runtime, plus this much: clock skew, or work that took time.
    /// Its wall time may be off by some nanoseconds.
    Virtual { start: Instant, ahead: Cell<Duration>, wall: Cell<i64> },
}

/// Wall time at the start of a virtual clock: 2024-01-01 00:00 UTC, in nanoseconds since 1970.
const VIRTUAL_EPOCH_NS: i64 = 1_704_067_200_000_000_000;
/// How long wall time is carried forward before it is read again.
const WALL_CLOCK_MAX: Duration = Duration::from_secs(1);

impl Clock {
    /// The machine's clocks.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn real() -> Self {
        Self(Rc::new(Source::Real {
            read_at: Cell::new(Instant::now()),
            unix_ns: Cell::new(unix_ns()),
        }))
    }

    /// The clock of the paused runtime this is called in.
    pub fn paused() -> Self {
        let start = tokio::time::Instant::now().into_std();
        Self(Rc::new(Source::Virtual { start, ahead: Cell::default(), wall: Cell::new(0) }))
    }

    /// The time now. One read costs about 25 ns: read once per batch and hand the value down.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> Now {
        match &*self.0 {
            Source::Real { read_at, unix_ns: known } => {
                let mono = Instant::now();
                let since = mono.saturating_duration_since(read_at.get());
                if since < WALL_CLOCK_MAX {
                    return Now { mono, unix_ns: later(known.get(), since) };
                }
                read_at.set(mono);
                known.set(unix_ns());
                Now { mono, unix_ns: known.get() }
            }
            Source::Virtual { start, ahead, wall } => {
                let now = tokio::time::Instant::now().into_std();
                let mono = now.checked_add(ahead.get()).unwrap_or(now);
                let since = mono.saturating_duration_since(*start);
                let epoch = VIRTUAL_EPOCH_NS.saturating_add(wall.get());
                Now { mono, unix_ns: later(epoch, since) }
            }
        }
    }

    /// Waits for `pause`. Safe to drop.
    pub async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    /// Lets a virtual clock run ahead, as if the code calling this had taken that long.
    /// A real clock ignores it.
    pub fn skip(&self, step: Duration) {
        if let Source::Virtual { ahead, .. } = &*self.0 {
            ahead.set(ahead.get().saturating_add(step));
        }
    }
}

impl Clock {
    /// Sets the wall time of a virtual clock off by so many nanoseconds, as an operator or a time
    /// server would. A real clock ignores it.
    pub fn set_wall(&self, off_ns: i64) {
        if let Source::Virtual { wall, .. } = &*self.0 {
            wall.set(off_ns);
        }
    }
}

fn later(unix_ns: i64, since: Duration) -> i64 {
    unix_ns.saturating_add(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Seeded random numbers (splitmix64: Steele, Lea and Flood, 2014). Clones share one sequence.
#[derive(Clone, Debug)]
pub struct Dice {
    state: Rc<Cell<u64>>,
    real: bool,
}

impl Dice {
    /// The same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self { state: Rc::new(Cell::new(seed)), real: false }
    }

    /// Seeded by the system.
    pub fn real() -> Self {
        Self { state: Rc::new(Cell::new(RandomState::new().hash_one(0))), real: true }
    }

    /// A number that nobody can foresee, whatever they have seen: for nonces. From the system's
    /// randomness through a keyed hash; in a virtual world a roll, so that a run can be repeated.
    pub fn secret(&self) -> u64 {
        let roll = self.roll();
        if self.real { RandomState::new().hash_one(roll) } else { roll }
    }

    /// A uniform number.
    pub fn roll(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `limit` - 1; 0 if `limit` is 0.
    pub fn below(&self, limit: u64) -> u64 {
        self.roll().checked_rem(limit).unwrap_or(0)
    }

    /// A duration from half of `pause` to all of it: jitter for back-offs.
    pub fn jitter(&self, pause: Duration) -> Duration {
        let half = pause.checked_div(2).unwrap_or_default();
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half.saturating_add(Duration::from_nanos(self.below(spread.saturating_add(1))))
    }
}

/// Opens and accepts byte streams. Rarely called, so it returns boxed futures.
pub trait Net {
    /// Starts to listen on `addr` (`host:port`; port 0 takes a free one).
    ///
    /// # Errors
    /// The address is in use, does not resolve, or is not ours.
    fn listen<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Opens a stream to `addr` (`host:port`). Safe to drop.
    ///
    /// # Errors
    /// Nobody listens, or the address does not resolve. There is no time limit: race it with a sleep.
    fn dial<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Socket>>;
}

/// Accepts streams.
pub trait Listener {
    /// Where it listens, with the port the system chose.
    ///
    /// # Errors
    /// The socket is gone.
    fn addr(&self) -> io::Result<SocketAddr>;

    /// The next stream and the peer's address. Safe to drop while it waits.
    ///
    /// # Errors
    /// Out of descriptors, or a peer that left already: give way, then go on.
    fn accept(&mut self) -> LocalFuture<'_, io::Result<(Socket, SocketAddr)>>;
}
