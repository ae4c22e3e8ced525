//! Which of several nodes gets the next message: pure decisions over what the caller passes.
//!
//! State belongs to one gate instance, which is one thread, so every choice is exact: there is no
//! shared counter to race for (W-39). A weight of zero is never chosen while another is not zero.

/// How a gate spreads messages over the nodes that serve a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// Any of them, with equal chances. The default.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
    /// One after the other, as often as their weights say, evenly mixed.
    Weighted,
}

impl Dispatch {
    /// The strategy of due's configuration word; `None` for an unknown one.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "random" => Self::Random,
            "rr" => Self::RoundRobin,
            "wrr" => Self::Weighted,
            _ => return None,
        })
    }
}

/// The turn of one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    next: usize,
    /// Smooth weighted round robin (as in nginx): each choice adds every weight to its member's
    /// credit, takes the largest credit, and takes the sum of all weights off it.
    credits: Vec<i64>,
}

impl Turns {
    /// The index of the member to take, from 0 to `weights.len()` - 1; `None` if there is none.
    #[inline]
    pub(crate) fn pick(&mut self, how: Dispatch, weights: &[u32], roll: u64) -> Option<usize> {
        let count = weights.len();
        if count <= 1 {
            return (count == 1).then_some(0);
        }
        match how {
            Dispatch::Random => {
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                roll.checked_rem(count).and_then(|n| usize::try_from(n).ok())
            }
            Dispatch::RoundRobin => {
                let pick = self.next.checked_rem(count)?;
                self.next = pick.saturating_add(1);
                Some(pick)
            }
            Dispatch::Weighted => Some(self.weighted(weights)),
        }
    }

    #[inline]
    fn weighted(&mut self, weights: &[u32]) -> usize {
        let all_zero = weights.iter().all(|weight| *weight == 0);
        let weight = |w: u32| if all_zero { 1 } else { i64::from(w) };
        self.credits.resize(weights.len(), 0);
        let (mut best, mut best_credit, mut sum) = (0, i64::MIN, 0i64);
        for (index, (credit, w)) in self.credits.iter_mut().zip(weights).enumerate() {
            *credit = credit.saturating_add(weight(*w));
            sum = sum.saturating_add(weight(*w));
            if weight(*w) > 0 && *credit > best_credit {
                (best, best_credit) = (index, *credit);
            }
        }
        if let Some(credit) = self.credits.get_mut(best) {
            *credit = credit.saturating_sub(sum);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(how: Dispatch, weights: &[u32], n: usize) -> Vec<usize> {
        let mut turns = Turns::default();
        let mut roll = 7u64;
        let mut next = || {
            roll = roll.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            roll >> 33
        };
        (0..n).map(|_| turns.pick(how, weights, next()).unwrap()).collect()
    }

    #[test]
    fn w39_weights_are_exact_over_every_round() {
        let picked = picks(Dispatch::Weighted, &[5, 1, 0, 2], 8 * 1000);
        for round in picked.chunks(8) {
            let count = |n| round.iter().filter(|p| **p == n).count();
            assert_eq!([count(0), count(1), count(2), count(3)], [5, 1, 0, 2]);
        }
        assert_eq!(picked[..8], [0, 3, 0, 0, 1, 0, 3, 0], "mixed, not in runs");
    }

    #[test]
    fn round_robin_is_exact_also_when_the_set_changes() {
        let mut turns = Turns::default();
        let three: Vec<_> =
            (0..6).map(|_| turns.pick(Dispatch::RoundRobin, &[1; 3], 0).unwrap()).collect();
        assert_eq!(three, [0, 1, 2, 0, 1, 2]);
        let two: Vec<_> =
            (0..4).map(|_| turns.pick(Dispatch::RoundRobin, &[1; 2], 0).unwrap()).collect();
        assert_eq!(two, [1, 0, 1, 0]);
    }

    #[test]
    fn random_reaches_everyone_about_equally() {
        let picked = picks(Dispatch::Random, &[1; 4], 40_000);
        for n in 0..4 {
            let count = picked.iter().filter(|p| **p == n).count();
            assert!((9_500..10_500).contains(&count), "{n}: {count}");
        }
    }

    #[test]
    fn nobody_is_nobody_and_all_zero_weights_are_equal() {
        assert_eq!(Turns::default().pick(Dispatch::Weighted, &[], 0), None);
        assert_eq!(picks(Dispatch::Weighted, &[0, 0], 4), [0, 1, 0, 1]);
    }
}
