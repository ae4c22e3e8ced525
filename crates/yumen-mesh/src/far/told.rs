//! Tells the log who was refused and who cannot be reached, and what to do about it.
//!
//! What repeats is told at once, and then no more often than every 10 s of a kind, with how often it
//! was left out.

use super::{Far, stats::Reason};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Display,
    time::{Duration, Instant},
};
use yumen_proto::id::InstanceId;

/// At most one line of a kind in this time.
const QUIET: Duration = Duration::from_secs(10);

/// What the log was told, by kind and reason.
#[derive(Debug, Default)]
pub(super) struct Told(RefCell<BTreeMap<(&'static str, &'static str), Line>>);

#[derive(Debug)]
struct Line {
    told: Instant,
    untold: u64,
}

impl Told {
    /// Whether to tell of it now: with how many times it was left out before.
    fn tells(&self, what: &'static str, reason: Reason, now: Instant) -> Option<u64> {
        let mut lines = self.0.borrow_mut();
        let Some(line) = lines.get_mut(&(what, reason.word())) else {
            lines.insert((what, reason.word()), Line { told: now, untold: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(line.told) < QUIET {
            line.untold = line.untold.saturating_add(1);
            return None;
        }
        line.told = now;
        Some(std::mem::take(&mut line.untold))
    }
}

impl Reason {
    /// What it means and what to do, for a person. `None` if there is nothing to do.
    const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Unproven => {
                "it does not prove the cluster secret; set yumen.cluster.secret there, or \
                 yumen.cluster.insecure here if it is one of due's"
            }
            Self::SecretNeeded => "it wants the cluster secret; set yumen.cluster.secret here",
            Self::BadProof => {
                "it has another cluster secret; set the same yumen.cluster.secret on both"
            }
            Self::WrongCluster => "it is of another cluster; compare yumen.cluster.name",
            Self::WrongPeer => {
                "another instance answers at that address; its record in the registry is out of date"
            }
            Self::IdTaken => "another live process has that id; give each instance its own",
            Self::NotAllowed => {
                "its address may not connect without a proof; see yumen.cluster.allow"
            }
            Self::Tls => {
                "TLS was not agreed upon: compare yumen.cluster.caFile, certFile and peerNames of both; one \
                 of due's needs yumen.cluster.allowPlain"
            }
            Self::WrongCertificate => {
                "its certificate is for another instance: it needs the instance's id, or one of \
                 yumen.cluster.peerNames, as a DNS name"
            }
            Self::TooMany => "there are as many connections as there may be",
            Self::HalfOpen => "too many connections have not introduced themselves",
            Self::Stranger
            | Self::BadHandshake
            | Self::TooLarge
            | Self::TooShort
            | Self::Silent => {
                "it does not speak this protocol, or not in time; is the port open to others?"
            }
            Self::Overrun => "it sent more than it was allowed to",
            Self::LifeOver => {
                "that life of the instance is over: it was paused, or its lease ran out; it begins a \
                 new one by itself"
            }
            Self::Unreachable | Self::TimedOut => {
                "nobody answers at that address; is it up, and can it be reached from here?"
            }
            Self::Stalled => "it has fallen silent, or reads nothing",
            Self::OtherFault => "a fault of another kind",
            Self::Broken | Self::Duplicate | Self::Leaving => return None,
        })
    }
}

impl Far {
    /// Somebody was refused.
    pub(super) fn refused(&self, reason: Reason, who: &dyn Display) {
        self.stats.count(reason);
        let Some(advice) = reason.advice() else { return };
        if let Some(untold) = self.told.tells("refused", reason, self.now().mono) {
            let (untold, reason) = ((untold > 0).then_some(untold), reason.word());
            tracing::warn!(peer = %who, reason, untold, "an instance was refused: {advice}");
        }
    }

    /// An attempt to connect has failed.
    pub(super) fn dial_failed(&self, reason: Reason, peer: &InstanceId) {
        self.stats.dial_failed(reason);
        let Some(advice) = reason.advice() else { return };
        if let Some(untold) = self.told.tells("dial", reason, self.now().mono) {
            let (untold, reason) = ((untold > 0).then_some(untold), reason.word());
            let links = self.links.upgrade();
            let address =
                links.and_then(|links| links.directory().address(peer).map(str::to_owned));
            tracing::warn!(
                peer = peer.as_str(),
                address,
                reason,
                untold,
                "an instance cannot be reached: {advice}. It is tried again at the next use"
            );
        }
    }

    /// An open link broke.
    pub(super) fn broke(&self, peer: &InstanceId) {
        self.stats.broke();
        if let Some(untold) = self.told.tells("broke", Reason::Broken, self.now().mono) {
            let untold = (untold > 0).then_some(untold);
            tracing::info!(
                peer = peer.as_str(),
                untold,
                "the link to an instance has ended; what was under way may have been carried out"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn each_reason_is_told_at_once_and_then_with_what_was_left_out() {
        let (told, start) = (Told::default(), Instant::now());
        assert_eq!(told.tells("dial", Reason::BadProof, start), Some(0));
        assert_eq!(told.tells("dial", Reason::BadProof, start), None);
        assert_eq!(told.tells("dial", Reason::TimedOut, start), Some(0), "another reason");
        assert_eq!(told.tells("refused", Reason::BadProof, start), Some(0), "the other way");
        assert_eq!(told.tells("dial", Reason::BadProof, start + QUIET), Some(1));
    }
}
