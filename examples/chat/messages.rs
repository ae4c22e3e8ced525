//! What clients and server of the chat say to each other: protobuf messages, written by hand.
//!
//! No `protoc` is needed: the derive does what generated code would do. Tags are what is on the wire,
//! so a tag is never used twice and never changes its type; the `.proto` file for clients in other
//! languages is `chat.proto` beside this file, and a test holds the two together.

use yumen::prelude::*;

/// Logs in; everything else asks for it. Answered with [`Welcome`].
pub(crate) const LOGIN: i32 = 1;
/// Enters a room, which is made if there is none of that name. Answered with [`Room`].
pub(crate) const JOIN: i32 = 2;
/// Leaves a room. Answered with [`Number`].
pub(crate) const LEAVE: i32 = 3;
/// Says something in a room. Answered with [`Number`].
pub(crate) const SAY: i32 = 4;
/// Asks who is in a room. Answered with [`Room`].
pub(crate) const MEMBERS: i32 = 5;
/// Closes a room; only who made it may. Answered with [`Number`].
pub(crate) const DISMISS: i32 = 6;
/// Pushed to everybody in a room: [`News`].
pub(crate) const NEWS: i32 = 100;

/// Status code: the room has its most members.
pub(crate) const ROOM_FULL: Code = Code(2001);
/// Status code: whoever asks is not in that room.
pub(crate) const NOT_A_MEMBER: Code = Code(2002);

/// Who comes. A game checks a password or a ticket here; this one believes the name.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Login {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// Who came, and the rooms that the same user was in on another connection.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Welcome {
    #[prost(int64, tag = "1")]
    pub(crate) user: i64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) rooms: Vec<Room>,
}

/// The room that is meant: the body of join, leave, members and dismiss.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Which {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
}

/// A room as it is now.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Room {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    /// Of the last news so far: whoever has just joined gets those from the next one on.
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    #[prost(string, repeated, tag = "3")]
    pub(crate) members: Vec<String>,
}

/// Something to say.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Say {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
}

/// Which news the request has become.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Number {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
}

/// What has happened in a room. Numbers count up by one in each room, so a gap is a loss.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct News {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    #[prost(enumeration = "What", tag = "3")]
    pub(crate) what: i32,
    /// The name of who did it.
    #[prost(string, tag = "4")]
    pub(crate) who: String,
    /// What was said; empty for other news.
    #[prost(string, tag = "5")]
    pub(crate) text: String,
}

/// What kind of news it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum What {
    Said = 0,
    Joined = 1,
    Left = 2,
    Dismissed = 3,
}

/// Longest name of a user or a room, in bytes.
const NAME_MAX: usize = 40;
/// Longest text, in bytes.
const TEXT_MAX: usize = 1000;

fn name(field: &'static str, name: &str) -> Result<(), Invalid> {
    match name {
        "" => Err(Invalid::new(field, "must not be empty")),
        name if name.len() > NAME_MAX => Err(Invalid::new(field, "is longer than 40 bytes")),
        name if name.trim() != name || name.contains(char::is_control) => {
            Err(Invalid::new(field, "begins or ends with a blank, or has control characters"))
        }
        _ => Ok(()),
    }
}

impl Validate for Login {
    fn validate(&self) -> Result<(), Invalid> {
        name("name", &self.name)
    }
}

impl Validate for Which {
    fn validate(&self) -> Result<(), Invalid> {
        name("room", &self.room)
    }
}

impl Validate for Say {
    fn validate(&self) -> Result<(), Invalid> {
        match self.text.len() {
            0 => Err(Invalid::new("text", "must not be empty")),
            1..=TEXT_MAX => name("room", &self.room),
            _ => Err(Invalid::new("text", "is longer than 1000 bytes")),
        }
    }
}
