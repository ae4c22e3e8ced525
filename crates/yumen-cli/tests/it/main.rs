//! The `yumen` command as a person or a script runs it.
#![expect(clippy::expect_used, reason = "tests")]
mod admin;
mod config;
mod help;
mod servers;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

fn yumen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_yumen")).args(arguments).output().expect("runs")
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().unwrap_or_default().to_owned()
}

fn spawn(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yumen"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts")
}

#[test]
fn a_short_run_reports_what_it_counted_as_json() {
    let output = yumen(&[
        "bench",
        "echo",
        "--server",
        "relay",
        "--connections",
        "4",
        "--depth",
        "2",
        "--messages",
        "1000",
        "--json",
        "--slo",
        "errors=0%",
    ]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_str(&last_line(&output)).expect("JSON");
    let run = &report["runs"][0];
    assert_eq!(
        (&run["sent"], &run["received"], &run["lost"]),
        (&1000.into(), &1000.into(), &0.into())
    );
    assert!(run["server_cpu_us"].as_f64().is_some_and(|cpu| cpu > 0.0), "{run}");
    assert!(report["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{report}");
}

#[test]
fn the_demo_plays_as_its_settings_say() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let text = "packet = { routeBytes = 1, seqBytes = 4, byteOrder = 'little' }
        network.tcp.server.addr = '127.0.0.1:0'
        network.ws.server = { addr = '127.0.0.1:0', path = '/game' }";
    std::fs::write(dir.path().join("etc.toml"), text).expect("written");
    let etc = dir.path().to_str().expect("UTF-8");
    let arguments = ["demo", "--bots", "5", "--seconds", "1", "--json"];
    let by_flag = yumen(&[&arguments[..], &["--etc", etc]].concat());
    let mut by_variable = Command::new(env!("CARGO_BIN_EXE_yumen"));
    let by_variable = by_variable.args(arguments).env("DUE_ETC", etc).output().expect("runs");
    for output in [by_flag, by_variable] {
        assert!(output.status.success(), "{output:?}");
        let summary: serde_json::Value = serde_json::from_str(&last_line(&output)).expect("JSON");
        assert_eq!(summary["answered"], summary["requests"], "{summary}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("3553"), "the port is the file's: {said}");
    }
    let output = yumen(&["demo", "--etc", "/no/such/directory"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("flag --etc: /no/such/directory does not exist"), "{said}");
}

#[test]
fn our_own_server_answers_in_every_codec_over_tcp_and_ws() {
    for transport in ["tcp", "ws"] {
        for codec in ["json", "raw", "msgpack", "protobuf"] {
            let output = yumen(&[
                "bench",
                "echo",
                "--transport",
                transport,
                "--codec",
                codec,
                "--connections",
                "3",
                "--depth",
                "4",
                "--messages",
                "300",
                "--json",
            ]);
            let report: serde_json::Value =
                serde_json::from_str(&last_line(&output)).expect("JSON");
            let run = &report["runs"][0];
            let counts = (&run["received"], &run["lost"], &run["wrong"], &run["refused"]);
            let (all, none) = (300.into(), 0.into());
            assert_eq!(counts, (&all, &none, &none, &none), "{transport} {codec}");
        }
    }
}

#[test]
fn a_route_that_nobody_serves_is_reported_as_refused_and_not_as_lost() {
    let mut server = spawn(&["bench", "serve", "--route", "1"]);
    let mut output = BufReader::new(server.stdout.take().expect("piped"));
    let mut address = String::new();
    output.read_line(&mut address).expect("a line");
    let call = yumen(&[
        "bench",
        "call",
        "--connect",
        address.trim(),
        "--route",
        "9",
        "-n",
        "20",
        "-c",
        "2",
        "--json",
    ]);
    assert_eq!(call.status.code(), Some(1), "{call:?}");
    let report: serde_json::Value = serde_json::from_str(&last_line(&call)).expect("JSON");
    assert_eq!((&report["refused"], &report["lost"]), (&20.into(), &0.into()), "{report}");
    drop(server.stdin.take());
    assert!(server.wait().expect("ends").success());
}

#[test]
fn a_missed_objective_is_exit_code_one_and_a_failure_is_two() {
    let slow = yumen(&[
        "bench",
        "echo",
        "--server",
        "relay",
        "--connections",
        "1",
        "--messages",
        "100",
        "--slo",
        "p50=0us",
    ]);
    assert_eq!(slow.status.code(), Some(1), "{slow:?}");
    assert!(String::from_utf8_lossy(&slow.stderr).contains("objective missed: p50"));
    // Nobody listens on the port of a listener that is gone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let gone = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let failed = yumen(&["bench", "echo", "--connect", &gone]);
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
}

#[test]
fn an_open_loop_over_odd_layouts_is_answered() {
    for layout in [["1", "0"], ["2", "1"], ["4", "4"]] {
        let [route, seq] = layout;
        let output = yumen(&[
            "bench",
            "echo",
            "--server",
            "relay",
            "--connections",
            "3",
            "--rate",
            "500",
            "--seconds",
            "1",
            "--route-bytes",
            route,
            "--seq-bytes",
            seq,
            "--json",
        ]);
        let report: serde_json::Value = serde_json::from_str(&last_line(&output)).expect("JSON");
        let run = &report["runs"][0];
        assert_eq!((&run["sent"], &run["received"]), (&500.into(), &500.into()), "{layout:?}");
    }
}

#[test]
fn a_relay_prints_its_address_first_and_ends_with_its_input() {
    let mut node = spawn(&["bench", "relay-node"]);
    let mut output = BufReader::new(node.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let address: std::net::SocketAddr = line.trim().parse().unwrap_or_else(|_| panic!("{line:?}"));
    assert_ne!(address.port(), 0);
    drop(node.stdin.take());
    assert!(node.wait().expect("ends").success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "");
}

#[test]
fn children_end_when_their_parent_is_killed() {
    let mut bench = spawn(&[
        "bench",
        "echo",
        "--server",
        "relay",
        "--connections",
        "1",
        "--rate",
        "1",
        "--seconds",
        "600",
    ]);
    let children = loop {
        let found = children_of(bench.id());
        if found.len() == 2 {
            break found;
        }
        std::thread::yield_now();
    };
    bench.kill().expect("killed");
    bench.wait().expect("ended");
    // Would hang if one stayed: each ends by itself when the pipe of its input closes.
    while children.iter().any(|child| runs(*child)) {
        std::thread::yield_now();
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether the process does anything; one that has ended but was not waited for does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn every_command_explains_itself() {
    for command in [
        &["--help"][..],
        &["demo", "--help"],
        &["admin", "--help"],
        &["admin", "sessions", "--help"],
        &["bench", "--help"],
        &["bench", "echo", "--help"],
        &["bench", "call", "--help"],
        &["bench", "compare", "--help"],
        &["bench", "idle", "--help"],
    ] {
        let output = yumen(command);
        assert!(output.status.success(), "{command:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("relay-gate"), "children's commands are hidden: {text}");
    }
}
