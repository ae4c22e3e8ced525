//! What two instances say to each other: due's internal frames, and ours behind them.
//!
//! Always big-endian. Every command is one row of [`table`], and nothing else knows the list. A frame
//! borrows from the bytes read, its lists of targets included.
//!
//! Between a due peer and us a connection carries requests one way and replies the other, and only
//! the direction tells them apart. Between two of ours one connection carries both, and a header bit
//! tells; [`Flow`] says which it is.

mod announce;
mod form;
mod frame;
mod machine;
mod secret;
mod settings;
pub mod table;
mod targets;
mod words;

pub use announce::{
    Farewell, Lane, LinkAnnounce, LinkFeatures, LinkMark, NAME_MAX, NONCE_LEN, PROOF_LEN,
};
pub use frame::{Flow, Frame, HEARTBEAT, LinkError, Reply};
pub use machine::{LinkConn, LinkEvent, LinkPeer, LinkTarget};
pub use secret::{SECRET_MIN, Secret};
pub use settings::{LinkFault, LinkSettings};
pub use table::Command;
pub use targets::{Targets, TargetsIter};
pub use words::{Event, Kind, State, Target, TargetKind};

/// Most targets one frame can name.
pub const TARGETS_MAX: usize = 65_535;

/// Most targets that a due peer reads correctly from one frame: it counts their bytes in 16 bits.
pub const TARGETS_MAX_DUE: usize = 8189;

/// Longest channel name a publish can carry, in bytes.
pub const CHANNEL_MAX: usize = 255;

/// Longest channel name that a due peer reads correctly from a publish, in bytes.
pub const CHANNEL_MAX_DUE: usize = 240;

/// Largest frame that is accepted unless somebody says otherwise, as the value of its size field.
pub const FRAME_MAX: usize = 1024 * 1024;

/// Sequence number of the handshake, as due has it.
pub(crate) const HANDSHAKE_SEQ: u64 = 1;

/// Header bit of heartbeats and of all control frames.
pub(crate) const HEARTBEAT_BIT: u8 = 0x80;

/// Codes of replies, as due knows them; a receiver takes every other for [`INTERNAL`](code::INTERNAL).
pub mod code {
    /// It was done.
    pub const OK: u16 = 0;
    /// There is no such connection or user.
    pub const NOT_FOUND: u16 = 1;
    /// It failed for any other reason.
    pub const INTERNAL: u16 = 2;
}
