//! Notices threads that are stuck: a handler that computes or blocks for seconds holds up everybody
//! else on its instance.
//!
//! It runs on the service runtime and only reads what the threads' pulses wrote. It ends nothing: that
//! is for the operator, or for the deadline of a stop.

use super::{
    control::{Control, Entry},
    what,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use yumen_net::env::Clock;

/// Time between two warnings about one thread.
const AGAIN: Duration = Duration::from_secs(10);

/// One instance that is stuck.
struct Stuck {
    entry: Arc<Entry>,
    warned: Instant,
    silence: Duration,
}

/// Watches every instance for ever. A thread that has turned to nothing new for `warn` is stuck.
pub(super) async fn watch(control: Control, warn: Duration) {
    let tick = warn.checked_div(4).unwrap_or(warn);
    let tick = tick.clamp(Duration::from_millis(10), Duration::from_millis(250));
    let mut stuck = Vec::new();
    let mut last = now();
    // Whether the watchdog itself was kept waiting: then everybody was, and the pulses are old.
    let mut late = false;
    loop {
        tokio::time::sleep(tick).await;
        let now = now();
        let was_late = std::mem::replace(
            &mut late,
            now.saturating_duration_since(last) > tick.saturating_mul(4),
        );
        last = now;
        if !late && !was_late {
            look(&control.entries(), &mut stuck, now, warn);
        }
    }
}

/// The machine's clock: an instance's own may be virtual, but then it has no thread.
fn now() -> Instant {
    Clock::real().now().mono
}

fn look(entries: &[Arc<Entry>], stuck: &mut Vec<Stuck>, now: Instant, warn: Duration) {
    for entry in entries {
        let Some((thread, pulse)) = entry.host() else { continue };
        let silence = pulse.silence(now);
        let known = stuck.iter().position(|stuck| Arc::ptr_eq(&stuck.entry, entry));
        let over = entry.state().is_over();
        if over || silence < warn {
            if let Some(before) = known.map(|at| stuck.swap_remove(at)).filter(|_| !over) {
                let held = seconds(before.silence);
                tracing::info!(id = %entry.id, thread, "runs again after more than {held}");
            }
            entry.set_stalled(false);
            continue;
        }
        entry.set_stalled(true);
        match known.and_then(|at| stuck.get_mut(at)) {
            Some(known) => {
                known.silence = silence;
                if now.saturating_duration_since(known.warned) < AGAIN {
                    continue;
                }
                known.warned = now;
            }
            None => stuck.push(Stuck { entry: Arc::clone(entry), warned: now, silence }),
        }
        let what = what(entry.kind);
        tracing::warn!(
            "{what} {} is stuck: its thread {thread} has done nothing new for {}; a handler that \
             computes or blocks belongs on workers (`.on_workers()`)",
            entry.id,
            seconds(silence),
        );
    }
}

/// Seconds with one digit.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
