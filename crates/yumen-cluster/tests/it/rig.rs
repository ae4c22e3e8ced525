//! What every test here needs: servers on threads of their own, and clients that only know bytes.
//!
//! Clients read with a generous time-out and never sleep. A condition that only the gate knows is
//! waited for by asking the gate again and again.

use super::apart::Stores;
use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use yumen_cluster::{
    app::{App, AppError, Phase},
    cluster::Cluster,
    gate::{Gate, GateBuilder, GateHandle, GateStats, Tcp},
    node::{Node, NodeBuilder, Router},
};
use yumen_core::{cluster::Kind, status::Code};
use yumen_proto::{
    Features, NoticeReason, Outcome, RouteId, StatusReply,
    extension::{Announce, CloseNotice, kind},
    packet::{Layout, Packet},
};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a future on the test's own thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
}

/// A running `App`. Dropping it stops it.
pub(crate) struct Rig {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), AppError>>>,
    /// Another process, as it were, that is stopped behind it.
    beside: Option<Box<Self>>,
}

impl Rig {
    pub(crate) fn start(app: App) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(app.run_until(async {
                let _stopped_or_dropped = stopped.await;
            }))
        };
        let thread = std::thread::Builder::new().name("service".to_owned()).spawn(run).unwrap();
        Self { stop: Some(stop), thread: Some(thread), beside: None }
    }

    /// Starts it and waits until everything in it serves.
    pub(crate) fn serving(app: App) -> Self {
        let control = app.control();
        let rig = Self::start(app);
        until("it serves", || (control.phase() >= Phase::Serving).then_some(()));
        rig
    }

    /// With another one that is stopped behind it.
    pub(crate) fn beside(mut self, other: Self) -> Self {
        self.beside = Some(Box::new(other));
        self
    }

    /// Tells the app to stop, without waiting.
    pub(crate) fn tell_to_stop(&mut self) {
        let told = self.stop.take().map(|stop| stop.send(()));
        let _ended_by_itself = told;
    }

    /// Stops the app, or learns how it ended by itself.
    pub(crate) fn stop(mut self) -> Result<(), AppError> {
        self.tell_to_stop();
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> Result<(), AppError> {
        let began = Instant::now();
        let thread = self.thread.take().expect("waited for once");
        while !thread.is_finished() {
            assert!(began.elapsed() < PATIENCE * 2, "the app does not end");
            std::thread::yield_now();
        }
        let result = thread.join().expect("the app did not panic");
        let other = self.beside.take().map_or(Ok(()), |other| other.stop());
        result.and(other)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.tell_to_stop();
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
        drop(self.beside.take());
    }
}

/// Where gates and nodes of several processes listen for each other.
const LINKS: &str = "127.0.0.1:0";

/// A gate of one listener on a free port. Clients never go idle by themselves.
pub(crate) fn gate(cluster: &Cluster) -> GateBuilder {
    let gate = Gate::builder(cluster).listen(Tcp::on("127.0.0.1:0")).link_addr(LINKS);
    gate.drain_max(Duration::from_secs(5))
}

/// A node with this name and state.
pub(crate) fn node<S: 'static>(
    cluster: &Cluster,
    name: &str,
    routes: Router<S>,
    state: impl Fn() -> S + Send + Sync + 'static,
) -> NodeBuilder<S> {
    let drain_max = Duration::from_secs(5);
    let node = Node::builder(cluster, name, move |_| state()).routes(routes).link_addr(LINKS);
    node.drain_max(drain_max)
}

/// A gate and a node, and how to reach them.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) gate: GateHandle,
    pub(crate) rig: Rig,
}

/// How gate and node share threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    Two,
    /// None, and no process either: they meet over TCP.
    Apart,
}

impl Threads {
    pub(crate) const ALL: [Self; 3] = [Self::One, Self::Two, Self::Apart];

    /// The cluster as the gate sees it, and as the node does.
    pub(crate) fn clusters(self) -> (Cluster, Cluster) {
        match self {
            Self::One | Self::Two => {
                let both = Cluster::in_process();
                (both.clone(), both)
            }
            Self::Apart => {
                let stores = Stores::default();
                (stores.process(), stores.process())
            }
        }
    }
}

/// Makes tests of functions that take [`Threads`]: within one process, and over two.
macro_rules! everywhere {
    ($($name:ident),* $(,)?) => {
        mod in_one_process {
            $(
                #[test]
                fn $name() {
                    super::$name($crate::rig::Threads::Two);
                }
            )*
        }

        mod over_processes {
            $(
                #[test]
                fn $name() {
                    super::$name($crate::rig::Threads::Apart);
                }
            )*
        }
    };
}
pub(crate) use everywhere;

impl Server {
    pub(crate) fn start(threads: Threads, gate: Gate, node: Node) -> Self {
        let (addr, handle) = (gate.addresses()[0], gate.handle());
        let rig = match threads {
            Threads::One => Rig::start(App::default().pairs(gate, node)),
            Threads::Two => Rig::start(App::default().with(gate).with(node)),
            Threads::Apart => {
                let node = Rig::serving(App::default().with(node));
                Rig::start(App::default().with(gate)).beside(node)
            }
        };
        Self { addr, gate: handle, rig }
    }

    /// One gate and one node with these routes, on a thread each.
    pub(crate) fn with_routes<S: Default + 'static>(routes: Router<S>) -> Self {
        let cluster = Cluster::in_process();
        let node = node(&cluster, "node", routes, S::default).build().unwrap();
        Self::start(Threads::Two, gate(&cluster).build().unwrap(), node)
    }

    pub(crate) fn stats(&self) -> GateStats {
        block_on(self.gate.stats())
    }

    /// Asks the gate until what it has counted is right.
    pub(crate) fn until(&self, what: &str, right: impl Fn(&GateStats) -> bool) -> GateStats {
        until_stats(&self.gate, what, right)
    }

    pub(crate) fn client(&self) -> Peer {
        Peer::announced(self.addr)
    }
}

pub(crate) fn until_stats(
    gate: &GateHandle,
    what: &str,
    right: impl Fn(&GateStats) -> bool,
) -> GateStats {
    let began = Instant::now();
    block_on(async {
        loop {
            let stats = gate.stats().await;
            if right(&stats) {
                return stats;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {stats:#?}");
        }
    })
}

/// Asks until there is something, with a pause for the others.
pub(crate) fn until<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Waits until so many nodes of the cluster can be found.
pub(crate) fn until_nodes(cluster: &Cluster, count: usize) {
    block_on(async {
        let mut nodes = cluster.registry().watch(Kind::Node).await.unwrap();
        while nodes.current().len() != count {
            assert!(nodes.changed().await);
        }
    });
}

/// What a client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Message { route: i32, seq: i32, body: Vec<u8> },
    Status { route: i32, seq: i32, code: Code, outcome: Outcome, text: String },
    Announced(Features),
    Closing(NoticeReason, String),
    Heartbeat,
    End,
}

impl Got {
    /// The text of a message; anything else is a failure.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Message { body, .. } => String::from_utf8_lossy(body).into_owned(),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The code of a status; anything else is a failure.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Status { code, .. } => *code,
            other => panic!("not a status: {other:?}"),
        }
    }

    /// The reason of a close notice; anything else is a failure.
    pub(crate) fn closing(&self) -> NoticeReason {
        match self {
            Self::Closing(reason, _) => *reason,
            other => panic!("not a close notice: {other:?}"),
        }
    }
}

/// A client that is one socket and one buffer.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
    layout: Layout,
    seq: i32,
}

impl Peer {
    /// A client that announces nothing, as due's.
    pub(crate) fn due(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, buffer: Vec::new(), layout: Layout::default(), seq: 0 }
    }

    /// A client that has announced itself and was answered.
    pub(crate) fn announced(addr: SocketAddr) -> Self {
        let mut client = Self::due(addr);
        client.announce();
        let both = Features::STATUS.and(Features::CLOSE);
        assert_eq!(client.read(), Got::Announced(both));
        client
    }

    pub(crate) fn announce(&mut self) {
        let features = Features::STATUS.and(Features::CLOSE);
        let (mut tail, mut packet) = (Vec::new(), Vec::new());
        Announce { features, ..Announce::default() }.encode(&mut tail);
        self.layout.encode_control(kind::ANNOUNCE, &tail, &mut packet);
        self.write(&packet);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub(crate) fn packet(route: i32, seq: i32, body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        Layout::default().encode_data(RouteId(route), seq, body, &mut packet).unwrap();
        packet
    }

    pub(crate) fn send(&mut self, route: i32, seq: i32, body: impl AsRef<[u8]>) {
        self.write(&Self::packet(route, seq, body.as_ref()));
    }

    /// Sends a request and reads what comes next.
    pub(crate) fn call(&mut self, route: i32, body: impl AsRef<[u8]>) -> Got {
        self.seq = self.seq % 30_000 + 1;
        let seq = self.seq;
        self.send(route, seq, body);
        let got = self.read();
        if let Got::Message { seq: answered, .. } | Got::Status { seq: answered, .. } = &got {
            assert_eq!(*answered, seq, "{got:?}");
        }
        got
    }

    /// The next packet, or the end of the stream.
    pub(crate) fn read(&mut self) -> Got {
        loop {
            if let Some(got) = self.parse() {
                return got;
            }
            let mut chunk = [0; 16 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Got::End,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Got::End;
                }
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Reads to the end of the stream; how many packets came before.
    pub(crate) fn read_to_end(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            match self.read() {
                Got::End => return all,
                got => all.push(got),
            }
        }
    }

    fn parse(&mut self) -> Option<Got> {
        let mut rest = self.buffer.as_slice();
        let packet = self.layout.decode(&mut rest).expect("a packet")?;
        let got = match packet {
            Packet::Empty => Got::Heartbeat,
            Packet::Control { kind: kind::ANNOUNCE, tail } => {
                Got::Announced(Announce::parse(tail).unwrap().features)
            }
            Packet::Control { kind: kind::CLOSE, tail } => {
                let notice = CloseNotice::parse(tail).unwrap();
                Got::Closing(notice.reason, notice.text.to_owned())
            }
            Packet::Control { .. } => Got::Heartbeat,
            Packet::Data(data) if data.flags & 1 != 0 => {
                let reply = StatusReply::parse(data.body).unwrap();
                Got::Status {
                    route: data.route.0,
                    seq: data.seq,
                    code: Code(reply.code),
                    outcome: reply.outcome,
                    text: reply.text.to_owned(),
                }
            }
            Packet::Data(data) => {
                Got::Message { route: data.route.0, seq: data.seq, body: data.body.to_vec() }
            }
        };
        let used = self.buffer.len() - rest.len();
        self.buffer.drain(..used);
        Some(got)
    }
}

/// What happened, in order, seen from any thread; waiting for it is not polling.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.0.lock().unwrap().push(line.into());
        self.0.1.notify_all();
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits until the log is right.
    pub(crate) fn until(&self, what: &str, right: impl Fn(&[String]) -> bool) -> Vec<String> {
        let (lines, changed) = (&self.0.0, &self.0.1);
        let wrong = |lines: &mut Vec<String>| !right(lines);
        let lock = lines.lock().unwrap();
        let (lines, late) = changed.wait_timeout_while(lock, PATIENCE, wrong).unwrap();
        let tail: Vec<_> = lines.iter().rev().take(20).collect();
        assert!(!late.timed_out(), "{what}: {} lines, the last are {tail:?}", lines.len());
        lines.clone()
    }
}

/// Handlers wait at it until the test opens it.
#[derive(Clone)]
pub(crate) struct Latch(Arc<tokio::sync::Semaphore>);

impl Default for Latch {
    fn default() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(0)))
    }
}

impl Latch {
    pub(crate) async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    /// Lets so many pass.
    pub(crate) fn open(&self, count: usize) {
        self.0.add_permits(count);
    }
}

/// A number from any thread.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    pub(crate) fn bump(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
