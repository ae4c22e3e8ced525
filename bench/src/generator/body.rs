//! The body of an echo request: one message with one text field, in the codec asked for.
//!
//! The shape is what due's benchmark sends: `{"message": "<letters>"}`.
use serde::{Deserialize, Serialize};

/// How the body of a request is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BodyCodec {
    /// The letters and nothing else.
    Raw,
    /// A JSON object with the field `message`.
    #[default]
    Json,
    /// A msgpack map with the key `message`.
    Msgpack,
    /// A protobuf message whose field 1 is the text.
    Protobuf,
}

impl BodyCodec {
    /// A body with `letters` letters; the encoding adds a few bytes.
    pub fn echo(self, letters: usize) -> Vec<u8> {
        let text: String = ('a'..='z').cycle().take(letters).collect();
        match self {
            Self::Raw => text.into_bytes(),
            Self::Json => format!("{{\"message\":\"{text}\"}}").into_bytes(),
            Self::Msgpack => {
                // A map of one entry, and a key of seven bytes.
                let mut body = vec![0x81, 0xa7];
                body.extend_from_slice(b"message");
                msgpack_text_head(letters, &mut body);
                body.extend_from_slice(text.as_bytes());
                body
            }
            Self::Protobuf => {
                // Field 1, a length-delimited value.
                let mut body = vec![0x0a];
                varint(letters, &mut body);
                body.extend_from_slice(text.as_bytes());
                body
            }
        }
    }
}

fn msgpack_text_head(len: usize, out: &mut Vec<u8>) {
    if let Ok(len @ 0..=31) = u8::try_from(len) {
        out.push(0xa0 | len);
    } else if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[0xd9, len]);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(0xda);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(0xdb);
        out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    }
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_what_the_codecs_write() {
        assert_eq!(BodyCodec::Raw.echo(3), b"abc");
        assert_eq!(BodyCodec::Json.echo(3), br#"{"message":"abc"}"#);
        assert_eq!(BodyCodec::Msgpack.echo(3), b"\x81\xa7message\xa3abc");
        assert_eq!(BodyCodec::Protobuf.echo(3), b"\x0a\x03abc");
    }

    #[test]
    fn long_texts_get_long_length_fields() {
        assert_eq!(BodyCodec::Json.echo(1024).len(), 1024 + 14);
        assert_eq!(BodyCodec::Msgpack.echo(200)[9..11], [0xd9, 200]);
        assert_eq!(BodyCodec::Msgpack.echo(1024)[9..12], [0xda, 4, 0]);
        assert_eq!(BodyCodec::Msgpack.echo(70_000)[9..14], [0xdb, 0, 1, 0x11, 0x70]);
        assert_eq!(BodyCodec::Protobuf.echo(1024)[..3], [0x0a, 0x80, 0x08]);
    }
}
