//! A gate as a process of its own: out of descriptors, suspended, and what its clients notice.
//!
//! The child is this very test binary. It prints `port N` and the answers to what it is asked, line
//! by line, and ends with its input.

use crate::{
    game::{self, ECHO, World},
    rig::{self, Got, PATIENCE, Peer, Server, Threads},
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use std::{
    io::{BufRead, BufReader, ErrorKind, Lines, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use yumen_cluster::cluster::Cluster;
use yumen_proto::conn::Heartbeat;

const DESCRIPTORS: &str = "YUMEN_TEST_DESCRIPTORS";
const INTERVAL_MS: &str = "YUMEN_TEST_INTERVAL_MS";

/// A gate with one node in another process.
struct Outside {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    addr: SocketAddr,
}

impl Outside {
    fn start(settings: &[(&str, u64)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "outside::child", "--ignored", "--nocapture"])
            .envs(settings.iter().map(|(name, value)| (name, value.to_string())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = answer(&mut lines, "port ");
        Self { child, lines, addr: ([127, 0, 0, 1], port.parse().unwrap()).into() }
    }

    /// A counter of the gate.
    fn count(&mut self, name: &str) -> u64 {
        writeln!(self.child.stdin.as_mut().unwrap(), "{name}").unwrap();
        answer(&mut self.lines, "count ").parse().unwrap()
    }

    fn until(&mut self, name: &str, right: impl Fn(u64) -> bool) {
        let began = Instant::now();
        while !right(self.count(name)) {
            assert!(began.elapsed() < PATIENCE, "{name} is {}", self.count(name));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).unwrap()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It may be stopped; its end is of no interest.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn answer(lines: &mut Lines<BufReader<ChildStdout>>, prefix: &str) -> String {
    let found = lines.find_map(|line| {
        let line = line.unwrap();
        line.split_once(prefix).map(|(_, rest)| rest.to_owned())
    });
    found.expect("the child answers")
}

fn limit(descriptors: Option<u64>) {
    // The hard one as well: an app raises the soft one by itself.
    let maximum = descriptors.or(getrlimit(Resource::Nofile).maximum);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn child() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    limit(number(DESCRIPTORS));
    let interval = Duration::from_millis(number(INTERVAL_MS).unwrap_or(60_000));
    let cluster = Cluster::in_process();
    let node = rig::node(&cluster, "node", game::routes(), World::default).build().unwrap();
    let gate = rig::gate(&cluster).heartbeat(Heartbeat { interval, ..Heartbeat::default() });
    let server = Server::start(Threads::Two, gate.build().unwrap(), node);
    // Made now: later there may be no descriptor for it.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!("port {}", server.addr.port());
    for line in std::io::stdin().lines() {
        let stats = runtime.block_on(server.gate.stats());
        let name = line.unwrap();
        let count = stats.named().into_iter().find(|(known, _)| *known == name);
        println!("count {}", count.expect("a counter").1);
    }
}

#[test]
fn out_of_descriptors_the_gate_serves_who_is_there_and_goes_on_accepting_later() {
    let mut gate = Outside::start(&[(DESCRIPTORS, 100)]);
    let mut good = Peer::announced(gate.addr);
    // They all connect: those that the gate cannot take wait in the system's backlog.
    let mut flood: Vec<_> = (0..300).map(|_| gate.connect()).collect();
    gate.until("accept_errors", |count| count >= 3);
    let there = gate.count("connections");
    assert!((50..100).contains(&there), "{there}");
    for _ in 0..20 {
        assert_eq!(good.call(ECHO, "still served").text(), "still served");
    }
    // Those that waited get the places of those that leave, and so does whoever comes then.
    flood.drain(..250);
    gate.until("accepted", |count| count == 301);
    gate.until("connections", |count| count == 51);
    let mut late = Peer::announced(gate.addr);
    assert_eq!(late.call(ECHO, "hello").text(), "hello");
    assert_eq!(good.call(ECHO, "hello").text(), "hello");
    drop(flood);
    gate.until("closed", |count| count == 300);
    assert_eq!(gate.count("closed_gone") + gate.count("closed_reset"), 300);
}

/// More than the system reports at once, so that some are read only after the first sweep.
const MANY: usize = 1_500;
const BEAT: [u8; 5] = [0, 0, 0, 1, 0x80];

/// Sends a heartbeat on each and takes what comes, for so long. How many have ended.
fn beat(clients: &mut [TcpStream], duration: Duration) -> usize {
    let (_tell, pace) = mpsc::channel::<()>();
    let (began, mut space, mut ended) = (Instant::now(), [0; 256], vec![false; clients.len()]);
    while began.elapsed() < duration {
        for (client, ended) in clients.iter_mut().zip(&mut ended) {
            let sent = client.write(&BEAT);
            let read = client.read(&mut space);
            let waits = matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock);
            *ended |= sent.is_err() || !(waits || read.unwrap_or(0) > 0);
        }
        // Nobody tells it anything: this is its pace.
        let _paced = pace.recv_timeout(Duration::from_millis(200));
    }
    ended.into_iter().filter(|ended| *ended).count()
}

#[test]
fn a_gate_that_was_suspended_closes_nobody_who_went_on_sending() {
    limit(None);
    let mut gate = Outside::start(&[(INTERVAL_MS, 1_500)]);
    let mut silent = Peer::due(gate.addr);
    let mut clients: Vec<_> = (0..MANY).map(|_| gate.connect()).collect();
    clients.iter().for_each(|client| client.set_nonblocking(true).unwrap());
    gate.until("accepted", |count| count == 1 + MANY as u64);
    beat(&mut clients, Duration::from_secs(1));
    gate.signal(Signal::STOP);
    // Twice as long as a client may be silent.
    beat(&mut clients, Duration::from_secs(6));
    gate.signal(Signal::CONT);
    let ended = beat(&mut clients, Duration::from_secs(2));
    assert_eq!(ended, 0, "of {MANY} clients that never stopped sending");
    // Whoever was silent is closed for it, a little later.
    while silent.read() != Got::End {}
    assert_eq!((gate.count("closed"), gate.count("closed_idle")), (1, 1));
}
