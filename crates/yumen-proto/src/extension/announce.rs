//! The announcement: a side says that it is one of ours, and which extensions it understands.
//!
//! Looks like a heartbeat to everybody else. A field whose type is unknown is skipped, so that new
//! ones can be added; a known one of the wrong length spoils the announcement, which is then no
//! more than a heartbeat.

use super::{Features, clip, kind};
use crate::{error::WireError, read::Reader};

const MAGIC: [u8; 4] = *b"YUME";
const VERSION: u8 = 1;

/// Longest session token, in bytes.
pub const TOKEN_MAX: usize = 64;

/// Longest client name that is written, in bytes.
const CLIENT_MAX: usize = 128;

mod field {
    pub(super) const TOKEN: u8 = 1;
    pub(super) const HEARTBEAT_MS: u8 = 2;
    pub(super) const MESSAGE_MAX: u8 = 3;
    pub(super) const TIME_MS: u8 = 4;
    pub(super) const RESUME_WINDOW: u8 = 5;
    pub(super) const CLIENT: u8 = 6;
}

/// What a side understands, and what it wants the other to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announce<'a> {
    /// The extensions offered; in a gate's answer, those both sides offer.
    pub features: Features,
    /// Token to resume this session with; at most [`TOKEN_MAX`] bytes, longer ones are left out.
    pub token: Option<&'a [u8]>,
    /// Time between two heartbeats, in milliseconds; 0 when there are none.
    pub heartbeat_ms: Option<u32>,
    /// Largest body this side accepts, in bytes.
    pub message_max: Option<u32>,
    /// Time of the sender, in milliseconds since 1970.
    pub time_ms: Option<u64>,
    /// For how long and how much a broken session can be resumed.
    pub resume_window: Option<ResumeWindow>,
    /// Name and version of the client; at most 128 bytes, longer ones are cut.
    pub client: Option<&'a str>,
}

/// For how long and how much a broken session can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeWindow {
    /// For how many seconds.
    pub seconds: u16,
    /// How many bytes are kept for replaying.
    pub bytes: u32,
}

impl<'a> Announce<'a> {
    /// Reads the tail of a control packet.
    ///
    /// # Errors
    /// [`WireError::BadTail`].
    pub fn parse(tail: &'a [u8]) -> Result<Self, WireError> {
        Self::read(tail).ok_or(WireError::BadTail { kind: kind::ANNOUNCE })
    }

    fn read(tail: &'a [u8]) -> Option<Self> {
        let mut tail = Reader(tail);
        let ours = tail.array()? == MAGIC && tail.u8()? == VERSION;
        if !ours {
            return None;
        }
        let mut announce = Self { features: Features::from_bits(tail.u32()?), ..Self::default() };
        while let Some(name) = tail.u8() {
            let len = tail.u16()?;
            let value = Reader(tail.bytes(len.into())?);
            announce.read_field(name, value)?;
        }
        Some(announce)
    }

    fn read_field(&mut self, name: u8, mut value: Reader<'a>) -> Option<()> {
        match name {
            field::TOKEN => {
                let token = value.rest();
                self.token = Some((token.len() <= TOKEN_MAX).then_some(token)?);
            }
            field::HEARTBEAT_MS => self.heartbeat_ms = Some(value.u32()?),
            field::MESSAGE_MAX => self.message_max = Some(value.u32()?),
            field::TIME_MS => self.time_ms = Some(value.u64()?),
            field::RESUME_WINDOW => {
                let (seconds, bytes) = (value.u16()?, value.u32()?);
                self.resume_window = Some(ResumeWindow { seconds, bytes });
            }
            field::CLIENT => self.client = Some(value.text()?),
            _ => return Some(()),
        }
        value.end(())
    }

    /// Appends the tail.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.features.bits().to_be_bytes());
        if let Some(token) = self.token.filter(|token| token.len() <= TOKEN_MAX) {
            put(field::TOKEN, token, out);
        }
        if let Some(interval) = self.heartbeat_ms {
            put(field::HEARTBEAT_MS, &interval.to_be_bytes(), out);
        }
        if let Some(max) = self.message_max {
            put(field::MESSAGE_MAX, &max.to_be_bytes(), out);
        }
        if let Some(time) = self.time_ms {
            put(field::TIME_MS, &time.to_be_bytes(), out);
        }
        if let Some(ResumeWindow { seconds, bytes }) = self.resume_window {
            let ([a, b], [c, d, e, f]) = (seconds.to_be_bytes(), bytes.to_be_bytes());
            put(field::RESUME_WINDOW, &[a, b, c, d, e, f], out);
        }
        if let Some(client) = self.client {
            put(field::CLIENT, clip(client, CLIENT_MAX).as_bytes(), out);
        }
    }
}

/// Appends one field. Every value here is far shorter than its length field allows.
fn put(name: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(name);
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(value);
}
