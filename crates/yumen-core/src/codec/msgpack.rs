//! MessagePack bodies, by `rmp-serde`, with fields written by name.
//!
//! The library counts the nesting of arrays and maps but not that of enum variants, so a small
//! body could use up the stack of a recursive type; and it stops at the end of the first value.
//! [`shape`] therefore walks the body first, without recursion, and lets through exactly one
//! value, whole, at most [`DEPTH_MAX`] levels deep.

mod shape;

use super::{Codec, CodecError, Decode, Encode, append};
use serde::{Serialize, de::DeserializeOwned};

/// Deepest nesting of arrays and maps that is read; the limit JSON has.
const DEPTH_MAX: usize = 128;

/// MessagePack, for every type that `serde` can read and write.
///
/// Structs are written as maps with named fields, which is what Go's libraries read and write,
/// and what lets a field be added without breaking older readers. A struct written as an array
/// is still read.
///
/// ```
/// use yumen_core::codec::{Decode, Encode, MsgPack};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greet {
///     name: String,
/// }
///
/// let mut body = Vec::new();
/// MsgPack::encode(&Greet { name: "Ada".into() }, &mut body)?;
/// assert_eq!(body, b"\x81\xa4name\xa3Ada");
/// let back: Greet = MsgPack::decode(&body)?;
/// assert_eq!(back.name, "Ada");
/// # Ok::<(), yumen_core::codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsgPack;

impl Codec for MsgPack {
    const NAME: &'static str = "msgpack";
}

impl<T: Serialize + ?Sized> Encode<T> for MsgPack {
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        append(out, |out| {
            rmp_serde::encode::write_named(out, value)
                .map_err(|e| CodecError::encode(Self::NAME, e))
        })
    }
}

impl<T: DeserializeOwned> Decode<T> for MsgPack {
    fn decode(body: &[u8]) -> Result<T, CodecError> {
        shape::check(body, DEPTH_MAX).map_err(|e| CodecError::decode(Self::NAME, e))?;
        rmp_serde::from_slice(body).map_err(|e| CodecError::decode(Self::NAME, e))
    }
}
