//! Client packets: bytes in, packets out, and back. A decoded packet borrows from the bytes read.
//!
//! No sockets, no clock and, on reading, no allocation at all. Layout, in the byte order of
//! [`Layout::order`]:
//!
//! ```text
//! size: u32 | header: u8 | route: i8/i16/i32 | seq: none/i8/i16/i32 | body     data packet
//! size: u32 | header: u8 | tail                                                control packet
//! ```
//!
//! `size` counts the bytes behind itself. Bit 7 of the header says "control", the other seven are
//! its kind (0 is the heartbeat), or the flags of a data packet. A packet of size 0 is allowed and
//! says nothing but "still here". Both ends must be configured alike: nothing is negotiated.

mod guess;

pub use guess::{Guess, Keys};

use crate::{
    error::{WireError, len_u32},
    id::RouteId,
};

const SIZE_LEN: usize = 4;
const HEADER_LEN: usize = 1;
const CONTROL: u8 = 0x80;

/// Longest tail of a control packet that is accepted however small the data packets are, in bytes.
pub const CONTROL_TAIL_MAX: usize = 1024;

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// The most significant one. The default.
    #[default]
    Big,
    /// The least significant one.
    Little,
}

/// Width of a signed integer field on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    One,
    /// Two bytes. The default.
    #[default]
    Two,
    /// Four bytes.
    Four,
}

impl Width {
    /// The width of that many bytes; `None` unless 1, 2 or 4.
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            _ => None,
        }
    }

    /// How many bytes the field has.
    pub const fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    fn take(self, order: ByteOrder, buf: &mut &[u8]) -> Option<i32> {
        match self {
            Self::One => take::<1>(buf).map(|b| i8::from_be_bytes(b).into()),
            Self::Two => take::<2>(buf).map(|b| match order {
                ByteOrder::Big => i16::from_be_bytes(b).into(),
                ByteOrder::Little => i16::from_le_bytes(b).into(),
            }),
            Self::Four => take::<4>(buf).map(|b| match order {
                ByteOrder::Big => i32::from_be_bytes(b),
                ByteOrder::Little => i32::from_le_bytes(b),
            }),
        }
    }

    fn check(self, value: i32) -> Result<(), WireError> {
        let fits = match self {
            Self::One => i8::try_from(value).is_ok(),
            Self::Two => i16::try_from(value).is_ok(),
            Self::Four => true,
        };
        if fits { Ok(()) } else { Err(WireError::FieldOverflow { value, width: self }) }
    }

    /// Appends the low bytes of a value that [`Width::check`] has let through.
    fn put(self, order: ByteOrder, value: i32, out: &mut Vec<u8>) {
        match order {
            ByteOrder::Big => {
                let [a, b, c, d] = value.to_be_bytes();
                match self {
                    Self::One => out.push(d),
                    Self::Two => out.extend_from_slice(&[c, d]),
                    Self::Four => out.extend_from_slice(&[a, b, c, d]),
                }
            }
            ByteOrder::Little => {
                let [a, b, c, d] = value.to_le_bytes();
                match self {
                    Self::One => out.push(a),
                    Self::Two => out.extend_from_slice(&[a, b]),
                    Self::Four => out.extend_from_slice(&[a, b, c, d]),
                }
            }
        }
    }
}

/// How client packets are laid out, and how large their bodies may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Byte order of every number, the size field included. Default: big-endian.
    pub order: ByteOrder,
    /// Width of the route field. Default: two bytes.
    pub route: Width,
    /// Width of the sequence field; `None` leaves the field out. Default: two bytes.
    pub seq: Option<Width>,
    /// Largest body that is sent, in bytes. Default: 64 KiB.
    pub body_max: usize,
    /// Largest body that is accepted, in bytes. Default: 64 KiB.
    pub receive_max: usize,
    /// Whether the heartbeats we send carry our time. Default: no. Received ones may always.
    pub heartbeat_time: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            order: ByteOrder::Big,
            route: Width::Two,
            seq: Some(Width::Two),
            body_max: 64 * 1024,
            receive_max: 64 * 1024,
            heartbeat_time: false,
        }
    }
}

/// An application message, with its whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The low seven bits of the header. Bit 0 is a status reply, if both sides announced that.
    pub flags: u8,
    /// Which handler the message is for.
    pub route: RouteId,
    /// Pairs a reply with its request; 0 when nobody waits, or the layout has no such field.
    pub seq: i32,
    /// The encoded, perhaps encrypted, message.
    pub body: &'a [u8],
    /// The whole packet, its size field included.
    pub raw: &'a [u8],
}

/// One decoded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A packet of size 0: nothing but a sign of life.
    Empty,
    /// A control packet.
    Control {
        /// 0 for a heartbeat; the other kinds are in [`crate::extension::kind`].
        kind: u8,
        /// What follows the header. For a heartbeat perhaps the sender's time; of no consequence.
        tail: &'a [u8],
    },
    /// A message.
    Data(Data<'a>),
}

impl Layout {
    /// Length of the fixed part of a data packet behind the size field, in bytes.
    pub fn head_len(&self) -> usize {
        let seq = self.seq.map_or(0, Width::bytes);
        HEADER_LEN.saturating_add(self.route.bytes()).saturating_add(seq)
    }

    /// Length of the largest packet accepted, its size field included, in bytes.
    pub fn packet_max(&self) -> usize {
        SIZE_LEN.saturating_add(self.size_max())
    }

    fn data_max(&self) -> usize {
        self.head_len().saturating_add(self.receive_max)
    }

    fn size_max(&self) -> usize {
        self.data_max().max(HEADER_LEN.saturating_add(CONTROL_TAIL_MAX))
    }

    fn size_field(&self, bytes: [u8; SIZE_LEN]) -> u32 {
        match self.order {
            ByteOrder::Big => u32::from_be_bytes(bytes),
            ByteOrder::Little => u32::from_le_bytes(bytes),
        }
    }

    /// Length of the packet that `buf` starts with, its size field included; `None` if `buf` is too
    /// short to say.
    ///
    /// # Errors
    /// [`WireError::TooLarge`].
    pub fn packet_len(&self, buf: &[u8]) -> Result<Option<usize>, WireError> {
        let Some(prefix) = buf.first_chunk::<SIZE_LEN>() else { return Ok(None) };
        let size = self.size_field(*prefix);
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        // Compared before anything is added to it or allocated for it: W-09.
        if len > self.size_max() {
            return Err(WireError::TooLarge { size, max: len_u32(self.size_max()) });
        }
        Ok(Some(SIZE_LEN.saturating_add(len)))
    }

    /// Length of the first packet of our own, outgoing `bytes`, if it is there as a whole.
    ///
    /// No limit applies: a packet that was made by the other end of a link has passed its own.
    pub fn outgoing_len(&self, bytes: &[u8]) -> Option<usize> {
        let size = usize::try_from(self.size_field(*bytes.first_chunk()?)).ok()?;
        let len = SIZE_LEN.checked_add(size)?;
        (len <= bytes.len()).then_some(len)
    }

    /// The route of one whole data packet, read without looking at anything else of it. `None` for
    /// what is no data packet.
    pub fn route_of(&self, packet: &[u8]) -> Option<RouteId> {
        let (&header, mut rest) = packet.get(SIZE_LEN..)?.split_first()?;
        if header & CONTROL != 0 {
            return None;
        }
        self.route.take(self.order, &mut rest).map(RouteId)
    }

    /// Takes the next whole packet off the front of `buf`, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`WireError::TooLarge`]: `buf` is left as it was, and nothing behind can be read.
    /// [`WireError::TooShort`]: that packet was taken off, and the caller may go on.
    pub fn decode<'a>(&self, buf: &mut &'a [u8]) -> Result<Option<Packet<'a>>, WireError> {
        let Some(len) = self.packet_len(buf)? else { return Ok(None) };
        let Some((packet, rest)) = buf.split_at_checked(len) else { return Ok(None) };
        let result = self.parse(packet);
        if !matches!(result, Err(WireError::TooLarge { .. })) {
            *buf = rest;
        }
        result.map(Some)
    }

    /// The packet of a message-based transport, where one message is exactly one packet.
    ///
    /// # Errors
    /// [`WireError::NotOnePacket`] if the size field does not agree with the length of `message`;
    /// otherwise as [`Layout::decode`].
    pub fn decode_message<'a>(&self, message: &'a [u8]) -> Result<Packet<'a>, WireError> {
        if self.outgoing_len(message) != Some(message.len()) {
            return Err(WireError::NotOnePacket { len: len_u32(message.len()) });
        }
        self.packet_len(message)?;
        self.parse(message)
    }

    /// Reads one whole packet whose size field is known to be right.
    fn parse<'a>(&self, raw: &'a [u8]) -> Result<Packet<'a>, WireError> {
        let Some((&header, mut body)) = raw.get(SIZE_LEN..).and_then(<[u8]>::split_first) else {
            return Ok(Packet::Empty);
        };
        if header & CONTROL != 0 {
            return Ok(Packet::Control { kind: header & !CONTROL, tail: body });
        }
        let size = raw.len().saturating_sub(SIZE_LEN);
        // Only now is it known to be data: a control packet may be the longer of the two.
        if size > self.data_max() {
            return Err(WireError::TooLarge { size: len_u32(size), max: len_u32(self.data_max()) });
        }
        let short = WireError::TooShort { size: len_u32(size) };
        let route = self.route.take(self.order, &mut body).ok_or(short)?;
        let seq = match self.seq {
            Some(width) => width.take(self.order, &mut body).ok_or(short)?,
            None => 0,
        };
        Ok(Packet::Data(Data { flags: header, route: RouteId(route), seq, body, raw }))
    }

    /// Appends a data packet to `out`. Where the layout has no sequence field, `seq` is dropped.
    ///
    /// # Errors
    /// [`WireError::FieldOverflow`] or [`WireError::TooLarge`]; `out` is left as it was.
    pub fn encode_data(
        &self,
        route: RouteId,
        seq: i32,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.encode_flagged(0, route, seq, body, out)
    }

    /// Appends a data packet with the low seven bits of `flags` in its header.
    ///
    /// # Errors
    /// As [`Layout::encode_data`].
    pub fn encode_flagged(
        &self,
        flags: u8,
        route: RouteId,
        seq: i32,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.encode_head(flags, route, seq, body.len(), out)?;
        out.extend_from_slice(body);
        Ok(())
    }

    /// Appends all of a data packet but the `body_len` bytes of its body, which the caller appends.
    ///
    /// For bodies that are encoded straight into `out`, when their length is known before.
    ///
    /// # Errors
    /// As [`Layout::encode_data`].
    pub fn encode_head(
        &self,
        flags: u8,
        route: RouteId,
        seq: i32,
        body_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.route.check(route.0)?;
        if let Some(width) = self.seq {
            width.check(seq)?;
        }
        let max = len_u32(self.head_len().saturating_add(self.body_max));
        let size = len_u32(self.head_len().saturating_add(body_len));
        if body_len > self.body_max || size == u32::MAX {
            return Err(WireError::TooLarge { size, max });
        }
        out.reserve(self.head_len().saturating_add(SIZE_LEN).saturating_add(body_len));
        self.put_size(size, flags & !CONTROL, out);
        self.route.put(self.order, route.0, out);
        if let Some(width) = self.seq {
            width.put(self.order, seq, out);
        }
        Ok(())
    }

    /// Appends a control packet; `kind` is 0 to 127.
    pub fn encode_control(&self, kind: u8, tail: &[u8], out: &mut Vec<u8>) {
        let size = len_u32(HEADER_LEN.saturating_add(tail.len()));
        self.put_size(size, CONTROL | kind, out);
        out.extend_from_slice(tail);
    }

    /// Appends a heartbeat, with `unix_ns` (nanoseconds since 1970) if the layout says so.
    pub fn encode_heartbeat(&self, unix_ns: i64, out: &mut Vec<u8>) {
        let time = match self.order {
            ByteOrder::Big => unix_ns.to_be_bytes(),
            ByteOrder::Little => unix_ns.to_le_bytes(),
        };
        self.encode_control(0, if self.heartbeat_time { &time } else { &[] }, out);
    }

    fn put_size(&self, size: u32, header: u8, out: &mut Vec<u8>) {
        let [a, b, c, d] = match self.order {
            ByteOrder::Big => size.to_be_bytes(),
            ByteOrder::Little => size.to_le_bytes(),
        };
        out.extend_from_slice(&[a, b, c, d, header]);
    }
}

fn take<const N: usize>(buf: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = buf.split_first_chunk::<N>()?;
    *buf = rest;
    Some(*field)
}
