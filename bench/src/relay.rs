//! The limit: a gate and a node that do nothing but move bytes, one epoll loop each.
//!
//! No codec, no session, no route, no timer. What a real gate and node cost beyond this is what
//! the framework costs. A frame between the two is `length u32 | connection id u64 | packet`,
//! big-endian; a packet is whatever a big-endian size prefix encloses.
mod gate;
mod node;

pub use gate::run as run_gate;
pub use node::run as run_node;

use crate::poll::{Interest, Poll};
use crate::stream::Outbox;
use rustix::io::Errno;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;

/// Longest packet that is forwarded, without its size prefix: what due's benchmark allows, and more.
const PACKET_MAX: usize = 256 * 1024;
/// Longest frame: a packet with its prefix, and the connection id.
const FRAME_MAX: usize = PACKET_MAX + 12;
/// Above this many bytes waiting for a peer, what would add to them is not read.
const BACKLOG_HIGH: usize = 8 * 1024 * 1024;
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const LINK: u64 = u64::MAX - 2;

/// Binds a listener for a relay process. Port 0 lets the system choose.
///
/// # Errors
/// Those of binding.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // The standard library asks for a backlog of 128; connection storms of a benchmark need more.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Registers the descriptor whose end stops the loop. One that cannot be waited for (a file, the
/// null device) never stops it.
fn watch_stop(poll: &Poll, stop: BorrowedFd<'_>) -> io::Result<()> {
    match poll.add(stop, STOP, Interest::Read) {
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// Whether `stop` has ended. Bytes on it are read and ignored.
fn stopped(stop: BorrowedFd<'_>) -> bool {
    let mut ignored = [0_u8; 256];
    matches!(rustix::io::read(stop, &mut ignored), Ok(0) | Err(Errno::IO | Errno::CONNRESET))
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)
}

/// Writes what a peer's outbox holds, and watches for room as long as something is left.
fn flush(
    poll: &Poll,
    socket: &TcpStream,
    token: u64,
    out: &mut Outbox,
    waiting: &mut bool,
) -> io::Result<()> {
    let done = out.flush(socket)?;
    if *waiting == done {
        *waiting = !done;
        let interest = if done { Interest::Read } else { Interest::ReadWrite };
        poll.modify(socket, token, interest)?;
    }
    Ok(())
}
