//! What lies between the socket's bytes and the machine's packets: nothing, or WebSocket frames.

#[cfg(feature = "ws")]
use crate::ws::Link;
use std::{
    cell::RefCell,
    net::SocketAddr,
    time::{Duration, Instant},
};
use yumen_proto::conn::{CloseReason, Machine, Out};

/// How packets travel over a connection.
#[derive(Debug)]
pub enum Transport {
    /// One after the other, as a byte stream.
    Stream,
    /// Each as a WebSocket binary message.
    #[cfg(feature = "ws")]
    Ws(Box<Link>),
}

impl Transport {
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream)
    }

    /// Bytes arrived.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        match self {
            Self::Stream => {
                let _a_stream_is_read_in_place = bytes;
            }
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.feed(bytes),
        }
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Result<Option<bytes::Bytes>, CloseReason> {
        match self {
            Self::Stream => Ok(None),
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.next(),
        }
    }

    /// Whether bytes wait to be looked at.
    pub(super) fn has_input(&self) -> bool {
        match self {
            Self::Stream => false,
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.has_input(),
        }
    }

    /// Whether packets may flow.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Stream => true,
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.is_open(),
        }
    }

    /// The first bytes that wait to be looked at, for whoever wonders what they are; at most 16.
    pub(super) fn begins_with(&self) -> Vec<u8> {
        match self {
            Self::Stream => Vec::new(),
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.begins_with().to_vec(),
        }
    }

    /// The client, if the transport's handshake has named one; once.
    pub(super) fn take_client(&mut self) -> Option<SocketAddr> {
        match self {
            Self::Stream => None,
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.take_client(),
        }
    }

    /// Puts every whole packet of `out` into a frame. A buffer that became empty is handed back.
    pub(super) fn wrap<M: Machine>(
        &mut self,
        out: &mut Out,
        machine: &M,
        pool: &RefCell<Vec<Vec<u8>>>,
    ) -> Option<Vec<u8>> {
        match self {
            Self::Stream => {
                let _nothing_to_wrap = (out, machine, pool);
                None
            }
            #[cfg(feature = "ws")]
            Self::Ws(link) => {
                link.wrap(out, |bytes| machine.packet_len(bytes), &mut pool.borrow_mut())
            }
        }
    }

    /// What the transport says at the end, behind everything that is queued.
    pub(super) fn goodbye(&mut self) {
        match self {
            Self::Stream => {}
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.goodbye(),
        }
    }

    /// Framed bytes for the socket; `None` if packets go out as they are.
    pub(super) fn outgoing(&self) -> Option<&[u8]> {
        match self {
            Self::Stream => None,
            #[cfg(feature = "ws")]
            Self::Ws(link) => Some(link.outgoing()),
        }
    }

    /// The socket took `n` bytes. A buffer that became empty is handed back.
    pub(super) fn accepted(&mut self, n: usize, out: &mut Out) -> Option<Vec<u8>> {
        match self {
            Self::Stream => out.accepted(n),
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.accepted(n),
        }
    }

    /// Framed bytes that the socket has not accepted.
    pub(super) fn pending(&self) -> usize {
        self.outgoing().map_or(0, <[u8]>::len)
    }

    /// Memory held for what has arrived and was not handed out, in bytes.
    pub(super) fn kept(&self) -> usize {
        match self {
            Self::Stream => 0,
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.kept(),
        }
    }

    /// Memory held, in bytes.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Stream => 0,
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.held(),
        }
    }

    /// The owner did not run for `lost`.
    pub(super) fn forgive(&mut self, lost: Duration) {
        match self {
            Self::Stream => {
                let _no_handshake = lost;
            }
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.forgive(lost),
        }
    }

    /// The sweep passed.
    pub(super) fn on_deadline(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self {
            Self::Stream => {
                let _no_handshake = now;
                Ok(())
            }
            #[cfg(feature = "ws")]
            Self::Ws(link) => link.on_deadline(now),
        }
    }
}
