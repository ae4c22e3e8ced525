//! What two of our instances tell each other before the first command: control frames.
//!
//! To everybody else each of them is a heartbeat. A field of unknown type is skipped, so that new ones
//! can be added; a known one of the wrong length spoils the announcement.

use super::HEARTBEAT_BIT;
use crate::{flags::wire_flags, read::Reader};

const MAGIC: [u8; 4] = *b"YUME";
const VERSION: u8 = 1;

/// Length of the number used once that each side makes up, in bytes.
pub const NONCE_LEN: usize = 32;

/// Length of a proof, in bytes.
pub const PROOF_LEN: usize = 32;

/// Longest instance id and longest name of a cluster, in bytes.
pub const NAME_MAX: usize = 200;

/// Largest control frame between two of ours, as the value of its size field.
pub(super) const CONTROL_MAX: usize = 1024;

/// Kinds of control frames.
pub(super) mod kind {
    pub(in crate::link) const ANNOUNCE: u8 = 1;
    pub(in crate::link) const PROOF: u8 = 2;
    pub(in crate::link) const CREDIT: u8 = 3;
    pub(in crate::link) const FAREWELL: u8 = 4;
    pub(in crate::link) const WELCOME: u8 = 5;
    pub(in crate::link) const LIFE: u8 = 6;
}

mod field {
    pub(super) const ID: u8 = 1;
    pub(super) const CLUSTER: u8 = 2;
    pub(super) const WINDOW: u8 = 3;
    pub(super) const FRAME_MAX: u8 = 4;
    pub(super) const PROOF: u8 = 5;
    pub(super) const LIFE: u8 = 6;
    pub(super) const DIAL: u8 = 7;
}

wire_flags! {
    /// What two of our instances can agree on. Unknown bits are kept while reading.
    LinkFeatures {
        /// Both sides prove that they know the cluster's secret.
        AUTHENTICATION = 0,
        /// One lane carries all data, in order.
        DATA_LANE = 1,
        /// A lane of its own for control.
        CONTROL_LANE = 2,
        /// The data lane is bounded by credits.
        CREDITS = 3,
        /// Commands above due's.
        COMMANDS = 4,
        /// Deadlines and traces on commands. Reserved.
        DEADLINES = 5,
    }
}

/// What a connection between two of our instances carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What has to keep its order: messages, replies, pushes, events.
    #[default]
    Data,
    /// What must not wait behind data: binds, states, kicks, drains.
    Control,
}

impl Lane {
    const fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Control => 1,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Data),
            1 => Some(Self::Control),
            _ => None,
        }
    }
}

/// What tells lives, processes and dials apart. 0 stands for "not known" everywhere, and is not announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkMark {
    /// The life of the instance, as the locator counts them.
    pub life: u64,
    /// A number made up at the start of the instance: two processes under one id differ in it.
    pub run: u64,
    /// A number made up for this dial; the connections for both lanes carry the same.
    pub dial: u64,
    /// The dial of the last link between the two that the peer dialled and the dialler saw open. So the
    /// peer can tell a dial that crossed its own from one that follows a loss it did not see.
    pub last: u64,
}

/// What a side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAnnounce<'a> {
    /// What it offers; in the answer, what both offer.
    pub features: LinkFeatures,
    /// A number that it never used before.
    pub nonce: [u8; NONCE_LEN],
    /// What the connection is for. The dialler says; the answer repeats it.
    pub lane: Lane,
    /// Its instance id; at most [`NAME_MAX`] bytes.
    pub id: &'a str,
    /// Its cluster; at most [`NAME_MAX`] bytes.
    pub cluster: &'a str,
    /// How much it lets the peer have under way on the data lane, in bytes of whole frames.
    pub window: u32,
    /// Largest frame it accepts, as the value of the size field.
    pub frame_max: u32,
    /// Which life and process it is; from the dialler, also which dial.
    pub mark: LinkMark,
    /// That it knows the secret; only in the answer, the dialler sends its own behind it.
    pub proof: Option<[u8; PROOF_LEN]>,
}

impl<'a> LinkAnnounce<'a> {
    /// Reads the tail of a control frame; `None` if it is no announcement of ours.
    pub fn parse(tail: &'a [u8]) -> Option<Self> {
        let mut tail = Reader(tail);
        if tail.array()? != MAGIC || tail.u8()? != VERSION {
            return None;
        }
        let features = LinkFeatures::from_bits(tail.u32()?);
        let (nonce, lane) = (tail.array()?, Lane::from_number(tail.u8()?)?);
        let (id, cluster, window, frame_max) = ("", "", 0, 0);
        let mark = LinkMark::default();
        let mut read =
            Self { features, nonce, lane, id, cluster, window, frame_max, mark, proof: None };
        while let Some(name) = tail.u8() {
            let len = tail.u16()?;
            read.read_field(name, Reader(tail.bytes(len.into())?))?;
        }
        Some(read)
    }

    fn read_field(&mut self, name: u8, mut value: Reader<'a>) -> Option<()> {
        match name {
            field::ID => self.id = value.text().filter(|id| id.len() <= NAME_MAX)?,
            field::CLUSTER => self.cluster = value.text().filter(|id| id.len() <= NAME_MAX)?,
            field::WINDOW => self.window = value.u32()?,
            field::FRAME_MAX => self.frame_max = value.u32()?,
            field::PROOF => self.proof = Some(value.array()?),
            field::LIFE => self.mark.life = value.u64()?,
            field::DIAL => {
                (self.mark.run, self.mark.dial) = (value.u64()?, value.u64()?);
                self.mark.last = value.u64()?;
            }
            _ => return Some(()),
        }
        value.end(())
    }

    /// Appends the control frame. Names longer than [`NAME_MAX`] are not announced.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut tail = Vec::with_capacity(CONTROL_MAX / 2);
        tail.extend_from_slice(&MAGIC);
        tail.push(VERSION);
        tail.extend_from_slice(&self.features.bits().to_be_bytes());
        tail.extend_from_slice(&self.nonce);
        tail.push(self.lane.number());
        for (name, value) in [(field::ID, self.id), (field::CLUSTER, self.cluster)] {
            if (1..=NAME_MAX).contains(&value.len()) {
                put(name, value.as_bytes(), &mut tail);
            }
        }
        put(field::WINDOW, &self.window.to_be_bytes(), &mut tail);
        put(field::FRAME_MAX, &self.frame_max.to_be_bytes(), &mut tail);
        if let Some(proof) = &self.proof {
            put(field::PROOF, proof, &mut tail);
        }
        let LinkMark { life, run, dial, last } = self.mark;
        if life != 0 {
            put(field::LIFE, &life.to_be_bytes(), &mut tail);
        }
        if run != 0 {
            put(field::DIAL, &[run, dial, last].map(u64::to_be_bytes).concat(), &mut tail);
        }
        control(kind::ANNOUNCE, &tail, out);
    }
}

/// Why a side leaves before anything broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Farewell {
    /// Both dialled, and the other connection stays.
    Duplicate,
    /// The instance stops.
    Leaving,
    /// Another live process has the dialler's id.
    IdTaken,
    /// Nothing was sent for long: no request follows, and the peer ends the stream when it is ready.
    Idle,
    /// The life that the dialler announced is over.
    LifeOver,
    /// A reason that this side does not know.
    Other(u16),
}

impl Farewell {
    const fn number(self) -> u16 {
        match self {
            Self::Duplicate => 1,
            Self::Leaving => 2,
            Self::IdTaken => 3,
            Self::Idle => 4,
            Self::LifeOver => 5,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Duplicate,
            2 => Self::Leaving,
            3 => Self::IdTaken,
            4 => Self::Idle,
            5 => Self::LifeOver,
            other => Self::Other(other),
        }
    }

    pub(super) fn parse(tail: &[u8]) -> Option<Self> {
        let mut tail = Reader(tail);
        tail.u16().map(Self::from_number)
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        control(kind::FAREWELL, &self.number().to_be_bytes(), out);
    }
}

pub(super) fn encode_proof(proof: &[u8; PROOF_LEN], out: &mut Vec<u8>) {
    control(kind::PROOF, proof, out);
}

pub(super) fn encode_credit(bytes: u32, out: &mut Vec<u8>) {
    control(kind::CREDIT, &bytes.to_be_bytes(), out);
}

pub(super) fn encode_welcome(out: &mut Vec<u8>) {
    control(kind::WELCOME, &[], out);
}

pub(super) fn encode_life(life: u64, out: &mut Vec<u8>) {
    control(kind::LIFE, &life.to_be_bytes(), out);
}

fn control(kind: u8, tail: &[u8], out: &mut Vec<u8>) {
    let size = u32::try_from(tail.len().saturating_add(1)).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.push(HEARTBEAT_BIT | kind);
    out.extend_from_slice(tail);
}

/// Appends one field. Every value here is far shorter than its length field allows.
fn put(name: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(name);
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(value);
}
