//! A real Redis or Valkey for one test: on a free port, without a file of its own, gone with the test.
//!
//! Tests of other crates include this file. What is missing is a failure, with the command that brings it.

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Redis,
    Valkey,
}

impl Make {
    /// A program of it: `server` or `cli`.
    pub(crate) fn program(self, name: &str) -> PathBuf {
        match self {
            Self::Redis => format!("redis-{name}").into(),
            Self::Valkey => {
                let root =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/valkey");
                let root = env::var_os("YUMEN_VALKEY").map_or(root, PathBuf::from);
                root.join(format!("usr/bin/valkey-{name}"))
            }
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Redis => "`apt-get install redis-server` brings it",
            Self::Valkey => "`sh tools/servers/valkey/fetch target/servers/valkey` brings it",
        }
    }
}

/// A server; see the module.
pub(crate) struct Launched {
    child: Child,
    make: Make,
    port: u16,
    more: Vec<String>,
    dir: tempfile::TempDir,
}

impl Launched {
    pub(crate) fn start() -> Self {
        Self::start_with(Make::Redis, |_, _| Vec::new())
    }

    /// With further words on its command line; they may depend on its port and its folder.
    pub(crate) fn start_with(make: Make, more: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Between this look and the start another program may take the port.
        for _ in 0..10 {
            let port = free_port();
            let more = more(port, dir.path());
            if let Some(child) = launch(make, port, dir.path(), &more) {
                return Self { child, make, port, more, dir };
            }
        }
        panic!("{make:?} took none of ten ports");
    }

    /// Kills it and starts it again on the same port, with what it has on disk: by default nothing.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let child = launch(self.make, self.port, self.dir.path(), &self.more);
        self.child = child.expect("the port is free again");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It stays there, and does nothing until [`Launched::resume`].
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
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `None` if it ends before it serves.
fn launch(make: Make, port: u16, dir: &Path, more: &[String]) -> Option<Child> {
    let program = make.program("server");
    let mut child = Command::new(&program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir)
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("no {}: {error}; {}", program.display(), make.advice()));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ready = false;
    for line in lines.map_while(Result::ok) {
        ready = line.contains("Ready to accept connections");
        if ready {
            break;
        }
    }
    if ready {
        return Some(child);
    }
    let _ended = child.wait();
    None
}
