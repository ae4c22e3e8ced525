//! A node and any number of gates as processes, and clients that enter: what crowds are measured with.
use super::LayoutArgs;
use super::serve::crowd::{Crossed, Doors, ENTER, Order, Ordered};
use super::side::spawn;
use crate::backend::Scratch;
use crate::poll;
use crate::process::Server;
use crate::stream::split;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use yumen::proto::extension::{Announce, STATUS_FLAG, kind};
use yumen::proto::{Features, Layout, Packet};

/// Longest wait for an answer of a member.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest wait of one client for its number.
const ENTER_MAX: Duration = Duration::from_secs(10);
/// Longest answer to whoever enters.
const ENTERED_MAX: usize = 1024;

/// A running cluster; killed when dropped.
pub(super) struct Fleet {
    node: Server,
    gates: Vec<Server>,
    /// What they read while they run.
    _files: Scratch,
}

impl Fleet {
    /// Starts one node and so many gates that know each other.
    pub(super) fn start(gates: usize) -> io::Result<Self> {
        let files = Scratch::new("yumen-bench-crowd")?;
        let list = files.path().join("members.json");
        std::fs::write(&list, "[]")?;
        let from = format!("--list={}", list.display());
        let member =
            |kind: &str, id: String| spawn(&[kind.to_owned(), format!("--id={id}"), from.clone()]);
        let mut node = member("crowd-node", "node-1".to_owned())?;
        let mut records = vec![ask_text(&mut node, Order::Record)?];
        std::fs::write(&list, format!("[{}]", records.join(",")))?;
        let mut started = Vec::new();
        for number in 1..=gates {
            let mut gate = member("crowd-gate", format!("gate-{number}"))?;
            records.push(ask_text(&mut gate, Order::Record)?);
            started.push(gate);
        }
        std::fs::write(&list, format!("[{}]", records.join(",")))?;
        let known: usize = ask(&mut node, Order::Reread)?;
        if known != gates {
            return Err(io::Error::other(format!("the node knows {known} of {gates} gates")));
        }
        Ok(Self { node, gates: started, _files: files })
    }

    /// Where the clients of each gate connect.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.gates.iter().map(Server::address).collect()
    }

    /// The first gate's.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.gates.first().map(Server::address).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// All processes, the gates first.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.gates.iter().chain([&self.node]).map(Server::pid).collect()
    }

    /// Has the node do something.
    pub(super) fn order(&mut self, order: Order) -> io::Result<Ordered> {
        ask(&mut self.node, order)
    }

    /// What has crossed the node's links so far.
    pub(super) fn crossed(&mut self) -> io::Result<Crossed> {
        ask(&mut self.node, Order::Links)
    }

    /// What came to the doors of all gates so far.
    pub(super) fn doors(&mut self) -> io::Result<Doors> {
        let mut all = Doors::default();
        for gate in &mut self.gates {
            let Doors { connections, accepted, refused } = ask(gate, Order::Doors)?;
            all.connections = all.connections.saturating_add(connections);
            all.accepted = all.accepted.saturating_add(accepted);
            all.refused = all.refused.saturating_add(refused);
        }
        Ok(all)
    }

    /// Stops all of it, the gates first.
    pub(super) fn stop(self) -> io::Result<()> {
        self.gates.into_iter().try_for_each(Server::stop)?;
        self.node.stop()
    }
}

fn ask_text(member: &mut Server, order: Order) -> io::Result<String> {
    let answer = member.ask(&serde_json::to_string(&order)?, ANSWER_MAX)?;
    Ok(answer.trim_end().to_owned())
}

fn ask<A: DeserializeOwned>(member: &mut Server, order: Order) -> io::Result<A> {
    Ok(serde_json::from_str(&ask_text(member, order)?)?)
}

/// The layout of every packet of a crowd.
pub(super) fn layout() -> Layout {
    LayoutArgs::wide().layout(0)
}

/// The packet that enters.
pub(super) fn entering() -> io::Result<Vec<u8>> {
    let mut packet = Vec::new();
    layout().encode_data(ENTER, 1, b"null", &mut packet).map_err(io::Error::other)?;
    Ok(packet)
}

/// Logs a client in, which has to be blocking, and gives its number. `ResourceBusy` if it is refused.
pub(super) fn enter(mut socket: &TcpStream) -> io::Result<usize> {
    let mut announced = Vec::new();
    Announce { features: Features::STATUS, ..Announce::default() }.encode(&mut announced);
    let mut packets = Vec::new();
    // Otherwise a client that is refused waits in vain.
    layout().encode_control(kind::ANNOUNCE, &announced, &mut packets);
    packets.extend_from_slice(&entering()?);
    socket.write_all(&packets)?;
    let (mut seen, mut part) = (Vec::new(), [0_u8; ENTERED_MAX]);
    loop {
        if !poll::readable(socket, ENTER_MAX)? {
            return Err(ErrorKind::TimedOut.into());
        }
        match socket.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            len => seen.extend_from_slice(part.get(..len).unwrap_or_default()),
        }
        let mut bytes = seen.as_slice();
        while let Some(packet) = split(&mut bytes, ENTERED_MAX)? {
            if let Some(number) = number(packet)? {
                return Ok(number);
            }
        }
    }
}

/// The number in the answer to whoever entered; none in what is no answer.
fn number(packet: &[u8]) -> io::Result<Option<usize>> {
    match layout().decode(&mut &*packet) {
        Ok(Some(Packet::Data(data))) if data.flags & STATUS_FLAG != 0 => {
            let text = format!("refused: {}", String::from_utf8_lossy(data.body));
            Err(io::Error::new(ErrorKind::ResourceBusy, text))
        }
        Ok(Some(Packet::Data(data))) => {
            serde_json::from_slice(data.body).map(Some).map_err(io::Error::from)
        }
        Ok(_) => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_entered_reads_its_number_and_nothing_else() {
        let answer = |body: &[u8]| {
            let mut packet = Vec::new();
            layout().encode_data(ENTER, 1, body, &mut packet).unwrap();
            number(&packet)
        };
        assert_eq!(answer(b"17").unwrap(), Some(17));
        assert!(answer(b"busy").is_err());
        let mut beat = Vec::new();
        layout().encode_heartbeat(0, &mut beat);
        assert_eq!(number(&beat).unwrap(), None);
    }
}
