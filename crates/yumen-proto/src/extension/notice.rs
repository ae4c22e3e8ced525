//! What a peer is told when something is refused: one message, or the whole connection.
//!
//! Codes are numbers here: what they mean is the business of whoever sends them. A number that this
//! version does not know is kept, never refused, so that new ones can be added.

use super::{TEXT_MAX, clip, kind};
use crate::{error::WireError, read::Reader};

/// What is known about the effect of a refused request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect.
    Applied = 0,
    /// It was refused and had no effect.
    Rejected = 1,
    /// It never reached a handler.
    NotSent = 2,
    /// Nobody can say. Numbers we do not know read as this.
    #[default]
    Unknown = 3,
}

impl Outcome {
    /// As it is written.
    pub const fn number(self) -> u8 {
        match self {
            Self::Applied => 0,
            Self::Rejected => 1,
            Self::NotSent => 2,
            Self::Unknown => 3,
        }
    }

    /// The outcome of that number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Applied,
            1 => Self::Rejected,
            2 => Self::NotSent,
            _ => Self::Unknown,
        }
    }
}

/// The answer to a request that was refused: the body of a data packet with header bit 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusReply<'a> {
    /// What was wrong: due's numbers from 0 to 10, ours from 1000.
    pub code: u16,
    /// What is known about the effect.
    pub outcome: Outcome,
    /// How long to wait before trying again, in milliseconds; 0 if there is nothing to say.
    pub retry_after_ms: u32,
    /// For a person to read; may be empty.
    pub text: &'a str,
}

impl<'a> StatusReply<'a> {
    /// Length of an encoded reply without its text, in bytes.
    pub(crate) const HEAD_LEN: usize = 7;

    /// Reads the body of a status reply.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        Self::read(Reader(body)).ok_or(WireError::BadTail { kind: 0 })
    }

    pub(crate) fn read(mut body: Reader<'a>) -> Option<Self> {
        Some(Self {
            code: body.u16()?,
            outcome: Outcome::from_number(body.u8()?),
            retry_after_ms: body.u32()?,
            text: body.text()?,
        })
    }

    /// Length of what [`StatusReply::encode`] appends, in bytes.
    pub fn wire_len(&self) -> usize {
        Self::HEAD_LEN.saturating_add(clip(self.text, TEXT_MAX).len())
    }

    /// This reply with its text cut to fit a body of `len` bytes.
    #[must_use]
    pub(crate) fn fit(self, len: usize) -> Self {
        Self { text: clip(self.text, len.saturating_sub(Self::HEAD_LEN)), ..self }
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.code.to_be_bytes());
        out.push(self.outcome.number());
        out.extend_from_slice(&self.retry_after_ms.to_be_bytes());
        out.extend_from_slice(clip(self.text, TEXT_MAX).as_bytes());
    }
}

/// Why a connection is about to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseNotice<'a> {
    /// The reason.
    pub reason: NoticeReason,
    /// How long to wait before connecting again, in milliseconds; 0 if there is nothing to say.
    pub retry_after_ms: u32,
    /// For a person to read; may be empty.
    pub text: &'a str,
}

impl<'a> CloseNotice<'a> {
    /// Reads the tail of a control packet.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(tail: &'a [u8]) -> Result<Self, WireError> {
        Self::read(Reader(tail)).ok_or(WireError::BadTail { kind: kind::CLOSE })
    }

    fn read(mut tail: Reader<'a>) -> Option<Self> {
        Some(Self {
            reason: NoticeReason::from_number(tail.u16()?),
            retry_after_ms: tail.u32()?,
            text: tail.text()?,
        })
    }

    /// Appends the tail.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.reason.number().to_be_bytes());
        out.extend_from_slice(&self.retry_after_ms.to_be_bytes());
        out.extend_from_slice(clip(self.text, TEXT_MAX).as_bytes());
    }
}

/// Why a connection is about to be closed, as its peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeReason {
    /// Nothing came for longer than the idle limit.
    Idle,
    /// Nobody logged in in time.
    LoginDeadline,
    /// The user logged in elsewhere.
    Kicked,
    /// The game closed it.
    ByGame,
    /// The peer reads too slowly.
    Backlog,
    /// The peer broke the framing rules.
    Malformed,
    /// A limit was exceeded.
    Limit,
    /// The gate is shutting down.
    Shutdown,
    /// The session went elsewhere; a redirect preceded.
    Moved,
    /// A fault on our side.
    Internal,
    /// A reason this version does not know.
    Unlisted(u16),
}

impl NoticeReason {
    const LISTED: [Self; 10] = [
        Self::Idle,
        Self::LoginDeadline,
        Self::Kicked,
        Self::ByGame,
        Self::Backlog,
        Self::Malformed,
        Self::Limit,
        Self::Shutdown,
        Self::Moved,
        Self::Internal,
    ];

    /// As it is written: 1 to 10, or the number that was read.
    pub const fn number(self) -> u16 {
        match self {
            Self::Idle => 1,
            Self::LoginDeadline => 2,
            Self::Kicked => 3,
            Self::ByGame => 4,
            Self::Backlog => 5,
            Self::Malformed => 6,
            Self::Limit => 7,
            Self::Shutdown => 8,
            Self::Moved => 9,
            Self::Internal => 10,
            Self::Unlisted(number) => number,
        }
    }

    /// The reason of that number.
    pub fn from_number(number: u16) -> Self {
        let listed = usize::from(number).checked_sub(1).and_then(|at| Self::LISTED.get(at));
        listed.copied().unwrap_or(Self::Unlisted(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_reason_and_back() {
        for number in 0..=u16::MAX {
            assert_eq!(NoticeReason::from_number(number).number(), number);
        }
        assert_eq!(NoticeReason::from_number(11), NoticeReason::Unlisted(11));
    }

    #[test]
    fn every_outcome_is_a_number_and_back() {
        for number in 0..4 {
            assert_eq!(Outcome::from_number(number).number(), number);
        }
        assert_eq!(Outcome::from_number(200), Outcome::Unknown);
    }
}
