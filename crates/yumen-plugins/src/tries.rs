//! Counts failures in a row, for the health report, and says how long to wait before the next try.
//!
//! Never waits itself. The pause doubles from 0.1 s to 2 s; half of it is left to chance, so that a
//! thousand processes do not knock at once when their server is back.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use yumen_core::health::Health;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How one piece of background work is doing.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    health: Mutex<Health>,
}

impl Tries {
    /// The last try succeeded. Gives how many before it had failed.
    pub(crate) fn good(&self) -> u32 {
        let before = std::mem::take(&mut *self.locked());
        failures(&before)
    }

    /// The last try failed. Gives how many did so in a row.
    pub(crate) fn failed(&self, last: String) -> u32 {
        let mut health = self.locked();
        let failures = failures(&health).saturating_add(1);
        *health = Health::Failing { failures, last };
        failures
    }

    pub(crate) fn health(&self) -> Health {
        self.locked().clone()
    }

    /// How long to wait before the next try.
    pub(crate) fn pause(&self) -> Duration {
        let doublings = failures(&self.locked()).saturating_sub(1).min(8);
        let whole = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
        // A hasher's keys are the only dice of the standard library.
        let dice = u8::try_from(RandomState::new().hash_one(()) & 0xff).unwrap_or(0);
        whole.mul_f64(0.5 + f64::from(dice) / 510.0)
    }

    fn locked(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn failures(health: &Health) -> u32 {
    match health {
        Health::Good => 0,
        Health::Failing { failures, .. } => *failures,
    }
}

/// The worse of two.
pub(crate) fn worse(one: Health, other: Health) -> Health {
    if failures(&other) > failures(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_again_after_a_success() {
        let tries = Tries::default();
        let mut most = Duration::ZERO;
        for n in 1..=20 {
            assert_eq!(tries.failed("x".to_owned()), n);
            let pause = tries.pause();
            assert!(pause >= PAUSE_MIN / 2 && pause <= PAUSE_MAX, "{pause:?}");
            most = most.max(pause);
        }
        assert!(most >= PAUSE_MAX / 2);
        assert_eq!(tries.good(), 20);
        assert!(tries.pause() <= PAUSE_MIN);
        assert_eq!(tries.health(), Health::Good);
    }
}
