//! A fleet changes its registry, one process at a time, while clients play.

use super::child::{Backends, Process};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use yumen_due_peer::{ECHO, LOGIN, STICKY};

/// Longest wait for an answer, and for anything else.
const PATIENCE: Duration = Duration::from_secs(20);
const PLAYERS: u64 = 8;
const GATES: [&str; 2] = ["gate-1", "gate-2"];
const NODES: [&str; 2] = ["node-1", "node-2"];

/// A connection that speaks as due's clients do.
struct Line {
    socket: TcpStream,
    seq: i32,
}

/// What came of a call.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered(Value),
    /// The gate has closed the connection.
    Closed,
    /// Nobody answered.
    Silent,
}

impl Line {
    fn to(gate: SocketAddr) -> Option<Self> {
        let socket = TcpStream::connect(gate).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(Self { socket, seq: 0 })
    }

    fn call(&mut self, route: i32, body: &Value) -> Outcome {
        self.seq += 1;
        let body = body.to_string();
        let size = u32::try_from(1 + 4 + 4 + body.len()).unwrap();
        let mut packet = size.to_be_bytes().to_vec();
        packet.push(0);
        packet.extend(route.to_be_bytes());
        packet.extend(self.seq.to_be_bytes());
        packet.extend(body.as_bytes());
        let mut size = [0; 4];
        let sent = self.socket.write_all(&packet).and_then(|()| self.socket.read_exact(&mut size));
        if let Err(error) = sent {
            let waited = matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            );
            return if waited { Outcome::Silent } else { Outcome::Closed };
        }
        let mut rest = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
        self.socket.read_exact(&mut rest).unwrap();
        assert_eq!(rest[1..9], packet[5..13], "the answer to this call");
        Outcome::Answered(serde_json::from_slice(&rest[9..]).unwrap())
    }
}

/// Clients who ask without a pause, each at any gate that is there.
struct Players {
    gates: Arc<Mutex<Vec<SocketAddr>>>,
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// Each gives how often it was sent away.
    threads: Vec<JoinHandle<u64>>,
}

impl Players {
    fn start(gates: Vec<SocketAddr>) -> Self {
        let (gates, answered) = (Arc::new(Mutex::new(gates)), Arc::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut this = Self { gates, answered, stop, threads: Vec::new() };
        for player in 0..PLAYERS {
            let (gates, answered) = (Arc::clone(&this.gates), Arc::clone(&this.answered));
            let stop = Arc::clone(&this.stop);
            let playing = move || {
                let (mut line, mut turn, mut sent_away) = (None::<Line>, player, 0);
                while !stop.load(Ordering::Relaxed) {
                    let Some(open) = &mut line else {
                        let gates = gates.lock().unwrap().clone();
                        turn += 1;
                        line = Line::to(gates[usize::try_from(turn).unwrap() % gates.len()]);
                        continue;
                    };
                    let said = json!({ "player": player, "seq": open.seq });
                    match open.call(ECHO, &said) {
                        Outcome::Answered(heard) => {
                            assert_eq!(heard, said);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Outcome::Closed => {
                            sent_away += 1;
                            line = None;
                        }
                        Outcome::Silent => panic!("player {player}: nobody answered {said}"),
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                sent_away
            };
            this.threads.push(thread::spawn(playing));
        }
        this
    }

    /// Waits until so many more calls were answered.
    fn go_on(&self, more: u64) {
        let (began, wanted) = (Instant::now(), self.answered.load(Ordering::Relaxed) + more);
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(began.elapsed() < PATIENCE, "the game stands still");
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a player has failed");
            thread::yield_now();
        }
    }
}

/// Waits until that gate sends somebody to that node.
fn until_known(gate: SocketAddr, node: &str, user: &mut i64) {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "the gate at {gate} does not find {node}");
        *user += 1;
        let Some(mut line) = Line::to(gate) else { continue };
        line.call(LOGIN, &json!({ "uid": *user }));
        if line.call(STICKY, &json!({})) == Outcome::Answered(json!({ "uid": *user, "nid": node }))
        {
            return;
        }
    }
}

/// A fleet, and where its clients connect.
struct Fleet<'a> {
    backends: &'a Backends,
    nodes: Vec<Process>,
    gates: Vec<(Process, SocketAddr)>,
    user: i64,
}

impl Fleet<'_> {
    fn node(&self, index: usize, registries: &str) -> Process {
        self.backends.node_at(NODES[index], registries)
    }

    fn gate(&self, index: usize, registries: &str) -> (Process, SocketAddr) {
        let gate = self.backends.gate_at(GATES[index], registries);
        let at = gate.clients();
        (gate, at)
    }

    /// Every process is stopped as an update stops it, and replaced by one that uses these registries.
    fn roll(&mut self, registries: &str, players: &Players) {
        for (index, name) in NODES.into_iter().enumerate() {
            self.nodes.remove(index).stop();
            let node = self.node(index, registries);
            self.nodes.insert(index, node);
            for (_, gate) in &self.gates {
                until_known(*gate, name, &mut self.user);
            }
            players.go_on(100);
        }
        for index in 0..GATES.len() {
            let (gate, at) = self.gates.remove(index);
            players.gates.lock().unwrap().retain(|known| *known != at);
            gate.stop();
            let fresh = self.gate(index, registries);
            for name in NODES {
                until_known(fresh.1, name, &mut self.user);
            }
            players.gates.lock().unwrap().push(fresh.1);
            self.gates.insert(index, fresh);
            players.go_on(100);
        }
    }
}

#[test]
fn a_fleet_moves_from_consul_over_both_to_etcd_and_no_call_fails() {
    let mut backends = Backends::start();
    backends.start_consul();
    let mut fleet = Fleet { backends: &backends, nodes: Vec::new(), gates: Vec::new(), user: 0 };
    for index in 0..NODES.len() {
        let node = fleet.node(index, "'consul'");
        fleet.nodes.push(node);
    }
    for index in 0..GATES.len() {
        let gate = fleet.gate(index, "'consul'");
        for name in NODES {
            until_known(gate.1, name, &mut fleet.user);
        }
        fleet.gates.push(gate);
    }
    let players = Players::start(fleet.gates.iter().map(|(_, at)| *at).collect());
    players.go_on(200);
    fleet.roll("'consul', 'etcd'", &players);
    fleet.roll("'etcd'", &players);
    let Fleet { nodes, gates, .. } = fleet;
    backends.stop_consul();
    players.go_on(500);
    players.stop.store(true, Ordering::Relaxed);
    let sent_away: Vec<_> = players.threads.into_iter().map(|it| it.join().unwrap()).collect();
    let answered = players.answered.load(Ordering::Relaxed);
    println!("{answered} calls answered; players were sent away {sent_away:?} times");
    // Each gate was replaced twice; nobody was sent away for any other reason.
    assert!(sent_away.iter().all(|times| *times <= 4), "{sent_away:?}");
    assert!(sent_away.iter().sum::<u64>() >= 4, "gates were replaced under players");
    drop((nodes, gates));
}
