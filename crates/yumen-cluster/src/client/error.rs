//! What goes wrong with a client's connection: while it is opened, and when it ends.
//!
//! What goes wrong with one request is a `Status`, as on a node.

use crate::instance::BuildError;
use std::{fmt, io, time::Duration};
use yumen_core::status::Status;
use yumen_proto::{
    conn::CloseReason,
    extension::{CloseNotice, NoticeReason},
};

/// A connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be used: the caller's mistake.
    #[error("cannot connect to {address:?}: {why}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody listens there, or the host does not resolve.
    #[error("cannot connect to {address}: {source}{}", advice(source))]
    Dial {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took longer than `dial_max`, the opening handshake included.
    #[error("cannot connect to {address}: not open after {after:?}")]
    TimedOut {
        /// As it was given.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// The peer ended the connection before it was open: it refused the opening handshake, say.
    #[error("cannot connect to {address}: {reason}")]
    Ended {
        /// As it was given.
        address: String,
        /// Why it ended.
        reason: CloseReason,
    },
}

/// What to do about an address that nobody answers at.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system's own words do for the others")]
fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match error.kind() {
        ConnectionRefused => "; nobody listens there: is the gate running, and is this its port?",
        HostUnreachable | NetworkUnreachable | TimedOut => {
            "; no answer from there: is the address right, and does a firewall let it through?"
        }
        _ if error.raw_os_error().is_none() => "; is the host's name right?",
        _ => "",
    }
}

/// Nothing was sent.
impl From<ConnectError> for Status {
    fn from(error: ConnectError) -> Self {
        Self::unavailable(error.to_string()).caused_by(error)
    }
}

/// What a gate said before it closed a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its reason.
    pub reason: NoticeReason,
    /// How long to wait before connecting again, if it said so.
    pub retry_after: Option<Duration>,
    /// For a person to read; may be empty.
    pub text: String,
}

impl From<CloseNotice<'_>> for Notice {
    fn from(notice: CloseNotice<'_>) -> Self {
        let retry_after = Duration::from_millis(notice.retry_after_ms.into());
        Self {
            reason: notice.reason,
            retry_after: (!retry_after.is_zero()).then_some(retry_after),
            text: notice.text.to_owned(),
        }
    }
}

/// Why a client's connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What this side saw: [`CloseReason::Gone`] if the gate closed it, [`CloseReason::Reset`] if
    /// the stream broke, [`CloseReason::Done`] if the client was closed here.
    pub reason: CloseReason,
    /// What the gate said first. Gates of due say nothing, ever.
    pub notice: Option<Notice>,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.notice {
            None => self.reason.fmt(f),
            Some(Notice { reason, text, .. }) => {
                let gap = if text.is_empty() { "" } else { ": " };
                write!(f, "the gate closed it ({reason:?}){gap}{text}")
            }
        }
    }
}

impl std::error::Error for Closed {}

/// Clients could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The settings do not fit.
    #[error(transparent)]
    Settings(#[from] BuildError),
    /// The system gave no runtime.
    #[error("cannot make a runtime: {0}")]
    Runtime(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_cannot_connect_is_told_where_and_what_to_look_at() {
        let dial = |source| ConnectError::Dial { address: "tcp://h:1".to_owned(), source };
        let refused = dial(io::ErrorKind::ConnectionRefused.into()).to_string();
        assert!(refused.starts_with("cannot connect to tcp://h:1: "), "{refused}");
        assert!(refused.contains("is the gate running"), "{refused}");
        let silent = dial(io::Error::from(io::ErrorKind::TimedOut)).to_string();
        assert!(silent.contains("firewall"), "{silent}");
        let unknown = dial(io::Error::other("failed to lookup address information")).to_string();
        assert!(unknown.contains("is the host's name right"), "{unknown}");
    }
}
