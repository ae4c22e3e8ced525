//! A real Redis for one test: on a free port, without a file of its own, gone with the test.

use redis::aio::MultiplexedConnection;
use std::{
    future::Future,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};
use yumen_plugins::redis::{RedisLocator, RedisLocatorBuilder};

/// A server; see the module.
pub(crate) struct Server {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Between this look and the start another program may take the port.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = launch(port, &dir) {
                return Self { child, port, dir };
            }
        }
        panic!("redis-server took none of ten ports");
    }

    /// Kills it and starts it again, empty, on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = launch(self.port, &self.dir).expect("the port is free again");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
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

    /// As due's recording was made.
    pub(crate) fn builder(&self) -> RedisLocatorBuilder {
        RedisLocator::builder().addr(self.addr()).prefix("due")
    }

    pub(crate) fn locator(&self) -> RedisLocator {
        self.builder().build().unwrap()
    }

    /// A connection that plays a process of due's, or looks at what is there.
    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{}", self.addr())).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// `None` if it ends before it serves.
fn launch(port: u16, dir: &tempfile::TempDir) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .arg("--dir")
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("no redis-server on the PATH; `apt-get install redis-server` brings it");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if line.contains("Ready to accept connections") {
            return Some(child);
        }
    }
    let _ended = child.wait();
    None
}

/// Fails a test that would hang.
pub(crate) async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(seconds);
    let Ok(done) = tokio::time::timeout(limit, what).await else {
        panic!("not done within {seconds} s");
    };
    done
}

/// Runs a command and gives its answer.
pub(crate) async fn raw<T: redis::FromRedisValue>(
    conn: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(conn).await.unwrap()
}

/// All keys, sorted.
pub(crate) async fn keys(conn: &mut MultiplexedConnection) -> Vec<String> {
    let mut keys: Vec<String> = raw(conn, &["KEYS", "*"]).await;
    keys.sort();
    keys
}
