//! What a handler returns.
//!
//! A value is encoded behind the head of its packet in a buffer that is used again for the next reply,
//! so an answer costs no allocation. `()` sends nothing; an error is sent as a status.

use crate::node::message::{Body, Raw};
use yumen_core::status::Status;

/// How a message is answered.
#[derive(Debug)]
pub enum Answer {
    /// Not at all.
    Nothing,
    /// With the body that was appended to the buffer.
    Body,
    /// With a status.
    Refused(Status),
}

/// Anything a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "return `()`, `Msg<_>`, `Raw` or `Result<_, E>` where `Status: From<E>`"
)]
pub trait IntoReply {
    /// Appends the encoded value to `body`, which already holds the head of the packet.
    fn into_reply(self, body: &mut Vec<u8>) -> Answer;
}

/// What an event handler may return: there is nobody to reply to.
#[diagnostic::on_unimplemented(
    message = "an event handler cannot return `{Self}`",
    note = "return `()` or `Result<(), E>` where `Status: From<E>`; to send something, take a \
            `Session` and push"
)]
pub trait EventOutcome: IntoReply {}

impl EventOutcome for () {}
impl<E: Into<Status>> EventOutcome for Result<(), E> {}

impl IntoReply for () {
    fn into_reply(self, _: &mut Vec<u8>) -> Answer {
        Answer::Nothing
    }
}

impl IntoReply for Raw {
    fn into_reply(self, body: &mut Vec<u8>) -> Answer {
        encoded(&self, body)
    }
}

/// A value that has no form in its codec is a defect of the handler, not of the message.
pub(crate) fn encoded(value: &impl Body, body: &mut Vec<u8>) -> Answer {
    match value.encode(body) {
        Ok(()) => Answer::Body,
        Err(error) => Answer::Refused(error.into()),
    }
}

impl IntoReply for Status {
    fn into_reply(self, _: &mut Vec<u8>) -> Answer {
        Answer::Refused(self)
    }
}

impl IntoReply for Answer {
    fn into_reply(self, _: &mut Vec<u8>) -> Answer {
        self
    }
}

impl<T: IntoReply, E: Into<Status>> IntoReply for Result<T, E> {
    fn into_reply(self, body: &mut Vec<u8>) -> Answer {
        match self {
            Ok(value) => value.into_reply(body),
            Err(error) => Answer::Refused(error.into()),
        }
    }
}
