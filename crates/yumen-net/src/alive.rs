//! When the system gives up a peer that vanished without a word: a phone without a network, a machine without
//! power, an entry that a firewall forgot.
//!
//! Heartbeats notice the same, but only where they are on. The system asks by itself and needs no thread of
//! ours. What is set on a listening socket holds for every connection that it accepts.

use socket2::{SockRef, TcpKeepalive};
use std::{io, time::Duration};

/// Questions that stay without an answer before the peer is given up.
const ASKED: u32 = 3;
/// The system counts in seconds.
const SECOND: Duration = Duration::from_secs(1);

/// How soon a silent peer is asked, and given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// A peer that was not heard of for so long is asked whether it is there; zero asks never.
    /// Default: 15 s.
    pub ask_after: Duration,
    /// A peer that acknowledged nothing for so long, neither bytes sent nor questions, is given up; zero
    /// leaves that to the system, which takes a quarter of an hour. Default: 30 s.
    pub silent_max: Duration,
}

impl Default for Alive {
    fn default() -> Self {
        Self { ask_after: Duration::from_secs(15), silent_max: Duration::from_secs(30) }
    }
}

impl Alive {
    /// Whether the two go together: a peer is asked before it is given up.
    pub fn is_sound(self) -> bool {
        self.silent_max.is_zero() || self.ask_after < self.silent_max
    }

    /// Between two questions: so that the last one is out before the peer is given up.
    fn interval(self) -> Duration {
        let left = self.silent_max.saturating_sub(self.ask_after);
        let left = if self.silent_max.is_zero() { self.ask_after } else { left };
        left.checked_div(ASKED).unwrap_or(SECOND).max(SECOND)
    }

    /// Sets it on a socket.
    pub(crate) fn apply(self, socket: &SockRef<'_>) -> io::Result<()> {
        if !self.ask_after.is_zero() {
            let asking = TcpKeepalive::new()
                .with_time(self.ask_after.max(SECOND))
                .with_interval(self.interval())
                .with_retries(ASKED);
            socket.set_tcp_keepalive(&asking)?;
        }
        if !self.silent_max.is_zero() {
            socket.set_tcp_user_timeout(Some(self.silent_max))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn seconds(ask_after: u64, silent_max: u64) -> Alive {
        let [ask_after, silent_max] = [ask_after, silent_max].map(Duration::from_secs);
        Alive { ask_after, silent_max }
    }

    #[test]
    fn every_question_is_asked_before_the_peer_is_given_up() {
        for (alive, expected) in [
            (Alive::default(), 5),
            (seconds(1, 3), 1),
            (seconds(0, 30), 10),
            (seconds(30, 0), 10),
            (seconds(1, 2), 1),
        ] {
            assert_eq!(alive.interval(), Duration::from_secs(expected), "{alive:?}");
            assert!(alive.is_sound());
        }
        assert!(!seconds(30, 30).is_sound());
    }

    #[test]
    fn what_is_set_on_a_listener_holds_for_every_connection_it_accepts() {
        let of = |alive| {
            let listener = crate::tcp::bind_with("127.0.0.1:0", alive).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.set_nonblocking(false).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let socket = SockRef::from(&accepted);
            let asked = socket.keepalive().unwrap();
            (
                asked,
                asked.then(|| socket.tcp_keepalive_time().unwrap()),
                socket.tcp_user_timeout().unwrap(),
            )
        };
        let [long, short] = [17, 41].map(Duration::from_secs);
        assert_eq!(of(seconds(17, 41)), (true, Some(long), Some(short)));
        assert_eq!(of(seconds(0, 0)), (false, None, None));
    }
}
