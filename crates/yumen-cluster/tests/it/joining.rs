//! Nodes that come and go while messages flow: each takes its share soon, and no message is lost.

use crate::{
    apart::Stores,
    rig::{self, Got, Peer, Rig, until_nodes},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use yumen_cluster::{
    app::App,
    gate::Dispatch,
    node::{Node, Place, Raw, Router, State, on},
};

/// Answers with the name of the node.
const NAME: i32 = 1;
/// How soon a node has its share once it can be found.
const SOON: Duration = Duration::from_secs(1);

async fn name(State(name): State<String>) -> Raw {
    Raw(name.as_str().to_owned().into())
}

fn node(stores: &Stores, id: &str) -> Node {
    let routes = Router::new().route(NAME, on(name));
    let state = |place: &Place| place.id.to_string();
    let node = Node::builder(&stores.process(), "room", state).routes(routes).id(id);
    node.link_addr("127.0.0.1:0").build().unwrap()
}

/// Clients that ask one question after the other.
struct Load {
    stop: Arc<AtomicBool>,
    /// When each node answered first, since the last look.
    answers: Arc<Mutex<HashMap<String, Instant>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(addr: SocketAddr, count: usize) -> Self {
        let (stop, answers) =
            (Arc::<AtomicBool>::default(), Arc::<Mutex<HashMap<_, _>>>::default());
        let ask = || {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            std::thread::spawn(move || {
                let mut client = Peer::announced(addr);
                while !stop.load(Ordering::Relaxed) {
                    match client.call(NAME, "") {
                        Got::Message { body, .. } => {
                            let (at, name) = (Instant::now(), String::from_utf8(body).unwrap());
                            answers.lock().unwrap().entry(name).or_insert(at);
                        }
                        other => panic!("a message failed: {other:?}"),
                    }
                }
            })
        };
        let clients = (0..count).map(|_| ask()).collect();
        Self { stop, answers, clients }
    }

    /// The first answer of a node from now on, waited for.
    fn first(&self, node: &str) -> Instant {
        self.answers.lock().unwrap().clear();
        rig::until("an answer of the node", || self.answers.lock().unwrap().get(node).copied())
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().expect("no message failed"));
    }
}

#[test]
fn a_node_that_joins_or_leaves_under_load_costs_no_message_and_has_its_share_within_a_second() {
    let stores = Stores::default();
    let first = Rig::serving(App::default().with(node(&stores, "a")));
    let gate = rig::gate(&stores.process()).link_addr("127.0.0.1:0");
    let gate = gate.dispatch(Dispatch::RoundRobin).build().unwrap();
    let addr = gate.addresses()[0];
    let _gate = Rig::serving(App::default().with(gate));
    let load = Load::start(addr, 8);
    load.first("a");
    for _ in 0..3 {
        let second = Rig::start(App::default().with(node(&stores, "b")));
        until_nodes(&stores.process(), 2);
        let joined = Instant::now();
        let took = load.first("b").saturating_duration_since(joined);
        assert!(took <= SOON, "its first message came after {took:?}");
        // It leaves: it hangs first, so nobody sends to it any more.
        second.stop().unwrap();
        load.first("a");
    }
    load.stop();
    first.stop().unwrap();
}
