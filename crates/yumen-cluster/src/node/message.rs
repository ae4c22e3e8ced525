//! Bodies: a value of the user's as an argument, as a reply and as a push.
//!
//! One wrapper per codec, so that a handler's signature says what is on the wire and the compiler can
//! tell what a value may be: [`Msg`] is JSON, [`ProtoMsg`] Protobuf, [`PackMsg`] MessagePack. Each has
//! a twin that also checks what it has read: [`Valid`], [`ValidProto`], [`ValidPack`].

use crate::node::extract::{FromRequest, Incoming};
use bytes::Bytes;
use std::borrow::Cow;
use yumen_core::{codec::CodecError, status::Status};

/// Anything that can be sent to a client.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent",
    note = "send `Msg(value)`, `ProtoMsg(value)`, `PackMsg(value)`, `Raw(bytes)` or a `[u8]`"
)]
pub trait Body {
    /// Appends the encoded value to `out`.
    ///
    /// # Errors
    /// The value has no form in its codec; `out` is then as it was.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;
}

/// The body as it came: an exact copy, never a slice that would pin a large buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw(pub Bytes);

impl<S> FromRequest<S> for Raw {
    fn from_request(_: &Incoming<'_, S>, body: &[u8]) -> Result<Self, Status> {
        Ok(Self(Bytes::copy_from_slice(body)))
    }
}

impl Body for Raw {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.as_ref().encode(out)
    }
}

impl Body for [u8] {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(self);
        Ok(())
    }
}

/// What is wrong with a value that could be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field, as the client knows it: `name`, `items[3].count`.
    pub field: Cow<'static, str>,
    /// What it should have been: `longer than 20 characters`.
    pub why: Cow<'static, str>,
}

impl Invalid {
    /// `field` is wrong because of `why`.
    pub fn new(field: impl Into<Cow<'static, str>>, why: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// A value that can be wrong although it could be decoded.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be checked",
    note = "implement `Validate` for it, or take `Msg<{Self}>`, which checks nothing"
)]
pub trait Validate {
    /// Whether every field is within its bounds.
    ///
    /// # Errors
    /// The first field that is not; the client is told its name and why.
    fn validate(&self) -> Result<(), Invalid>;
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        Self::invalid_argument(invalid.to_string())
    }
}

macro_rules! bodies {
    ($($feature:literal $codec:ident $name:literal: $msg:ident $valid:ident;)*) => {$(
        #[doc = concat!("A ", $name, " message: decoded as an argument, encoded as a reply or push.")]
        ///
        /// A body that does not decode is answered with [`Code::INVALID_ARGUMENT`](yumen_core::Code::INVALID_ARGUMENT).
        #[cfg(feature = $feature)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $msg<T>(pub T);

        #[cfg(feature = $feature)]
        impl<S, T> FromRequest<S> for $msg<T>
        where
            yumen_core::codec::$codec: yumen_core::codec::Decode<T>,
        {
            fn from_request(_: &Incoming<'_, S>, body: &[u8]) -> Result<Self, Status> {
                Ok(Self(<yumen_core::codec::$codec as yumen_core::codec::Decode<T>>::decode(body)?))
            }
        }

        #[cfg(feature = $feature)]
        impl<T> Body for $msg<T>
        where
            yumen_core::codec::$codec: yumen_core::codec::Encode<T>,
        {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
                <yumen_core::codec::$codec as yumen_core::codec::Encode<T>>::encode(&self.0, out)
            }
        }

        #[cfg(feature = $feature)]
        impl<T> crate::node::reply::IntoReply for $msg<T>
        where
            yumen_core::codec::$codec: yumen_core::codec::Encode<T>,
        {
            fn into_reply(self, body: &mut Vec<u8>) -> crate::node::reply::Answer {
                crate::node::reply::encoded(&self, body)
            }
        }

        #[doc = concat!("A ", $name, " message whose fields have been checked by [`Validate`].")]
        ///
        /// What is out of bounds is answered with [`Code::INVALID_ARGUMENT`](yumen_core::Code::INVALID_ARGUMENT) and the field's name.
        #[cfg(feature = $feature)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $valid<T>(pub T);

        #[cfg(feature = $feature)]
        impl<S, T: Validate> FromRequest<S> for $valid<T>
        where
            yumen_core::codec::$codec: yumen_core::codec::Decode<T>,
        {
            fn from_request(_: &Incoming<'_, S>, body: &[u8]) -> Result<Self, Status> {
                let value = <yumen_core::codec::$codec as yumen_core::codec::Decode<T>>::decode(body)?;
                value.validate()?;
                Ok(Self(value))
            }
        }
    )*};
}
bodies! {
    "json" Json "JSON": Msg Valid;
    "protobuf" Protobuf "Protobuf": ProtoMsg ValidProto;
    "msgpack" MsgPack "MessagePack": PackMsg ValidPack;
}
