//! Which node gets a message, and what becomes of one that none may get.

use crate::{
    apart::Stores,
    game::{self, ANY, ECHO, HOME, INTERNAL, LEAVE, LOGIN, SECRET, STAY, World},
    rig::{self, Got, Peer, Rig, Server, Threads},
};
use std::collections::BTreeMap;
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    gate::{Dispatch, GateBuilder},
    node::{Clients, Node, Raw, Router, on},
};
use yumen_core::{
    cluster::{Instance, Kind, State},
    status::Code,
};
use yumen_proto::Outcome;

fn one_node() -> Server {
    Server::with_routes(game::routes())
}

/// A node called `name` that is `id`.
fn node(cluster: &Cluster, name: &str, id: &str, weight: u32) -> Node {
    let node = rig::node(cluster, name, game::routes(), World::default);
    node.id(id).weight(weight).build().unwrap()
}

/// A gate and these nodes, each on a thread of its own.
fn several(gate: GateBuilder, nodes: impl IntoIterator<Item = Node>) -> Server {
    let gate = gate.build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let app = nodes.into_iter().fold(App::default(), App::with).with(gate);
    Server { addr, gate: handle, rig: Rig::start(app) }
}

/// The same, each in a process of its own.
fn apart(gate: GateBuilder, nodes: impl IntoIterator<Item = Node>) -> Server {
    let gate = gate.build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let rigs = nodes.into_iter().map(|node| Rig::serving(App::default().with(node)));
    let rigs: Vec<_> = rigs.collect();
    let rig = Rig::start(App::default().with(gate));
    let rig = rigs.into_iter().fold(rig, |all, one| one.beside(all));
    Server { addr, gate: handle, rig }
}

#[test]
fn a_client_may_not_send_an_internal_route() {
    let server = one_node();
    let mut client = server.client();
    assert_eq!(client.call(INTERNAL, "x").code(), Code::ILLEGAL_REQUEST);
    let mut due = Peer::due(server.addr);
    due.send(INTERNAL, 1, "x");
    assert_eq!(due.call(ECHO, "after").text(), "after", "a due client is told nothing");
    let stats = server.stats();
    assert_eq!((stats.dropped_internal, stats.statuses, stats.statuses_unsent), (2, 1, 1));
    server.rig.stop().unwrap();
}

#[test]
fn a_route_with_login_is_refused_until_a_user_is_bound() {
    let server = one_node();
    let mut client = server.client();
    assert_eq!(client.call(SECRET, "").code(), Code::UNAUTHORIZED);
    assert_eq!(client.call(HOME, "").code(), Code::UNAUTHORIZED, "sticky needs a login too");
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    assert_eq!(client.call(SECRET, "").text(), "7");
    assert_eq!(client.call(game::LOGOUT, "").text(), "bye");
    assert_eq!(client.call(SECRET, "").code(), Code::UNAUTHORIZED);
    assert_eq!(server.stats().dropped_unauthorized, 3);
}

#[test]
fn a_route_that_nobody_serves_is_answered_and_counted() {
    let server = one_node();
    let mut client = server.client();
    assert_eq!(client.call(ECHO, "in the right layout").text(), "in the right layout");
    for route in [0, 999, -1, i32::from(i16::MIN)] {
        let got = client.call(route, "x");
        let Got::Status { code, outcome, route: answered, .. } = got else { panic!("{got:?}") };
        assert_eq!((code, outcome, answered), (Code::UNROUTABLE, Outcome::NotSent, route));
    }
    client.send(999, 0, "no sequence number");
    assert_eq!(client.call(ECHO, "on").text(), "on");
    let stats = server.stats();
    assert_eq!((stats.dropped_unroutable, stats.statuses, stats.statuses_unsent), (5, 4, 1));
    assert_eq!((stats.messages_in, stats.wrong_layout), (7, 0));
}

#[test]
fn w04_a_stateful_route_of_an_unbound_user_is_answered_not_bound() {
    let server = one_node();
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    assert_eq!(client.call(HOME, "").code(), Code::NOT_BOUND);
    let mut due = Peer::due(server.addr);
    assert_eq!(due.call(LOGIN, "8").text(), "welcome");
    due.send(HOME, 5, "x");
    assert_eq!(due.call(ECHO, "after").text(), "after", "a due client is told nothing");
    let stats = server.stats();
    assert_eq!((stats.dropped_not_bound, stats.statuses, stats.statuses_unsent), (2, 1, 1));
}

#[test]
fn a_sticky_route_follows_the_user_to_its_node_and_moves_with_it() {
    let cluster = Cluster::in_process();
    let nodes = [node(&cluster, "room", "room-a", 1), node(&cluster, "room", "room-b", 1)];
    let gate = rig::gate(&cluster).dispatch(Dispatch::RoundRobin);
    sticky(&several(gate, nodes));
}

#[test]
fn a_sticky_route_follows_the_user_to_its_node_over_processes() {
    let stores = Stores::default();
    let nodes = ["room-a", "room-b"].map(|id| node(&stores.process(), "room", id, 1));
    let gate = rig::gate(&stores.process()).dispatch(Dispatch::RoundRobin);
    sticky(&apart(gate, nodes));
}

fn sticky(server: &Server) {
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    let mut last = None;
    for round in 0..50 {
        // STAY goes to one node after the other; an echo in between shifts the turn now and then.
        if round % 3 == 0 {
            client.call(ECHO, "");
        }
        let before = client.call(STAY, "").text();
        assert_eq!(before, last.clone().unwrap_or_else(|| "-".to_owned()));
        let home = client.call(HOME, "").text();
        for _ in 0..3 {
            assert_eq!(client.call(HOME, "").text(), home);
        }
        last = Some(home);
    }
    while client.call(LEAVE, "").text() != "true" {}
    assert_eq!(client.call(HOME, "").code(), Code::NOT_BOUND);
}

/// The node that answers each of `count` requests.
fn answering(server: &Server, conns: usize, count: usize) -> Vec<String> {
    let mut clients: Vec<_> = (0..conns).map(|_| server.client()).collect();
    (0..count).map(|n| clients[n % conns].call(ANY, "").text()).collect()
}

fn counts<'a>(ids: impl IntoIterator<Item = &'a String>) -> BTreeMap<&'a str, usize> {
    ids.into_iter().fold(BTreeMap::new(), |mut counts, id| {
        *counts.entry(id.as_str()).or_default() += 1;
        counts
    })
}

#[test]
fn w39_weights_are_exact_over_three_nodes_and_several_connections() {
    let cluster = Cluster::in_process();
    let nodes = [("a", 5), ("b", 1), ("c", 2)].map(|(id, w)| node(&cluster, "n", id, w));
    let gate = rig::gate(&cluster).dispatch(Dispatch::Weighted);
    let server = several(gate, nodes);
    for round in answering(&server, 5, 8 * 20).chunks(8) {
        let wanted = BTreeMap::from([("a", 5), ("b", 1), ("c", 2)]);
        assert_eq!(counts(round), wanted, "every round of eight: {round:?}");
    }
    // And from 4 threads at once, where due's counters race.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = server.client();
            std::thread::spawn(move || {
                (0..160).map(|_| client.call(ANY, "").text()).collect::<Vec<_>>()
            })
        })
        .collect();
    let all: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    assert_eq!(counts(&all), BTreeMap::from([("a", 400), ("b", 80), ("c", 160)]));
}

#[test]
fn round_robin_takes_turns_and_random_reaches_everyone() {
    for (how, exact) in [(Dispatch::RoundRobin, true), (Dispatch::Random, false)] {
        let cluster = Cluster::in_process();
        let nodes = ["a", "b", "c"].map(|id| node(&cluster, "n", id, 7));
        let server = several(rig::gate(&cluster).dispatch(how), nodes);
        let ids = answering(&server, 3, 300);
        let counts = counts(&ids);
        let right = |n: &usize| if exact { *n == 100 } else { (50..=150).contains(n) };
        assert!(counts.len() == 3 && counts.values().all(right), "{how:?}: {counts:?}");
    }
}

/// The record of a node in this state, as a registry would give it.
fn record(cluster: &Cluster, id: &str) -> Instance {
    rig::block_on(async {
        let mut nodes = cluster.registry().watch(Kind::Node).await.unwrap();
        nodes.current().iter().find(|node| node.id.as_str() == id).unwrap().clone()
    })
}

fn join(cluster: &Cluster, mut record: Instance, state: State) {
    record.state = state;
    rig::block_on(async { cluster.registry().join(&record).await.unwrap() });
}

/// Asks until nobody else has answered for a while: the gate's table follows the registry.
fn until_only(client: &mut Peer, wanted: &str) {
    let mut run = 0;
    for _ in 0..100_000 {
        let id = match client.call(ANY, "") {
            Got::Status { code, .. } => format!("{code}"),
            got => got.text(),
        };
        run = if id == wanted { run + 1 } else { 0 };
        if run == 10 {
            return;
        }
    }
    panic!("{wanted} never serves alone");
}

#[test]
fn busy_nodes_get_messages_only_when_none_is_in_work() {
    let cluster = Cluster::in_process();
    let nodes = ["a", "b"].map(|id| node(&cluster, "n", id, 1));
    let server = several(rig::gate(&cluster).dispatch(Dispatch::RoundRobin), nodes);
    let mut client = server.client();
    client.call(ANY, "");
    let mut until_only = |wanted: &str| until_only(&mut client, wanted);
    let (a, b) = (record(&cluster, "a"), record(&cluster, "b"));
    join(&cluster, a.clone(), State::Busy);
    until_only("b");
    join(&cluster, b.clone(), State::Hang);
    until_only("a");
    join(&cluster, a.clone(), State::Shut);
    until_only("unavailable");
    join(&cluster, b, State::Work);
    until_only("b");
}

#[test]
fn a_node_sets_the_state_of_others_over_processes_and_its_own() {
    let stores = Stores::default();
    let nodes = ["a", "b"].map(|id| node(&stores.process(), "n", id, 1));
    let handle = nodes[0].handles()[0].clone();
    let gate = rig::gate(&stores.process()).id("g").dispatch(Dispatch::RoundRobin);
    let server = apart(gate, nodes);
    let mut client = server.client();
    let set = |id: &str, state| rig::block_on(handle.set_state(&id.into(), state));
    let state = |id: &str| rig::block_on(handle.state_of(&id.into()));
    assert_eq!(state("b").unwrap(), State::Work);
    set("b", State::Hang).unwrap();
    assert_eq!(state("b").unwrap(), State::Hang);
    until_only(&mut client, "a");
    set("b", State::Work).unwrap();
    set("a", State::Busy).unwrap();
    assert_eq!(state("a").unwrap(), State::Busy);
    until_only(&mut client, "b");
    // A gate says so in the registry too, which due's does not.
    set("g", State::Busy).unwrap();
    assert_eq!(state("g").unwrap(), State::Busy);
    rig::block_on(async {
        let cluster = stores.process();
        let mut gates = cluster.registry().watch(Kind::Gate).await.unwrap();
        while gates.current()[0].state != State::Busy {
            assert!(gates.changed().await);
        }
    });
    assert_eq!(set("nobody", State::Work).unwrap_err().code(), Code::UNAVAILABLE);
}

#[test]
fn messages_for_a_node_that_is_gone_are_answered_unavailable() {
    let cluster = Cluster::in_process();
    let rest = node(&cluster, "rest", "rest", 1);
    gone(&several(rig::gate(&cluster), [rest]), &cluster);
}

#[test]
fn messages_for_a_process_that_is_gone_are_answered_unavailable() {
    let stores = Stores::default();
    let rest = node(&stores.process(), "rest", "rest", 1);
    gone(&apart(rig::gate(&stores.process()), [rest]), &stores.process());
}

fn gone(server: &Server, cluster: &Cluster) {
    async fn gone(clients: Clients) -> Raw {
        game::text(clients.node_id().to_string())
    }
    let routes = Router::<World>::new().route(100, on(gone)).route(101, on(gone).sticky());
    let node = rig::node(cluster, "short", routes, World::default).build().unwrap();
    let short = Rig::start(App::default().with(node));
    let mut client = server.client();
    // Until the gate knows the node.
    while !matches!(client.call(100, ""), Got::Message { .. }) {}
    short.stop().unwrap();
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(client.call(100, "").code());
    }
    assert!(
        codes.iter().all(|code| [Code::UNAVAILABLE, Code::UNROUTABLE].contains(code)),
        "{codes:?}"
    );
    assert_eq!(client.call(ECHO, "others").text(), "others", "other nodes are not touched");
    let stats = server.stats();
    assert!(stats.dropped_unavailable + stats.dropped_unroutable >= 20, "{stats:?}");
}

#[test]
fn several_listeners_lead_to_one_gate_and_sessions_know_theirs() {
    let cluster = Cluster::in_process();
    let gate = rig::gate(&cluster).listen(yumen_cluster::gate::Tcp::on("127.0.0.1:0"));
    let gate = gate.build().unwrap();
    let second = gate.addresses()[1];
    let node = rig::node(&cluster, "n", game::routes(), World::default).build().unwrap();
    let server = Server::start(Threads::Two, gate, node);
    let (mut one, mut two) = (server.client(), Peer::announced(second));
    assert_eq!(one.call(LOGIN, "1").text(), "welcome");
    assert_eq!(two.call(LOGIN, "2").text(), "welcome");
    let sessions = rig::block_on(server.gate.sessions(10));
    let known: Vec<_> = sessions.iter().map(|s| (s.listener, s.user.map(|u| u.0))).collect();
    assert_eq!(known, [(0, Some(1)), (1, Some(2))]);
    assert_eq!(sessions[0].peer, one.socket.local_addr().unwrap());
    assert_eq!(sessions[1].peer, two.socket.local_addr().unwrap());
}
