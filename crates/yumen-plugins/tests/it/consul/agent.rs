//! A real Consul for one test: one server that is also the agent, on free ports, in a folder of its own, gone
//! with the test.

use super::plain;
use crate::registry::within;
use serde_json::{Value, json};
use std::{
    env,
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use yumen_plugins::consul::{ConsulRegistry, ConsulRegistryBuilder};

/// What YUMEN_CONSUL names, else what `cargo xtask up consul` built, else what is on the PATH.
fn program() -> String {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/consul");
    let there = Path::new(built).exists();
    env::var("YUMEN_CONSUL").unwrap_or_else(|_| if there { built } else { "consul" }.to_owned())
}

/// One server; see the module.
pub(crate) struct Agent {
    port: u16,
    /// Whether it keeps its memory on disk.
    keeps: bool,
    child: Child,
    dir: tempfile::TempDir,
}

impl Agent {
    /// Keeps its state in memory, and serves.
    pub(crate) async fn start() -> Self {
        Self::with(false, |_, _| json!({})).await
    }

    /// Keeps its state on disk, and serves.
    pub(crate) async fn keeping() -> Self {
        Self::with(true, |_, _| json!({})).await
    }

    /// As `more` adds to its settings, for the folder it lives in and a further free port.
    pub(crate) async fn with(keeps: bool, more: impl Fn(&Path, u16) -> Value) -> Self {
        // Between this look and the start another program may take a port.
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let ports = free_ports();
            let mut settings = json!({
                "datacenter": "dc1", "node_name": "test-1", "bind_addr": "127.0.0.1",
                "client_addr": "127.0.0.1", "advertise_addr": "127.0.0.1",
                "disable_update_check": true, "disable_host_node_id": true,
                "leave_on_terminate": false, "log_level": "warn",
                "ports": {
                    "http": ports[0], "server": ports[1], "serf_lan": ports[2], "serf_wan": -1,
                    "dns": -1, "grpc": -1
                },
                "connect": { "enabled": false }, "ui_config": { "enabled": false },
                "check_update_interval": "0s", "performance": { "raft_multiplier": 1 }
            });
            merge(&mut settings, more(dir.path(), ports[3]));
            fs::write(dir.path().join("consul.json"), settings.to_string()).unwrap();
            let child = spawn(dir.path(), keeps);
            let mut agent = Self { port: ports[0], keeps, child, dir };
            if within(agent.serves_or_ends()).await {
                return agent;
            }
        }
        panic!("Consul took none of the ports that were offered five times");
    }

    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A registry as due's settings make it, but nobody connects to instances that do not exist.
    pub(crate) fn registry(&self) -> ConsulRegistry {
        brisk(self.addr()).build().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with its memory if it keeps one, and waits until it serves.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.dir.path(), self.keeps);
        assert!(within(self.serves_or_ends()).await, "Consul ended");
    }

    /// It stays there, and does nothing until [`Agent::resume`].
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits until it has a leader and knows itself. `false` if it ended instead.
    async fn serves_or_ends(&mut self) -> bool {
        loop {
            let leader = plain::request(&self.addr(), "GET", "/v1/status/leader", "").await;
            let nodes = plain::request(&self.addr(), "GET", "/v1/catalog/nodes", "").await;
            let leads = leader.is_ok_and(|(status, body)| status == 200 && body.contains(':'));
            if leads && nodes.is_ok_and(|(_, body)| body.contains("\"Node\"")) {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Heartbeats of 5 s, so that a machine that is busy does not miss one; nobody connects to instances.
pub(crate) fn brisk(addr: impl Into<String>) -> ConsulRegistryBuilder {
    ConsulRegistry::builder(addr)
        .health_check(None)
        .heartbeat_check_interval(Duration::from_secs(5))
        .timeout(Duration::from_secs(1))
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn spawn(dir: &Path, keeps: bool) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let program = program();
    let mut command = Command::new(&program);
    if keeps {
        command.args(["-server", "-bootstrap", "-data-dir"]).arg(dir.join("data"));
    } else {
        command.arg("-dev");
    }
    command
        .arg("-config-file")
        .arg(dir.join("consul.json"))
        .stdout(log.try_clone().unwrap())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap_or_else(|error| panic!("no {program} ({error}); `cargo xtask up consul` builds it"))
}

fn free_ports() -> [u16; 4] {
    let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
