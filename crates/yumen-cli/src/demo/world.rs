//! The servers and the bots of the demo.
//!
//! One process, three threads: gate and node side by side on one, the bots on another, and what a
//! person sees on the third. Bots are ordinary clients over real sockets; four in five on tcp, the
//! others on WebSocket.
use super::DemoArgs;
use super::game;
use super::table::Sample;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use yumen::app::{App, AppError};
use yumen::client::{Client, Clients};
use yumen::cluster::Cluster;
use yumen::gate::{GateHandle, Tcp, Ws};
use yumen::net::env::Env;
use yumen::proto::packet::Layout;
use yumen::settings::Watcher;
use yumen_bench::stats::Latencies;

/// Bots that connect at once.
const CONNECT_AT_ONCE: usize = 64;
/// Bots that share a room.
pub(super) const ROOM: usize = 10;
/// Longest and shortest pause between two requests of a bot, in milliseconds.
const PAUSE_MS: (u64, u64) = (50, 150);

/// What the bots have counted.
#[derive(Default)]
struct Counted {
    connected: u64,
    sent: u64,
    answered: u64,
    failed: u64,
    pushed: u64,
    latency: Latencies,
    /// The first failure, for whoever wonders.
    failure: Option<String>,
}

type Shared = Arc<Mutex<Counted>>;

fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bump(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// A running gate, node and bots.
pub(super) struct World {
    tcp: SocketAddr,
    ws: SocketAddr,
    gate: GateHandle,
    counted: Shared,
    began: Instant,
    stop_bots: watch::Sender<bool>,
    stop_servers: oneshot::Sender<()>,
    bots: JoinHandle<io::Result<()>>,
    servers: JoinHandle<Result<(), AppError>>,
}

impl World {
    /// Starts gate and node, then the bots; returns when the first bots connect.
    pub(super) async fn start(args: &DemoArgs, watcher: Watcher) -> io::Result<Self> {
        let settings = watcher.settings();
        let cluster = Cluster::in_process();
        let node = game::node(&cluster, &settings).map_err(io::Error::other)?;
        let tcp = args.tcp.map(|tcp| Tcp::on(tcp.to_string()));
        let ws = args.ws.map(|ws| Ws::on(ws.to_string()));
        let (usual_tcp, usual_ws) = ("127.0.0.1:3553", "127.0.0.1:3653");
        let gate = yumen::gate::Gate::builder(&cluster)
            .settings(&settings)
            .listen(tcp.unwrap_or_else(|| Tcp::default_on(usual_tcp)).connections_max(0))
            .listen(ws.unwrap_or_else(|| Ws::default_on(usual_ws)).connections_max(0))
            .build()
            .map_err(io::Error::other)?;
        let addresses = gate.addresses().to_vec();
        let [tcp, ws] = addresses.as_slice() else {
            return Err(io::Error::other("the gate has not bound both listeners"));
        };
        let (tcp, ws, handle) = (*tcp, *ws, gate.handle());
        let app = App::default().pairs(gate, node).follow(watcher);
        let (stop_servers, stop) = oneshot::channel();
        let (ready, served) = oneshot::channel();
        let servers = std::thread::Builder::new()
            .name("service".to_owned())
            .spawn(move || serve(app, ready, stop))?;
        if served.await.is_err() {
            let ended = servers.join().map_err(|_| io::Error::other("the servers panicked"))?;
            return Err(io::Error::other(match ended {
                Err(error) => error.to_string(),
                Ok(()) => "the servers ended at once".to_owned(),
            }));
        }
        let (stop_bots, stop) = watch::channel(false);
        let counted = Shared::default();
        let (shared, count) = (Arc::clone(&counted), args.bots);
        let ws_path = &settings.network.ws.server.path;
        let doors =
            (format!("tcp://{}", reachable(tcp)), format!("ws://{}{ws_path}", reachable(ws)));
        let layout = settings.packet.layout();
        let bots = std::thread::Builder::new()
            .name("bots".to_owned())
            .spawn(move || play((count, layout), &doors, &shared, &stop))?;
        let began = now();
        let gate = handle;
        Ok(Self { tcp, ws, gate, counted, began, stop_bots, stop_servers, bots, servers })
    }

    /// Where the gate listens for tcp.
    pub(super) fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where the gate listens for WebSocket.
    pub(super) fn ws(&self) -> SocketAddr {
        self.ws
    }

    /// What has been counted so far.
    pub(super) async fn sample(&self) -> Sample {
        let dropped = self.gate.stats().await.dropped();
        let counted = lock(&self.counted);
        Sample {
            elapsed: now().saturating_duration_since(self.began),
            connected: counted.connected,
            sent: counted.sent,
            answered: counted.answered,
            failed: counted.failed,
            pushed: counted.pushed,
            dropped,
            latency: counted.latency.summary(),
        }
    }

    /// The first thing that went wrong for a bot.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.counted).failure.clone()
    }

    /// Stops the bots once their last request is answered, then node and gate.
    pub(super) async fn stop(self) -> io::Result<(Sample, Option<String>)> {
        self.stop_bots.send_replace(true);
        while !self.bots.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (sample, failure) = (self.sample().await, self.failure());
        let _ended_already = self.stop_servers.send(());
        let bots = self.bots.join().map_err(|_| io::Error::other("the bots panicked"))?;
        let servers = self.servers.join().map_err(|_| io::Error::other("the servers panicked"))?;
        servers.map_err(io::Error::other)?;
        bots.map(|()| (sample, failure))
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo shows real time")]
fn now() -> Instant {
    Instant::now()
}

fn serve(
    app: App,
    ready: oneshot::Sender<()>,
    stop: oneshot::Receiver<()>,
) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AppError::Thread)?.block_on(app.run_until(async {
        let _nobody_waits = ready.send(());
        let _world_is_gone = stop.await;
    }))
}

/// An address that a client on this machine can use.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let local = match addr {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    if addr.ip().is_unspecified() { SocketAddr::new(local, addr.port()) } else { addr }
}

/// Plays with so many bots, whose packets have this layout, until it is told to stop.
fn play(
    (count, layout): (usize, Layout),
    (tcp, ws): &(String, String),
    counted: &Shared,
    stop: &watch::Receiver<bool>,
) -> io::Result<()> {
    let played = Clients::builder().layout(layout).run(async |clients| {
        let dice = Env::real().dice;
        let mut bots = tokio::task::JoinSet::new();
        for first in (0..count).step_by(CONNECT_AT_ONCE) {
            let until = count.min(first.saturating_add(CONNECT_AT_ONCE));
            for index in first..until {
                let address = if index % 5 == 4 { ws.clone() } else { tcp.clone() };
                let (clients, dice) = (clients.clone(), dice.clone());
                let mut bot = Bot { index, counted: Arc::clone(counted), dice, stop: stop.clone() };
                bots.spawn_local(async move { bot.live(&clients, &address).await });
            }
            tokio::task::yield_now().await;
        }
        while bots.join_next().await.is_some() {}
    });
    played.map_err(io::Error::other)
}

struct Bot {
    index: usize,
    counted: Shared,
    dice: yumen::net::env::Dice,
    stop: watch::Receiver<bool>,
}

impl Bot {
    async fn live(&mut self, clients: &Clients, address: &str) {
        let client = match clients.connect(address).await {
            Ok(client) => client,
            Err(error) => return self.fail(&error),
        };
        bump(&mut lock(&self.counted).connected);
        self.play(&client).await;
        let mut counted = lock(&self.counted);
        counted.connected = counted.connected.saturating_sub(1);
        drop(counted);
        client.close();
    }

    async fn play(&mut self, client: &Client) {
        let login = game::Login {
            user: i64::try_from(self.index).unwrap_or(i64::MAX).saturating_add(1),
            room: self.index / ROOM,
        };
        self.ask::<_, game::Welcome>(client, game::LOGIN, &login).await;
        let mut round = 0u32;
        while !self.pause().await {
            round = round.wrapping_add(1);
            if round.is_multiple_of(8) {
                let say = game::Say { text: format!("bot {} was here", self.index) };
                self.ask::<_, game::Heard>(client, game::SAY, &say).await;
            } else {
                let echo = game::Echo { message: format!("round {round}") };
                self.ask::<_, game::Echo>(client, game::ECHO, &echo).await;
            }
            while client.try_event().is_some() {
                bump(&mut lock(&self.counted).pushed);
            }
        }
    }

    /// True if it is time to stop.
    async fn pause(&mut self) -> bool {
        let (least, most) = PAUSE_MS;
        let pause = least.saturating_add(self.dice.below(most.saturating_sub(least)));
        let waited = tokio::time::timeout(Duration::from_millis(pause), self.stop.changed()).await;
        waited.is_ok() || *self.stop.borrow()
    }

    async fn ask<Q: serde::Serialize, A: serde::de::DeserializeOwned>(
        &self,
        client: &Client,
        route: i32,
        request: &Q,
    ) {
        bump(&mut lock(&self.counted).sent);
        let began = now();
        match client.call::<Q, A>(route, request).await {
            Ok(_) => {
                let took = now().saturating_duration_since(began);
                let mut counted = lock(&self.counted);
                bump(&mut counted.answered);
                counted.latency.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
            Err(status) => self.fail(&status),
        }
    }

    fn fail(&self, why: &dyn std::fmt::Display) {
        let mut counted = lock(&self.counted);
        bump(&mut counted.failed);
        counted.failure.get_or_insert_with(|| format!("bot {}: {why}", self.index));
    }
}
