//! Starts the fleet and its clients, does what the plan says, and writes down what it did and when.
//!
//! It looks at the size of every process once a second, and never at what the clients see.
use super::clients::Look;
use super::lines::Lines;
use super::plan::{ETCD, GATES, How, LINKS, NODES, REDIS, Step, is_redis_server};
use super::redis;
use super::sheet::Sheet;
use super::{CLIENTS_LOG, EVENTS_LOG};
use crate::backend::{Backend, Kind, Scratch, Signal, signal};
use crate::poll;
use crate::process::{Server, anonymous_memory, descriptors};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for an answer of a child.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait until all clients have entered, at the start.
const ENTER_MAX: Duration = Duration::from_secs(60);
/// All clients have gone home within this time.
const SETTLE: Duration = Duration::from_secs(4);
/// Between two questions whether a new process is ready.
const READY_EVERY: Duration = Duration::from_millis(100);
/// Longest wait until a new process is ready.
const READY_MAX: Duration = Duration::from_secs(45);
/// Longest stop of a process that is replaced.
const STOP_MAX: Duration = Duration::from_secs(45);
/// Where they roam, a client is at a gate for so many milliseconds on average.
const ROAM_MS: u32 = 10_000;
/// All play undisturbed for so long before the first fault and behind the last.
const UNDISTURBED: Duration = Duration::from_secs(6);

/// What is asked for.
pub(crate) struct Run<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) steps: Vec<Step>,
    pub(crate) clients: u32,
    pub(crate) one_process: bool,
    /// How much longer an answer takes on every line between two processes; they can be cut then.
    pub(crate) slow: Option<Duration>,
}

/// Everything that runs.
struct World<'a> {
    run: &'a Run<'a>,
    /// Where users' counts are kept between nodes; only in runs of rolls.
    saves: Option<PathBuf>,
    /// etcd and Redis, by name; none in one process.
    backends: BTreeMap<&'static str, Backend>,
    /// Gates and nodes, by id; in one process all of them are one.
    servers: BTreeMap<&'static str, Server>,
    clients: Server,
    /// What lies between them, if it is slow.
    lines: Option<Lines>,
    events: Sheet,
    /// Who was killed and not yet started again.
    killed: Option<&'static str>,
}

/// Does it all.
///
/// # Errors
/// A server that is missing or does not start, clients that do not enter, and those of the system.
pub(crate) fn run(run: &Run<'_>, say: &mut dyn FnMut(&str)) -> io::Result<()> {
    clear(run.dir)?;
    let scratch = Scratch::new("yumen-chaos")?;
    let mut world = World::start(run, scratch.path())?;
    world.until_all_entered()?;
    say(&format!("{} clients play", run.clients));
    world.event("ready", &run.clients.to_string())?;
    world.pass(UNDISTURBED)?;
    world.count_keys()?;
    if !run.one_process {
        for step in &run.steps {
            world.step(step, say)?;
        }
        if world.saves.is_some() {
            // Sizes are compared with those of the beginning: everybody plays where it began.
            world.send_home("all", SETTLE)?;
        }
    }
    world.pass(UNDISTURBED)?;
    world.count_keys()?;
    world.stop()
}

impl<'a> World<'a> {
    fn start(run: &'a Run<'a>, scratch: &Path) -> io::Result<Self> {
        let mut backends = BTreeMap::new();
        let fails_over = run.steps.iter().any(|step| is_redis_server(step.who));
        if fails_over && run.slow.is_some() {
            let text = "the servers of a Redis Cluster are not behind slow lines";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        if !run.one_process {
            backends.insert(ETCD, Backend::start(Kind::Etcd, scratch)?);
            if fails_over {
                backends.extend(redis::start(scratch)?);
            } else {
                backends.insert(REDIS, Backend::start(Kind::Redis, scratch)?);
            }
        }
        let lines = run.slow.map(|slow| Lines::start(run.dir, slow)).transpose()?;
        let log = run.dir.join(CLIENTS_LOG);
        let clients = child(
            run.dir,
            "clients",
            &[
                "chaos-clients".to_owned(),
                format!("--clients={}", run.clients),
                format!("--log={}", log.display()),
                // What fails over is what claims are made at.
                format!("--roam-ms={}", if fails_over { ROAM_MS } else { 0 }),
            ],
        )?;
        let events = Sheet::create(&run.dir.join(EVENTS_LOG))?;
        let rolls = run.steps.iter().any(|step| step.how == How::Roll);
        let saves = rolls.then(|| scratch.join("saves"));
        saves.iter().try_for_each(std::fs::create_dir)?;
        let servers = BTreeMap::new();
        let mut world =
            Self { run, saves, backends, servers, clients, lines, events, killed: None };
        if run.one_process {
            world.serve_all()?;
        } else {
            world.serve_fleet()?;
        }
        Ok(world)
    }

    /// Starts all gates and nodes, each in a process of its own.
    fn serve_fleet(&mut self) -> io::Result<()> {
        // A gate that begins after the nodes have registered knows them before it lets anybody in.
        NODES.into_iter().try_for_each(|name| self.launch(name).map(drop))?;
        NODES.into_iter().try_for_each(|name| self.until_ready(name))?;
        let mut launched = Vec::new();
        for name in GATES {
            launched.push((name, self.launch(name)?));
        }
        GATES.into_iter().try_for_each(|name| self.until_ready(name))?;
        // All at once, so that nobody begins away from home.
        launched.into_iter().try_for_each(|(name, address)| self.introduce(name, address))
    }

    /// Starts a gate or a node, and tells the clients of a gate.
    fn serve(&mut self, name: &'static str) -> io::Result<()> {
        let address = self.launch(name)?;
        if GATES.contains(&name) { self.introduce(name, address) } else { Ok(()) }
    }

    /// Starts a gate or a node in a process of its own; where clients connect.
    fn launch(&mut self, name: &'static str) -> io::Result<SocketAddr> {
        let role = if GATES.contains(&name) { "gate" } else { "node" };
        let mut arguments =
            vec!["chaos-serve".to_owned(), format!("--{role}={name}"), "--fleet".to_owned()];
        // etcd comes before Redis by name.
        for (who, backend) in &self.backends {
            let address = match &mut self.lines {
                Some(lines) => lines.to(who, backend.address())?,
                None => backend.address(),
            };
            arguments.push(address.to_string());
        }
        if let Some(lines) = &mut self.lines {
            let (near, far) = lines.end(name)?;
            arguments.extend([format!("--link={far}"), format!("--advertise={near}")]);
        }
        arguments.extend(self.saves.iter().map(|dir| format!("--saves={}", dir.display())));
        let server = child(self.run.dir, name, &arguments)?;
        let address = server.address();
        self.servers.insert(name, server);
        self.event("start", name)?;
        Ok(address)
    }

    /// Starts all gates and nodes in one process.
    fn serve_all(&mut self) -> io::Result<()> {
        let mut arguments = vec!["chaos-serve".to_owned()];
        arguments.extend(NODES.iter().map(|id| format!("--node={id}")));
        arguments.extend(GATES.iter().map(|id| format!("--gate={id}")));
        let mut server = child(self.run.dir, "all", &arguments)?;
        let addresses: Vec<SocketAddr> =
            serde_json::from_str(&server.ask("addresses", ANSWER_MAX)?)?;
        self.servers.insert("all", server);
        GATES.into_iter().zip(addresses).try_for_each(|(name, at)| self.introduce(name, at))
    }

    /// Tells the clients of a gate.
    fn introduce(&mut self, name: &str, address: SocketAddr) -> io::Result<()> {
        self.clients.ask(&format!("gate {name} {address}"), ANSWER_MAX).map(drop)
    }

    fn until_all_entered(&mut self) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let look: Look = serde_json::from_str(&self.clients.ask("look", ANSWER_MAX)?)?;
            if look.entered == u64::from(self.run.clients) {
                return Ok(());
            }
            if waited > ENTER_MAX {
                let Look { open, entered } = look;
                let text = format!("{open} clients are connected and {entered} have entered");
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            poll::pass(LOOK_EVERY)?;
            waited = waited.saturating_add(LOOK_EVERY);
        }
    }

    /// One fault, and its end.
    fn step(&mut self, step: &Step, say: &mut dyn FnMut(&str)) -> io::Result<()> {
        let Step { who, how, outage, calm } = step;
        if *how == How::Roll {
            return self.replace(who, *calm, say);
        }
        say(&format!("{how:?} {who} for {} s", outage.as_secs()));
        match how {
            How::Kill => {
                self.event("kill", who)?;
                self.killed = Some(*who);
                if let Some(backend) = self.backends.get_mut(who) {
                    backend.kill()?;
                }
                // A server that is dropped is killed.
                drop(self.servers.remove(who));
            }
            How::Stop => {
                self.event("stop", who)?;
                signal(self.pid(who)?, Signal::STOP)?;
            }
            How::Roll => {}
            How::Cut => {
                self.event("cut", who)?;
                self.set_lines(who, false)?;
            }
        }
        self.pass(*outage)?;
        match how {
            How::Kill => {
                self.killed = None;
                match self.backends.get_mut(who) {
                    Some(backend) => {
                        backend.restart()?;
                        self.event("start", who)?;
                    }
                    None => self.serve(who)?,
                }
            }
            How::Stop => {
                signal(self.pid(who)?, Signal::CONT)?;
                self.event("cont", who)?;
            }
            How::Roll => {}
            How::Cut => {
                self.set_lines(who, true)?;
                self.event("mend", who)?;
            }
        }
        // Where nobody was reached, clients look elsewhere until they have given up once more.
        let settle = if *how == How::Cut { LOOK_EVERY.saturating_mul(3) } else { LOOK_EVERY };
        let settle = settle.min(*calm);
        self.pass(settle)?;
        // Whoever found its node silent may have tried another gate.
        self.send_home(who, calm.saturating_sub(settle))
    }

    /// Tells all clients to go back to the gate that is their home.
    fn send_home(&mut self, who: &str, calm: Duration) -> io::Result<()> {
        self.event("home", who)?;
        self.clients.ask("home", ANSWER_MAX)?;
        self.pass(calm)
    }

    /// An update of one process: it is told to stop, and another takes its place.
    fn replace(
        &mut self,
        who: &'static str,
        calm: Duration,
        say: &mut dyn FnMut(&str),
    ) -> io::Result<()> {
        say(&format!("Roll {who}"));
        self.event("roll", who)?;
        let Some(server) = self.servers.remove(who) else { return Err(ErrorKind::NotFound.into()) };
        server.stop_within(STOP_MAX)?;
        self.serve(who)?;
        self.until_ready(who)?;
        self.event("ready-again", who)?;
        self.pass(calm)
    }

    /// Waits until a gate or a node serves and is registered.
    fn until_ready(&mut self, who: &str) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        while !self.is_ready(who)? {
            if waited >= READY_MAX {
                let log = self.run.dir.join(who).with_extension("log");
                let text = format!("{who} is not ready after {READY_MAX:?}: see {}", log.display());
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            poll::pass(READY_EVERY)?;
            waited = waited.saturating_add(READY_EVERY);
        }
        Ok(())
    }

    fn is_ready(&mut self, who: &str) -> io::Result<bool> {
        let server = self.servers.get_mut(who).ok_or(ErrorKind::NotFound)?;
        Ok(server.ask("ready", ANSWER_MAX)?.trim() == "true")
    }

    /// Cuts or mends the lines to a process, or all between gates and nodes.
    fn set_lines(&self, who: &str, is_whole: bool) -> io::Result<()> {
        let none = || io::Error::new(ErrorKind::InvalidInput, "lines are cut with --slow only");
        let lines = self.lines.as_ref().ok_or_else(none)?;
        if who == LINKS {
            let all: Vec<_> = GATES.into_iter().chain(NODES).collect();
            return lines.set(&all, is_whole);
        }
        lines.set(&[who], is_whole)
    }

    fn pid(&self, who: &str) -> io::Result<u32> {
        let backend = self.backends.get(who).map(Backend::pid);
        backend.or_else(|| self.servers.get(who).map(Server::pid)).ok_or(ErrorKind::NotFound.into())
    }

    /// Lets time pass, and looks at all of them meanwhile.
    fn pass(&mut self, time: Duration) -> io::Result<()> {
        let mut left = time;
        while !left.is_zero() {
            let part = left.min(LOOK_EVERY);
            poll::pass(part)?;
            left = left.saturating_sub(part);
            let mut died = Vec::new();
            let mut alive = vec![("clients", self.clients.pid())];
            for (name, server) in &mut self.servers {
                if server.has_ended()? {
                    died.push(*name);
                } else {
                    alive.push((*name, server.pid()));
                }
            }
            for (name, backend) in &mut self.backends {
                if self.killed == Some(*name) {
                    continue;
                }
                if backend.has_ended()? {
                    return Err(io::Error::other(format!("{name} ended by itself")));
                }
                alive.push((*name, backend.pid()));
            }
            for (name, pid) in alive {
                self.look(name, pid)?;
            }
            for name in died {
                self.servers.remove(name);
                self.event("died", name)?;
            }
            self.events.flush()?;
        }
        Ok(())
    }

    /// Writes down how many keys the locator holds. Call it while Redis answers.
    fn count_keys(&self) -> io::Result<()> {
        let of_redis = self.backends.iter().filter(|(name, _)| **name != ETCD);
        match redis::keys(of_redis.map(|(_, backend)| backend))? {
            0 => Ok(()),
            keys => self.event("keys", &keys.to_string()),
        }
    }

    /// Writes down how large a process is.
    fn look(&self, name: &str, pid: u32) -> io::Result<()> {
        let (memory, open) = (anonymous_memory(pid)?, descriptors(pid)?);
        self.events.line(format_args!("usage {name} {pid} {memory} {open}"))
    }

    fn event(&self, what: &str, who: &str) -> io::Result<()> {
        self.events.line(format_args!("{what} {who}"))?;
        self.events.flush()
    }

    /// Ends the clients first, then gates, then nodes, then what they stood on.
    fn stop(self) -> io::Result<()> {
        self.event("end", "all")?;
        let Self { backends, servers, clients, events, .. } = self;
        clients.stop()?;
        // Gates come before nodes by name.
        for (name, server) in servers {
            if server.stop().is_err() {
                events.line(format_args!("stuck {name}"))?;
            }
        }
        events.flush()?;
        backends.into_values().try_for_each(Backend::stop)
    }
}

/// Makes the directory, without the logs of an earlier run.
fn clear(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "log") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A child of this program, with its own log file in `dir` for what it says.
fn child(dir: &Path, name: &str, arguments: &[String]) -> io::Result<Server> {
    let log =
        File::options().create(true).append(true).open(dir.join(name).with_extension("log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench").args(arguments);
    command.arg(format!("--parent={}", std::process::id())).stderr(log);
    // Huge pages would round its memory up to 2 MiB steps. Known to mimalloc, ignored by others.
    command.env("MIMALLOC_ALLOW_THP", "0");
    Server::spawn(command)
}
