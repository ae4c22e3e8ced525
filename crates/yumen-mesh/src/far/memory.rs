//! What is remembered of a peer between two links to it: when it may be dialled again, and the last
//! link it dialled.

use std::time::{Duration, Instant};
use yumen_net::env::Dice;

/// The first and the longest pause between two dials.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Memory {
    pause: Duration,
    until: Option<Instant>,
    /// The last dial of the peer's that was open here; 0 for none.
    pub(super) last: u64,
}

impl Memory {
    /// Whether it is too early to dial.
    pub(super) fn holds_back(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// A dial has failed, or a link broke soon after it was open.
    pub(super) fn failed(&mut self, now: Instant, dice: &Dice) {
        self.pause = self.pause.saturating_mul(2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.until = now.checked_add(dice.jitter(self.pause));
    }

    /// A link was open for long.
    pub(super) fn steady(&mut self) {
        (self.pause, self.until) = (Duration::ZERO, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a starting point")]
    fn pauses_grow_to_a_limit_and_end_with_a_steady_link() {
        let (mut memory, dice, mut now) = (Memory::default(), Dice::seeded(1), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert!(!memory.holds_back(now));
            memory.failed(now, &dice);
            let pause = memory.until.unwrap() - now;
            pauses.push(pause);
            assert!(memory.holds_back(now + pause - Duration::from_nanos(1)));
            now += pause;
        }
        assert!(pauses[0] <= PAUSE_MIN && pauses[0] >= PAUSE_MIN / 2);
        assert!(pauses[9] <= PAUSE_MAX && pauses[9] >= PAUSE_MAX / 2);
        memory.failed(now, &dice);
        memory.steady();
        assert!(!memory.holds_back(now));
        memory.failed(now, &dice);
        assert!(!memory.holds_back(now + PAUSE_MIN));
    }
}
