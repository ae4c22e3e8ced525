//! The gate's side of one client connection.
//!
//! Answers heartbeats and announcements by itself; gives messages to its owner. A client that never
//! announces itself sees exactly what a gate of due would send.

use super::{
    CloseReason, ConnState, LastWords, Machine, Mechanism, Now, Out, Settings,
    base::{Base, NEVER, Taken, after},
};
use crate::{
    error::len_u32,
    extension::{Announce, CloseNotice, Features, STATUS_FLAG, StatusReply, kind},
    id::RouteId,
    packet::{Data, Layout, Packet},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a gate's side has to tell its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// A message for a handler, still lying in the read buffer.
    Message(Data<'a>),
    /// The client has announced itself; [`ServerConn::features`] says what was agreed.
    Announced,
    /// A packet too short for its header, or a message that is not one packet: skipped and counted.
    /// [`Layout::guess`] may know what it is.
    Nonsense(&'a [u8]),
}

/// The gate's side of one client connection.
#[derive(Debug)]
pub struct ServerConn {
    base: Base,
    /// When it is too late to log in.
    login_at: u64,
}

impl ServerConn {
    /// A connection accepted now, with nobody bound to it.
    pub fn new(settings: Arc<Settings>, now: Now) -> Self {
        let ticks = settings.heartbeat.mechanism == Mechanism::Tick;
        let login_at = login_deadline(0, settings.login_max);
        Self { base: Base::new(settings, now, ticks), login_at }
    }

    /// A user was bound: the login deadline no longer applies.
    pub fn bound(&mut self, now: Now) {
        let _ = now;
        self.login_at = NEVER;
    }

    /// The user was unbound: the login deadline starts anew.
    pub fn unbound(&mut self, now: Now) {
        self.login_at = login_deadline(self.base.clock(now), self.base.settings.login_max);
    }

    /// What both sides have announced.
    pub fn features(&self) -> Features {
        self.base.features
    }

    /// Whether the client has announced itself.
    pub fn is_announced(&self) -> bool {
        self.base.announced
    }

    /// Where the connection stands; `Pending` as of the last [`Machine::on_deadline`].
    pub fn state(&self) -> ConnState {
        match (self.base.closing(), self.base.pending) {
            (Some(_), _) => ConnState::Closing,
            (None, true) => ConnState::Pending,
            (None, false) => ConnState::Active,
        }
    }

    /// When the last whole packet came; when the connection began, if none has.
    pub fn last_packet(&self) -> Instant {
        self.base.seen()
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.base.settings
    }

    /// Appends a status reply to the request with that route and sequence number.
    ///
    /// Returns false, and appends nothing, if the client would not understand it or does not wait:
    /// it did not announce status replies, `seq` is 0, or the layout has no such field.
    pub fn status(&self, route: RouteId, seq: i32, reply: &StatusReply<'_>, out: &mut Out) -> bool {
        self.status_in(&self.base.settings.layout, (route, seq), reply, out)
    }

    /// As [`ServerConn::status`], in a layout that the client seems to use: to be told in the
    /// configured one that it is the wrong one would not help it.
    pub fn status_in(
        &self,
        layout: &Layout,
        (route, seq): (RouteId, i32),
        reply: &StatusReply<'_>,
        out: &mut Out,
    ) -> bool {
        let understood = self.base.features.has(Features::STATUS) && self.base.closing().is_none();
        if !understood || seq == 0 || layout.seq.is_none() {
            return false;
        }
        let (reply, buffer) = (reply.fit(layout.body_max), out.buffer());
        let head = layout.encode_head(STATUS_FLAG, route, seq, reply.wire_len(), buffer);
        if head.is_err() {
            return false;
        }
        reply.encode(buffer);
        true
    }

    fn packet<'a>(
        &mut self,
        now: Now,
        packet: Packet<'a>,
        out: &mut Out,
    ) -> Result<Option<ServerEvent<'a>>, CloseReason> {
        match packet {
            Packet::Empty => Ok(None),
            Packet::Data(data) => Ok(Some(ServerEvent::Message(data))),
            Packet::Control { kind, tail } => self.control(now, kind, tail, out),
        }
    }

    fn control<'a>(
        &mut self,
        now: Now,
        kind: u8,
        tail: &[u8],
        out: &mut Out,
    ) -> Result<Option<ServerEvent<'a>>, CloseReason> {
        if kind == kind::ANNOUNCE
            && let Ok(announce) = Announce::parse(tail)
        {
            return self.announce(now, &announce, out);
        }
        // From a client that has not announced itself, every kind is a heartbeat, as for due.
        if kind > kind::ANNOUNCE && self.base.announced {
            // Reliable delivery, credits and redirects have a form but no meaning yet.
            self.base.skip();
            return Ok(None);
        }
        if self.base.settings.heartbeat.mechanism == Mechanism::Resp {
            self.base.heartbeat(now, out)?;
        }
        Ok(None)
    }

    fn announce<'a>(
        &mut self,
        now: Now,
        announce: &Announce<'_>,
        out: &mut Out,
    ) -> Result<Option<ServerEvent<'a>>, CloseReason> {
        self.base.room(out)?;
        let settings = &self.base.settings;
        let features = settings.features.common(announce.features);
        let interval = settings.heartbeat.interval.as_millis();
        let answer = Announce {
            features,
            heartbeat_ms: Some(u32::try_from(interval).unwrap_or(u32::MAX)),
            message_max: Some(len_u32(settings.layout.receive_max)),
            time_ms: u64::try_from(now.unix_ns).ok().map(|ns| ns / 1_000_000),
            ..Announce::default()
        };
        let mut tail = Vec::new();
        answer.encode(&mut tail);
        settings.layout.encode_control(kind::ANNOUNCE, &tail, out.buffer());
        self.base.features = features;
        self.base.announced = true;
        Ok(Some(ServerEvent::Announced))
    }
}

fn login_deadline(clock: u64, login_max: Duration) -> u64 {
    if login_max.is_zero() { NEVER } else { after(clock, login_max) }
}

impl Machine for ServerConn {
    type Event<'a> = ServerEvent<'a>;

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
        out: &mut Out,
    ) -> Result<Option<ServerEvent<'a>>, CloseReason> {
        while let Some(taken) = self.base.take(now, input)? {
            let packet = match taken {
                Taken::Packet(packet) => packet,
                Taken::Nonsense(raw) => return Ok(Some(ServerEvent::Nonsense(raw))),
            };
            if let Some(event) = self.packet(now, packet, out)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn message<'a>(
        &mut self,
        now: Now,
        message: &'a [u8],
        out: &mut Out,
    ) -> Result<Option<ServerEvent<'a>>, CloseReason> {
        match self.base.take_message(now, message)? {
            Some(Taken::Packet(packet)) => self.packet(now, packet, out),
            Some(Taken::Nonsense(raw)) => Ok(Some(ServerEvent::Nonsense(raw))),
            None => Ok(None),
        }
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
        let clock = self.base.on_deadline(now, out)?;
        if self.base.closing().is_none() && clock >= self.login_at {
            return Err(CloseReason::LoginDeadline);
        }
        Ok(())
    }

    fn forgive(&mut self, now: Now, lost: Duration) {
        self.base.forgive(now, lost);
    }

    fn close(&mut self, now: Now, reason: CloseReason, words: LastWords<'_>, out: &mut Out) {
        if self.base.close(now, reason)
            && self.base.features.has(Features::CLOSE)
            && let Some(reason) = reason.notice()
        {
            let mut tail = Vec::new();
            let retry_after_ms = words.retry_after_ms();
            CloseNotice { reason, retry_after_ms, text: words.text }.encode(&mut tail);
            self.base.settings.layout.encode_control(kind::CLOSE, &tail, out.buffer());
        }
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
