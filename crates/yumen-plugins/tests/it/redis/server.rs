//! A real Redis for one test: on a free port, without a file of its own, gone with the test.

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
    _dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Between this look and the start another program may take the port.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = launch(port, &dir) {
                return Self { child, port, _dir: dir };
            }
        }
        panic!("redis-server took none of ten ports");
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
