//! The client's side of one connection to a gate, ours or due's.
//!
//! Announces itself first, if asked to, and sends a heartbeat each interval. It never waits for the
//! answer to its announcement: a gate of due sends none, or a plain heartbeat.

use super::{
    CloseReason, LastWords, Machine, Now, Out, Settings,
    base::{Base, Taken},
};
use crate::{
    extension::{Announce, CloseNotice, Features, STATUS_FLAG, StatusReply, kind},
    id::RouteId,
    packet::{Data, Packet},
};
use std::{sync::Arc, time::Duration};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nothing has told so far. Also for ever, if this side does not announce itself.
    Unknown,
    /// A gate that knows no extensions: it answered the announcement with a plain heartbeat.
    Due,
    /// One of ours.
    Yumen,
}

/// What a client's side has to tell its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// A reply or a push.
    Message(Data<'a>),
    /// The request with that route and sequence number was refused.
    Status {
        /// Route of the request.
        route: RouteId,
        /// Sequence number of the request.
        seq: i32,
        /// What was wrong.
        reply: StatusReply<'a>,
    },
    /// The gate is one of ours, and this is what was agreed.
    Announced(Features),
    /// The gate is about to close the connection.
    Closing(CloseNotice<'a>),
    /// A packet too short for its header, or a message that is not one packet: skipped and counted.
    /// [`Layout::guess`](crate::packet::Layout::guess) may know what it is.
    Nonsense(&'a [u8]),
}

/// The client's side of one connection.
#[derive(Debug)]
pub struct ClientConn {
    base: Base,
    peer: Peer,
}

impl ClientConn {
    /// A connection that was opened now. If `announce`, its announcement is the first thing in `out`.
    pub fn new(settings: Arc<Settings>, now: Now, announce: bool, out: &mut Out) -> Self {
        if announce {
            let announcement = Announce {
                features: settings.features,
                client: Some(concat!("yumen ", env!("CARGO_PKG_VERSION"))),
                ..Announce::default()
            };
            let mut tail = Vec::new();
            announcement.encode(&mut tail);
            settings.layout.encode_control(kind::ANNOUNCE, &tail, out.buffer());
        }
        let mut base = Base::new(settings, now, true);
        base.announced = announce;
        Self { base, peer: Peer::Unknown }
    }

    /// Who is at the other end, as far as is known.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What both sides have announced.
    pub fn features(&self) -> Features {
        self.base.features
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.base.settings
    }

    fn packet<'a>(&mut self, packet: Packet<'a>) -> Option<ClientEvent<'a>> {
        match packet {
            Packet::Empty => None,
            Packet::Control { kind, tail } => self.control(kind, tail),
            Packet::Data(data) => {
                if data.flags & STATUS_FLAG != 0 && self.base.features.has(Features::STATUS) {
                    return self.status(&data);
                }
                Some(ClientEvent::Message(data))
            }
        }
    }

    fn status<'a>(&mut self, data: &Data<'a>) -> Option<ClientEvent<'a>> {
        match StatusReply::parse(data.body) {
            Ok(reply) => Some(ClientEvent::Status { route: data.route, seq: data.seq, reply }),
            Err(_) => {
                self.base.skip();
                None
            }
        }
    }

    fn control<'a>(&mut self, kind: u8, tail: &'a [u8]) -> Option<ClientEvent<'a>> {
        match kind {
            kind::HEARTBEAT => {
                if self.base.announced && self.peer == Peer::Unknown {
                    self.peer = Peer::Due;
                }
                return None;
            }
            kind::ANNOUNCE if self.base.announced => {
                if let Ok(answer) = Announce::parse(tail) {
                    self.peer = Peer::Yumen;
                    // A gate answers with what both offer; one that does not is not believed.
                    self.base.features = self.base.settings.features.common(answer.features);
                    return Some(ClientEvent::Announced(self.base.features));
                }
            }
            kind::CLOSE if self.base.features.has(Features::CLOSE) => {
                if let Ok(notice) = CloseNotice::parse(tail) {
                    return Some(ClientEvent::Closing(notice));
                }
            }
            _ => {}
        }
        // Kinds that are reserved, unknown or were not agreed on.
        self.base.skip();
        None
    }
}

impl Machine for ClientConn {
    type Event<'a> = ClientEvent<'a>;

    fn tail_len(&self) -> usize {
        self.base.tail_len()
    }

    fn join<'a>(&mut self, _now: Now, scratch: &'a mut [u8], end: usize) -> &'a [u8] {
        self.base.join(scratch, end)
    }

    fn next<'a>(
        &mut self,
        now: Now,
        input: &mut &'a [u8],
        _out: &mut Out,
    ) -> Result<Option<ClientEvent<'a>>, CloseReason> {
        while let Some(taken) = self.base.take(now, input)? {
            let packet = match taken {
                Taken::Packet(packet) => packet,
                Taken::Nonsense(raw) => return Ok(Some(ClientEvent::Nonsense(raw))),
            };
            if let Some(event) = self.packet(packet) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn message<'a>(
        &mut self,
        now: Now,
        message: &'a [u8],
        _out: &mut Out,
    ) -> Result<Option<ClientEvent<'a>>, CloseReason> {
        Ok(match self.base.take_message(now, message)? {
            Some(Taken::Packet(packet)) => self.packet(packet),
            Some(Taken::Nonsense(raw)) => Some(ClientEvent::Nonsense(raw)),
            None => None,
        })
    }

    fn keep(&mut self, input: &[u8]) {
        self.base.keep(input);
    }

    fn hold(&mut self, before: &[u8], after: &[u8]) {
        self.base.hold(before, after);
    }

    fn wrote(&mut self, now: Now, accepted: usize, left: usize) -> Result<(), CloseReason> {
        self.base.wrote(now, accepted, left)
    }

    fn on_deadline(&mut self, now: Now, out: &mut Out) -> Result<(), CloseReason> {
        self.base.on_deadline(now, out).map(|_| ())
    }

    fn forgive(&mut self, now: Now, lost: Duration) {
        self.base.forgive(now, lost);
    }

    /// Gates are told nothing: they only ever see the stream end.
    fn close(&mut self, now: Now, reason: CloseReason, _words: LastWords<'_>, _out: &mut Out) {
        self.base.close(now, reason);
    }

    fn closing(&self) -> Option<CloseReason> {
        self.base.closing()
    }

    fn packet_len(&self, bytes: &[u8]) -> Option<usize> {
        self.base.packet_len(bytes)
    }

    fn held(&self) -> usize {
        self.base.held()
    }

    fn skipped(&self) -> u32 {
        self.base.skipped()
    }
}
