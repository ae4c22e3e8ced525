//! Frames of a link: a request, its reply, or a heartbeat.
//!
//! ```text
//! size: u32 | header: u8 | route: u8 | seq: u64 | payload
//! ```
//!
//! `size` counts the bytes behind itself. Bit 7 of the header makes a heartbeat of whatever follows;
//! bit 6 closes the connections a push went to; bit 5 is ours and marks a reply, where requests and
//! replies travel the same way. The route is a command's code.

use super::{
    Command, HEARTBEAT_BIT, State, code,
    table::{self, Answer},
};
use crate::read::Reader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const SIZE_LEN: usize = 4;
/// Behind the size field.
const HEAD_LEN: usize = 10;
/// With the size field.
const FRAME_HEAD_LEN: usize = 14;
const DISCONNECT_BIT: u8 = 0x40;
const REPLY_BIT: u8 = 0x20;

/// A heartbeat as it is written.
pub const HEARTBEAT: [u8; 5] = [0, 0, 0, 1, HEARTBEAT_BIT];

/// What travels in one direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Both, between two of our instances.
    Duplex,
    /// Requests only: from the dialler, where one side is due.
    Requests,
    /// Replies only: to the dialler, where one side is due.
    Replies,
}

/// Why bytes are no frame, or a frame cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The frame is larger than allowed. Nothing after it can be read.
    #[error("frame of {size} bytes is over the limit of {max}")]
    TooLarge {
        /// Value of the size field, in bytes.
        size: usize,
        /// Largest value allowed.
        max: usize,
    },
    /// The frame cannot hold its head. The peer is broken; nothing after it is to be trusted.
    #[error("frame of {size} bytes is too short for its head")]
    TooShort {
        /// Value of the size field, in bytes.
        size: usize,
    },
    /// Nobody knows that command. The next frame can be read.
    #[error("unknown command {route}")]
    Unknown {
        /// Its code.
        route: u8,
        /// Its sequence number.
        seq: u64,
    },
    /// The payload is not of the form that its code demands. The next frame can be read.
    #[error("malformed command {route}")]
    Malformed {
        /// The code.
        route: u8,
        /// Its sequence number.
        seq: u64,
    },
    /// A list of targets or the name of a channel does not fit its field; or a reply is not of the
    /// kind that its code demands. Only on writing.
    #[error("command {route} cannot be written: a part of it does not fit")]
    Unfit {
        /// The code.
        route: u8,
    },
    /// That frame does not travel this way: a command of ours to a due peer, or a reply where
    /// requests go. Only on writing.
    #[error("command {route} does not travel this way")]
    WrongWay {
        /// The code.
        route: u8,
    },
}

impl LinkError {
    /// Whether the connection has to be closed; if not, the frame was skipped.
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooShort { .. })
    }
}

/// What a reply carries behind its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing. With a code other than [`code::OK`] it will do for every command.
    Done,
    /// A client's IPv4 address; `None` if it has none. From due 0.0.0.0 for a client with IPv6.
    Ip(Option<Ipv4Addr>),
    /// A client's address and port; `None` if it is not known.
    Address(Option<SocketAddr>),
    /// How many there are, or were reached.
    Total(u64),
    /// Whether the client is connected.
    Online(bool),
    /// The state of the instance.
    State(State),
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Asks for something.
    Request {
        /// Pairs the reply with it; 0 if none is wanted.
        seq: u64,
        /// What is asked.
        command: Command<'a>,
    },
    /// Answers a request.
    Reply {
        /// The sequence number of the request.
        seq: u64,
        /// The code of the command.
        route: u8,
        /// One of [`code`].
        code: u16,
        /// The answer.
        reply: Reply,
    },
    /// Says "still here".
    Heartbeat,
}

impl<'a> Frame<'a> {
    /// Length of what [`Frame::encode`] appends, in bytes.
    pub fn wire_len(&self) -> usize {
        let payload = match self {
            Self::Heartbeat => return HEARTBEAT.len(),
            Self::Request { command, .. } => command.payload_len(),
            Self::Reply { route, code, reply, .. } => reply.payload(*route, *code).len(),
        };
        FRAME_HEAD_LEN.saturating_add(payload)
    }

    /// Appends the frame, to one of our own.
    ///
    /// # Errors
    /// [`LinkError::Unfit`]; `out` is left as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.encode_as(Flow::Duplex, out)
    }

    /// Appends the frame, in the form for that flow.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] or [`LinkError::WrongWay`]; `out` is left as it was.
    pub fn encode_as(&self, flow: Flow, out: &mut Vec<u8>) -> Result<(), LinkError> {
        match self {
            Self::Heartbeat => out.extend_from_slice(&HEARTBEAT),
            Self::Request { seq, command } => {
                let route = command.code();
                let ours = route >= table::OURS && flow != Flow::Duplex;
                if ours || flow == Flow::Replies {
                    return Err(LinkError::WrongWay { route });
                }
                if !command.fits() {
                    return Err(LinkError::Unfit { route });
                }
                let header = if command.disconnects() { DISCONNECT_BIT } else { 0 };
                put_head(header, route, *seq, command.payload_len(), out)?;
                command.encode(out);
            }
            Self::Reply { seq, route, code, reply } => {
                let header = match flow {
                    Flow::Duplex => REPLY_BIT,
                    Flow::Replies => 0,
                    Flow::Requests => return Err(LinkError::WrongWay { route: *route }),
                };
                if !reply.fits(*route, *code) {
                    return Err(LinkError::Unfit { route: *route });
                }
                let payload = reply.payload(*route, *code);
                put_head(header, *route, *seq, payload.len(), out)?;
                payload.put(out);
            }
        }
        Ok(())
    }

    /// Takes the next whole frame of one of our own off the front of `buf`, or `None` if more bytes
    /// are needed. `max` is the largest value accepted of the size field.
    ///
    /// # Errors
    /// [`LinkError::is_fatal`] says whether to go on: if so the frame was taken off, otherwise `buf`
    /// is left as it was.
    pub fn decode(buf: &mut &'a [u8], max: usize) -> Result<Option<Self>, LinkError> {
        Self::decode_as(Flow::Duplex, buf, max)
    }

    /// As [`Frame::decode`], in the form for that flow.
    ///
    /// # Errors
    /// As [`Frame::decode`].
    pub fn decode_as(
        flow: Flow,
        buf: &mut &'a [u8],
        max: usize,
    ) -> Result<Option<Self>, LinkError> {
        let Some(prefix) = buf.first_chunk::<SIZE_LEN>() else { return Ok(None) };
        let size = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        // Compared before anything is added to it or allocated for it: W-09.
        if size > max {
            return Err(LinkError::TooLarge { size, max });
        }
        if size == 0 {
            return Err(LinkError::TooShort { size });
        }
        let Some(&header) = buf.get(SIZE_LEN) else { return Ok(None) };
        // One byte and no heartbeat killed readers before us: W-09.
        if header & HEARTBEAT_BIT == 0 && size < HEAD_LEN {
            return Err(LinkError::TooShort { size });
        }
        let whole = buf.split_at_checked(SIZE_LEN.saturating_add(size));
        let Some((frame, rest)) = whole else { return Ok(None) };
        *buf = rest;
        if header & HEARTBEAT_BIT != 0 {
            return Ok(Some(Self::Heartbeat));
        }
        Self::parse(flow, frame).map(Some)
    }

    /// Reads a whole frame that is no heartbeat.
    fn parse(flow: Flow, frame: &'a [u8]) -> Result<Self, LinkError> {
        let Some((head, payload)) = frame.split_first_chunk::<FRAME_HEAD_LEN>() else {
            return Err(LinkError::TooShort { size: frame.len().saturating_sub(SIZE_LEN) });
        };
        let ([_, _, _, _, header, route, seq @ ..], payload) = (*head, Reader(payload));
        let seq = u64::from_be_bytes(seq);
        let due = flow != Flow::Duplex;
        let Some(row) = table::row(route).filter(|_| !due || route < table::OURS) else {
            return Err(LinkError::Unknown { route, seq });
        };
        let malformed = LinkError::Malformed { route, seq };
        let is_reply = match flow {
            Flow::Duplex => header & REPLY_BIT != 0,
            Flow::Requests => false,
            Flow::Replies => true,
        };
        if is_reply {
            let (code, reply) = Reply::read(row.answer, payload).ok_or(malformed)?;
            return Ok(Self::Reply { seq, route, code, reply });
        }
        let disconnects = header & DISCONNECT_BIT != 0;
        let command = Command::decode(route, disconnects, payload).ok_or(malformed)?;
        Ok(Self::Request { seq, command })
    }
}

/// A reply's code and value, as they are written. The longest is an IPv6 address with its port.
struct Payload {
    bytes: [u8; 21],
    len: usize,
}

impl Payload {
    fn new(code: u16) -> Self {
        let mut payload = Self { bytes: [0; 21], len: 0 };
        payload.push(&code.to_be_bytes());
        payload
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(place) = room.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.len = self.len.saturating_add(bytes.len());
        }
    }

    fn len(&self) -> usize {
        self.len
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes.get(..self.len).unwrap_or_default());
    }
}

impl Reply {
    /// Whether a command of that code is answered with this.
    fn fits(self, route: u8, code: u16) -> bool {
        let Some(row) = table::row(route) else { return false };
        match self {
            Self::Done => code != code::OK || row.answer == Answer::Done,
            Self::Ip(_) => row.answer == Answer::Ip,
            Self::Address(_) => row.answer == Answer::Address,
            Self::Total(_) => row.answer == Answer::Total,
            Self::Online(_) => row.answer == Answer::Online,
            Self::State(_) => row.answer == Answer::State,
        }
    }

    /// As due writes it: addresses and totals only with success, and a total of zero not at all;
    /// yes, no and states always.
    fn payload(self, route: u8, code: u16) -> Payload {
        let mut payload = Payload::new(code);
        let ok = code == code::OK;
        match self {
            Self::Ip(Some(ip)) if ok => payload.push(&ip.octets()),
            Self::Address(Some(address)) if ok => {
                match address.ip() {
                    IpAddr::V4(ip) => {
                        payload.push(&[4]);
                        payload.push(&ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        payload.push(&[6]);
                        payload.push(&ip.octets());
                    }
                }
                payload.push(&address.port().to_be_bytes());
            }
            Self::Total(total) if ok && total != 0 => payload.push(&total.to_be_bytes()),
            Self::Online(online) => payload.push(&[u8::from(online)]),
            Self::State(state) => payload.push(&[state.number()]),
            Self::Done => {
                let answer = table::row(route).map(|row| row.answer);
                if matches!(answer, Some(Answer::Online | Answer::State)) {
                    payload.push(&[0]);
                }
            }
            Self::Ip(_) | Self::Address(_) | Self::Total(_) => {}
        }
        payload
    }

    /// Addresses and totals are read in the long and in the short form, whatever the code.
    fn read(answer: Answer, mut input: Reader<'_>) -> Option<(u16, Self)> {
        let code = input.u16()?;
        let short = input.0.is_empty();
        let reply = match answer {
            Answer::Done => Self::Done,
            Answer::Ip if short => Self::Ip(None),
            Answer::Ip => Self::Ip(Some(input.u32()?.into())),
            Answer::Address if short => Self::Address(None),
            Answer::Address => Self::Address(Some(read_address(&mut input)?)),
            Answer::Total if short => Self::Total(0),
            Answer::Total => Self::Total(input.u64()?),
            Answer::Online => Self::Online(input.u8()? == 1),
            Answer::State => Self::State(State::from_number(input.u8()?)?),
        };
        input.end((code, reply))
    }
}

fn read_address(input: &mut Reader<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = match input.u8()? {
        4 => input.array::<4>()?.into(),
        6 => input.array::<16>()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, input.u16()?))
}

fn put_head(
    header: u8,
    route: u8,
    seq: u64,
    payload_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), LinkError> {
    let size = HEAD_LEN.saturating_add(payload_len);
    let field = u32::try_from(size).map_err(|_| LinkError::Unfit { route })?;
    out.reserve(SIZE_LEN.saturating_add(size));
    let ([a, b, c, d], [e, f, g, h, i, j, k, l]) = (field.to_be_bytes(), seq.to_be_bytes());
    out.extend_from_slice(&[a, b, c, d, header, route, e, f, g, h, i, j, k, l]);
    Ok(())
}
