//! The recorded processes of due, played against ours.
//!
//! A player goes through what was recorded in the order of time. What its own side did it does; what the
//! other side did it waits for, and compares field by field. Numbers of requests are matched: the other
//! side counts its own. What comes early is kept until it is its turn, since due promises no order
//! between connections; at the end nothing may be left over.

use super::{child::Backends, redis::Client as Redis};
use crate::{
    clients::Clients,
    recording::{self, Recorded, frames, says_the_same},
};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};
use yumen::{
    proto::link::{Command, Event, Flow, Frame, Kind as Role, Reply, Target, TargetKind, code},
    registry::{Instance, Kind, Registry},
};
use yumen_plugins::etcd::EtcdRegistry;

/// Longest wait for a frame.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that due dials.
const CONNS: usize = 5;
const TO_NODE: &str = "gate-1 dials node-1";
const TO_GATE: &str = "node-1 dials gate-1";

/// Something that happened in the recording.
enum Step {
    /// The played side asked, on one of its connections.
    Ask(Recorded),
    /// It was answered.
    Answered(Recorded),
    /// It was asked.
    Asked(Recorded),
    /// It answered.
    Answer(Recorded),
    /// A client sent, or got, something.
    Client(Recorded),
}

impl Step {
    fn at(&self) -> f64 {
        let (Self::Ask(frame)
        | Self::Answered(frame)
        | Self::Asked(frame)
        | Self::Answer(frame)
        | Self::Client(frame)) = self;
        frame.at
    }
}

fn read_frame(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    socket.read_exact(&mut bytes).ok()?;
    let size = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    bytes.resize(4 + usize::try_from(size).unwrap(), 0);
    socket.read_exact(&mut bytes[4..]).ok()?;
    Some(bytes)
}

/// Heartbeats, announcements among them, are nothing to a due process.
fn is_heartbeat(bytes: &[u8]) -> bool {
    bytes[4] & 0x80 != 0
}

fn is_handshake(bytes: &[u8]) -> bool {
    bytes[5] == 1
}

fn seq(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[6..14].try_into().unwrap())
}

fn with_seq(bytes: &[u8], seq: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[6..14].copy_from_slice(&seq.to_be_bytes());
    bytes
}

fn command(bytes: &[u8]) -> Command<'_> {
    let mut rest = bytes;
    match Frame::decode_as(Flow::Requests, &mut rest, 1 << 20) {
        Ok(Some(Frame::Request { command, .. })) => command,
        other => panic!("{other:?}"),
    }
}

/// What of a request names a client packet.
fn packet<'a>(command: &Command<'a>) -> Option<&'a [u8]> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others carry none")]
    match command {
        Command::Push { packet, .. }
        | Command::Multicast { packet, .. }
        | Command::Broadcast { packet, .. }
        | Command::Publish { packet, .. }
        | Command::Deliver { packet, .. } => Some(packet),
        _ => None,
    }
}

/// The same request without its packet.
fn bare<'a>(command: Command<'a>) -> Command<'a> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others carry none")]
    match command {
        Command::Push { target, disconnect, .. } => {
            Command::Push { target, disconnect, packet: &[] }
        }
        // One user at one gate: due has a push for that, ours a list of one.
        Command::Multicast { kind: TargetKind::User, targets, disconnect, .. }
            if targets.len() == 1 =>
        {
            let target = Target::new(TargetKind::User, targets.iter().next().unwrap());
            Command::Push { target, disconnect, packet: &[] }
        }
        Command::Broadcast { kind, disconnect, .. } => {
            Command::Broadcast { kind, disconnect, packet: &[] }
        }
        Command::Publish { channel, disconnect, .. } => {
            Command::Publish { channel, disconnect, packet: &[] }
        }
        Command::Deliver { conn, user, .. } => Command::Deliver { conn, user, packet: &[] },
        other => other,
    }
}

/// Whether two requests ask the same.
fn asks_the_same(theirs: &[u8], ours: &[u8]) -> bool {
    let (theirs, ours) = (command(theirs), command(ours));
    let packets = match (packet(&theirs), packet(&ours)) {
        (None, None) => true,
        (Some(theirs), Some(ours)) => match (recording::read(theirs), recording::read(ours)) {
            (Some((route, seq, body)), Some((our_route, our_seq, our_body))) => {
                (route, seq) == (our_route, our_seq) && says_the_same(&body, &our_body)
            }
            (theirs, ours) => theirs == ours,
        },
        _ => false,
    };
    bare(theirs) == bare(ours) && packets
}

/// One of the two recorded processes, and its connections.
struct Player {
    /// Connections that this side has dialled.
    mine: Vec<TcpStream>,
    /// What came on them: answers.
    answers: Receiver<(usize, Vec<u8>)>,
    /// Connections that the other side has dialled, in the order of their coming, and what came on them.
    asked: Receiver<(usize, TcpStream, Vec<u8>)>,
    early_answers: Vec<Vec<u8>>,
    early_asked: Vec<(TcpStream, Vec<u8>)>,
    /// Recorded numbers of requests: on which connection ours came, its number and its code.
    open: BTreeMap<u64, (TcpStream, u64, u8)>,
    redis: Redis,
}

/// Accepts for ever, answers handshakes, and passes on what comes.
fn accept(listener: TcpListener, tx: Sender<(usize, TcpStream, Vec<u8>)>) {
    for (number, socket) in listener.incoming().enumerate() {
        let (mut socket, tx) = (socket.unwrap(), tx.clone());
        std::thread::spawn(move || {
            while let Some(frame) = read_frame(&mut socket) {
                if is_heartbeat(&frame) {
                    continue;
                }
                if is_handshake(&frame) {
                    let mut answer = Vec::new();
                    let (seq, reply) = (seq(&frame), Reply::Done);
                    let answered = Frame::Reply { seq, route: 1, code: code::OK, reply };
                    answered.encode_as(Flow::Replies, &mut answer).unwrap();
                    socket.write_all(&answer).unwrap();
                } else {
                    let _the_test_is_over = tx.send((number, socket.try_clone().unwrap(), frame));
                }
            }
        });
    }
}

/// Dials as due does, and waits until every handshake is answered.
fn dial(addr: &str, role: Role, id: &str, tx: &Sender<(usize, Vec<u8>)>) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for number in 0..CONNS {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut words = Vec::new();
        let command = Command::Handshake { kind: role, id };
        Frame::Request { seq: 1, command }.encode_as(Flow::Requests, &mut words).unwrap();
        socket.write_all(&words).unwrap();
        let answer = read_frame(&mut socket).expect("the handshake is answered");
        assert!(is_handshake(&answer) && seq(&answer) == 1);
        all.push(socket.try_clone().unwrap());
        let tx = tx.clone();
        std::thread::spawn(move || {
            while let Some(frame) = read_frame(&mut socket) {
                if !is_heartbeat(&frame) {
                    let _the_test_is_over = tx.send((number, frame));
                }
            }
        });
    }
    all
}

/// Registers the recorded process under the address where it is played, and gives the address of the
/// other one once it is registered.
fn meet(backends: &Backends, played: Kind, listener: &TcpListener) -> (EtcdRegistry, Instance) {
    let mut all = recording::records().into_iter().flatten();
    let mut record = all.find(|record| record.kind == played).unwrap();
    record.endpoint = format!("drpc://{}?is_secure=false", listener.local_addr().unwrap());
    (EtcdRegistry::builder([backends.etcd.clone()]).build().unwrap(), record)
}

/// Where the other process listens.
async fn find(registry: &EtcdRegistry, kind: Kind) -> String {
    let mut watch = registry.watch(kind).await.unwrap();
    while watch.current().is_empty() {
        assert!(watch.changed().await);
    }
    let endpoint = watch.current()[0].endpoint.clone();
    let address = endpoint.strip_prefix("drpc://").unwrap();
    address.split_once('?').unwrap().0.to_owned()
}

fn steps(asks: &str, is_asked: &str, with_clients: bool) -> Vec<Step> {
    let real = |frame: &Recorded| !is_heartbeat(&frame.bytes) && !is_handshake(&frame.bytes);
    let mut all: Vec<Step> = Vec::new();
    for frame in frames(asks).into_iter().filter(real) {
        all.push(if frame.from_dialler { Step::Ask(frame) } else { Step::Answered(frame) });
    }
    for frame in frames(is_asked).into_iter().filter(real) {
        all.push(if frame.from_dialler { Step::Asked(frame) } else { Step::Answer(frame) });
    }
    if with_clients {
        all.extend(frames("client dials gate-1").into_iter().map(Step::Client));
    }
    // Stable, so that a question stays before its answer.
    all.sort_by(|a, b| a.at().total_cmp(&b.at()));
    all
}

impl Player {
    fn ask(&mut self, frame: &Recorded) {
        let at = usize::try_from(frame.connection).unwrap() - 1;
        self.mine[at].write_all(&frame.bytes).unwrap();
    }

    fn answered(&mut self, frame: &Recorded) {
        let is_it = |bytes: &Vec<u8>| seq(bytes) == seq(&frame.bytes);
        let early = self.early_answers.iter().position(is_it);
        let ours = match early {
            Some(at) => self.early_answers.swap_remove(at),
            None => loop {
                let came = self.answers.recv_timeout(PATIENCE);
                let (_, bytes) = came.unwrap_or_else(|_| panic!("no answer to {:?}", frame.bytes));
                if is_it(&bytes) {
                    break bytes;
                }
                self.early_answers.push(bytes);
            },
        };
        assert_eq!(ours, frame.bytes, "an answer differs");
    }

    fn asked(&mut self, frame: &Recorded) {
        let is_it = |bytes: &[u8]| asks_the_same(&frame.bytes, bytes);
        let early = self.early_asked.iter().position(|(_, bytes)| is_it(bytes));
        let (socket, bytes) = match early {
            Some(at) => self.early_asked.remove(at),
            None => loop {
                let came = self.asked.recv_timeout(PATIENCE);
                let (_, socket, bytes) = came.unwrap_or_else(|_| {
                    let waiting: Vec<_> =
                        self.early_asked.iter().map(|(_, b)| command(b)).collect();
                    panic!("{:?} did not come; but {waiting:?}", command(&frame.bytes))
                });
                if is_it(&bytes) {
                    break (socket, bytes);
                }
                self.early_asked.push((socket, bytes));
            },
        };
        assert_eq!(
            seq(&bytes) == 0,
            seq(&frame.bytes) == 0,
            "waits for an answer or not: {frame:?}"
        );
        if seq(&frame.bytes) != 0 {
            self.open.insert(seq(&frame.bytes), (socket, seq(&bytes), bytes[5]));
        }
    }

    fn answer(&mut self, frame: &Recorded) {
        let (mut socket, number, route) =
            self.open.remove(&seq(&frame.bytes)).expect("it was asked");
        let mut bytes = with_seq(&frame.bytes, number);
        if route == 9 && bytes[5] == 8 {
            // A push that ours sent as a list of one: the answer to that counts.
            bytes.clear();
            let reply = Reply::Total(1);
            let answer = Frame::Reply { seq: number, route, code: code::OK, reply };
            answer.encode_as(Flow::Replies, &mut bytes).unwrap();
        }
        socket.write_all(&bytes).unwrap();
    }

    /// What due's gate or node does in Redis for a request.
    fn store(&mut self, role: &str, kind: u8, uid: i64) {
        let key = format!("due:locate:user:{uid}:{role}");
        let id = format!("{role}-1");
        let name = if role == "node" { "node" } else { "" };
        match (role, kind) {
            ("gate", 1) => drop(self.redis.run(&["SET", &key, &id, "KEEPTTL"])),
            ("gate", _) => drop(self.redis.run(&["DEL", &key])),
            (_, 2) => drop(self.redis.run(&["HSET", &key, name, &id])),
            (_, _) => drop(self.redis.run(&["HDEL", &key, name])),
        }
        let channel = format!("due:locate:cluster:{role}:event");
        let event = format!(
            r#"{{"uid":{uid},"type":{kind},"insID":"{id}","insKind":"{role}","insName":"{name}"}}"#
        );
        self.redis.run(&["PUBLISH", &channel, &event]);
    }

    fn end(self) {
        let left: Vec<_> = self.early_asked.iter().map(|(_, bytes)| command(bytes)).collect();
        assert!(left.is_empty(), "more than was recorded: {left:?}");
        assert!(self.early_answers.is_empty() && self.open.is_empty());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The recorded gate, among ours: holds no clients, but does all that it did for them.
pub(super) struct Gate(Player);

impl Gate {
    pub(super) fn start(backends: &Backends) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (registry, record) = meet(backends, Kind::Gate, &listener);
        let (tx, asked) = mpsc::channel();
        std::thread::spawn(move || accept(listener, tx));
        let (tx, answers) = mpsc::channel();
        let runtime = runtime();
        let addr = runtime.block_on(async {
            registry.join(&record).await.unwrap();
            find(&registry, Kind::Node).await
        });
        // Its lease is kept as long as its runtime runs.
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let _kept = registry;
                std::future::pending::<()>().await;
            })
        });
        let mine = dial(&addr, Role::Gate, "gate-1", &tx);
        Self(Player {
            mine,
            answers,
            asked,
            early_answers: Vec::new(),
            early_asked: Vec::new(),
            open: BTreeMap::new(),
            redis: Redis::open(backends),
        })
    }

    pub(super) fn play(self) {
        let mut player = self.0;
        for step in steps(TO_NODE, TO_GATE, false) {
            match step {
                Step::Ask(frame) => player.ask(&frame),
                Step::Answered(frame) => player.answered(&frame),
                Step::Asked(frame) => {
                    player.asked(&frame);
                    #[expect(clippy::wildcard_enum_match_arm, reason = "the others change nothing")]
                    match command(&frame.bytes) {
                        Command::Bind { user, .. } => player.store("gate", 1, user.0),
                        Command::Unbind { user } => player.store("gate", 3, user.0),
                        _ => {}
                    }
                }
                Step::Answer(frame) => player.answer(&frame),
                Step::Client(_) => {}
            }
        }
        player.end();
    }
}

/// The recorded node, among ours.
pub(super) struct Node {
    registry: EtcdRegistry,
    runtime: tokio::runtime::Runtime,
    asked: Receiver<(usize, TcpStream, Vec<u8>)>,
    redis: Redis,
}

impl Node {
    pub(super) fn start(backends: &Backends) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (registry, record) = meet(backends, Kind::Node, &listener);
        let (tx, asked) = mpsc::channel();
        std::thread::spawn(move || accept(listener, tx));
        let runtime = runtime();
        runtime.block_on(registry.join(&record)).unwrap();
        Self { registry, runtime, asked, redis: Redis::open(backends) }
    }

    /// Plays the node, and the clients of the gate at `clients`.
    pub(super) fn play(self, clients: SocketAddr) {
        let Self { registry, runtime, asked, redis } = self;
        let addr = runtime.block_on(find(&registry, Kind::Gate));
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let _kept = registry;
                std::future::pending::<()>().await;
            })
        });
        let (tx, answers) = mpsc::channel();
        let mut player = Player {
            mine: dial(&addr, Role::Node, "node-1", &tx),
            answers,
            asked,
            early_answers: Vec::new(),
            early_asked: Vec::new(),
            open: BTreeMap::new(),
            redis,
        };
        let mut clients = Clients::new(clients);
        for step in steps(TO_GATE, TO_NODE, true) {
            match step {
                Step::Ask(frame) => {
                    if let Command::Unbind { user } = command(&frame.bytes) {
                        player.store("node", 4, user.0);
                    }
                    player.ask(&frame);
                    // Due binds a user to the node once the gate has bound it.
                    if let Command::Bind { user, .. } = command(&frame.bytes) {
                        player.store("node", 2, user.0);
                    }
                }
                Step::Answered(frame) => player.answered(&frame),
                Step::Asked(frame) => {
                    if let Command::Trigger { event, conn, .. } = command(&frame.bytes) {
                        let client = u64::try_from(conn.0).unwrap();
                        match event {
                            Event::Connect => clients.connect(client),
                            Event::Disconnect => clients.close(client),
                            Event::Reconnect => {}
                        }
                    }
                    player.asked(&frame);
                }
                Step::Answer(frame) => player.answer(&frame),
                Step::Client(frame) => clients.step(&frame),
            }
        }
        player.end();
    }
}
