//! The page of a whole cluster in virtual time, number by number.

use super::{Labels, family, reference, render_parts, strict::Parsed};
use crate::{
    cluster::Cluster,
    gate::{Gate, GateHandle, Tcp},
    node::{Clients, Head, Node, NodeHandle, Raw, Router, Session, on},
    testing::SimApp,
};
use bytes::Bytes;
use std::{collections::BTreeMap, time::Duration};
use yumen_core::{
    cluster::{Instance, Kind, RouteInfo, State},
    status::Status,
};
use yumen_net::testing::{Peer, Sim};
use yumen_proto::{
    id::{RouteId, UserId},
    packet::Layout,
};

const ECHO: i32 = 1;
const LOGIN: i32 = 2;
const HOME: i32 = 6;
const SECRET: i32 = 8;
const INTERNAL: i32 = 9;
const SLOW: i32 = 10;
/// Registered, and nobody serves it now.
const AWAY: i32 = 50;
const UNKNOWN: i32 = 99;

async fn echo(body: Raw) -> Raw {
    body
}

async fn login(session: Session, _: Raw) -> Result<Raw, Status> {
    session.bind(UserId(7)).await?;
    Ok(Raw(Bytes::from_static(b"welcome")))
}

/// Keeps its instance for 20 ms, then waits for 5 s.
async fn slow(clients: Clients, _: Head) -> Raw {
    clients.clock().skip(Duration::from_millis(20));
    tokio::time::sleep(Duration::from_secs(5)).await;
    Raw(Bytes::from_static(b"late"))
}

/// A cluster on a virtual network.
struct World {
    sim: Sim,
    gate: GateHandle,
    node: NodeHandle,
    app: SimApp,
    /// Bytes that clients have sent and read.
    sent: usize,
    read: usize,
}

impl World {
    async fn start(sim: Sim) -> Self {
        let cluster = Cluster::in_process();
        let routes = Router::new()
            .route(ECHO, on(echo))
            .route(LOGIN, on(login))
            .route(HOME, on(echo).sticky())
            .route(SECRET, on(echo).login())
            .route(INTERNAL, on(echo).internal())
            .route(SLOW, on(slow));
        let node = Node::builder(&cluster, "lobby", |_| ()).id("lobby-1").routes(routes);
        let node = node.held_max(5000).build().unwrap();
        let gate = Gate::builder(&cluster).id("gate-1").name("door").listen(Tcp::on("gate"));
        let gate = gate.in_flight_max(2000).messages_per_second_max(10).build_unbound().unwrap();
        let mut away = Instance::new("away".into(), Kind::Node, "");
        away.state = State::Hang;
        away.routes = vec![RouteInfo::new(RouteId(AWAY))];
        cluster.registry().join(&away).await.unwrap();
        let (handle, node_handle) = (gate.handle(), node.handles()[0].clone());
        let mut app = SimApp::new(&sim);
        app.start(node).await.unwrap();
        app.start(gate).await.unwrap();
        Self { sim, gate: handle, node: node_handle, app, sent: 0, read: 0 }
    }

    async fn connect(&self) -> Peer {
        Peer::new(self.sim.env().net.dial("gate").await.unwrap())
    }

    async fn send(&mut self, peer: &mut Peer, bytes: &[u8]) {
        self.sent += bytes.len();
        peer.send(bytes).await.unwrap();
    }

    async fn message(&mut self, peer: &mut Peer, route: i32, len: usize) {
        let mut packet = Vec::new();
        let (layout, body) = (Layout::default(), vec![1; len]);
        layout.encode_data(RouteId(route), 1, &body, &mut packet).unwrap();
        self.send(peer, &packet).await;
    }

    /// Reads until so many bytes have come in all.
    async fn read(&mut self, peer: &mut Peer, len: usize) {
        let before = peer.seen.len();
        while peer.seen.len() < len {
            assert!(peer.more().await);
        }
        assert_eq!(peer.seen.len(), len);
        self.read += len - before;
    }

    async fn pause(&self, millis: u64) {
        self.sim.env().clock.sleep(Duration::from_millis(millis)).await;
    }

    async fn scrape(&self, labels: &Labels) -> Parsed {
        let (gates, nodes) = ([self.gate.clone()], [self.node.clone()]);
        let text = render_parts(&gates, &nodes, labels).await;
        Parsed::new(&text)
    }

    /// Some of everything, on seven connections. Four are left.
    async fn play(&mut self) -> Vec<Peer> {
        let mut first = self.connect().await;
        for round in 1..=3 {
            self.message(&mut first, ECHO, 100).await;
            self.read(&mut first, round * 109).await;
        }
        self.message(&mut first, LOGIN, 1).await;
        self.read(&mut first, 3 * 109 + 16).await;
        for route in [HOME, UNKNOWN, INTERNAL, AWAY] {
            self.message(&mut first, route, 1).await;
            self.pause(10).await;
        }
        let mut second = self.connect().await;
        self.message(&mut second, SECRET, 1).await;
        self.message(&mut second, LOGIN, 1).await;
        self.read(&mut second, 16).await;
        first.end().await;
        let mut hasty = self.connect().await;
        let mut burst = Vec::new();
        for seq in 1..=12 {
            Layout::default().encode_data(RouteId(ECHO), seq, &[1; 100], &mut burst).unwrap();
        }
        self.send(&mut hasty, &burst).await;
        self.read(&mut hasty, 10 * 109).await;
        let mut greedy = self.connect().await;
        for _ in 0..2 {
            self.message(&mut greedy, SLOW, 1500).await;
        }
        let mut liar = self.connect().await;
        self.send(&mut liar, &[0x7f, 0xff, 0xff, 0xff]).await;
        liar.end().await;
        let brief = self.connect().await;
        self.pause(10).await;
        drop(brief);
        let silent = self.connect().await;
        self.read(&mut greedy, 13).await;
        vec![second, hasty, greedy, silent]
    }
}

/// What is compared: name, labels, value.
type Row = (&'static str, &'static [(&'static str, &'static str)], f64);

const IN: (&str, &str) = ("direction", "in");
const OUT: (&str, &str) = ("direction", "out");

#[rustfmt::skip]
const EXPECTED: &[Row] = &[
    ("yumen_gate_accepted_total", &[("transport", "tcp")], 7.0),
    ("yumen_gate_connections", &[("state", "opening")], 0.0),
    ("yumen_gate_connections", &[("state", "active")], 4.0),
    ("yumen_gate_connections", &[("state", "pending")], 0.0),
    ("yumen_gate_connections", &[("state", "closing")], 0.0),
    ("yumen_gate_users", &[], 1.0),
    ("yumen_gate_logins_total", &[], 2.0),
    ("yumen_gate_duplicate_logins_total", &[], 1.0),
    ("yumen_gate_closed_total", &[("reason", "kicked")], 1.0),
    ("yumen_gate_closed_total", &[("reason", "oversize")], 1.0),
    ("yumen_gate_closed_total", &[("reason", "gone")], 1.0),
    ("yumen_gate_closed_total", &[("reason", "idle")], 0.0),
    ("yumen_gate_messages_total", &[IN, ("route", "1")], 15.0),
    ("yumen_gate_messages_total", &[IN, ("route", "2")], 2.0),
    ("yumen_gate_messages_total", &[IN, ("route", "6")], 1.0),
    ("yumen_gate_messages_total", &[IN, ("route", "8")], 1.0),
    ("yumen_gate_messages_total", &[IN, ("route", "9")], 1.0),
    ("yumen_gate_messages_total", &[IN, ("route", "10")], 2.0),
    ("yumen_gate_messages_total", &[IN, ("route", "50")], 1.0),
    ("yumen_gate_messages_total", &[IN, ("route", "other")], 1.0),
    ("yumen_gate_messages_total", &[OUT, ("route", "1")], 13.0),
    ("yumen_gate_messages_total", &[OUT, ("route", "2")], 2.0),
    ("yumen_gate_messages_total", &[OUT, ("route", "10")], 1.0),
    ("yumen_gate_messages_total", &[OUT, ("route", "other")], 0.0),
    ("yumen_gate_message_bytes_total", &[IN, ("route", "1")], 15.0 * 109.0),
    ("yumen_gate_message_bytes_total", &[IN, ("route", "10")], 2.0 * 1509.0),
    ("yumen_gate_message_bytes_total", &[IN, ("route", "other")], 10.0),
    ("yumen_gate_message_bytes_total", &[OUT, ("route", "1")], 13.0 * 109.0),
    ("yumen_gate_message_bytes_total", &[OUT, ("route", "2")], 2.0 * 16.0),
    ("yumen_gate_dropped_total", &[("reason", "unroutable")], 1.0),
    ("yumen_gate_dropped_total", &[("reason", "internal")], 1.0),
    ("yumen_gate_dropped_total", &[("reason", "unauthorized")], 1.0),
    ("yumen_gate_dropped_total", &[("reason", "not_bound")], 1.0),
    ("yumen_gate_dropped_total", &[("reason", "unavailable")], 1.0),
    ("yumen_gate_dropped_total", &[("reason", "busy")], 1.0),
    ("yumen_gate_dropped_total", &[("reason", "rate")], 2.0),
    // Nobody here has announced that it understands them.
    ("yumen_gate_status_replies_total", &[("outcome", "sent")], 0.0),
    ("yumen_gate_status_replies_total", &[("outcome", "unsent")], 8.0),
    // Seven came, three went, two logged in: the node asked for no events.
    ("yumen_gate_events_untold_total", &[("reason", "unwanted")], 12.0),
    ("yumen_gate_sessions_held_total", &[], 2.0),
    ("yumen_queue_bytes", &[("instance", "gate-1"), ("queue", "backlog")], 0.0),
    ("yumen_queue_bytes", &[("instance", "gate-1"), ("queue", "in_flight")], 0.0),
    ("yumen_queue_limit_bytes", &[("instance", "gate-1"), ("queue", "in_flight")], 2000.0),
    ("yumen_queue_limit_bytes", &[("instance", "lobby-1"), ("queue", "held")], 5000.0),
    ("yumen_node_messages_total", &[("route", "1")], 13.0),
    ("yumen_node_messages_total", &[("route", "2")], 2.0),
    ("yumen_node_messages_total", &[("route", "6")], 0.0),
    ("yumen_node_messages_total", &[("route", "10")], 1.0),
    ("yumen_node_messages_total", &[("route", "other")], 0.0),
    ("yumen_node_message_bytes_total", &[("route", "1")], 13.0 * 109.0),
    ("yumen_node_handler_seconds_count", &[("route", "1")], 13.0),
    ("yumen_node_handler_seconds_count", &[("route", "2")], 2.0),
    ("yumen_node_handler_seconds_count", &[("route", "10")], 1.0),
    ("yumen_node_handler_seconds_sum", &[("route", "10")], 5.02),
    ("yumen_node_slow_polls_total", &[("route", "10")], 1.0),
    ("yumen_node_poll_seconds_bucket", &[("le", "0.016384")], 19.0),
    ("yumen_node_poll_seconds_bucket", &[("le", "0.032768")], 20.0),
    ("yumen_node_handler_seconds_bucket", &[("route", "10"), ("le", "4.194304")], 0.0),
    ("yumen_node_handler_seconds_bucket", &[("route", "10"), ("le", "16.777216")], 1.0),
    // One each for the echoes; two for each login; three for the one that waits: when its message came,
    // when it became a task, and when its timer fired.
    ("yumen_node_poll_seconds_count", &[], 20.0),
    ("yumen_node_replies_total", &[], 16.0),
    ("yumen_node_handlers_waited_total", &[], 3.0),
    ("yumen_node_handlers_waiting", &[], 0.0),
    ("yumen_node_panics_total", &[], 0.0),
    ("yumen_instance_stale", &[("kind", "gate")], 0.0),
    ("yumen_instance_stale", &[("kind", "node")], 0.0),
    ("yumen_links", &[("instance", "gate-1")], 1.0),
    ("yumen_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
];

#[test]
fn a_known_scenario_gives_known_numbers() {
    Sim::run(3, async |sim| {
        let mut world = World::start(sim).await;
        let left = world.play().await;
        let none = Labels::default();
        let page = world.scrape(&none).await;
        for (name, labels, value) in EXPECTED {
            assert_eq!(page.value(name, labels), *value, "{name} {labels:?}");
        }
        let bytes = |page: &Parsed, to| page.value("yumen_gate_socket_bytes_total", &[to]);
        assert_eq!((bytes(&page, IN), bytes(&page, OUT)), (world.sent as f64, world.read as f64));
        // They say nothing more, and the gate lets them go.
        world.pause(10_500).await;
        let page = world.scrape(&none).await;
        assert!(page.value("yumen_gate_connections", &[("state", "pending")]) >= 3.0);
        world.pause(15_000).await;
        let page = world.scrape(&none).await;
        assert_eq!(page.value("yumen_gate_closed_total", &[("reason", "idle")]), 4.0);
        assert_eq!(page.value("yumen_gate_users", &[]), 0.0);
        let connections = page.matching("yumen_gate_connections", &[]);
        assert_eq!(connections.map(|(_, count)| count).sum::<f64>(), 0.0);
        drop(left);
        world.app.stop().await.unwrap();
    });
}

#[test]
fn while_something_waits_the_queues_show_it() {
    Sim::run(4, async |sim| {
        let mut world = World::start(sim).await;
        let mut peer = world.connect().await;
        world.message(&mut peer, SLOW, 300).await;
        world.message(&mut peer, SLOW, 200).await;
        world.pause(100).await;
        let page = world.scrape(&Labels::default()).await;
        let queue = |name: &str, queue| page.value(name, &[("queue", queue)]);
        assert_eq!(queue("yumen_queue_bytes", "in_flight"), 309.0 + 209.0);
        assert_eq!(queue("yumen_queue_largest_bytes", "in_flight"), 309.0 + 209.0);
        // The body, and what the place in the line costs.
        assert_eq!(queue("yumen_queue_bytes", "held"), 200.0 + 64.0);
        assert_eq!(page.value("yumen_node_handlers_waiting", &[]), 1.0);
    });
}

#[test]
fn an_instance_that_is_stuck_is_shown_as_stale_and_holds_nobody_up() {
    Sim::run(5, async |sim| {
        let world = World::start(sim).await;
        // Of each instance there is the environment of its runner, and its own.
        world.app.envs().iter().for_each(|env| env.spawn.freeze());
        let before = world.sim.env().clock.now().mono;
        let page = world.scrape(&Labels::default()).await;
        let took = world.sim.env().clock.now().mono - before;
        assert_eq!(took, super::ASK_MAX, "both together");
        for instance in ["gate-1", "lobby-1"] {
            assert_eq!(page.value("yumen_instance_stale", &[("instance", instance)]), 1.0);
        }
        assert_eq!(page.matching("yumen_gate_connections", &[]).count(), 0);
        // Whoever asks again and again fills no queue without bound, and is answered later.
        for _ in 0..100 {
            world.scrape(&Labels::default()).await;
        }
        world.app.envs().iter().for_each(|env| env.spawn.thaw());
        world.pause(1000).await;
        let page = world.scrape(&Labels::default()).await;
        assert_eq!(page.value("yumen_instance_stale", &[("instance", "gate-1")]), 0.0);
    });
}

#[test]
fn every_sample_has_the_labels_its_family_says_and_those_of_the_operator() {
    Sim::run(6, async |sim| {
        let mut world = World::start(sim).await;
        let _left = world.play().await;
        let value = "a \"b\" \\ \n c";
        let page = world.scrape(&Labels::new([("region", value)]).unwrap()).await;
        let families: BTreeMap<_, _> = family::ALL.iter().map(|f| (f.name, f)).collect();
        for (name, kind) in &page.families {
            assert_eq!(families[name.as_str()].kind.name(), kind, "{name}");
        }
        for (name, labels) in page.label_names() {
            let histogram = ["_bucket", "_sum", "_count"].iter();
            let mut plain = histogram.filter_map(|suffix| name.strip_suffix(suffix));
            let family = families.get(name).or_else(|| families.get(plain.next()?)).unwrap();
            let own = family.scope.labels().iter().chain(family.labels).copied();
            let end = name.ends_with("_bucket").then_some("le");
            let all: Vec<_> = own.chain(["region"]).chain(end).collect();
            assert_eq!(labels, all, "{name}");
        }
        assert_eq!(page.value("yumen_gate_users", &[("region", value)]), 1.0);
    });
}

#[test]
fn the_connections_of_a_store_are_shown_with_their_limits() {
    let one = yumen_core::health::Load {
        connections: 2,
        reconnects: 3,
        in_flight: 4,
        in_flight_max: 1024,
        waiting: 5,
        waiting_max: 65_536,
    };
    let labels = Labels::default();
    let mut page = super::Page::new(&labels);
    super::connections(&mut page, "locator", &one.and(one));
    let page = Parsed::new(&page.finish());
    let store = ("store", "locator");
    assert_eq!(page.value("yumen_store_connections", &[store]), 4.0);
    assert_eq!(page.value("yumen_store_reconnects_total", &[store]), 6.0);
    for (state, count, max) in [("in_flight", 8.0, 2048.0), ("waiting", 10.0, 131_072.0)] {
        let labels = [store, ("state", state)];
        assert_eq!(page.value("yumen_store_commands", &labels), count);
        assert_eq!(page.value("yumen_store_commands_limit", &labels), max);
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut known = std::collections::BTreeSet::new();
    for family in family::ALL {
        let family::Family { name, kind, labels, help, .. } = family;
        assert!(name.starts_with("yumen_") && known.insert(name), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == family::Type::Counter, "{name}");
        let seconds = name.trim_end_matches("_total").ends_with("_seconds");
        assert!(*kind != family::Type::Histogram || seconds, "{name} has no unit");
        assert!(help.ends_with('.'), "{name}: {help}");
        assert!(!labels.contains(&"le"), "{name}");
    }
}

/// The committed file, and the command that writes it.
fn committed(path: &str, now: &str, command: &str) {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(then == now, "{path} is not what the code says; run: {command}");
}

#[test]
fn the_page_about_the_metrics_is_what_the_code_says() {
    let command = "cargo run -q -- metrics reference > docs/reference/metrics.md";
    committed("docs/reference/metrics.md", &reference(), command);
}

#[test]
fn no_name_type_or_label_changes_unnoticed() {
    let command = "cargo run -q -- metrics names > crates/yumen-cluster/tests/metrics.txt";
    committed("crates/yumen-cluster/tests/metrics.txt", &super::names(), command);
}
