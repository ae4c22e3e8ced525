//! Protocol Buffers bodies, by `prost`.
//!
//! Bodies nested deeper than 100 levels are refused by the library's own limit. An empty body is
//! a valid message whose fields all have their default values, and unknown fields are skipped:
//! both are how the format grows.

use super::{Codec, CodecError, Decode, Encode};
use prost::Message;

/// Protocol Buffers, for every type that implements `prost::Message`.
///
/// ```
/// use yumen_core::codec::{Decode, Encode, Protobuf};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Greet {
///     #[prost(string, tag = "1")]
///     name: String,
/// }
///
/// let mut body = Vec::new();
/// Protobuf::encode(&Greet { name: "Ada".into() }, &mut body)?;
/// assert_eq!(body, b"\x0a\x03Ada");
/// let back: Greet = Protobuf::decode(&body)?;
/// assert_eq!(back.name, "Ada");
/// # Ok::<(), yumen_core::codec::CodecError>(())
/// ```
///
/// A type that is not a Protobuf message does not compile:
///
/// ```compile_fail,E0277
/// use yumen_core::codec::{Encode, Protobuf};
///
/// #[derive(serde::Serialize)]
/// struct Greet {
///     name: String,
/// }
///
/// Protobuf::encode(&Greet { name: "Ada".into() }, &mut Vec::new());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protobuf;

impl Codec for Protobuf {
    /// `proto`, the name due's configuration uses.
    const NAME: &'static str = "proto";
}

impl<T: Message> Encode<T> for Protobuf {
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        // The library checks the room before it writes the first byte, so `out` is untouched
        // when this fails.
        value.encode(out).map_err(|e| CodecError::encode(Self::NAME, e))
    }
}

impl<T: Message + Default> Decode<T> for Protobuf {
    fn decode(body: &[u8]) -> Result<T, CodecError> {
        T::decode(body).map_err(|e| CodecError::decode(Self::NAME, e))
    }
}
