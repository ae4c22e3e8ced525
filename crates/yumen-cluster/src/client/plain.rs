//! The codec that is none: bodies are bytes.

use bytes::Bytes;
use yumen_core::codec::{Codec, CodecError, Decode, Encode};

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
