//! What bytes seem to be that make no sense in the configured layout.
//!
//! Nothing on the wire tells a packet's layout, so two ends that are configured differently talk
//! past each other without an error. Here one packet is read in every other layout, and the one in
//! which it makes most sense wins. It is a guess, for a log line and a status; never called for
//! packets that were understood. Pure; costs at most 47 looks at one packet.

use super::{ByteOrder, CONTROL, Layout, SIZE_LEN, Width};
use crate::id::RouteId;
use std::fmt;

/// What bytes seem to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guess {
    /// A packet of another layout, with the route and sequence number that it has there.
    Layout {
        /// The configured layout with the byte order and the widths that fit.
        layout: Layout,
        /// The route, unless the packet has none, as a heartbeat.
        route: Option<RouteId>,
        /// The sequence number; 0 without one.
        seq: i32,
    },
    /// A request of HTTP, and so perhaps of WebSocket.
    Http,
    /// The beginning of a TLS handshake.
    Tls,
    /// The header of a load balancer.
    Proxied,
}

/// Names the settings that differ in due's files.
impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { layout, .. } => Keys(layout).fmt(f),
            Self::Http => f.write_str("HTTP or WebSocket"),
            Self::Tls => f.write_str("TLS"),
            Self::Proxied => f.write_str("the PROXY protocol"),
        }
    }
}

/// A layout by the keys of the settings it comes from, as in `packet.routeBytes = 2`.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a>(pub &'a Layout);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.0.order {
            ByteOrder::Big => "big",
            ByteOrder::Little => "little",
        };
        let (route, seq) = (self.0.route.bytes(), self.0.seq.map_or(0, Width::bytes));
        write!(
            f,
            "packet.byteOrder = {order}, packet.routeBytes = {route}, packet.seqBytes = {seq}"
        )
    }
}

const HTTP: [&[u8; 4]; 9] =
    [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"DELE", b"PATC", b"TRAC"];
const TLS: [u8; 2] = [0x16, 3];
const PROXIED: [&[u8; 4]; 2] = [b"PROX", b"\r\n\r\n"];
/// Sequence numbers of a client that has not spoken for long.
const SEQ_MAX: i32 = 4096;

/// The sense that a packet for an unserved route must make: more than a sequence number.
const CLEAR: u32 = 5;
/// What it takes off the sense of a packet that nobody serves its route.
const UNSERVED: u32 = 3;

impl Guess {
    /// What `bytes`, the first of a connection, seem to be if they are no packets; `None` if they may be.
    pub fn of_no_packet(bytes: &[u8]) -> Option<Self> {
        let start = bytes.first_chunk::<SIZE_LEN>()?;
        if HTTP.contains(&start) {
            return Some(Self::Http);
        }
        if PROXIED.contains(&start) {
            return Some(Self::Proxied);
        }
        start.starts_with(&TLS).then_some(Self::Tls)
    }
}

impl Layout {
    /// What `bytes`, which begin where a packet should, seem to be; `None` if nothing fits.
    /// `is_route` tells which routes there are.
    pub fn guess(&self, bytes: &[u8], is_route: impl Fn(RouteId) -> bool) -> Option<Guess> {
        if bytes.len() < SIZE_LEN {
            return None;
        }
        if let Some(guess) = Guess::of_no_packet(bytes) {
            return Some(guess);
        }
        let orders = [ByteOrder::Big, ByteOrder::Little];
        let others = || {
            let all = orders.into_iter().flat_map(|order| self.all(order));
            all.filter(|layout| !layout.reads_as(self))
        };
        let likely = others().filter_map(|layout| layout.likely(self, bytes, &is_route));
        let best = likely.max_by_key(|(score, _)| *score);
        // It may be what it says: a message for a route that nobody serves.
        let as_it_is = self.likely(self, bytes, |_| true).map(|(score, _)| score);
        match (best, as_it_is) {
            (Some((score, guess)), as_it_is) => {
                let least = as_it_is.unwrap_or(0).saturating_sub(UNSERVED);
                (score >= least).then_some(guess)
            }
            (None, Some(_)) => None,
            // It says nothing here, so it may be for an unserved route in another layout.
            (None, None) => {
                let likely =
                    others().filter_map(|layout| layout.likely(self, bytes, |id| id.0 != 0));
                let clear = likely.filter(|(score, guess)| {
                    *score >= CLEAR && matches!(guess, Guess::Layout { seq: 1.., .. })
                });
                clear.max_by_key(|(score, _)| *score).map(|(_, guess)| guess)
            }
        }
    }

    /// This layout with that order and every width.
    fn all(&self, order: ByteOrder) -> impl Iterator<Item = Self> + use<> {
        let (layout, widths) = (*self, [Width::One, Width::Two, Width::Four]);
        widths.into_iter().flat_map(move |route| {
            let seqs = [None, Some(Width::One), Some(Width::Two), Some(Width::Four)];
            seqs.into_iter().map(move |seq| Self { order, route, seq, ..layout })
        })
    }

    fn reads_as(&self, other: &Self) -> bool {
        (self.order, self.route, self.seq) == (other.order, other.route, other.seq)
    }

    /// How much sense the packet makes in this layout, if any.
    fn likely(
        self,
        configured: &Self,
        bytes: &[u8],
        is_route: impl Fn(RouteId) -> bool,
    ) -> Option<(u32, Guess)> {
        let len = self.packet_len(bytes).ok()??;
        let packet = bytes.get(SIZE_LEN..len.min(bytes.len()))?;
        let (header, mut body) = packet.split_first()?;
        if header & CONTROL != 0 {
            // It has no widths: only an order can be told from it.
            let widths = (self.route, self.seq) == (configured.route, configured.seq);
            let only_order = widths && self.order != configured.order;
            return only_order.then_some((1, Guess::Layout { layout: self, route: None, seq: 0 }));
        }
        let route = self.route.take(self.order, &mut body).map(RouteId)?;
        let seq = match self.seq {
            Some(width) => width.take(self.order, &mut body)?,
            None => 0,
        };
        if !is_route(route) || !(0..=SEQ_MAX).contains(&seq) {
            return None;
        }
        let as_json = body.first().is_none_or(|first| matches!(first, b'{' | b'['));
        // A number of 0 may as well be half of a wider field.
        let (numbered, plain) = (seq > 0, self.seq.is_none());
        let even = self.seq == Some(self.route);
        let score = [(numbered, 4), (plain, 2), (as_json, 6), (even, 1)];
        let score = score.into_iter().filter(|(met, _)| *met).map(|(_, points)| points).sum();
        Some((score, Guess::Layout { layout: self, route: Some(route), seq }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layouts() -> Vec<Layout> {
        let layout = Layout::default();
        [ByteOrder::Big, ByteOrder::Little].into_iter().flat_map(|o| layout.all(o)).collect()
    }

    fn packet(layout: &Layout, seq: i32, body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        layout.encode_data(RouteId(101), seq, body, &mut packet).unwrap();
        packet
    }

    /// Whether the gate would look for a reason: the packet is not a message for a known route.
    fn puzzles(gate: &Layout, packet: &[u8]) -> bool {
        !matches!(gate.decode(&mut &packet[..]),
            Ok(Some(super::super::Packet::Data(data))) if data.route == RouteId(101))
    }

    #[test]
    fn every_layout_is_named_by_a_gate_of_every_other() {
        let (mut named, mut puzzled) = (0, 0);
        for gate in layouts() {
            for client in layouts() {
                for seq in [1, 7, 100] {
                    let packet = packet(&client, seq, br#"{"name":"Ann"}"#);
                    if !puzzles(&gate, &packet) {
                        continue;
                    }
                    puzzled += 1;
                    let guess = gate.guess(&packet, |route| route == RouteId(101));
                    let Some(Guess::Layout { layout, route, .. }) = guess else {
                        panic!("{gate:?} {client:?} {seq}: {guess:?}")
                    };
                    // Of one byte neither order is wrong, but that of the size field is.
                    assert_eq!(layout, client, "{gate:?} {seq}");
                    assert_eq!(route, Some(RouteId(101)));
                    named += 1;
                }
            }
        }
        assert!(puzzled > 1000 && named == puzzled, "{named} of {puzzled}");
    }

    #[test]
    fn a_body_that_is_not_json_is_named_by_its_sequence_number() {
        let wide = Layout { route: Width::Four, seq: Some(Width::Four), ..Layout::default() };
        let packet = packet(&wide, 3, &[0x0a, 3, b'A', b'n', b'n']);
        let guess = Layout::default().guess(&packet, |route| route == RouteId(101));
        let right = Guess::Layout { layout: wide, route: Some(RouteId(101)), seq: 3 };
        assert_eq!(guess, Some(right));
        assert_eq!(
            right.to_string(),
            "packet.byteOrder = big, packet.routeBytes = 4, packet.seqBytes = 4"
        );
    }

    #[test]
    fn the_heartbeat_of_the_other_order_and_other_protocols_are_named() {
        let gate = Layout::default();
        let little = Layout { order: ByteOrder::Little, ..gate };
        let guess = gate.guess(&[1, 0, 0, 0, 0x80], |_| false);
        assert_eq!(guess, Some(Guess::Layout { layout: little, route: None, seq: 0 }));
        assert_eq!(gate.guess(b"GET / HTTP/1.1\r\n", |_| true), Some(Guess::Http));
        for header in [&b"PROXY TCP4 1"[..], b"\r\n\r\n\0\r\nQUIT\n"] {
            assert_eq!(gate.guess(header, |_| true), Some(Guess::Proxied));
        }
        assert_eq!(gate.guess(&[0x16, 3, 1, 2, 0], |_| true), Some(Guess::Tls));
    }

    #[test]
    fn what_makes_no_sense_as_configured_is_named_even_for_a_route_that_nobody_serves() {
        let wide = Width::Four;
        let little = ByteOrder::Little;
        let gate = Layout { order: little, route: wide, seq: Some(wide), ..Layout::default() };
        for order in [ByteOrder::Big, ByteOrder::Little] {
            let client = Layout { order, ..Layout::default() };
            for body in [&b"21"[..], br#"{"name":"Ann"}"#] {
                let guess = gate.guess(&packet(&client, 1, body), |_| false);
                let right = Guess::Layout { layout: client, route: Some(RouteId(101)), seq: 1 };
                assert_eq!(guess, Some(right), "{order:?} {body:?}");
            }
        }
        let late = packet(&Layout::default(), 5000, &[7; 9]);
        assert_eq!(Layout::default().guess(&late, |_| false), None, "a large number is no reason");
    }

    #[test]
    fn what_fits_nowhere_is_not_guessed() {
        let gate = Layout::default();
        for bytes in [&[][..], &[0, 0], &[0xff; 40], &[0, 0, 0, 0], &[0, 0, 0, 1, 0x80]] {
            assert_eq!(gate.guess(bytes, |_| true), None, "{bytes:?}");
        }
        let unknown = packet(&gate, 1, b"{}");
        assert_eq!(gate.guess(&unknown, |_| false), None, "no route fits");
        // In one byte each this would be route 1 with the number 44, and a body of nonsense.
        let mut plausible = Vec::new();
        gate.encode_data(RouteId(300), 1, b"{}", &mut plausible).unwrap();
        assert_eq!(gate.guess(&plausible, |route| route == RouteId(1)), None);
    }
}
