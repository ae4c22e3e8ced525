//! What both ends of a client connection do alike: framing, the unfinished tail, and the clocks.
//!
//! Pure: the caller passes the time. Any whole packet counts as life, not only heartbeats; parts of
//! one do not, so that a peer cannot stay connected by dribbling. Times are nanoseconds since the
//! connection began, because eight bytes suffice for that and there is one machine per player.

use super::{CloseReason, Now, Out, Settings};
use crate::{error::WireError, extension::Features, packet::Packet, tail::Tail};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A deadline that is not set.
pub(super) const NEVER: u64 = u64::MAX;

/// What came.
pub(super) enum Taken<'a> {
    Packet(Packet<'a>),
    /// It was not understood, and is counted.
    Nonsense(&'a [u8]),
}

#[derive(Debug)]
pub(super) struct Base {
    pub(super) settings: Arc<Settings>,
    tail: Tail,
    start: Instant,
    /// When the last whole packet came.
    seen: Instant,
    /// When the next heartbeat of our own is due.
    beat_at: u64,
    stall_at: u64,
    drain_at: u64,
    closing: Option<CloseReason>,
    /// What both sides announced.
    pub(super) features: Features,
    skipped: u32,
    /// Whether the last look found a silent interval.
    pub(super) pending: bool,
    /// Whether the client has announced itself. Here because it fits in for nothing.
    pub(super) announced: bool,
}

impl Base {
    /// A connection that begins now; `beats` says whether it sends heartbeats of its own.
    pub(super) fn new(settings: Arc<Settings>, now: Now, beats: bool) -> Self {
        let interval = settings.heartbeat.interval;
        let beat_at = if beats && !interval.is_zero() { after(0, interval) } else { NEVER };
        Self {
            settings,
            tail: Tail::default(),
            start: now.mono,
            seen: now.mono,
            beat_at,
            stall_at: NEVER,
            drain_at: NEVER,
            closing: None,
            features: Features::NONE,
            skipped: 0,
            pending: false,
            announced: false,
        }
    }

    /// Nanoseconds since the connection began.
    pub(super) fn clock(&self, now: Now) -> u64 {
        nanos(now.mono.saturating_duration_since(self.start))
    }

    pub(super) fn seen(&self) -> Instant {
        self.seen
    }

    pub(super) fn tail_len(&self) -> usize {
        self.tail.len()
    }

    pub(super) fn held(&self) -> usize {
        self.tail.capacity()
    }

    pub(super) fn skipped(&self) -> u32 {
        self.skipped
    }

    pub(super) fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    /// Counts a packet that was not understood, or is not served yet.
    pub(super) fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    pub(super) fn join<'a>(&mut self, scratch: &'a mut [u8], end: usize) -> &'a [u8] {
        let layout = &self.settings.layout;
        self.tail.join(scratch, end, |tail| layout.packet_len(tail).ok().flatten())
    }

    /// The next packet of `input`; keeps what is left of it if there is none.
    pub(super) fn take<'a>(
        &mut self,
        now: Now,
        input: &mut &'a [u8],
    ) -> Result<Option<Taken<'a>>, CloseReason> {
        if self.closing.is_some() {
            *input = &[];
            return Ok(None);
        }
        let before = *input;
        match self.settings.layout.decode(input) {
            Ok(Some(packet)) => {
                self.alive(now);
                Ok(Some(Taken::Packet(packet)))
            }
            Ok(None) => {
                let rest = std::mem::take(input);
                self.keep(rest);
                Ok(None)
            }
            Err(WireError::TooShort { .. }) => {
                self.alive(now);
                self.skip();
                let len = before.len().saturating_sub(input.len());
                Ok(Some(Taken::Nonsense(before.get(..len).unwrap_or_default())))
            }
            Err(error) => Err(CloseReason::Malformed(error)),
        }
    }

    /// The packet of a message, if there is one.
    pub(super) fn take_message<'a>(
        &mut self,
        now: Now,
        message: &'a [u8],
    ) -> Result<Option<Taken<'a>>, CloseReason> {
        if self.closing.is_some() {
            return Ok(None);
        }
        self.alive(now);
        if message.is_empty() {
            return Ok(None);
        }
        match self.settings.layout.decode_message(message) {
            Ok(packet) => Ok(Some(Taken::Packet(packet))),
            Err(error @ WireError::TooLarge { .. }) => Err(CloseReason::Malformed(error)),
            Err(_) => {
                self.skip();
                Ok(Some(Taken::Nonsense(message)))
            }
        }
    }

    pub(super) fn keep(&mut self, input: &[u8]) {
        if self.closing.is_none() {
            self.tail.keep(input);
        }
    }

    /// Keeps the last packet between `before` and `after`, and all behind it.
    pub(super) fn hold(&mut self, before: &[u8], after: &[u8]) {
        let mut held = before;
        while let Some(len) = self.settings.layout.outgoing_len(held)
            && let Some(rest) = held.get(len..)
            && rest.len() > after.len()
        {
            held = rest;
        }
        self.keep(held);
    }

    fn alive(&mut self, now: Now) {
        self.seen = now.mono;
        self.pending = false;
    }

    pub(super) fn packet_len(&self, bytes: &[u8]) -> Option<usize> {
        self.settings.layout.outgoing_len(bytes)
    }

    /// Appends a heartbeat, unless the peer has let too much pile up: heartbeats cost it nothing.
    pub(super) fn heartbeat(&self, now: Now, out: &mut Out) -> Result<(), CloseReason> {
        self.room(out)?;
        self.settings.layout.encode_heartbeat(now.unix_ns, out.buffer());
        Ok(())
    }

    /// Whether one more answer of our own may be queued.
    pub(super) fn room(&self, out: &Out) -> Result<(), CloseReason> {
        if out.pending().len() > self.settings.backlog_max {
            return Err(CloseReason::Backlog);
        }
        Ok(())
    }

    pub(super) fn wrote(
        &mut self,
        now: Now,
        accepted: usize,
        left: usize,
    ) -> Result<(), CloseReason> {
        if self.closing.is_some() {
            return Ok(());
        }
        if left == 0 {
            self.stall_at = NEVER;
            return Ok(());
        }
        if left > self.settings.backlog_max {
            return Err(CloseReason::Backlog);
        }
        let (clock, limit) = (self.clock(now), self.settings.write_stall_max);
        if !limit.is_zero() && (accepted > 0 || self.stall_at == NEVER) {
            self.stall_at = after(clock, limit);
        }
        self.stalled(clock)
    }

    fn stalled(&self, clock: u64) -> Result<(), CloseReason> {
        if clock >= self.stall_at { Err(CloseReason::Stalled) } else { Ok(()) }
    }

    /// The deadlines that both sides have. Returns the time, for those of their own.
    pub(super) fn on_deadline(&mut self, now: Now, out: &mut Out) -> Result<u64, CloseReason> {
        let clock = self.clock(now);
        if let Some(reason) = self.closing {
            return if clock >= self.drain_at { Err(reason) } else { Ok(clock) };
        }
        self.stalled(clock)?;
        self.silence(now)?;
        if clock >= self.beat_at {
            let interval = self.settings.heartbeat.interval;
            let next = after(self.beat_at, interval);
            // After a jump of the clock one heartbeat is enough.
            self.beat_at = if next > clock { next } else { after(clock, interval) };
            self.heartbeat(now, out)?;
        }
        Ok(clock)
    }

    /// Moves every deadline, and what was last heard, by time in which nobody looked. All other
    /// times count from the start.
    pub(super) fn forgive(&mut self, now: Now, lost: Duration) {
        for at in [&mut self.start, &mut self.seen] {
            *at = at.checked_add(lost).unwrap_or(now.mono).min(now.mono);
        }
    }

    fn silence(&mut self, now: Now) -> Result<(), CloseReason> {
        let Some(idle_max) = self.settings.heartbeat.idle_max() else { return Ok(()) };
        if self.has_whole_packet() {
            // It is us who do not read: the owner holds this connection back.
            self.alive(now);
            return Ok(());
        }
        let silence = now.mono.saturating_duration_since(self.seen);
        self.pending = silence >= self.settings.heartbeat.interval;
        if silence >= idle_max { Err(CloseReason::Idle) } else { Ok(()) }
    }

    fn has_whole_packet(&self) -> bool {
        let first = self.settings.layout.packet_len(self.tail.bytes());
        matches!(first, Ok(Some(len)) if len <= self.tail.len())
    }

    /// Begins a close, unless one has begun.
    pub(super) fn close(&mut self, now: Now, reason: CloseReason) -> bool {
        if self.closing.is_some() {
            return false;
        }
        self.closing = Some(reason);
        self.drain_at = after(self.clock(now), self.settings.drain_max);
        self.tail = Tail::default();
        true
    }
}

/// `wait` after `clock`.
pub(super) fn after(clock: u64, wait: Duration) -> u64 {
    clock.saturating_add(nanos(wait))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
