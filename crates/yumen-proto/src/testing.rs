//! A pretend link between two machines, for tests: latency, small windows, breaks and time jumps.
//!
//! Everything follows from a seed and from the instant the test passes in, so that a run can be
//! repeated. Panics where a promise is broken, which is what it is for.
//!
//! [`Pipe`] is one direction of a byte stream, [`End`] drives a machine as the driver of sockets
//! does; [`conn_ops`] and [`link_ops`] play a script of bytes on both ends of a connection.

mod link_ops;
mod ops;

pub use link_ops::link_ops;
pub use ops::conn_ops;

use crate::conn::{CloseReason, Machine, Now, Out};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Random numbers from a seed: the same seed gives the same numbers, for ever.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice for that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number; all are equally likely.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, without `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        let number = self.roll().checked_rem(end).unwrap_or_default();
        usize::try_from(number).unwrap_or_default()
    }

    /// True once in `times`, on average.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// How bytes travel.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Longest time a byte is on its way.
    pub latency_max: Duration,
    /// Most bytes on their way; what is above is not accepted.
    pub window: usize,
    /// Most bytes that arrive with one read.
    pub piece_max: usize,
}

/// One direction of a byte stream.
#[derive(Debug)]
pub struct Pipe {
    weather: Weather,
    dice: Dice,
    on_the_way: VecDeque<(Instant, Vec<u8>)>,
    len: usize,
    broken: bool,
}

impl Pipe {
    /// An open stream with nothing in it.
    pub fn new(weather: Weather, seed: u64) -> Self {
        let dice = Dice::new(seed);
        Self { weather, dice, on_the_way: VecDeque::new(), len: 0, broken: false }
    }

    /// Takes the beginning of `bytes` and says how much of it; 0 if the window is full.
    pub fn write(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let room = self.weather.window.saturating_sub(self.len);
        let taken = &bytes[..bytes.len().min(room)];
        if self.broken || taken.is_empty() {
            return 0;
        }
        let latency = self.weather.latency_max.mul_f64(self.dice.below(1000) as f64 / 1000.0);
        // Bytes never overtake each other.
        let earliest = self.on_the_way.back().map_or(now, |(arrival, _)| *arrival);
        self.on_the_way.push_back((earliest.max(now + latency), taken.to_vec()));
        self.len += taken.len();
        taken.len()
    }

    /// Fills the beginning of `room` with what has arrived. `None` once the stream has ended.
    pub fn read(&mut self, now: Instant, room: &mut [u8]) -> Option<usize> {
        let most = room.len().min(1 + self.dice.below(self.weather.piece_max));
        let mut filled = 0;
        while filled < most
            && let Some((arrival, bytes)) = self.on_the_way.front_mut()
            && *arrival <= now
        {
            let count = bytes.len().min(most - filled);
            room[filled..filled + count].copy_from_slice(&bytes[..count]);
            bytes.drain(..count);
            filled += count;
            if bytes.is_empty() {
                self.on_the_way.pop_front();
            }
        }
        self.len -= filled;
        if filled == 0 && self.broken && self.on_the_way.is_empty() {
            return None;
        }
        Some(filled)
    }

    /// Ends the stream: a part of what is on its way still arrives, cut off at any byte.
    pub fn cut(&mut self) {
        self.broken = true;
        let mut keep = self.dice.below(self.len + 1);
        self.len = keep;
        for (_, bytes) in &mut self.on_the_way {
            bytes.truncate(keep);
            keep -= bytes.len();
        }
        self.on_the_way.retain(|(_, bytes)| !bytes.is_empty());
    }

    /// Bytes on their way.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// What the owner of a machine does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was handled.
    Yes,
    /// It was not: it is to be kept, with all behind it.
    No,
}

/// A machine with its outgoing bytes, driven as the driver of sockets does it.
#[derive(Debug)]
pub struct End<M> {
    /// The machine.
    pub machine: M,
    /// What is to be written.
    pub out: Out,
    /// Why the stream was dropped, once it was.
    pub closed: Option<CloseReason>,
    /// Bytes read since the beginning.
    pub arrived: usize,
    held_back: bool,
}

impl<M: Machine> End<M> {
    /// An open stream.
    pub fn new(machine: M, out: Out) -> Self {
        Self { machine, out, closed: None, arrived: 0, held_back: false }
    }

    /// Reads once and handles what came; says how many bytes that were. Reads nothing while the
    /// machine is held back.
    pub fn read(
        &mut self,
        now: Now,
        pipe: &mut Pipe,
        on_event: impl for<'a> FnMut(&mut M, M::Event<'a>, &mut Out) -> Taken,
    ) -> usize {
        if self.closed.is_some() || self.held_back {
            return 0;
        }
        let start = self.machine.tail_len();
        let mut scratch = vec![0; start + 64 * 1024];
        let Some(count) = pipe.read(now.mono, &mut scratch[start..]) else {
            self.closed = Some(CloseReason::Gone);
            return 0;
        };
        self.arrived += count;
        if count > 0 {
            self.handle(now, &mut scratch, start + count, on_event);
        }
        count
    }

    /// Goes on with what was held back.
    pub fn resume(
        &mut self,
        now: Now,
        on_event: impl for<'a> FnMut(&mut M, M::Event<'a>, &mut Out) -> Taken,
    ) {
        if self.closed.is_some() || !std::mem::take(&mut self.held_back) {
            return;
        }
        let end = self.machine.tail_len();
        self.handle(now, &mut vec![0; end], end, on_event);
    }

    fn handle(
        &mut self,
        now: Now,
        scratch: &mut [u8],
        end: usize,
        mut on_event: impl for<'a> FnMut(&mut M, M::Event<'a>, &mut Out) -> Taken,
    ) {
        let mut input = self.machine.join(now, scratch, end);
        loop {
            let before = input;
            match self.machine.next(now, &mut input, &mut self.out) {
                Ok(None) => return,
                Ok(Some(event)) => {
                    if on_event(&mut self.machine, event, &mut self.out) == Taken::No {
                        self.machine.hold(before, input);
                        self.held_back = true;
                        return;
                    }
                }
                Err(reason) => return self.fail(now, reason),
            }
        }
    }

    /// Writes what the pipe accepts; closes once a graceful close has written everything.
    pub fn write(&mut self, now: Now, pipe: &mut Pipe) {
        if self.closed.is_some() {
            return;
        }
        let accepted = pipe.write(now.mono, self.out.pending());
        let _ = self.out.accepted(accepted);
        if self.out.is_empty() && self.machine.closing().is_some() {
            self.closed = self.machine.closing();
            return;
        }
        if let Err(reason) = self.machine.wrote(now, accepted, self.out.pending().len()) {
            self.fail(now, reason);
        }
    }

    /// The sweep passes by.
    pub fn sweep(&mut self, now: Now) {
        if self.closed.is_some() {
            return;
        }
        if let Err(reason) = self.machine.on_deadline(now, &mut self.out) {
            self.fail(now, reason);
        }
    }

    /// The machine said that it is over.
    fn fail(&mut self, now: Now, reason: CloseReason) {
        self.machine.close(now, reason, "".into(), &mut self.out);
        self.closed = Some(reason);
    }
}
