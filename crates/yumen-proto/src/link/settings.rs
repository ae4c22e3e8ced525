//! What all links of one instance have in common, and how one ends.

use super::{Kind, secret::Secret};
use std::time::Duration;

/// What all links of an instance have in common. Shared by `Arc`.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// What this instance is.
    pub kind: Kind,
    /// Its id; at most [`NAME_MAX`](super::NAME_MAX) bytes.
    pub id: Box<str>,
    /// The name of its cluster. Only instances of one cluster talk to each other. Default: empty.
    pub cluster: Box<str>,
    /// The secrets of the cluster: the first is proved, each is accepted. To change one, add the new
    /// one behind the old one everywhere, then put it first, then drop the old one. Default: none, and
    /// then nobody proves anything.
    pub secrets: Vec<Secret>,
    /// Whether peers are accepted that prove nothing although there are secrets: due's, which cannot.
    /// Default: no.
    pub insecure: bool,
    /// How much the peer may have under way on a data lane, in bytes of whole frames.
    /// Default: 4 MiB.
    pub window: u32,
    /// Largest frame accepted, as the value of its size field. Default: [`FRAME_MAX`](super::FRAME_MAX).
    pub frame_max: usize,
    /// Longest time until both sides know each other. Default: 3 s.
    pub handshake_max: Duration,
    /// Time between two heartbeats; at most 1 s between two of ours. Default: 10 s, as due's.
    pub heartbeat: Duration,
    /// Longest silence of a peer that sends heartbeats. Default: 20 s, as due's.
    pub idle_max: Duration,
    /// Most bytes queued for a peer after a write. Default: 64 MiB; credits are the bound in practice.
    pub backlog_max: usize,
    /// Longest time in which a peer accepts no byte while some are queued. Default: 10 s.
    pub write_stall_max: Duration,
    /// Longest time for writing what is queued once a close has begun. Default: 5 s.
    pub drain_max: Duration,
}

impl LinkSettings {
    /// The defaults, for an instance of that kind and id.
    pub fn new(kind: Kind, id: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            id: id.into(),
            cluster: "".into(),
            secrets: Vec::new(),
            insecure: false,
            window: 4 * 1024 * 1024,
            frame_max: super::FRAME_MAX,
            handshake_max: Duration::from_secs(3),
            heartbeat: Duration::from_secs(10),
            idle_max: Duration::from_secs(20),
            backlog_max: 64 * 1024 * 1024,
            write_stall_max: Duration::from_secs(10),
            drain_max: Duration::from_secs(5),
        }
    }

    /// Whether a peer that proves nothing is served.
    pub fn trusts_anybody(&self) -> bool {
        self.secrets.is_empty() || self.insecure
    }
}

/// Why a link ended that did not simply break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// The peer did not say who it is in time.
    #[error("the peer did not introduce itself in time")]
    Silent,
    /// A command came before the peer had said, or proved, who it is.
    #[error("a command came before the peer had introduced itself")]
    Stranger,
    /// The peer proves nothing, and this side wants proof.
    #[error("the peer does not prove that it belongs to the cluster: it has no cluster secret")]
    Unproven,
    /// The peer wants proof, and this side has no secret.
    #[error("the peer wants the cluster secret, and this instance has none")]
    SecretNeeded,
    /// The proof is wrong: the secrets differ.
    #[error("the peer's proof is wrong: it has another cluster secret")]
    BadProof,
    /// Somebody else answers at the address: it was given to another instance since.
    #[error("another instance answers at that address")]
    WrongPeer,
    /// The peer is of another cluster.
    #[error("the peer belongs to another cluster")]
    WrongCluster,
    /// A control frame of the handshake is malformed, or came out of turn.
    #[error("the handshake is malformed")]
    BadHandshake,
    /// The peer sent more than it was allowed to.
    #[error("the peer sent more than its credits allow")]
    Overrun,
    /// A frame is larger than allowed: nothing after it can be read.
    #[error("a frame is larger than allowed")]
    TooLarge,
    /// A frame cannot hold its head: nothing after it is to be trusted.
    #[error("a frame is too short for its head")]
    TooShort,
}

impl LinkFault {
    /// One word for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Stranger => "stranger",
            Self::Unproven => "unproven",
            Self::SecretNeeded => "secret_needed",
            Self::BadProof => "bad_proof",
            Self::WrongPeer => "wrong_peer",
            Self::WrongCluster => "wrong_cluster",
            Self::BadHandshake => "bad_handshake",
            Self::Overrun => "overrun",
            Self::TooLarge => "too_large",
            Self::TooShort => "too_short",
        }
    }
}
