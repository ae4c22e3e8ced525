//! Plays a script of bytes on both ends of a link and checks what must always hold.
//!
//! Every sequence of bytes is a script, so a fuzzer can write them. Without noise on the wire numbered
//! commands arrive whole, once and in order, and nothing breaks the rules; with a secret no command
//! arrives before both sides have proved it; whatever happens, neither end holds more than one frame.

use super::{Dice, End, Pipe, Taken, Weather};
use crate::{
    conn::{CloseReason, Machine, Now, Out},
    id::ConnId,
    link::{
        Command, Farewell, Frame, Kind, Lane, LinkConn, LinkEvent, LinkFeatures, LinkMark,
        LinkSettings, LinkTarget, Secret,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Largest frame of a script, as the value of its size field.
const FRAME_MAX: usize = 400;
/// What both ends say of themselves.
const MARK: LinkMark = LinkMark { life: 3, run: 4, dial: 5, last: 6 };
/// Largest control frame, and some room.
const HELD_MAX: usize = 1100;

/// Plays `script` from `start` on; the time moves only as the script says.
///
/// Panics if something does not hold that always must.
pub fn link_ops(script: &[u8], start: Instant) {
    let mut script = script.iter().copied();
    let mut play = Play::new([0; 2].map(|_| script.next().unwrap_or_default()), start);
    while let Some(op) = script.next() {
        let argument = script.next().unwrap_or_default();
        play.step(op, argument);
        play.check();
    }
}

/// One end, and the numbered commands it has sent and seen.
struct Numbered {
    end: End<LinkConn>,
    pipe: Pipe,
    sent: i64,
    seen: i64,
    consumed: Vec<usize>,
    /// Something else was put on the wire towards this end.
    noisy: bool,
}

struct Play {
    now: Now,
    dialler: Numbered,
    server: Numbered,
    secret: bool,
}

impl Play {
    fn new([kind, weather]: [u8; 2], start: Instant) -> Self {
        let now = Now { mono: start, unix_ns: 0 };
        let secret = kind & 1 != 0;
        let secrets: Vec<_> =
            secret.then(|| Secret::new("0123456789abcdef")).flatten().into_iter().collect();
        let settings = |kind, id: &str| {
            let new = LinkSettings::new(kind, id);
            Arc::new(LinkSettings {
                secrets: secrets.clone(),
                window: 1000,
                frame_max: FRAME_MAX,
                ..new
            })
        };
        let lane = if kind & 2 == 0 { Lane::Data } else { Lane::Control };
        let ours = secret || kind & 4 == 0;
        let target = LinkTarget { id: "b".into(), kind: Kind::Node, ours, lane, mark: MARK };
        let mut out = Out::default();
        let dialler = LinkConn::dial(settings(Kind::Gate, "a"), now, target, [1; 32], &mut out);
        let Ok(dialler) = dialler else { unreachable!("peers that prove nothing are accepted") };
        let server = LinkConn::accept(settings(Kind::Node, "b"), now, MARK, [2; 32]);
        let weather = Weather {
            latency_max: Duration::from_millis(u64::from(weather)),
            window: 16 << (weather & 7),
            piece_max: 1 << (weather >> 5),
        };
        let numbered = |link, out, seed| Numbered {
            end: End::new(link, out),
            pipe: Pipe::new(weather, seed),
            sent: 0,
            seen: 0,
            consumed: Vec::new(),
            noisy: false,
        };
        Self {
            now,
            dialler: numbered(dialler, out, 1),
            server: numbered(server, Out::default(), 2),
            secret,
        }
    }

    fn step(&mut self, op: u8, argument: u8) {
        let (from, to) = if op & 1 == 0 {
            (&mut self.dialler, &mut self.server)
        } else {
            (&mut self.server, &mut self.dialler)
        };
        match op >> 1 & 7 {
            0 => self.now.mono += Duration::from_millis(u64::from(argument) * 20),
            1 => from.send(argument),
            2 => from.end.write(self.now, &mut to.pipe),
            3 => to.read(self.now, argument, self.secret),
            4 => from.consume(),
            5 => from.end.sweep(self.now),
            6 if argument < 16 => {
                to.noisy = true;
                from.end.out.buffer().push(argument);
            }
            6 => match argument & 3 {
                0 => from.end.machine.farewell(Farewell::Duplicate, &mut from.end.out),
                1 => from.end.machine.farewell(Farewell::Idle, &mut from.end.out),
                2 => from.end.machine.welcome(&mut from.end.out),
                _ => from.end.machine.tell_life(argument.into(), &mut from.end.out),
            },
            _ if argument == 0 => to.pipe.cut(),
            _ if argument == 1 => {
                from.end.machine.close(
                    self.now,
                    CloseReason::Shutdown,
                    "".into(),
                    &mut from.end.out,
                );
            }
            _ => {}
        }
    }

    fn check(&self) {
        for numbered in [&self.dialler, &self.server] {
            let held = numbered.end.machine.held();
            assert!(held <= numbered.end.arrived + HELD_MAX, "{held} held");
            if !numbered.noisy
                && let Some(CloseReason::Link(fault)) = numbered.end.closed
            {
                let time = fault == crate::link::LinkFault::Silent;
                assert!(time || self.dialler.noisy || self.server.noisy, "{fault}");
            }
        }
    }
}

impl Numbered {
    fn send(&mut self, len: u8) {
        let machine = &mut self.end.machine;
        if !machine.is_up() || !machine.has_room() {
            return;
        }
        let body = vec![len; len.into()];
        let command = Command::Deliver { conn: ConnId(self.sent), user: None, packet: &body };
        if machine.send(&Frame::Request { seq: 0, command }, &mut self.end.out).is_ok() {
            self.sent += 1;
        }
    }

    fn consume(&mut self) {
        for len in std::mem::take(&mut self.consumed) {
            self.end.machine.consumed(len, &mut self.end.out);
        }
    }

    fn read(&mut self, now: Now, argument: u8, secret: bool) {
        let (seen, consumed, noisy) = (&mut self.seen, &mut self.consumed, self.noisy);
        let mut dice = Dice::new(argument.into());
        let mut on_event = |link: &mut LinkConn, event: LinkEvent<'_>, _: &mut Out| {
            let LinkEvent::Frame { frame, len } = event else { return Taken::Yes };
            assert!(link.is_up());
            assert!(!secret || link.peer().features.has(LinkFeatures::AUTHENTICATION));
            if dice.once_in(8) {
                return Taken::No;
            }
            consumed.push(len);
            if let Frame::Request { command: Command::Deliver { conn, .. }, .. } = frame
                && !noisy
            {
                assert_eq!(conn, ConnId(*seen), "lost, doubled or swapped");
                *seen += 1;
            }
            Taken::Yes
        };
        self.end.resume(now, &mut on_event);
        self.end.read(now, &mut self.pipe, on_event);
    }
}
