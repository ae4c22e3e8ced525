//! What happened on the links to other processes, counted since the start.

use std::cell::Cell;
use yumen_proto::{conn::CloseReason, link::LinkFault};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why a dial failed, or a peer was refused or cut off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($(#[$doc])* $name,)*
        }

        /// The words of all reasons.
        const WORDS: &[&str] = &[$($word,)*];
        const ALL: &[Reason] = &[$(Reason::$name,)*];
        const COUNT: usize = WORDS.len();
    };
}

reasons! {
    /// It did not introduce itself in time.
    Silent = "silent",
    /// A command before the introduction.
    Stranger = "stranger",
    /// It proves nothing.
    Unproven = "unproven",
    /// It wants a proof that this side cannot give.
    SecretNeeded = "secret_needed",
    /// It has another secret.
    BadProof = "bad_proof",
    /// Another instance answers at the address.
    WrongPeer = "wrong_peer",
    /// It is of another cluster.
    WrongCluster = "wrong_cluster",
    /// The handshake is malformed.
    BadHandshake = "bad_handshake",
    /// More than its credits allow.
    Overrun = "overrun",
    /// A frame over the limit.
    TooLarge = "too_large",
    /// A frame that cannot hold its head.
    TooShort = "too_short",
    /// A fault of another kind.
    OtherFault = "other",
    /// The stream ended or broke.
    Broken = "broken",
    /// Silence, or a socket that accepts nothing.
    Stalled = "stalled",
    /// Nobody listens at the address, or there is no way.
    Unreachable = "unreachable",
    /// No connection in time.
    TimedOut = "timed_out",
    /// Both dialled, and the other connection was kept.
    Duplicate = "duplicate",
    /// The peer stops.
    Leaving = "leaving",
    /// Another live process has the id.
    IdTaken = "id_taken",
    /// That life of the instance is over.
    LifeOver = "life_over",
    /// Its address is not on the list of those that may connect without proof.
    NotAllowed = "not_allowed",
    /// TLS was not agreed upon, or the peer cannot have it.
    Tls = "tls",
    /// Its certificate is for another instance.
    WrongCertificate = "wrong_certificate",
    /// As many connections as there may be.
    TooMany = "too_many",
    /// As many connections as may be without an introduction.
    HalfOpen = "half_open",
}

impl Reason {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what no link ends with")]
    pub(crate) fn of(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Link(fault) => Self::of_fault(fault),
            CloseReason::Handshake(_) => Self::Tls,
            CloseReason::Gone | CloseReason::Reset | CloseReason::Done => Self::Broken,
            CloseReason::Idle | CloseReason::Stalled | CloseReason::Backlog => Self::Stalled,
            CloseReason::Shutdown => Self::Leaving,
            _ => Self::OtherFault,
        }
    }

    fn of_fault(fault: LinkFault) -> Self {
        match fault {
            LinkFault::Silent => Self::Silent,
            LinkFault::Stranger => Self::Stranger,
            LinkFault::Unproven => Self::Unproven,
            LinkFault::SecretNeeded => Self::SecretNeeded,
            LinkFault::BadProof => Self::BadProof,
            LinkFault::WrongPeer => Self::WrongPeer,
            LinkFault::WrongCluster => Self::WrongCluster,
            LinkFault::BadHandshake => Self::BadHandshake,
            LinkFault::Overrun => Self::Overrun,
            LinkFault::TooLarge => Self::TooLarge,
            LinkFault::TooShort => Self::TooShort,
            _ => Self::OtherFault,
        }
    }

    /// One word for metrics and logs.
    pub(crate) fn word(self) -> &'static str {
        WORDS.get(self.index()).copied().unwrap_or_default()
    }

    fn index(self) -> usize {
        ALL.iter().position(|known| *known == self).unwrap_or(0)
    }
}

/// How often something happened, for each reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reasons([u64; COUNT]);

impl Default for Reasons {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Reasons {
    /// Every reason there is, as one word, and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        WORDS.iter().copied().zip(self.0)
    }

    /// The count of one reason; 0 if there is no such word.
    pub fn of(&self, word: &str) -> u64 {
        self.iter().find(|(known, _)| *known == word).map_or(0, |(_, count)| count)
    }

    fn add(&mut self, reason: Reason) {
        if let Some(count) = self.0.get_mut(reason.index()) {
            *count = count.saturating_add(1);
        }
    }
}

/// Counters of the links to other processes, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FarCounts {
    /// Attempts to connect to a peer.
    pub dials: u64,
    /// Attempts that failed.
    pub dials_failed: Reasons,
    /// Links that were not dialled because the last attempt failed a moment ago.
    pub held_back: u64,
    /// Links that were opened, by either side.
    pub opened: u64,
    /// Open links that broke.
    pub broken: u64,
    /// Peers that were refused, or cut off.
    pub refused: Reasons,
    /// Times that a lane had to wait for the peer to give room back.
    pub credit_waits: u64,
    /// Frames that were queued and could never be sent.
    pub unsent: u64,
    /// Answers that one of due's did not get, because they came too late or it was gone.
    pub answered_late: u64,
    /// Frames that were queued for peers: one for each peer that a message goes to, however many
    /// clients it is for.
    pub frames_sent: u64,
    /// Bytes that the connections to peers took.
    pub bytes_sent: u64,
    /// Bytes that came on them.
    pub bytes_received: u64,
}

/// The same, while it counts.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    counts: Cell<FarCounts>,
    /// Apart, because it changes with every message.
    frames_sent: Cell<u64>,
}

impl Stats {
    pub(crate) fn counts(&self) -> FarCounts {
        FarCounts { frames_sent: self.frames_sent.get(), ..self.counts.get() }
    }

    fn change(&self, f: impl FnOnce(&mut FarCounts)) {
        let mut counts = self.counts.get();
        f(&mut counts);
        self.counts.set(counts);
    }

    pub(crate) fn frame(&self) {
        self.frames_sent.set(self.frames_sent.get().wrapping_add(1));
    }

    pub(crate) fn count(&self, reason: Reason) {
        self.change(|counts| counts.refused.add(reason));
    }

    pub(crate) fn dialled(&self) {
        self.change(|counts| counts.dials = counts.dials.saturating_add(1));
    }

    pub(crate) fn dial_failed(&self, reason: Reason) {
        self.change(|counts| counts.dials_failed.add(reason));
    }

    pub(crate) fn held_back(&self) {
        self.change(|counts| counts.held_back = counts.held_back.saturating_add(1));
    }

    pub(crate) fn opened(&self) {
        self.change(|counts| counts.opened = counts.opened.saturating_add(1));
    }

    pub(crate) fn broke(&self) {
        self.change(|counts| counts.broken = counts.broken.saturating_add(1));
    }

    pub(crate) fn waits_for_credit(&self) {
        self.change(|counts| counts.credit_waits = counts.credit_waits.saturating_add(1));
    }

    pub(crate) fn answered_late(&self) {
        self.change(|counts| counts.answered_late = counts.answered_late.saturating_add(1));
    }

    pub(crate) fn unsent(&self) {
        self.change(|counts| counts.unsent = counts.unsent.saturating_add(1));
    }
}
