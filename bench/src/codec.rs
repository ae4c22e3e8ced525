//! The work that `bench codec` measures: one message written or read, many times.
//!
//! Every codec carries the same value through the product's own traits, so that a change of a codec
//! shows here. Nothing is measured in this file; it only does the work, on values that the compiler
//! cannot see through.
mod sample;

pub(crate) use sample::Shape;

use crate::generator::BodyCodec;
use sample::{Scene, Text};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::hint::black_box;
use std::str::FromStr;
use yumen::codec::{Decode, Encode, Json, MsgPack, Protobuf};
use yumen::node::{Body as _, Raw};

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Written into a buffer that is made for it.
    EncodeFresh,
    /// Written into the buffer of the message before, as a node writes its replies.
    EncodeReused,
    /// Read from its body.
    Decode,
}

impl Step {
    const ALL: [Self; 3] = [Self::EncodeFresh, Self::EncodeReused, Self::Decode];

    /// The name in tables and arguments.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EncodeFresh => "encode-fresh",
            Self::EncodeReused => "encode-reused",
            Self::Decode => "decode",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    /// How bodies are encoded.
    pub(crate) codec: BodyCodec,
    /// What is done.
    pub(crate) step: Step,
}

/// The codecs in the order of the table, each with its name.
const CODECS: [(BodyCodec, &str); 4] = [
    (BodyCodec::Raw, "raw"),
    (BodyCodec::Json, "json"),
    (BodyCodec::Msgpack, "msgpack"),
    (BodyCodec::Protobuf, "protobuf"),
];

impl Case {
    /// Every case, in the order of the table.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        CODECS.iter().flat_map(|(codec, _)| Step::ALL.map(|step| Self { codec: *codec, step }))
    }

    /// The codec's name.
    pub(crate) fn codec_name(self) -> &'static str {
        CODECS.iter().find(|(codec, _)| *codec == self.codec).map_or("", |(_, name)| name)
    }

    /// Does the work for `iterations` messages of about `size` bytes, and says how long a body is.
    pub(crate) fn run(self, shape: Shape, size: usize, iterations: u64) -> usize {
        match shape {
            Shape::Letters | Shape::Quotes | Shape::Chinese => {
                self.carry(&Text::new(shape, size), iterations)
            }
            Shape::Fields => self.carry(&Scene::new(size), iterations),
        }
    }

    fn carry<T>(self, value: &T, iterations: u64) -> usize
    where
        Json: Encode<T> + Decode<T>,
        MsgPack: Encode<T> + Decode<T>,
        Protobuf: Encode<T> + Decode<T>,
    {
        match self.codec {
            BodyCodec::Raw => raw(self.step, &written::<Json, T>(value), iterations),
            BodyCodec::Json => work::<Json, T>(self.step, value, iterations),
            BodyCodec::Msgpack => work::<MsgPack, T>(self.step, value, iterations),
            BodyCodec::Protobuf => work::<Protobuf, T>(self.step, value, iterations),
        }
    }
}

/// Writes JSON as [`Step::EncodeReused`] does, with `serde_json` alone: what ours is compared with.
pub(crate) fn json_by_library(shape: Shape, size: usize, iterations: u64) {
    fn carry<T: Serialize>(value: &T, iterations: u64)
    where
        Json: Encode<T>,
    {
        let encode = |out: &mut Vec<u8>| serde_json::to_writer(out, black_box(value)).is_ok();
        repeat(Step::EncodeReused, &written::<Json, T>(value), iterations, encode, |_| false);
    }
    match shape {
        Shape::Letters | Shape::Quotes | Shape::Chinese => {
            carry(&Text::new(shape, size), iterations);
        }
        Shape::Fields => carry(&Scene::new(size), iterations),
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.codec_name(), self.step.name())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::all().find(|case| case.to_string() == text);
        found.ok_or_else(|| format!("no case is called `{text}`"))
    }
}

fn written<C: Encode<T>, T>(value: &T) -> Vec<u8> {
    let mut body = Vec::new();
    let done = C::encode(value, &mut body);
    assert!(done.is_ok(), "a value that every codec can write");
    body
}

fn work<C: Encode<T> + Decode<T>, T>(step: Step, value: &T, iterations: u64) -> usize {
    let encode = |out: &mut Vec<u8>| C::encode(black_box(value), out).is_ok();
    let body = written::<C, T>(value);
    repeat(step, &body, iterations, encode, |body| C::decode(body).is_ok_and(seen));
    body.len()
}

/// The body as it is: a copy on the way in, as [`Raw`] is made, and one on the way out.
fn raw(step: Step, body: &[u8], iterations: u64) -> usize {
    let value = Raw(body.to_vec().into());
    let encode = |out: &mut Vec<u8>| black_box(&value).encode(out).is_ok();
    repeat(step, body, iterations, encode, |body| seen(Raw(body.to_vec().into())));
    body.len()
}

/// Uses a value up, so that making it is not optimised away.
fn seen<T>(value: T) -> bool {
    black_box(value);
    true
}

fn repeat(
    step: Step,
    body: &[u8],
    iterations: u64,
    encode: impl Fn(&mut Vec<u8>) -> bool,
    decode: impl Fn(&[u8]) -> bool,
) {
    let mut reused = Vec::with_capacity(body.len());
    for _ in 0..iterations {
        let done = match step {
            Step::EncodeFresh => {
                let mut out = Vec::new();
                let done = encode(&mut out);
                black_box(&out);
                done
            }
            Step::EncodeReused => {
                reused.clear();
                let done = encode(&mut reused);
                black_box(&reused);
                done
            }
            Step::Decode => decode(black_box(body)),
        };
        assert!(done, "a value that every codec can write and read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_its_work_on_every_shape() {
        for shape in Shape::ALL {
            for case in Case::all() {
                let len = case.run(shape, 1024, 2);
                assert!((400..=1_500).contains(&len), "{case} {shape:?}: {len} bytes");
            }
        }
    }

    #[test]
    fn a_case_is_found_by_the_name_it_prints_and_by_no_other() {
        for case in Case::all() {
            assert_eq!(case.to_string().parse(), Ok(case));
        }
        assert!("json".parse::<Case>().is_err());
    }

    #[test]
    fn letters_are_the_echo_that_the_generator_sends() {
        for (codec, _) in CODECS.into_iter().filter(|(codec, _)| *codec != BodyCodec::Raw) {
            let case = Case { codec, step: Step::Decode };
            assert_eq!(case.run(Shape::Letters, 1024, 1), codec.echo(1024).len(), "{case}");
        }
    }
}
