//! The client's side of WebSocket, as little as a load generator needs.
//!
//! One unfragmented binary message per packet, no extension, no check of the accept key. The mask
//! is constant: it costs the server what any mask costs, and there is no proxy here to protect.
use super::target::Web;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];
const FIN: u8 = 0x80;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// A longer answer to the handshake is not one.
const ANSWER_MAX: usize = 8 * 1024;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Message(&'a [u8]),
    Ping(&'a [u8]),
    Close,
    Other,
}

/// Opens the WebSocket on a connected, blocking socket.
///
/// # Errors
/// `InvalidData` if the server does not switch; otherwise those of the socket.
pub(super) fn handshake(mut socket: &TcpStream, web: &Web) -> io::Result<()> {
    let Web { host, path } = web;
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eXVtZW4tYmVuY2gtMDAwMQ==\r\n\r\n"
    );
    socket.write_all(text.as_bytes())?;
    let (mut answer, mut byte) = (Vec::new(), [0_u8]);
    // Byte by byte, so that nothing behind the answer is read. It is not what is measured.
    while !answer.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        answer.extend_from_slice(&byte);
        if answer.len() > ANSWER_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    if answer.starts_with(b"HTTP/1.1 101 ") {
        return Ok(());
    }
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    Err(io::Error::new(ErrorKind::InvalidData, format!("the server answered {line:?}")))
}

/// Appends `payload` as one binary message.
pub(super) fn message(payload: &[u8], out: &mut Vec<u8>) {
    frame(BINARY, payload, out);
}

/// Appends the answer to a ping.
pub(super) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    frame(PONG, payload, out);
}

fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FIN | kind);
    if let Ok(len @ 0..=125) = u8::try_from(payload.len()) {
        out.push(0x80 | len);
    } else if let Ok(len) = u16::try_from(payload.len()) {
        out.push(0x80 | 126);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(0x80 | 127);
        out.extend_from_slice(&u64::try_from(payload.len()).unwrap_or(u64::MAX).to_be_bytes());
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    let Some(copy) = out.get_mut(start..) else { return };
    let (words, rest) = copy.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(MASK)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(MASK) {
        *byte ^= mask;
    }
}

/// Takes the first whole frame of a server off `bytes`; `None` if it is unfinished.
///
/// # Errors
/// `InvalidData` for a fragment or a masked frame, which no server of ours sends.
pub(super) fn take<'a>(bytes: &mut &'a [u8]) -> io::Result<Option<Frame<'a>>> {
    let Some(([first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if first & FIN == 0 || second & 0x80 != 0 {
        return Err(io::Error::new(ErrorKind::InvalidData, "a fragmented or masked frame"));
    }
    let (len, rest) = match second {
        126 => match rest.split_first_chunk::<2>() {
            Some((len, rest)) => (usize::from(u16::from_be_bytes(*len)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((len, rest)) => {
                (usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX), rest)
            }
            None => return Ok(None),
        },
        len => (usize::from(*len), rest),
    };
    let Some((payload, rest)) = rest.split_at_checked(len) else { return Ok(None) };
    *bytes = rest;
    Ok(Some(match first & 0xf {
        BINARY => Frame::Message(payload),
        PING => Frame::Ping(payload),
        CLOSE => Frame::Close,
        _ => Frame::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_carries_its_payload_under_the_mask() {
        for len in [0, 1, 7, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let mut out = Vec::new();
            message(&payload, &mut out);
            let head = out.len() - len - 4;
            assert_eq!(
                head,
                if len < 126 {
                    2
                } else if len < 65_536 {
                    4
                } else {
                    10
                }
            );
            assert_eq!((out[0], out[1] & 0x80), (0x82, 0x80));
            assert_eq!(out[head..head + 4], MASK);
            let plain: Vec<u8> =
                out[head + 4..].iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m).collect();
            assert_eq!(plain, payload);
        }
    }

    #[test]
    fn server_frames_are_taken_whole_and_in_order() {
        let mut all = vec![0x82, 3, 1, 2, 3, 0x89, 1, 9, 0x82, 126, 1, 0];
        all.extend_from_slice(&[7; 256]);
        all.extend_from_slice(&[0x8a, 0, 0x88, 2, 3, 0xe8]);
        for cut in 0..all.len() {
            let mut bytes = &all[..cut];
            while take(&mut bytes).unwrap().is_some() {}
            assert!(bytes.len() < 260, "only an unfinished frame is left");
        }
        let mut bytes = &all[..];
        assert_eq!(take(&mut bytes).unwrap(), Some(Frame::Message(&[1, 2, 3])));
        assert_eq!(take(&mut bytes).unwrap(), Some(Frame::Ping(&[9])));
        assert_eq!(take(&mut bytes).unwrap(), Some(Frame::Message(&[7; 256])));
        assert_eq!(take(&mut bytes).unwrap(), Some(Frame::Other));
        assert_eq!(take(&mut bytes).unwrap(), Some(Frame::Close));
        assert_eq!(take(&mut bytes).unwrap(), None);
    }

    #[test]
    fn fragments_are_refused() {
        assert!(take(&mut &[0x02, 1, 0][..]).is_err());
    }
}
