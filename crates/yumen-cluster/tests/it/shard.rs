//! Users that are owned by a node instead of bound to one.

use crate::rig::{self, Peer, Rig, until_nodes};
use std::{collections::BTreeMap, net::SocketAddr};
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    gate::Dispatch,
    node::{Clients, Node, Place, Raw, Router, Session, State, To, on},
};
use yumen_core::{cluster::State as Public, status::Code};
use yumen_proto::UserId;

const LOGIN: i32 = 1;
/// Answers the name of the node.
const WHERE: i32 = 2;
/// Sends [`NOTE`] to the owner of the user, from whichever node, and says how that went.
const TELL: i32 = 3;
/// Pushes its own name to the user.
const NOTE: i32 = 4;

struct Name(String);

async fn login(session: Session, Raw(user): Raw) -> Raw {
    let user = String::from_utf8_lossy(&user).parse().unwrap();
    session.bind(UserId(user)).await.unwrap();
    Raw("welcome".into())
}

async fn place(State(name): State<Name>) -> Raw {
    Raw(name.0.clone().into())
}

async fn tell(user: UserId, clients: Clients) -> Raw {
    let to = To::OwnerNode("hall".to_owned());
    let told = clients.deliver(to, Some(user), NOTE, &Raw(String::new().into())).await;
    let told = told.map_or_else(|status| status.code().to_string(), |()| "told".to_owned());
    Raw(told.into())
}

async fn note(user: UserId, State(name): State<Name>, clients: Clients) {
    clients.push(user, NOTE, &Raw(name.0.clone().into())).await.unwrap();
}

fn hall(cluster: &Cluster, id: &str) -> Node {
    let routes = Router::new()
        .route(LOGIN, on(login))
        .route(WHERE, on(place).shard_by_user())
        .route(TELL, on(tell).login())
        .route(NOTE, on(note).shard_by_user().internal());
    let state = |place: &Place| Name(place.id.to_string());
    Node::builder(cluster, "hall", state).routes(routes).id(id).build().unwrap()
}

/// A gate and these nodes.
fn start(cluster: &Cluster, ids: &[&str], gates: usize) -> (Rig, Vec<SocketAddr>) {
    let mut app = ids.iter().map(|id| hall(cluster, id)).fold(App::default(), App::with);
    let mut addrs = Vec::new();
    for _ in 0..gates {
        let gate = rig::gate(cluster).dispatch(Dispatch::RoundRobin).build().unwrap();
        addrs.push(gate.addresses()[0]);
        app = app.with(gate);
    }
    (Rig::start(app), addrs)
}

fn owners(addr: SocketAddr, users: impl Iterator<Item = i64>) -> BTreeMap<i64, String> {
    users
        .map(|user| {
            let mut client = Peer::announced(addr);
            assert_eq!(client.call(WHERE, "").code(), Code::UNAUTHORIZED, "it needs a login");
            assert_eq!(client.call(LOGIN, user.to_string()).text(), "welcome");
            let owner = client.call(WHERE, "").text();
            for _ in 0..3 {
                assert_eq!(client.call(WHERE, "").text(), owner);
            }
            (user, owner)
        })
        .collect()
}

#[test]
fn every_gate_names_the_same_owner_and_a_node_that_hangs_gives_up_its_users_only() {
    let cluster = Cluster::in_process();
    let (rig, gates) = start(&cluster, &["a", "b", "c"], 2);
    until_nodes(&cluster, 3);
    let before = owners(gates[0], 1..60);
    assert_eq!(before, owners(gates[1], 1..60));
    for node in ["a", "b", "c"] {
        let has = before.values().filter(|owner| *owner == node).count();
        assert!((8..32).contains(&has), "{node} has {has}");
    }
    rig::block_on(async {
        let mut nodes = cluster.registry().watch(yumen_core::Kind::Node).await.unwrap();
        let current = nodes.current();
        let mut hanging = current.iter().find(|node| node.id.as_str() == "b").unwrap().clone();
        assert_eq!(hanging.metadata.get("yumen.shard").map(String::as_str), Some("2,4"));
        hanging.state = Public::Hang;
        cluster.registry().join(&hanging).await.unwrap();
    });
    // Gates hear of it a moment later.
    rig::until("the owner has gone", || {
        let user = before.iter().find(|(_, owner)| *owner == "b").map(|(user, _)| *user)?;
        (owners(gates[0], user..=user)[&user] != "b").then_some(())
    });
    for (user, owner) in owners(gates[0], 1..60) {
        let was = &before[&user];
        assert!(owner != "b" && (owner == *was || was == "b"), "{user}: {was} to {owner}");
    }
    rig.stop().unwrap();
}

#[test]
fn a_node_can_send_to_the_owner_of_a_user() {
    let cluster = Cluster::in_process();
    let (rig, gates) = start(&cluster, &["a", "b"], 1);
    until_nodes(&cluster, 2);
    let mut sent = 0;
    for user in 1..20 {
        let mut client = Peer::announced(gates[0]);
        assert_eq!(client.call(LOGIN, user.to_string()).text(), "welcome");
        let owner = client.call(WHERE, "").text();
        client.send(TELL, 9, "");
        let first = client.read().text();
        if first == Code::ILLEGAL_INVOKE.to_string() {
            continue; // the owner itself was asked
        }
        sent += 1;
        let mut both = [first, client.read().text()];
        both.sort();
        assert_eq!(both, [owner, "told".to_owned()]);
    }
    assert!(sent > 3, "one gate takes turns over two nodes");
    rig.stop().unwrap();
}
