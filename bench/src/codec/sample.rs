//! The values that `bench codec` sends through every codec.
//!
//! What a message holds decides what its codec costs: a long text is copied, one full of quotes is
//! escaped, many small fields are looked up by name. Each value is the same in every run.
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// One text of ASCII letters: the message of due's benchmark.
    Letters,
    /// One text in which about every sixth character has to be escaped in JSON.
    Quotes,
    /// One text of Chinese characters, three bytes each.
    Chinese,
    /// A list of small structs: numbers, short names, a truth value.
    Fields,
}

impl Shape {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Self::Letters, Self::Quotes, Self::Chinese, Self::Fields];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Letters => "letters",
            Self::Quotes => "quotes",
            Self::Chinese => "chinese",
            Self::Fields => "fields",
        }
    }

    /// What the text repeats.
    fn pattern(self) -> &'static str {
        match self {
            Self::Letters | Self::Fields => "abcdefghijklmnopqrstuvwxyz",
            Self::Quotes => "say \"hi\"\nabcdefghi\tklmn",
            Self::Chinese => "天地玄黄宇宙洪荒日月盈昃辰宿列张",
        }
    }
}

/// A message with one text.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
pub(super) struct Text {
    #[prost(string, tag = "1")]
    message: String,
}

impl Text {
    /// A text of `size` bytes, or up to two fewer where a character takes three.
    pub(super) fn new(shape: Shape, size: usize) -> Self {
        let mut message = String::with_capacity(size);
        for letter in shape.pattern().chars().cycle() {
            if message.len().saturating_add(letter.len_utf8()) > size {
                break;
            }
            message.push(letter);
        }
        Self { message }
    }
}

/// A message with many fields: who is where.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
pub(super) struct Scene {
    #[prost(uint64, tag = "1")]
    tick: u64,
    #[prost(message, repeated, tag = "2")]
    units: Vec<Unit>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
struct Unit {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(double, tag = "3")]
    x: f64,
    #[prost(double, tag = "4")]
    y: f64,
    #[prost(sint32, tag = "5")]
    health: i32,
    #[prost(bool, tag = "6")]
    moving: bool,
}

/// Bytes of JSON that one unit takes, about.
const UNIT_LEN: usize = 78;

impl Scene {
    /// As many units as make about `size` bytes of JSON.
    pub(super) fn new(size: usize) -> Self {
        let units = size.checked_div(UNIT_LEN).unwrap_or(0).max(1);
        let units = (1..=u32::try_from(units).unwrap_or(u32::MAX)).map(Unit::new).collect();
        Self { tick: 1_234_567, units }
    }
}

impl Unit {
    fn new(number: u32) -> Self {
        let at = f64::from(number);
        Self {
            id: u64::from(number).saturating_add(10_000_000),
            name: format!("orc-{number}"),
            x: at * 12.25,
            y: at * -3.5,
            health: i32::try_from(number % 100).unwrap_or(0),
            moving: number.is_multiple_of(2),
        }
    }
}
