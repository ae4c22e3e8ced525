//! What fails in a run, when, and for how long.

use crate::{
    cluster::Sim,
    net::{Delays, Wall},
    stores::{Store, StoreDelays},
};
use std::time::Duration;
use yumen_net::env::Dice;

/// Faults begin within so many milliseconds.
const SPAN_MS: u64 = 12_000;
/// Longest fault in milliseconds: beyond what a life is renewed for.
const FAULT_MAX_MS: u64 = 14_000;

/// One thing that is done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Pause(String),
    Resume(String),
    Kill(String),
    Vanish(String),
    Restart(String),
    Wall(Vec<String>, Wall),
    Heal,
    Break(String, String),
    Cut(Option<String>, Store, bool),
    Forget,
    Slow(u64),
    Calm,
}

impl Act {
    pub(crate) async fn carry_out(&self, sim: &Sim) {
        match self {
            Self::Pause(host) => sim.pause(host),
            Self::Resume(host) => sim.resume(host),
            Self::Kill(host) => sim.kill(host),
            Self::Vanish(host) => sim.vanish(host),
            Self::Restart(host) => sim.restart(host),
            Self::Wall(hosts, wall) => {
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                sim.net().wall(&hosts, *wall);
            }
            Self::Heal => sim.net().heal(),
            Self::Break(a, b) => drop(sim.net().break_one(a, b)),
            Self::Cut(host, store, is_cut) => sim.stores().cut(host.as_deref(), *store, *is_cut),
            Self::Forget => sim.stores().lose_memory().await,
            Self::Slow(millis) => {
                let jitter = Duration::from_millis(*millis);
                sim.net().set_delays(Delays { min: Duration::from_millis(1), jitter });
                let way = Duration::from_millis(*millis);
                sim.stores().set_delays(StoreDelays { way, ..StoreDelays::default() });
            }
            Self::Calm => {
                sim.net().heal();
                sim.net().set_delays(Delays::default());
                sim.stores().cut(None, Store::Registry, false);
                sim.stores().cut(None, Store::Locator, false);
                sim.stores().set_delays(StoreDelays::default());
            }
        }
    }
}

/// What is done, in its order, with the milliseconds since the start of the faults.
#[derive(Debug, Default)]
pub(crate) struct Plan(Vec<(u64, Act)>);

impl Plan {
    /// Nothing fails for a while.
    pub(crate) fn calm() -> Self {
        Self(vec![(5_000, Act::Calm)])
    }

    /// One to four faults by the dice.
    pub(crate) fn new(dice: &Dice, gates: &[String], nodes: &[String], players: &[String]) -> Self {
        let mut plan = Self::default();
        for _ in 0..=dice.below(4) {
            plan.add(dice, (gates, nodes, players));
        }
        plan.0.sort_by_key(|(at, _)| *at);
        plan
    }

    pub(crate) fn acts(&self) -> impl Iterator<Item = (u64, &Act)> {
        self.0.iter().map(|(at, act)| (*at, act))
    }

    fn add(&mut self, dice: &Dice, hosts: (&[String], &[String], &[String])) {
        let (gates, nodes, players) = hosts;
        let from = 500 + dice.below(SPAN_MS);
        let to = from + 100 + dice.below(FAULT_MAX_MS);
        let pick = |names: &[String]| -> String {
            let count = u64::try_from(names.len()).unwrap_or(1);
            let at = usize::try_from(dice.below(count)).unwrap_or(0);
            names.get(at).cloned().unwrap_or_default()
        };
        let server = || if dice.below(3) == 0 { pick(gates) } else { pick(nodes) };
        let until = |begin: Act, end: Act| vec![(from, begin), (to, end)];
        let acts = match dice.below(12) {
            0..=2 => {
                let host = server();
                until(Act::Pause(host.clone()), Act::Resume(host))
            }
            3 => {
                let host = server();
                until(Act::Kill(host.clone()), Act::Restart(host))
            }
            4 => {
                let host = server();
                until(Act::Vanish(host.clone()), Act::Restart(host))
            }
            5 | 6 => {
                let mut inside = vec![server()];
                if dice.below(2) == 0 {
                    inside.push(pick(players));
                }
                let wall = if dice.below(3) == 0 { Wall::Refuses } else { Wall::BlackHole };
                until(Act::Wall(inside, wall), Act::Heal)
            }
            7 => (0..3).map(|n| (from + n * 700, Act::Break(pick(gates), pick(nodes)))).collect(),
            8 => (0..3).map(|n| (from + n * 700, Act::Break(pick(gates), pick(players)))).collect(),
            9 => {
                let host = (dice.below(2) == 0).then(server);
                let store = if dice.below(3) == 0 { Store::Registry } else { Store::Locator };
                until(Act::Cut(host.clone(), store, true), Act::Cut(host, store, false))
            }
            10 => vec![(from, Act::Forget)],
            _ => until(Act::Slow(20 + dice.below(200)), Act::Slow(4)),
        };
        self.0.extend(acts);
    }
}
