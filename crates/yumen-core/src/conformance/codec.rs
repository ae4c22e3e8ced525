//! The promises of a codec.

use super::must;
use crate::codec::{CodecError, Decode, Encode};
use std::fmt::Debug;

/// Checks a codec with some values of a type it carries; give it values with every kind of field,
/// an empty one and a large one.
///
/// # Panics
/// At the first broken promise.
pub fn codec<C, T>(samples: &[T])
where
    C: Encode<T> + Decode<T>,
    T: PartialEq + Debug,
{
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    assert!(!C::NAME.is_empty() && C::NAME.chars().all(plain), "a name is a lower-case word");
    for sample in samples {
        let mut body = Vec::new();
        must("a sample can be written", C::encode(sample, &mut body));
        let back: T = must("what was written can be read", C::decode(&body));
        assert_eq!(&back, sample, "what is read is what was written");
        appends::<C, T>(sample, &body);
        survives_damage::<C, T>(&body);
    }
}

fn appends<C: Encode<T>, T>(sample: &T, body: &[u8]) {
    let mut out = b"before".to_vec();
    must("a sample can be written twice", C::encode(sample, &mut out));
    assert!(out.starts_with(b"before"), "writing appends");
    assert!(out.ends_with(body), "the same value is written the same way");
    assert_eq!(out.len(), body.len().saturating_add(6), "nothing else is written");
}

/// Cut and changed bodies are read as something or refused; they are never a panic.
fn survives_damage<C: Decode<T>, T>(body: &[u8]) {
    for end in 0..body.len() {
        bounded(C::decode(body.get(..end).unwrap_or_default()));
    }
    let mut damaged = body.to_vec();
    for at in 0..body.len() {
        for change in [0x01, 0x80, 0xff] {
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= change;
            }
            bounded(C::decode(&damaged));
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= change;
            }
        }
    }
}

fn bounded<T>(result: Result<T, CodecError>) {
    if let Err(error) = result {
        assert!(error.detail().len() <= CodecError::DETAIL_MAX, "an error's text is bounded");
        assert!(!error.detail().is_empty(), "an error says what was wrong");
    }
}
