//! One client connection as a state machine, seen from the gate ([`ServerConn`]) or from the client
//! ([`ClientConn`]): bytes and time in; events and bytes out.
//!
//! Neither opens a socket nor reads a clock. The owner *pulls* events one by one, so that nothing of
//! a machine is borrowed while one is handled: a handler may push to this very connection. An event
//! borrows from the bytes that were read; a machine keeps only the tail of an unfinished packet, and
//! nothing when idle.
//!
//! Deadlines are exact here and looked at when [`Machine::on_deadline`] is called, about once a
//! second. A machine never closes anything by itself: it says `Err(reason)`, its owner then calls
//! [`Machine::close`], which may leave a notice to be written, and drops the socket.

mod base;
mod client;
mod out;
mod server;

pub use client::{ClientConn, ClientEvent, Peer};
pub use out::Out;
pub use server::{ServerConn, ServerEvent};

use crate::{
    error::WireError,
    extension::{Features, NoticeReason},
    link::LinkFault,
    packet::Layout,
};
use std::time::{Duration, Instant};

/// The time, as the owner of a machine read it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines: never goes back.
    pub mono: Instant,
    /// For people and peers: nanoseconds since 1970.
    pub unix_ns: i64,
}

/// What a peer is told beyond the reason when its connection is closed. Peers that understand no close
/// notices hear nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastWords<'a> {
    /// For people; what is too long is cut.
    pub text: &'a str,
    /// How long the peer should stay away before it comes back; zero asks for nothing. Whole
    /// milliseconds, rounded up, are sent; at most 49 days.
    pub retry_after: Duration,
}

impl<'a> From<&'a str> for LastWords<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, retry_after: Duration::ZERO }
    }
}

impl LastWords<'_> {
    /// As it is sent.
    fn retry_after_ms(&self) -> u32 {
        u32::try_from(self.retry_after.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended the stream.
    #[error("the peer is gone")]
    Gone,
    /// The stream broke: the peer reset it, or could not be reached any longer.
    #[error("the stream broke")]
    Reset,
    /// Nothing came for longer than the idle limit.
    #[error("silent for longer than the idle limit")]
    Idle,
    /// Nobody logged in in time.
    #[error("no login in time")]
    LoginDeadline,
    /// The user logged in elsewhere.
    #[error("the user logged in elsewhere")]
    Kicked,
    /// The game closed it.
    #[error("closed by the game")]
    ByGame,
    /// The peer broke the framing rules.
    #[error("malformed: {0}")]
    Malformed(WireError),
    /// More bytes were queued than the limit allows: the peer reads too slowly.
    #[error("more bytes queued than the limit allows")]
    Backlog,
    /// The peer accepted no byte for longer than the limit.
    #[error("the peer accepts no bytes")]
    Stalled,
    /// A limit of the owner was exceeded, as on messages per second.
    #[error("a limit was exceeded")]
    Limit,
    /// The instance stops.
    #[error("the instance stops")]
    Shutdown,
    /// The session went elsewhere.
    #[error("the session went elsewhere")]
    Moved,
    /// A fault on our side.
    #[error("a fault on our side")]
    Internal,
    /// The opening handshake of the transport was refused, or took too long.
    #[error("the opening handshake failed: {0}")]
    Handshake(HandshakeFault),
    /// The peer of a link broke its rules, or is not who it should be.
    #[error("{0}")]
    Link(LinkFault),
    /// We closed it on purpose and owe nobody a reason.
    #[error("done")]
    Done,
}

/// Why the opening handshake of a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFault {
    /// It is no request to upgrade to this transport, or breaks its rules.
    #[error("not a valid upgrade request")]
    BadRequest,
    /// It asks for a path that is not served.
    #[error("the path is not served")]
    Path,
    /// It comes from a page whose origin is not allowed.
    #[error("the origin is not allowed")]
    Origin,
    /// It is longer than a handshake may be.
    #[error("the request is too large")]
    TooLarge,
    /// It was not over in time.
    #[error("it took too long")]
    TimedOut,
    /// The other end did not agree; for the side that dialled.
    #[error("the other end did not agree")]
    Refused,
    /// What came first is no TLS.
    #[error("the other end does not speak TLS")]
    NotTls,
    /// TLS was begun and not agreed upon.
    #[error("TLS: {0}")]
    Tls(TlsFault),
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// No version, cipher or curve in common: TLS 1.2 and 1.3 are spoken.
    #[error("no version or cipher in common; TLS 1.2 and 1.3 are spoken")]
    Incompatible,
    /// The other end's certificate is over.
    #[error("the certificate of the other end has expired")]
    Expired,
    /// The other end's certificate is not valid yet: one of the two clocks may be wrong.
    #[error("the certificate of the other end is not valid yet")]
    NotYetValid,
    /// Nobody who is trusted here has issued the other end's certificate.
    #[error("the certificate of the other end was issued by nobody who is trusted here")]
    Untrusted,
    /// The other end's certificate is for other names.
    #[error("the certificate of the other end is for another name")]
    WrongName,
    /// The other end's certificate cannot be used for another reason.
    #[error("the certificate of the other end cannot be used")]
    BadCertificate,
    /// The other end has shown no certificate.
    #[error("the other end has shown no certificate")]
    NoCertificate,
    /// The other end has refused: it does not trust our certificate, mostly.
    #[error("the other end refused, mostly because it does not trust the certificate here")]
    Refused,
    /// The other end broke the rules of TLS.
    #[error("the other end broke the rules")]
    Broken,
}

impl HandshakeFault {
    /// One word for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "handshake_bad_request",
            Self::Path => "handshake_path",
            Self::Origin => "handshake_origin",
            Self::TooLarge => "handshake_too_large",
            Self::TimedOut => "handshake_timeout",
            Self::Refused => "handshake_refused",
            Self::NotTls => "handshake_not_tls",
            Self::Tls(_) => "handshake_tls",
        }
    }
}

impl CloseReason {
    /// What the peer is told; `None` if there is nobody to tell, or nothing to say.
    pub const fn notice(self) -> Option<NoticeReason> {
        Some(match self {
            Self::Gone | Self::Reset | Self::Handshake(_) | Self::Link(_) | Self::Done => {
                return None;
            }
            Self::Idle => NoticeReason::Idle,
            Self::LoginDeadline => NoticeReason::LoginDeadline,
            Self::Kicked => NoticeReason::Kicked,
            Self::ByGame => NoticeReason::ByGame,
            Self::Malformed(_) => NoticeReason::Malformed,
            Self::Backlog | Self::Stalled => NoticeReason::Backlog,
            Self::Limit => NoticeReason::Limit,
            Self::Shutdown => NoticeReason::Shutdown,
            Self::Moved => NoticeReason::Moved,
            Self::Internal => NoticeReason::Internal,
        })
    }

    /// One word for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::LoginDeadline => "login_deadline",
            Self::Kicked => "kicked",
            Self::ByGame => "by_game",
            Self::Malformed(WireError::TooLarge { .. }) => "oversize",
            Self::Malformed(WireError::Framing) => "framing",
            Self::Malformed(_) => "malformed",
            Self::Backlog => "backlog",
            Self::Stalled => "stalled",
            Self::Limit => "limit",
            Self::Shutdown => "shutdown",
            Self::Moved => "moved",
            Self::Internal => "internal",
            Self::Handshake(fault) => fault.name(),
            Self::Link(fault) => fault.name(),
            Self::Done => "done",
        }
    }
}

/// Where a connection stands, on the gate's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnState {
    /// It is heard from.
    Active,
    /// At the last look it had been silent for a heartbeat interval. It is served all the same.
    Pending,
    /// What is queued is written, what arrives is discarded, then the socket closes.
    Closing,
}

/// Who sends heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// The gate answers each heartbeat with one, and never begins. The default.
    #[default]
    Resp,
    /// The gate sends one each interval, and answers none.
    Tick,
}

/// How a connection is kept alive, and when it counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Time between two heartbeats. Default: 10 s. Zero: none are sent and silence is no fault.
    pub interval: Duration,
    /// Who sends them; of no consequence on the client's side.
    pub mechanism: Mechanism,
    /// How many intervals of silence end the connection. Default: 2; zero counts as 1.
    pub misses: u32,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), mechanism: Mechanism::default(), misses: 2 }
    }
}

impl Heartbeat {
    /// Longest silence tolerated; `None` if silence is no fault.
    pub fn idle_max(&self) -> Option<Duration> {
        let idle_max = self.interval.saturating_mul(self.misses.max(1));
        (!idle_max.is_zero()).then_some(idle_max)
    }
}

/// What all connections of a listener, or of a client, have in common. Shared by `Arc`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Layout of the packets.
    pub layout: Layout,
    /// How the connection is kept alive.
    pub heartbeat: Heartbeat,
    /// Longest time without a bound user. Default: zero, which is no limit. Only on the gate.
    pub login_max: Duration,
    /// Most bytes queued for sending after a write. Default: 1 MiB.
    pub backlog_max: usize,
    /// Longest time in which the peer accepts no byte while some are queued. Default: 10 s; zero is
    /// no limit.
    pub write_stall_max: Duration,
    /// Longest time for writing what is queued once a close has begun. Default: 5 s.
    pub drain_max: Duration,
    /// What this side offers to a peer that announces itself. Default: status replies and close
    /// notices.
    pub features: Features,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            heartbeat: Heartbeat::default(),
            login_max: Duration::ZERO,
            backlog_max: 1024 * 1024,
            write_stall_max: Duration::from_secs(10),
            drain_max: Duration::from_secs(5),
            features: Features::STATUS.and(Features::CLOSE),
        }
    }
}

/// A protocol that does no I/O of its own.
pub trait Machine {
    /// What happened. Borrows from the bytes read.
    type Event<'a>;

    /// Bytes kept from earlier reads: leave that much room at the front of the read buffer.
    ///
    /// Below [`Layout::packet_max`], unless [`Machine::keep`] was given more.
    fn tail_len(&self) -> usize;

    /// Bytes arrived in `scratch[tail_len..end]`. Returns all there is to parse.
    ///
    /// To go on with what was kept, without new bytes, pass an `end` of `tail_len`. Without room
    /// for the tail in `scratch[..end]` nothing happens.
    fn join<'a>(&mut self, now: Now, scratch: &'a mut [u8], end: usize) -> &'a [u8];

    /// The next event of `input`, which moves behind it. `None` if there is no whole packet left;
    /// the rest has then been kept.
    ///
    /// # Errors
    /// The connection has to be closed for that reason.
    fn next<'a>(
        &mut self,
        now: Now,
        input: &mut &'a [u8],
        out: &mut Out,
    ) -> Result<Option<Self::Event<'a>>, CloseReason>;

    /// The event of one message of a message-based transport, if it is one. A message that is not
    /// exactly one packet is skipped and counted.
    ///
    /// # Errors
    /// As [`Machine::next`].
    fn message<'a>(
        &mut self,
        now: Now,
        message: &'a [u8],
        out: &mut Out,
    ) -> Result<Option<Self::Event<'a>>, CloseReason>;

    /// Keeps `input` for later, behind what is kept already: a batch that was cut short.
    fn keep(&mut self, input: &[u8]);

    /// Takes the last event back: keeps its packet and all behind it for later.
    ///
    /// `before` is the input as it was given to [`Machine::next`], `after` as it was left. What
    /// stood before the packet of the event has been dealt with and is not kept.
    fn hold(&mut self, before: &[u8], after: &[u8]) {
        let _ = after;
        self.keep(before);
    }

    /// A write was tried: the socket accepted that many bytes, and `left` are still queued.
    ///
    /// # Errors
    /// [`CloseReason::Backlog`] or [`CloseReason::Stalled`].
    fn wrote(&mut self, now: Now, accepted: usize, left: usize) -> Result<(), CloseReason>;

    /// The sweep passed by. Sends what is due and says whether a deadline has passed.
    ///
    /// # Errors
    /// The connection has to be closed for that reason; at once if it was closing already.
    fn on_deadline(&mut self, now: Now, out: &mut Out) -> Result<(), CloseReason>;

    /// The owner did not run for `lost`, as when its process was suspended: no deadline counts that
    /// time, since what the peer did meanwhile has not been seen. `now` is after it.
    fn forgive(&mut self, now: Now, lost: Duration);

    /// Begins a graceful close: tells the peer why, if it understands that. What arrives from now on
    /// is discarded; the owner drops the socket once `out` is empty. A second call does nothing.
    fn close(&mut self, now: Now, reason: CloseReason, words: LastWords<'_>, out: &mut Out);

    /// The reason of the close that has begun.
    fn closing(&self) -> Option<CloseReason>;

    /// Length of the first packet of outgoing `bytes`, if it is there as a whole: message-based
    /// transports send it as one message.
    fn packet_len(&self, bytes: &[u8]) -> Option<usize>;

    /// Memory held outside the machine itself, in bytes.
    fn held(&self) -> usize;

    /// How many packets and messages were read and not understood.
    fn skipped(&self) -> u32 {
        0
    }
}
