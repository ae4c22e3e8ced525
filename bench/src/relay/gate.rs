//! The relay's gate: clients on one side, one link to the node on the other.
//!
//! A turn reads every ready socket once, frames every packet of a read into the link's buffer,
//! and then writes each socket that has something to send once. The link is always read, so
//! that two full sockets cannot wait for each other.
use super::{BACKLOG_HIGH, FRAME_MAX, LINK, LISTENER, PACKET_MAX, STOP};
use super::{flush, prepare, stopped, watch_stop};
use crate::poll::{Events, Interest, Poll, movable};
use crate::stream::{Outbox, Tail, split};
use slab::Slab;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A client that leaves this much unread is dropped.
const CLIENT_BACKLOG_MAX: usize = 64 * 1024 * 1024;

struct Client {
    socket: TcpStream,
    tail: Tail,
    out: Outbox,
    /// Tells this client from an earlier one in the same slot.
    epoch: u32,
    dirty: bool,
    waiting: bool,
}

struct Link {
    socket: TcpStream,
    tail: Tail,
    out: Outbox,
    waiting: bool,
}

struct Gate {
    poll: Poll,
    listener: TcpListener,
    link: Link,
    clients: Slab<Client>,
    epochs: u32,
    dirty: Vec<usize>,
    scratch: Vec<u8>,
}

/// Forwards between the clients of `listener` and the node until `stop` ends.
///
/// # Errors
/// If the node cannot be reached or is lost, or the loop itself fails. A lost client is no error.
pub fn run(listener: TcpListener, node: SocketAddr, stop: BorrowedFd<'_>) -> io::Result<()> {
    let mut gate = Gate::new(listener, node)?;
    watch_stop(&gate.poll, stop)?;
    let mut events = Events::default();
    loop {
        if gate.link.out.len() > BACKLOG_HIGH {
            gate.drain()?;
            continue;
        }
        gate.poll.wait(&mut events, None)?;
        for event in events.iter() {
            match event.token {
                STOP => {
                    if stopped(stop) {
                        return Ok(());
                    }
                }
                LISTENER => gate.accept()?,
                LINK => {
                    if event.readable {
                        gate.read_link()?;
                    }
                }
                token => gate.serve(token, event.readable, event.writable),
            }
        }
        gate.flush_link()?;
        gate.flush_clients();
    }
}

impl Gate {
    fn new(listener: TcpListener, node: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let socket = TcpStream::connect(node)?;
        prepare(&socket)?;
        poll.add(&socket, LINK, Interest::Read)?;
        poll.add(&listener, LISTENER, Interest::Read)?;
        Ok(Self {
            poll,
            listener,
            link: Link { socket, tail: Tail::default(), out: Outbox::default(), waiting: false },
            clients: Slab::new(),
            epochs: 0,
            dirty: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// The link is congested: nothing but the link is served until it moves.
    fn drain(&mut self) -> io::Result<()> {
        movable(&self.link.socket, Duration::from_millis(1))?;
        self.read_link()?;
        self.flush_clients();
        self.flush_link()
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..64 {
            let Ok((socket, _)) = self.listener.accept() else { return Ok(()) };
            prepare(&socket)?;
            self.epochs = self.epochs.wrapping_add(1);
            let entry = self.clients.vacant_entry();
            let token = u64::try_from(entry.key()).unwrap_or(u64::MAX);
            self.poll.add(&socket, token, Interest::Read)?;
            entry.insert(Client {
                socket,
                tail: Tail::default(),
                out: Outbox::default(),
                epoch: self.epochs,
                dirty: false,
                waiting: false,
            });
        }
        Ok(())
    }

    fn serve(&mut self, token: u64, readable: bool, writable: bool) {
        let Ok(slot) = usize::try_from(token) else { return };
        if writable {
            self.flush_client(slot);
        }
        if readable && self.read_client(slot).is_err() {
            self.clients.try_remove(slot);
        }
    }

    fn read_client(&mut self, slot: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(slot) else { return Ok(()) };
        let Some(mut bytes) = client.tail.read(&client.socket, &mut self.scratch)? else {
            return Ok(());
        };
        let id = id(slot, client.epoch).to_be_bytes();
        let link = self.link.out.buffer();
        while let Some(packet) = split(&mut bytes, PACKET_MAX)? {
            let len = u32::try_from(packet.len()).unwrap_or(u32::MAX).saturating_add(8);
            link.extend_from_slice(&len.to_be_bytes());
            link.extend_from_slice(&id);
            link.extend_from_slice(packet);
        }
        client.tail.keep(bytes);
        Ok(())
    }

    fn read_link(&mut self) -> io::Result<()> {
        let Some(mut bytes) = self.link.tail.read(&self.link.socket, &mut self.scratch)? else {
            return Ok(());
        };
        while let Some(frame) = split(&mut bytes, FRAME_MAX)? {
            let Some((head, packet)) = frame.split_first_chunk::<12>() else { continue };
            let [_, _, _, _, id @ ..] = *head;
            let (slot, epoch) = place(u64::from_be_bytes(id));
            let Some(client) = self.clients.get_mut(slot).filter(|c| c.epoch == epoch) else {
                continue;
            };
            client.out.buffer().extend_from_slice(packet);
            if !client.dirty {
                client.dirty = true;
                self.dirty.push(slot);
            }
        }
        self.link.tail.keep(bytes);
        Ok(())
    }

    fn flush_link(&mut self) -> io::Result<()> {
        let link = &mut self.link;
        flush(&self.poll, &link.socket, LINK, &mut link.out, &mut link.waiting)
    }

    fn flush_clients(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(client) = self.clients.get_mut(slot) else { continue };
            client.dirty = false;
            // A socket that is full is written again when it reports room.
            if !client.waiting {
                self.flush_client(slot);
            }
        }
        self.dirty = dirty;
    }

    fn flush_client(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let token = u64::try_from(slot).unwrap_or(u64::MAX);
        let Client { socket, out, waiting, .. } = client;
        let flushed = flush(&self.poll, socket, token, out, waiting);
        if flushed.is_err() || client.out.len() > CLIENT_BACKLOG_MAX {
            self.clients.remove(slot);
        }
    }
}

/// The id of a connection on the link: its slot, and the epoch above it.
fn id(slot: usize, epoch: u32) -> u64 {
    u64::try_from(slot).unwrap_or(u64::MAX) | (u64::from(epoch) << 32)
}

fn place(id: u64) -> (usize, u32) {
    let slot = usize::try_from(id & u64::from(u32::MAX)).unwrap_or(usize::MAX);
    (slot, u32::try_from(id >> 32).unwrap_or(0))
}
