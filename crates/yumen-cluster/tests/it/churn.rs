//! Connections that come and go at once: nobody ever gets what was meant for another (W-17).

use crate::{
    game::{self, ECHO, HOME, LOGIN, SECRET, STAY, World, text},
    rig::{self, Peer, Rig, Server, Threads},
};
use std::collections::{BTreeMap, BTreeSet};
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    gate::Dispatch,
    node::{Clients, Raw, on},
};
use yumen_core::status::Status;
use yumen_proto::UserId;

const NEWS: i32 = 99;
const PUSH_ME: i32 = 60;

/// Pushes to the user by number, so that it goes where the gate believes the user is.
async fn push_me(user: UserId, clients: Clients, body: Raw) -> Result<Raw, Status> {
    clients.push(user, NEWS, &text(format!("news of {user}"))).await?;
    Ok(body)
}

#[test]
fn w17_churn_never_mixes_up_connections_users_or_events() {
    for threads in Threads::ALL {
        let ((here, there), world) = (threads.clusters(), World::default());
        let state = world.clone();
        let routes = game::with_events(game::routes().route(PUSH_ME, on(push_me).login()));
        let node = rig::node(&there, "node", routes, move || state.clone()).build().unwrap();
        let gate = rig::gate(&here).instances(2).build().unwrap();
        let server = Server::start(threads, gate, node);
        let (workers, rounds) = (4, 100);
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let addr = server.addr;
                std::thread::spawn(move || {
                    for round in 0..rounds {
                        one_life(addr, 1 + worker * rounds + round);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let lives = usize::try_from(workers * rounds).unwrap();
        let log = world.log.until("every end", |log| {
            log.iter().filter(|line| line.contains("disconnect")).count() == lives
        });
        let users = |what: &str| -> BTreeSet<i64> {
            let lines = log.iter().filter_map(|line| line.split_once(what));
            lines.filter_map(|(_, user)| user.trim().parse().ok()).collect()
        };
        let everybody: BTreeSet<i64> = (1..=workers * rounds).collect();
        assert_eq!(users(" reconnect "), everybody, "each bound once");
        // Those that leave in the middle of their login may end without a user, never with another.
        assert!(users(" disconnect ").is_subset(&everybody));
        let lines = |what: &str| log.iter().filter(|line| line.ends_with(what)).count();
        assert_eq!(lines(" connect"), lives);
        let stats = server.until("nobody is left", |stats| stats.connections == 0);
        assert_eq!((stats.users, stats.events_lost, stats.duplicates), (0, 0, 0));
        assert_eq!(stats.closed, lives as u64);
        server.rig.stop().unwrap();
    }
}

fn one_life(addr: std::net::SocketAddr, user: i64) {
    let mut client = Peer::due(addr);
    let own = format!("only for {user}");
    assert_eq!(client.call(ECHO, &own).text(), own);
    assert_eq!(client.call(LOGIN, user.to_string()).text(), "welcome");
    assert_eq!(client.call(SECRET, "").text(), user.to_string());
    client.send(PUSH_ME, 1, &own);
    assert_eq!(client.read().text(), format!("news of {user}"));
    assert_eq!(client.read().text(), own);
    if user % 2 == 0 {
        // Leaves with answers on their way: nobody else may get them.
        for n in 0..20 {
            client.send(ECHO, n, &own);
        }
    }
}

#[test]
fn connections_go_where_there_are_fewest_also_after_many_have_left() {
    let cluster = Cluster::in_process();
    let node = rig::node(&cluster, "node", game::routes(), World::default).build().unwrap();
    let gate = rig::gate(&cluster).instances(2).build().unwrap();
    let server = Server::start(Threads::Two, gate, node);
    let by_gate = || {
        let mut counts = BTreeMap::<String, usize>::new();
        for session in rig::block_on(server.gate.sessions(1000)) {
            *counts.entry(session.gate.to_string()).or_default() += 1;
        }
        counts.into_values().collect::<Vec<_>>()
    };
    let clients: Vec<_> = (0..40).map(|_| server.client()).collect();
    assert_eq!(by_gate(), [20, 20]);
    drop(clients);
    // An acceptor that is told of arrivals only would send everybody to the instance that has got
    // one since, until it has more than the other once had.
    let began = std::time::Instant::now();
    loop {
        server.until("nobody is there", |stats| stats.connections == 0);
        let _two = [server.client(), server.client()];
        if by_gate() == [1, 1] {
            return;
        }
        assert!(began.elapsed() < rig::PATIENCE, "both always go to one instance");
    }
}

/// A rush of logins must not keep anybody from its node.
#[test]
fn a_bound_user_is_served_while_thousands_of_others_move() {
    let cluster = Cluster::in_process();
    let nodes = ["a", "b"].map(|id| {
        let node = rig::node(&cluster, "room", game::routes(), World::default);
        node.id(id).build().unwrap()
    });
    let handle = nodes[0].handles()[0].clone();
    let gate = rig::gate(&cluster).dispatch(Dispatch::RoundRobin).build().unwrap();
    let (addr, gate_handle) = (gate.addresses()[0], gate.handle());
    let app = nodes.into_iter().fold(App::default(), App::with).with(gate);
    let server = Server { addr, gate: gate_handle, rig: Rig::start(app) };
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "1").text(), "welcome");
    let rush = std::thread::spawn(move || {
        for user in 1000..6000 {
            let bind = handle
                .run(move |clients: Clients| async move { clients.bind_node(UserId(user)).await });
            rig::block_on(bind).unwrap();
        }
    });
    let mut last = 0;
    while !rush.is_finished() {
        // Each STAY moves the user, so that each HOME after a login anew has to ask.
        assert_eq!(client.call(STAY, "").text().len(), 1);
        let home = client.call(HOME, "").text();
        assert!(["a", "b"].contains(&home.as_str()));
        last += 1;
        assert_eq!(client.call(LOGIN, (1 + last % 2).to_string()).text(), "welcome");
    }
    rush.join().unwrap();
    assert_eq!(server.stats().dropped_unavailable, 0);
}
