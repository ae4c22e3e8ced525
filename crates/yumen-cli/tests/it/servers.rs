//! `yumen cluster up` with real etcd and Redis: who plays is answered, who dies is said, nobody is left.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests")]
use super::{last_line, yumen};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Longest wait for a line: machines are shared.
const LINE_MAX: Duration = Duration::from_secs(60);

/// A cluster that was started as a person does.
struct Up {
    child: Child,
    table: Value,
    said: Receiver<String>,
}

impl Up {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_yumen"))
            .args(["cluster", "up", "--json"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        let (tell, said) = mpsc::sync_channel(1024);
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let table =
            serde_json::from_str(&line).expect("a table; are etcd and redis-server installed?");
        Self { child, table, said }
    }

    /// Waits for a line with these words.
    fn says(&self, words: &str) -> String {
        loop {
            let line = self.said.recv_timeout(LINE_MAX);
            let line = line.unwrap_or_else(|_| panic!("nobody said {words:?}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    fn pids(&self) -> Vec<u64> {
        let members = ["gates", "nodes"].iter().flat_map(|kind| {
            self.table[*kind].as_array().expect("a list").iter().map(|member| &member["pid"])
        });
        let servers = ["etcd", "redis"].iter().map(|name| &self.table[*name]["pid"]);
        members.chain(servers).map(|pid| pid.as_u64().expect("a number")).collect()
    }

    /// Sends a signal to itself or to one of its children.
    fn signal(&self, signal: &str, pid: u64) {
        let killed = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill");
        assert!(killed.success());
    }

    fn answer(&self, gate: usize) -> Option<Value> {
        answer(&self.table, gate)
    }

    /// Rolls with `--json`; every step, and the exit code.
    fn roll(&self, flags: &[&str]) -> (Vec<Value>, Option<i32>) {
        let dir = std::env::temp_dir().join(format!("yumen-cluster-{}", self.child.id()));
        let dir = dir.to_str().expect("text");
        let output = yumen(&[&["cluster", "roll", "--json", "--cluster", dir], flags].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let steps = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (steps, output.status.code())
    }

    fn all_are_gone(&self) -> bool {
        self.pids().iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().expect("waits");
        }
    }
}

/// Asks a gate which node answers.
fn answer(table: &Value, gate: usize) -> Option<Value> {
    let address = table["gates"][gate]["tcp"].as_str().expect("an address");
    let call = ["bench", "call", "--connect", address, "--route", "5", "--data", "{}", "-n", "1"];
    let output = yumen(&call);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let reply = said.lines().find_map(|line| line.strip_prefix("first reply: "))?;
    output.status.success().then(|| serde_json::from_str(reply).expect("JSON"))
}

/// Looks until something is so; a minute at most.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let (_tell, silence) = mpsc::sync_channel::<()>(1);
    for _ in 0..600 {
        if so() {
            return;
        }
        // Nobody sends: this is how long a look takes.
        silence.recv_timeout(Duration::from_millis(100)).expect_err("silence");
    }
    panic!("{what}");
}

#[test]
fn a_cluster_is_answered_through_both_gates_and_leaves_nobody_behind() {
    let mut up = Up::start(&[]);
    for gate in 0..2 {
        let reply = up.answer(gate).expect("an answer");
        assert_eq!(reply["gate"], up.table["gates"][gate]["id"], "{reply}");
        assert!(reply["node"].as_str().is_some_and(|node| node.starts_with("node-")), "{reply}");
    }
    up.signal("-INT", u64::from(up.child.id()));
    let line = up.says("stopping");
    assert!(line.contains("gate"), "gates are stopped first: {line}");
    assert!(up.child.wait().expect("waits").success());
    assert!(up.all_are_gone(), "{:?}", up.pids());
}

#[test]
fn a_member_that_dies_is_said_and_comes_back_if_that_was_asked_for() {
    let up = Up::start(&["--restart"]);
    let node = up.table["nodes"][0].clone();
    let (id, pid) = (node["id"].as_str().expect("an id"), node["pid"].as_u64().expect("a number"));
    up.signal("-9", pid);
    let line = up.says("was killed by signal 9");
    assert!(line.contains(id) && line.contains(&pid.to_string()), "{line}");
    up.says(&format!("{id} is back"));
    until("the node does not answer again", || {
        up.answer(0).is_some_and(|reply| reply["node"] == node["id"])
    });
}

#[test]
fn a_cluster_whose_parent_is_killed_leaves_nobody_behind() {
    let up = Up::start(&[]);
    up.signal("-STOP", up.pids()[0]);
    up.signal("-9", u64::from(up.child.id()));
    until("somebody is left", || up.all_are_gone());
}

#[test]
fn whoever_lacks_etcd_and_redis_is_told_what_installs_them() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yumen"));
    let output = command.args(["cluster", "up"]).env("PATH", "/nowhere").output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    for command in ["apt-get install -y etcd-server", "apt-get install -y redis-server"] {
        assert!(said.contains(command), "{said}");
    }
    assert_eq!(last_line(&output), "");
}

/// The names in the steps of one kind, in their order.
fn names<'a>(steps: &'a [Value], what: &str) -> Vec<&'a str> {
    let of_kind = steps.iter().filter(|step| step["what"] == what);
    of_kind.map(|step| step["who"].as_str().expect("a name")).collect()
}

#[test]
fn a_roll_replaces_every_process_while_clients_are_answered() {
    let up = Up::start(&[]);
    let (plan, code) = up.roll(&["--dry-run"]);
    let order = ["node-1", "node-2", "gate-1", "gate-2"];
    assert_eq!((plan[0]["order"].clone(), code), (order.as_slice().into(), Some(0)));
    let address = up.table["gates"][0]["tcp"].as_str().expect("an address").to_owned();
    let (over, table) = (AtomicBool::new(false), up.table.clone());
    let (steps, code) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            // One gate or the other answers at any time, whichever process is being replaced.
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                assert!(
                    (0..2).any(|gate| answer(&table, gate).is_some()),
                    "after {answered} answers"
                );
                answered += 1;
            }
            answered
        });
        let rolled = up.roll(&[]);
        over.store(true, Ordering::Relaxed);
        assert!(asking.join().expect("answers") > 0);
        rolled
    });
    assert_eq!(code, Some(0), "{steps:?}");
    for what in ["draining", "ended", "started", "ready"] {
        assert_eq!(names(&steps, what), order, "{what}");
    }
    assert_eq!(steps.last().expect("one")["what"], "done");
    let old: Vec<u64> = up.pids();
    for step in steps.iter().filter(|step| step["what"] == "started") {
        assert!(!old.contains(&step["pid"].as_u64().expect("a number")), "{step}");
    }
    assert!(steps.iter().filter(|step| step["what"] == "ended").all(|step| step["clean"] == true));
    let again = yumen(&["bench", "call", "--connect", &address, "--route", "5", "--data", "{}"]);
    assert!(again.status.success(), "the gate is where it was");
}

#[test]
fn a_roll_stops_at_the_first_process_that_does_not_become_ready() {
    let up = Up::start(&[]);
    let etcd = up.table["etcd"]["pid"].as_u64().expect("a number");
    let old = up.pids();
    up.signal("-STOP", etcd);
    let (steps, code) = up.roll(&["--ready-max", "3"]);
    up.signal("-CONT", etcd);
    let last = steps.last().expect("one");
    assert_eq!((last["what"].as_str(), code), (Some("stopped"), Some(1)), "{steps:?}");
    assert_eq!(last["who"], "node-1", "{steps:?}");
    let help = last["help"].as_str().expect("text");
    assert!(help.contains("roll again") || help.contains("Roll again"), "{help}");
    let untouched = old.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count();
    assert!(untouched >= old.len() - 1, "the others run on");
}

#[test]
fn a_roll_without_a_cluster_says_what_to_do() {
    let output = yumen(&["cluster", "roll", "--cluster", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no cluster answers"));
}
