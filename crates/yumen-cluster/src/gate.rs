//! A gate: holds client connections, knows who is logged in, and routes messages to nodes.
//!
//! It never looks into a message's body and runs no code of the game's. Read in this order:
//! `gate/hall.rs` (what an instance is made of), `forward.rs` (clients to nodes), `serve.rs` (nodes to
//! clients), `login.rs` (who is who).

mod again;
mod balance;
mod bind;
pub(crate) mod census;
mod decide;
mod doors;
mod find;
mod forward;
mod hall;
mod handle;
mod life;
mod line;
mod listen;
#[cfg(feature = "admin")]
mod listing;
mod login;
mod parting;
mod plan;
#[doc(hidden)]
pub mod probe;
mod proxies;
mod puzzle;
mod run;
mod serve;
mod sessions;
mod stats;
mod table;
pub(crate) mod traffic;

pub use balance::Dispatch;
pub use find::{SessionPage, SessionQuery};
pub use handle::{GateHandle, ListenerStats, SessionInfo};
#[cfg(feature = "ws")]
pub use listen::Ws;
pub use listen::{Listen, Tcp};
#[cfg(feature = "admin")]
pub(crate) use listing::listing;
pub use plan::DuplicateLogin;
pub use stats::GateStats;
pub use yumen_net::alive::Alive;

use crate::{
    cluster::Cluster,
    instance::{BuildError, Member, instance_id},
    link,
    secure::Secure,
};
use decide::{Code, Decided};
use handle::INBOX_LEN;
use plan::Plan;
use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use yumen_net::{
    acceptor::{Counts, Rules},
    limit::Limiter,
    tcp,
};
use yumen_proto::{conn::Heartbeat, link::Kind, packet::Layout};
use yumen_settings::Settings;

/// A gate, ready to run: its listeners are bound, and nobody is accepted yet.
#[derive(Debug)]
pub struct Gate {
    pub(crate) cluster: Cluster,
    pub(crate) members: Vec<Member>,
    pub(crate) doorways: Vec<Doorway>,
    pub(crate) counts: Arc<Counts>,
    handle: GateHandle,
}

/// A bound listener on its way to the acceptor.
#[derive(Debug)]
pub(crate) struct Doorway {
    pub(crate) listener: std::net::TcpListener,
    pub(crate) rules: Rules,
    pub(crate) protocol: &'static str,
    /// 0 is no limit.
    pub(crate) connections_max: usize,
    pub(crate) secure: Secure,
}

impl Doorway {
    /// What clients speak, for a person.
    pub(crate) fn shown(&self) -> &'static str {
        match (self.protocol, self.secure.is_on()) {
            ("ws", true) => "wss",
            (_, true) => "tls",
            (plain, false) => plain,
        }
    }
}

/// Settings of a gate before they are checked. Each method says its default. What a method has said wins
/// over [`settings`](Self::settings), whichever comes first.
#[derive(Debug)]
pub struct GateBuilder {
    cluster: Cluster,
    listens: Vec<Listen>,
    code: Code,
    links: link::Code,
    written: Option<Settings>,
}

/// An id that nobody else has: the component's name and 64 random bits.
pub(crate) fn fresh_id(name: &str) -> String {
    format!("{name}-{:016x}", RandomState::new().hash_one(name))
}

impl Gate {
    /// Starts describing a gate of `cluster`.
    pub fn builder(cluster: &Cluster) -> GateBuilder {
        let (listens, code, links) = (Vec::new(), Code::default(), link::Code::default());
        GateBuilder { cluster: cluster.clone(), listens, code, links, written: None }
    }

    /// Looks at the gate while it runs.
    pub fn handle(&self) -> GateHandle {
        self.handle.clone()
    }

    /// Where clients connect, in the order of the listeners, with the ports the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.handle.addresses()
    }
}

impl GateBuilder {
    /// Takes what code does not say from `settings`: `cluster.gate.*`, `network.{tcp,ws}.server.*`,
    /// `packet.*`, `yumen.gate.*`, `yumen.cluster.*` where the cluster has no settings, and `shutdownMaxWaitTime`. A gate without a listener then listens on
    /// `network.tcp.server.addr`. While it runs in an `App` it follows `maxConnNum`,
    /// `messagesPerSecondMax` and `perAddressMax`. Default: none.
    #[must_use]
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.written = Some(settings.clone());
        self
    }

    /// Id in the cluster, unique among all its instances; with several instances the first has it
    /// and the others get `.1`, `.2` … behind it. Default: `gate-` and a random number.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.code.id = Some(id.into());
        self
    }

    /// Name that several gates may share. Default: `gate`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.code.name = Some(name.into());
        self
    }

    /// Instances in this process, 1 to 256; each is a thread. Default: 1.
    #[must_use]
    pub fn instances(mut self, count: u16) -> Self {
        self.code.instances = Some(count);
        self
    }

    /// Adds one more fact about the gate to its record in the registry. Default: what
    /// `cluster.gate.metadata` has.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.code.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a listener. Without [`settings`](Self::settings) at least one is needed.
    #[must_use]
    pub fn listen(mut self, listen: impl Into<Listen>) -> Self {
        self.listens.push(listen.into());
        self
    }

    /// Where it listens for nodes and gates of other processes, as `host:port`; port 0 is any free one,
    /// and further instances take the ports behind a fixed one. Without effect in a cluster of one
    /// process. Default: `cluster.gate.addr`, or else `:0`.
    #[must_use]
    pub fn link_addr(mut self, addr: impl Into<String>) -> Self {
        self.links.addr = Some(addr.into());
        self
    }

    /// Where other processes dial it, as `host:port`; port 0 is the one it listens on. Default:
    /// `yumen.gate.advertise`, or else the address it listens on, or else the first private one of this
    /// machine.
    #[must_use]
    pub fn advertise(mut self, addr: impl Into<String>) -> Self {
        self.links.advertise = Some(addr.into());
        self
    }

    /// Layout of client packets; nodes and clients must have the same. Default: big-endian, route and
    /// sequence number of two bytes, bodies of up to 64 KiB.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.code.layout = Some(layout);
        self
    }

    /// Heartbeats and the idle limit of listeners that say nothing else. Default: answered, every
    /// 10 s, closed after 2 silent intervals.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.code.heartbeat = Some(heartbeat);
        self
    }

    /// Longest time without a user, of listeners that say nothing else; zero is no limit.
    /// Default: zero.
    #[must_use]
    pub fn login_max(mut self, limit: Duration) -> Self {
        self.code.login_max = Some(limit);
        self
    }

    /// Most bytes queued for a client that its socket does not accept; beyond it the connection is
    /// closed. Default: 1 MiB.
    #[must_use]
    pub fn backlog_max(mut self, bytes: usize) -> Self {
        self.code.backlog_max = Some(bytes);
        self
    }

    /// Longest time in which a client accepts no byte while some are queued for it. Default: 10 s.
    #[must_use]
    pub fn write_stall_max(mut self, limit: Duration) -> Self {
        self.code.write_stall_max = Some(limit);
        self
    }

    /// How messages are spread over the nodes that serve a route. Default: random.
    #[must_use]
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.code.dispatch = Some(dispatch);
        self
    }

    /// What happens when a user logs in a second time. Default: the older connection is closed.
    #[must_use]
    pub fn duplicate_login(mut self, policy: DuplicateLogin) -> Self {
        self.code.duplicate_login = Some(policy);
        self
    }

    /// Most bytes of one session that nodes have not finished. Beyond it the session is not read; after
    /// a second without progress its messages are refused as busy. Default: 256 KiB.
    #[must_use]
    pub fn in_flight_max(mut self, bytes: u32) -> Self {
        self.code.in_flight_max = Some(bytes);
        self
    }

    /// Most messages of one session a second, and at once; 0 is no limit. More are refused. Default: 0.
    #[must_use]
    pub fn messages_per_second_max(mut self, count: u32) -> Self {
        self.code.messages_per_second_max = Some(count);
        self
    }

    /// Most bytes that all connections of an instance may hold together: queued for clients, and of
    /// packets that have not come whole. Beyond it each connection may hold 16 KiB, whatever it
    /// might hold otherwise, and is closed if it holds more: so many bad clients are no worse than a
    /// few. Default: 16 MiB.
    #[must_use]
    pub fn buffers_max(mut self, bytes: usize) -> Self {
        self.code.buffers_max = Some(bytes);
        self
    }

    /// Longest stop: clients go, what is in flight is waited for, unwritten bytes are written.
    /// Default: 10 s.
    #[must_use]
    pub fn drain_max(mut self, limit: Duration) -> Self {
        self.code.drain_max = Some(limit);
        self
    }

    /// Most clients a second that a gate which stops sends to the other gates, at least 1. Where
    /// another gate serves, they are closed one after the other and served until then, within half of
    /// [`GateBuilder::drain_max`]; those for whom that is too short, and all where there is no other
    /// gate, are told how long to stay away. Default: 1,000.
    #[must_use]
    pub fn closes_per_second_max(mut self, count: u32) -> Self {
        self.code.closes_per_second_max = Some(count);
        self
    }

    /// When the system gives up a client that vanished without a word, heartbeats or not. Default:
    /// `yumen.gate.keepAlive` and `userTimeout` of the settings, or else asked after 15 s and given up
    /// after 30 s.
    #[must_use]
    pub fn alive(mut self, alive: Alive) -> Self {
        self.code.alive = Some(alive);
        self
    }

    /// Checks the settings and binds the listeners.
    ///
    /// # Errors
    /// [`BuildError`] lists every setting that is out of range and every address that cannot be bound.
    pub fn build(self) -> Result<Gate, BuildError> {
        let Described { cluster, gate, links, mut problems } = self.decide();
        let (mut addresses, mut doorways) = (Vec::new(), Vec::new());
        for listen in &gate.listens {
            match tcp::bind_with(&listen.addr, gate.alive)
                .and_then(|socket| Ok((socket.local_addr()?, socket)))
            {
                Ok((addr, listener)) => {
                    addresses.push(addr);
                    let connections_max = listen.connections_max.now;
                    let limiter = Limiter::new(connections_max, listen.per_address_max.now);
                    let (protocol, rules) = (listen.protocol(), listen.rules(limiter));
                    let secure = listen.plan.secure.clone();
                    doorways.push(Doorway { listener, rules, protocol, connections_max, secure });
                }
                Err(error) => {
                    problems.push(bind::advice(listen.protocol(), &listen.addr, &error));
                }
            }
        }
        let doors = link::bind(links.as_ref(), (&gate.id, gate.instances), &mut problems);
        if !problems.is_empty() {
            return Err(BuildError { component: "gate", problems });
        }
        Ok(finish(cluster, gate, (addresses, doorways), doors))
    }

    /// Checks the settings and binds nothing: each instance listens through its own `Env`, on the
    /// addresses as they are written. For virtual networks; limits on connections do not apply there.
    ///
    /// # Errors
    /// [`BuildError`] lists every setting that is out of range.
    pub fn build_unbound(self) -> Result<Gate, BuildError> {
        let Described { cluster, gate, links, problems } = self.decide();
        if !problems.is_empty() {
            return Err(BuildError { component: "gate", problems });
        }
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let addresses = vec![nowhere; gate.listens.len()];
        let doors = link::unbound(links.as_ref(), (&gate.id, gate.instances));
        Ok(finish(cluster, gate, (addresses, Vec::new()), doors))
    }

    fn decide(self) -> Described {
        let Self { cluster, listens, code, links, written } = self;
        let mut gate = Decided::new(code, listens, written.as_ref());
        let mut problems = gate.problems();
        if let Some(problem) = written.as_ref().and_then(unpaired) {
            problems.push(problem);
        }
        for listen in &mut gate.listens {
            listen.plan.secure = Secure::load(std::mem::take(&mut listen.pairs), &mut problems);
        }
        let links =
            link::Plan::decide(&cluster, Kind::Gate, links, written.as_ref(), &mut problems);
        Described { cluster, gate, links, problems }
    }
}

/// Further certificates are two lists, of which the same places belong together.
fn unpaired(settings: &Settings) -> Option<String> {
    let gate = &settings.yumen.gate;
    let (certs, keys) = (gate.cert_files.len(), gate.key_files.len());
    (certs != keys).then(|| {
        format!(
            "yumen.gate.certFiles has {certs} files and yumen.gate.keyFiles has {keys}: each \
             certificate needs its key at the same place"
        )
    })
}

/// What a builder was told, and what is wrong with it.
struct Described {
    cluster: Cluster,
    gate: Decided,
    links: Option<link::Plan>,
    problems: Vec<String>,
}

fn finish(
    cluster: Cluster,
    gate: Decided,
    (addresses, doorways): (Vec<SocketAddr>, Vec<Doorway>),
    doors: Vec<Option<link::Door>>,
) -> Gate {
    let limits = gate.listens.iter().zip(&doorways);
    let limits = limits.map(|(listen, door)| listen.limits(door.rules.limiter.clone())).collect();
    let id = gate.id;
    let counts = Arc::new(Counts::new(doorways.len()));
    let plan = Arc::new(Plan {
        counts: Arc::clone(&counts),
        told: doors::Told::default(),
        name: gate.name,
        metadata: gate.metadata,
        listens: gate.listens.into_iter().map(|listen| listen.plan).collect(),
        dispatch: gate.dispatch,
        duplicate_login: gate.duplicate_login,
        in_flight_max: gate.in_flight_max,
        messages_per_second_max: gate.messages_per_second_max,
        limits,
        buffers_max: gate.buffers_max,
        drain_max: gate.drain_max,
        closes_per_second_max: gate.closes_per_second_max,
    });
    let name: Arc<str> = plan.name.as_str().into();
    let (mut members, mut inboxes) = (Vec::new(), Vec::new());
    for (index, door) in (0..).zip(doors) {
        let (tx, inbox) = mpsc::channel(INBOX_LEN);
        inboxes.push(tx);
        let plan = Arc::clone(&plan);
        members.push(Member {
            id: instance_id(&id, index),
            kind: Kind::Gate,
            name: plan.name.clone(),
            drain_max: plan.drain_max,
            link: link::facts(door.as_ref()),
            launch: Box::new(move |env, neighbours, ties| {
                Box::pin(run::run(env, neighbours, ties, run::Given { plan, inbox, door }))
            }),
        });
    }
    let ids = members.iter().map(|member| member.id.clone()).collect();
    let handle = GateHandle { name, ids, addresses, inboxes, counts: Arc::clone(&counts) };
    Gate { cluster, members, doorways, counts, handle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_setting_is_listed_at_once() {
        let error = Gate::builder(&Cluster::in_process())
            .id("a/b")
            .name("")
            .instances(0)
            .in_flight_max(0)
            .listen(Tcp::on("256.0.0.1:1"))
            .build()
            .unwrap_err();
        let text = error.to_string();
        for part in ["a/b", "name", "instances is 0", "in_flight_max", "cannot listen on 256.0.0.1"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(error.problems.len(), 5, "{text}");
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        let cluster = Cluster::in_process();
        let error = Gate::builder(&cluster).listen(Tcp::on(addr.clone())).build().unwrap_err();
        assert!(error.to_string().contains(&addr), "{error}");
    }
}
