//! Heartbeats of a connection between instances, and how long a peer may be silent.
//!
//! It decides when and whether, and writes nothing.

use super::{LinkConn, Role};
use std::time::{Duration, Instant};

/// Longest time between two heartbeats of one of ours to another.
const BEAT_BETWEEN_OURS: Duration = Duration::from_secs(1);

impl LinkConn {
    /// How long nothing has come from the peer; one of ours sends something each second.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.seen)
    }

    /// Whether this side sends heartbeats: the dialler always, the server only to one of ours.
    pub(super) fn beats(&self) -> bool {
        matches!(self.role, Role::Dialler { .. }) || self.is_ours()
    }

    /// Time between two heartbeats: shorter between two of ours, where silence is a reason to send
    /// elsewhere long before it is one to end the link.
    pub(super) fn beat_every(&self) -> Duration {
        let heartbeat = self.settings.heartbeat;
        if self.is_ours() { heartbeat.min(BEAT_BETWEEN_OURS) } else { heartbeat }
    }

    /// Longest silence; none of one of due's that was dialled, which only ever answers.
    pub(super) fn idle_max(&self) -> Option<Duration> {
        let answers_only = matches!(self.role, Role::Dialler { .. }) && !self.peer.ours;
        (!answers_only).then_some(self.settings.idle_max)
    }
}
