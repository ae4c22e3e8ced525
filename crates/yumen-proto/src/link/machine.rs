//! One connection between two instances as a state machine: who is at the other end, may it speak, and
//! which of its frames are whole.
//!
//! Serves both roles, towards our own instances and towards due's, and never answers a request: that
//! is its owner's part. It opens no socket, reads no clock and makes up no number. The one thing to
//! know: before [`LinkEvent::Up`] nothing but the handshake may be sent, and nothing else is accepted.

mod beat;
mod credit;
mod event;
mod handshake;
mod short;

pub use event::{LinkEvent, LinkPeer, LinkTarget};

use super::{
    Farewell, Flow, Frame, HEARTBEAT, HEARTBEAT_BIT, Kind, Lane, LinkError, LinkFault,
    LinkFeatures, LinkMark, LinkSettings, NONCE_LEN,
    announce::{CONTROL_MAX, LinkAnnounce, encode_credit, encode_life, encode_welcome, kind},
};
use crate::{
    conn::{CloseReason, LastWords, Machine, Now, Out},
    read::Reader,
    tail::Tail,
};
use credit::Credit;
use short::{Front, ShortReplies};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Smallest prefix that tells a control frame from others: size and header.
const PREFIX_LEN: usize = 5;

#[derive(Debug)]
enum Role {
    Dialler { target: Box<str> },
    Server,
}

/// How far the two know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Server: nothing was heard.
    Fresh,
    /// Server: it is known who dialled. One of due's may go on with commands.
    Known,
    /// Server: the announcement is answered, the proof has yet to come.
    Challenged,
    /// Dialler, to one of due's: the handshake has yet to be answered.
    Introduced,
    /// Dialler, to one of ours: the announcement has yet to be answered.
    Announced,
    /// Commands flow.
    Up,
}

/// One end of one connection between two instances.
#[derive(Debug)]
pub struct LinkConn {
    settings: Arc<LinkSettings>,
    role: Role,
    stage: Stage,
    peer: LinkPeer,
    lane: Lane,
    mark: LinkMark,
    nonce: [u8; NONCE_LEN],
    their_nonce: [u8; NONCE_LEN],
    offered: LinkFeatures,
    credit: Credit,
    short: ShortReplies,
    flow_in: Flow,
    flow_out: Flow,
    tail: Tail,
    began: Instant,
    seen: Instant,
    beat_at: Option<Instant>,
    stall_at: Option<Instant>,
    closing: Option<(CloseReason, Option<Instant>)>,
    skipped: u32,
    /// Length of the last frame that was given to the owner.
    last_len: usize,
}

impl LinkConn {
    /// A connection dialled now; its first words are in `out`. `nonce` was never used before.
    ///
    /// # Errors
    /// [`LinkFault::Unproven`] towards one of due's, unless such peers are accepted.
    pub fn dial(
        settings: Arc<LinkSettings>,
        now: Now,
        target: LinkTarget,
        nonce: [u8; NONCE_LEN],
        out: &mut Out,
    ) -> Result<Self, LinkFault> {
        let LinkTarget { id, kind, ours, lane, mark } = target;
        if !ours && !settings.trusts_anybody() {
            return Err(LinkFault::Unproven);
        }
        let stage = if ours { Stage::Announced } else { Stage::Introduced };
        let mut link =
            Self::new(settings, now, nonce, (Role::Dialler { target: id.clone() }, stage));
        (link.peer.id, link.peer.kind, link.lane, link.mark) = (id, kind, lane, mark);
        link.beat_at = now.mono.checked_add(link.settings.heartbeat);
        link.introduce(ours, out);
        Ok(link)
    }

    /// A connection accepted now. `nonce` was never used before; `mark` says which life and process
    /// this is.
    pub fn accept(
        settings: Arc<LinkSettings>,
        now: Now,
        mark: LinkMark,
        nonce: [u8; NONCE_LEN],
    ) -> Self {
        let mut link = Self::new(settings, now, nonce, (Role::Server, Stage::Fresh));
        link.mark = mark;
        (link.flow_in, link.flow_out) = (Flow::Requests, Flow::Replies);
        link
    }

    fn new(
        settings: Arc<LinkSettings>,
        now: Now,
        nonce: [u8; NONCE_LEN],
        (role, stage): (Role, Stage),
    ) -> Self {
        let (id, features) = ("".into(), LinkFeatures::NONE);
        let frame_max = settings.frame_max;
        Self {
            settings,
            role,
            stage,
            peer: LinkPeer {
                id,
                kind: Kind::Mesh,
                ours: false,
                features,
                frame_max,
                mark: LinkMark::default(),
            },
            lane: Lane::Data,
            mark: LinkMark::default(),
            nonce,
            their_nonce: [0; NONCE_LEN],
            offered: features,
            credit: Credit::default(),
            short: ShortReplies::default(),
            flow_in: Flow::Replies,
            flow_out: Flow::Requests,
            tail: Tail::default(),
            began: now.mono,
            seen: now.mono,
            beat_at: None,
            stall_at: None,
            closing: None,
            skipped: 0,
            last_len: 0,
        }
    }

    /// Whether commands flow.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up && self.closing.is_none()
    }

    /// Whether the peer may send commands. Of one of due's before its first command this is all there is
    /// to know.
    pub fn is_trusted(&self) -> bool {
        let dues = self.stage == Stage::Known && self.settings.trusts_anybody();
        self.stage == Stage::Up || dues
    }

    /// Who is at the other end, as far as is known; for certain once commands flow.
    pub fn peer(&self) -> &LinkPeer {
        &self.peer
    }

    /// What the connection is for.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// How frames are written on it.
    pub fn flow(&self) -> Flow {
        self.flow_out
    }

    /// Whether a frame may be sent. Always, but on a data lane to one of ours whose room is used up;
    /// then [`LinkEvent::Room`] comes.
    pub fn has_room(&self) -> bool {
        self.lane == Lane::Control || self.credit.has_room()
    }

    /// Appends a frame. It does not look for room: whoever is asked for an answer may give it.
    ///
    /// # Errors
    /// As [`Frame::encode_as`]; also if the peer would refuse it for its size. Nothing is appended.
    pub fn send(&mut self, frame: &Frame<'_>, out: &mut Out) -> Result<(), LinkError> {
        let size = frame.wire_len().saturating_sub(4);
        if size > self.peer.frame_max {
            return Err(LinkError::TooLarge { size, max: self.peer.frame_max });
        }
        frame.encode_as(self.flow_out, out.buffer())?;
        if self.lane == Lane::Data {
            self.credit.spend(frame.wire_len());
        }
        Ok(())
    }

    /// The owner is done with a frame of that length: the peer may send as much again.
    pub fn consumed(&mut self, len: usize, out: &mut Out) {
        if self.lane == Lane::Data
            && let Some(bytes) = self.credit.consumed(len)
        {
            encode_credit(bytes, out.buffer());
        }
    }

    /// What may be sent on a data lane before the peer has to give room back, in bytes; below zero
    /// after a frame that was larger than that. `None` if there is no such bound.
    pub fn room(&self) -> Option<i64> {
        if self.lane == Lane::Control { None } else { self.credit.room() }
    }

    /// The owner has queued that much, in bytes of whole frames, without [`LinkConn::send`].
    pub fn spend(&mut self, len: usize) {
        if self.lane == Lane::Data {
            self.credit.spend(len);
        }
    }

    /// Tells a dialler of ours that this connection is kept.
    pub fn welcome(&self, out: &mut Out) {
        if self.peer.ours {
            encode_welcome(out.buffer());
        }
    }

    /// Tells one of ours that this instance goes on in another life.
    pub fn tell_life(&mut self, life: u64, out: &mut Out) {
        self.mark.life = life;
        if self.is_ours() {
            encode_life(life, out.buffer());
        }
    }

    /// Tells one of ours that this side leaves, and why. One of due's is told nothing.
    pub fn farewell(&self, why: Farewell, out: &mut Out) {
        if self.peer.ours {
            why.encode(out.buffer());
        }
    }

    /// One frame off the front of `input`. `None` if there is no whole one.
    fn step<'a>(
        &mut self,
        now: Now,
        input: &mut &'a [u8],
        out: &mut Out,
    ) -> Result<Step<'a>, LinkFault> {
        if let Some((kind, tail)) = control(input)? {
            self.seen = now.mono;
            return self.control(kind, tail, out);
        }
        if self.flow_in == Flow::Replies && self.stage == Stage::Up {
            let before = input.len();
            match self.short.take(input) {
                Front::More => return Ok(Step::More),
                Front::Reply(frame) => {
                    self.seen = now.mono;
                    return Ok(Step::Frame(frame, before.saturating_sub(input.len())));
                }
                Front::Other => {}
            }
        }
        let before = *input;
        match Frame::decode_as(self.flow_in, input, self.largest()) {
            Ok(None) => Ok(Step::More),
            Ok(Some(frame)) => {
                self.seen = now.mono;
                let len = before.len().saturating_sub(input.len());
                self.frame(frame, len, (before, input), out)
            }
            Err(LinkError::TooLarge { .. }) => Err(LinkFault::TooLarge),
            Err(LinkError::TooShort { .. }) => Err(LinkFault::TooShort),
            Err(_) if self.stage == Stage::Up => {
                self.seen = now.mono;
                let len = before.len().saturating_sub(input.len());
                self.skip();
                // It used room like any other, and nobody else will give it back.
                self.arrived(len)?;
                self.consumed(len, out);
                Ok(Step::Next)
            }
            Err(_) => Err(LinkFault::Stranger),
        }
    }

    fn frame<'a>(
        &mut self,
        frame: Frame<'a>,
        len: usize,
        (before, input): (&'a [u8], &mut &'a [u8]),
        out: &mut Out,
    ) -> Result<Step<'a>, LinkFault> {
        use super::Command::Handshake;
        if let Frame::Request { seq, command: Handshake { kind, id } } = frame {
            if matches!(self.role, Role::Server) {
                self.introduced(seq, kind, id, out);
            }
            return Ok(Step::Next);
        }
        match self.stage {
            Stage::Up => {
                self.arrived(len)?;
                Ok(Step::Frame(frame, len))
            }
            Stage::Introduced | Stage::Announced => match frame {
                Frame::Reply { seq: super::HANDSHAKE_SEQ, .. } => {
                    if self.stage == Stage::Announced {
                        return Ok(Step::Next); // what counts is the answer to the announcement
                    }
                    self.stage = Stage::Up;
                    Ok(Step::Up)
                }
                Frame::Reply { .. } | Frame::Request { .. } | Frame::Heartbeat => {
                    Err(LinkFault::Stranger)
                }
            },
            Stage::Known if self.settings.trusts_anybody() => {
                // One of due's. The command comes again, once the owner knows of the peer.
                self.stage = Stage::Up;
                *input = before;
                Ok(Step::Up)
            }
            Stage::Fresh | Stage::Known | Stage::Challenged => Err(LinkFault::Stranger),
        }
    }

    fn control<'a>(&mut self, kind: u8, tail: &[u8], out: &mut Out) -> Result<Step<'a>, LinkFault> {
        let up = |now_up: bool| if now_up { Step::Up } else { Step::Next };
        match kind {
            kind::ANNOUNCE if self.stage != Stage::Up => {
                let announce = LinkAnnounce::parse(tail).ok_or(LinkFault::BadHandshake)?;
                self.announced(&announce, out).map(up)
            }
            kind::PROOF if self.stage != Stage::Up => self.proved(tail).map(up),
            kind::CREDIT if self.is_ours() => {
                let bytes = Reader(tail).u32().ok_or(LinkFault::BadHandshake)?;
                Ok(if self.credit.earn(bytes) { Step::Room } else { Step::Next })
            }
            kind::FAREWELL if self.peer.ours => {
                let why = Farewell::parse(tail).ok_or(LinkFault::BadHandshake)?;
                Ok(Step::Farewell(why))
            }
            kind::WELCOME if self.is_ours() => Ok(Step::Welcome),
            kind::LIFE if self.is_ours() => {
                let life = Reader(tail).u64().ok_or(LinkFault::BadHandshake)?;
                self.peer.mark.life = life;
                Ok(Step::Life(life))
            }
            // One of due's that has nothing to ask yet: one of ours would have announced itself.
            0 if self.stage == Stage::Known && self.settings.trusts_anybody() => {
                self.stage = Stage::Up;
                Ok(Step::Up)
            }
            // A heartbeat, or a kind that nobody knows yet.
            _ => Ok(Step::Next),
        }
    }

    fn is_ours(&self) -> bool {
        self.stage == Stage::Up && self.peer.ours
    }

    fn arrived(&mut self, len: usize) -> Result<(), LinkFault> {
        let fits = self.lane == Lane::Control || self.credit.arrived(len);
        if fits { Ok(()) } else { Err(LinkFault::Overrun) }
    }

    fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    /// Largest frame that is read now. A peer that may not send commands yet has little to say, and
    /// nothing more is kept of it.
    fn largest(&self) -> usize {
        let max = self.settings.frame_max;
        if self.is_trusted() { max } else { max.min(CONTROL_MAX) }
    }
}

/// What one frame came to.
enum Step<'a> {
    More,
    Next,
    Up,
    Welcome,
    Life(u64),
    Room,
    Frame(Frame<'a>, usize),
    Farewell(Farewell),
}

/// A whole control frame at the front of `input`, which moves behind it: its kind and tail.
fn control<'a>(input: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, LinkFault> {
    let Some([a, b, c, d, header]) = input.first_chunk::<PREFIX_LEN>().copied() else {
        return Ok(None);
    };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if header & HEARTBEAT_BIT == 0 || size == 0 {
        return Ok(None);
    }
    if size > CONTROL_MAX {
        return Err(LinkFault::TooLarge);
    }
    let whole = input.split_at_checked(size.saturating_add(4));
    let Some((frame, rest)) = whole else { return Ok(None) };
    *input = rest;
    Ok(Some((header & !HEARTBEAT_BIT, frame.get(PREFIX_LEN..).unwrap_or_default())))
}

/// Length of the first frame of `bytes` as its size field has it, with that field.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*prefix)).ok()?;
    size.checked_add(4)
}

impl Machine for LinkConn {
    type Event<'a> = LinkEvent<'a>;

    fn tail_len(&self) -> usize {
        self.tail.len()
    }

    fn join<'a>(&mut self, _now: Now, scratch: &'a mut [u8], end: usize) -> &'a [u8] {
        // Due's short replies have no length that could be relied on.
        let max = self.largest().max(CONTROL_MAX).saturating_add(4);
        let whole = self.flow_in != Flow::Replies;
        self.tail.join(scratch, end, |tail| frame_len(tail).filter(|len| whole && *len <= max))
    }

    fn next<'a>(
        &mut self,
        now: Now,
        input: &mut &'a [u8],
        out: &mut Out,
    ) -> Result<Option<LinkEvent<'a>>, CloseReason> {
        if self.closing.is_some() {
            *input = &[];
            return Ok(None);
        }
        self.last_len = 0;
        loop {
            return Ok(Some(match self.step(now, input, out)? {
                Step::Next => continue,
                Step::More => {
                    self.tail.keep(std::mem::take(input));
                    return Ok(None);
                }
                Step::Up => LinkEvent::Up,
                Step::Welcome => LinkEvent::Welcome,
                Step::Life(life) => LinkEvent::Life(life),
                Step::Room => LinkEvent::Room,
                Step::Frame(frame, len) => {
                    self.last_len = len;
                    LinkEvent::Frame { frame, len }
                }
                Step::Farewell(why) => LinkEvent::Farewell(why),
            }));
        }
    }

    fn message<'a>(
        &mut self,
        now: Now,
        message: &'a [u8],
        out: &mut Out,
    ) -> Result<Option<LinkEvent<'a>>, CloseReason> {
        let mut input = message;
        self.next(now, &mut input, out)
    }

    fn keep(&mut self, input: &[u8]) {
        if self.closing.is_none() {
            self.tail.keep(input);
        }
    }

    /// Only a frame comes again: what stood before it, and every other event, has had its effect.
    fn hold(&mut self, before: &[u8], after: &[u8]) {
        let len = std::mem::take(&mut self.last_len);
        self.credit.not_arrived(len);
        let from = before.len().saturating_sub(after.len()).saturating_sub(len);
        self.keep(before.get(from..).unwrap_or(after));
    }

    fn wrote(&mut self, now: Now, accepted: usize, left: usize) -> Result<(), CloseReason> {
        if self.closing.is_some() {
            return Ok(());
        }
        if left == 0 {
            self.stall_at = None;
            return Ok(());
        }
        if left > self.settings.backlog_max {
            return Err(CloseReason::Backlog);
        }
        if accepted > 0 || self.stall_at.is_none() {
            self.stall_at = now.mono.checked_add(self.settings.write_stall_max);
        }
        if passed(self.stall_at, now) { Err(CloseReason::Stalled) } else { Ok(()) }
    }

    /// But for heartbeats: one is due all the more.
    fn forgive(&mut self, now: Now, lost: Duration) {
        let until = self.closing.as_mut().and_then(|(_, until)| until.as_mut());
        for at in self.stall_at.iter_mut().chain(until) {
            *at = at.checked_add(lost).unwrap_or(*at);
        }
        for at in [&mut self.began, &mut self.seen] {
            *at = at.checked_add(lost).unwrap_or(now.mono).min(now.mono);
        }
    }

    fn on_deadline(&mut self, now: Now, out: &mut Out) -> Result<(), CloseReason> {
        if let Some((reason, until)) = self.closing {
            return if passed(until, now) { Err(reason) } else { Ok(()) };
        }
        if passed(self.stall_at, now) {
            return Err(CloseReason::Stalled);
        }
        let began = now.mono.saturating_duration_since(self.began);
        if !self.is_trusted() && began >= self.settings.handshake_max {
            return Err(LinkFault::Silent.into());
        }
        let silence = now.mono.saturating_duration_since(self.seen);
        if self.idle_max().is_some_and(|max| silence >= max) {
            return Err(CloseReason::Idle);
        }
        if self.beats() && (self.beat_at.is_none() || passed(self.beat_at, now)) {
            self.beat_at = now.mono.checked_add(self.beat_every());
            out.buffer().extend_from_slice(&HEARTBEAT);
        }
        Ok(())
    }

    /// One of ours is told by a farewell that the instance stops; every other end is a stream that
    /// ends.
    fn close(&mut self, now: Now, reason: CloseReason, _words: LastWords<'_>, out: &mut Out) {
        if self.closing.is_some() {
            return;
        }
        if reason == CloseReason::Shutdown {
            self.farewell(Farewell::Leaving, out);
        }
        self.closing = Some((reason, now.mono.checked_add(self.settings.drain_max)));
        self.tail = Tail::default();
    }

    fn closing(&self) -> Option<CloseReason> {
        self.closing.map(|(reason, _)| reason)
    }

    fn packet_len(&self, bytes: &[u8]) -> Option<usize> {
        frame_len(bytes).filter(|len| *len <= bytes.len())
    }

    fn held(&self) -> usize {
        self.tail.capacity()
    }

    fn skipped(&self) -> u32 {
        self.skipped
    }
}

fn passed(deadline: Option<Instant>, now: Now) -> bool {
    deadline.is_some_and(|deadline| now.mono >= deadline)
}
