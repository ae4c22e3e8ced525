//! Version 2: a signature, a version, a command, a family, a length, then addresses and extensions.
//!
//! Extensions are skipped, but for the checksum (CRC32c), which is checked where there is one.

use super::{Header, ProxyError, Source, V2_MAX, canonical};
use crate::read::Reader;
use std::net::IpAddr;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const HEAD_LEN: usize = 16;
/// Both paths of a Unix socket.
const UNIX_LEN: usize = 216;
/// The extension with the checksum of the header.
const CHECKSUM: u8 = 3;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let mut head = Reader(bytes.get(SIGNATURE.len()..).unwrap_or_default());
    let Some(first) = head.u8() else { return Ok(None) };
    if first >> 4 != 2 {
        return Err(ProxyError::Version(first >> 4));
    }
    let command = first & 0x0f;
    if command > 1 {
        return Err(ProxyError::Command(command));
    }
    let (Some(family), Some(len)) = (head.u8(), head.u16()) else { return Ok(None) };
    let len = HEAD_LEN.saturating_add(usize::from(len));
    if len > V2_MAX {
        return Err(ProxyError::TooLong { max: V2_MAX });
    }
    let Some(header) = bytes.get(..len) else { return Ok(None) };
    let mut body = Reader(header.get(HEAD_LEN..).unwrap_or_default());
    // With LOCAL whatever follows is skipped unread, addresses included.
    if command == 0 {
        return Ok(Some(Header { len, source: Source::Local }));
    }
    let source = source(family, &mut body)?;
    check(header, body)?;
    Ok(Some(Header { len, source }))
}

/// The addresses at the front of `body`.
fn source(family: u8, body: &mut Reader<'_>) -> Result<Source, ProxyError> {
    let (transport, short) = (family & 0x0f, ProxyError::Truncated);
    if transport > 2 {
        return Err(ProxyError::Family(family));
    }
    match family >> 4 {
        // Nothing says how long addresses of no family are.
        0 => {
            body.rest();
            Ok(Source::Unknown)
        }
        1 => between::<4>(body).ok_or(short),
        2 => between::<16>(body).ok_or(short),
        3 => body.bytes(UNIX_LEN).map(|_paths| Source::Unix).ok_or(short),
        _ => Err(ProxyError::Family(family)),
    }
}

/// Source, destination, and their ports.
fn between<const N: usize>(body: &mut Reader<'_>) -> Option<Source>
where
    IpAddr: From<[u8; N]>,
{
    let (source, _destination) = (body.array::<N>()?, body.array::<N>()?);
    let (port, _other) = (body.u16()?, body.u16()?);
    Some(canonical(source.into(), port))
}

/// Walks over the extensions in `rest`, the end of `header`, and checks the checksum if there is one.
fn check(header: &[u8], mut rest: Reader<'_>) -> Result<(), ProxyError> {
    while !rest.0.is_empty() {
        let (kind, len) = rest.u8().zip(rest.u16()).ok_or(ProxyError::Truncated)?;
        let at = header.len().saturating_sub(rest.0.len());
        let value = rest.bytes(len.into()).ok_or(ProxyError::Truncated)?;
        if kind == CHECKSUM {
            let told = Reader(value).u32().filter(|_| value.len() == 4);
            let told = told.ok_or(ProxyError::Truncated)?;
            if checksum(header, at) != told {
                return Err(ProxyError::Checksum);
            }
        }
    }
    Ok(())
}

/// CRC32c of the header, with the four bytes at `hole` taken as zero. Bit by bit: it is once a connection.
fn checksum(header: &[u8], hole: usize) -> u32 {
    let hole = hole..hole.saturating_add(4);
    let mut sum = u32::MAX;
    for (at, byte) in header.iter().enumerate() {
        sum ^= u32::from(if hole.contains(&at) { 0 } else { *byte });
        for _ in 0..8 {
            sum = (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !sum
}

#[cfg(test)]
pub(super) fn sum_for_tests(header: &[u8], hole: usize) -> u32 {
    checksum(header, hole)
}
