//! How a message body becomes a value and a value a body.
//!
//! A codec is a *type* (`Json`, `MsgPack`, `Protobuf`) and says for which values it works
//! with [`Encode`] and [`Decode`]. That is so because the message types differ: JSON and
//! MessagePack take whatever `serde` can read and write, Protobuf takes what implements
//! `prost::Message`, and no trait object could tell one from the other at compile time. A type
//! that does not fit its codec is therefore a compile error that names both.
//!
//! Where the codec is named by configuration, `SerdeCodec` chooses between the serde codecs at
//! run time. Protobuf cannot be chosen that way: it is a property of the message types.
//!
//! A codec never keeps anything between two calls, never reads past the body it is given, and
//! neither panics nor recurses without a limit on any input.

mod chosen;
mod error;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
#[cfg(feature = "protobuf")]
mod protobuf;

pub use chosen::CodecNameError;
#[cfg(any(feature = "json", feature = "msgpack"))]
pub use chosen::SerdeCodec;
pub use error::{Action, CodecError};
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "msgpack")]
pub use msgpack::MsgPack;
#[cfg(feature = "protobuf")]
pub use protobuf::Protobuf;

/// A format for message bodies, chosen as a type.
///
/// To add one, write `codec/<name>.rs` with a unit type that implements this trait and
/// [`Encode`] and [`Decode`] for the types it can carry; it is right when
/// `conformance::codec` passes.
pub trait Codec: Copy + Send + Sync + 'static {
    /// The name in configuration files and errors: short, lower case (`json`, `proto`,
    /// `msgpack`).
    const NAME: &'static str;
}

/// A codec that can write values of type `T`.
pub trait Encode<T: ?Sized>: Codec {
    /// Appends the encoding of `value` to `out`.
    ///
    /// # Errors
    /// [`CodecError`] if the value has no form in this format (a map with compound keys in
    /// JSON, say). `out` is then as it was before the call.
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>;
}

/// A codec that can read values of type `T`.
pub trait Decode<T>: Codec {
    /// The value that `body` holds; the whole body and nothing but the body.
    ///
    /// # Errors
    /// [`CodecError`] if the body is malformed, too deeply nested, followed by other bytes, or
    /// does not hold a `T`.
    fn decode(body: &[u8]) -> Result<T, CodecError>;
}

/// Runs `write` on `out` and takes back what it wrote if it fails.
#[cfg(any(feature = "json", feature = "msgpack"))]
fn append(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let before = out.len();
    let written = write(out);
    if written.is_err() {
        out.truncate(before);
    }
    written
}
