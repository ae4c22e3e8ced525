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
    BoxFuture,
    locator::{Claim, Incarnation, Located, Locator, LocatorError, Moves, Place, Role},
    memory::{MemoryLocator, MemoryRegistry},
    status::Code,
};
use yumen_proto::{Epoch, InstanceId, UserId};

/// A locator in memory whose answers about nodes, and to claims, can be held back.
#[derive(Clone, Default)]
struct Slow {
    inner: Arc<MemoryLocator>,
    slow: Arc<AtomicBool>,
    slow_claims: Arc<AtomicBool>,
    latch: Latch,
}

type Found = Result<Option<Located>, LocatorError>;

impl Locator for Slow {
    fn open<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<Incarnation, LocatorError>> {
        self.inner.open(id)
    }

    fn renew<'a>(
        &'a self,
        id: &'a InstanceId,
        life: Incarnation,
    ) -> BoxFuture<'a, Result<(), LocatorError>> {
        self.inner.renew(id, life)
    }

    fn close<'a>(
        &'a self,
        id: &'a InstanceId,
        life: Incarnation,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        self.inner.close(id, life)
    }

    fn claim<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        life: Option<Incarnation>,
    ) -> BoxFuture<'a, Result<Claim, LocatorError>> {
        Box::pin(async move {
            let claim = self.inner.claim(user, place, life).await;
            if self.slow_claims.load(Ordering::SeqCst) {
                self.latch.pass().await;
            }
            claim
        })
    }

    fn release<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        self.inner.release(user, place, epoch)
    }

    fn find<'a>(&'a self, user: UserId, role: &'a Role) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            let found = self.inner.find(user, role).await;
            if *role != Role::Gate && self.slow.load(Ordering::SeqCst) {
                self.latch.pass().await;
            }
            found
        })
    }

    fn watch(&self) -> Moves {
        self.inner.watch()
    }
}

/// A gate and the node "room" in one app, and a short-lived node in another.
fn setting() -> (Server, Rig, Slow) {
    let slow = Slow::default();
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
    slow.slow.store(true, Ordering::SeqCst);
    client.send(HOME, 1, "");
    client.send(ECHO, 2, "behind");
    server.until("the session waits", |stats| stats.held == 1);
    let mut other = server.client();
    assert_eq!(other.call(ECHO, "flows").text(), "flows", "nobody else waits");
    short.stop().unwrap();
    // The gate has heard of the loss when it answers this.
    while matches!(other.call(100, "x"), rig::Got::Message { .. }) {}
    slow.latch.open(10);
    assert_eq!(client.read().text(), "room");
    assert_eq!(client.read().text(), "behind", "in order");
}

#[test]
fn an_answer_that_the_user_has_overtaken_by_moving_is_asked_for_again() {
    let slow = Slow::default();
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
    slow.slow.store(true, Ordering::SeqCst);
    client.send(HOME, 1, "");
    server.until("the session waits", |stats| stats.held == 1);
    bind(1);
    // The gate has heard of the move before it hears this; the answer on its way says "a".
    assert_eq!(Peer::announced(server.addr).call(ECHO, "x").text(), "x");
    slow.latch.open(10);
    assert_eq!(client.read().text(), "b");
    assert_eq!(client.call(HOME, "").text(), "b");
    let _ = Code::NOT_BOUND;
}

#[test]
fn a_login_that_dies_before_it_is_answered_takes_nothing_from_who_is_here() {
    let (server, short, slow) = setting();
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    slow.slow_claims.store(true, Ordering::SeqCst);
    let mut dying = server.client();
    dying.send(LOGIN, 1, "7");
    let place = || rig::block_on(slow.inner.find(UserId(7), &Role::Gate)).unwrap().unwrap();
    let first = place().epoch;
    while place().epoch == first {} // until it has claimed, and waits for the answer
    drop(dying);
    server.until("it is gone", |stats| stats.closed == 1);
    slow.latch.open(10);
    slow.slow_claims.store(false, Ordering::SeqCst);
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
