//! Why bytes could not be turned into a packet, or a packet into bytes.
//!
//! Small and `Copy`, because it travels inside the reason a connection is closed for, and every
//! connection has room for one of those.

use crate::packet::Width;

/// Why bytes could not be turned into a packet, or a packet into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The packet is larger than the layout allows. On a stream nothing after it can be read.
    #[error("packet of {size} bytes is over the limit of {max}")]
    TooLarge {
        /// Value of the size field, in bytes.
        size: u32,
        /// Largest value this layout allows, in bytes.
        max: u32,
    },
    /// The packet cannot hold the fixed fields. The next packet can still be read.
    #[error("packet of {size} bytes is too short for its header")]
    TooShort {
        /// Value of the size field, in bytes.
        size: u32,
    },
    /// A route or sequence number does not fit its field.
    #[error("{value} does not fit a signed field of width {width:?}")]
    FieldOverflow {
        /// The number to be sent.
        value: i32,
        /// The field it was meant for.
        width: Width,
    },
    /// A message of a message-based transport is not exactly one packet.
    #[error("message of {len} bytes is not exactly one packet")]
    NotOnePacket {
        /// Length of the message, in bytes.
        len: u32,
    },
    /// The tail of a control packet or the body of a status reply does not have its form.
    #[error("the tail of a control packet of kind {kind} does not have its form")]
    BadTail {
        /// Kind of the control packet; 0 for a status reply.
        kind: u8,
    },
    /// The frames around the packets break the rules of their transport.
    #[error("the frames of the transport are malformed")]
    Framing,
}

/// A length as it stands in an error: what does not fit counts as the largest number.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
