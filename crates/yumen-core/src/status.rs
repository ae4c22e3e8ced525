//! How a call or a message failed: one small value for clients, callers and policies.
//!
//! A [`Status`] is one pointer, so a `Result` that carries it stays small. Its code, outcome,
//! retry time and message travel to the peer; its source never does. A policy decides by
//! [`Outcome`] alone, a person reads the message, a program branches on the [`Code`].

mod code;

use crate::codec::{Action, CodecError};
use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};
use yumen_proto::{StatusReply, extension::TEXT_MAX};

pub use code::Code;
pub use yumen_proto::Outcome;

/// A failure, in one box.
///
/// The outcome starts as [`Code::usual_outcome`] and can be stated with [`Status::ended`].
///
/// ```
/// use std::time::Duration;
/// use yumen_core::status::{Code, Outcome, Status};
///
/// let full = Status::new(Code::BUSY, "the table is full").retry_in(Duration::from_secs(2));
/// assert_eq!(full.code(), Code::BUSY);
/// assert_eq!(full.outcome(), Outcome::Rejected);
/// assert_eq!(full.to_string(), "busy: the table is full");
/// ```
#[derive(Clone)]
pub struct Status {
    parts: Box<Parts>,
}

#[derive(Clone)]
struct Parts {
    code: Code,
    outcome: Outcome,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Status {
    /// Longest message that [`Status::message`] keeps, in bytes; a longer one is cut. As much as
    /// a status reply carries.
    pub const MESSAGE_MAX: usize = TEXT_MAX;

    /// A failure with this code, and a message that the peer may read.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = cut(message.into());
        let outcome = code.usual_outcome();
        let parts = Parts { code, outcome, message, retry_after: None, source: None };
        Self { parts: Box::new(parts) }
    }

    /// The arguments do not fit: [`Code::INVALID_ARGUMENT`].
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::INVALID_ARGUMENT, message)
    }

    /// What was asked for does not exist: [`Code::NOT_FOUND`].
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NOT_FOUND, message)
    }

    /// A user must be logged in for this: [`Code::UNAUTHORIZED`].
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UNAUTHORIZED, message)
    }

    /// A fault of our own: [`Code::INTERNAL`]. The message must not tell the peer secrets; put
    /// those into the source.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::INTERNAL, message)
    }

    /// A bound was reached: [`Code::BUSY`].
    pub fn busy(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BUSY, message)
    }

    /// No instance can take this now: [`Code::UNAVAILABLE`].
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UNAVAILABLE, message)
    }

    /// No answer in time: [`Code::DEADLINE_EXCEEDED`].
    pub fn deadline_exceeded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::DEADLINE_EXCEEDED, message)
    }

    /// The same failure with a stated outcome, where the usual one of its code is wrong.
    #[must_use]
    pub fn ended(mut self, outcome: Outcome) -> Self {
        self.parts.outcome = outcome;
        self
    }

    /// The same failure with advice when to try again. Sent in whole milliseconds, rounded up,
    /// at most about 49 days; zero means no advice.
    #[must_use]
    pub fn retry_in(mut self, after: Duration) -> Self {
        self.parts.retry_after = (after > Duration::ZERO).then_some(after);
        self
    }

    /// The same failure with its cause, for logs only: it is never sent.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.parts.source = Some(Arc::from(source.into()));
        self
    }

    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        self.parts.code
    }

    /// What became of the request.
    pub fn outcome(&self) -> Outcome {
        self.parts.outcome
    }

    /// The text for the peer; may be empty.
    pub fn message(&self) -> &str {
        &self.parts.message
    }

    /// How long to wait before trying again, if that was said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.parts.retry_after
    }

    /// What the peer is told: everything but the source.
    pub fn reply(&self) -> StatusReply<'_> {
        let wait = self.retry_after().unwrap_or_default();
        // Rounded up, so that nobody comes back a moment too early.
        let wait_ms = wait.as_nanos().div_ceil(1_000_000);
        StatusReply {
            code: self.code().0,
            outcome: self.outcome(),
            retry_after_ms: u32::try_from(wait_ms).unwrap_or(u32::MAX),
            text: self.message(),
        }
    }
}

/// Shortens a message to the bound, between two characters.
fn cut(message: Cow<'static, str>) -> Cow<'static, str> {
    match message.len() > Status::MESSAGE_MAX {
        false => message,
        true => {
            let end = message.floor_char_boundary(Status::MESSAGE_MAX);
            message.get(..end).unwrap_or_default().to_owned().into()
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            "" => write!(f, "{}", self.code()),
            message => write!(f, "{}: {message}", self.code()),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { code, outcome, message, retry_after, source } = &*self.parts;
        f.debug_struct("Status")
            .field("code", code)
            .field("outcome", outcome)
            .field("message", message)
            .field("retry_after", retry_after)
            .field("source", source)
            .finish()
    }
}

impl Error for Status {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.parts.source.as_deref()?;
        Some(source)
    }
}

impl From<Code> for Status {
    fn from(code: Code) -> Self {
        Self::new(code, "")
    }
}

/// What a peer told us, kept.
impl From<StatusReply<'_>> for Status {
    fn from(reply: StatusReply<'_>) -> Self {
        Self::new(Code(reply.code), reply.text.to_owned())
            .ended(reply.outcome)
            .retry_in(Duration::from_millis(reply.retry_after_ms.into()))
    }
}

/// A body that cannot be read is the sender's fault and had no effect. A reply that cannot be
/// written is ours, and what led to it has already happened.
impl From<CodecError> for Status {
    fn from(error: CodecError) -> Self {
        match error.action() {
            Action::Decode => Self::invalid_argument(error.to_string()),
            Action::Encode => {
                Self::internal("the reply could not be written").ended(Outcome::Applied)
            }
        }
        .caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Outcome, Status};
    use crate::codec::CodecError;
    use std::{error::Error, time::Duration};
    use yumen_proto::StatusReply;

    #[test]
    fn a_status_is_one_pointer() {
        assert_eq!(size_of::<Result<(), Status>>(), size_of::<usize>());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = Status::internal("é".repeat(Status::MESSAGE_MAX));
        assert_eq!(status.message(), "é".repeat(Status::MESSAGE_MAX / 2));
    }

    #[test]
    fn a_bad_body_is_the_senders_fault_and_a_bad_reply_is_ours() {
        let theirs = Status::from(CodecError::decode("json", "line 1"));
        assert_eq!((theirs.code(), theirs.outcome()), (Code::INVALID_ARGUMENT, Outcome::Rejected));
        assert_eq!(theirs.message(), "json body: line 1");
        let ours = Status::from(CodecError::encode("json", "secret"));
        assert_eq!((ours.code(), ours.outcome()), (Code::INTERNAL, Outcome::Applied));
        assert!(!ours.message().contains("secret"));
        assert!(ours.source().is_some_and(|s| s.to_string().contains("secret")));
    }

    #[test]
    fn a_status_crosses_the_wire_without_its_source() {
        let wait = Duration::from_micros(1_500);
        let sent = Status::internal("sorry").retry_in(wait).caused_by("password is 1234");
        let mut body = Vec::new();
        sent.reply().encode(&mut body);
        assert!(!String::from_utf8_lossy(&body).contains("1234"));
        let got = Status::from(StatusReply::parse(&body).unwrap());
        assert_eq!(got.reply(), sent.reply());
        assert_eq!(got.retry_after(), Some(Duration::from_millis(2)));
    }

    #[test]
    fn zero_is_no_advice_to_retry() {
        let status = Status::busy("full").retry_in(Duration::ZERO);
        assert_eq!(status.retry_after(), None);
    }
}
