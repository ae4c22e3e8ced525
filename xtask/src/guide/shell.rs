//! Runs the commands of a page with `bash`, in the copy of the repository, within bounded time.
//!
//! The ports that pages name may be taken on the machine at hand. Each page gets free ones instead: the
//! numbers are exchanged in what is typed, and changed back in what appears.

use super::copy::Scratch;
use super::expect::difference;
use crate::error::Error;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Longest silence of a command. The first one may build everything in release.
const SILENCE_MAX: Duration = Duration::from_secs(900);
/// Longest wait for the next line of a server that is already built.
const LINE_MAX: Duration = Duration::from_secs(60);

/// Ports that pages may name: tcp, WebSocket, the admin interface, etcd, Redis, Consul's three.
const PORTS: [&str; 8] = ["3553", "3653", "9100", "2379", "6379", "8500", "8300", "8301"];

/// Where and how commands run.
pub(crate) struct Shell<'a> {
    scratch: &'a Scratch,
    ports: Vec<(&'static str, String)>,
}

/// A command that runs until it is stopped; what is left of it at the end is killed.
pub(crate) struct Background {
    child: Child,
    lines: Receiver<String>,
    seen: String,
    /// Whether its output has ended, which is when it has, too, or is about to.
    ended: bool,
}

/// What a command wrote, and its exit code; `None` if a signal ended it.
pub(crate) type Done = (String, Option<i32>);

impl<'a> Shell<'a> {
    /// A shell with ports of its own.
    ///
    /// # Errors
    /// When the system has no free port.
    pub(crate) fn new(scratch: &'a Scratch) -> Result<Self, Error> {
        // All held at once, so that they differ.
        let mut held = Vec::new();
        let mut ports = Vec::new();
        for name in PORTS {
            let failed = |source| Error::Start { line: "a free port".to_owned(), source };
            let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
            ports.push((name, listener.local_addr().map_err(failed)?.port().to_string()));
            held.push(listener);
        }
        Ok(Self { scratch, ports })
    }

    /// Runs `script` to its end.
    ///
    /// # Errors
    /// When there is no bash.
    pub(crate) fn run(&self, script: &str) -> Result<Done, Error> {
        let mut running = self.start(script, false)?;
        running.read(self, SILENCE_MAX, |_| false);
        running.end()
    }

    /// Starts `script`; a server gets free ports unless a file or a flag says otherwise.
    ///
    /// # Errors
    /// When there is no bash.
    pub(crate) fn start(&self, script: &str, is_server: bool) -> Result<Background, Error> {
        let typed =
            self.ports.iter().fold(script.to_owned(), |s, (name, port)| s.replace(name, port));
        // A build for tests is quicker, and here already.
        let typed = typed.replace(" --release", "");
        let mut command = Command::new("bash");
        let script = format!("exec 2>&1\n{typed}");
        command.arg("-c").arg(script).current_dir(&self.scratch.root).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A reader has none of these; and what cargo says while it builds is not the page's matter.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("CARGO_PKG_")
                || name.starts_with("YUMEN_")
                || name.starts_with("DUE_")
            {
                command.env_remove(&key);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:{}", self.scratch.servers.display()));
        command.env_remove("CARGO_MANIFEST_DIR").env("CARGO_TERM_QUIET", "true");
        command.env("CARGO_TARGET_DIR", &self.scratch.target);
        // Cargo names what it builds by paths within the workspace, so the copy's crates would take the
        // places of the repository's own. Another profile keeps them apart; dependencies are shared.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
        for (key, port) in [("TCP", self.ports.first()), ("WS", self.ports.get(1))] {
            let port = port.filter(|_| is_server).map(|(_, port)| port.as_str());
            let Some(port) = port else { continue };
            command.env(format!("YUMEN_NETWORK_{key}_SERVER_ADDR"), format!("127.0.0.1:{port}"));
        }
        let failed = |source| Error::Start { line: typed.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let (sender, lines) = sync_channel(1024);
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Background { child, lines, seen: String::new(), ended: false })
    }

    /// With the ports that the page names.
    fn named(&self, line: &str) -> String {
        self.ports.iter().fold(line.to_owned(), |line, (name, port)| line.replace(port, name))
    }
}

impl Background {
    /// What has appeared so far.
    pub(crate) fn seen(&self) -> &str {
        &self.seen
    }

    /// Waits until `expected` is what has appeared so far.
    pub(crate) fn until(&mut self, shell: &Shell<'_>, expected: &str) -> Option<String> {
        // Building may come first, and says nothing.
        self.read(shell, SILENCE_MAX, |seen| difference(expected, seen).is_none());
        difference(expected, &self.seen)
    }

    /// Tells it to stop. Gives what it wrote and its exit code.
    pub(crate) fn stop(mut self, shell: &Shell<'_>) -> Result<Done, Error> {
        self.signal("TERM")?;
        self.read(shell, LINE_MAX, |_| false);
        self.end()
    }

    fn end(&mut self) -> Result<Done, Error> {
        if matches!(self.child.try_wait(), Ok(None)) && !self.ended {
            self.signal("KILL")?;
        }
        let status = self.child.wait();
        let status =
            status.map_err(|source| Error::Start { line: "a command".to_owned(), source })?;
        Ok((std::mem::take(&mut self.seen), status.code()))
    }

    /// Reads until `enough`, the end of the output, or too long a silence.
    fn read(&mut self, shell: &Shell<'_>, silence: Duration, enough: impl Fn(&str) -> bool) {
        while !enough(&self.seen) {
            match self.lines.recv_timeout(silence) {
                Ok(line) => {
                    self.seen.push_str(&shell.named(&line));
                    self.seen.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.ended = true;
                    return;
                }
                Err(RecvTimeoutError::Timeout) => return,
            }
        }
    }

    /// Sends a signal to the command and what it has started.
    fn signal(&self, name: &str) -> Result<(), Error> {
        let words = format!("kill -{name} -- -{}", self.child.id());
        let status = Command::new("bash").arg("-c").arg(&words).status();
        status.map(drop).map_err(|source| Error::Start { line: words, source })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Nothing that a page started outlives the page, however it ends.
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.signal("KILL"));
            drop(self.child.wait());
        }
    }
}
