//! A real Nacos for one test: standalone, on free ports, in a folder of its own, gone with the test.
//!
//! It takes some 400 MB, so only one test at a time has one.

use crate::last_words::last_words;
use std::{
    env,
    fs::File,
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::sync::{Mutex, MutexGuard};
use yumen_plugins::nacos::{NacosRegistry, NacosRegistryBuilder};

static TURN: Mutex<()> = Mutex::const_new(());

/// See the module.
pub(crate) struct Server {
    child: Child,
    port: u16,
    envs: Vec<(String, String)>,
    dir: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The script that starts it, with the libraries that it fetched before.
fn script() -> Command {
    let lib = root().join("target/servers/nacos");
    let lib = env::var_os("YUMEN_NACOS").map_or(lib, PathBuf::from);
    let there = lib.join(".complete").exists();
    assert!(there, "no Nacos; `tools/servers/nacos/start --fetch` brings it");
    let mut script = Command::new(root().join("tools/servers/nacos/start"));
    script.env("NACOS_LIB", lib);
    script
}

/// It listens there, and at places that depend on it. All lie below the ports that systems give to outgoing
/// connections: one of those may take a port while the server is down.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for dice in 0..1_000_u16 {
        let roll = RandomState::new().hash_one(dice) % 19_000;
        let port = 12_000 + u16::try_from(roll).unwrap();
        if [port, port - 1_000, port + 1_000, port + 1_001].into_iter().all(is_free) {
            return port;
        }
    }
    panic!("no four ports are free");
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these in its environment.
    pub(crate) async fn start_with(envs: &[(&str, &str)]) -> Self {
        let turn = TURN.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let envs = envs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let envs: Vec<_> = envs.collect();
        let port = free_port();
        let child = launch(port, &envs, dir.path());
        let mut this = Self { child, port, envs, dir, _turn: turn };
        // Between the look and the start another program may take one of its four ports.
        for _ in 0..2 {
            if this.serves().await {
                return this;
            }
            this.kill();
            this.port = free_port();
            this.child = launch(this.port, &this.envs, this.dir.path());
        }
        assert!(
            this.serves().await,
            "Nacos served on none of three ports:\n{}",
            last_words(this.dir.path())
        );
        this
    }

    /// `false` if it ended instead, or took two minutes.
    async fn serves(&mut self) -> bool {
        let mut ready = script();
        ready.args(["--ready", &self.port.to_string(), "120"]).stdout(Stdio::null());
        let mut ready = ready.spawn().unwrap();
        loop {
            if let Some(status) = ready.try_wait().unwrap() {
                return status.success();
            }
            if self.child.try_wait().unwrap().is_some() {
                ready.kill().unwrap();
                ready.wait().unwrap();
                return false;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, with nothing in its memory.
    pub(crate) async fn revive(&mut self) {
        self.child = launch(self.port, &self.envs, self.dir.path());
        let serves = self.serves().await;
        assert!(
            serves,
            "Nacos on port {} did not come back:\n{}",
            self.port,
            last_words(self.dir.path())
        );
    }

    /// It stays there, and does nothing until [`Server::resume`].
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

    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/nacos", self.addr())
    }

    pub(crate) fn builder(&self) -> NacosRegistryBuilder {
        NacosRegistry::builder([self.url()])
    }

    pub(crate) fn registry(&self) -> NacosRegistry {
        self.builder().build().unwrap()
    }

    /// What a process of due's, or an administrator, does: `words` are those of a form.
    pub(crate) async fn ask(&self, method: &str, path: &str, words: &[(&str, &str)]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", method]);
        if method == "GET" {
            curl.arg("-G");
        }
        for (key, value) in words {
            curl.arg("--data-urlencode").arg(format!("{key}={value}"));
        }
        curl.arg(format!("{}/v1/ns{path}", self.url()));
        let asked = tokio::task::spawn_blocking(move || curl.output().unwrap());
        let output = asked.await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn launch(port: u16, envs: &[(String, String)], dir: &Path) -> Child {
    let mut start = script();
    start.arg(port.to_string()).arg(dir).envs(envs.iter().cloned());
    let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
    start.stdout(log.try_clone().unwrap()).stderr(log);
    start.spawn().unwrap()
}
