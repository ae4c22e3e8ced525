//! The header that a load balancer writes in front of a connection: HAProxy's PROXY protocol, versions 1
//! and 2. It names the client, whose address the connection itself does not have.
//!
//! Nobody proves anything by it: whoever reads it has to know the address it comes from. What follows the
//! header is never looked at. The one thing to know: a header that is not there as a whole consists of all
//! the bytes that are there, so a reader may take them off and ask again when more have come.

mod v1;
mod v2;

use std::net::SocketAddr;

/// Longest header of version 1, in bytes, with the end of its line.
pub const V1_MAX: usize = 107;
/// Longest header of version 2 that is read, in bytes: an address and the extensions that are common.
pub const V2_MAX: usize = 4096;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes; what follows is the client's.
    pub len: usize,
    /// Who is behind the load balancer.
    pub source: Source,
}

/// Who a connection comes from, as a load balancer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The load balancer itself, as with a health check (`LOCAL`).
    Local,
    /// Somebody it cannot name: `UNKNOWN`, or a family that has no address here.
    Unknown,
    /// Somebody on the load balancer's own machine, by a Unix socket.
    Unix,
    /// A client at that address. IPv4 in its IPv6 form is given as IPv4.
    At(SocketAddr),
}

impl Source {
    /// The client's address, if there is one; else the connection's own holds.
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::At(address) => Some(address),
            Self::Local | Self::Unknown | Self::Unix => None,
        }
    }
}

/// Why bytes are no header. The connection is to be closed: nothing behind it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// They begin in another way: the load balancer does not send the header.
    #[error("it does not begin with a PROXY header")]
    Missing,
    /// A line of version 1 that breaks its rules.
    #[error("malformed line of version 1")]
    Line,
    /// A version other than 1 and 2.
    #[error("version {0} is not known")]
    Version(u8),
    /// A command of version 2 other than `LOCAL` and `PROXY`.
    #[error("command {0} is not known")]
    Command(u8),
    /// A family or transport of version 2 that is not assigned.
    #[error("family {0:#04x} is not known")]
    Family(u8),
    /// It is too short for its addresses, or an extension is longer than what is left.
    #[error("malformed header of version 2")]
    Truncated,
    /// It is longer than is read.
    #[error("longer than {max} bytes")]
    TooLong {
        /// Most bytes that are read.
        max: usize,
    },
    /// Its checksum is another one.
    #[error("wrong checksum")]
    Checksum,
}

/// Reads the header that `bytes` begin with, of either version; `None` if more bytes are needed.
///
/// # Errors
/// What is wrong with it, as soon as that can be told.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    if begins(bytes, v2::SIGNATURE) {
        return v2::parse(bytes);
    }
    if begins(bytes, v1::SIGNATURE) {
        return v1::parse(bytes);
    }
    Err(ProxyError::Missing)
}

/// Whether `bytes` begin with `signature`, as far as they go.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(a, b)| a == b)
}

/// An address as it is shown and compared: IPv4 in its IPv6 form is IPv4.
fn canonical(ip: std::net::IpAddr, port: u16) -> Source {
    Source::At(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests;
