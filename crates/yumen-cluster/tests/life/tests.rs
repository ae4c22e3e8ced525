//! What is promised of a program's life.

use crate::{
    child::{Client, Ended, Run},
    processes,
    program::{CRASH, ECHO, LATER, NEVER, STUCK},
};
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

type Test = (&'static str, fn());

macro_rules! tests {
    ($($name:path),* $(,)?) => {
        /// Every test with its name.
        pub(crate) const ALL: &[Test] = &[$((stringify!($name), $name)),*];
    };
}

tests! {
    each_signal_drains_and_the_exit_code_is_0,
    a_reply_on_its_way_arrives_before_the_connection_closes,
    a_second_signal_ends_at_once_with_its_number,
    a_client_that_never_leaves_is_named_when_the_time_is_over,
    progress_is_said_every_second_with_the_time_left,
    a_signal_during_the_start_stops_what_had_started,
    a_signal_while_the_app_is_built_starts_nothing,
    a_second_signal_ends_a_start_that_is_blocked,
    a_port_in_use_is_named_and_the_exit_code_is_2,
    a_start_that_fails_stops_what_had_started,
    a_dead_instance_ends_the_others_and_is_named,
    a_stuck_instance_is_warned_about_and_cannot_hold_the_stop,
    w36_hooks_that_panic_or_never_return_hang_neither_start_nor_stop,
    w41_a_stop_with_churn_is_clean,
    the_pid_file_holds_the_number_and_keeps_a_second_copy_out,
    the_banner_is_plain_lines_and_long_names_do_no_harm,
    too_few_descriptors_are_raised_warned_about_or_refused,
    settings_come_from_the_command_line,
    everything_wrong_with_the_settings_is_said_at_once,
    admin_answers_where_the_banner_says_and_a_drain_ends_the_program,
    a_changed_file_applies_or_is_said_to_need_a_restart,
    help_is_shown_and_unknown_flags_are_refused,
    processes::a_gate_and_a_node_in_processes_of_their_own_serve_a_client,
    processes::who_listens_for_others_without_a_secret_is_refused_with_what_to_do,
    processes::a_second_process_of_one_id_is_refused_with_the_first_ones_address,
    processes::w20_a_start_without_the_registry_serves_and_joins_when_it_is_back,
    processes::a_signal_ends_a_start_that_waits_for_the_registry,
}

const SIGNALS: [(Signal, &str, i32); 3] =
    [(Signal::TERM, "SIGTERM", 143), (Signal::INT, "SIGINT", 130), (Signal::QUIT, "SIGQUIT", 131)];

fn each_signal_drains_and_the_exit_code_is_0() {
    for (signal, name, _) in SIGNALS {
        let mut run = Run::start(&[]);
        let addr = run.serving();
        let mut client = Client::connect(addr);
        client.call(ECHO, "hello");
        run.signal(signal);
        assert!(client.rest().is_empty(), "nothing half is left behind");
        let ended = run.end();
        ended.code(0);
        ended.in_order(&[
            "node lobby started",
            "gate gate-1 started",
            "clients are let in",
            "Yumen Version",
        ]);
        let told = format!("{name}: stopping");
        ended.in_order(&[
            "Gate Instances",
            &told,
            "gate gate-1 ended",
            "node lobby ended",
            " stopped",
        ]);
        assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
    }
}

fn a_reply_on_its_way_arrives_before_the_connection_closes() {
    let mut run = Run::start(&[]);
    let addr = run.serving();
    let (mut client, mut idle) = (Client::connect(addr), Client::connect(addr));
    idle.call(ECHO, "here");
    client.send(LATER, "in flight");
    run.until("handler later");
    run.signal(Signal::TERM);
    client.expect(LATER, "in flight");
    assert!(client.rest().is_empty() && idle.rest().is_empty());
    run.end().code(0);
}

fn a_second_signal_ends_at_once_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("game.pid");
    for (signal, name, code) in SIGNALS {
        let mut run = Run::start(&[("DRAIN_MS", "600000"), ("PID", path.to_str().unwrap())]);
        let mut client = Client::connect(run.serving());
        client.send(NEVER, "");
        run.until("handler never");
        run.signal(signal);
        run.until("stopping: 1 session");
        assert!(path.exists());
        run.signal(signal);
        let ended = run.end();
        ended.code(code);
        ended.at(&format!("{name} again: ending at once"));
        assert!(!path.exists(), "its file is removed all the same");
    }
}

fn a_client_that_never_leaves_is_named_when_the_time_is_over() {
    let mut run = Run::start(&[("DRAIN_MS", "1500")]);
    let mut client = Client::connect(run.serving());
    client.send(NEVER, "");
    run.until("handler never");
    run.signal(Signal::TERM);
    let ended = run.end();
    ended.code(1);
    let line = &ended.said[ended.at("gate-1 had work left")];
    assert!(line.contains("bytes of messages in flight"), "{line}");
    let line = &ended.said[ended.at("lobby had work left")];
    assert!(line.contains("1 handler running"), "{line}");
    ended.at("failed: the stop was not clean");
    assert!(client.rest().is_empty());
}

fn progress_is_said_every_second_with_the_time_left() {
    let mut run = Run::start(&[("DRAIN_MS", "60000")]);
    let mut client = Client::connect(run.serving());
    client.send(NEVER, "");
    run.until("handler never");
    run.signal(Signal::TERM);
    let left = |line: &str| -> u32 {
        let (before, _) = line.split_once(" s left").unwrap();
        before.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let lines = [(); 3].map(|()| run.until("stopping: 1 session, "));
    assert!(lines[1].contains("1 handler running"), "{lines:?}");
    assert!(lines[0].contains("for lobby, gate-1"), "{lines:?}");
    let times = lines.each_ref().map(|line| left(line));
    assert!(times[0] < 60 && times[0] > times[1] && times[1] > times[2], "{lines:?}");
    // One second each; a busy machine may be late.
    assert!(times[0] - times[2] < 6, "{lines:?}");
    run.signal(Signal::TERM);
    run.end().code(143);
}

fn a_signal_during_the_start_stops_what_had_started() {
    let mut run = Run::start(&[("HOOK", "start-never")]);
    run.until("hook");
    run.signal(Signal::TERM);
    let ended = run.end();
    ended.code(0);
    ended.in_order(&[
        "SIGTERM: stopping",
        "told to stop while starting",
        "node lobby ended",
        "stopped",
    ]);
    assert!(!ended.said.iter().any(|line| line.contains("gate gate-1 started")));
}

fn a_signal_while_the_app_is_built_starts_nothing() {
    let mut run = Run::start(&[("BUILD", "waits")]);
    run.until("building");
    run.signal(Signal::TERM);
    run.until("SIGTERM: stopping");
    drop(run.stdin.take());
    let ended = run.end();
    ended.code(0);
    assert!(!ended.said.iter().any(|line| line.contains("started")), "{:?}", ended.said);
}

fn a_second_signal_ends_a_start_that_is_blocked() {
    let mut run = Run::start(&[("BUILD", "waits")]);
    run.until("building");
    run.signal(Signal::TERM);
    run.until("SIGTERM: stopping");
    run.signal(Signal::INT);
    run.end().code(130);
}

fn a_port_in_use_is_named_and_the_exit_code_is_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let ended = Run::start(&[("ADDR", &addr)]).end();
    ended.code(2);
    let line = &ended.said[ended.at("cannot start")];
    for part in [&*addr, "in use", "ss -ltnp", "network.tcp.server.addr"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

fn a_start_that_fails_stops_what_had_started() {
    let ended = Run::start(&[("BROKEN", "1")]).end();
    ended.code(2);
    ended.in_order(&[
        "node lobby started",
        "broken: building the state",
        "node lobby ended",
        "cannot start",
    ]);
    assert!(!ended.said.iter().any(|line| line.contains("gate gate-1 started")));
}

fn a_dead_instance_ends_the_others_and_is_named() {
    let mut run = Run::start(&[]);
    let mut client = Client::connect(run.serving());
    client.call(ECHO, "x");
    client.send(CRASH, "");
    let ended = run.end();
    ended.code(1);
    ended.in_order(&[
        "lobby: a task of the instance panicked",
        "gate gate-1 ended",
        "failed: instance",
    ]);
}

fn a_stuck_instance_is_warned_about_and_cannot_hold_the_stop() {
    let args = ["--set", "yumen.admin.addr=127.0.0.1:0"];
    let mut run = Run::start_after(":", &[("DRAIN_MS", "2000")], &args);
    let mut client = Client::connect(run.serving());
    let admin = admin(&mut run);
    assert!(ask(&admin, "GET /instances").contains("\"stalled_ms\":null"));
    client.send(STUCK, "");
    let line = run.until("is stuck");
    for part in ["node lobby", "thread lobby", "on_workers"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let instances = ask(&admin, "GET /instances");
    let stalled = instances.split("\"thread\":\"lobby\",\"stalled_ms\":").nth(1).unwrap();
    assert!(stalled.starts_with(|c: char| c.is_ascii_digit()), "{instances}");
    run.signal(Signal::TERM);
    let ended = run.end();
    ended.code(1);
    ended.in_order(&["SIGTERM: stopping", "instance lobby is stuck", "failed: the stop"]);
}

fn w36_hooks_that_panic_or_never_return_hang_neither_start_nor_stop() {
    let mut run = Run::start(&[("HOOK", "start-panics stop-panics")]);
    let mut client = Client::connect(run.serving());
    client.call(ECHO, "x");
    run.signal(Signal::TERM);
    run.end().code(0);

    let mut run = Run::start(&[("HOOK", "stop-never"), ("DRAIN_MS", "1000")]);
    run.serving();
    run.signal(Signal::TERM);
    let ended = run.end();
    ended.code(1);
    ended.at("lobby had work left");
}

fn w41_a_stop_with_churn_is_clean() {
    for _ in 0..3 {
        let mut run = Run::start(&[]);
        let addr = run.serving();
        let churn: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut lives = 0;
                    while TcpStream::connect(addr).is_ok() {
                        lives += 1;
                    }
                    lives
                })
            })
            .collect();
        let mut client = Client::connect(addr);
        (0..200).for_each(|_| client.call(ECHO, "x"));
        run.signal(Signal::TERM);
        run.end().code(0);
        let lives: i32 = churn.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert!(lives > 0);
    }
}

fn the_pid_file_holds_the_number_and_keeps_a_second_copy_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("game.pid");
    let path = path.to_str().unwrap();
    let mut run = Run::start(&[("PID", path)]);
    run.serving();
    assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{}\n", run.id()));
    let second = Run::start(&[("PID", path)]).end();
    second.code(2);
    let line = &second.said[second.at("cannot start")];
    assert!(line.contains(&run.id().to_string()) && line.contains(path), "{line}");
    run.signal(Signal::TERM);
    run.end().code(0);
    assert!(!std::path::Path::new(path).exists());

    let nowhere = dir.path().join("none/game.pid");
    let refused = Run::start(&[("PID", nowhere.to_str().unwrap())]).end();
    refused.code(2);
    refused.at("cannot be written");
}

fn the_banner_is_plain_lines_and_long_names_do_no_harm() {
    let name = "long".repeat(50);
    let mut run = Run::start(&[("NAME", &name)]);
    let addr = run.serving();
    let id = run.id();
    run.signal(Signal::TERM);
    let ended = run.end();
    ended.code(0);
    let cores = std::thread::available_parallelism().unwrap();
    let s = if cores.get() == 1 { "" } else { "s" };
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "Yumen Version: {version}\nGlobal PID: {id}\nGlobal Mode: debug\nGlobal Time: \n\
         Node ID: {name}\nNode Name: {name}\nNode Link: -\nNode Codec: chosen by each handler\n\
         Node Locator: in memory\nNode Registry: in memory\nNode Encryptor: -\n\
         Node Transporter: -\nNode Instances: 1 node instance on 1 of {cores} core{s}\n\
         Gate ID: gate-1\nGate Name: gate\nGate Link: -\nGate Server: [tcp] {addr}\n\
         Gate Locator: in memory\nGate Registry: in memory\n\
         Gate Instances: 1 gate instance on 1 of {cores} core{s}\n"
    );
    let boxes = ["Yumen ", "Global ", "Node ", "Gate "];
    let shown: String = ended
        .said
        .iter()
        .filter(|line| boxes.iter().any(|name| line.starts_with(name)))
        .map(|line| if line.starts_with("Global Time: ") { "Global Time: " } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(shown, expected);
}

fn too_few_descriptors_are_raised_warned_about_or_refused() {
    let runs = |before: &str, soft: &str| {
        let mut run = Run::start_after(before, &[], &[]);
        let addr = run.serving();
        Client::connect(addr).call(ECHO, "x");
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.id())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(files.split_whitespace().nth(3), Some(soft), "{files}");
        run.signal(Signal::TERM);
        let ended: Ended = run.end();
        ended.code(0);
        ended
    };
    runs("ulimit -Sn 256 && ulimit -Hn 6000", "6000").at("limit raised from 256 to 6000");
    let ended = runs("ulimit -Sn 512 && ulimit -Hn 1000", "1000");
    let line = &ended.said[ended.at("allows this process 1000 open descriptors")];
    for part in ["WARN", "5000", "LimitNOFILE=", "ulimit -n", "--ulimit nofile="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let refused = Run::start_after("ulimit -n 60", &[], &[]).end();
    refused.code(2);
    refused.at("cannot start: the system allows this process 60");
}

fn settings_come_from_the_command_line() {
    let args = ["--mode", "release", "--set=pid=game.pid", "--set", "shutdownMaxWaitTime=1s"];
    let mut run = Run::start_after(":", &[], &args);
    run.until("Global Mode: release");
    let mut client = Client::connect(run.serving());
    let file = std::fs::read_to_string(run.dir.path().join("game.pid")).unwrap();
    assert_eq!(file.trim(), run.id().to_string());
    client.send(NEVER, "");
    run.until("handler never");
    run.signal(Signal::TERM);
    run.end().code(1);
}

/// What admin answers.
fn ask(addr: &str, what: &str) -> String {
    let mut socket = TcpStream::connect(addr).unwrap();
    let rest = "Content-Length: 0\r\nConnection: close";
    write!(socket, "{what} HTTP/1.1\r\nHost: {addr}\r\n{rest}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// Where admin is, as the banner says.
fn admin(run: &mut Run) -> String {
    run.until("Admin Url: http://").rsplit('/').next().unwrap().to_owned()
}

fn admin_answers_where_the_banner_says_and_a_drain_ends_the_program() {
    let mut run = Run::start_after(":", &[], &["--set", "yumen.admin.addr=127.0.0.1:0"]);
    run.serving();
    let addr = admin(&mut run);
    let ask = |what: &str| ask(&addr, what);
    let ready = ask("GET /readyz");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let drain = ask("POST /drain");
    assert!(drain.starts_with("HTTP/1.1 2"), "{drain}");
    run.end().code(0);

    let open = Run::start_after(":", &[], &["--set", "yumen.admin.addr=0.0.0.0:0"]).end();
    open.code(2);
    open.at("there is no token");
}

fn everything_wrong_with_the_settings_is_said_at_once() {
    let args = ["--mode", "fast", "--set", "packet.routeBytes=3"];
    let ended = Run::start_after(":", &[], &args).end();
    ended.code(2);
    ended.in_order(&["cannot start: 2 problems in the settings", "debug, test or release"]);
    ended.at("packet.routeBytes");
    assert!(!ended.said.iter().any(|line| line == "building"), "{:?}", ended.said);
}

fn help_is_shown_and_unknown_flags_are_refused() {
    let ended = Run::start_after(":", &[], &["--help"]).end();
    ended.code(0);
    ended.in_order(&[
        "Usage: life-",
        " [--etc DIR]",
        "  --etc DIR",
        "  --set KEY=VALUE",
        "Exit codes:",
        "128+n",
    ]);
    let ended = Run::start_after(":", &[], &["--hlep"]).end();
    ended.code(2);
    ended.at("\"--hlep\" is no flag of this program");
}

fn a_changed_file_applies_or_is_said_to_need_a_restart() {
    let mut run =
        Run::start_after("mkdir etc && echo 'log.level = \"info\"' > etc/etc.toml", &[], &[]);
    run.serving();
    let file = run.dir.path().join("etc/etc.toml");
    std::fs::write(&file, "log.level = \"warn\"\nmode = \"release\"").unwrap();
    run.until("etc.mode from \"debug\" to \"release\": takes effect at the next start");
    std::fs::write(&file, "log.level = ").unwrap();
    run.until("the last good ones stay");
    std::fs::write(&file, "log.level = \"info\"").unwrap();
    run.until("etc.log.level from \"warn\" to \"info\": applied");
    run.signal(Signal::TERM);
    let ended = run.end();
    ended.code(0);
    // That was said on the level that it took away.
    let hidden = "etc.log.level from \"info\" to \"warn\"";
    assert!(!ended.said.iter().any(|line| line.contains(hidden)), "{:?}", ended.said);
}
