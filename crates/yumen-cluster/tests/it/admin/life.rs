//! The admin beside what happens to the app: starting, draining, being stuck.

use super::{Answer, Operated, answer, connect, exchange};
use crate::{
    game::{self, ECHO, SLOW, World},
    rig::{self, Latch, PATIENCE, Rig},
};
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::{Arc, Condvar, Mutex},
};
use yumen_cluster::{
    admin::Admin,
    app::{App, AppError, Control},
    cluster::Cluster,
    node::{Clients, Router, State, on},
    settings::{Loader, Settings},
};

#[test]
fn a_process_is_ready_only_once_every_instance_serves() {
    let (cluster, latch) = (Cluster::in_process(), Latch::default());
    let hook = latch.clone();
    let node = rig::node(&cluster, "room", game::routes(), World::default)
        .on_start(move |_: State<World>, _: Clients| {
            let latch = hook.clone();
            async move { latch.pass().await }
        })
        .build()
        .unwrap();
    let admin = Admin::bind("127.0.0.1:0", "").unwrap();
    let addr = admin.addr();
    let app = App::default().with(rig::gate(&cluster).build().unwrap()).with(node).admin(admin);
    let rig = Rig::start(app);
    let get =
        |path: &str| exchange(addr, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let (status, error, _) = get("/readyz").refusal();
    assert_eq!((status, error.as_str()), (503, "starting"));
    assert_eq!(get("/healthz").status, 200, "starting is no illness");
    let phase = |answer: Answer| answer.json()["phase"].clone();
    assert_eq!(phase(get("/instances")), "starting");
    latch.open(1);
    rig::until("it is ready", || (get("/readyz").status == 200).then_some(()));
    assert_eq!(phase(get("/instances")), "serving");
    rig.stop().unwrap();
}

#[test]
fn a_drain_is_told_over_http_and_watched_to_its_end() {
    let mut operated = Operated::start("");
    operated.until("/readyz", 200);
    let mut client = operated.server.client();
    client.send(SLOW, 1, "in flight");
    while operated.world.started.get() == 0 {
        std::thread::yield_now();
    }
    let answer = operated.ask("POST", "/drain", "", "");
    assert_eq!(answer.status, 202, "{answer:?}");
    let json = answer.json();
    assert_eq!((&json["was"], &json["phase"]), (&"serving".into(), &"draining".into()));
    // The message in flight holds the drain up, so all of this is during it.
    let (_, error, _) = operated.until("/readyz", 503).refusal();
    assert_eq!(error, "draining");
    assert_eq!(operated.get("/healthz").status, 200, "draining is no illness");
    let json = operated.get("/sessions").json();
    assert_eq!((&json["total"], &json["silent"]), (&1.into(), &serde_json::json!([])));
    let again = operated.ask("POST", "/drain", "", "");
    assert_eq!((again.status, &again.json()["was"]), (202, &"draining".into()));
    operated.world.latch.open(1);
    assert_eq!(client.read().text(), "in flight");
    operated.server.rig.wait().unwrap();
    assert!(TcpStream::connect(operated.admin).is_err(), "nobody answers any more");
}

#[test]
fn w28_a_request_under_way_at_the_end_is_answered_and_a_later_one_is_refused() {
    let mut operated = Operated::start("");
    operated.until("/readyz", 200);
    let mut slow = connect(operated.admin);
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").unwrap();
    // Connections are taken in the order they came, so the slow one is under way when this is answered.
    assert_eq!(operated.ask("POST", "/drain", "", "").status, 202);
    rig::until("the admin stops", || TcpStream::connect(operated.admin).is_err().then_some(()));
    slow.write_all(b"alhost\r\n\r\n").unwrap();
    assert_eq!(answer(slow).map(|answer| answer.status), Some(200));
    operated.server.rig.wait().unwrap();
}

/// Blocks its thread, as bad code does, until the test lets it go.
#[derive(Clone, Default)]
struct Block(Arc<(Mutex<(bool, bool)>, Condvar)>);

impl Block {
    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut lock = state.lock().unwrap();
        lock.0 = true;
        changed.notify_all();
        let (_lock, late) =
            changed.wait_timeout_while(lock, PATIENCE * 2, |state| !state.1).unwrap();
        assert!(!late.timed_out());
    }

    fn until_reached(&self) {
        let (state, changed) = &*self.0;
        let lock = state.lock().unwrap();
        let (_lock, late) = changed.wait_timeout_while(lock, PATIENCE, |state| !state.0).unwrap();
        assert!(!late.timed_out());
    }

    fn open(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}

fn stall_max(limit: &str) -> Settings {
    Loader::new().code("etc.yumen.app.stallMax", limit).load().unwrap()
}

#[test]
fn settings_start_an_admin_or_say_why_they_may_not() {
    let app = |addr: &str, token: &str| {
        let settings = Loader::new()
            .code("etc.yumen.admin.addr", addr)
            .code("etc.yumen.admin.token", token)
            .load()
            .unwrap();
        let gate = rig::gate(&Cluster::in_process()).build().unwrap();
        App::default().settings(&settings).with(gate)
    };
    let start = |addr: &str, token: &str| Rig::start(app(addr, token)).wait();
    let error = start("0.0.0.0:0", "").unwrap_err();
    assert!(matches!(error, AppError::Build(_)), "{error}");
    assert!(error.to_string().contains("etc.yumen.admin.token"), "{error}");
    let error = start("127.0.0.1:0", "short").unwrap_err();
    assert!(error.to_string().contains("at least 16"), "{error}");
    let labels = Loader::new().code("etc.yumen.admin.labels.instance", "x").load().unwrap();
    let gate = rig::gate(&Cluster::in_process()).build().unwrap();
    let error = Rig::start(App::default().settings(&labels).with(gate)).wait().unwrap_err();
    assert!(error.to_string().contains("etc.yumen.admin.labels: label \"instance\""), "{error}");
    let app = app("127.0.0.1:0", "0123456789abcdef");
    let control = app.control();
    assert_eq!(control.admin(), None);
    let rig = Rig::start(app);
    let at = rig::until("it answers", || control.admin());
    let answer = exchange(at, "GET /routes HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer.refusal().0, 401, "the token is asked for");
    rig.stop().unwrap();
}

/// A gate and a node on one thread, which a message on [`ECHO`] blocks, and so both.
struct Blocked {
    rig: Rig,
    admin: SocketAddr,
    control: Control,
    block: Block,
    _client: rig::Peer,
}

impl Blocked {
    fn start() -> Self {
        let (cluster, block) = (Cluster::in_process(), Block::default());
        let state = block.clone();
        let routes = Router::new().route(
            ECHO,
            on(|State(block): State<Block>| async move {
                block.pass();
            }),
        );
        let node = rig::node(&cluster, "room", routes, move || state.clone()).id("node-1");
        let gate = rig::gate(&cluster).id("gate-1").build().unwrap();
        let (addr, bound) = (gate.addresses()[0], Admin::bind("127.0.0.1:0", "").unwrap());
        let admin = bound.addr();
        let app = App::default().settings(&stall_max("1s")).pairs(gate, node.build().unwrap());
        let app = app.admin(bound);
        let control = app.control();
        let rig = Rig::start(app);
        let mut client = rig::Peer::announced(addr);
        client.send(ECHO, 1, "");
        block.until_reached();
        Self { rig, admin, control, block, _client: client }
    }

    fn get(&self, path: &str) -> Answer {
        exchange(self.admin, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn until_ill(&self) -> String {
        rig::until("it is ill", || {
            let answer = self.get("/healthz");
            (answer.status == 503).then(|| answer.refusal().1)
        })
    }
}

#[test]
fn a_stuck_instance_is_named_and_stops_no_answer() {
    let blocked = Blocked::start();
    let json = blocked.get("/sessions").json();
    assert_eq!((&json["total"], &json["silent"]), (&0.into(), &serde_json::json!(["gate-1"])));
    let stalled = rig::until("the watchdog sees it", || {
        let json = blocked.get("/instances").json();
        let gate = json["instances"][0]["local"].clone();
        assert_eq!(gate["connections"], serde_json::Value::Null, "unknown is not 0: {json}");
        gate["stalled_ms"].as_u64()
    });
    assert!(stalled >= 1000, "{stalled}");
    let ill = blocked.until_ill();
    assert!(ill.contains("instance gate-1 has been stuck for "), "{ill}");
    assert!(ill.contains("instance node-1 has been stuck for "), "{ill}");
    assert!(blocked.get("/readyz").refusal().1.contains("gate-1"), "and takes no clients");
    let json = blocked.get("/routes").json();
    assert_eq!((&json["routes"][0]["id"], &json["silent"][0]), (&1.into(), &"gate-1".into()));
    let page = blocked.get("/metrics").body;
    let stale = "yumen_instance_stale{service=\"gate\",instance=\"gate-1\",kind=\"gate\"} 1";
    assert!(page.lines().any(|line| line == stale), "{page}");
    blocked.block.open();
    rig::until("it runs again", || {
        let json = blocked.get("/instances").json();
        json["instances"][0]["local"]["stalled_ms"].is_null().then_some(())
    });
    assert_eq!((blocked.get("/healthz").status, blocked.get("/readyz").status), (200, 200));
    blocked.rig.stop().unwrap();
}

#[test]
fn an_instance_that_gets_stuck_in_the_drain_is_named() {
    let mut blocked = Blocked::start();
    blocked.control.drain();
    rig::until("it drains", || {
        let answer = blocked.get("/readyz");
        (answer.status == 503).then(|| assert_eq!(answer.refusal().1, "draining"))
    });
    assert!(blocked.until_ill().contains("instance gate-1 has been stuck for "));
    blocked.block.open();
    blocked.rig.wait().unwrap();
}

#[test]
fn an_admin_with_nothing_to_run_ends_with_the_app() {
    let admin = Admin::bind("127.0.0.1:0", "").unwrap();
    let addr = admin.addr();
    let error = Rig::start(App::default().admin(admin)).wait().unwrap_err();
    assert!(matches!(error, AppError::Empty), "{error}");
    assert!(TcpStream::connect(addr).is_err());
}
