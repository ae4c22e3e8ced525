//! Which addresses of this machine others in the same private network can dial.
//!
//! The system's own routes are asked, and nothing is sent: no name is resolved, and nobody outside has to
//! answer (W-27).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Addresses in the three private networks of RFC 1918. Whether they exist does not matter.
const ELSEWHERE: [Ipv4Addr; 3] = [
    Ipv4Addr::new(192, 168, 255, 254),
    Ipv4Addr::new(10, 255, 255, 254),
    Ipv4Addr::new(172, 31, 255, 254),
];

/// The addresses with which this machine would speak to private networks, each once. Empty where it has no
/// route to any.
pub fn sources() -> Vec<Ipv4Addr> {
    let mut sources = Vec::new();
    for there in ELSEWHERE {
        let source = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
            // Of a datagram socket that only picks the route.
            socket.connect((there, 9))?;
            socket.local_addr()
        });
        if let Ok(SocketAddr::V4(source)) = source
            && !sources.contains(source.ip())
        {
            sources.push(*source.ip());
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_this_machines_own() {
        for source in sources() {
            assert!(!source.is_unspecified(), "{source}");
            UdpSocket::bind((source, 0)).expect("only an own address can be bound");
        }
    }
}
