//! A fleet whose processes are replaced one after the other, while its clients play.
//!
//! Users have state on their node. It is handed over through a store that every node can reach: the
//! node that has lost a user releases it, and the one that has it now waits for that.

use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use yumen_cluster::{
    client::{Backoff, Client, Clients as Players},
    gate::{Gate, Tcp},
    node::{Clients, Node, Raw, Router, Session, State, on},
};
use yumen_core::{Code, Status, cluster::State as Record};
use yumen_proto::UserId;
use yumen_sim::cluster::{Boot, Sim};

const ENTER: i32 = 1;
const PLAY: i32 = 2;
/// Has the first node hang, or work again.
const SET: i32 = 3;
const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
const GATES: [&str; 2] = ["gate-1", "gate-2"];
const USERS: i64 = 40;
/// Of each gate.
const CLOSES_PER_SECOND: u32 = 10;
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What outlives every node: plays of users whom no node holds.
type Store = Rc<RefCell<BTreeMap<UserId, u64>>>;

thread_local! {
    static STORE: Store = Store::default();
}

/// The users that a node holds, with their plays.
#[derive(Default)]
struct World(RefCell<BTreeMap<UserId, u64>>);

impl World {
    fn release(&self, user: UserId) {
        if let Some(plays) = self.0.borrow_mut().remove(&user) {
            STORE.with(|store| store.borrow_mut().insert(user, plays));
        }
    }
}

async fn hold(world: &World, clients: &Clients, user: UserId) -> Result<(), Status> {
    for _ in 0..200 {
        if world.0.borrow().contains_key(&user) {
            return Ok(());
        }
        if let Some(plays) = STORE.with(|store| store.borrow_mut().remove(&user)) {
            world.0.borrow_mut().insert(user, plays);
            return Ok(());
        }
        clients.clock().sleep(Duration::from_millis(5)).await;
    }
    Err(Status::unavailable("another node does not release the user"))
}

async fn enter(
    session: Session,
    State(world): State<World>,
    clients: Clients,
    Raw(body): Raw,
) -> Result<Raw, Status> {
    let user = UserId(std::str::from_utf8(&body).unwrap().parse().unwrap());
    session.bind(user).await?;
    session.bind_node().await?;
    hold(&world, &clients, user).await?;
    Ok(Raw(Bytes::from(clients.node_id().to_string())))
}

async fn play(user: UserId, State(world): State<World>, clients: Clients) -> Result<Raw, Status> {
    hold(&world, &clients, user).await?;
    let mut held = world.0.borrow_mut();
    let plays = held.get_mut(&user).unwrap();
    *plays += 1;
    Ok(Raw(Bytes::from(plays.to_string())))
}

async fn set(clients: Clients, Raw(body): Raw) -> Result<Raw, Status> {
    let state = if &*body == b"hang" { Record::Hang } else { Record::Work };
    clients.set_state(&NODES[0].into(), state).await?;
    Ok(Raw(body))
}

/// Gives every user to another node in turn, and what it has of the user behind it.
async fn move_all(State(world): State<World>, clients: Clients) {
    let nodes = clients.nodes();
    let others = nodes.iter().filter(|node| {
        node.id != *clients.node_id() && matches!(node.state, Record::Work | Record::Busy)
    });
    let others: Vec<_> = others.map(|node| node.id.clone()).collect();
    for (user, to) in clients.bound_users().into_iter().zip(others.iter().cycle()) {
        if clients.bind_to(user, to).await.is_ok() {
            world.release(user);
        }
    }
}

fn node(boot: &Boot) -> Node {
    Node::builder(&boot.cluster, "game", |_| World::default())
        .id(boot.host.as_str())
        .routes(
            Router::new()
                .route(ENTER, on(enter))
                .route(PLAY, on(play).sticky())
                .route(SET, on(set)),
        )
        .drain_max(Duration::from_secs(20))
        .on_hang(move_all)
        .on_unbound(|State(world), _, user| async move { world.release(user) })
        .build_unbound()
        .unwrap()
}

fn gate(boot: &Boot) -> Gate {
    Gate::builder(&boot.cluster)
        .id(boot.host.as_str())
        .listen(Tcp::on("0.0.0.0:3553"))
        .drain_max(DRAIN_MAX)
        .closes_per_second_max(CLOSES_PER_SECOND)
        .build_unbound()
        .unwrap()
}

async fn start(sim: &Sim) {
    STORE.with(|store| *store.borrow_mut() = (1..=USERS).map(|user| (UserId(user), 0)).collect());
    NODES.iter().for_each(|id| sim.start(id, |boot: &Boot| node(boot).into()));
    GATES.iter().for_each(|id| sim.start(id, |boot: &Boot| gate(boot).into()));
    sleep(Duration::from_secs(1)).await;
}

/// What all players saw together.
#[derive(Default)]
struct Seen {
    acknowledged: Cell<u64>,
    refused: Cell<u64>,
    /// When somebody logged in again.
    returns: RefCell<Vec<Instant>>,
    over: Cell<bool>,
}

/// Reads the plays of a user until it is over, and fails at the first that is not the next or a later one.
async fn live(players: Players, user: i64, seen: Rc<Seen>) {
    let mut turn = usize::try_from(user).unwrap();
    let mut last = 0;
    while !seen.over.get() {
        let address = format!("tcp://{}:3553", GATES[turn % 2]);
        let Ok(client) = players.connect(&address).await else {
            turn += 1;
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        seen.returns.borrow_mut().push(Instant::now());
        visit(&client, user, &mut last, &seen).await;
        turn += 1;
        if let Some(asked) = client.closed().await.notice.and_then(|notice| notice.retry_after) {
            sleep(asked).await;
        }
    }
}

async fn visit(client: &Client, user: i64, last: &mut u64, seen: &Seen) {
    let mut entered = false;
    while client.is_open() {
        if seen.over.get() {
            return client.close();
        }
        let (route, body) = if entered { (PLAY, String::new()) } else { (ENTER, user.to_string()) };
        match client.call_raw(route, body.as_bytes()).await {
            Ok(_) if !entered => entered = true,
            Ok(plays) => {
                let plays = std::str::from_utf8(&plays).unwrap().parse().unwrap();
                // A play that nobody acknowledged may have counted; one that was may not be gone.
                assert!(plays > *last, "user {user}: {plays} after {last}");
                *last = plays;
                seen.acknowledged.set(seen.acknowledged.get() + 1);
            }
            Err(status) => {
                seen.refused.set(seen.refused.get() + 1);
                entered &= !matches!(status.code(), Code::NOT_BOUND | Code::UNAUTHORIZED);
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The most of them within one second.
fn peak(times: &[Instant]) -> usize {
    let within = |from: &Instant| {
        times.iter().filter(|at| *at >= from && **at < *from + Duration::from_secs(1)).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

fn roll(seed: u64) {
    Sim::run(seed, false, async |sim| {
        start(sim).await;
        let seen = Rc::new(Seen::default());
        let mut players = JoinSet::new();
        for user in 1..=USERS {
            players.spawn_local(live(sim.clients("phone"), user, Rc::clone(&seen)));
        }
        sleep(Duration::from_secs(3)).await;
        seen.returns.borrow_mut().clear();
        for host in NODES.into_iter().chain(GATES) {
            assert_eq!(sim.stop(&[host], Duration::from_secs(60)).await, [""; 0], "seed {seed}");
            sim.restart(host);
            sleep(Duration::from_secs(2)).await;
        }
        let before = seen.acknowledged.get();
        sleep(Duration::from_secs(3)).await;
        assert!(seen.acknowledged.get() > before + 40 * 30, "seed {seed}: everybody plays");
        seen.over.set(true);
        while let Some(ended) = players.join_next().await {
            ended.unwrap();
        }
        let returns = seen.returns.borrow();
        let homes: BTreeSet<_> = GATES.iter().map(|gate| sim.boot(gate)).collect();
        assert_eq!(homes, BTreeSet::from([2]), "both gates were replaced");
        assert!(returns.len() >= usize::try_from(USERS).unwrap(), "{}", returns.len());
        // The clients of a draining gate come back at its pace.
        let most = usize::try_from(CLOSES_PER_SECOND).unwrap() + 1;
        assert!(peak(&returns) <= most, "seed {seed}: {} in a second", peak(&returns));
        println!(
            "seed {seed}: {} acknowledged, {} refused, {} came back, {} in a second at most",
            seen.acknowledged.get(),
            seen.refused.get(),
            returns.len(),
            peak(&returns)
        );
    });
}

#[test]
fn no_acknowledged_play_is_lost_while_every_process_is_replaced() {
    (0..5).for_each(roll);
}

#[test]
fn clients_of_the_only_gate_go_at_once_and_come_back_in_turns() {
    Sim::run(21, false, async |sim| {
        sim.start("gate-1", |boot: &Boot| gate(boot).into());
        sleep(Duration::from_secs(1)).await;
        let backoff = Backoff { first: Duration::from_millis(100), ..Backoff::default() };
        let players = Players::builder().reconnect(backoff).start(&sim.net().env("phone")).unwrap();
        let mut clients = Vec::new();
        for _ in 0..USERS {
            clients.push(players.connect("tcp://gate-1:3553").await.unwrap());
        }
        let began = Instant::now();
        assert_eq!(sim.stop(&["gate-1"], DRAIN_MAX).await, [""; 0]);
        assert!(began.elapsed() < Duration::from_secs(1), "nobody is served for longer");
        sim.restart("gate-1");
        let mut returns = Vec::new();
        while returns.len() < clients.len() {
            let back = clients.iter().filter(|client| client.is_open()).count();
            returns.resize(back.max(returns.len()), Instant::now());
            sleep(Duration::from_millis(5)).await;
        }
        let took = began.elapsed();
        assert!(took > Duration::from_millis(3_500), "{took:?}");
        // Their own jitter moves them by 50 ms at most.
        assert!(peak(&returns) <= 11, "{} in a second", peak(&returns));
    });
}

/// Which nodes new users get, of so many.
async fn nodes_of_new(sim: &Sim, users: std::ops::Range<i64>) -> BTreeMap<String, usize> {
    let players = sim.clients("phone");
    let mut found = BTreeMap::new();
    for user in users {
        let client = players.connect("tcp://gate-1:3553").await.unwrap();
        let node = client.call_raw(ENTER, user.to_string().as_bytes()).await.unwrap();
        *found.entry(String::from_utf8(node.to_vec()).unwrap()).or_default() += 1;
    }
    found
}

#[test]
fn w21_a_node_that_hangs_gets_no_new_users_and_serves_those_it_has() {
    Sim::run(22, false, async |sim| {
        start(sim).await;
        let users = (1..=300).map(|user| (UserId(user), 0));
        STORE.with(|store| store.borrow_mut().extend(users));
        let client = sim.clients("phone").connect("tcp://gate-2:3553").await.unwrap();
        while &*client.call_raw(ENTER, b"300").await.unwrap() != b"node-1" {}
        assert_eq!(nodes_of_new(sim, 1..100).await.len(), 3, "all three share the users");
        client.call_raw(SET, b"hang").await.unwrap();
        sleep(Duration::from_secs(2)).await;
        let found = nodes_of_new(sim, 100..200).await;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["node-2", "node-3"], "{found:?}");
        assert_eq!(&*client.call_raw(PLAY, b"").await.unwrap(), b"1", "it has its users still");
        client.call_raw(SET, b"work").await.unwrap();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(nodes_of_new(sim, 200..300).await.len(), 3, "it works again");
    });
}
