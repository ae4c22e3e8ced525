//! Clients that only read: they count bytes, so that they cost the machine as little as receivers can.
use crate::clock::shared_ns;
use crate::command::crowd::{enter, layout};
use crate::number::count;
use crate::poll::{Events, Interest, Poll};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for one connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the answers to heartbeats.
const BEAT_MAX: Duration = Duration::from_secs(5);
/// Bytes asked for by one read: more than any message here.
const READ_LEN: usize = 64 * 1024;

/// Connections, and what each has got.
pub(super) struct Receivers {
    poll: Poll,
    sockets: Vec<TcpStream>,
    got: Vec<u64>,
    scratch: Vec<u8>,
}

/// When a message came, by the clock that all processes share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// Receivers that do not have all of it.
    pub(super) lacking: u64,
}

impl Receivers {
    /// Opens so many connections to one address.
    pub(super) fn connect(address: SocketAddr, receivers: usize) -> io::Result<Self> {
        let dial = |_| TcpStream::connect_timeout(&address, CONNECT_MAX);
        Self::of((0..receivers).map(dial).collect::<io::Result<_>>()?)
    }

    /// Opens so many connections, spread over the addresses, and has each enter the room.
    pub(super) fn enter(addresses: &[SocketAddr], receivers: usize) -> io::Result<Self> {
        let addresses = addresses.iter().cycle().take(receivers);
        let entered = addresses.map(|address| {
            let socket = TcpStream::connect_timeout(address, CONNECT_MAX)?;
            enter(&socket)?;
            Ok(socket)
        });
        Self::of(entered.collect::<io::Result<_>>()?)
    }

    fn of(sockets: Vec<TcpStream>) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (socket, token) in sockets.iter().zip(0_u64..) {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            poll.add(socket, token, Interest::Read)?;
        }
        Ok(Self { poll, got: vec![0; sockets.len()], sockets, scratch: vec![0; READ_LEN] })
    }

    /// Shows the gate that all are there, and waits for its answers.
    pub(super) fn beat(&mut self) -> io::Result<()> {
        let mut packet = Vec::new();
        layout().encode_heartbeat(0, &mut packet);
        for mut socket in &self.sockets {
            socket.write_all(&packet)?;
        }
        match self.receive(count(packet.len()), BEAT_MAX)?.lacking {
            0 => Ok(()),
            silent => Err(io::Error::other(format!("{silent} heartbeats were not answered"))),
        }
    }

    /// Waits until everybody has got so many bytes, or for `wait_max`.
    pub(super) fn receive(&mut self, each: u64, wait_max: Duration) -> io::Result<Arrival> {
        self.got.fill(0);
        let mut events = Events::default();
        let (mut arrival, mut left) = (Arrival::default(), count(self.sockets.len()));
        let until = shared_ns().saturating_add(crate::number::nanos(wait_max));
        while left > 0 {
            let now = shared_ns();
            if now >= until {
                break;
            }
            let rest = Duration::from_nanos(until.saturating_sub(now));
            self.poll.wait(&mut events, Some(rest))?;
            for event in events.iter() {
                let whole = self.read(event.token, each)?;
                if arrival.first_ns == 0 {
                    arrival.first_ns = shared_ns();
                }
                left = left.saturating_sub(u64::from(whole));
            }
        }
        arrival.last_ns = shared_ns();
        arrival.lacking = left;
        Ok(arrival)
    }

    /// Reads once. Whether that made the message of this one whole.
    fn read(&mut self, token: u64, each: u64) -> io::Result<bool> {
        let at = usize::try_from(token).unwrap_or(usize::MAX);
        let (Some(mut socket), Some(got)) = (self.sockets.get(at), self.got.get_mut(at)) else {
            return Ok(false);
        };
        match socket.read(&mut self.scratch) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "a receiver was disconnected")),
            Ok(len) => {
                let before = *got;
                *got = got.saturating_add(count(len));
                Ok(before < each && *got >= each)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_message_has_arrived_when_the_last_one_has_all_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut all = Receivers::connect(listener.local_addr().unwrap(), 2).unwrap();
        let ends: Vec<_> = (0..2).map(|_| listener.accept().unwrap().0).collect();
        (&ends[0]).write_all(b"four").unwrap();
        (&ends[1]).write_all(b"tw").unwrap();
        let wait = Duration::from_millis(200);
        assert_eq!(all.receive(4, wait).unwrap().lacking, 1);
        for mut end in &ends {
            end.write_all(b"four").unwrap();
        }
        let arrival = all.receive(4, Duration::from_secs(60)).unwrap();
        assert_eq!(arrival.lacking, 0);
        assert!(arrival.first_ns > 0 && arrival.first_ns <= arrival.last_ns);
        drop(ends);
        assert!(all.receive(4, wait).is_err());
    }
}
