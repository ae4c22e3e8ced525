//! TLS over a connected stream: the library's machine, driven by the reads and writes of the driver.
//!
//! It opens no socket and has no task. Versions 1.2 and 1.3 are spoken, by one stack and one
//! implementation of the ciphers (rustls, ring). Nothing is written before the handshake is over, and
//! the handshake has a time limit. Between two reads a connection holds the library's state and its
//! read buffer of 4 KiB, and while its peer reads slowly one record, 16 KiB, that is encrypted and not
//! sent: its bytes are reported as written when the record is.

mod chain;
mod dialling;
mod listening;
mod mutual;
mod sources;
#[cfg(all(test, feature = "testing"))]
pub(crate) mod tests;

pub use dialling::{Dialling, Trust};
pub use listening::Listening;
pub use mutual::Mutual;
pub use sources::{File, PairFiles, Refreshed};

use crate::socket::Socket;
use rustls::{
    CertificateError, Connection, Error, ServerConnection,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    io::{self, Read, Write},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use yumen_proto::conn::{HandshakeFault, TlsFault};

/// Longest time from the connection to the end of the handshake.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Most bytes encrypted ahead of the socket: one record.
const RECORD_MAX: usize = 16 * 1024;
/// What the library keeps for reading.
const READ_BUFFER: usize = 4 * 1024;
/// What a TLS handshake begins with.
const HANDSHAKE_RECORD: u8 = 0x16;

/// One end of a TLS connection.
#[derive(Debug)]
pub struct Tls {
    wire: Socket,
    stage: Stage,
    until: Instant,
    /// Bytes of the caller that are encrypted, and were not reported as written.
    taken: usize,
    fault: Option<HandshakeFault>,
}

enum Stage {
    /// A server that has not seen a byte, and so keeps nothing.
    Waiting { config: Arc<rustls::ServerConfig>, or_plain: bool },
    /// The library's machine, in the handshake or after it.
    Live(Box<Connection>),
    /// The client does not speak TLS, and need not. Its first bytes, until they are read.
    Plain(Vec<u8>),
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Waiting { .. } => "Waiting",
            Self::Live(machine) if machine.is_handshaking() => "Handshake",
            Self::Live(_) => "Open",
            Self::Plain(_) => "Plain",
        })
    }
}

impl Tls {
    /// The server's end over `wire`; `or_plain` lets in clients that do not begin a handshake.
    fn server(
        wire: Socket,
        config: Arc<rustls::ServerConfig>,
        or_plain: bool,
        now: Instant,
    ) -> Socket {
        Self::over(wire, Stage::Waiting { config, or_plain }, now)
    }

    fn client(
        wire: Socket,
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
        now: Instant,
    ) -> io::Result<Socket> {
        let machine = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self::over(wire, Stage::Live(Box::new(machine.into())), now))
    }

    fn over(wire: Socket, stage: Stage, now: Instant) -> Socket {
        let until = now.checked_add(HANDSHAKE_MAX).unwrap_or(now);
        Socket::Tls(Box::new(Self { wire, stage, until, taken: 0, fault: None }))
    }

    /// Whether the handshake is over.
    pub fn is_open(&self) -> bool {
        match &self.stage {
            Stage::Waiting { .. } => false,
            Stage::Live(machine) => !machine.is_handshaking() && self.fault.is_none(),
            Stage::Plain(_) => true,
        }
    }

    /// The certificates that the other end has proved to have, its own first.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.stage {
            Stage::Live(machine) if self.is_open() => machine.peer_certificates(),
            Stage::Live(_) | Stage::Waiting { .. } | Stage::Plain(_) => None,
        }
    }

    /// The owner did not run for `lost`: the handshake has that much longer.
    pub(crate) fn forgive(&mut self, lost: Duration) {
        self.until = self.until.checked_add(lost).unwrap_or(self.until);
    }

    /// # Errors
    /// The handshake took too long.
    pub(crate) fn on_deadline(&self, now: Instant) -> Result<(), HandshakeFault> {
        if self.is_open() || now < self.until { Ok(()) } else { Err(HandshakeFault::TimedOut) }
    }

    /// Memory of the library's buffers, in bytes, about: a handshake may take more for a moment.
    pub(crate) fn held(&self) -> usize {
        match &self.stage {
            Stage::Live(_) if self.is_pending() => READ_BUFFER.saturating_add(RECORD_MAX),
            Stage::Live(_) => READ_BUFFER,
            Stage::Waiting { .. } => 0,
            Stage::Plain(first) => first.capacity(),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(io::Error::other(fault)));
        }
        match &mut self.stage {
            Stage::Waiting { .. } => {
                if ready!(self.begin(cx, space))? == 0 {
                    return Poll::Ready(Ok(0));
                }
            }
            Stage::Plain(first) if first.is_empty() => return self.wire.poll_read(cx, space),
            Stage::Plain(first) => {
                let n = space.len().min(first.len());
                for (to, byte) in space.iter_mut().zip(first.drain(..n)) {
                    *to = byte;
                }
                first.shrink_to_fit();
                return Poll::Ready(Ok(n));
            }
            Stage::Live(_) => {}
        }
        let mut filled = 0usize;
        while let Some(rest) = space.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let more = match self.take(rest) {
                Ok(None) => self.fill(cx),
                Ok(Some(0)) => break,
                Ok(Some(n)) => {
                    filled = filled.saturating_add(n);
                    continue;
                }
                Err(error) => Poll::Ready(Err(error)),
            };
            match more {
                Poll::Ready(Ok(())) => {}
                // What stopped it is met again by the next read.
                _ if filled > 0 => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(filled))
    }

    /// Decrypted bytes; `None` if there are none now, 0 at the end.
    fn take(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let Stage::Live(machine) = &mut self.stage else { return self.wire_only() };
        match machine.reader().read(space) {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // A peer that leaves in the handshake has gone; later it owes a goodbye.
            Err(_) if machine.is_handshaking() => Ok(Some(0)),
            Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn wire_only<T>(&self) -> io::Result<T> {
        Err(io::ErrorKind::NotConnected.into())
    }

    /// The first bytes a server sees: only now it becomes clear what the client speaks. Gives how
    /// many there are. Pending once if it is not TLS and need not be, as after a handshake.
    fn begin(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(self.wire.poll_read(cx, space))?;
        let Stage::Waiting { config, or_plain } = &self.stage else { return Poll::Ready(Ok(n)) };
        let mut bytes = space.get(..n).unwrap_or_default();
        match bytes.first() {
            None => return Poll::Ready(Ok(0)),
            Some(&HANDSHAKE_RECORD) => {}
            Some(_) if *or_plain => {
                self.stage = Stage::Plain(bytes.to_vec());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(_) => return Poll::Ready(Err(self.fail(HandshakeFault::NotTls))),
        }
        let machine = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        self.stage = Stage::Live(Box::new(limited(machine.into())));
        while !bytes.is_empty() {
            self.digest(&mut bytes, cx)?;
        }
        Poll::Ready(Ok(n))
    }

    /// Reads from the wire once.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { wire, stage, .. } = self;
        let Stage::Live(machine) = stage else { return Poll::Ready(self.wire_only()) };
        let read = machine.read_tls(&mut FromWire { wire, cx });
        match read {
            Ok(_) => self.process(cx),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.flush(Some(cx))?;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Takes bytes that were read already.
    fn digest(&mut self, bytes: &mut &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        let Stage::Live(machine) = &mut self.stage else { return self.wire_only() };
        machine.read_tls(bytes)?;
        match self.process(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()), // the handshake is over, and these were its last bytes
        }
    }

    /// Understands what was read, and answers it. Pending once, when the handshake is over: so that
    /// the owner hears of that before it is handed a byte.
    fn process(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stage::Live(machine) = &mut self.stage else { return Poll::Ready(self.wire_only()) };
        let before = machine.is_handshaking();
        let result = machine.process_new_packets().map(drop);
        let over = before && !machine.is_handshaking();
        if let Err(error) = result {
            let _alert = self.flush(None);
            let fault = fault_of(&error);
            tracing::debug!(%error, "TLS ended");
            return Poll::Ready(Err(match before {
                true => self.fail(fault),
                false => io::ErrorKind::InvalidData.into(),
            }));
        }
        self.flush(Some(cx))?;
        if over {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, fault: HandshakeFault) -> io::Error {
        self.fault = Some(fault);
        io::Error::other(fault)
    }

    /// Writes what the library has for the wire; gives how much was written.
    fn flush(&mut self, mut cx: Option<&mut Context<'_>>) -> io::Result<usize> {
        let Self { wire, stage, .. } = self;
        let Stage::Live(machine) = stage else { return Ok(0) };
        let mut written = 0usize;
        while machine.wants_write() {
            match machine.write_tls(&mut ToWire(wire)) {
                Ok(n) => written = written.saturating_add(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match &mut cx {
                    Some(cx) => match wire.poll_writable(cx) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => break,
                    },
                    None => break,
                },
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Encrypts and sends. Of what the wire does not take at once one record is kept: then this says
    /// `WouldBlock`, or a part, until it was sent, and wants the same bytes again.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault {
            return Err(io::Error::other(fault));
        }
        let machine = match &mut self.stage {
            Stage::Plain(_) => return self.wire.try_write(bytes),
            Stage::Live(machine) if !machine.is_handshaking() => machine,
            Stage::Live(_) | Stage::Waiting { .. } => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        };
        if self.taken == 0 {
            let record = bytes.get(..bytes.len().min(RECORD_MAX)).unwrap_or_default();
            self.taken = machine.writer().write(record)?;
        }
        let sent = self.flush(None)?;
        if !self.is_pending() {
            return Ok(std::mem::take(&mut self.taken));
        }
        // Progress shows, but for the last byte, which stands for what is kept.
        let some = sent.min(self.taken.saturating_sub(1));
        self.taken = self.taken.saturating_sub(some);
        if some == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(some) }
    }

    fn is_pending(&self) -> bool {
        matches!(&self.stage, Stage::Live(machine) if machine.wants_write())
    }

    /// Goes on with the handshake first. A server that has not seen a byte waits for its reads.
    pub(crate) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(io::Error::other(fault)));
        }
        while let Stage::Live(machine) = &self.stage
            && machine.is_handshaking()
        {
            ready!(self.fill(cx))?;
        }
        match &self.stage {
            Stage::Waiting { .. } => Poll::Pending,
            Stage::Live(_) | Stage::Plain(_) => self.wire.poll_writable(cx),
        }
    }

    /// Says goodbye, as far as the wire takes it at once.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Stage::Live(machine) = &mut self.stage
            && self.fault.is_none()
        {
            machine.send_close_notify();
            let _as_far_as_it_goes = self.flush(None);
        }
        self.wire.finish()
    }
}

/// Bounds what the library keeps of what is to be sent.
fn limited(mut machine: Connection) -> Connection {
    machine.set_buffer_limit(Some(RECORD_MAX));
    machine
}

/// What is to be said of an error in the handshake.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library has many more, and adds some")]
fn fault_of(error: &Error) -> HandshakeFault {
    use CertificateError as Bad;
    let fault = match error {
        Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => TlsFault::Expired,
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => TlsFault::NotYetValid,
            // Also an authority of the same name with another key.
            Bad::UnknownIssuer | Bad::BadSignature => TlsFault::Untrusted,
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => TlsFault::WrongName,
            _ => TlsFault::BadCertificate,
        },
        Error::NoCertificatesPresented => TlsFault::NoCertificate,
        Error::AlertReceived(_) => TlsFault::Refused,
        Error::PeerIncompatible(_) => TlsFault::Incompatible,
        Error::InvalidMessage(_) => return HandshakeFault::NotTls,
        _ => TlsFault::Broken,
    };
    HandshakeFault::Tls(fault)
}

/// The wire as the library reads from it.
struct FromWire<'a, 'b, 'c> {
    wire: &'a mut Socket,
    cx: &'b mut Context<'c>,
}

impl Read for FromWire<'_, '_, '_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.wire.poll_read(self.cx, space) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// The wire as the library writes to it.
struct ToWire<'a>(&'a mut Socket);

impl Write for ToWire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// A flight of the handshake is several pieces: one packet all the same.
    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            [one] => self.0.try_write(one),
            pieces => {
                let whole: Vec<u8> =
                    pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
                self.0.try_write(&whole)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
