//! What is made of many measurements: percentiles, medians, spreads.
//!
//! Latencies are kept in an HDR histogram with three significant digits, so that no percentile
//! is the product of an average.
use crate::number::float;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies in nanoseconds, up to one hour; longer ones count as one hour.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

impl Default for Latencies {
    #[expect(clippy::expect_used, reason = "both bounds are constants that the library accepts")]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("constant bounds"))
    }
}

impl Latencies {
    /// Adds one latency.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The percentiles that are reported.
    pub fn summary(&self) -> Percentiles {
        let at = |quantile| float(self.0.value_at_quantile(quantile)) / 1e3;
        Percentiles {
            p50_us: at(0.50),
            p90_us: at(0.90),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: float(self.0.max()) / 1e3,
        }
    }
}

/// Latency percentiles in microseconds; all 0 where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half were at most this.
    pub p50_us: f64,
    /// 90 % were at most this.
    pub p90_us: f64,
    /// 99 % were at most this.
    pub p99_us: f64,
    /// 99.9 % were at most this.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// Repeated measurements of one figure: the middle one, and how far they lay apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; all 0 where there are none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = sorted.get(middle).copied().unwrap_or_default();
        let median = match middle.checked_sub(1).and_then(|lower| sorted.get(lower)) {
            Some(lower) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
            _ => upper,
        };
        Self {
            min: sorted.first().copied().unwrap_or_default(),
            median,
            max: sorted.last().copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_the_mean_of_two() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(&[7.0]).median, 7.0);
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn percentiles_are_values_that_were_measured_and_not_averages() {
        let mut all = Latencies::default();
        for _ in 0..99 {
            all.record(1_000);
        }
        all.record(1_000_000);
        let summary = all.summary();
        assert_eq!(summary.p50_us.round(), 1.0);
        assert_eq!(summary.p99_us.round(), 1.0);
        assert!((summary.p999_us - 1_000.0).abs() < 1.0, "{summary:?}");
        assert_eq!(all.count(), 100);
    }
}
