//! WebSocket between the socket and the machine: one packet per binary message.
//!
//! Frames are read by the library, from memory: the bytes come from the driver's scratch buffer and go
//! to the connection's downlink, so a WebSocket connection has the same reads, bounds and sweep as
//! any other. Text messages are ignored and are no sign of life; pings are answered.
//! It never compresses, and never touches the packets themselves.
//!
//! The library is given whole frames and never more, so between two messages it knows nothing and is
//! dropped: an idle WebSocket connection holds no buffer, whatever it has received.

mod forwarded;
pub mod handshake;

use crate::env::Dice;
use bytes::Bytes;
use handshake::{Options, Progress};
use std::{
    fmt,
    io::{self, Cursor, Read, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tungstenite::{
    Error, Message,
    protocol::{
        Role, WebSocketConfig, WebSocketContext,
        frame::{
            FrameHeader,
            coding::{Data, OpCode},
        },
    },
};
use yumen_proto::{
    conn::{CloseReason, HandshakeFault, Out},
    error::WireError,
};

/// Longest time from the connection to the end of the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The library's read buffer, while it is in the middle of a message.
const READ_BUFFER: usize = 4 * 1024;

/// The WebSocket state of one connection.
pub struct Link {
    state: State,
    /// Bytes that arrived and were not looked at, from `at` on.
    input: Vec<u8>,
    at: usize,
    /// Whether a whole message may be there, in `input` or read ahead by the library.
    unread: bool,
    course: Course,
    /// Framed bytes on their way to the socket.
    wire: Out,
    message_max: usize,
    /// Masks what a client sends; a server does not mask.
    dice: Option<Dice>,
    /// The peer is a proxy that is believed.
    is_forwarded: bool,
    /// Who is behind it, until somebody takes it.
    client: Option<Box<SocketAddr>>,
}

enum State {
    /// A server waits for the request.
    Greeting { options: Arc<Options>, until: Instant },
    /// A client waits for the answer to its request.
    Dialing { accept: String, until: Instant },
    /// The library, if it is in the middle of a message.
    Open(Option<Box<WebSocketContext>>),
    /// The handshake was refused, or a close frame went either way.
    Done,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Link {
    /// The server's end, before the handshake.
    pub fn server(options: &Arc<Options>, now: Instant) -> Self {
        let until = now.checked_add(HANDSHAKE_MAX).unwrap_or(now);
        let message_max = options.message_max;
        Self::new(State::Greeting { options: Arc::clone(options), until }, message_max, None)
    }

    /// The client's end: queues the request for `path` at `host`. Messages received may have up to
    /// `message_max` bytes.
    pub fn client(host: &str, path: &str, message_max: usize, now: Instant, dice: &Dice) -> Self {
        let until = now.checked_add(HANDSHAKE_MAX).unwrap_or(now);
        let (request, accept) = handshake::request(host, path, dice);
        let state = State::Dialing { accept, until };
        let mut link = Self::new(state, message_max, Some(dice.clone()));
        link.wire.buffer().extend_from_slice(request.as_bytes());
        link
    }

    fn new(state: State, message_max: usize, dice: Option<Dice>) -> Self {
        let (input, wire) = (Vec::new(), Out::default());
        let course = Course::default();
        let (is_forwarded, client) = (false, None);
        Self {
            state,
            input,
            at: 0,
            unread: false,
            course,
            wire,
            message_max,
            dice,
            is_forwarded,
            client,
        }
    }

    /// The same, for a connection from `peer`: if that is one of the proxies of the options, it is believed
    /// when it says who the client is.
    #[must_use]
    pub fn from_peer(mut self, peer: IpAddr) -> Self {
        if let State::Greeting { options, .. } = &self.state {
            self.is_forwarded = options.believes(peer);
        }
        self
    }

    /// The client behind the proxy, once, after the handshake. Port 0 where it is not known.
    pub(crate) fn take_client(&mut self) -> Option<SocketAddr> {
        self.client.take().map(|client| *client)
    }

    /// Whether the handshake is over and messages may flow.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.unread = true;
    }

    /// Whether [`Link::next`] has not said yet that more bytes are needed.
    pub(crate) fn has_input(&self) -> bool {
        self.unread
    }

    /// The first of the bytes that were not used, at most 16.
    pub(crate) fn begins_with(&self) -> &[u8] {
        let rest = self.input.get(self.at..).unwrap_or_default();
        rest.get(..16).unwrap_or(rest)
    }

    /// The next binary message; `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, CloseReason> {
        let message = match &mut self.state {
            State::Open(_) => self.read(),
            State::Greeting { .. } | State::Dialing { .. } => match self.greet()? {
                true => self.read(),
                false => Ok(None),
            },
            State::Done => {
                self.at = self.input.len();
                Ok(None)
            }
        };
        if !matches!(message, Ok(Some(_))) {
            // An idle connection holds nothing, or the beginning of a frame's header.
            self.input = self.input.get(self.at..).unwrap_or_default().to_vec();
            self.at = 0;
        }
        self.unread = matches!(message, Ok(Some(_)));
        message
    }

    /// Goes on with the handshake. True once it is over.
    fn greet(&mut self) -> Result<bool, CloseReason> {
        let bytes = self.input.get(self.at..).unwrap_or_default();
        let progress = match &self.state {
            State::Greeting { options, .. } => {
                let progress = handshake::answer(bytes, options);
                if self.is_forwarded && matches!(progress, Progress::Open { .. }) {
                    self.client = handshake::client(bytes, options).map(Box::new);
                }
                progress
            }
            State::Dialing { accept, .. } => handshake::check(bytes, accept),
            State::Open(_) | State::Done => return Ok(true),
        };
        match progress {
            Progress::More => Ok(false),
            Progress::Open { used, reply } => {
                self.at = self.at.saturating_add(used);
                self.wire.buffer().extend_from_slice(reply.as_bytes());
                self.state = State::Open(None);
                Ok(true)
            }
            Progress::Refused { reply, fault } => {
                self.wire.buffer().extend_from_slice(reply.as_bytes());
                self.state = State::Done;
                Err(CloseReason::Handshake(fault))
            }
        }
    }

    fn read(&mut self) -> Result<Option<Bytes>, CloseReason> {
        let State::Open(known) = &mut self.state else { return Ok(None) };
        let context = known.get_or_insert_with(|| context(self.dice.is_some(), self.message_max));
        let Self { input, at, course, wire, .. } = self;
        let mut pipe = Pipe { input, at, course, wire };
        loop {
            match context.read(&mut pipe) {
                Ok(Message::Binary(message)) => {
                    pipe.course.taken = 0;
                    return Ok(Some(message));
                }
                Ok(Message::Ping(_)) => {
                    let _pong_is_in_memory = context.flush(&mut pipe);
                }
                Ok(Message::Text(_) | Message::Pong(_) | Message::Frame(_)) => {
                    if pipe.course.is_between() {
                        pipe.course.taken = 0;
                    }
                }
                // The echo waits for `goodbye`: answers to earlier messages come before it.
                Ok(Message::Close(_)) => return Err(CloseReason::Gone),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if pipe.course.is_between() {
                        *known = None;
                        pipe.course.taken = 0;
                    }
                    return Ok(None);
                }
                Err(Error::Capacity(_)) => {
                    let max = u32::try_from(self.message_max).unwrap_or(u32::MAX);
                    let size = max.saturating_add(1);
                    return Err(CloseReason::Malformed(WireError::TooLarge { size, max }));
                }
                Err(_) => return Err(CloseReason::Malformed(WireError::Framing)),
            }
        }
    }

    /// Moves every whole packet of `out` into a frame. Gives `out`'s buffer back once it is empty.
    pub(crate) fn wrap(
        &mut self,
        out: &mut Out,
        packet_len: impl Fn(&[u8]) -> Option<usize>,
        pool: &mut Vec<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        if matches!(self.state, State::Done) {
            let all = out.pending().len();
            return out.accepted(all); // nobody will read it
        }
        if !self.is_open() || out.pending().is_empty() {
            return None;
        }
        self.wire.borrow_from(pool);
        while let Some(packet) = packet_len(out.pending()).and_then(|len| out.pending().get(..len))
            && !packet.is_empty()
        {
            let wire = self.wire.buffer();
            let mask = self.dice.as_ref().map(|dice| dice.roll().to_be_bytes());
            let mask = mask.and_then(|roll| roll.first_chunk::<4>().copied());
            let opcode = OpCode::Data(Data::Binary);
            let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
            let len = u64::try_from(packet.len()).unwrap_or(u64::MAX);
            let _memory_never_fails = header.format(len, wire);
            let start = wire.len();
            wire.extend_from_slice(packet);
            if let Some(mask) = mask {
                let body = wire.get_mut(start..).unwrap_or_default();
                body.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            }
            let len = packet.len();
            if let Some(spare) = out.accepted(len) {
                return Some(spare);
            }
        }
        None
    }

    /// Queues a close frame, or the echo of the peer's, behind what is queued already.
    pub(crate) fn goodbye(&mut self) {
        if let State::Open(known) = &mut self.state {
            let new = || context(self.dice.is_some(), self.message_max);
            let mut context = known.take().unwrap_or_else(new);
            let Self { course, wire, .. } = self;
            let mut pipe = Pipe { input: &[], at: &mut 0, course, wire };
            let _memory_never_fails = context.close(&mut pipe, None);
            let _memory_never_fails = context.flush(&mut pipe);
        }
        self.state = State::Done;
    }

    pub(crate) fn outgoing(&self) -> &[u8] {
        self.wire.pending()
    }

    pub(crate) fn accepted(&mut self, n: usize) -> Option<Vec<u8>> {
        self.wire.accepted(n)
    }

    /// Memory for what has arrived and was not handed out: bytes that were not looked at, and what
    /// the library keeps of the message it is in the middle of.
    pub(crate) fn kept(&self) -> usize {
        let context = match self.state {
            State::Open(Some(_)) => READ_BUFFER.saturating_add(self.course.taken),
            State::Greeting { .. } | State::Dialing { .. } | State::Open(None) | State::Done => 0,
        };
        self.input.capacity().saturating_add(context)
    }

    pub(crate) fn held(&self) -> usize {
        self.kept().saturating_add(self.wire.capacity())
    }

    /// The owner did not run for `lost`: the handshake has that much longer.
    pub(crate) fn forgive(&mut self, lost: Duration) {
        if let State::Greeting { until, .. } | State::Dialing { until, .. } = &mut self.state {
            *until = until.checked_add(lost).unwrap_or(*until);
        }
    }

    pub(crate) fn on_deadline(&self, now: Instant) -> Result<(), CloseReason> {
        match &self.state {
            State::Greeting { until, .. } | State::Dialing { until, .. } if *until <= now => {
                Err(CloseReason::Handshake(HandshakeFault::TimedOut))
            }
            State::Greeting { .. } | State::Dialing { .. } | State::Open(_) | State::Done => Ok(()),
        }
    }
}

fn context(is_client: bool, message_max: usize) -> Box<WebSocketContext> {
    let role = if is_client { Role::Client } else { Role::Server };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(READ_BUFFER)
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max));
    Box::new(WebSocketContext::new(role, Some(config)))
}

/// How far the library is in a message.
#[derive(Default)]
struct Course {
    /// Bytes of the current frame that it has not been given.
    left: u64,
    /// The next data frame continues a message.
    fragmented: bool,
    /// Bytes it was given since it last gave a message.
    taken: usize,
}

impl Course {
    fn is_between(&self) -> bool {
        self.left == 0 && !self.fragmented
    }

    /// A frame begins with `bytes`, if its header is there as a whole.
    fn begin(&mut self, bytes: &[u8]) {
        let mut cursor = Cursor::new(bytes);
        match FrameHeader::parse(&mut cursor) {
            Ok(Some((header, len))) => {
                self.left = cursor.position().saturating_add(len);
                if matches!(header.opcode, OpCode::Data(_)) {
                    self.fragmented = !header.is_final;
                }
            }
            Ok(None) => {}
            Err(_) => self.left = u64::MAX, // the library says what is wrong with it
        }
    }
}

/// The library's view of a connection: what has arrived of one frame, and where to append.
struct Pipe<'a> {
    input: &'a [u8],
    at: &'a mut usize,
    course: &'a mut Course,
    wire: &'a mut Out,
}

impl Read for Pipe<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let rest = self.input.get(*self.at..).unwrap_or_default();
        if self.course.left == 0 {
            self.course.begin(rest);
        }
        let most = usize::try_from(self.course.left).unwrap_or(usize::MAX).min(rest.len());
        let n = rest.get(..most).unwrap_or_default().read(space)?;
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *self.at = self.at.saturating_add(n);
        self.course.taken = self.course.taken.saturating_add(n);
        self.course.left = self.course.left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
        Ok(n)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.buffer().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
