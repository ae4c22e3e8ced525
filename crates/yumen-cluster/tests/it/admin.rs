//! The admin of a running app, asked over real sockets as curl, a probe or an attacker would.

mod life;
mod log;
mod refusals;

use crate::{
    game::{self, LOGIN, SECRET, World},
    rig::{self, PATIENCE, Rig, Server},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};
use yumen_cluster::{
    admin::{Admin, ENDPOINTS},
    app::{App, Control},
    cluster::Cluster,
    gate::{Gate, Ws},
    node::Node,
};

/// A gate, a node and their admin.
struct Operated {
    server: Server,
    admin: SocketAddr,
    control: Control,
    world: World,
}

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status, what is wrong, and what to do.
    fn refusal(&self) -> (u16, String, String) {
        let json = self.json();
        let text =
            |name: &str| json[name].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned();
        assert_eq!(json.as_object().unwrap().len(), 2, "{self:?}");
        (self.status, text("error"), text("help"))
    }
}

impl Operated {
    /// Everything in one process, with an admin for this machine, or one with a token.
    fn start(token: &str) -> Self {
        Self::start_app(token, |app| app)
    }

    fn with(token: &str, parts: impl FnOnce(&Cluster, Node) -> (Gate, Node)) -> Self {
        Self::build(token, parts, |app| app)
    }

    fn start_app(token: &str, change: impl FnOnce(App) -> App) -> Self {
        let gate = |cluster: &Cluster| rig::gate(cluster).id("gate-1").build().unwrap();
        Self::build(token, |cluster, node| (gate(cluster), node), change)
    }

    fn build(
        token: &str,
        parts: impl FnOnce(&Cluster, Node) -> (Gate, Node),
        change: impl FnOnce(App) -> App,
    ) -> Self {
        let (cluster, world) = (Cluster::in_process(), World::default());
        let state = world.clone();
        let node = rig::node(&cluster, "room", game::routes(), move || state.clone());
        let (gate, node) = parts(&cluster, node.id("node-1").build().unwrap());
        let (addr, handle) = (gate.addresses()[0], gate.handle());
        let bound = Admin::bind("127.0.0.1:0", token).unwrap();
        let admin = bound.addr();
        let app = change(App::default().with(gate).with(node).admin(bound));
        let control = app.control();
        let server = Server { addr, gate: handle, rig: Rig::start(app) };
        Self { server, admin, control, world }
    }

    fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "", "")
    }

    /// Asks with more lines in the head, each ended.
    fn ask(&self, method: &str, target: &str, lines: &str, body: &str) -> Answer {
        let host = self.admin;
        let length = body.len();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}");
        exchange(host, &format!("{head}Content-Length: {length}\r\n\r\n{body}"))
    }

    /// Asks again and again until the answer has this status.
    fn until(&self, target: &str, status: u16) -> Answer {
        rig::until(&format!("{target} is {status}"), || {
            Some(self.get(target)).filter(|answer| answer.status == status)
        })
    }
}

/// Writes a request as it is and reads to the end of the answer.
fn exchange(addr: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(addr);
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream).unwrap_or_else(|| panic!("no answer to {request:?}"))
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes until the end of the stream; `None` if that is nothing.
fn answer(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => {}
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// The names of an object's members, sorted.
fn names(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap()
}

#[test]
fn w30_every_endpoint_answers_and_is_described_on_its_page() {
    let operated = Operated::start("");
    operated.until("/readyz", 200);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/admin.md");
    let page = std::fs::read_to_string(root).unwrap();
    let index = operated.get("/").body;
    for (method, target, what) in ENDPOINTS {
        let heading = format!("## {method} {}\n", path(target));
        assert!(page.contains(&heading), "the page has no {heading:?}");
        assert!(index.contains(target) && index.contains(what), "{index}");
        if method != "POST" {
            let body = if method == "PUT" { "info" } else { "" };
            let answer = operated.ask(method, target, "", body);
            assert_ne!(answer.status, 404, "{answer:?}");
            assert_ne!(answer.status, 405, "{answer:?}");
            assert!(answer.head.contains("cache-control: no-store"), "{answer:?}");
        }
    }
    for answer in ["/", "/healthz", "/readyz"].map(|path| operated.get(path)) {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("content-type: text/plain"), "{answer:?}");
    }
}

#[test]
fn instances_say_what_the_cluster_knows_and_what_only_their_process_does() {
    let operated = Operated::start("");
    operated.until("/readyz", 200);
    let _clients = [operated.server.client(), operated.server.client()];
    let json = operated.get("/instances").json();
    assert_eq!(names(&json), ["instances", "phase"]);
    assert_eq!(json["phase"], "serving");
    let [gate, node] = json["instances"].as_array().unwrap().as_slice() else { panic!("{json}") };
    let local = serde_json::json!({
        "state": "serving", "thread": "gate-1", "stalled_ms": null, "connections": 2,
    });
    let expected = serde_json::json!({
        "id": "gate-1", "kind": "gate", "name": "gate", "state": "work", "weight": 0,
        "endpoint": "", "local": local,
    });
    assert_eq!(*gate, expected);
    assert_eq!((&node["id"], &node["name"]), (&"node-1".into(), &"room".into()));
    assert_eq!(node["local"]["connections"], serde_json::Value::Null);
}

#[test]
fn instances_of_other_processes_are_listed_without_what_only_those_know() {
    let cluster = Cluster::in_process();
    let other = rig::node(&cluster, "mail", game::routes(), World::default);
    let _other = Rig::start(App::default().with(other.id("other").build().unwrap()));
    rig::until_nodes(&cluster, 1);
    let gate = rig::gate(&cluster).id("gate-1").build().unwrap();
    let admin = Admin::bind("127.0.0.1:0", "").unwrap();
    let (addr, gate_addr) = (admin.addr(), gate.addresses()[0]);
    let rig = Rig::start(App::default().with(gate).admin(admin));
    let _there = rig::Peer::announced(gate_addr);
    let answer = exchange(addr, "GET /instances HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let json = answer.json();
    let other = json["instances"].as_array().unwrap().iter().find(|row| row["id"] == "other");
    let other = other.unwrap_or_else(|| panic!("{json}"));
    assert_eq!((&other["local"], &other["name"]), (&serde_json::Value::Null, &"mail".into()));
    rig.stop().unwrap();
}

#[test]
fn routes_say_who_may_send_them_and_who_serves_them() {
    let operated = Operated::start("");
    operated.until("/readyz", 200);
    let mut client = operated.server.client();
    assert_eq!(client.call(LOGIN, "77").text(), "welcome");
    assert_eq!(client.call(SECRET, "").text(), "77");
    let json = operated.get("/routes").json();
    assert_eq!(names(&json), ["conflicts", "routes", "silent"]);
    assert_eq!(json["conflicts"], 0);
    let routes = json["routes"].as_array().unwrap();
    let ids: Vec<_> = routes.iter().filter_map(|route| route["id"].as_i64()).collect();
    assert_eq!(ids, (1..=11).collect::<Vec<i64>>());
    let secret = serde_json::json!({
        "id": 8, "internal": false, "stateful": false, "authorized": true, "group": "room",
        "instances": [{ "id": "node-1", "state": "work", "weight": 1, "takes_new": true }],
        // 9 bytes of every packet stand before its body.
        "traffic": { "messages_in": 1, "bytes_in": 9, "messages_out": 1, "bytes_out": 11 },
    });
    assert_eq!(routes[7], secret);
    assert_eq!((&routes[5]["stateful"], &routes[8]["internal"]), (&true.into(), &true.into()));
}

#[test]
fn sessions_are_shown_as_far_as_they_are_asked_for() {
    let operated = Operated::start("");
    let mut clients =
        [operated.server.client(), operated.server.client(), operated.server.client()];
    assert_eq!(clients[1].call(LOGIN, "77").text(), "welcome");
    let json = operated.get("/sessions?max=2").json();
    assert_eq!(names(&json), ["sessions", "shown", "silent", "total"]);
    assert_eq!((&json["shown"], &json["total"]), (&2.into(), &3.into()));
    assert_eq!(json["silent"], serde_json::json!([]));
    let json = operated.get("/sessions?user=77").json();
    assert_eq!((&json["shown"], &json["total"]), (&1.into(), &1.into()));
    let session = &json["sessions"][0];
    let all = [
        "backlog_bytes",
        "channels",
        "channels_total",
        "conn",
        "connected_ms",
        "gate",
        "in_flight_bytes",
        "last_packet_ms",
        "listener",
        "logged_in_ms",
        "peer",
        "state",
        "user",
    ];
    assert_eq!(names(session), all);
    assert_eq!((&session["user"], &session["gate"]), (&77.into(), &"gate-1".into()));
    let conn = session["conn"].as_i64().unwrap();
    let same = operated.get(&format!("/sessions?conn={conn}&gate=gate-1")).json();
    assert_eq!(same["sessions"][0]["user"], 77);
    let peer = clients[1].socket.local_addr().unwrap().to_string();
    assert_eq!(session["peer"], peer.as_str());
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let operated = Operated::start("");
    operated.until("/readyz", 200);
    for (target, status, part) in [
        ("/sessions?max=10001", 400, "10000"),
        ("/sessions?max=-1", 400, "max is 0 to 10000"),
        ("/sessions?limit=5", 400, "max=100"),
        ("/sessions?user=0", 400, "user"),
        ("/sessions?gate=gate-9", 404, "gate-1"),
        ("/debug/pprof", 404, "GET / lists"),
    ] {
        let answer = operated.get(target);
        let (was, error, help) = answer.refusal();
        assert_eq!(was, status, "{target}: {answer:?}");
        assert!(error.contains(part) || help.contains(part), "{target}: {answer:?}");
    }
    let answer = operated.ask("DELETE", "/sessions", "", "");
    assert_eq!(answer.refusal().0, 405);
    assert!(answer.head.contains("allow: get"), "{answer:?}");
    let (status, error, help) = operated.get("/drain").refusal();
    assert_eq!((status, help.as_str()), (405, "use POST"), "{error}");
    let (status, ..) = operated.ask("POST", "/drain?instance=gate-1", "", "").refusal();
    assert_eq!(status, 501);
    assert_eq!(operated.get("/readyz").status, 200, "nothing was drained");
}

#[test]
fn metrics_are_prometheus_text_and_count_what_admin_refused() {
    let operated = Operated::start("0123456789abcdef");
    operated.until("/readyz", 200);
    assert_eq!(operated.get("/metrics").status, 401);
    assert_eq!(operated.ask("GET", "/metrics", "Origin: null\r\n", "").status, 403);
    let token = "Authorization: Bearer 0123456789abcdef\r\n";
    let answer = operated.ask("GET", "/metrics", token, "");
    assert_eq!(answer.status, 200);
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(answer.head.contains(kind), "{answer:?}");
    for line in [
        "# TYPE yumen_admin_refused_total counter",
        "yumen_admin_refused_total{reason=\"token\"} 1",
        "yumen_admin_refused_total{reason=\"origin\"} 1",
        "yumen_admin_refused_total{reason=\"host\"} 0",
        "yumen_admin_refused_total{reason=\"connections\"} 0",
        "yumen_app_phase{phase=\"serving\"} 1",
        "yumen_gate_users{service=\"gate\",instance=\"gate-1\"} 0",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line}: {}", answer.body);
    }
}

#[test]
fn w18_nothing_of_admin_is_on_the_ports_of_clients() {
    let operated = Operated::with("", |cluster, node| {
        let gate = rig::gate(cluster).listen(Ws::on("127.0.0.1:0").path("/"));
        (gate.build().unwrap(), node)
    });
    operated.until("/readyz", 200);
    let mut paths: Vec<_> = ENDPOINTS.iter().map(|entry| path(entry.1)).collect();
    paths.extend(["/debug/pprof", "/debug/pprof/heap"]);
    for addr in operated.server.gate.addresses() {
        for path in &paths {
            let mut stream = connect(*addr);
            let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            if let Some(answer) = answer(stream) {
                assert!(answer.status >= 400, "{path} at {addr}: {answer:?}");
                assert_eq!(answer.body.len(), answer.body.trim().len(), "{answer:?}");
            }
        }
    }
    assert_eq!(operated.get("/healthz").status, 200);
}
