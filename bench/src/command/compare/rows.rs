//! What `bench compare` compares: the loads, who stands under each, and what has to hold.
//!
//! Targets are ratios of two contenders of the same row, so that the machine matters little.
use super::super::serve::Transport;
use super::super::side::Side;
use crate::generator::Load;
use crate::number::{float, ratio};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::num::NonZeroU32;
use std::time::Duration;

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) side: Side,
    pub(super) transport: Transport,
}

impl Contender {
    const fn tcp(name: &'static str, side: Side) -> Self {
        Self { name, side, transport: Transport::Tcp }
    }
}

const RELAY: Contender = Contender::tcp("relay", Side::Relay);
const ALONE: Contender = Contender::tcp("one process", Side::Yumen);
const APART: Contender = Contender::tcp("yumen", Side::Apart);
const TWINS: Contender = Contender::tcp("two gates", Side::Twins);
const WEB: Contender = Contender { name: "ws", side: Side::Apart, transport: Transport::Ws };

/// How the requests of a row are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Requests outstanding per connection.
    Depth(u32),
    /// Requests per second in all, each timed from when it was meant to go out.
    Rate(NonZeroU32),
}

/// A load that several servers are put under in turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) connections: usize,
    pub(super) pace: Pace,
    /// Messages of each run.
    pub(super) messages: u64,
    /// So many times as often as the other rows: tails of an open loop differ more from run to run.
    pub(super) times: u32,
    pub(super) contenders: &'static [Contender],
    pub(super) claims: &'static [Claim],
}

impl Row {
    pub(super) fn load(&self) -> Load {
        match self.pace {
            Pace::Depth(depth) => Load::Closed { depth, messages: self.messages },
            Pace::Rate(rate) => {
                let seconds = ratio(float(self.messages), f64::from(rate.get()));
                Load::Open { rate, duration: Duration::from_secs_f64(seconds) }
            }
        }
    }
}

/// The row's name, as `--row` takes it.
impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.pace {
            Pace::Depth(depth) => write!(f, "{}x{depth}", self.connections),
            Pace::Rate(rate) => write!(f, "{}@{rate}", self.connections),
        }
    }
}

/// A figure of one contender over that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Figure {
    /// CPU time of all server processes per message.
    Cpu,
    /// Messages per second.
    Rate,
    /// 99 % of the latencies.
    P99,
}

/// What a ratio has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub(super) fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(bound) => ratio <= bound,
            Self::AtLeast(bound) => ratio >= bound,
        }
    }
}

/// A ratio that is reported, and what it has to be if that is a goal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) of: Contender,
    pub(super) over: Contender,
    pub(super) figure: Figure,
    pub(super) bound: Option<Bound>,
}

const fn at_most(of: Contender, over: Contender, figure: Figure, bound: f64) -> Claim {
    Claim { of, over, figure, bound: Some(Bound::AtMost(bound)) }
}

const fn at_least(of: Contender, over: Contender, figure: Figure, bound: f64) -> Claim {
    Claim { of, over, figure, bound: Some(Bound::AtLeast(bound)) }
}

const fn known(of: Contender, over: Contender, figure: Figure) -> Claim {
    Claim { of, over, figure, bound: None }
}

/// Gate and node in one process.
pub(super) const TOGETHER: [Row; 4] = [
    Row {
        connections: 50,
        pace: Pace::Depth(64),
        messages: 1_000_000,
        times: 1,
        contenders: &[RELAY, ALONE],
        claims: &[at_most(ALONE, RELAY, Figure::Cpu, 2.5), known(ALONE, RELAY, Figure::Rate)],
    },
    Row {
        connections: 1000,
        pace: Pace::Depth(8),
        messages: 600_000,
        times: 1,
        contenders: &[RELAY, ALONE],
        claims: &[known(ALONE, RELAY, Figure::Cpu), known(ALONE, RELAY, Figure::Rate)],
    },
    Row {
        connections: 50,
        pace: Pace::Depth(1),
        messages: 250_000,
        times: 1,
        contenders: &[RELAY, ALONE],
        claims: &[at_most(ALONE, RELAY, Figure::Cpu, 1.8), known(ALONE, RELAY, Figure::Rate)],
    },
    Row {
        connections: 1000,
        pace: Pace::Depth(1),
        messages: 250_000,
        times: 1,
        contenders: &[RELAY, ALONE],
        claims: &[at_most(ALONE, RELAY, Figure::Cpu, 1.8), known(ALONE, RELAY, Figure::Rate)],
    },
];

/// Gate and node in a process each, and what else there is beside that. The shallow and the deep end
/// have all contenders: one process and WebSocket differ most in what they save or add per read.
pub(super) const PROCESSES: [Row; 5] = [
    Row {
        connections: 50,
        pace: Pace::Depth(64),
        messages: 1_000_000,
        times: 1,
        contenders: &[RELAY, APART, WEB, ALONE, TWINS],
        claims: &[
            at_most(APART, RELAY, Figure::Cpu, 1.8),
            at_least(APART, RELAY, Figure::Rate, 0.5),
            at_most(WEB, APART, Figure::Cpu, 1.5),
            at_most(ALONE, APART, Figure::Cpu, 1.0),
            known(TWINS, APART, Figure::Cpu),
            known(TWINS, APART, Figure::Rate),
        ],
    },
    Row {
        connections: 1000,
        pace: Pace::Depth(8),
        messages: 600_000,
        times: 1,
        contenders: &[RELAY, APART],
        claims: &[
            at_most(APART, RELAY, Figure::Cpu, 1.6),
            at_least(APART, RELAY, Figure::Rate, 0.65),
        ],
    },
    Row {
        connections: 50,
        pace: Pace::Depth(1),
        messages: 250_000,
        times: 1,
        contenders: &[RELAY, APART],
        claims: &[
            at_most(APART, RELAY, Figure::Cpu, 1.5),
            at_least(APART, RELAY, Figure::Rate, 0.65),
        ],
    },
    Row {
        connections: 1000,
        pace: Pace::Depth(1),
        messages: 250_000,
        times: 1,
        contenders: &[RELAY, APART, WEB, ALONE, TWINS],
        claims: &[
            at_most(APART, RELAY, Figure::Cpu, 1.5),
            at_least(APART, RELAY, Figure::Rate, 0.65),
            at_most(WEB, APART, Figure::Cpu, 1.5),
            at_most(ALONE, APART, Figure::Cpu, 1.0),
            known(TWINS, APART, Figure::Cpu),
            known(TWINS, APART, Figure::Rate),
        ],
    },
    Row {
        connections: 1000,
        pace: Pace::Rate(NonZeroU32::new(20_000).unwrap()),
        messages: 80_000,
        times: 3,
        contenders: &[RELAY, APART],
        claims: &[at_most(APART, RELAY, Figure::P99, 1.5), known(APART, RELAY, Figure::Cpu)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_claim_is_about_contenders_of_its_row() {
        for row in TOGETHER.iter().chain(&PROCESSES) {
            for Claim { of, over, .. } in row.claims {
                assert!(row.contenders.contains(of) && row.contenders.contains(over), "{row}");
            }
        }
    }

    #[test]
    fn a_bound_holds_at_its_own_value_and_not_beyond() {
        assert!(Bound::AtMost(1.5).holds(1.5) && !Bound::AtMost(1.5).holds(1.51));
        assert!(Bound::AtLeast(0.65).holds(0.65) && !Bound::AtLeast(0.65).holds(0.64));
    }

    #[test]
    fn an_open_row_lasts_as_long_as_its_messages_take() {
        let open = PROCESSES.last().unwrap().load();
        let Load::Open { rate, duration } = open else { panic!("{open:?}") };
        assert_eq!((rate.get(), duration), (20_000, Duration::from_secs(4)));
    }
}
