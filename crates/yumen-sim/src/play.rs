//! One run: a cluster, players, faults by the seed, and what came of it.
//!
//! Everything is chosen by the dice of the seed: what the cluster is made of, what fails, when, and for
//! how long. At the end every fault is healed, every player must be served again in time, and nothing may
//! be left over when all have gone.

mod bot;
mod check;
mod faults;
mod game;
mod history;
mod words;

use crate::cluster::{Boot, Sim};
use bot::{Bot, Stage};
use faults::{Act, Plan};
use game::Effects;
use history::History;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use tokio::time::sleep;
use yumen_cluster::{
    app::Part,
    gate::{Gate, Tcp},
};
use yumen_mesh::Flaw;
use yumen_net::{env::Dice, spawn::Spawn};

/// Players must be served again so long after the last fault, at the latest.
const SERVED_MAX: Duration = Duration::from_secs(30);
/// Everything must be gone so long after all have left.
const EMPTY_MAX: Duration = Duration::from_secs(40);

/// Calls are answered or given up by then.
const CALLS_MAX: Duration = Duration::from_secs(6);
/// How many looks something has to be there for until it counts as stuck, and the pause between two.
const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often queues are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The largest message of a run, in bytes.
const MESSAGE_MAX: u64 = 1024;

/// What a run is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Keep every event as text, in [`Outcome::lines`].
    pub is_kept: bool,
    /// Whether nothing fails.
    pub is_calm: bool,
    /// A defence of the links that is left out, to see that this is noticed.
    pub flaw: Flaw,
}

/// What came of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that happened, and of how many events.
    pub sum: (u64, u64),
    /// What did not hold; empty is good.
    pub wrong: Vec<String>,
    /// What failed when, for a reader.
    pub plan: Vec<String>,
    /// How much clients were pushed.
    pub steps: usize,
    /// How long it took until every player was served again after the last fault, in virtual time.
    pub served_in: Duration,
    /// Every event, if they were kept.
    pub lines: Vec<String>,
}

/// Runs one seed.
///
/// # Panics
/// If no runtime can be made.
pub fn run(seed: u64, options: Options) -> Outcome {
    Sim::run(seed, options.is_kept, async |sim| {
        sim.set_flaw(options.flaw);
        Run::new(sim, seed, options).play().await
    })
}

struct Run {
    sim: Rc<Sim>,
    seed: u64,
    options: Options,
    gates: Vec<String>,
    nodes: Vec<String>,
    effects: Effects,
    wrong: Vec<String>,
}

fn gate(boot: &Boot) -> Part {
    let gate = Gate::builder(&boot.cluster).id(boot.host.as_str()).listen(Tcp::on("0.0.0.0:3553"));
    let gate = gate.drain_max(Duration::from_secs(5)).build_unbound();
    gate.unwrap_or_else(|problems| unreachable!("{problems}")).into()
}

impl Run {
    fn new(sim: &Rc<Sim>, seed: u64, options: Options) -> Self {
        let names = |what: &str, count: u64| (1..=count).map(|n| format!("{what}-{n}")).collect();
        let gates = names("gate", 2);
        let nodes = names("node", 2 + sim.dice().below(2));
        let (effects, wrong) = (Effects::default(), Vec::new());
        Self { sim: Rc::clone(sim), seed, options, gates, nodes, effects, wrong }
    }

    async fn play(mut self) -> Outcome {
        let sim = Rc::clone(&self.sim);
        for host in &self.nodes {
            let (stores, trace) = (sim.stores().clone(), sim.trace().clone());
            let effects = self.effects.clone();
            sim.start(host, move |boot| game::node(boot, &stores, &trace, &effects).into());
        }
        for host in &self.gates {
            sim.start(host, gate);
        }
        sleep(Duration::from_secs(1)).await;
        let history = History::new(sim.trace());
        let (stage, crowd) = self.stage(&history);
        let watch = self.watch_bounds();
        let (plan, calm_at) = self.break_things(&crowd).await;
        let served_in = self.await_service(&crowd, calm_at).await;
        stage.is_over.set(true);
        crowd.spawn.idle().await;
        watch.spawn.abort_all();
        self.wrong.extend(watch.wrong.take());
        self.nothing_held().await;
        self.end().await;
        let seen = history.take();
        let steps = seen.iter().filter(|seen| matches!(seen.what, history::What::Pushed { .. }));
        let steps = steps.count();
        self.wrong.extend(check::check(&seen, &self.effects.take(), &sim.stores().facts()));
        if steps == 0 {
            self.wrong.push("no client was served at all".to_owned());
        }
        let (seed, sum, lines) = (self.seed, sim.trace().sum(), sim.trace().take_lines());
        Outcome { seed, sum, wrong: self.wrong, plan, steps, served_in, lines }
    }

    /// Lets the players in: two of them are the same user.
    fn stage(&self, history: &History) -> (Rc<Stage>, Crowd) {
        let stage = Rc::new(Stage {
            sim: Rc::clone(&self.sim),
            history: history.clone(),
            gates: self.gates.clone(),
            sessions: Cell::new(0),
            is_over: Cell::new(false),
        });
        let mut crowd = Crowd::default();
        for (index, user) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
            let host = format!("player-{index}");
            let served = Rc::new(Cell::new(0));
            let leaves = Rc::new(Cell::new(false));
            if index > 3 {
                crowd.rivals.push(Rc::clone(&leaves));
            } else {
                crowd.served.push(Rc::clone(&served));
            }
            let bot = Bot {
                stage: Rc::clone(&stage),
                user,
                clients: self.sim.clients(&host),
                dice: Dice::seeded(self.sim.dice().roll()),
                served,
                leaves,
            };
            crowd.hosts.push(host);
            crowd.spawn.local(bot.play());
        }
        (stage, crowd)
    }

    /// Carries the plan out; gives it as text, and when the last fault was healed.
    async fn break_things(&mut self, crowd: &Crowd) -> (Vec<String>, u64) {
        let (sim, mut text) = (&self.sim, Vec::new());
        let plan = match self.options.is_calm {
            true => Plan::calm(),
            false => Plan::new(sim.dice(), &self.gates, &self.nodes, &crowd.hosts),
        };
        let start = sim.trace().millis();
        for (at, act) in plan.acts() {
            let now = sim.trace().millis();
            sleep(Duration::from_millis((start + at).saturating_sub(now))).await;
            text.push(format!("{} {act:?}", sim.trace().millis()));
            act.carry_out(sim).await;
        }
        for host in self.gates.iter().chain(&self.nodes) {
            Act::Resume(host.clone()).carry_out(sim).await;
            Act::Restart(host.clone()).carry_out(sim).await;
        }
        Act::Calm.carry_out(sim).await;
        crowd.rivals.iter().for_each(|leaves| leaves.set(true));
        (text, sim.trace().millis())
    }

    async fn await_service(&mut self, crowd: &Crowd, calm_at: u64) -> Duration {
        let limit = calm_at + u64::try_from(SERVED_MAX.as_millis()).unwrap_or(0);
        loop {
            let now = self.sim.trace().millis();
            // Not by what was under way when the last fault ended.
            let late = crowd.served.iter().filter(|at| at.get() <= calm_at + 100).count();
            if late == 0 && now > calm_at + 2_000 {
                let last = crowd.served.iter().map(|at| at.get()).max().unwrap_or(0);
                return Duration::from_millis(last.saturating_sub(calm_at));
            }
            if now > limit {
                self.wrong.push(format!(
                    "{late} players are not served {SERVED_MAX:?} after the last fault (at {calm_at})"
                ));
                return SERVED_MAX;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Looks at the bounds of every queue again and again.
    fn watch_bounds(&self) -> BoundsWatch {
        let watch = BoundsWatch::default();
        let (sim, wrong) = (Rc::clone(&self.sim), Rc::clone(&watch.wrong));
        let hosts: Vec<String> = self.gates.iter().chain(&self.nodes).cloned().collect();
        watch.spawn.local(async move {
            loop {
                sleep(LOOK_EVERY).await;
                for host in &hosts {
                    let held = sim.held(host).await;
                    // One message more than the bound may be there, so that a large one does not wait.
                    let over = held.iter().filter(|held| held.largest > held.max + MESSAGE_MAX);
                    let over = over.map(|held| format!("{host} holds more than it may: {held:?}"));
                    wrong.borrow_mut().extend(over);
                }
            }
        });
        watch
    }

    /// The clients have left, and what they had asked for is answered or given up by now.
    async fn nothing_held(&mut self) {
        sleep(CALLS_MAX).await;
        for host in self.gates.iter().chain(&self.nodes) {
            let mut left = None;
            for _ in 0..LOOKS {
                let held = self.sim.held(host).await;
                if held.is_empty() {
                    left = Some(format!("{host} does not answer"));
                    break;
                }
                let held: Vec<_> = held.into_iter().filter(|held| held.all > 0).collect();
                if held.is_empty() {
                    left = None;
                    break;
                }
                left = Some(format!("{host} still holds {held:?}"));
                // A sign of life may have been on its way just then; what is stuck stays.
                sleep(LOOK_AGAIN).await;
            }
            self.wrong.extend(left);
        }
    }

    /// Everybody has left: nothing may be left over.
    async fn end(&mut self) {
        for (host, error) in self.sim.failures() {
            self.wrong.push(format!("{host} has ended by itself: {error}"));
        }
        let gates: Vec<&str> = self.gates.iter().map(String::as_str).collect();
        let nodes: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
        let max = Duration::from_secs(20);
        self.wrong.extend(self.sim.stop(&gates, max).await);
        self.wrong.extend(self.sim.stop(&nodes, max).await);
        let mut left = Vec::new();
        for _ in 0..EMPTY_MAX.as_secs() {
            let (lives, places) = self.sim.stores().held();
            let streams = self.sim.net().streams();
            left = [("lives", lives), ("places", places), ("streams", streams)].to_vec();
            left.retain(|(_, count)| *count > 0);
            if left.is_empty() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.wrong.push(format!("left over at the end: {left:?}"));
    }
}

/// Who looks at the bounds of a run, and what was beyond them.
#[derive(Default)]
struct BoundsWatch {
    spawn: Spawn,
    wrong: Rc<RefCell<Vec<String>>>,
}

/// The players of a run.
#[derive(Default)]
struct Crowd {
    spawn: Spawn,
    hosts: Vec<String>,
    /// When each was served last.
    served: Vec<Rc<Cell<u64>>>,
    /// Players that are somebody else's user too; they leave before the end.
    rivals: Vec<Rc<Cell<bool>>>,
}
