//! Thousands of connections: their clients live in a process of their own, because one process may
//! not have descriptors for both ends. That process is this test binary, run again.

use crate::{
    game::{self, ECHO, LOGIN, World, text},
    rig::{self, PATIENCE, Peer, Server, Threads},
};
use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use yumen_cluster::{
    cluster::Cluster,
    gate::{Gate, Tcp},
    node::{Audience, NodeHandle},
};
use yumen_proto::UserId;

const NEWS: i32 = 99;
/// Tells a process that it is the clients, and of which gate.
const ROLE: &str = "YUMEN_IT_CLIENTS";

/// One at a time: two such tests at once would need more descriptors than there are.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Many clients in another process, driven by lines: each order is answered by one line.
struct Crowd {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts the process, which runs the test `name` of this binary as the clients.
    fn start(name: &str, addr: SocketAddr) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture", "--test-threads", "1"]);
        command.env(ROLE, addr.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { orders: process.stdin.take().unwrap(), answers, process }
    }

    fn order(&mut self, order: &str) -> String {
        self.send(order);
        self.answer()
    }

    fn send(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the clients have ended");
            // The first lines of a test binary are its own.
            if let Some(answer) = line.trim_end().split("crowd: ").nth(1) {
                return answer.to_owned();
            }
        }
    }

    fn end(mut self) {
        drop(self.orders);
        assert!(self.process.wait().unwrap().success());
    }
}

/// The other process: obeys until there are no more orders.
fn crowd(addr: &str) {
    let addr = addr.parse().unwrap();
    let mut clients = Vec::new();
    for order in std::io::stdin().lines() {
        let order = order.unwrap();
        let mut words = order.split(' ');
        let (verb, number) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        match verb {
            // So many users, from 1 on.
            "login" => login(addr, number, &mut clients),
            // Every client reads so many packets; all are the same.
            "read" => {
                let wanted = words.next().unwrap();
                for client in &mut clients {
                    for _ in 0..number {
                        let got = client.read();
                        assert!(got.text() == wanted, "{} bytes", got.text().len());
                    }
                }
            }
            other => panic!("{other}"),
        }
        println!("crowd: {}", clients.len());
    }
}

fn login(addr: SocketAddr, count: usize, clients: &mut Vec<Peer>) {
    for user in 1..=count {
        let mut client = Peer::due(addr);
        client.send(LOGIN, 1, user.to_string());
        clients.push(client);
    }
    for client in clients {
        assert_eq!(client.read().text(), "welcome");
    }
}

fn server() -> (Server, NodeHandle) {
    let cluster = Cluster::in_process();
    let node = rig::node(&cluster, "node", game::routes(), World::default).build().unwrap();
    let handle = node.handles()[0].clone();
    let gate = Gate::builder(&cluster).listen(Tcp::on("127.0.0.1:0").connections_max(0));
    (Server::start(Threads::Two, gate.build().unwrap(), node), handle)
}

#[test]
fn w08_multicast_to_10000_connections_of_one_gate_keeps_every_byte() {
    if let Ok(addr) = std::env::var(ROLE) {
        return crowd(&addr);
    }
    let _alone = alone();
    let (server, node) = server();
    let name = "many::w08_multicast_to_10000_connections_of_one_gate_keeps_every_byte";
    let mut crowd = Crowd::start(name, server.addr);
    assert_eq!(crowd.order("login 10000"), "10000");
    assert_eq!(rig::block_on(node.count(Audience::Users)).unwrap(), 10_000);

    // due's frame shifts the payload from 8,191 targets on.
    let some = |first: i64, last: i64| {
        let users = (first..=last).map(UserId).collect();
        let reached = rig::block_on(node.multicast_acked(users, NEWS, &text("5byte")));
        assert_eq!(reached.unwrap(), (last - first + 1) as u64);
    };
    for cut in [8_190, 8_191, 9_999] {
        some(1, cut);
        some(cut + 1, 10_000);
    }
    some(1, 10_000);
    // And loses targets above 65,535: everybody seven times makes 70,000.
    let users: Vec<_> = (0..7).flat_map(|_| (1..=10_000).map(UserId)).collect();
    let reached = rig::block_on(node.multicast_acked(users, NEWS, &text("5byte"))).unwrap();
    assert_eq!(reached, 70_000);
    let all = rig::block_on(node.broadcast_acked(Audience::Everybody, NEWS, &text("5byte")));
    assert_eq!(all.unwrap(), 10_000);
    assert_eq!(crowd.order("read 12 5byte"), "10000");
    let stats = server.stats();
    assert_eq!((stats.undeliverable, stats.events_lost, stats.binds), (0, 0, 10_000));
    crowd.end();
    let gone = server.until("all gone", |stats| stats.connections == 0);
    assert_eq!((gone.users, gone.closed), (0, 10_000));
    // Every place was released, although ten thousand left at once.
    let began = Instant::now();
    for user in (1..=10_000).map(UserId) {
        while rig::block_on(node.locate(user)).unwrap().is_some() {
            assert!(began.elapsed() < PATIENCE, "{user} is still somewhere");
        }
    }
    server.rig.stop().unwrap();
}

#[test]
fn an_echo_beside_a_broadcast_to_thousands_stays_quick() {
    if let Ok(addr) = std::env::var(ROLE) {
        return crowd(&addr);
    }
    let _alone = alone();
    let (server, node) = server();
    let name = "many::an_echo_beside_a_broadcast_to_thousands_stays_quick";
    let mut crowd = Crowd::start(name, server.addr);
    assert_eq!(crowd.order("login 3000"), "3000");
    let mut echo = server.client();
    let news = "n".repeat(1000);
    let mut took = Vec::new();
    for _ in 0..20 {
        rig::block_on(node.broadcast(Audience::Users, NEWS, &text(news.as_str()))).unwrap();
        crowd.send(&format!("read 1 {news}"));
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(echo.call(ECHO, "x").text(), "x");
            took.push(began.elapsed());
        }
        assert_eq!(crowd.answer(), "3000");
    }
    took.sort();
    let p99 = took[took.len() * 99 / 100 - 1];
    assert!(p99 < Duration::from_millis(500), "p99 {p99:?}, worst {:?}", took.last());
    crowd.end();
    server.until("all gone", |stats| stats.connections == 1);
}
