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
