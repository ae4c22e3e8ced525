//! What is left of a gate or node whose life ended without it: paused for too long, or forgotten by a
//! store that lost its memory.

use super::{
    apart::{self, Stores},
    game::{self, HOME, LOGIN, SECRET, World},
    rig::{self, Count, Latch, Peer, Rig, Server, until, until_nodes},
};
use std::sync::Arc;
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    gate::DuplicateLogin,
    node::{Node, State, on},
};
use yumen_core::{
    locator::{
        Around, Locator, Moved, Moves, MovesSender, Operation, Place, Request, Role, Wrapped,
    },
    status::Code,
};
use yumen_proto::{Outcome, UserId};

/// Sticky: the thread of its node does nothing more until its log has a line.
const FREEZE: i32 = 30;

async fn freeze(State(world): State<World>) {
    world.started.bump();
    world.log.until("it thaws", |lines| !lines.is_empty());
}

fn room(stores: &Stores, id: &str) -> (Rig, Room) {
    room_in(stores, id, &World::default())
}

fn room_in(stores: &Stores, id: &str, world: &World) -> (Rig, Room) {
    let cluster = stores.process();
    let routes = game::routes().route(FREEZE, on(freeze).sticky());
    let world = world.clone();
    let node: Node = rig::node(&cluster, "room", routes, move || world.clone())
        .id(id)
        .link_addr("127.0.0.1:0")
        .build()
        .unwrap();
    let handle = node.handles()[0].clone();
    (Rig::start(App::default().with(node)), Room { handle })
}

struct Room {
    handle: yumen_cluster::node::NodeHandle,
}

fn gate(stores: &Stores, id: &str, policy: DuplicateLogin) -> Server {
    gate_of(&stores.process(), id, policy)
}

fn gate_of(cluster: &Cluster, id: &str, policy: DuplicateLogin) -> Server {
    let gate = rig::gate(cluster).id(id).duplicate_login(policy).link_addr("127.0.0.1:0");
    let gate = gate.build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let server = Server { addr, gate: handle, rig: Rig::start(App::default().with(gate)) };
    let mut first = server.client();
    while !matches!(first.call(1, "x"), rig::Got::Message { .. }) {} // until it has a link to the node
    server
}

fn place(stores: &Stores, user: i64, role: &Role) -> Option<Place> {
    rig::block_on(stores.locator.find(UserId(user), role)).unwrap().map(|at| at.place)
}

#[test]
fn w19_a_gate_whose_life_ended_claims_its_users_again_and_takes_none_back() {
    let stores = Stores::default();
    let (_node, _) = room(&stores, "r");
    until_nodes(&stores.process(), 1);
    let one = gate(&stores, "one", DuplicateLogin::Kick);
    let other = gate(&stores, "other", DuplicateLogin::Kick);
    let mut stays = one.client();
    assert_eq!(stays.call(LOGIN, "7").text(), "welcome");
    let mut moves = one.client();
    assert_eq!(moves.call(LOGIN, "8").text(), "welcome");
    // What the store does when it has not heard of the gate for too long.
    let life = rig::block_on(stores.locator.open(&"one".into())).unwrap();
    rig::block_on(stores.locator.close(&"one".into(), life)).unwrap();
    assert_eq!(place(&stores, 7, &Role::Gate), None);
    assert_eq!(other.client().call(LOGIN, "8").text(), "welcome");
    until("it is claimed again", || place(&stores, 7, &Role::Gate));
    assert_eq!(place(&stores, 7, &Role::Gate), Some(Place::gate("one")));
    assert_ne!(place(&stores, 8, &Role::Gate), Some(Place::gate("one")));
    assert_eq!(stays.call(SECRET, "").text(), "7", "and served");
    assert!(matches!(moves.read(), rig::Got::Closing(..)), "who is elsewhere is told");
}

#[test]
fn a_node_whose_life_ended_binds_its_users_again() {
    let stores = Stores::default();
    let (_node, room) = room(&stores, "r");
    until_nodes(&stores.process(), 1);
    let bind = room.handle.run(|clients| async move { clients.bind_node(UserId(7)).await });
    assert_eq!(rig::block_on(bind).unwrap(), None);
    let role = Role::node("room");
    let life = rig::block_on(stores.locator.open(&"r".into())).unwrap();
    rig::block_on(stores.locator.close(&"r".into(), life)).unwrap();
    assert_eq!(place(&stores, 7, &role), None);
    until("it is bound again", || place(&stores, 7, &role));
    let bound = room.handle.run(|clients| async move { Ok(clients.bound_users()) });
    assert_eq!(rig::block_on(bound).unwrap(), [UserId(7)]);
}

#[test]
fn a_second_login_at_another_gate_is_refused_where_the_policy_says_so() {
    let stores = Stores::default();
    let (_node, _) = room(&stores, "r");
    until_nodes(&stores.process(), 1);
    let one = gate(&stores, "one", DuplicateLogin::Refuse);
    let other = gate(&stores, "other", DuplicateLogin::Refuse);
    let mut first = one.client();
    assert_eq!(first.call(LOGIN, "7").text(), "welcome");
    let mut second: Peer = other.client();
    assert_eq!(second.call(LOGIN, "7").code(), Code::ILLEGAL_INVOKE);
    assert_eq!(first.call(SECRET, "").text(), "7");
    drop(first);
    until("its place is free", || place(&stores, 7, &Role::Gate).is_none().then_some(()));
    assert_eq!(second.call(LOGIN, "7").text(), "welcome");
}

/// Keeps the news of a locator to itself.
struct Deaf(MovesSender);

impl Deaf {
    fn process(stores: &Stores) -> Cluster {
        let (inner, around) = (Arc::clone(&stores.locator), Self(MovesSender::bounded(1)));
        Cluster::new(Arc::clone(&stores.registry), Wrapped { inner, around }).secret(apart::SECRET)
    }
}

impl Around for Deaf {
    fn request<'a, T: Send + 'a>(
        &'a self,
        _: Operation<'a>,
        request: Request<'a, T>,
    ) -> Request<'a, T> {
        request
    }

    fn watch(&self, _: &impl Locator) -> Moves {
        self.0.watch()
    }
}

fn bind(node: &Room) {
    let bound = node.handle.run(|clients| async move { clients.bind_node(UserId(7)).await });
    rig::block_on(bound).unwrap();
}

/// A node has handled all news that it had until now.
fn heard(node: &Room) {
    let asked = node.handle.run(|clients| async move {
        let _nothing_to_do = clients;
        Ok(())
    });
    rig::block_on(asked).unwrap();
}

#[test]
fn w05_what_is_sent_to_where_a_user_was_reaches_where_it_is_in_order() {
    let stores = Stores::default();
    let (first, a) = room(&stores, "a");
    let (_second, b) = room(&stores, "b");
    until_nodes(&stores.process(), 2);
    let server = gate_of(&Deaf::process(&stores), "one", DuplicateLogin::Kick);
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    bind(&a);
    assert_eq!(client.call(HOME, "").text(), "a");
    // The user moves, and the gate hears nothing of it.
    bind(&b);
    heard(&a);
    for seq in 1..=20 {
        client.send(HOME, seq, "");
    }
    for seq in 1..=20 {
        let got = client.read();
        assert!(matches!(&got, rig::Got::Message { seq: at, .. } if *at == seq), "{seq}: {got:?}");
        assert_eq!(got.text(), "b");
    }
    assert!(server.stats().sent_again > 0);
    // The same for a node that is gone: back to the first, whose end is not heard of either.
    bind(&a);
    heard(&b);
    assert_eq!(client.call(HOME, "").text(), "a");
    bind(&b);
    first.stop().unwrap();
    assert_eq!(client.call(HOME, "").text(), "b");
}

/// Sends it, and waits until the gate has dealt with it.
fn send_home(server: &Server, client: &mut Peer, seq: i32) {
    let before = server.stats().messages_in;
    client.send(HOME, seq, "");
    until("it is on its way", || (server.stats().messages_in > before).then_some(()));
}

#[test]
fn what_comes_back_after_later_messages_went_elsewhere_is_refused_however_often_the_user_moved() {
    let (stores, world) = (Stores::default(), World::default());
    let (_first, a) = room_in(&stores, "a", &world);
    let (_second, b) = room(&stores, "b");
    let (_third, c) = room(&stores, "c");
    until_nodes(&stores.process(), 3);
    let server = gate(&stores, "one", DuplicateLogin::Kick);
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    bind(&a);
    assert_eq!(client.call(HOME, "").text(), "a");
    client.send(FREEZE, 1, "");
    until("its node stands still", || (world.started.get() == 1).then_some(()));
    send_home(&server, &mut client, 2);
    // A connection to the gate is open behind what it has heard of the user's moves.
    bind(&b);
    drop(server.client());
    client.send(HOME, 3, "");
    assert_eq!(client.read().text(), "b", "what is in flight at the first is waited for no longer");
    bind(&c);
    drop(server.client());
    client.send(HOME, 4, "");
    world.log.add("thaw".to_owned());
    for _ in 0..2 {
        match client.read() {
            rig::Got::Status { seq: 2, outcome, .. } => assert_eq!(outcome, Outcome::NotSent),
            rig::Got::Message { seq: 4, body, .. } => assert_eq!(body, b"c"),
            got => panic!("{got:?}"),
        }
    }
    assert_eq!(server.stats().sent_again, 0, "it would be behind a later one");
}

/// Keeps the news of a locator to itself, and who asks for a node waits until that is let through.
#[derive(Clone)]
struct Slow {
    news: MovesSender,
    asked: Count,
    latch: Latch,
}

impl Slow {
    fn until_asked(&self, times: u64) {
        let asked = || (self.asked.get() == times).then_some(());
        until("the locator is asked for a node", asked);
    }
}

impl Around for Slow {
    fn request<'a, T: Send + 'a>(
        &'a self,
        operation: Operation<'a>,
        request: Request<'a, T>,
    ) -> Request<'a, T> {
        if !matches!(operation, Operation::Find(Role::Node(_))) {
            return request;
        }
        Box::pin(async move {
            self.asked.bump();
            self.latch.pass().await;
            request.await
        })
    }

    fn watch(&self, _: &impl Locator) -> Moves {
        self.news.watch()
    }
}

#[test]
fn what_comes_back_while_the_locator_is_asked_for_a_later_message_goes_before_it() {
    let (stores, world) = (Stores::default(), World::default());
    let (_first, a) = room_in(&stores, "a", &world);
    let (_second, b) = room(&stores, "b");
    until_nodes(&stores.process(), 2);
    let news = MovesSender::bounded(1);
    let slow = Slow { news, asked: Count::default(), latch: Latch::default() };
    let (inner, around) = (Arc::clone(&stores.locator), slow.clone());
    let locator = Wrapped { inner, around };
    let cluster = Cluster::new(Arc::clone(&stores.registry), locator).secret(apart::SECRET);
    let server = gate_of(&cluster, "one", DuplicateLogin::Kick);
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
    bind(&a);
    slow.latch.open(1);
    assert_eq!(client.call(HOME, "").text(), "a");
    client.send(FREEZE, 1, "");
    until("its node stands still", || (world.started.get() == 1).then_some(()));
    send_home(&server, &mut client, 2);
    bind(&b);
    // The gate forgets which node is whose, and asks for the next message.
    slow.news.send(Moved::Lost);
    drop(server.client());
    client.send(HOME, 3, "");
    slow.until_asked(2);
    // The one before it comes back meanwhile, and is asked for as well.
    world.log.add("thaw".to_owned());
    slow.until_asked(3);
    slow.latch.open(1);
    drop(server.client()); // and what that brings about
    slow.latch.open(1);
    for sent in 2..=3 {
        let got = client.read();
        assert!(matches!(&got, rig::Got::Message { seq, .. } if *seq == sent), "{sent}: {got:?}");
        assert_eq!(got.text(), "b");
    }
    assert_eq!(server.stats().sent_again, 1);
}
