//! Whether another live process has the id of an instance that is about to start.
//!
//! A record alone proves nothing: the process may have died a second ago. So its address is dialled, and only
//! somebody who answers under that very id counts. It blocks, on a thread of its own, and never longer
//! than [`PROBE_MAX`].

use super::{AppError, what};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use yumen_core::cluster::{Instance, Snapshot};
use yumen_proto::{
    id::InstanceId,
    link::{
        Command, Flow, Frame, Kind, Lane, LinkAnnounce, LinkFeatures, LinkMark, NAME_MAX, NONCE_LEN,
    },
};

/// Longest time for each step of a probe.
const STEP_MAX: Duration = Duration::from_secs(1);
/// Longest time for the whole of it.
const PROBE_MAX: Duration = Duration::from_secs(3);
/// Header of an announcement.
const ANNOUNCE: u8 = 0x81;
/// Most bytes that are read of an answer.
const ANSWER_MAX: u64 = 4096;

/// An instance that is about to start.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: InstanceId,
    pub(super) kind: Kind,
    /// What its own record will say.
    pub(super) endpoint: String,
}

/// Another live instance with one's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) kind: Kind,
    pub(super) address: String,
}

impl Candidate {
    /// Why this one cannot be.
    pub(super) fn taken_by(&self, Rival { kind, address }: Rival) -> AppError {
        let (id, kind, other) = (self.id.clone(), what(self.kind), what(kind));
        AppError::IdTaken { id, kind, other, address }
    }

    /// Whether the record of its kind and id is of somebody elsewhere.
    pub(super) fn is_replaced(&self, all: &Snapshot) -> bool {
        all.iter().any(|other| other.id == self.id && other.endpoint != self.endpoint)
    }

    /// Who of those has the id and lives elsewhere.
    pub(super) async fn rival(&self, gates: &Snapshot, nodes: &Snapshot) -> Option<Rival> {
        for other in gates.iter().chain(nodes.iter()) {
            // A record of one's own address is left from an earlier life: nobody else can be bound to it.
            if other.id != self.id || other.endpoint == self.endpoint {
                continue;
            }
            let Some(address) = address(&other.endpoint) else { continue };
            if answers(other.clone(), address.to_owned()).await {
                return Some(Rival { kind: other.kind, address: address.to_owned() });
            }
            tracing::info!(
                id = %self.id,
                "the registry has this id at {address}, where nobody answers under it: that counts for nothing"
            );
        }
        None
    }
}

/// Host and port of an endpoint.
fn address(endpoint: &str) -> Option<&str> {
    let (_, rest) = endpoint.split_once("://")?;
    Some(rest.split_once('?').map_or(rest, |(address, _)| address))
}

/// Whether the instance of that record answers at its address.
async fn answers(record: Instance, address: String) -> bool {
    let (done, is_done) = oneshot::channel();
    let run = move || {
        let _nobody_waits = done.send(probe(&record, &address).unwrap_or(false));
    };
    if std::thread::Builder::new().name("probe".to_owned()).spawn(run).is_err() {
        return false;
    }
    matches!(timeout(PROBE_MAX, is_done).await, Ok(Ok(true)))
}

/// Introduces itself there, and reads who answers.
fn probe(record: &Instance, address: &str) -> io::Result<bool> {
    let ours = record.metadata.get("yumen").is_some_and(|version| version == "1");
    let addr = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut socket = TcpStream::connect_timeout(&addr, STEP_MAX)?;
    socket.set_read_timeout(Some(STEP_MAX))?;
    socket.set_write_timeout(Some(STEP_MAX))?;
    // Under a name of its own, so that nobody takes it for the instance itself.
    let room = NAME_MAX.saturating_sub(1);
    let name = format!("~{}", record.id.as_str().get(..room).unwrap_or(record.id.as_str()));
    socket.write_all(&introduction(record.kind, &name, ours))?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 512]);
    let mut left = socket.take(ANSWER_MAX);
    loop {
        if let Some(answer) = read(&bytes, ours, &record.id) {
            return Ok(answer);
        }
        let len = left.read(&mut chunk)?;
        if len == 0 {
            return Ok(false);
        }
        bytes.extend(chunk.iter().take(len));
    }
}

fn introduction(kind: Kind, name: &str, ours: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let handshake = Frame::Request { seq: 1, command: Command::Handshake { kind, id: name } };
    let _always_fits = handshake.encode_as(Flow::Requests, &mut bytes);
    if ours {
        let announce = LinkAnnounce {
            features: LinkFeatures::DATA_LANE
                .and(LinkFeatures::CONTROL_LANE)
                .and(LinkFeatures::CREDITS)
                .and(LinkFeatures::COMMANDS)
                .and(LinkFeatures::AUTHENTICATION),
            nonce: [0; NONCE_LEN],
            lane: Lane::Control,
            id: name,
            cluster: "",
            window: 0,
            frame_max: 0,
            mark: LinkMark::default(),
            proof: None,
        };
        announce.encode(&mut bytes);
    }
    bytes
}

/// Whether it is the instance that answers; `None` until that can be told.
fn read(mut bytes: &[u8], ours: bool, id: &InstanceId) -> Option<bool> {
    loop {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        let (frame, rest) = rest.split_at_checked(size)?;
        bytes = rest;
        let Some((header, tail)) = frame.split_first() else { return Some(false) };
        if *header == ANNOUNCE {
            return Some(LinkAnnounce::parse(tail).is_some_and(|said| said.id == id.as_str()));
        }
        if !ours {
            // One of due's does not say who it is; that it answers a handshake is all there is.
            return Some(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Somebody who answers a dial with those bytes, and the record that leads there.
    fn somebody(answer: Vec<u8>, ours: bool) -> Instance {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("drpc://{}?is_secure=false", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut chunk = [0; 64];
            let _read = socket.read(&mut chunk).unwrap();
            socket.write_all(&answer).unwrap();
            let _until_it_leaves = socket.read_to_end(&mut Vec::new());
        });
        let mut record = Instance::new("room".into(), Kind::Node, endpoint);
        record.metadata.extend(ours.then(|| ("yumen".to_owned(), "1".to_owned())));
        record
    }

    async fn rival(id: &str, record: Instance) -> Option<Rival> {
        let candidate = Candidate { id: id.into(), kind: Kind::Gate, endpoint: String::new() };
        candidate.rival(&[].into(), &[record].into()).await
    }

    #[tokio::test]
    async fn only_who_answers_under_the_id_is_a_rival() {
        let answer = |name: &str| introduction(Kind::Node, name, true);
        let record = somebody(answer("room"), true);
        let found = rival("room", record.clone()).await.unwrap();
        assert!(record.endpoint.contains(&found.address) && found.kind == Kind::Node);
        assert_eq!(rival("room", somebody(answer("hall"), true)).await, None, "another instance");
        assert_eq!(rival("hall", somebody(answer("room"), true)).await, None, "another id");
        assert_eq!(rival("room", somebody(Vec::new(), true)).await, None, "says nothing in time");
        let handshake = introduction(Kind::Node, "", false);
        assert!(rival("room", somebody(handshake, false)).await.is_some(), "one of due's");
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gone = Instance::new("room".into(), Kind::Node, format!("drpc://{gone}"));
        assert_eq!(rival("room", gone).await, None, "nobody listens there");
    }
}
