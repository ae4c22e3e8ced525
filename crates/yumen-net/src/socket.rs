//! A connected byte stream, real or virtual.
//!
//! An enum and not a trait object, because an idle connection is paid for in bytes. Writing never
//! waits: [`Socket::try_write`] takes what fits, [`Socket::poll_writable`] tells when to go on.

use crate::tcp::TcpSocket;
use std::{
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use yumen_proto::conn::CloseReason;

/// Both directions of one stream. Dropping it closes the stream.
#[derive(Debug)]
pub enum Socket {
    /// A TCP connection.
    Tcp(TcpSocket),
    /// A stream of the virtual network.
    Virtual(Box<dyn Stream>),
    /// TLS over either.
    #[cfg(feature = "tls")]
    Tls(Box<crate::tls::Tls>),
}

/// A byte stream that is not a socket of the system.
pub trait Stream: std::fmt::Debug {
    /// Reads what is there into `space`; 0 at the end of the stream.
    ///
    /// # Errors
    /// The stream broke.
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes what fits now.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else ends the stream.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Resolves when [`Stream::try_write`] may succeed again.
    ///
    /// # Errors
    /// The stream broke.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Nothing more will be written: the peer sees the end of the stream after what was accepted.
    ///
    /// # Errors
    /// The stream broke.
    fn finish(&mut self) -> io::Result<()>;
}

impl Socket {
    /// As [`Stream::poll_read`]. A read that does not fill `space` has taken all there was.
    ///
    /// # Errors
    /// The stream broke.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read(cx, space),
            Self::Virtual(stream) => stream.poll_read(cx, space),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_read(cx, space),
        }
    }

    /// As [`Stream::try_write`].
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else ends the stream.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Virtual(stream) => stream.try_write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.try_write(bytes),
        }
    }

    /// As [`Stream::poll_writable`].
    ///
    /// # Errors
    /// The stream broke.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_writable(cx),
            Self::Virtual(stream) => stream.poll_writable(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_writable(cx),
        }
    }

    /// As [`Stream::finish`].
    ///
    /// # Errors
    /// The stream broke.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.finish(),
            Self::Virtual(stream) => stream.finish(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.finish(),
        }
    }

    /// Whether bytes may flow: a stream with a handshake of its own is open after it.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Virtual(_) => true,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.is_open(),
        }
    }

    /// The sweep passed.
    ///
    /// # Errors
    /// The stream's own handshake took too long.
    pub(crate) fn on_deadline(&self, now: Instant) -> Result<(), CloseReason> {
        match self {
            Self::Tcp(_) | Self::Virtual(_) => {
                let _no_handshake = now;
                Ok(())
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.on_deadline(now).map_err(CloseReason::Handshake),
        }
    }

    /// The owner did not run for `lost`.
    pub(crate) fn forgive(&mut self, lost: Duration) {
        match self {
            Self::Tcp(_) | Self::Virtual(_) => {
                let _no_handshake = lost;
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.forgive(lost),
        }
    }

    /// Memory held by the stream itself, in bytes, about.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Tcp(_) | Self::Virtual(_) => 0,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.held(),
        }
    }
}
