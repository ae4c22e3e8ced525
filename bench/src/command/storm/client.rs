//! The clients of a storm: one thread, no waiting for anybody.
use crate::clock::shared_ns;
use crate::command::crowd::entering;
use crate::number::{count, nanos};
use crate::poll::{Events, Interest, Poll};
use crate::stats::Latencies;
use crate::stream::{Outbox, Tail, split};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest reply.
const REPLY_MAX: usize = 1024;
/// A reply after this much was not waiting for its turn alone.
const LATE: Duration = Duration::from_millis(900);

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Asked,
    /// Has its reply, or never will.
    Over,
}

struct Client {
    socket: TcpStream,
    stage: Stage,
    began: u64,
    tail: Tail,
}

/// All of them, begun.
pub(super) struct Storm {
    poll: Poll,
    clients: Vec<Client>,
    entering: Vec<u8>,
    scratch: Vec<u8>,
    start: u64,
    begun: u64,
}

/// What became of a storm.
pub(super) struct Weathered {
    pub(super) failed: u64,
    pub(super) late: u64,
    /// Until all were begun, and until the last reply.
    pub(super) begun: Duration,
    pub(super) passed: Duration,
    pub(super) replies: Latencies,
}

impl Storm {
    /// Begins so many connections to `address`, and waits for none.
    pub(super) fn begin(address: SocketAddr, connections: usize) -> io::Result<Self> {
        let (poll, start) = (Poll::new()?, shared_ns());
        let mut clients = Vec::with_capacity(connections);
        for token in 0..count(connections) {
            let began = shared_ns();
            let socket = dial(address)?;
            poll.add(&socket, token, Interest::ReadWrite)?;
            clients.push(Client { socket, stage: Stage::Connecting, began, tail: Tail::default() });
        }
        let (entering, begun) = (entering()?, shared_ns());
        Ok(Self { poll, clients, entering, scratch: Vec::new(), start, begun })
    }

    /// Looks after them until each has its reply or has failed, or for `wait_max`.
    pub(super) fn weather(&mut self, wait_max: Duration) -> io::Result<Weathered> {
        let mut events = Events::default();
        let (mut replies, mut failed, mut late) = (Latencies::default(), 0_u64, 0_u64);
        let (mut left, mut last) = (self.clients.len(), self.start);
        let until = self.start.saturating_add(nanos(wait_max));
        while left > 0 && shared_ns() < until {
            let rest = Duration::from_nanos(until.saturating_sub(shared_ns()));
            self.poll.wait(&mut events, Some(rest))?;
            for event in events.iter() {
                let Ok(at) = usize::try_from(event.token) else { continue };
                let Some(client) = self.clients.get_mut(at) else { continue };
                let before = client.stage;
                let done = client.go_on(&self.entering, &mut self.scratch);
                if before == Stage::Connecting && client.stage == Stage::Asked {
                    self.poll.modify(&client.socket, event.token, Interest::Read)?;
                }
                match done {
                    Ok(false) => {}
                    Ok(true) => {
                        left = left.saturating_sub(1);
                        last = shared_ns();
                        let took = last.saturating_sub(client.began);
                        late = late.saturating_add(u64::from(took > nanos(LATE)));
                        replies.record(took);
                    }
                    Err(_) => {
                        // Nothing of a connection that failed is of interest any more.
                        self.poll.remove(&client.socket).unwrap_or_default();
                        client.stage = Stage::Over;
                        left = left.saturating_sub(1);
                        failed = failed.saturating_add(1);
                    }
                }
            }
        }
        Ok(Weathered {
            failed: failed.saturating_add(count(left)),
            late,
            begun: Duration::from_nanos(self.begun.saturating_sub(self.start)),
            passed: Duration::from_nanos(last.saturating_sub(self.start)),
            replies,
        })
    }
}

impl Client {
    /// Does what can be done now. Whether its reply has come with that.
    fn go_on(&mut self, entering: &[u8], scratch: &mut Vec<u8>) -> io::Result<bool> {
        match self.stage {
            Stage::Connecting => {
                sockopt::socket_error(&self.socket)??;
                let mut out = Outbox::default();
                out.buffer().extend_from_slice(entering);
                if !out.flush(&self.socket)? {
                    return Err(ErrorKind::WriteZero.into());
                }
                self.stage = Stage::Asked;
                Ok(false)
            }
            Stage::Asked => {
                let Some(mut bytes) = self.tail.read(&self.socket, scratch)? else {
                    return Ok(false);
                };
                let whole = split(&mut bytes, REPLY_MAX)?.is_some();
                self.tail.keep(bytes);
                if whole {
                    self.stage = Stage::Over;
                }
                Ok(whole)
            }
            // It has what it came for. One that ends now fails nobody.
            Stage::Over => Ok(false),
        }
    }
}

/// A connection that has begun and is not there yet.
fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn one_is_answered_one_is_thrown_out_and_both_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut storm = Storm::begin(listener.local_addr().unwrap(), 2).unwrap();
        let server = std::thread::spawn(move || {
            let (mut served, _) = listener.accept().unwrap();
            let (thrown_out, _) = listener.accept().unwrap();
            let mut asked = vec![0; entering().unwrap().len()];
            served.read_exact(&mut asked).unwrap();
            served.write_all(&[0, 0, 0, 1, 7]).unwrap();
            drop(thrown_out);
            served
        });
        let all_in = storm.weather(Duration::from_secs(60)).unwrap();
        assert_eq!((all_in.failed, all_in.replies.count()), (1, 1));
        assert!(all_in.begun <= all_in.passed);
        drop(server.join().unwrap());
    }

    #[test]
    fn nobody_at_the_door_is_a_failure_of_all() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut storm = Storm::begin(address, 3).unwrap();
        assert_eq!(storm.weather(Duration::from_secs(60)).unwrap().failed, 3);
    }
}
