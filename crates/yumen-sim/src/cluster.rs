//! Instances on hosts of their own: each a process with its own cluster value, stores and tasks.
//!
//! What one host and another exchange goes over the virtual network; nothing else is shared.

use crate::{
    net::Network,
    stores::{HostStores, Stores},
    trace::{Trace, note},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
    time::Duration,
};
use yumen_cluster::{
    app::Part,
    client,
    cluster::Cluster,
    instance::{InstanceError, Stop},
    testing::{Held, Hosted, Probe, members},
};
use yumen_core::{
    locator::Incarnation,
    watch::{Watch, WatchSender},
};
use yumen_mesh::{Flaw, Neighbours};
use yumen_net::{
    env::{Dice, Env},
    spawn::Spawn,
};

/// What a component is made from, at each start of its process.
pub struct Boot {
    /// The cluster as this process has it.
    pub cluster: Cluster,
    /// Its host; also the address at which it is reached.
    pub host: String,
    /// Which process of its host this is, from 1.
    pub number: u64,
    /// The life that the instance believes in.
    pub life: Watch<Incarnation>,
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.host, self.number)
    }
}

type Make = Rc<dyn Fn(&Boot) -> Part>;

/// A whole cluster on a virtual network. See the crate.
pub struct Sim {
    seed: u64,
    trace: Trace,
    dice: Dice,
    net: Network,
    stores: Stores,
    world: Spawn,
    flaw: Cell<Flaw>,
    hosts: RefCell<BTreeMap<String, Host>>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).finish_non_exhaustive()
    }
}

struct Host {
    make: Make,
    live: Option<Live>,
    boots: u64,
}

struct Live {
    hosted: Vec<Hosted>,
    probe: Probe,
    is_paused: Cell<bool>,
    stores: HostStores,
}

impl Sim {
    /// Runs `test` in virtual time, with a network and stores of that seed. `is_kept` keeps the trace as
    /// text.
    ///
    /// # Panics
    /// As `test` does, or if no runtime can be made.
    #[expect(clippy::expect_used, reason = "for tests")]
    pub fn run<T>(seed: u64, is_kept: bool, test: impl AsyncFnOnce(&Rc<Self>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .expect("a runtime for the test");
        runtime.block_on(async {
            let sim = Rc::new(Self::new(seed, is_kept));
            let result = test(&sim).await;
            sim.world.abort_all();
            sim.world.idle().await;
            result
        })
    }

    fn new(seed: u64, is_kept: bool) -> Self {
        let (trace, dice) = (Trace::new(is_kept), Dice::seeded(seed));
        let net = Network::new(dice.roll(), &trace);
        let stores = Stores::new(dice.roll(), &trace);
        let (world, running) = (Spawn::default(), stores.clone());
        world.local(async move { running.run().await });
        let (flaw, hosts) = (Cell::default(), RefCell::default());
        Self { seed, trace, dice, net, stores, world, flaw, hosts }
    }

    /// The network between the hosts.
    pub fn net(&self) -> &Network {
        &self.net
    }

    /// Registry and locator.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The dice of the run, for the test's own choices.
    pub fn dice(&self) -> &Dice {
        &self.dice
    }

    /// Leaves a defence of the links out, in every process that is started from now on.
    #[doc(hidden)]
    pub fn set_flaw(&self, flaw: Flaw) {
        self.flaw.set(flaw);
    }

    /// Starts a component on a host of its own, and waits for nothing. `make` is called again whenever
    /// the process is started again; a gate is made with `build_unbound`.
    pub fn start(&self, host: &str, make: impl Fn(&Boot) -> Part + 'static) {
        let entry = Host { make: Rc::new(make), live: None, boots: 0 };
        self.hosts.borrow_mut().insert(host.to_owned(), entry);
        self.restart(host);
    }

    /// Starts the process of a host again, if it does not run.
    pub fn restart(&self, host: &str) {
        let make = {
            let hosts = self.hosts.borrow();
            let known = hosts.get(host).filter(|known| known.live.is_none());
            known.map(|known| Rc::clone(&known.make))
        };
        let Some(make) = make else { return };
        self.net.restore(host);
        let stores = self.stores.host(host);
        let lives = WatchSender::new(Incarnation::default());
        let (number, life) = (stores.boot(), lives.watch());
        note!(self.trace, "start {host} {number}");
        let boot = Boot { cluster: stores.cluster(), host: host.to_owned(), number, life };
        let part = make(&boot);
        let (probe, is_paused) = (Probe::from(&part), Cell::new(false));
        let (cluster, parts) = members(part);
        let env = self.net.env(host);
        let mut lives = Some(lives);
        let start = |member| {
            let lives = lives.take().unwrap_or_else(|| WatchSender::new(Incarnation::default()));
            let env = Env { spawn: Spawn::default(), ..env.clone() };
            let neighbours = Rc::new(Neighbours::flawed(self.flaw.get()));
            Hosted::start(&cluster, member, (&env, neighbours), lives)
        };
        let hosted = parts.into_iter().map(start).collect();
        if let Some(known) = self.hosts.borrow_mut().get_mut(host) {
            known.live = Some(Live { hosted, probe, is_paused, stores });
            known.boots = number;
        }
    }

    /// Which process of a host was started last; 0 for a host that is not known.
    pub fn boot(&self, host: &str) -> u64 {
        self.hosts.borrow().get(host).map_or(0, |known| known.boots)
    }

    /// Whether the process of a host runs.
    pub fn is_up(&self, host: &str) -> bool {
        self.hosts.borrow().get(host).is_some_and(|known| known.live.is_some())
    }

    fn with(&self, host: &str, act: impl Fn(&Live)) {
        let hosts = self.hosts.borrow();
        hosts.get(host).and_then(|known| known.live.as_ref()).into_iter().for_each(act);
    }

    /// Stops the process of a host as SIGSTOP does: nothing of it runs while time goes on.
    pub fn pause(&self, host: &str) {
        note!(self.trace, "pause {host}");
        self.with(host, |live| {
            live.stores.pause(true);
            live.is_paused.set(true);
            live.hosted.iter().for_each(Hosted::pause);
        });
    }

    /// Ends [`Sim::pause`].
    pub fn resume(&self, host: &str) {
        note!(self.trace, "resume {host}");
        self.with(host, |live| {
            live.stores.pause(false);
            live.is_paused.set(false);
            live.hosted.iter().for_each(Hosted::resume);
        });
    }

    /// Ends the process of a host at once. Its system closes its streams.
    pub fn kill(&self, host: &str) {
        self.net.kill(host);
        self.end(host);
    }

    /// Ends the machine of a host at once: nobody is told.
    pub fn vanish(&self, host: &str) {
        self.net.vanish(host);
        self.end(host);
    }

    fn end(&self, host: &str) {
        let live = self.hosts.borrow_mut().get_mut(host).and_then(|known| known.live.take());
        if let Some(live) = live {
            live.stores.kill();
            live.hosted.iter().for_each(Hosted::kill);
        }
    }

    /// What the instances of a host hold; nothing while it is down or paused.
    pub async fn held(&self, host: &str) -> Vec<Held> {
        let probe = {
            let hosts = self.hosts.borrow();
            let live = hosts.get(host).and_then(|known| known.live.as_ref());
            live.filter(|live| !live.is_paused.get()).map(|live| live.probe.clone())
        };
        let Some(probe) = probe else { return Vec::new() };
        // It may be paused or killed while it is asked.
        let held = tokio::time::timeout(Duration::from_millis(100), probe.held()).await;
        held.unwrap_or_default()
    }

    /// Whether the instances of a host have ended by themselves, and how.
    pub fn failures(&self) -> Vec<(String, InstanceError)> {
        let hosts = self.hosts.borrow();
        let mut failed = Vec::new();
        for (name, known) in hosts.iter() {
            for hosted in known.live.iter().flat_map(|live| &live.hosted) {
                if let Some(Err(error)) = hosted.try_ended() {
                    failed.push((name.clone(), error));
                }
            }
        }
        failed
    }

    /// Stops the processes of some hosts as their app would, and waits until they have ended, at most
    /// `max`. Gives what was not clean.
    pub async fn stop(&self, hosts: &[&str], max: Duration) -> Vec<String> {
        let mut lives = Vec::new();
        for host in hosts {
            note!(self.trace, "stop {host}");
            let live = self.hosts.borrow_mut().get_mut(*host).and_then(|known| known.live.take());
            lives.extend(live.map(|live| (*host, live)));
        }
        for hosted in lives.iter().flat_map(|(_, live)| &live.hosted) {
            hosted.stop(Stop::Drain { max: None });
        }
        let mut unclean = Vec::new();
        for (host, live) in lives {
            for hosted in &live.hosted {
                match tokio::time::timeout(max, hosted.ended()).await {
                    Ok(Some(Ok(())) | None) => {}
                    Ok(Some(Err(error))) => unclean.push(format!("{host}: {error}")),
                    Err(_) => unclean.push(format!("{host} has not stopped within {max:?}")),
                }
            }
            self.net.kill(host);
        }
        unclean
    }

    /// Clients on a host of their own.
    pub fn clients(&self, host: &str) -> client::Clients {
        client::Clients::new(&self.net.env(host))
    }
}
