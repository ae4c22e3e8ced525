//! A codec named by configuration, for types that serde can carry.
//!
//! Only the serde codecs can be chosen at run time. `proto` is a known name that is refused here
//! with a reason: which messages are Protobuf is decided by their types.

#[cfg(any(feature = "json", feature = "msgpack"))]
use super::{Codec, CodecError, Decode, Encode};
#[cfg(any(feature = "json", feature = "msgpack"))]
use serde::{Serialize, de::DeserializeOwned};
#[cfg(any(feature = "json", feature = "msgpack"))]
use std::{fmt, str::FromStr};

/// A codec name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecNameError {
    /// No codec has this name.
    #[error("no codec is called `{name}`; the names are {NAMES}")]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// The codec exists, but this program was built without its feature.
    #[error("codec `{name}` needs the feature `{name}`, which this program was built without")]
    NotBuilt {
        /// The codec's and the feature's name.
        name: &'static str,
    },
    /// The codec follows from the message types and cannot be chosen by name.
    #[error("codec `{name}` is chosen by message types, not by name: take the Protobuf argument")]
    ByType {
        /// The codec's name.
        name: &'static str,
    },
}

const NAMES: &str = "json, msgpack, proto";

/// The codec of a component whose messages are serde types, chosen at run time.
///
/// ```
/// use yumen_core::codec::SerdeCodec;
///
/// let codec: SerdeCodec = "json".parse()?;
/// let mut body = Vec::new();
/// codec.encode(&[1, 2], &mut body)?;
/// assert_eq!(codec.decode::<Vec<u8>>(&body)?, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(any(feature = "json", feature = "msgpack"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SerdeCodec {
    /// [`super::Json`].
    #[cfg(feature = "json")]
    Json,
    /// [`super::MsgPack`].
    #[cfg(feature = "msgpack")]
    MsgPack,
}

#[cfg(any(feature = "json", feature = "msgpack"))]
impl SerdeCodec {
    /// The name in configuration files: `json` or `msgpack`.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "json")]
            Self::Json => super::Json::NAME,
            #[cfg(feature = "msgpack")]
            Self::MsgPack => super::MsgPack::NAME,
        }
    }

    /// Appends the encoding of `value` to `out`.
    ///
    /// # Errors
    /// As [`Encode::encode`]; `out` is then as it was.
    pub fn encode<T>(self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>
    where
        T: Serialize + ?Sized,
    {
        match self {
            #[cfg(feature = "json")]
            Self::Json => super::Json::encode(value, out),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => super::MsgPack::encode(value, out),
        }
    }

    /// The value that `body` holds.
    ///
    /// # Errors
    /// As [`Decode::decode`].
    pub fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, CodecError> {
        match self {
            #[cfg(feature = "json")]
            Self::Json => super::Json::decode(body),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => super::MsgPack::decode(body),
        }
    }
}

#[cfg(any(feature = "json", feature = "msgpack"))]
impl FromStr for SerdeCodec {
    type Err = CodecNameError;

    fn from_str(name: &str) -> Result<Self, CodecNameError> {
        #[cfg(feature = "json")]
        if name == super::Json::NAME {
            return Ok(Self::Json);
        }
        #[cfg(feature = "msgpack")]
        if name == super::MsgPack::NAME {
            return Ok(Self::MsgPack);
        }
        Err(match name {
            "json" => CodecNameError::NotBuilt { name: "json" },
            "msgpack" => CodecNameError::NotBuilt { name: "msgpack" },
            "proto" => CodecNameError::ByType { name: "proto" },
            _ => CodecNameError::Unknown { name: name.chars().take(40).collect() },
        })
    }
}

#[cfg(any(feature = "json", feature = "msgpack"))]
impl fmt::Display for SerdeCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
