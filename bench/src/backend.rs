//! etcd or Consul, and Redis, for a run: found on the PATH, on free ports of this machine, and gone with the run.
//!
//! They never outlive the process that started them, also when that is killed: each is started through
//! [`leashed`], so that the kernel ends it. Redis and Consul keep nothing; etcd keeps its data in the directory it
//! is given, so a second life knows what the first one knew.
use crate::poll;
use rustix::process::{Pid, getppid, kill_process, set_parent_process_death_signal};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use yumen::cluster::Cluster;
use yumen::settings::Settings;
use yumen_plugins::{redis::RedisLocator, registries};

pub use rustix::process::Signal;

/// Longest wait for a server to serve.
const READY_MAX: Duration = Duration::from_secs(20);
/// Between two looks whether it does.
const READY_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for an answer to one look.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest wait for its end before it is killed.
const END_MAX: Duration = Duration::from_secs(5);
/// Who is silent for so many milliseconds has failed, for the other servers of a Redis Cluster.
const REDIS_SILENT_MS: u32 = 2_000;
/// Another port is tried where somebody was faster.
const PORTS_MAX: usize = 5;

/// A server that instances need beside themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A registry.
    Etcd,
    /// The other registry.
    Consul,
    /// The locator.
    Redis,
    /// One server of the locator on several: alone it knows of no other.
    RedisOfMany,
}

impl Kind {
    /// What its program is called on the PATH.
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Consul => "consul",
            Self::Redis | Self::RedisOfMany => "redis-server",
        }
    }

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd | Self::Consul => self.program(),
            Self::Redis | Self::RedisOfMany => "redis",
        }
    }

    /// The command that installs it on Debian and what descends from it.
    pub fn install(self) -> &'static str {
        match self {
            Self::Etcd => "apt-get install -y etcd-server",
            // Debian has none; the repository builds one for its tests.
            Self::Consul => "cargo xtask up consul && export PATH=$PATH:$PWD/target/servers",
            Self::Redis | Self::RedisOfMany => "apt-get install -y redis-server",
        }
    }

    /// Where its program is; `None` if it is on no directory of the PATH.
    pub fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(self.program())).find(|file| file.is_file())
    }

    /// Beside its own port two more that are free, for the one that needs them.
    fn arguments(self, dir: &Path, port: u16, [server, gossip]: [u16; 2]) -> Vec<OsString> {
        let url = format!("http://127.0.0.1:{port}");
        let words = match self {
            Self::Etcd => vec![
                format!("--data-dir={}", dir.join("etcd").display()),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                // Nobody joins it: its peers' port is the system's choice.
                "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            ],
            Self::Consul => vec![
                "-dev".to_owned(),
                "-bind=127.0.0.1".to_owned(),
                "-client=127.0.0.1".to_owned(),
                format!("-http-port={port}"),
                format!("-server-port={}", server),
                format!("-serf-lan-port={}", gossip),
                "-serf-wan-port=-1".to_owned(),
                "-dns-port=-1".to_owned(),
                "-grpc-port=-1".to_owned(),
                "-log-level=warn".to_owned(),
            ],
            Self::Redis | Self::RedisOfMany => vec![
                "--bind".to_owned(),
                "127.0.0.1".to_owned(),
                "--port".to_owned(),
                port.to_string(),
                "--appendonly".to_owned(),
                "no".to_owned(),
                "--save".to_owned(),
                String::new(),
                "--dir".to_owned(),
                dir.display().to_string(),
            ],
        };
        let many = [
            format!("--cluster-enabled yes --cluster-port {gossip}"),
            format!("--cluster-node-timeout {REDIS_SILENT_MS}"),
            // A copy without a file, at once.
            "--repl-diskless-sync yes --repl-diskless-sync-delay 0".to_owned(),
        ];
        let many = many.iter().filter(|_| self == Self::RedisOfMany);
        let many = many.flat_map(|words| words.split(' ')).map(OsString::from);
        words.into_iter().map(OsString::from).chain(many).collect()
    }

    /// Whether it answers at `address` and is healthy.
    fn serves(self, address: SocketAddr) -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let (question, answer): (&[u8], &[u8]) = match self {
            Self::Etcd => (b"GET /health HTTP/1.0\r\n\r\n", b"\"health\":\"true\""),
            // Its leader has registered its own node: before that no service is listed.
            Self::Consul => (b"GET /v1/catalog/nodes HTTP/1.0\r\n\r\n", b"\"Datacenter\""),
            Self::Redis | Self::RedisOfMany => (b"PING\r\n", b"+PONG"),
        };
        stream.write_all(question)?;
        let mut seen = Vec::new();
        let mut part = [0_u8; 512];
        loop {
            let len = stream.read(&mut part)?;
            seen.extend_from_slice(part.get(..len).unwrap_or_default());
            let found = seen.windows(answer.len()).any(|window| window == answer);
            if found || len == 0 {
                return Ok(found);
            }
        }
    }
}

/// A server that was started here; killed when dropped.
#[derive(Debug)]
pub struct Backend {
    kind: Kind,
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    /// Further ones, for those that need them.
    more: [u16; 2],
    child: Child,
}

impl Backend {
    /// Starts it on a free port with `dir` for its data and its log, and waits until it serves.
    ///
    /// # Errors
    /// `NotFound` if it is not on the PATH; `TimedOut` if it does not serve within 20 s; those of the
    /// system.
    pub fn start(kind: Kind, dir: &Path) -> io::Result<Self> {
        let program = kind.find().ok_or_else(|| missing(kind))?;
        let mut last = io::Error::from(ErrorKind::AddrInUse);
        for _ in 0..PORTS_MAX {
            let port = free_port()?;
            let more = free_ports()?;
            let child = spawn(kind, &program, dir, (port, more))?;
            let (program, dir) = (program.clone(), dir.to_owned());
            let mut backend = Self { kind, program, dir, port, more, child };
            match backend.wait_until_it_serves() {
                Ok(()) => return Ok(backend),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts it again on the port it had, and waits until it serves. Call it once the life before is
    /// over.
    ///
    /// # Errors
    /// As [`Backend::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(self.kind, &self.program, &self.dir, (self.port, self.more))?;
        self.wait_until_it_serves()
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// Those of the system.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// How many keys Redis holds.
    ///
    /// # Errors
    /// `InvalidData` from anything but Redis; those of the system.
    pub fn keys(&self) -> io::Result<u64> {
        let line = self.ask_redis("DBSIZE")?;
        let count = line.strip_prefix(':').and_then(|count| count.parse().ok());
        count.ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// The port at which servers of one Redis Cluster talk to each other.
    pub(crate) fn gossip(&self) -> u16 {
        self.more[1]
    }

    /// What Redis answers to a command: the line that holds it.
    ///
    /// # Errors
    /// `Other` with its words, if it refuses; those of the system.
    pub(crate) fn ask_redis(&self, command: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address(), ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let (mut reader, mut line) = (BufReader::new(stream), String::new());
        reader.read_line(&mut line)?;
        if let Some(len) = line.strip_prefix('$') {
            let len = len.trim_end().parse().map_err(|_| ErrorKind::InvalidData)?;
            line.clear();
            reader.take(len).read_to_string(&mut line)?;
        }
        if line.starts_with('-') {
            return Err(io::Error::other(format!("Redis refused {command}: {}", line.trim_end())));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Kills it at once and waits for its end.
    ///
    /// # Errors
    /// Those of the system.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks it to end, and kills it after five seconds.
    ///
    /// # Errors
    /// Those of the system.
    pub fn stop(mut self) -> io::Result<()> {
        signal(self.pid(), Signal::TERM)?;
        let mut waited = Duration::ZERO;
        while self.child.try_wait()?.is_none() {
            if waited >= END_MAX {
                return self.kill();
            }
            poll::pass(READY_EVERY)?;
            waited = waited.saturating_add(READY_EVERY);
        }
        Ok(())
    }

    fn wait_until_it_serves(&mut self) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        while waited < READY_MAX {
            if let Some(status) = self.child.try_wait()? {
                let log = self.dir.join(self.kind.program()).with_extension("log");
                let text =
                    format!("{} ended with {status}; see {}", self.kind.program(), log.display());
                return Err(io::Error::other(text));
            }
            // Refused connections are what waiting is about.
            if self.kind.serves(self.address()).unwrap_or(false) {
                return Ok(());
            }
            poll::pass(READY_EVERY)?;
            waited = waited.saturating_add(READY_EVERY);
        }
        let text = format!("{} does not serve at {}", self.kind.program(), self.address());
        Err(io::Error::new(ErrorKind::TimedOut, text))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            // Its status is of no interest: it was killed.
            drop(self.child.wait());
        }
    }
}

fn missing(kind: Kind) -> io::Error {
    let text =
        format!("{} is not on the PATH; install it with:\n  {}", kind.program(), kind.install());
    io::Error::new(ErrorKind::NotFound, text)
}

fn spawn(
    kind: Kind,
    program: &Path,
    dir: &Path,
    (port, more): (u16, [u16; 2]),
) -> io::Result<Child> {
    let log = dir.join(kind.program()).with_extension("log");
    let log = File::options().create(true).append(true).open(log)?;
    leashed(program)?
        .args(kind.arguments(dir, port, more))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(free_listener()?.local_addr()?.port())
}

/// Two more that differ.
fn free_ports() -> io::Result<[u16; 2]> {
    let held = [free_listener()?, free_listener()?];
    let [one, other] = held.each_ref().map(|held| held.local_addr());
    Ok([one?.port(), other?.port()])
}

fn free_listener() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// A command that becomes `program`, and that the kernel kills when this process ends. Its arguments
/// are added behind. Call it on a thread that lives as long as this process: the main thread.
///
/// # Errors
/// If this program does not know where it is.
pub fn leashed(program: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "leash"]).arg(std::process::id().to_string()).arg(program);
    Ok(command)
}

/// Has the kernel kill this process when its parent ends: also one that is stopped by a signal and
/// cannot see the end of its input.
///
/// # Errors
/// `BrokenPipe` if the parent is gone already; those of the system.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    if getppid() == parent { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) }
}

/// Becomes `program`; see [`leashed`]. Returns only if that failed.
pub(crate) fn become_leashed(parent: u32, program: &OsString, arguments: &[OsString]) -> io::Error {
    match die_with_parent(parent) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

/// A cluster of processes on the registry and the Redis of the settings: all that a program says to run in
/// one instead of alone.
///
/// # Errors
/// Everything that is wrong with `yumen.registry.*`, what it names, `locate.redis.*` and `yumen.locator.*`.
pub fn cluster(settings: &Settings) -> io::Result<Cluster> {
    let wrong = |problems: Vec<String>| io::Error::other(problems.join("\n"));
    let registry = registries::from_settings(settings).map_err(wrong)?;
    let locator = RedisLocator::from_settings(settings).map_err(wrong)?;
    Ok(Cluster::new(registry, locator))
}

/// Sends a signal to a process that this one started.
///
/// # Errors
/// Those of the system.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, signal)?)
}

/// Lets time pass. For whoever waits for another process, not for events of its own.
///
/// # Errors
/// Those of the system.
pub fn pass(time: Duration) -> io::Result<()> {
    poll::pass(time)
}

/// A directory below the system's one for such, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes `NAME-PID` there.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it is the system's to clean: nobody can act on it here.
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_is_gone_with_its_value() {
        let scratch = Scratch::new("yumen-scratch-test").unwrap();
        let path = scratch.path().to_owned();
        std::fs::write(path.join("x"), "y").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn whoever_lacks_a_server_is_told_the_command_that_installs_it() {
        for kind in [Kind::Etcd, Kind::Consul, Kind::Redis] {
            let text = missing(kind).to_string();
            assert!(text.contains(kind.program()) && text.contains(kind.install()), "{text}");
        }
    }

    #[test]
    fn a_stranger_is_not_the_parent() {
        assert_eq!(die_with_parent(1).unwrap_err().kind(), ErrorKind::BrokenPipe);
        set_parent_process_death_signal(None).unwrap();
    }
}
