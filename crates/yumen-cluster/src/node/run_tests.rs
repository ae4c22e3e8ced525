//! One whole instance over real links, from its start to its stop.

use super::*;
use crate::{
    backend::Backend,
    cluster::Cluster,
    node::{Msg, Node, Raw, on},
    presence::Wanted,
};
use std::cell::RefCell;
use tokio::sync::oneshot;
use yumen_core::watch::WatchSender;
use yumen_net::testing::Sim;

/// A gate that writes down what it is told.
#[derive(Default)]
struct Gate(RefCell<Vec<String>>);

impl Receive for Gate {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only some are looked at")]
    fn on_frame(&self, _: LinkId, frame: Frame<'_>) {
        if let Frame::Request { command, .. } = frame {
            self.0.borrow_mut().push(match command {
                Command::Push { packet, .. } => {
                    String::from_utf8_lossy(packet.get(9..).unwrap_or_default()).into_owned()
                }
                other => other.name().to_owned(),
            });
        }
    }
}

struct Stage {
    env: Env,
    cluster: Cluster,
    neighbours: Rc<Neighbours>,
    gate: Rc<Gate>,
    links: Rc<Links>,
    stop: WatchSender<Stop>,
}

impl Stage {
    fn new(sim: &Sim) -> Self {
        let neighbours = Rc::new(Neighbours::default());
        Self::with_gate("gate-1", (sim.env(), Cluster::in_process(), neighbours))
    }

    fn another_gate(&self, id: &str) -> Self {
        let (env, cluster) = (self.env.clone(), self.cluster.clone());
        Self::with_gate(id, (env, cluster, Rc::clone(&self.neighbours)))
    }

    fn with_gate(id: &str, (env, cluster, neighbours): (Env, Cluster, Rc<Neighbours>)) -> Self {
        let id = InstanceId::from(id);
        let links = Links::open(&env, &id, Kind::Gate, cluster.board(), &neighbours).unwrap();
        let gate = Rc::new(Gate::default());
        links.start(Rc::clone(&gate) as Rc<dyn Receive>);
        Self { env, cluster, neighbours, gate, links, stop: WatchSender::new(Stop::No) }
    }

    /// Starts the only instance of `node`.
    fn start(
        &self,
        sim: &Sim,
        node: Node,
    ) -> (oneshot::Receiver<Instance>, oneshot::Receiver<Result<(), InstanceError>>) {
        let member = node.into_parts().1.pop().unwrap();
        let (ready, serves) = oneshot::channel();
        let ties = Ties {
            id: member.id,
            cluster: self.cluster.clone(),
            backend: Backend::here(),
            record: Wanted::default(),
            incarnation: Watch::fixed(Incarnation(1)),
            gates: Watch::fixed([].into()),
            nodes: Watch::fixed([].into()),
            stop: self.stop.watch(),
            progress: Arc::default(),
            settings: Watch::fixed(Arc::default()),
            ready,
            workers: None,
            door: None,
        };
        let running = (member.launch)(sim.env(), Rc::clone(&self.neighbours), ties);
        let (end, ended) = oneshot::channel();
        self.env.spawn.local(async move {
            let _nobody_asked = end.send(running.await);
        });
        (serves, ended)
    }

    fn send(&self, route: i32, body: &[u8]) {
        let mut packet = Vec::new();
        Layout::default().encode_data(RouteId(route), 1, body, &mut packet).unwrap();
        let link = self.links.link(&"lobby".into()).unwrap();
        let command = Command::Deliver { conn: ConnId(1), user: None, packet: &packet };
        self.links.send(link, Frame::Request { seq: 0, command }).unwrap();
        self.links.flush();
    }

    fn told(&self) -> Vec<String> {
        self.gate.0.take()
    }
}

async fn echo(Raw(body): Raw) -> Raw {
    Raw(body)
}

async fn slow(clients: Clients) -> Msg<&'static str> {
    clients.clock().sleep(Duration::from_secs(2)).await;
    Msg("done")
}

fn router() -> Router<()> {
    Router::new().route(1, on(echo).login().sticky()).route(2, on(echo)).route(3, on(slow))
}

#[test]
fn an_instance_serves_and_finishes_its_work_before_it_stops() {
    Sim::run(1, async |sim| {
        let stage = Stage::new(&sim);
        let hooks = |hook: &'static str| {
            move |_: crate::node::State<()>, clients: Clients| async move {
                tracing::debug!(hook, node = %clients.node_id());
                clients.clock().sleep(Duration::from_secs(1)).await;
                panic!("expected by this test");
            }
        };
        let node = Node::builder(&stage.cluster, "lobby", |_| ())
            .routes(router())
            .weight(3)
            .on_start(hooks("start"))
            .on_stop(hooks("stop"))
            .build()
            .unwrap();
        let handle = node.handles()[0].clone();
        let early = handle.count(crate::node::Audience::Users);
        let (serves, ended) = stage.start(&sim, node);
        let record = serves.await.unwrap();
        assert_eq!(early.await.unwrap(), 0, "asked before it ran");
        assert_eq!((record.alias.as_str(), record.weight, record.routes.len()), ("lobby", 3, 3));
        assert!(record.route(RouteId(1)).is_some_and(|r| r.stateful && r.authorized));
        stage.send(2, b"hello");
        assert_eq!(stage.told(), ["hello", "consumed"]);
        let stats = handle.stats().await.unwrap();
        assert!(stats.contains(&("replies", 1)) && stats.contains(&("panics", 1)), "{stats:?}");
        stage.send(3, b"");
        stage.stop.send(Stop::Drain { max: None });
        ended.await.unwrap().unwrap();
        assert_eq!(stage.told(), [r#""done""#, "consumed"], "w36: and the hook hung nothing");
    });
}

#[test]
fn a_handler_that_never_ends_delays_the_stop_no_longer_than_the_limit() {
    Sim::run(1, async |sim| {
        let stage = Stage::new(&sim);
        let never = async || std::future::pending::<()>().await;
        let node = Node::builder(&stage.cluster, "lobby", |_| ())
            .routes(Router::new().route(1, on(never)))
            .drain_max(Duration::from_secs(3))
            .build()
            .unwrap();
        let (serves, ended) = stage.start(&sim, node);
        serves.await.unwrap();
        stage.send(1, b"");
        let before = stage.env.clock.now().mono;
        stage.stop.send(Stop::Drain { max: None });
        let Err(InstanceError::Undrained(left)) = ended.await.unwrap() else {
            panic!("work was left")
        };
        assert_eq!((left.handlers, left.sessions), (1, 0));
        assert_eq!(stage.env.clock.now().mono - before, Duration::from_secs(3));
    });
}

#[test]
fn a_state_that_cannot_be_built_and_an_id_that_is_taken_end_the_start() {
    Sim::run(1, async |sim| {
        let stage = Stage::new(&sim);
        let broken = |name: &str| {
            let state = |_: &Place| -> () { panic!("expected by this test") };
            Node::builder(&stage.cluster, name, state).build().unwrap()
        };
        let (serves, ended) = stage.start(&sim, broken("lobby"));
        assert!(serves.await.is_err());
        assert!(matches!(ended.await.unwrap(), Err(InstanceError::StatePanicked)));
        let (_, ended) = stage.start(&sim, broken("gate-1"));
        assert!(matches!(ended.await.unwrap(), Err(InstanceError::DuplicateId(_))));
    });
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let cluster = Cluster::in_process();
    let router = Router::new()
        .route(1, on(echo))
        .route(1, on(echo))
        .group(|g| g.route(1, on(echo)).route(40_000, on(echo).timeout(Duration::ZERO)))
        .event(Event::Connect, async || ())
        .event(Event::Connect, async || ())
        .fallback(echo)
        .fallback(echo);
    let error = Node::builder(&cluster, "", |_| ())
        .routes(router)
        .instances(0)
        .weight(0)
        .waiting_max(0)
        .slow_min(Duration::ZERO)
        .inbox_max(1)
        .build()
        .unwrap_err();
    let text = error.to_string();
    let parts = [
        "name is empty",
        "instances is 0",
        "weight is 0",
        "waiting_max is 0",
        "slow_min is zero",
        "inbox_max is 1",
        "route 40000 does not fit",
        "route 1 has two handlers",
        "route 40000: timeout is zero",
        "event Connect has two handlers",
        "two fallback handlers",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert_eq!(text.matches("route 1 has two handlers").count(), 2);
}

#[test]
fn instances_share_the_table_and_have_names_of_their_own() {
    let cluster = Cluster::in_process();
    let node = Node::builder(&cluster, "lobby", |_| ()).id("lobby-a").instances(3).build().unwrap();
    let ids: Vec<_> = node.into_parts().1.iter().map(|m| m.id.to_string()).collect();
    assert_eq!(ids, ["lobby-a", "lobby-a.1", "lobby-a.2"]);
}

#[test]
fn a_reply_never_goes_to_a_gate_that_came_later() {
    Sim::run(1, async |sim| {
        let stage = Stage::new(&sim);
        let node = Node::builder(&stage.cluster, "lobby", |_| ()).routes(router()).build().unwrap();
        let (serves, _ended) = stage.start(&sim, node);
        serves.await.unwrap();
        stage.send(3, b"");
        stage.links.close();
        let later = stage.another_gate("gate-2");
        later.send(2, b"hello");
        stage.env.clock.sleep(Duration::from_secs(3)).await;
        assert_eq!(later.told(), ["hello", "consumed"]);
    });
}
