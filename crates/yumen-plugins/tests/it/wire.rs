//! A wire between a registry and its server that a test can hold; and addresses where nobody serves.
//!
//! It knows no protocol: it passes bytes on, and may keep those of the client, or all, until it is told to
//! go on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// What the client sends waits.
    ClientHeld,
    /// Nothing passes on the connections that are there. New ones are not touched.
    OldOnesDead(usize),
}

pub(crate) struct Proxy {
    addr: String,
    gate: Arc<watch::Sender<Gate>>,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Passes on to `to`. When the server's bytes contain `marker` for the first time, the client's are held
    /// from before those are passed on.
    pub(crate) async fn start(to: String, marker: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let gate = Arc::new(watch::Sender::new(Gate::Open));
        let accepted = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, Arc::clone(&gate), Arc::clone(&accepted), marker));
        Self { addr, gate, accepted, _tasks: tasks }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.clone()
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }

    /// All connections that are there are dead from now on, without a word about it.
    pub(crate) fn blackhole(&self) {
        self.set(Gate::OldOnesDead(self.accepted()));
    }

    /// Waits for the marker.
    #[cfg(feature = "etcd")]
    pub(crate) async fn held(&self) {
        self.gate.subscribe().wait_for(|gate| *gate == Gate::ClientHeld).await.unwrap();
    }
}

async fn accept(
    listener: TcpListener,
    to: String,
    gate: Arc<watch::Sender<Gate>>,
    accepted: Arc<AtomicUsize>,
    marker: Option<&'static str>,
) {
    let mut tasks = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(server) = TcpStream::connect(&to).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let (up, down) = (Arc::clone(&gate), Arc::clone(&gate));
        tasks.spawn(upwards(from_client, to_server, up, number));
        tasks.spawn(downwards(from_server, to_client, down, number, marker));
    }
}

async fn passes(gate: &watch::Sender<Gate>, number: usize, from_client: bool) {
    let open = |gate: &Gate| match gate {
        Gate::Open => true,
        Gate::ClientHeld => !from_client,
        Gate::OldOnesDead(below) => number >= *below,
    };
    gate.subscribe().wait_for(open).await.unwrap();
}

async fn upwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    gate: Arc<watch::Sender<Gate>>,
    number: usize,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        passes(&gate, number, true).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn downwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    gate: Arc<watch::Sender<Gate>>,
    number: usize,
    mut marker: Option<&'static str>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let seen =
            |marker: &str| bytes[..count].windows(marker.len()).any(|w| w == marker.as_bytes());
        if marker.is_some_and(seen) {
            marker = None;
            gate.send_replace(Gate::ClientHeld);
        }
        passes(&gate, number, false).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// A server that accepts and says nothing, until the task is aborted.
pub(crate) async fn mute() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (addr, accepting)
}

/// Where nobody listens.
pub(crate) async fn closed() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// Answers nobody on the port of a server that was killed, and counts who comes.
pub(crate) async fn count_callers(addr: &str) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let listener = TcpListener::bind(addr).await.unwrap();
    let callers = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&callers);
    let counting = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (callers, counting)
}
