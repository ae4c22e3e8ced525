//! How a plug-in's backend is doing: a word for health reports.
//!
//! It decides nothing: who uses a backend keeps the last good state and tries again, whatever this says.

/// How a backend is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// The last request was answered.
    #[default]
    Good,
    /// Requests fail.
    Failing {
        /// How many in a row, since the last that was answered.
        failures: u32,
        /// What the last of them reported, for a person.
        last: String,
    },
}

/// How much of its connections to a server a plug-in uses now, and how often they were made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections that serve now.
    pub connections: usize,
    /// Connections that were made in place of one that broke.
    pub reconnects: u64,
    /// Commands under way.
    pub in_flight: usize,
    /// Most commands under way.
    pub in_flight_max: usize,
    /// Commands that wait for their turn.
    pub waiting: usize,
    /// Most commands that wait.
    pub waiting_max: usize,
}

impl Load {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            reconnects: self.reconnects.saturating_add(other.reconnects),
            in_flight: self.in_flight.saturating_add(other.in_flight),
            in_flight_max: self.in_flight_max.saturating_add(other.in_flight_max),
            waiting: self.waiting.saturating_add(other.waiting),
            waiting_max: self.waiting_max.saturating_add(other.waiting_max),
        }
    }
}

/// Failures in a row from which an instance is not ready.
const FAILURES_MAX: u32 = 5;

impl Health {
    /// Whether an instance that needs this backend is to be called ready.
    pub const fn is_ready(&self) -> bool {
        match self {
            Self::Good => true,
            Self::Failing { failures, .. } => *failures < FAILURES_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_are_too_many() {
        let failing = |failures| Health::Failing { failures, last: String::new() };
        assert!(Health::Good.is_ready() && failing(4).is_ready());
        assert!(!failing(5).is_ready());
    }
}
