//! A service-level objective given on the command line: `p99=50ms,errors=0.1%`.
//!
//! Every part is an upper bound; the objective is met if all parts are.
use crate::report::{LoadReport, Time};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Upper bounds for what a run measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo(Vec<Bound>);

/// One upper bound.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    figure: Figure,
    /// Microseconds, or a share from 0 to 1.
    max: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    P50,
    P90,
    P99,
    P999,
    Max,
    Errors,
}

/// Why a text is no objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SloError {
    /// A part has no `=`.
    #[error("{part:?} is not name=limit")]
    Part {
        /// The part.
        part: String,
    },
    /// A part names a figure that is not measured.
    #[error("{name:?} is none of p50, p90, p99, p99.9, max, errors")]
    Name {
        /// The name.
        name: String,
    },
    /// A limit is not a time (`50ms`), or not a share (`0.1%`) for errors.
    #[error("{limit:?} is not a limit such as 50ms, 800us, 2s, or 0.1% for errors")]
    Limit {
        /// The limit.
        limit: String,
    },
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        text.split(',').map(|part| bound(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn bound(part: &str) -> Result<Bound, SloError> {
    let Some((name, limit)) = part.split_once('=') else {
        return Err(SloError::Part { part: part.to_owned() });
    };
    let figure = match name {
        "p50" => Figure::P50,
        "p90" => Figure::P90,
        "p99" => Figure::P99,
        "p99.9" | "p999" => Figure::P999,
        "max" => Figure::Max,
        "errors" => Figure::Errors,
        _ => return Err(SloError::Name { name: name.to_owned() }),
    };
    // "ms" and "us" before "s": both end in it.
    let units: &[(&str, f64)] = match figure {
        Figure::Errors => &[("%", 0.01)],
        Figure::P50 | Figure::P90 | Figure::P99 | Figure::P999 | Figure::Max => {
            &[("us", 1.0), ("ms", 1e3), ("s", 1e6)]
        }
    };
    let max = units.iter().find_map(|(unit, factor)| {
        let number: f64 = limit.strip_suffix(unit)?.trim().parse().ok()?;
        (number >= 0.0 && number.is_finite()).then_some(number * factor)
    });
    match max {
        Some(max) => Ok(Bound { figure, max }),
        None => Err(SloError::Limit { limit: limit.to_owned() }),
    }
}

impl Slo {
    /// What `report` misses, one line per bound; empty if the objective is met.
    pub fn missed(&self, report: &LoadReport) -> Vec<String> {
        let missed = self.0.iter().filter_map(|bound| {
            let value = bound.figure.of(report);
            // A latency objective cannot be met by answering nothing.
            let unknown = bound.figure != Figure::Errors && report.received == 0;
            (unknown || value > bound.max).then(|| {
                if bound.figure == Figure::Errors {
                    format!("errors {:.3}% > {:.3}%", value * 100.0, bound.max * 100.0)
                } else {
                    format!("{} {} > {}", bound.figure, Time(value), Time(bound.max))
                }
            })
        });
        missed.collect()
    }
}

impl Figure {
    fn of(self, report: &LoadReport) -> f64 {
        match self {
            Self::P50 => report.latency.p50_us,
            Self::P90 => report.latency.p90_us,
            Self::P99 => report.latency.p99_us,
            Self::P999 => report.latency.p999_us,
            Self::Max => report.latency.max_us,
            Self::Errors => report.error_share(),
        }
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "max",
            Self::Errors => "errors",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Load, Measured};
    use crate::report::Shape;

    fn report(received: u64, lost: u64, latency_ns: u64) -> LoadReport {
        let sent = received + lost;
        let mut measured = Measured { sent, received, lost, ..Measured::default() };
        measured.latencies.record(latency_ns);
        let load = Load::Closed { depth: 1, messages: sent };
        LoadReport::new("x".into(), Shape::of(load, 1, 8, None), &measured, None)
    }

    #[test]
    fn an_objective_is_missed_by_each_bound_that_is_exceeded() {
        let slo: Slo = "p99=50ms,errors=0.1%".parse().unwrap();
        assert!(slo.missed(&report(1_000, 1, 49_000_000)).is_empty());
        assert_eq!(slo.missed(&report(1_000, 0, 51_000_000)).len(), 1);
        assert_eq!(slo.missed(&report(900, 100, 51_000_000)).len(), 2);
    }

    #[test]
    fn a_latency_objective_is_not_met_by_silence() {
        let slo: Slo = "p50=1s".parse().unwrap();
        assert_eq!(slo.missed(&report(0, 10, 0)).len(), 1);
    }

    #[test]
    fn units_are_told_apart() {
        let bound = |text: &str| text.parse::<Slo>().unwrap().0[0].max;
        assert_eq!((bound("p99=5us"), bound("p99=5ms"), bound("max=5s")), (5.0, 5e3, 5e6));
        assert_eq!(bound("errors=5%"), 0.05);
    }

    #[test]
    fn what_is_no_objective_says_why() {
        let error = |text: &str| text.parse::<Slo>().unwrap_err();
        assert!(matches!(error("p99"), SloError::Part { .. }));
        assert!(matches!(error("p98=1ms"), SloError::Name { .. }));
        assert!(matches!(error("p99=50"), SloError::Limit { .. }));
        assert!(matches!(error("p99=-1ms"), SloError::Limit { .. }));
        assert!(matches!(error("errors=5ms"), SloError::Limit { .. }));
    }
}
