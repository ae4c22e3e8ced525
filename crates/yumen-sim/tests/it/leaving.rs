//! A node of a fleet that is told to stop: what its bound users, its hooks and everybody else see.
//!
//! Everything is in virtual time, so a limit that is tested is an exact one.

use bytes::Bytes;
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::time::{Instant, sleep};
use yumen_cluster::{
    client::Client,
    gate::{Gate, Tcp},
    node::{Clients, Node, NodeBuilder, Raw, Router, Session, State, on},
};
use yumen_core::Status;
use yumen_proto::UserId;
use yumen_sim::cluster::{Boot, Sim};

const LOGIN: i32 = 1;
const JOIN: i32 = 2;
const PLAY: i32 = 3;
const LEAVE: i32 = 4;
const ECHO: i32 = 5;
/// What a node has for its whole stop, and its users of that.
const MAX: Duration = Duration::from_secs(20);
const USERS_MAX: Duration = Duration::from_secs(15);
/// What a stop takes that waits for nobody.
const SOON: Duration = Duration::from_millis(1_500);

/// What the hooks of all nodes wrote down, and how many plays a node had seen by then.
type Log = Rc<RefCell<Vec<String>>>;

thread_local! {
    static LOG: Log = Log::default();
}

fn note(line: String) {
    LOG.with(|log| log.borrow_mut().push(line));
}

fn noted() -> Vec<String> {
    LOG.with(|log| log.take())
}

/// How often it was played with.
#[derive(Default)]
struct World(RefCell<u32>);

async fn login(session: Session, Raw(body): Raw) -> Result<Raw, Status> {
    let user = std::str::from_utf8(&body).unwrap().parse().unwrap();
    session.bind(UserId(user)).await?;
    Ok(Raw(body))
}

fn me(clients: &Clients) -> Raw {
    Raw(Bytes::from(clients.node_id().to_string()))
}

async fn join(session: Session, clients: Clients) -> Result<Raw, Status> {
    session.bind_node().await?;
    Ok(me(&clients))
}

async fn leave(session: Session, clients: Clients) -> Result<Raw, Status> {
    session.unbind_node().await?;
    Ok(me(&clients))
}

async fn play(State(world): State<World>, clients: Clients) -> Raw {
    *world.0.borrow_mut() += 1;
    me(&clients)
}

async fn echo(clients: Clients) -> Raw {
    me(&clients)
}

/// A gate and two nodes, on hosts of their own; `more` adds to both nodes.
async fn start(sim: &Sim, more: fn(NodeBuilder<World>) -> NodeBuilder<World>) {
    noted();
    for id in ["node-1", "node-2"] {
        sim.start(id, move |boot: &Boot| {
            let routes = Router::new()
                .route(LOGIN, on(login))
                .route(JOIN, on(join).login())
                .route(PLAY, on(play).sticky())
                .route(LEAVE, on(leave).sticky())
                .route(ECHO, on(echo));
            let node = Node::builder(&boot.cluster, "game", |_| World::default());
            let node = node.id(boot.host.as_str()).routes(routes).drain_max(MAX);
            more(node).build_unbound().unwrap().into()
        });
    }
    sim.start("gate", |boot: &Boot| {
        let gate = Gate::builder(&boot.cluster).id("gate").listen(Tcp::on("0.0.0.0:3553"));
        gate.build_unbound().unwrap().into()
    });
    sleep(Duration::from_secs(1)).await;
}

async fn call(client: &Client, route: i32, body: &str) -> Result<String, Status> {
    let reply = client.call_raw(route, body.as_bytes()).await?;
    Ok(String::from_utf8(reply.to_vec()).unwrap())
}

/// A client whose user is bound to the first node.
async fn player(sim: &Sim, user: i64) -> Client {
    let client = sim.clients("phone").connect("tcp://gate:3553").await.unwrap();
    call(&client, LOGIN, &user.to_string()).await.unwrap();
    while call(&client, JOIN, "").await.unwrap() != "node-1" {}
    client
}

/// Stops the first node while `meanwhile` goes on. How long it took, and what was not clean.
async fn stop(sim: &Sim, meanwhile: impl Future<Output = ()>) -> (Duration, Vec<String>) {
    let began = Instant::now();
    let stopped = async {
        let unclean = sim.stop(&["node-1"], 2 * MAX).await;
        (began.elapsed(), unclean)
    };
    tokio::join!(stopped, meanwhile).0
}

#[track_caller]
fn assert_takes(took: Duration, least: Duration) {
    assert!(took >= least && took < least + SOON, "it took {took:?}, not {least:?}");
}

#[test]
fn a_user_who_is_bound_and_idle_is_served_until_the_time_for_users_is_over() {
    Sim::run(1, false, async |sim| {
        start(sim, |node| node).await;
        let client = player(sim, 7).await;
        let (took, unclean) = stop(sim, async {
            sleep(USERS_MAX - Duration::from_secs(1)).await;
            assert_eq!(call(&client, PLAY, "").await.unwrap(), "node-1");
        })
        .await;
        assert_eq!(unclean, [""; 0], "a user who stays is no failure");
        assert_takes(took, USERS_MAX);
        call(&client, PLAY, "").await.expect_err("the user is bound to nobody");
        assert_eq!(call(&client, JOIN, "").await.unwrap(), "node-2");
        assert_eq!(call(&client, PLAY, "").await.unwrap(), "node-2");
    });
}

#[test]
fn messages_that_any_node_may_serve_leave_a_stopping_node_at_once() {
    Sim::run(2, false, async |sim| {
        start(sim, |node| node).await;
        let client = player(sim, 7).await;
        stop(sim, async {
            sleep(Duration::from_secs(1)).await;
            for _ in 0..20 {
                assert_eq!(call(&client, ECHO, "").await.unwrap(), "node-2");
            }
            assert_eq!(call(&client, PLAY, "").await.unwrap(), "node-1");
        })
        .await;
    });
}

#[test]
fn a_stopping_node_ends_when_its_last_bound_user_unbinds() {
    Sim::run(3, false, async |sim| {
        start(sim, |node| node).await;
        let clients = [player(sim, 7).await, player(sim, 8).await];
        let (took, unclean) = stop(sim, async {
            for client in &clients {
                sleep(Duration::from_secs(3)).await;
                assert_eq!(call(client, LEAVE, "").await.unwrap(), "node-1");
            }
        })
        .await;
        assert_eq!(unclean, [""; 0]);
        assert_takes(took, Duration::from_secs(6));
    });
}

#[test]
fn a_stopping_node_ends_when_its_last_bound_user_disconnects_though_nobody_unbinds() {
    Sim::run(4, false, async |sim| {
        start(sim, |node| node).await;
        let clients = [player(sim, 7).await, player(sim, 8).await];
        let (took, unclean) = stop(sim, async {
            for client in &clients {
                sleep(Duration::from_secs(3)).await;
                client.close();
            }
        })
        .await;
        assert_eq!(unclean, [""; 0]);
        assert_takes(took, Duration::from_secs(6));
    });
}

#[test]
fn a_stopping_node_waits_for_the_users_of_a_gate_that_died_no_longer_than_its_lease() {
    Sim::run(5, false, async |sim| {
        start(sim, |node| node).await;
        let _client = player(sim, 7).await;
        let (took, unclean) = stop(sim, async { sim.vanish("gate") }).await;
        assert_eq!(unclean, [""; 0]);
        assert!(took > SOON && took < Duration::from_secs(12), "{took:?}");
    });
}

#[test]
fn a_stopping_node_waits_for_nobody_if_nobody_is_bound() {
    Sim::run(6, false, async |sim| {
        start(sim, |node| node).await;
        let client = player(sim, 7).await;
        while call(&client, JOIN, "").await.unwrap() != "node-2" {}
        let (took, unclean) = stop(sim, async {}).await;
        assert_eq!(unclean, [""; 0]);
        assert_takes(took, Duration::ZERO);
    });
}

#[test]
fn a_whole_fleet_with_bound_users_stops_at_once() {
    Sim::run(7, false, async |sim| {
        start(sim, |node| node).await;
        let _clients = [player(sim, 7).await, player(sim, 8).await];
        let began = Instant::now();
        assert_eq!(sim.stop(&["gate", "node-1", "node-2"], MAX).await, [""; 0]);
        assert_takes(began.elapsed(), Duration::ZERO);
    });
}

async fn offer(clients: &Clients) -> Vec<UserId> {
    let users = clients.bound_users();
    let numbers: Vec<_> = users.iter().map(|user| user.0).collect();
    note(format!("{} is offered {numbers:?}", clients.node_id()));
    users
}

#[test]
fn a_hook_that_binds_the_users_elsewhere_ends_the_wait() {
    Sim::run(8, false, async |sim| {
        start(sim, |node| {
            node.on_hang(|_, clients| async move {
                for user in offer(&clients).await {
                    clients.bind_to(user, &"node-2".into()).await.unwrap();
                }
            })
        })
        .await;
        let clients = [player(sim, 7).await, player(sim, 8).await];
        let (took, unclean) = stop(sim, async {
            sleep(Duration::from_millis(400)).await;
            for client in &clients {
                assert_eq!(call(client, PLAY, "").await.unwrap(), "node-2");
            }
        })
        .await;
        assert_eq!((noted(), unclean), (vec!["node-1 is offered [7, 8]".to_owned()], vec![]));
        assert_takes(took, Duration::ZERO);
    });
}

#[test]
fn users_whom_a_hook_leaves_bound_are_served_on() {
    Sim::run(9, false, async |sim| {
        start(sim, |node| node.on_hang(|_, clients| async move { drop(offer(&clients).await) }))
            .await;
        let client = player(sim, 7).await;
        let (took, unclean) = stop(sim, async {
            sleep(Duration::from_secs(10)).await;
            assert_eq!(call(&client, PLAY, "").await.unwrap(), "node-1");
        })
        .await;
        assert_eq!((noted(), unclean), (vec!["node-1 is offered [7]".to_owned()], vec![]));
        assert_takes(took, USERS_MAX);
    });
}

#[test]
fn a_hook_is_waited_for_and_a_panic_ends_only_it() {
    Sim::run(10, false, async |sim| {
        start(sim, |node| {
            let node = node.on_hang(|_, clients| async move {
                clients.clock().sleep(Duration::from_secs(2)).await;
                panic!("expected by this test");
            });
            node.on_hang(|_, clients| async move {
                clients.clock().sleep(Duration::from_secs(2)).await;
                note("the second hook ended".to_owned());
            })
        })
        .await;
        let (took, unclean) = stop(sim, async {}).await;
        assert_eq!((noted(), unclean), (vec!["the second hook ended".to_owned()], vec![]));
        assert_takes(took, Duration::from_secs(4));
    });
}

#[test]
fn a_hook_that_never_ends_leaves_the_stop_hook_its_time_and_is_named() {
    Sim::run(11, false, async |sim| {
        start(sim, |node| {
            let node = node.on_hang(|_, _| std::future::pending());
            node.on_stop(|_, clients| async move {
                clients.clock().sleep(Duration::from_secs(4)).await;
                note("saved".to_owned());
            })
        })
        .await;
        let (took, unclean) = stop(sim, async {}).await;
        assert_eq!(noted(), ["saved"]);
        let [left] = unclean.as_slice() else { panic!("{unclean:?}") };
        assert!(left.contains("1 handler running"), "{left}");
        assert_takes(took, MAX);
    });
}

#[test]
fn the_stop_hook_sees_what_bound_users_did_while_the_node_stopped() {
    Sim::run(12, false, async |sim| {
        start(sim, |node| {
            node.on_stop(|State(world), _| async move {
                note(format!("saved {} plays", world.0.borrow()));
            })
        })
        .await;
        let client = player(sim, 7).await;
        let (took, unclean) = stop(sim, async {
            for _ in 0..3 {
                sleep(Duration::from_secs(1)).await;
                call(&client, PLAY, "").await.unwrap();
            }
            call(&client, LEAVE, "").await.unwrap();
        })
        .await;
        assert_eq!((noted(), unclean), (vec!["saved 3 plays".to_owned()], vec![]));
        assert_takes(took, Duration::from_secs(3));
    });
}
