//! JSON bodies, by `serde_json`.
//!
//! Bodies nested deeper than 128 levels are refused by the library's own limit. Text is written
//! as it is (no escaping for HTML), as due's clients and servers do.

mod writer;

use super::{Codec, CodecError, Decode, Encode, append};
use serde::{Serialize, de::DeserializeOwned};

/// JSON, for every type that `serde` can read and write. The default codec.
///
/// ```
/// use yumen_core::codec::{Decode, Encode, Json};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greet {
///     name: String,
/// }
///
/// let mut body = Vec::new();
/// Json::encode(&Greet { name: "Ada".into() }, &mut body)?;
/// assert_eq!(body, br#"{"name":"Ada"}"#);
/// let back: Greet = Json::decode(&body)?;
/// assert_eq!(back.name, "Ada");
/// # Ok::<(), yumen_core::codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl Codec for Json {
    const NAME: &'static str = "json";
}

impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        append(out, |out| writer::write(value, out).map_err(|e| CodecError::encode(Self::NAME, e)))
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(body: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(body).map_err(|e| CodecError::decode(Self::NAME, e))
    }
}
