//! The virtual network: hosts by name, streams with delay, and what can go wrong with them.
//!
//! Bytes of one stream arrive in their order or not at all; nothing is ever invented or repeated. A
//! fault names hosts. Delays come from the dice of the network, so a seed repeats them.

mod stream;

use crate::trace::{Trace, note};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use stream::{End, Wire};
use tokio::sync::{Notify, mpsc};
use yumen_net::{
    env::{Clock, Dice, Env, Listener, LocalFuture, Net},
    socket::Socket,
    spawn::Spawn,
};

/// Connections that wait to be accepted; one more is refused.
const BACKLOG: usize = 1024;
/// First port that is given to who asks for any.
const FIRST_PORT: u16 = 20_000;

/// How long bytes travel, one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// At least so long. Default: 1 ms.
    pub min: Duration,
    /// Up to so much more, by the dice. Default: 4 ms.
    pub jitter: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self { min: Duration::from_millis(1), jitter: Duration::from_millis(4) }
    }
}

/// What a wall between two groups of hosts does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// Nothing passes, and nobody is told.
    BlackHole,
    /// As a black hole, but who dials is refused at once.
    Refuses,
}

/// One virtual network. Clones share it.
#[derive(Clone)]
pub struct Network(Rc<Inner>);

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("hosts", &self.0.hosts.borrow().len()).finish()
    }
}

struct Inner {
    dice: Dice,
    trace: Trace,
    delays: Cell<Delays>,
    hosts: RefCell<BTreeMap<Rc<str>, Host>>,
    walls: RefCell<Vec<(BTreeSet<Rc<str>>, Wall)>>,
    wires: RefCell<BTreeMap<u64, Rc<Wire>>>,
    next_wire: Cell<u64>,
    /// A wall fell or a host came back: those who dial look again.
    changed: Notify,
}

struct Host {
    ip: Ipv4Addr,
    /// The machine is gone: nothing answers for it.
    silent: bool,
    doors: BTreeMap<u16, mpsc::Sender<(Socket, SocketAddr)>>,
    next_port: u16,
}

impl Network {
    /// A network without hosts. Must be called in the runtime of the run.
    pub fn new(seed: u64, trace: &Trace) -> Self {
        Self(Rc::new(Inner {
            dice: Dice::seeded(seed),
            trace: trace.clone(),
            delays: Cell::default(),
            hosts: RefCell::default(),
            walls: RefCell::default(),
            wires: RefCell::default(),
            next_wire: Cell::new(1),
            changed: Notify::new(),
        }))
    }

    /// The environment of a process on the host of that name, which is added if it is new: shared
    /// network and time, own tasks, own dice.
    pub fn env(&self, host: &str) -> Env {
        let name = self.host(host);
        Env {
            clock: Clock::paused(),
            net: Rc::new(HostNet { net: self.clone(), name }),
            dice: Dice::seeded(self.0.dice.roll()),
            spawn: Spawn::default(),
        }
    }

    fn host(&self, name: &str) -> Rc<str> {
        let mut hosts = self.0.hosts.borrow_mut();
        if let Some((known, _)) = hosts.get_key_value(name) {
            return Rc::clone(known);
        }
        let number = u32::try_from(hosts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)).saturating_add(number));
        let name: Rc<str> = name.into();
        let host = Host { ip, silent: false, doors: BTreeMap::new(), next_port: FIRST_PORT };
        hosts.insert(Rc::clone(&name), host);
        name
    }

    /// How long bytes travel from now on; what is on its way keeps its time.
    pub fn set_delays(&self, delays: Delays) {
        note!(self.0.trace, "delays {delays:?}");
        self.0.delays.set(delays);
    }

    /// How long the next bytes travel.
    fn delay(&self) -> Duration {
        let Delays { min, jitter } = self.0.delays.get();
        let jitter = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
        min.saturating_add(Duration::from_millis(self.0.dice.below(jitter.saturating_add(1))))
    }

    /// Puts a wall around some hosts: between them and all others nothing passes. What is on its way
    /// waits, as TCP would send it again.
    pub fn wall(&self, hosts: &[&str], wall: Wall) {
        note!(self.0.trace, "wall {hosts:?} {wall:?}");
        let inside = hosts.iter().map(|name| self.host(name)).collect();
        self.0.walls.borrow_mut().push((inside, wall));
    }

    /// Takes every wall down. What waited arrives within half a second.
    pub fn heal(&self) {
        note!(self.0.trace, "heal");
        self.0.walls.borrow_mut().clear();
        let wires: Vec<_> = self.0.wires.borrow().values().cloned().collect();
        for wire in wires {
            wire.resume(Duration::from_millis(self.0.dice.below(500)));
        }
        self.0.changed.notify_waiters();
    }

    fn wall_between(&self, a: &Rc<str>, b: &Rc<str>) -> Option<Wall> {
        let walls = self.0.walls.borrow();
        let apart =
            |(inside, _): &&(BTreeSet<Rc<str>>, Wall)| inside.contains(a) != inside.contains(b);
        walls.iter().find(apart).map(|(_, wall)| *wall)
    }

    fn is_silent(&self, host: &Rc<str>) -> bool {
        self.0.hosts.borrow().get(host).is_some_and(|host| host.silent)
    }

    /// Whether nothing passes between two hosts now.
    fn is_cut(&self, a: &Rc<str>, b: &Rc<str>) -> bool {
        self.wall_between(a, b).is_some() || self.is_silent(a) || self.is_silent(b)
    }

    /// Breaks one stream between two hosts, chosen by the dice: both ends are reset, bytes on their way
    /// are lost. False if there is none.
    pub fn break_one(&self, a: &str, b: &str) -> bool {
        let wires: Vec<_> = {
            let all = self.0.wires.borrow();
            all.values().filter(|wire| wire.joins(a, b)).cloned().collect()
        };
        let count = u64::try_from(wires.len()).unwrap_or(u64::MAX);
        let Ok(chosen) = usize::try_from(self.0.dice.below(count)) else { return false };
        let Some(wire) = wires.get(chosen) else { return false };
        note!(self.0.trace, "break {}", wire.id);
        wire.reset();
        true
    }

    /// The process on a host is gone: its listeners with it, and its streams end for their peers. What
    /// the system had taken over still arrives, or by the dice does not.
    pub fn kill(&self, host: &str) {
        note!(self.0.trace, "kill {host}");
        self.end(host, false);
    }

    /// The machine is gone: nobody is told, nothing answers, until a process is started there again.
    pub fn vanish(&self, host: &str) {
        note!(self.0.trace, "vanish {host}");
        self.end(host, true);
    }

    fn end(&self, host: &str, silent: bool) {
        let name = self.host(host);
        let doors = match self.0.hosts.borrow_mut().get_mut(&name) {
            Some(host) => {
                host.silent = silent;
                std::mem::take(&mut host.doors)
            }
            None => BTreeMap::new(),
        };
        let wires: Vec<_> = self.0.wires.borrow().values().cloned().collect();
        for wire in wires.iter().filter(|wire| wire.touches(&name)) {
            if silent {
                wire.abandon(&name);
            } else {
                let keeps = self.0.dice.below(2) == 0;
                wire.leave(&name, keeps, self.delay());
            }
        }
        drop(doors);
        self.0.wires.borrow_mut().retain(|_, wire| !wire.is_over());
    }

    /// The machine of a host answers again.
    pub fn restore(&self, host: &str) {
        let name = self.host(host);
        if let Some(host) = self.0.hosts.borrow_mut().get_mut(&name) {
            host.silent = false;
        }
        note!(self.0.trace, "restore {host}");
        let wires: Vec<_> = self.0.wires.borrow().values().cloned().collect();
        for wire in wires.iter().filter(|wire| wire.touches(&name)) {
            wire.disown(&name, self.delay());
        }
        self.0.changed.notify_waiters();
    }

    /// Streams that are not closed by both ends.
    pub fn streams(&self) -> usize {
        self.0.wires.borrow().len()
    }

    /// The host and port that an address means.
    fn resolve(&self, addr: &str) -> Option<(Rc<str>, u16)> {
        let (host, port) = addr.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let hosts = self.0.hosts.borrow();
        if let Some((name, _)) = hosts.get_key_value(host) {
            return Some((Rc::clone(name), port));
        }
        let ip: IpAddr = host.parse().ok()?;
        let found = hosts.iter().find(|(_, host)| IpAddr::V4(host.ip) == ip);
        found.map(|(name, _)| (Rc::clone(name), port))
    }

    /// Waits until something from `a` reaches `b`.
    async fn travel(&self, a: &Rc<str>, b: &Rc<str>) -> io::Result<()> {
        tokio::time::sleep(self.delay()).await;
        loop {
            let changed = self.0.changed.notified();
            match self.wall_between(a, b) {
                Some(Wall::Refuses) => return Err(io::ErrorKind::ConnectionRefused.into()),
                None if !self.is_silent(a) && !self.is_silent(b) => return Ok(()),
                Some(Wall::BlackHole) | None => changed.await,
            }
        }
    }

    async fn dial(&self, from: &Rc<str>, addr: &str) -> io::Result<Socket> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("no host has {addr}"));
        let (to, port) = self.resolve(addr).ok_or_else(unknown)?;
        self.travel(from, &to).await?;
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (door, mine) = {
            let mut hosts = self.0.hosts.borrow_mut();
            let door = hosts.get(&to).and_then(|host| host.doors.get(&port)).cloned();
            let me = hosts.get_mut(from).ok_or_else(refused)?;
            me.next_port = me.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            (door, SocketAddr::from((me.ip, me.next_port)))
        };
        let Some(door) = door else {
            note!(self.0.trace, "refused {from} {to}:{port}");
            self.travel(&to, from).await?;
            return Err(refused());
        };
        let id = self.0.next_wire.get();
        self.0.next_wire.set(id.saturating_add(1));
        note!(self.0.trace, "dial {id} {from} {to}:{port}");
        let wire = Rc::new(Wire::new(id, [Rc::clone(from), Rc::clone(&to)]));
        self.0.wires.borrow_mut().insert(id, Rc::clone(&wire));
        let end = |side| Socket::Virtual(Box::new(End::new(self, &wire, side)));
        let (near, far) = (end(0), end(1));
        door.try_send((far, mine)).map_err(|_| refused())?;
        self.travel(&to, from).await?;
        Ok(near)
    }
}

/// The network as one host has it.
struct HostNet {
    net: Network,
    name: Rc<str>,
}

impl Net for HostNet {
    fn listen<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let port = addr.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let mut port: u16 = port.ok_or(io::ErrorKind::InvalidInput)?;
            let (tx, waiting) = mpsc::channel(BACKLOG);
            let mut hosts = self.net.0.hosts.borrow_mut();
            let host = hosts.get_mut(&self.name).ok_or(io::ErrorKind::AddrNotAvailable)?;
            if port == 0 {
                host.next_port = host.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                port = host.next_port;
            }
            if host.doors.contains_key(&port) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            host.doors.insert(port, tx.clone());
            let addr = SocketAddr::from((host.ip, port));
            note!(self.net.0.trace, "listen {} {port}", self.name);
            let (net, name) = (self.net.clone(), Rc::clone(&self.name));
            let listener: Box<dyn Listener> =
                Box::new(HostListener { net, name, addr, tx, waiting });
            Ok(listener)
        })
    }

    fn dial<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Socket>> {
        Box::pin(self.net.dial(&self.name, addr))
    }
}

struct HostListener {
    net: Network,
    name: Rc<str>,
    addr: SocketAddr,
    tx: mpsc::Sender<(Socket, SocketAddr)>,
    waiting: mpsc::Receiver<(Socket, SocketAddr)>,
}

impl Listener for HostListener {
    fn addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn accept(&mut self) -> LocalFuture<'_, io::Result<(Socket, SocketAddr)>> {
        Box::pin(async {
            // It holds a sender itself, so the channel never ends.
            self.waiting.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
        })
    }
}

impl Drop for HostListener {
    fn drop(&mut self) {
        let mut hosts = self.net.0.hosts.borrow_mut();
        let Some(host) = hosts.get_mut(&self.name) else { return };
        let port = self.addr.port();
        // After a restart the port belongs to another process.
        if host.doors.get(&port).is_some_and(|door| door.same_channel(&self.tx)) {
            host.doors.remove(&port);
        }
    }
}

#[cfg(test)]
mod tests;
