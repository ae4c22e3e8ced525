//! What happened in a run, as one number: equal numbers mean equal runs.
//!
//! Every delivery, fault, request to a store and observation of a client is added with its virtual
//! time. Nothing here looks at a real clock or at an address in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The running hash of a run (FNV-1a, 64 bits). Clones share it; stores use it from any thread.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    start: Instant,
    hash: u64,
    events: u64,
    /// The events as text, if somebody wants to read them.
    lines: Option<Vec<String>>,
}

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;

/// FNV-1a over some bytes, going on from `hash`.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The hash of some bytes alone, to be added to a line.
pub fn digest(bytes: &[u8]) -> u64 {
    fnv(FNV_OFFSET, bytes)
}

impl Trace {
    /// An empty one, for the runtime this is called in. `is_kept` keeps every event as text.
    pub fn new(is_kept: bool) -> Self {
        let lines = is_kept.then(Vec::new);
        let state = State { start: Instant::now(), hash: FNV_OFFSET, events: 0, lines };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        let mut state = self.state();
        let at = self.millis_of(&state);
        let line = format!("{at} {what}\n");
        state.hash = fnv(state.hash, line.as_bytes());
        state.events = state.events.saturating_add(1);
        if let Some(lines) = &mut state.lines {
            lines.push(line);
        }
    }

    fn millis_of(&self, state: &State) -> u64 {
        let since = Instant::now().saturating_duration_since(state.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Milliseconds of virtual time since the start.
    pub fn millis(&self) -> u64 {
        self.millis_of(&self.state())
    }

    /// The hash so far, and of how many events.
    pub fn sum(&self) -> (u64, u64) {
        let state = self.state();
        (state.hash, state.events)
    }

    /// The events as text, oldest first; empty unless they are kept.
    pub fn take_lines(&self) -> Vec<String> {
        self.state().lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Adds an event to a [`Trace`]: arguments as of `format!`.
macro_rules! note {
    ($trace:expr, $($args:tt)*) => {
        $trace.note(format_args!($($args)*))
    };
}
pub(crate) use note;
