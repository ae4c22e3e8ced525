//! A real etcd for one test: on free ports, in a folder of its own, gone with the test.

use super::gateway;
use crate::{last_words::last_words, papers::Papers, registry::within};
use serde_json::json;
use std::{
    env,
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use yumen_plugins::etcd::{EtcdRegistry, EtcdRegistryBuilder};

/// Which etcd.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// What Debian brings: 3.4.
    Debian,
    /// 3.6.
    Newer,
}

impl Version {
    fn program(self) -> (String, &'static str) {
        match self {
            Self::Debian => ("etcd".to_owned(), "`apt-get install etcd-server` brings it"),
            Self::Newer => (newer(), "`cargo xtask up etcd36` builds it"),
        }
    }
}

/// What YUMEN_ETCD36 names, else what `cargo xtask up etcd36` built, else what is on the PATH.
fn newer() -> String {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/etcd36");
    let there = Path::new(built).exists();
    env::var("YUMEN_ETCD36").unwrap_or_else(|_| if there { built } else { "etcd36" }.to_owned())
}

/// One server; see the module.
pub(crate) struct Member {
    version: Version,
    args: Vec<String>,
    port: u16,
    child: Child,
    dir: tempfile::TempDir,
}

impl Member {
    /// A cluster of one, which serves.
    pub(crate) async fn start(version: Version) -> Self {
        Self::cluster(version, 1).await.pop().unwrap()
    }

    /// So many members of one cluster, which serves.
    pub(crate) async fn cluster(version: Version, count: usize) -> Vec<Self> {
        // Between this look and the start another program may take a port.
        for _ in 0..5 {
            let ports = free_ports(count * 2);
            let peers: Vec<_> = ports
                .chunks(2)
                .enumerate()
                .map(|(n, ports)| format!("m{n}=http://127.0.0.1:{}", ports[1]))
                .collect();
            let launch = |(n, ports): (usize, &[u16])| {
                Self::launch(version, n, [ports[0], ports[1]], &peers.join(","), &[])
            };
            let mut members: Vec<_> = ports.chunks(2).enumerate().map(launch).collect();
            if within(all_serve(&mut members)).await {
                return members;
            }
        }
        panic!("etcd took none of the ports that were offered five times");
    }

    /// One that serves `https://` there as well, as `shown`, to whoever shows a certificate of `ca.crt`.
    pub(crate) async fn encrypted(
        version: Version,
        papers: &Papers,
        shown: &str,
    ) -> (Self, String) {
        for _ in 0..5 {
            let ports = free_ports(3);
            let addr = format!("https://127.0.0.1:{}", ports[2]);
            let peers = format!("m0=http://127.0.0.1:{}", ports[1]);
            let [cert, key] = ["crt", "key"].map(|kind| papers.file(&format!("{shown}.{kind}")));
            let both = format!("http://127.0.0.1:{},{addr}", ports[0]);
            // Of a flag that is named twice the second counts.
            let more = [
                format!("--listen-client-urls={both}"),
                format!("--advertise-client-urls={both}"),
                format!("--cert-file={cert}"),
                format!("--key-file={key}"),
                format!("--trusted-ca-file={}", papers.file("ca.crt")),
                "--client-cert-auth".to_owned(),
            ];
            let member = Self::launch(version, 0, [ports[0], ports[1]], &peers, &more);
            let mut members = [member];
            if within(all_serve(&mut members)).await {
                let [member] = members;
                return (member, addr);
            }
        }
        panic!("etcd took none of the ports that were offered five times");
    }

    fn launch(
        version: Version,
        n: usize,
        [client, peer]: [u16; 2],
        peers: &str,
        more: &[String],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (client_url, peer_url) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let data = dir.path().join("data");
        let args = [
            ("--name", format!("m{n}")),
            ("--data-dir", data.display().to_string()),
            ("--listen-client-urls", client_url.clone()),
            ("--advertise-client-urls", client_url),
            ("--listen-peer-urls", peer_url.clone()),
            ("--initial-advertise-peer-urls", peer_url),
            ("--initial-cluster", peers.to_owned()),
        ];
        let mut args = args.map(|(name, value)| format!("{name}={value}")).to_vec();
        args.extend_from_slice(more);
        let child = spawn(version, &args, &dir);
        Self { version, args, port: client, child, dir }
    }

    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A registry as due's settings make it.
    pub(crate) fn registry(&self) -> EtcdRegistry {
        EtcdRegistry::builder([self.addr()]).build().unwrap()
    }

    /// A registry that notices everything early: leases of 2 s, answers within 1 s.
    pub(crate) fn brisk(&self) -> EtcdRegistryBuilder {
        brisk([self.addr()])
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on what is on its disk, and waits until it serves.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.version, &self.args, &self.dir);
        within(self.serves()).await;
    }

    /// Starts it again, and does not wait.
    pub(crate) fn relaunch(&mut self) {
        self.child = spawn(self.version, &self.args, &self.dir);
    }

    /// Its disk is lost too.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).unwrap();
    }

    /// It stays there, and does nothing until [`Member::resume`].
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

    /// Whether it is the leader of its cluster.
    pub(crate) async fn leads(&self) -> bool {
        let status = gateway::post(&self.addr(), "maintenance/status", json!({})).await.unwrap();
        status["leader"] == status["header"]["member_id"]
    }

    /// Waits until it answers what only a member with a leader can.
    pub(crate) async fn serves(&self) {
        answers(&self.addr()).await;
    }
}

impl Drop for Member {
    #[expect(clippy::print_stderr, reason = "what the server said goes with its test's report")]
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            let said = last_words(self.dir.path());
            eprintln!("{:?}, etcd on port {}, ends with:\n{said}", self.version, self.port);
        }
    }
}

pub(crate) fn brisk<A: Into<String>>(addrs: impl IntoIterator<Item = A>) -> EtcdRegistryBuilder {
    let second = Duration::from_secs(1);
    EtcdRegistry::builder(addrs).retry_interval(second).timeout(second)
}

/// `false` if one ended instead.
async fn all_serve(members: &mut [Member]) -> bool {
    for member in members {
        let addr = member.addr();
        tokio::select! {
            () = answers(&addr) => {}
            () = ended(&mut member.child) => return false,
        }
    }
    true
}

async fn answers(addr: &str) {
    while !gateway::is_healthy(addr).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ended(child: &mut Child) {
    while child.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn spawn(version: Version, args: &[String], dir: &tempfile::TempDir) -> Child {
    let log = File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
    let (program, install) = version.program();
    Command::new(&program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("no {program} ({error}); {install}"))
}

fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
