//! Version 1: one line of text, `PROXY TCP4 192.0.2.7 198.51.100.1 56324 443`.
//!
//! It is read as strictly as it is specified: one space between words, decimal ports without a sign.

use super::{Header, ProxyError, Source, V1_MAX, canonical};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let most = bytes.get(..V1_MAX).unwrap_or(bytes);
    let Some(end) = most.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_MAX {
            Ok(None)
        } else {
            Err(ProxyError::TooLong { max: V1_MAX })
        };
    };
    let line = most.get(SIGNATURE.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(ProxyError::Line)?;
    let source = source(line).ok_or(ProxyError::Line)?;
    Ok(Some(Header { len: end.saturating_add(1), source }))
}

/// What stands behind `PROXY `.
fn source(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Source::Unknown); // whatever follows
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (port, other) = (port(words.next()?)?, port(words.next()?)?);
    let _only_that_it_is_one = other;
    let read = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    };
    let (source, _destination) = (read(source)?, read(destination)?);
    words.next().is_none().then(|| canonical(source, port))
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let first_counts = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| plain && first_counts)
}
