//! What a gate does while the locator is slow, fails, or forgets.

use crate::{
    game::{self, ECHO, HOME, LOGIN, STAY, World},
    rig::{self, Latch, Peer, Rig, Server},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use yumen_cluster::{app::App, cluster::Cluster};
use yumen_core::{
    locator::{Around, Locator, Operation, Request, Role, Wrapped},
    memory::{MemoryLocator, MemoryRegistry},
};
use yumen_proto::UserId;

type Slowed = Wrapped<Arc<MemoryLocator>, Slow>;

/// Holds back answers about nodes, and to claims.
#[derive(Clone, Default)]
struct Slow {
    slow: Arc<AtomicBool>,
    slow_claims: Arc<AtomicBool>,
    latch: Latch,
}

impl Around for Slow {
    fn request<'a, T: Send + 'a>(
        &'a self,
        operation: Operation<'a>,
        request: Request<'a, T>,
    ) -> Request<'a, T> {
        let is_slow = match operation {
            Operation::Claim => &self.slow_claims,
            Operation::Find(Role::Node(_)) => &self.slow,
            Operation::Open
            | Operation::Renew
            | Operation::Close
            | Operation::Release
            | Operation::Find(Role::Gate) => return request,
        };
        Box::pin(async move {
            let answer = request.await;
            if is_slow.load(Ordering::SeqCst) {
                self.latch.pass().await;
            }
            answer
        })
    }
}

/// A gate and the node "room" in one app, and a short-lived node in another.
fn setting() -> (Server, Rig, Slowed) {
    let slow = Slowed::default();
    let cluster = Cluster::in_process_with(MemoryRegistry::default(), slow.clone());
    let other = yumen_cluster::node::Router::<World>::new().route(100, game::on_echo());
    let short = rig::node(&cluster, "short", other, World::default).build().unwrap();
    let short = Rig::start(App::default().with(short));
    let room = rig::node(&cluster, "room", game::routes(), World::default).build().unwrap();
    let gate = rig::gate(&cluster).build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let rig = Rig::start(App::default().with(room).with(gate));
    (Server { addr, gate: handle, rig }, short, slow)
}

#[test]
fn a_session_that_waits_for_the_locator_goes_on_although_another_node_is_lost() {
    let (server, short, slow) = setting();
    let mut client = server.client();
    while !matches!(client.call(100, "x"), rig::Got::Message { .. }) {} // the gate has a link to it
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    assert_eq!(client.call(STAY, "").text(), "-");
    slow.around.slow.store(true, Ordering::SeqCst);
    client.send(HOME, 1, "");
    client.send(ECHO, 2, "behind");
    server.until("the session waits", |stats| stats.held == 1);
    let mut other = server.client();
    assert_eq!(other.call(ECHO, "flows").text(), "flows", "nobody else waits");
    short.stop().unwrap();
    // The gate has heard of the loss when it answers this.
    while matches!(other.call(100, "x"), rig::Got::Message { .. }) {}
    slow.around.latch.open(10);
    assert_eq!(client.read().text(), "room");
    assert_eq!(client.read().text(), "behind", "in order");
}

#[test]
fn an_answer_that_the_user_has_overtaken_by_moving_is_asked_for_again() {
    let slow = Slowed::default();
    let cluster = Cluster::in_process_with(MemoryRegistry::default(), slow.clone());
    let nodes = ["a", "b"].map(|id| {
        let node = rig::node(&cluster, "room", game::routes(), World::default);
        node.id(id).build().unwrap()
    });
    let handles = [0, 1].map(|n| nodes[n].handles()[0].clone());
    let gate = rig::gate(&cluster).build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let app = nodes.into_iter().fold(App::default(), App::with).with(gate);
    let server = Server { addr, gate: handle, rig: Rig::start(app) };
    let mut client = Peer::announced(server.addr);
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    let bind = |node: usize| {
        let asked = handles[node]
            .run(|clients| async move { clients.bind_node(UserId(7)).await.map(drop) });
        rig::block_on(asked).unwrap();
    };
    bind(0);
    slow.around.slow.store(true, Ordering::SeqCst);
    client.send(HOME, 1, "");
    server.until("the session waits", |stats| stats.held == 1);
    bind(1);
    // The gate has heard of the move before it hears this; the answer on its way says "a".
    assert_eq!(Peer::announced(server.addr).call(ECHO, "x").text(), "x");
    slow.around.latch.open(10);
    assert_eq!(client.read().text(), "b");
    assert_eq!(client.call(HOME, "").text(), "b");
}

#[test]
fn a_login_that_dies_before_it_is_answered_takes_nothing_from_who_is_here() {
    let (server, short, slow) = setting();
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    slow.around.slow_claims.store(true, Ordering::SeqCst);
    let mut dying = server.client();
    dying.send(LOGIN, 1, "7");
    let place = || rig::block_on(slow.inner.find(UserId(7), &Role::Gate)).unwrap().unwrap();
    let first = place().epoch;
    while place().epoch == first {} // until it has claimed, and waits for the answer
    drop(dying);
    server.until("it is gone", |stats| stats.closed == 1);
    slow.around.latch.open(10);
    slow.around.slow_claims.store(false, Ordering::SeqCst);
    // Handled after that answer: a login by way of the same gate.
    assert_eq!(server.client().call(LOGIN, "8").text(), "welcome");
    assert_eq!(client.call(game::SECRET, "").text(), "7");
    assert!(rig::block_on(slow.inner.find(UserId(7), &Role::Gate)).unwrap().is_some());
    // Its end takes the place along, although a newer claim was made than its own.
    drop(client);
    let began = std::time::Instant::now();
    while rig::block_on(slow.inner.find(UserId(7), &Role::Gate)).unwrap().is_some() {
        assert!(began.elapsed() < rig::PATIENCE, "the place is left behind");
    }
    short.stop().unwrap();
}
