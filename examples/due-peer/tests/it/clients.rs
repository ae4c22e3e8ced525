//! The recorded clients, played against any gate.

use crate::recording::{Recorded, frames, read, says_the_same};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use tungstenite::{Message, WebSocket};
use yumen_due_peer::Net;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The first two clients are there from the start.
const EARLY: [u64; 2] = [1, 2];

/// How packets travel: behind each other, or each in a message of its own.
enum Wire {
    Tcp(TcpStream),
    Ws(Box<WebSocket<TcpStream>>),
}

struct Client {
    wire: Wire,
    name: u64,
}

impl Client {
    fn connect(addr: SocketAddr, net: Net, name: u64) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let wire = match net {
            Net::Tcp => Wire::Tcp(socket),
            Net::Ws => {
                let (socket, _answer) =
                    tungstenite::client(format!("ws://{addr}/"), socket).unwrap();
                Wire::Ws(Box::new(socket))
            }
        };
        Self { wire, name }
    }

    fn send(&mut self, packet: &[u8]) {
        match &mut self.wire {
            Wire::Tcp(socket) => socket.write_all(packet).unwrap(),
            Wire::Ws(socket) => socket.send(Message::binary(packet.to_vec())).unwrap(),
        }
    }

    /// What comes next; `awaited` is what a failure names.
    fn packet(&mut self, awaited: &str) -> Vec<u8> {
        let socket = match &mut self.wire {
            Wire::Tcp(socket) => socket,
            Wire::Ws(socket) => match socket.read() {
                Ok(Message::Binary(packet)) => return packet.to_vec(),
                other => panic!("client {}, awaiting {awaited}: {other:?}", self.name),
            },
        };
        let mut packet = vec![0; 4];
        let read = socket.read_exact(&mut packet);
        read.unwrap_or_else(|error| panic!("client {}, awaiting {awaited}: {error}", self.name));
        let size = u32::from_be_bytes(packet[..4].try_into().unwrap());
        packet.resize(4 + usize::try_from(size).unwrap(), 0);
        socket.read_exact(&mut packet[4..]).unwrap();
        packet
    }

    /// Reads what was recorded here, and compares.
    fn expect(&mut self, recorded: &Recorded) {
        let theirs = read(&recorded.bytes);
        let packet = self.packet(&format!("{theirs:?}"));
        let ours = read(&packet);
        match (&theirs, &ours) {
            (None, None) => assert_eq!(packet, recorded.bytes, "a heartbeat"),
            (Some((route, seq, body)), Some((our_route, our_seq, our_body))) => {
                assert_eq!((route, seq), (our_route, our_seq), "client {}", self.name);
                let same = says_the_same(body, our_body);
                assert!(same, "client {}, route {route}: {body} and {our_body}", self.name);
            }
            _ => panic!("client {}: {theirs:?} and {ours:?}", self.name),
        }
    }

    /// The other side closes.
    fn end(self) {
        match self.wire {
            Wire::Tcp(mut socket) => {
                let read = socket.read(&mut [0; 64]);
                assert!(matches!(read, Ok(0) | Err(_)), "client {}: {read:?}", self.name);
            }
            Wire::Ws(mut socket) => {
                let read = socket.read();
                let ended = matches!(read, Ok(Message::Close(_)) | Err(_));
                assert!(ended, "client {}: {read:?}", self.name);
            }
        }
    }
}

/// Plays the three recorded clients against the gate at `addr`: sends what they sent, in their order, and
/// compares what comes with what they got.
pub(crate) fn play(addr: SocketAddr, net: Net) {
    let mut clients: BTreeMap<u64, Client> =
        EARLY.iter().map(|name| (*name, Client::connect(addr, net, *name))).collect();
    let mut answers = 0;
    for frame in frames("client dials gate-1") {
        let name = frame.connection;
        let client = clients.entry(name).or_insert_with(|| Client::connect(addr, net, name));
        if frame.from_dialler {
            client.send(&frame.bytes);
        } else {
            client.expect(&frame);
            answers += 1;
        }
    }
    assert!(answers > 20, "{answers} answers");
    // The second client asked to be disconnected.
    clients.remove(&2).unwrap().end();
}
