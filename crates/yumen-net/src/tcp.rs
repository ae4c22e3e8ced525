//! TCP through the runtime of the current thread: the one file that names `tokio::net`.

use crate::{
    alive::Alive,
    env::{Listener, LocalFuture, Net},
    socket::Socket,
};
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Connections that may wait to be accepted; the system may cut it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// TCP of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Net for Tcp {
    fn listen<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener: Box<dyn Listener> = Box::new(Bound::new(bind(addr)?)?);
            Ok(listener)
        })
    }

    fn dial<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Socket>> {
        Box::pin(async move {
            let stream = TcpStream::connect(addr).await?;
            Alive::default().apply(&SockRef::from(&stream))?;
            TcpSocket::wrap(stream).map(Socket::Tcp)
        })
    }
}

/// Binds a listening socket. It can be moved to another thread before it is used.
///
/// # Errors
/// The address does not resolve, is in use, or is not ours.
pub fn bind(addr: &str) -> io::Result<std::net::TcpListener> {
    bind_with(addr, Alive::default())
}

/// As [`bind`]; peers that vanish are given up as `alive` says.
///
/// # Errors
/// As [`bind`].
pub fn bind_with(addr: &str, alive: Alive) -> io::Result<std::net::TcpListener> {
    // `:3553` means every interface, as in due's configuration.
    let text = if addr.starts_with(':') { format!("0.0.0.0{addr}") } else { addr.to_owned() };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in text.to_socket_addrs()? {
        match bind_one(addr, alive) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_one(addr: SocketAddr, alive: Alive) -> io::Result<std::net::TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // `[::]` serves IPv4 as well, whatever the machine's own default is.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    alive.apply(&SockRef::from(&socket))?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A listening socket in use.
#[derive(Debug)]
pub struct Bound(TcpListener);

impl Bound {
    /// Puts a socket made by [`bind`] into use on this thread's runtime.
    ///
    /// # Errors
    /// The runtime is out of descriptors.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self(TcpListener::from_std(listener)?))
    }

    /// The next connection, not yet tied to a runtime. Safe to drop while it waits.
    ///
    /// # Errors
    /// Out of descriptors, or a peer that left already: give way, then go on.
    pub async fn accept_loose(&self) -> io::Result<(Loose, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Loose(stream.into_std()?), canonical(peer)))
    }
}

impl Listener for Bound {
    fn addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn accept(&mut self) -> LocalFuture<'_, io::Result<(Socket, SocketAddr)>> {
        Box::pin(async {
            let (stream, peer) = self.0.accept().await?;
            Ok((Socket::Tcp(TcpSocket::wrap(stream)?), canonical(peer)))
        })
    }
}

/// A listener for both families sees an IPv4 client in its IPv6 form: here it has its own.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// A connection on its way to the thread that will use it.
#[derive(Debug)]
pub struct Loose(std::net::TcpStream);

impl Loose {
    /// Ties the connection to this thread's runtime.
    ///
    /// # Errors
    /// The runtime is out of descriptors, or the peer has left.
    pub fn settle(self) -> io::Result<Socket> {
        TcpSocket::wrap(TcpStream::from_std(self.0)?).map(Socket::Tcp)
    }

    /// As [`Loose::settle`], as a plain stream: for protocols that are no game's, such as HTTP.
    ///
    /// # Errors
    /// The runtime is out of descriptors, or the peer has left.
    pub fn stream(self) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        let stream = TcpStream::from_std(self.0)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A connection whose first bytes are looked at before anybody reads it.
pub(crate) struct Peeked(TcpStream);

impl Loose {
    pub(crate) fn peeked(self) -> io::Result<Peeked> {
        TcpStream::from_std(self.0).map(Peeked)
    }
}

impl Peeked {
    /// Copies what is there into `space` and leaves it there; 0 at the end of the stream.
    pub(crate) async fn peek(&self, space: &mut [u8]) -> io::Result<usize> {
        self.0.peek(space).await
    }

    /// Takes the first `n` bytes off, which have been seen.
    pub(crate) fn take(&self, mut n: usize) -> io::Result<()> {
        let mut seen = [0; 256];
        while n > 0 {
            let most = n.min(seen.len());
            let took = self.0.try_read(seen.get_mut(..most).unwrap_or_default())?;
            if took == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            n = n.saturating_sub(took);
        }
        Ok(())
    }

    /// On its way again, to whoever reads on.
    pub(crate) fn loose(self) -> io::Result<Loose> {
        self.0.into_std().map(Loose)
    }
}

/// A TCP connection with Nagle's algorithm off.
#[derive(Debug)]
pub struct TcpSocket(TcpStream);

impl TcpSocket {
    fn wrap(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut space = ReadBuf::new(space);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut space))?;
        Poll::Ready(Ok(space.filled().len()))
    }

    // Not `poll_write`: that spends the runtime's budget of 128 operations per task turn, and a
    // batch that answers 200 sessions would find the last 72 "full".
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    pub(crate) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        SockRef::from(&self.0).shutdown(std::net::Shutdown::Write)
    }
}
