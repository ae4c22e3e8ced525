//! etcd, Redis and `due-peer` as child processes, on ports that are free, in directories of their own.

use crate::recording::SETTINGS;
use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};
use yumen_due_peer::Net;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that is killed when it is dropped.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server of Debian's; says how to install it if it is not there.
fn server(program: &str, package: &str, args: &[&str]) -> Kept {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn();
    let hint = format!("`{program}` does not start; install it with `apt-get install {package}`");
    Kept(started.unwrap_or_else(|error| panic!("{hint}: {error}")))
}

fn until_it_listens(addr: &str, what: &str) {
    let began = Instant::now();
    while TcpStream::connect(addr).is_err() {
        assert!(began.elapsed() < PATIENCE, "{what} does not listen on {addr}");
        std::thread::yield_now();
    }
}

/// The servers that a cluster of due's needs.
pub(super) struct Backends {
    pub(super) etcd: String,
    pub(super) redis: String,
    dir: tempfile::TempDir,
    consul: Option<(String, Kept)>,
    _kept: [Kept; 2],
}

impl Backends {
    pub(super) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [redis, etcd, peers] = [(); 3].map(|()| free_port());
        let data = dir.path().join("etcd");
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (client, peer) = (url(etcd), url(peers));
        let cluster = format!("default={peer}");
        let etcd_args = [
            ["--data-dir", data.to_str().unwrap()],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", &cluster],
        ];
        let port = redis.to_string();
        let redis_args = ["--port", &port, "--save", "", "--appendonly", "no"];
        let kept = [
            server("redis-server", "redis-server", &redis_args),
            server("etcd", "etcd-server", &etcd_args.concat()),
        ];
        let [redis, etcd] = [redis, etcd].map(|port| format!("127.0.0.1:{port}"));
        until_it_listens(&redis, "Redis");
        until_it_listens(&etcd, "etcd");
        Self { etcd, redis, dir, consul: None, _kept: kept }
    }

    /// Starts a Consul too.
    pub(super) fn start_consul(&mut self) {
        let [http, rpc, gossip] = [(); 3].map(|()| free_port());
        let ports = [format!("-http-port={http}"), format!("-server-port={rpc}")];
        let gossip = format!("-serf-lan-port={gossip}");
        let mut args = vec!["agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1"];
        args.extend(["-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1", "-log-level=error"]);
        args.extend([ports[0].as_str(), ports[1].as_str(), gossip.as_str()]);
        let kept = server(&consul(), "consul", &args);
        let addr = format!("127.0.0.1:{http}");
        until_it_listens(&addr, "Consul");
        self.consul = Some((addr, kept));
    }

    /// Kills it.
    pub(super) fn stop_consul(&mut self) {
        self.consul = None;
    }

    /// A gate or a node of that id, which uses these registries: `'consul', 'etcd'`.
    fn settings_at(&self, id: &str, registries: &str) -> PathBuf {
        let lives = std::fs::read_dir(self.dir.path()).unwrap().count();
        let dir = self.settings(&format!("{id}-{lives}"));
        let file = dir.join("etc.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let kind = id.split('-').next().unwrap();
        let text = text.replace(&format!("id = '{kind}-1'"), &format!("id = '{id}'"));
        let (consul, _) = self.consul.as_ref().unwrap();
        let more = format!(
            "[yumen.registry]\nbackends = [{registries}]\n[registry.consul]\naddr = '{consul}'\n"
        );
        std::fs::write(file, text + &more).unwrap();
        dir
    }

    pub(super) fn gate_at(&self, id: &str, registries: &str) -> Process {
        Process::start(&["gate", "--net", "tcp"], &self.settings_at(id, registries))
    }

    pub(super) fn node_at(&self, id: &str, registries: &str) -> Process {
        let node = Process::start(&["node"], &self.settings_at(id, registries));
        node.said(&format!("node {id} started"));
        node
    }

    /// A directory with the settings of the recording.
    fn settings(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let Self { etcd, redis, .. } = self;
        let addr = "addr = '127.0.0.1:0'\n";
        let own = SETTINGS
            .replace("[cluster.gate]\n", &format!("[cluster.gate]\n{addr}"))
            .replace("[cluster.node]\n", &format!("[cluster.node]\n{addr}"));
        let text = format!(
            "{own}[locate.redis]\naddrs = ['{redis}']\nprefix = 'due'\n[registry.etcd]\naddrs = ['{etcd}']\n"
        );
        std::fs::write(dir.join("etc.toml"), text).unwrap();
        dir
    }
}

/// A gate or a node of ours.
pub(super) struct Process {
    lines: Receiver<String>,
    kept: Kept,
}

impl Process {
    pub(super) fn gate(backends: &Backends, net: Net) -> Self {
        let net = match net {
            Net::Tcp => "tcp",
            Net::Ws => "ws",
        };
        Self::start(&["gate", "--net", net], &backends.settings("gate"))
    }

    pub(super) fn node(backends: &Backends) -> Self {
        let node = Self::start(&["node"], &backends.settings("node"));
        node.said("node node-1 started");
        node
    }

    fn start(role: &[&str], etc: &Path) -> Self {
        let mut child = Command::new(program())
            .args(role)
            .args(["--etc", etc.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tx, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _nobody_listens = tx.send(line);
            }
        });
        Self { lines, kept: Kept(child) }
    }

    /// Waits until it has written a line with that text; gives the line.
    pub(super) fn said(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it did not say {text:?}"));
            println!("{line}");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// It is told to stop, as an update does, and has ended.
    pub(super) fn stop(mut self) {
        let pid = self.kept.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.kept.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Where clients connect.
    pub(super) fn clients(&self) -> SocketAddr {
        let line = self.said("clients are let in");
        let address = line.rsplit_once("address=").unwrap().1;
        address.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// A test that fails shows what the process said since it was last asked.
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.lines.try_iter().for_each(|line| println!("{line}"));
        }
    }
}

/// What YUMEN_CONSUL names, else what `cargo xtask up consul` built, else what is on the PATH.
fn consul() -> String {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/consul");
    let there = Path::new(built).exists();
    std::env::var("YUMEN_CONSUL")
        .unwrap_or_else(|_| if there { built } else { "consul" }.to_owned())
}

/// The example, which is built with its tests.
fn program() -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    dir.pop();
    let program = dir.join("examples").join("due-peer");
    assert!(program.exists(), "build it: cargo build -p yumen-due-peer --examples");
    program
}
