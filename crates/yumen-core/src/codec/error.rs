//! What went wrong with one message body, small enough to keep, log and send.
//!
//! The text comes from the format's library, which quotes parts of the body: it is cut to
//! [`CodecError::DETAIL_MAX`] bytes and control characters are replaced, so that a peer can
//! neither fill a log nor forge lines in it. The cut is in the middle: libraries say what first
//! and where last.

use std::fmt::{self, Write};

/// Whether a body was being read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The body did not hold the expected value: the sender's fault.
    Decode,
    /// The value has no form in the format: our own fault.
    Encode,
}

/// A message body could not be read or written.
///
/// ```
/// use yumen_core::codec::{Action, CodecError};
///
/// let error = CodecError::decode("json", "expected value at line 1 column 1");
/// assert_eq!(error.to_string(), "json body: expected value at line 1 column 1");
/// assert_eq!(error.action(), Action::Decode);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CodecError {
    parts: Box<Parts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    codec: &'static str,
    action: Action,
    detail: String,
}

impl CodecError {
    /// Longest text an error keeps, in bytes.
    pub const DETAIL_MAX: usize = 200;

    /// A body that could not be read; `detail` says what and where.
    pub fn decode(codec: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(codec, Action::Decode, &detail)
    }

    /// A value that could not be written; `detail` says what and where.
    pub fn encode(codec: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(codec, Action::Encode, &detail)
    }

    fn new(codec: &'static str, action: Action, detail: &dyn fmt::Display) -> Self {
        let mut text = Bounded::default();
        // A `Display` that fails has said what it could.
        let _said = write!(text, "{detail}");
        Self { parts: Box::new(Parts { codec, action, detail: text.finish() }) }
    }

    /// The codec's name.
    pub fn codec(&self) -> &'static str {
        self.parts.codec
    }

    /// Whether reading or writing failed.
    pub fn action(&self) -> Action {
        self.parts.action
    }

    /// What was wrong and where (line and column, or message and field, as far as the format
    /// tells), at most [`Self::DETAIL_MAX`] bytes without control characters.
    pub fn detail(&self) -> &str {
        &self.parts.detail
    }
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.fmt(f)
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { codec, action, detail } = &*self.parts;
        match action {
            Action::Decode => write!(f, "{codec} body: {detail}"),
            Action::Encode => write!(f, "value has no {codec} form: {detail}"),
        }
    }
}

impl std::error::Error for CodecError {}

/// Keeps the beginning and the end of a text of any length, in bounded memory.
#[derive(Default)]
struct Bounded {
    head: String,
    tail: String,
    cut: bool,
}

/// What stands for the part that was left out.
const GAP: &str = " … ";
const TAIL_MAX: usize = 80;
const HEAD_MAX: usize = CodecError::DETAIL_MAX.saturating_sub(TAIL_MAX.saturating_add(GAP.len()));

impl Bounded {
    fn push(&mut self, c: char) {
        if self.tail.is_empty() && self.head.len().saturating_add(c.len_utf8()) <= HEAD_MAX {
            self.head.push(c);
            return;
        }
        self.tail.push(c);
        // Rarely, so that a long text is not moved for each of its characters.
        if self.tail.len() > TAIL_MAX.saturating_mul(4) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        if let Some(excess) = self.tail.len().checked_sub(TAIL_MAX)
            && excess > 0
        {
            self.cut = true;
            self.tail.drain(..self.tail.ceil_char_boundary(excess));
        }
    }

    fn finish(mut self) -> String {
        self.shorten();
        if self.cut {
            self.head.push_str(GAP);
        }
        self.head.push_str(&self.tail);
        self.head
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.push(if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::CodecError;

    #[test]
    fn a_text_is_cut_in_the_middle_and_only_if_it_is_too_long() {
        for len in 0..1_000 {
            for letter in ["x", "é", "阿"] {
                let text = format!("bad {}, line 1", letter.repeat(len));
                let error = CodecError::decode("json", &text);
                assert!(error.detail().len() <= CodecError::DETAIL_MAX, "{error}");
                assert!(error.detail().starts_with("bad "), "{error}");
                assert!(error.detail().ends_with(", line 1"), "{error}");
                assert_eq!(error.detail().contains(" … "), error.detail() != text, "{error}");
                assert!(text.len() > 190 || error.detail() == text, "{error}");
            }
        }
    }

    #[test]
    fn control_characters_of_a_peer_do_not_reach_a_log() {
        let error = CodecError::decode("json", "a\n2026 ERROR forged\u{1b}[0m");
        assert!(!error.to_string().chars().any(char::is_control));
    }
}
