//! Who is behind the proxies that an `X-Forwarded-For` header names. Only of a request that came from a
//! proxy that is believed.
//!
//! Each proxy adds on the right whom it was dialled by, so the list is read from the right and believed as
//! far as it was written by proxies that are believed themselves; what a client put into it stands further
//! left and is never reached.

use crate::block::NetBlock;
use std::net::{IpAddr, SocketAddr};

/// Most entries that are looked at, from the right.
const HOPS_MAX: usize = 32;

/// The rightmost address that is no proxy of ours, in the header's `lines`; or the leftmost address, if all are.
/// Port 0 where none is written. `None` if the rightmost entry is no address.
pub(super) fn client<'a>(
    lines: impl DoubleEndedIterator<Item = &'a str>,
    ours: &[NetBlock],
) -> Option<SocketAddr> {
    let entries = lines.rev().flat_map(|line| line.rsplit(','));
    let mut best = None;
    for address in entries.take(HOPS_MAX).map_while(read) {
        best = Some(address);
        if !ours.iter().any(|block| block.has(address.ip())) {
            break;
        }
    }
    best
}

/// An address, with or without a port.
fn read(entry: &str) -> Option<SocketAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let alone = bare.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    let address = alone.or_else(|| entry.parse().ok())?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<String> {
        let ours = ["10.0.0.0/8", "fd00::/8"].map(|block| block.parse().unwrap());
        client(lines.iter().copied(), &ours).map(|address| address.to_string())
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_of_ours_is_the_client() {
        for (lines, expected) in [
            (&["192.0.2.7"][..], "192.0.2.7:0"),
            // What the client says of itself is not believed.
            (&["127.0.0.1, 192.0.2.7"], "192.0.2.7:0"),
            (&["127.0.0.1, 192.0.2.7, 10.1.1.1,10.1.1.2"], "192.0.2.7:0"),
            (&["192.0.2.9", "192.0.2.7, 10.1.1.1", "fd00::1"], "192.0.2.7:0"),
            (&["192.0.2.7:5000"], "192.0.2.7:5000"),
            (&["2001:db8::7"], "[2001:db8::7]:0"),
            (&["[2001:db8::7]:5000"], "[2001:db8::7]:5000"),
            (&["[2001:db8::7]"], "[2001:db8::7]:0"),
            (&["::ffff:192.0.2.7"], "192.0.2.7:0"),
            // All are ours: the one that began it.
            (&["10.1.1.3, 10.1.1.1"], "10.1.1.3:0"),
            // Nothing behind an entry that cannot be read is believed.
            (&["192.0.2.7, unknown, 10.1.1.1"], "10.1.1.1:0"),
        ] {
            assert_eq!(of(lines).as_deref(), Some(expected), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["unknown"], &["192.0.2.7, "], &["192.0.2.7, 999.1.1.1"]] {
            assert_eq!(of(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_long_list_is_looked_at_no_further_than_its_bound() {
        let line = format!("192.0.2.7{}", ", 10.1.1.1".repeat(HOPS_MAX));
        assert_eq!(of(&[&line]).as_deref(), Some("10.1.1.1:0"));
        let line = format!("192.0.2.7{}", ", 10.1.1.1".repeat(HOPS_MAX - 1));
        assert_eq!(of(&[&line]).as_deref(), Some("192.0.2.7:0"));
    }
}
