//! The processes of `cluster up`: started, watched, stopped in order.
//!
//! Children are in process groups of their own, so that a terminal's Ctrl-C reaches this process alone.
//! Whoever plays sees every line a child writes, with its name; nothing here reads what is in it.
use super::control::Asker;
use super::failed;
use super::member::Doors;
use super::roll::same_doors;
use crate::demo::game;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;
use yumen::client::Clients;
use yumen_bench::backend::{Backend, Kind, Signal, signal};

/// Who is started, in this order; stopped in the other.
pub(super) const NODES: [&str; 2] = ["node-1", "node-2"];
pub(super) const GATES: [&str; 2] = ["gate-1", "gate-2"];
/// Longest wait until a client is answered through every gate.
const PLAYS_MAX: Duration = Duration::from_secs(30);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest wait for a member's end: its drain has limits of its own, shorter ones.
const END_MAX: Duration = Duration::from_secs(15);

/// What the threads that read and listen tell.
pub(super) enum Told {
    /// A line that a child has written.
    Line { name: String, text: String },
    /// A child is there, and clients find it here.
    Ready { name: String, place: Doors },
    /// Somebody wants everything to be replaced.
    Asked(Asker),
    /// Somebody wants everything to stop.
    Signal,
}

/// A gate or a node.
pub(super) struct Member {
    pub(super) child: Child,
    pub(super) doors: Option<Doors>,
}

/// Somebody who ended without being asked to.
pub(super) struct Death {
    pub(super) name: String,
    pid: u32,
    status: Option<ExitStatus>,
}

impl Death {
    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let Self { name, pid, status } = self;
        let how = match status.map(|status| (status.signal(), status.code())) {
            Some((Some(signal), _)) => format!("was killed by signal {signal}"),
            Some((None, Some(code))) => format!("ended with exit code {code}"),
            _ => "has ended".to_owned(),
        };
        format!("{name} (pid {pid}) {how}")
    }
}

/// All of them.
pub(super) struct Crew {
    pub(super) registry: Backend,
    pub(super) redis: Backend,
    pub(super) members: BTreeMap<&'static str, Member>,
    dir: PathBuf,
    /// What is started: the file that this program came from, or a newer one in its place.
    program: PathBuf,
    tell: SyncSender<Told>,
    /// Those whose death was told.
    dead: Vec<Kind>,
}

impl Crew {
    /// Starts all of them, with `dir` for their data.
    pub(super) fn start(
        registry: Kind,
        dir: &Path,
        verbose: bool,
        tell: SyncSender<Told>,
    ) -> io::Result<Self> {
        let registry = Backend::start(registry, dir)?;
        let redis = Backend::start(Kind::Redis, dir)?;
        let etc = dir.join("etc");
        std::fs::create_dir_all(&etc)?;
        let level = if verbose { "info" } else { "warn" };
        std::fs::write(etc.join("etc.toml"), settings(&registry, &redis, level))?;
        let (members, dead) = (BTreeMap::new(), Vec::new());
        let program = std::env::current_exe()?;
        let mut crew = Self { registry, redis, members, dir: etc, program, tell, dead };
        for name in NODES.into_iter().chain(GATES) {
            crew.spawn(name, Doors::default())?;
        }
        Ok(crew)
    }

    /// Starts a member, at these doors for clients if they are known; gives its process id.
    pub(super) fn spawn(&mut self, name: &'static str, doors: Doors) -> io::Result<u32> {
        let role = if GATES.contains(&name) { "gate" } else { "node" };
        let mut child = Command::new(&self.program)
            .args(["cluster", role, "--id", name])
            .arg("--etc")
            .arg(&self.dir)
            .arg(format!("--parent={}", std::process::id()))
            .args(same_doors(doors))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(output) = child.stdout.take() {
            self.read(name, output, true)?;
        }
        if let Some(errors) = child.stderr.take() {
            self.read(name, errors, false)?;
        }
        let pid = child.id();
        self.members.insert(name, Member { child, doors: None });
        Ok(pid)
    }

    /// Passes on what a child writes, on a thread that ends with it.
    fn read(
        &self,
        name: &'static str,
        input: impl Read + Send + 'static,
        is_output: bool,
    ) -> io::Result<()> {
        let tell = self.tell.clone();
        let thread = std::thread::Builder::new().name(format!("reads {name}"));
        thread.spawn(move || pass_on(name, input, is_output, &tell)).map(drop)
    }

    /// Notes where a member is.
    pub(super) fn placed(&mut self, name: &str, doors: Doors) {
        if let Some(member) = self.members.get_mut(name) {
            member.doors = Some(doors);
        }
    }

    /// Waits until a client is answered through each gate; false if somebody wants to stop meanwhile.
    pub(super) fn until_it_plays(
        &mut self,
        told: &Receiver<Told>,
        show: &mut dyn FnMut(&str, &str),
    ) -> io::Result<bool> {
        let mut waited = Duration::ZERO;
        loop {
            match told.recv_timeout(LOOK_EVERY) {
                Ok(Told::Line { name, text }) => show(&name, &text),
                Ok(Told::Signal) => return Ok(false),
                Ok(Told::Ready { name, place }) => self.placed(&name, place),
                // Whoever asks too early is left without an answer.
                Ok(Told::Asked(_)) => {}
                Err(RecvTimeoutError::Timeout) => {
                    waited = waited.saturating_add(LOOK_EVERY);
                    if self.plays()? {
                        return Ok(true);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(failed("nobody reads")),
            }
            if let Some(death) = self.deaths()?.first() {
                return Err(failed(death.text()));
            }
            if waited >= PLAYS_MAX {
                return Err(failed(format!("no client was answered within {PLAYS_MAX:?}")));
            }
        }
    }

    /// Whether every member is there and a client is answered through every gate.
    fn plays(&self) -> io::Result<bool> {
        let mut doors = Vec::new();
        for member in self.members.values() {
            match member.doors {
                Some(found) => doors.extend(found.tcp),
                None => return Ok(false),
            }
        }
        let asked = Clients::builder().call_max(Duration::from_secs(1)).run(async |clients| {
            for door in doors {
                let client = clients.connect(&door.to_string()).await.ok()?;
                client.call::<_, game::Echo>(game::ECHO, &game::Echo::default()).await.ok()?;
            }
            Some(())
        });
        Ok(asked.map_err(io::Error::other)?.is_some())
    }

    /// Who has died since the last look.
    pub(super) fn deaths(&mut self) -> io::Result<Vec<Death>> {
        let mut found = Vec::new();
        for (name, member) in &mut self.members {
            if let Some(status) = member.child.try_wait()? {
                let (name, pid) = ((*name).to_owned(), member.child.id());
                found.push(Death { name, pid, status: Some(status) });
            }
        }
        self.members.retain(|name, _| !found.iter().any(|death| death.name == *name));
        for backend in [&mut self.registry, &mut self.redis] {
            let kind = backend.kind();
            if !self.dead.contains(&kind) && backend.has_ended()? {
                self.dead.push(kind);
                let name = kind.program().to_owned();
                found.push(Death { name, pid: backend.pid(), status: None });
            }
        }
        Ok(found)
    }

    /// Starts somebody who died again.
    pub(super) fn again(&mut self, death: &Death) -> io::Result<()> {
        if let Some(name) = NODES.into_iter().chain(GATES).find(|name| *name == death.name) {
            return self.spawn(name, Doors::default()).map(drop);
        }
        for backend in [&mut self.registry, &mut self.redis] {
            if backend.kind().program() == death.name {
                backend.restart()?;
                self.dead.retain(|kind| *kind != backend.kind());
            }
        }
        Ok(())
    }

    /// Stops gates, then nodes, then what they stood on.
    pub(super) fn stop(mut self, say: &mut dyn FnMut(&str)) -> io::Result<()> {
        for name in GATES.into_iter().chain(NODES) {
            let Some(mut member) = self.members.remove(name) else { continue };
            say(name);
            end(&mut member.child)?;
        }
        say("Redis and the registry");
        self.redis.stop()?;
        self.registry.stop()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            // Its status is of no interest: it was killed.
            drop(self.child.wait());
        }
    }
}

/// Asks a child to end and waits; kills it if that takes too long.
fn end(child: &mut Child) -> io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    signal(child.id(), Signal::TERM)?;
    let mut waited = Duration::ZERO;
    while child.try_wait()?.is_none() {
        if waited >= END_MAX {
            child.kill()?;
            return child.wait().map(drop);
        }
        yumen_bench::backend::pass(LOOK_EVERY)?;
        waited = waited.saturating_add(LOOK_EVERY);
    }
    Ok(())
}

/// The settings of every gate and node.
fn settings(registry: &Backend, redis: &Backend, level: &str) -> String {
    let (name, at, redis) = (registry.kind().name(), registry.address(), redis.address());
    let addr = match registry.kind() {
        Kind::Consul => format!("addr = \"{at}\""),
        Kind::Etcd | Kind::Redis | Kind::RedisOfMany => format!("addrs = [\"{at}\"]"),
    };
    format!(
        "[yumen.registry]\nbackends = [\"{name}\"]\n\n[registry.{name}]\n{addr}\n\n\
         [locate.redis]\naddrs = [\"{redis}\"]\n\n\
         [cluster.gate]\naddr = \"127.0.0.1:0\"\n\n[cluster.node]\naddr = \"127.0.0.1:0\"\n\n\
         [log]\nlevel = \"{level}\"\nterminals = [\"console\"]\n"
    )
}

/// Passes a child's lines on until it closes them. One line of its output says where it is.
fn pass_on(name: &str, input: impl Read, is_output: bool, tell: &SyncSender<Told>) {
    let mut awaited = is_output;
    for line in BufReader::new(input).lines() {
        let Ok(text) = line else { return };
        let name = name.to_owned();
        let place = if awaited { serde_json::from_str(&text).ok() } else { None };
        let told = match place {
            Some(place) => {
                awaited = false;
                Told::Ready { name, place }
            }
            // The banner says nothing that the table does not.
            None if is_output && !is_log(&text) => continue,
            None => Told::Line { name, text },
        };
        if tell.send(told).is_err() {
            return;
        }
    }
}

/// Whether a line begins as those of the log do: with a level in capitals and a bracket.
fn is_log(line: &str) -> bool {
    let level = line.split('[').next().unwrap_or_default();
    !level.is_empty() && level != line && level.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::is_log;

    #[test]
    fn lines_of_the_log_are_told_from_the_banner() {
        assert!(is_log("WARN[2026/11/23 01:39:17.923661] program.rs:126 nobody is there"));
        for line in ["Gate ID: gate-1", "Gate Server: [tcp] 127.0.0.1:1", "[x]", "", "WARN"] {
            assert!(!is_log(line), "{line}");
        }
    }
}
