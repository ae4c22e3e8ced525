//! What we add to client connections: the tails of control packets, and the body of a status reply.
//!
//! Nothing here is sent before both sides have announced it, because a peer that knows none of it
//! takes every control packet for a heartbeat. All integers are big-endian, whatever the layout of
//! data packets. Texts longer than [`TEXT_MAX`] bytes are cut when they are written.
//!
//! Reliable delivery ([`Acknowledge`], [`Resume`]), [`Credit`] and [`Redirect`] are reserved: their
//! form is fixed here, and the connection machines count and ignore them.

mod announce;
mod notice;

pub use announce::{Announce, ResumeWindow, TOKEN_MAX};
pub use notice::{CloseNotice, NoticeReason, Outcome, StatusReply};

use crate::{error::WireError, flags::wire_flags, read::Reader};

/// Longest text written into a status reply, a close notice or a redirect, in bytes.
pub const TEXT_MAX: usize = 512;

/// Header bit of a data packet that is a status reply.
pub const STATUS_FLAG: u8 = 1;

/// Kinds of control packets.
pub mod kind {
    /// A heartbeat, the only kind that due knows.
    pub const HEARTBEAT: u8 = 0;
    /// [`super::Announce`].
    pub const ANNOUNCE: u8 = 1;
    /// [`super::CloseNotice`].
    pub const CLOSE: u8 = 2;
    /// [`super::Acknowledge`].
    pub const ACKNOWLEDGE: u8 = 3;
    /// [`super::Resume`].
    pub const RESUME: u8 = 4;
    /// [`super::Credit`].
    pub const CREDIT: u8 = 5;
    /// [`super::Redirect`].
    pub const REDIRECT: u8 = 6;
}

wire_flags! {
    /// A set of extensions.
    Features {
        /// Refused messages are answered with a [`StatusReply`].
        STATUS = 0,
        /// A connection is closed with a [`CloseNotice`].
        CLOSE = 1,
        /// Messages are numbered, and a broken connection can be resumed. Reserved.
        RELIABLE = 2,
        /// Flow is limited by credits. Reserved.
        CREDITS = 3,
        /// A client can be sent to another gate. Reserved.
        REDIRECT = 4,
    }
}

/// The tail of a control packet, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension<'a> {
    /// Says what a side understands.
    Announce(Announce<'a>),
    /// Says why the connection is about to be closed.
    Close(CloseNotice<'a>),
    /// Says up to where numbered messages have arrived.
    Acknowledge(Acknowledge),
    /// Takes up a broken connection.
    Resume(Resume<'a>),
    /// Allows the peer to send more.
    Credit(Credit),
    /// Sends a client to another gate.
    Redirect(Redirect<'a>),
}

impl<'a> Extension<'a> {
    /// Reads the tail of a control packet; `None` for a heartbeat and for kinds we do not know.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(kind: u8, tail: &'a [u8]) -> Result<Option<Self>, WireError> {
        Ok(Some(match kind {
            kind::ANNOUNCE => Self::Announce(Announce::parse(tail)?),
            kind::CLOSE => Self::Close(CloseNotice::parse(tail)?),
            kind::ACKNOWLEDGE => Self::Acknowledge(Acknowledge::parse(tail)?),
            kind::RESUME => Self::Resume(Resume::parse(tail)?),
            kind::CREDIT => Self::Credit(Credit::parse(tail)?),
            kind::REDIRECT => Self::Redirect(Redirect::parse(tail)?),
            _ => return Ok(None),
        }))
    }
}

/// Everything up to this number has arrived. Reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// The highest message number received in order; numbers start at 1.
    pub number: u64,
}

impl Acknowledge {
    /// Reads the tail of a control packet.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(tail: &[u8]) -> Result<Self, WireError> {
        let mut fields = Reader(tail);
        let number = fields.u64().and_then(|number| fields.end(number));
        let number = number.ok_or(WireError::BadTail { kind: kind::ACKNOWLEDGE })?;
        Ok(Self { number })
    }

    /// Appends the tail.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
    }
}

/// The first packet on a new socket, to go on where a broken one stopped. Reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume<'a> {
    /// The session token that the gate announced; at most [`TOKEN_MAX`] bytes.
    pub token: &'a [u8],
    /// The highest message number received in order.
    pub received: u64,
}

impl<'a> Resume<'a> {
    /// Reads the tail of a control packet.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(tail: &'a [u8]) -> Result<Self, WireError> {
        match tail.split_last_chunk() {
            Some((token, received)) if token.len() <= TOKEN_MAX => {
                Ok(Self { token, received: u64::from_be_bytes(*received) })
            }
            _ => Err(WireError::BadTail { kind: kind::RESUME }),
        }
    }

    /// Appends the tail.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.token);
        out.extend_from_slice(&self.received.to_be_bytes());
    }
}

/// The peer may send that much more. Reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// How much more, in bytes of whole packets.
    pub bytes: u32,
}

impl Credit {
    /// Reads the tail of a control packet.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(tail: &[u8]) -> Result<Self, WireError> {
        let mut fields = Reader(tail);
        let bytes = fields.u32().and_then(|bytes| fields.end(bytes));
        let bytes = bytes.ok_or(WireError::BadTail { kind: kind::CREDIT })?;
        Ok(Self { bytes })
    }

    /// Appends the tail.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes.to_be_bytes());
    }
}

/// The client is to connect elsewhere and resume there. Reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// Where: the text of an address, in the form clients are configured with.
    pub address: &'a str,
}

impl<'a> Redirect<'a> {
    /// Reads the tail of a control packet.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(tail: &'a [u8]) -> Result<Self, WireError> {
        let address = Reader(tail).text().ok_or(WireError::BadTail { kind: kind::REDIRECT })?;
        Ok(Self { address })
    }

    /// Appends the tail.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(clip(self.address, TEXT_MAX).as_bytes());
    }
}

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}
