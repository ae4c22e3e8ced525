//! The relay's node: pushes every packet back to the connection it came from.
//!
//! Frames are parsed and copied one by one, as any node must; nothing looks into a packet.
use super::{BACKLOG_HIGH, FRAME_MAX, LISTENER, STOP};
use super::{flush, prepare, stopped, watch_stop};
use crate::poll::{Events, Interest, Poll};
use crate::stream::{Outbox, Tail, split};
use slab::Slab;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::BorrowedFd;

struct Link {
    socket: TcpStream,
    tail: Tail,
    out: Outbox,
    waiting: bool,
    /// Not read until its outbox is empty again.
    held: bool,
}

/// Answers the frames of every link accepted by `listener` until `stop` ends.
///
/// # Errors
/// If the loop itself fails. A lost link is no error.
pub fn run(listener: TcpListener, stop: BorrowedFd<'_>) -> io::Result<()> {
    let poll = Poll::new()?;
    watch_stop(&poll, stop)?;
    poll.add(&listener, LISTENER, Interest::Read)?;
    let (mut links, mut scratch) = (Slab::new(), Vec::new());
    let mut events = Events::default();
    loop {
        poll.wait(&mut events, None)?;
        for event in events.iter() {
            match event.token {
                STOP => {
                    if stopped(stop) {
                        return Ok(());
                    }
                }
                LISTENER => accept(&poll, &listener, &mut links)?,
                token => {
                    let Ok(slot) = usize::try_from(token) else { continue };
                    let Some(link) = links.get_mut(slot) else { continue };
                    if turn(&poll, token, link, event.readable, &mut scratch).is_err() {
                        links.remove(slot);
                    }
                }
            }
        }
    }
}

fn accept(poll: &Poll, listener: &TcpListener, links: &mut Slab<Link>) -> io::Result<()> {
    let Ok((socket, _)) = listener.accept() else { return Ok(()) };
    prepare(&socket)?;
    let entry = links.vacant_entry();
    poll.add(&socket, u64::try_from(entry.key()).unwrap_or(u64::MAX), Interest::Read)?;
    entry.insert(Link {
        socket,
        tail: Tail::default(),
        out: Outbox::default(),
        waiting: false,
        held: false,
    });
    Ok(())
}

fn turn(
    poll: &Poll,
    token: u64,
    link: &mut Link,
    readable: bool,
    scratch: &mut Vec<u8>,
) -> io::Result<()> {
    if readable
        && !link.held
        && let Some(mut bytes) = link.tail.read(&link.socket, scratch)?
    {
        while let Some(frame) = split(&mut bytes, FRAME_MAX)? {
            link.out.buffer().extend_from_slice(frame);
        }
        link.tail.keep(bytes);
    }
    flush(poll, &link.socket, token, &mut link.out, &mut link.waiting)?;
    let hold = link.out.len() > BACKLOG_HIGH || (link.held && link.waiting);
    if hold != link.held {
        link.held = hold;
        let interest = match (hold, link.waiting) {
            (true, _) => Interest::Write,
            (false, true) => Interest::ReadWrite,
            (false, false) => Interest::Read,
        };
        poll.modify(&link.socket, token, interest)?;
    }
    Ok(())
}
