//! What a bad client does: the first bytes it sends, and those it sends each second.
//!
//! Pure: bytes from dice. Which socket they go to and when is [`attack`](super::attack)'s. The
//! shares are of a thousand connections, so that any number of them is the same mix.
use serde::{Deserialize, Serialize};

/// Numbers that look random (splitmix64); the same seed gives the same attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.roll().checked_rem(limit).unwrap_or(0)).unwrap_or(0)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.roll().to_be_bytes()[0]).collect()
    }
}

/// What a connection is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deed {
    /// Says nothing at all.
    Silence,
    /// Bytes without a meaning.
    RandomBytes,
    /// The header of a large packet, then silence.
    HalfPacket,
    /// Half of a large packet, then silence.
    HalfBody,
    /// A size field far beyond the limit.
    Oversize,
    /// Packets of no byte, of one and of two, without end.
    Undersize,
    /// One byte a second of a packet.
    Dribble,
    /// Requests without end, and never a read.
    NeverReads,
    /// Whole packets for routes that nobody serves, without end.
    UnknownRoutes,
    /// Bytes without a meaning, to the WebSocket listener.
    WebGarbage,
    /// Half of an upgrade request, then silence.
    WebHalfRequest,
    /// One byte a second of an upgrade request.
    WebDribble,
    /// An upgrade request of 64 KiB.
    WebHugeRequest,
    /// A request for another path.
    WebWrongPath,
    /// A proper handshake, then bytes without a meaning.
    WebThenGarbage,
    /// A proper handshake, then the header of a large frame and silence.
    WebThenHalfFrame,
    /// A proper handshake, then a frame that claims to be endless.
    WebThenOversize,
    /// Opened and reset, as fast as the pace allows; now and then with some bytes.
    ResetStorm,
    /// Opened and closed, as fast as the pace allows.
    CloseStorm,
}

use Deed::{
    CloseStorm, Dribble, HalfBody, HalfPacket, NeverReads, Oversize, RandomBytes, ResetStorm,
    Silence, Undersize, UnknownRoutes, WebDribble, WebGarbage, WebHalfRequest, WebHugeRequest,
    WebThenGarbage, WebThenHalfFrame, WebThenOversize, WebWrongPath,
};

/// Every deed and its share of a thousand. Storms come on top of those that are held at once.
const SHARES: [(Deed, usize); 17] = [
    (Silence, 50),
    (RandomBytes, 100),
    (HalfPacket, 150),
    (HalfBody, 30),
    (Oversize, 80),
    (Undersize, 50),
    (Dribble, 140),
    (NeverReads, 10),
    (UnknownRoutes, 20),
    (WebGarbage, 80),
    (WebHalfRequest, 80),
    (WebDribble, 60),
    (WebHugeRequest, 30),
    (WebWrongPath, 20),
    (WebThenGarbage, 50),
    (WebThenHalfFrame, 30),
    (WebThenOversize, 20),
];

/// Body length of the large packets, in bytes: below what the server accepts.
const LARGE: usize = 60 * 1024;

/// The path that the server's WebSocket listener serves.
pub(super) const PATH: &str = "/game";

impl Deed {
    /// Who does what among so many connections: the mix, in an order that the dice choose.
    pub(super) fn mix(connections: usize, dice: &mut Dice) -> Vec<Self> {
        let pool: Vec<Self> =
            SHARES.iter().flat_map(|(deed, share)| std::iter::repeat_n(*deed, *share)).collect();
        let mut mix: Vec<Self> = pool.into_iter().cycle().take(connections).collect();
        for at in (1..mix.len()).rev() {
            mix.swap(at, dice.below(crate::number::count(at).saturating_add(1)));
        }
        mix
    }

    /// Whether it goes to the WebSocket listener.
    pub(super) fn is_web(self) -> bool {
        self.upgrades()
            || matches!(
                self,
                WebGarbage | WebHalfRequest | WebDribble | WebHugeRequest | WebWrongPath
            )
    }

    fn upgrades(self) -> bool {
        matches!(self, WebThenGarbage | WebThenHalfFrame | WebThenOversize)
    }

    /// Whether the server has to end the connection by itself. The others break no rule, so they
    /// stay until the attacker leaves.
    pub(super) fn must_end(self) -> bool {
        !matches!(self, Undersize | UnknownRoutes | ResetStorm | CloseStorm)
    }

    /// Whether nothing is ever read.
    pub(super) fn is_deaf(self) -> bool {
        self == NeverReads
    }

    /// The first bytes.
    pub(super) fn first(self, dice: &mut Dice) -> Vec<u8> {
        match self {
            // What one sends that never reads is asked for with `requests`.
            Silence | CloseStorm | NeverReads => Vec::new(),
            RandomBytes | WebGarbage => {
                let len = dice.below(512).saturating_add(1);
                dice.bytes(len)
            }
            HalfPacket => packet(1, LARGE).into_iter().take(9).collect(),
            HalfBody => packet(1, LARGE).into_iter().take(LARGE / 2).collect(),
            Oversize => (0x0100_0000 | (dice.roll() >> 40)).to_be_bytes()[4..].to_vec(),
            Undersize => [0, 0, 0, 0].to_vec(),
            Dribble | WebDribble => self.dribbled(0),
            UnknownRoutes => unknown(8, dice),
            WebHalfRequest => request(PATH).into_bytes().into_iter().take(60).collect(),
            WebHugeRequest => format!("GET {PATH} HTTP/1.1\r\nX: {}", "y".repeat(64 * 1024)).into(),
            WebWrongPath => request("/debug/pprof").into_bytes(),
            WebThenGarbage | WebThenHalfFrame | WebThenOversize => request(PATH).into_bytes(),
            ResetStorm => packet(1, 100).into_iter().take(dice.below(40)).collect(),
        }
    }

    /// What follows the answer to an upgrade request.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others ask for none")]
    pub(super) fn after_upgrade(self, dice: &mut Dice) -> Option<Vec<u8>> {
        match self {
            // Its first byte has reserved bits set: no frame begins like that.
            WebThenGarbage => Some([vec![0xf3], dice.bytes(200)].concat()),
            WebThenHalfFrame => {
                let mut frame = vec![0x82, 0xfe];
                frame.extend(u16::try_from(LARGE).unwrap_or(u16::MAX).to_be_bytes());
                frame.extend(dice.bytes(64));
                Some(frame)
            }
            WebThenOversize => Some([&[0x82, 0xff][..], &[0x7f; 8], &[0; 4]].concat()),
            _ => None,
        }
    }

    /// What is sent in the given second of its life, from 1 on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are silent by then")]
    pub(super) fn each_second(self, second: usize, dice: &mut Dice) -> Vec<u8> {
        match self {
            Dribble | WebDribble => self.dribbled(second),
            Undersize => [[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 2, 0, 0]]
                .iter()
                .zip([4, 5, 6])
                .flat_map(|(packet, len)| packet.iter().take(len).copied())
                .collect(),
            UnknownRoutes => unknown(50, dice),
            _ => Vec::new(),
        }
    }

    fn dribbled(self, second: usize) -> Vec<u8> {
        let all = if self == WebDribble { request(PATH).into_bytes() } else { packet(1, 200) };
        all.get(second).map(|byte| vec![*byte]).unwrap_or_default()
    }

    /// Its name, as in JSON.
    pub(super) fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A packet in the default layout, for one of the server's routes.
fn packet(route: u16, body_len: usize) -> Vec<u8> {
    let size = u32::try_from(body_len.saturating_add(5)).unwrap_or(u32::MAX);
    let mut packet = size.to_be_bytes().to_vec();
    packet.push(0);
    packet.extend(route.to_be_bytes());
    packet.extend([0, 1]);
    packet.resize(packet.len().saturating_add(body_len), 0x61);
    packet
}

/// Requests that are answered with as many bytes.
pub(super) fn requests(count: usize) -> Vec<u8> {
    packet(super::server::ECHO, 1000).repeat(count)
}

fn unknown(count: usize, dice: &mut Dice) -> Vec<u8> {
    let route =
        |dice: &mut Dice| u16::try_from(dice.below(30_000)).unwrap_or(0).saturating_add(1000);
    (0..count).flat_map(|_| packet(route(dice), 20)).collect()
}

fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_of_a_thousand_and_a_mix_has_all_of_them() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<usize>(), 1000);
        let mix = Deed::mix(1000, &mut Dice::new(1));
        for (deed, share) in SHARES {
            assert_eq!(mix.iter().filter(|done| **done == deed).count(), share, "{deed:?}");
        }
        assert_ne!(mix, Deed::mix(1000, &mut Dice::new(2)));
    }

    #[test]
    fn an_oversize_header_is_beyond_every_limit_and_a_dribbled_packet_takes_minutes() {
        let mut dice = Dice::new(7);
        for _ in 0..1000 {
            let size = u32::from_be_bytes(Oversize.first(&mut dice).try_into().unwrap());
            assert!(size >= 0x0100_0000, "{size}");
        }
        let dribbled: Vec<u8> = (0..100).flat_map(|s| Dribble.each_second(s, &mut dice)).collect();
        assert_eq!(dribbled, packet(1, 200)[..100]);
    }
}
