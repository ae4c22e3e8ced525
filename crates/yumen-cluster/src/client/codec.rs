//! Two codecs that only clients need: the one nobody has to name, and the one that is none.

use bytes::Bytes;
#[cfg(feature = "json")]
use yumen_core::codec::Json;
use yumen_core::codec::{Codec, CodecError, Decode, Encode};

/// The codec of clients that name none: JSON. A build without the feature `json` can name another,
/// or use the calls for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual;

impl Codec for Usual {
    const NAME: &'static str = "json";
}

#[cfg(feature = "json")]
impl<T: ?Sized> Encode<T> for Usual
where
    Json: Encode<T>,
{
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        Json::encode(value, out)
    }
}

#[cfg(feature = "json")]
impl<T> Decode<T> for Usual
where
    Json: Decode<T>,
{
    fn decode(body: &[u8]) -> Result<T, CodecError> {
        Json::decode(body)
    }
}

/// Messages are the bytes of their bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain;

impl Codec for Plain {
    const NAME: &'static str = "plain";
}

impl<T: AsRef<[u8]> + ?Sized> Encode<T> for Plain {
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value.as_ref());
        Ok(())
    }
}

impl Decode<Bytes> for Plain {
    fn decode(body: &[u8]) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(body))
    }
}
