//! `yumen admin` against a process that runs, one that is not there, and one that is something else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::thread::JoinHandle;
use yumen::admin::Admin;
use yumen::app::Control;
use yumen::prelude::*;

const TOKEN: &str = "0123456789abcdef";

/// A gate, a node and their admin, on a thread of their own.
struct Process {
    admin: SocketAddr,
    control: Control,
    thread: JoinHandle<()>,
}

fn start() -> Process {
    let cluster = Cluster::in_process();
    let routes = Router::new().route(1, on(async || Raw::default()).login());
    let node = Node::builder(&cluster, "room", |_| ()).id("room-1").routes(routes).build();
    let gate = Gate::builder(&cluster).id("gate-1").listen(Tcp::on("127.0.0.1:0")).build();
    let admin = Admin::bind("127.0.0.1:0", TOKEN).expect("binds");
    let addr = admin.addr();
    let app = App::default().pairs(gate.expect("builds"), node.expect("builds")).admin(admin);
    let control = app.control();
    let thread = std::thread::spawn(|| app.run_blocking().expect("ends well"));
    Process { admin: addr, control, thread }
}

fn ask(addr: SocketAddr, token: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_yumen"))
        .arg("admin")
        .args(arguments)
        .env("YUMEN_ADMIN_ADDR", addr.to_string())
        .env("YUMEN_ADMIN_TOKEN", token)
        .output()
        .expect("runs")
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_operator_sees_a_running_process_and_stops_it() {
    let process = start();
    let ask = |arguments: &[&str]| ask(process.admin, TOKEN, arguments);
    while !ask(&["ready"]).status.success() {}
    assert_eq!(out(&ask(&["health"])), "ok\n");
    let instances = out(&ask(&["instances"]));
    assert!(instances.contains("gate-1") && instances.contains("room-1"), "{instances}");
    assert!(instances.ends_with("2 instances; this process is serving\n"), "{instances}");
    let routes = out(&ask(&["routes"]));
    assert!(routes.contains("1      room   login  0   0    room-1 (work)"), "{routes}");
    assert!(out(&ask(&["sessions", "--user", "7"])).ends_with("0 of 0 sessions\n"));
    let json: serde_json::Value =
        serde_json::from_str(&out(&ask(&["--json", "instances"]))).expect("JSON");
    assert_eq!(json["phase"], "serving");
    let wrong = ask(&["sessions", "--gate", "gate-9"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there are: gate-1"), "{wrong:?}");
    assert!(out(&ask(&["metrics"])).contains("\nyumen_app_phase{phase=\"serving\"} 1\n"));
    assert!(out(&ask(&["drain"])).starts_with("it was serving; "));
    process.thread.join().expect("it has ended");
    assert_eq!(ask(&["health"]).status.code(), Some(2));
}

#[test]
fn a_wrong_token_is_told_and_never_shown() {
    let process = start();
    let refused = ask(process.admin, "fedcba9876543210", &["instances"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("etc.yumen.admin.token") && !text.contains("fedcba"), "{text}");
    assert!(ask(process.admin, "", &["health"]).status.success(), "needs none");
    process.control.drain();
    process.thread.join().expect("it has ended");
}

#[test]
fn what_is_no_admin_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let addr = listener.local_addr().expect("bound");
    let stranger = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("asked");
        let mut request = [0; 4096];
        let read = socket.read(&mut request).expect("a request");
        socket.write_all(b"220 mail.example ESMTP\r\n\r\n").expect("answers");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let output = ask(addr, "", &["sessions", "--gate", "a&b=c"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no Yumen admin"), "{output:?}");
    let request = stranger.join().expect("ends");
    assert!(request.starts_with("GET /sessions?max=100&gate=a%26b%3Dc HTTP/1.1\r\n"), "{request}");
}

#[test]
fn without_an_address_it_says_which_to_give() {
    let output = Command::new(env!("CARGO_BIN_EXE_yumen"))
        .args(["admin", "health"])
        .env_remove("YUMEN_ADMIN_ADDR")
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("etc.yumen.admin.addr"), "{output:?}");
}
