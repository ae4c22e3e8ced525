//! Reading and writing of non-blocking sockets, the same for relay and generator.
//!
//! A read goes through one scratch buffer that all sockets of a loop share; a socket keeps only
//! the start of an unfinished packet. Never blocks.
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// Bytes asked for by one read.
pub(crate) const READ_LEN: usize = 64 * 1024;

/// The start of a packet whose rest has not arrived.
#[derive(Debug, Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    /// Reads once into `scratch`, behind what was kept. `None` where nothing had arrived.
    ///
    /// `scratch` grows to the kept part and [`READ_LEN`] if it is shorter.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end of the stream, and whatever the socket reports.
    pub(crate) fn read<'s>(
        &self,
        mut socket: &TcpStream,
        scratch: &'s mut Vec<u8>,
    ) -> io::Result<Option<&'s [u8]>> {
        let kept = self.0.len();
        let end = kept.saturating_add(READ_LEN);
        if scratch.len() < end {
            scratch.resize(end, 0);
        }
        let Some((front, back)) = scratch.split_at_mut_checked(kept) else { return Ok(None) };
        let Some(room) = back.get_mut(..READ_LEN) else { return Ok(None) };
        let read = match socket.read(room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if would_wait(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        front.copy_from_slice(&self.0);
        Ok(scratch.get(..kept.saturating_add(read)))
    }

    /// Keeps `rest`, the unfinished end of what the last read returned, and nothing else.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() && self.0.is_empty() {
            return;
        }
        self.0.clear();
        self.0.extend_from_slice(rest);
    }
}

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Where new bytes are appended.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes not yet accepted by the socket.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.written)
    }

    /// Writes once. Returns whether everything is out.
    ///
    /// # Errors
    /// Whatever the socket reports, except that it would have to wait.
    pub(crate) fn flush(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        let Some(left) = self.bytes.get(self.written..).filter(|left| !left.is_empty()) else {
            return Ok(true);
        };
        match socket.write(left) {
            Ok(accepted) => self.written = self.written.saturating_add(accepted),
            Err(error) if would_wait(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        let done = self.written >= self.bytes.len();
        if done {
            self.bytes.clear();
            self.written = 0;
        } else if self.written >= READ_LEN && self.written >= self.len() {
            // At least half has gone: the rest moves to the front, so the buffer stays bounded
            // and no byte is moved twice on average.
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        Ok(done)
    }
}

fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Takes the first whole packet, size prefix included, from `bytes`; `None` if it is unfinished.
///
/// # Errors
/// `InvalidData` for a size beyond `max`.
pub(crate) fn split<'a>(bytes: &mut &'a [u8], max: usize) -> io::Result<Option<&'a [u8]>> {
    let Some(prefix) = bytes.first_chunk::<4>() else { return Ok(None) };
    let size = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if size > max {
        return Err(ErrorKind::InvalidData.into());
    }
    let Some((packet, rest)) = bytes.split_at_checked(size.saturating_add(4)) else {
        return Ok(None);
    };
    *bytes = rest;
    Ok(Some(packet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_taken_only_when_it_is_whole() {
        let all = [0, 0, 0, 2, 7, 8, 0, 0];
        let mut bytes = &all[..5];
        assert_eq!(split(&mut bytes, 10).unwrap(), None);
        let mut bytes = &all[..];
        assert_eq!(split(&mut bytes, 10).unwrap(), Some(&all[..6]));
        assert_eq!(bytes, &all[6..]);
        assert_eq!(split(&mut bytes, 10).unwrap(), None);
    }

    #[test]
    fn a_size_beyond_the_limit_is_an_error_before_its_bytes_arrive() {
        let mut bytes = &[0, 0, 1, 0][..];
        assert_eq!(split(&mut bytes, 255).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
