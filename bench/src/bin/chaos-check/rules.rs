//! The rules, and whether they hold.
//!
//! | Rule | What it says |
//! |---|---|
//! | something was proved | as many clients, faults and answers as were asked for |
//! | nothing hangs | every request has one end, within [`ANSWER_MAX`]; every client has ended |
//! | traffic flows again | what is sent [`FLOWS_AFTER`] behind a fault or its end is answered; whoever the fault hit itself has [`HIT_AFTER`] |
//! | everybody is served | between faults every client is answered, on both routes |
//! | connections stay | none is cut but by the fault of its own gate, nor left for silence but near a fault |
//! | order holds | counts and numbers grow, per connection, route and life of a node |
//! | nothing happens twice | a request has one effect at most, and an effect one request |
//! | what was acknowledged stays | where processes are replaced and nothing else happens, no effect that was answered is gone |
//! | what is told is true | a request that was told to have had no effect has none |
//! | pushes come | the push of every answered request, where no fault is near |
//! | sizes level off | memory and descriptors of each process, and the keys of the locator, are at the end near those at the beginning |
//! | processes live | none died or hung by itself |
use crate::events::{Events, Fault, How, Micros, Usage};
use crate::story::{Effect, End, Kind, Request, Stories, Story};
use std::collections::HashMap;

const SECOND: Micros = 1_000_000;
/// Longest time from a request to its end: the clients give up after 2 s.
const ANSWER_MAX: Micros = 4 * SECOND;
/// When traffic flows again that a fault does not itself stop.
const FLOWS_AFTER: Micros = 5 * SECOND;
/// When it does for the clients of the gate, and the users of the node, that was hit: they have to
/// notice, go elsewhere and log in.
const HIT_AFTER: Micros = 10 * SECOND;
/// A client sends a round at least this often.
const ROUND_MAX: Micros = 3 * SECOND;
/// All lines between gates and nodes: who is cut off from everybody is nobody's fault.
const LINKS: &str = "links";
/// What the names of servers of a Redis Cluster begin with.
const REDIS_SERVER: &str = "redis-";
/// Examples kept of what is wrong.
const EXAMPLES_MAX: usize = 5;
/// Memory and descriptors may be so much more at the end: a half and a tenth, and these. What keeps 2 KiB
/// of each of 2,000 clients that went elsewhere shows after two faults.
const MEMORY_SPARE: u64 = 4 * 1024 * 1024;
const DESCRIPTORS_SPARE: u64 = 16;
/// Most connections that a process keeps after it has closed them, so that their last bytes are read.
const LINGERING_MAX: u64 = 1_024;

/// Names of rules that the report is about.
pub(crate) const KEPT: &str = "what was acknowledged stays";
pub(crate) const ONCE: &str = "nothing happens twice";

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) looked: u64,
    pub(crate) broken: u64,
    pub(crate) examples: Vec<String>,
}

impl Rule {
    fn new(name: &'static str) -> Self {
        Self { name, looked: 0, broken: 0, examples: Vec::new() }
    }

    fn look(&mut self, right: bool, example: impl FnOnce() -> String) {
        self.looked = self.looked.saturating_add(1);
        if !right {
            self.broken = self.broken.saturating_add(1);
            if self.examples.len() < EXAMPLES_MAX {
                self.examples.push(example());
            }
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) rules: Vec<Rule>,
    /// A line for each fault: how long until traffic flowed.
    pub(crate) recoveries: Vec<String>,
    /// A line for each process: how large it was.
    pub(crate) sizes: Vec<String>,
}

impl Verdict {
    /// Whether no rule is broken.
    pub(crate) fn holds(&self) -> bool {
        self.rules.iter().all(|rule| rule.broken == 0)
    }
}

/// Judges. `least` are the fewest faults and clients that prove anything.
pub(crate) fn judge(stories: &Stories, events: &Events, least: (usize, usize)) -> Verdict {
    let case = Case { stories, events };
    let rules = vec![
        case.proved(least),
        case.ends(),
        case.flows(),
        case.served(),
        case.stays(),
        case.order(),
        case.once(),
        case.truth(),
        case.kept(),
        case.pushes(),
        case.sizes(),
        case.lives(),
    ];
    let recoveries = events.faults.iter().map(|fault| case.recovery(fault)).collect();
    let mut sizes: Vec<String> = events.usage.iter().map(|(name, seen)| size(name, seen)).collect();
    if !events.keys.is_empty() {
        sizes.push(format!("redis    keys at first and at last: {:?}", events.keys));
    }
    Verdict { rules, recoveries, sizes }
}

/// Most memory and most descriptors: while nothing had happened yet, at the end, and ever.
fn ends(seen: &[Usage]) -> [(u64, u64); 3] {
    let most = |sizes: &[Usage]| {
        sizes.iter().fold((0, 0), |(memory, descriptors), usage| {
            (usage.memory.max(memory), usage.descriptors.max(descriptors))
        })
    };
    let part = seen.len().min(5);
    let (first, last) = (seen.split_at(part).0, seen.split_at(seen.len().saturating_sub(part)).1);
    [most(first), most(last), most(seen)]
}

/// How large a process was, for people.
fn size(name: &str, seen: &[Usage]) -> String {
    let [first, last, most] = ends(seen);
    let lives = seen.chunk_by(|one, next| one.pid == next.pid).count();
    let mib = |bytes: u64| {
        let tenths = bytes.saturating_mul(10) >> 20;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    format!(
        "{name:<8} memory {:>5} MiB at first, {:>5} at last, {:>5} at most; descriptors {:>4}, {:>4}, \
         {:>4}; lives {lives}",
        mib(first.0),
        mib(last.0),
        mib(most.0),
        first.1,
        last.1,
        most.1
    )
}

struct Case<'a> {
    stories: &'a Stories,
    events: &'a Events,
}

impl Case<'_> {
    fn stories(&self) -> impl Iterator<Item = (u32, &Story)> {
        self.stories.clients.iter().map(|(client, story)| (*client, story))
    }

    fn requests(&self) -> impl Iterator<Item = (u32, &Story, &Request)> {
        self.stories().flat_map(|(client, story)| {
            story.requests.iter().map(move |request| (client, story, request))
        })
    }

    fn proved(&self, (faults, clients): (usize, usize)) -> Rule {
        let mut rule = Rule::new("something was proved");
        let Events { faults: seen, clients: meant, ready, .. } = self.events;
        rule.look(seen.len() >= faults, || format!("{} faults of {faults}", seen.len()));
        let count = self.stories.clients.len();
        rule.look(count >= clients.max(1), || format!("{count} clients of {clients}"));
        rule.look(count == *meant, || format!("{count} clients wrote, {meant} played"));
        rule.look(*ready > 0, || "the clients never were ready".to_owned());
        rule.look(self.events.end > 0, || "the run has no end".to_owned());
        for problem in &self.stories.problems {
            rule.look(false, || format!("a line that makes no sense: {problem}"));
        }
        rule
    }

    fn ends(&self) -> Rule {
        let mut rule = Rule::new("nothing hangs");
        for (client, _, request) in self.requests() {
            let last = request.ends.first().map(|(at, _)| at.saturating_sub(request.sent));
            rule.look(request.ends.len() == 1, || {
                format!("client {client}: request {} has {} ends", request.n, request.ends.len())
            });
            rule.look(last.is_none_or(|took| took <= ANSWER_MAX), || {
                format!("client {client}: request {} ended after {last:?} us", request.n)
            });
        }
        for (client, story) in self.stories() {
            rule.look(story.done, || format!("client {client} did not end"));
        }
        rule
    }

    /// Whether the fault hit what the request stands on.
    fn hit(&self, story: &Story, kind: Kind, fault: &Fault) -> bool {
        let gate = story.gate_at(fault.down);
        // Whoever was between two gates may have been on the way to this one.
        let gate = fault.who.starts_with("gate") && gate.is_none_or(|gate| gate == fault.who);
        let node = story.node_at(fault.down).map(|life| self.stories.node(life));
        let node = kind != Kind::Free && node == Some(fault.who.as_str());
        // Without a locator nobody can be bound, for as long as it is away.
        let locator = kind == Kind::Enter && fault.who == "redis";
        // Which users' slots it had nobody knows from outside: all may have to wait for its replica.
        let failover = fault.who.starts_with(REDIS_SERVER);
        gate || node || locator || failover || fault.who == LINKS
    }

    /// Whether a request may have failed: something was done shortly before, or while it waited.
    fn excused(&self, story: &Story, request: &Request) -> bool {
        let end = request.ends.first().map_or(request.sent, |(at, _)| *at);
        self.events.faults.iter().any(|fault| {
            let near = |from: Micros, after: Micros| {
                end >= from && request.sent < from.saturating_add(after)
            };
            let hit = self.hit(story, request.kind, fault);
            let locator = request.kind == Kind::Enter && fault.who == "redis";
            let down = if locator || fault.who == LINKS {
                fault.up.saturating_sub(fault.down)
            } else {
                HIT_AFTER
            };
            let down = if hit { down } else { FLOWS_AFTER };
            near(fault.down, down) || near(fault.up, FLOWS_AFTER)
        })
    }

    fn flows(&self) -> Rule {
        let mut rule = Rule::new("traffic flows again");
        for (client, story, request) in self.requests() {
            let right = request.ok().is_some() || self.excused(story, request);
            rule.look(right, || {
                let end = request.ends.first().map(|(_, end)| end);
                let since = self.since(request.sent);
                format!("client {client}: {:?} {}, {since}: {end:?}", request.kind, request.n)
            });
        }
        rule
    }

    /// How far a moment is behind the last thing that was done.
    fn since(&self, at: Micros) -> String {
        let edges = self
            .events
            .faults
            .iter()
            .flat_map(|fault| [(fault.down, "down", &fault.who), (fault.up, "up", &fault.who)]);
        let last = edges.filter(|(edge, ..)| *edge <= at).max_by_key(|(edge, ..)| *edge);
        last.map_or_else(
            || "before any fault".to_owned(),
            |(edge, what, who)| {
                format!("{} ms after {who} {what}", at.saturating_sub(edge) / 1_000)
            },
        )
    }

    /// Times in which everybody, or everybody whom a fault did not hit, has to be served.
    fn served(&self) -> Rule {
        let mut rule = Rule::new("everybody is served");
        let first = self.events.faults.first().map_or(self.events.end, |fault| fault.down);
        for (client, story) in self.stories() {
            for kind in [Kind::Free, Kind::Held] {
                let mut look = |from: Micros, until: Micros, what: &str| {
                    // A shorter time may pass between two rounds.
                    if until.saturating_sub(from) < ROUND_MAX {
                        return;
                    }
                    let served = story.requests.iter().any(|request| {
                        request.kind == kind
                            && request.sent >= from
                            && request.ok().is_some_and(|(at, _)| at <= until)
                    });
                    rule.look(served, || format!("client {client}: no {kind:?} {what}"));
                };
                look(self.events.ready, first, "before the first fault");
                for fault in &self.events.faults {
                    let hit = self.hit(story, kind, fault);
                    let after = if hit { HIT_AFTER } else { FLOWS_AFTER };
                    let who = &fault.who;
                    // While gates and nodes do not reach each other nobody can be served.
                    if who != LINKS {
                        look(fault.down.saturating_add(after), fault.up, &format!("without {who}"));
                    }
                    let back = fault.up.saturating_add(FLOWS_AFTER);
                    look(back, fault.next, &format!("after {who} was back"));
                }
            }
        }
        rule
    }

    fn stays(&self) -> Rule {
        let mut rule = Rule::new("connections stay");
        for (client, story) in self.stories() {
            for visit in &story.visits {
                let Some((at, why)) = &visit.lost else {
                    rule.look(false, || {
                        format!("client {client}: left {} without a word", visit.gate)
                    });
                    continue;
                };
                let own = self.events.faults.iter().any(|fault| {
                    fault.who == visit.gate
                        && *at >= fault.down
                        && *at <= fault.up.saturating_add(FLOWS_AFTER)
                });
                let told = why == "home" || why == "stop" || why == "roam";
                // Whoever was not answered went elsewhere: right while that may happen.
                let silent = why == "silent"
                    && self.events.faults.iter().any(|fault| {
                        *at >= fault.down && *at <= fault.down.saturating_add(HIT_AFTER)
                    });
                rule.look(own || told || silent, || {
                    format!("client {client}: {} {why}, {}", visit.gate, self.since(*at))
                });
            }
        }
        rule
    }

    fn order(&self) -> Rule {
        let mut rule = Rule::new("order holds");
        for (client, story) in self.stories() {
            for visit in &story.visits {
                for (what, seen) in [("replies", &visit.replies), ("pushes", &visit.pushes)] {
                    let mut last: HashMap<(Kind, usize), (u64, u64)> = HashMap::new();
                    for (kind, n, Effect { life, count }) in seen {
                        let before = last.insert((*kind, *life), (*n, *count));
                        let grown = before.is_none_or(|(m, before)| m < *n && before < *count);
                        rule.look(grown, || {
                            format!("client {client}: {what} of {kind:?}: {n} after {before:?}")
                        });
                    }
                }
            }
        }
        rule
    }

    fn once(&self) -> Rule {
        let mut rule = Rule::new(ONCE);
        for (client, story) in self.stories() {
            let mut owners: HashMap<(Kind, Effect), u64> = HashMap::new();
            for request in &story.requests {
                let effects = request.effects();
                rule.look(effects.len() <= 1 && request.pushes.len() <= 1, || {
                    let (n, pushes) = (request.n, request.pushes.len());
                    format!("client {client}: {n} had {effects:?} and {pushes} pushes")
                });
                for effect in effects {
                    let owner = *owners.entry((request.kind, effect)).or_insert(request.n);
                    rule.look(owner == request.n, || {
                        format!("client {client}: {owner} and {} are one effect", request.n)
                    });
                }
            }
        }
        rule
    }

    /// Counts of the own node outlive processes that are replaced: a count that does not grow past one
    /// that was acknowledged has lost it.
    fn kept(&self) -> Rule {
        let mut rule = Rule::new(KEPT);
        if !self.events.is_roll() {
            // Counts die with their node.
            rule.look(true, String::new);
            return rule;
        }
        for (client, story) in self.stories() {
            let held = story.requests.iter().filter(|request| request.kind == Kind::Held);
            let mut acknowledged: Vec<_> =
                held.filter_map(|r| Some((r.n, r.ok()?.1.count))).collect();
            // Per client they are sent in the order of their numbers, and the node keeps that order.
            acknowledged.sort_unstable();
            let mut last = (0, 0);
            for (n, count) in acknowledged {
                let before = std::mem::replace(&mut last, (n, count));
                rule.look(count > before.1, || {
                    format!(
                        "client {client}: {n} is its {count}th, {} was {}th",
                        before.0, before.1
                    )
                });
            }
            let sent = story.requests.iter().filter(|request| request.kind == Kind::Held).count();
            rule.look(u64::try_from(sent).is_ok_and(|sent| last.1 <= sent), || {
                format!("client {client}: {} effects of {sent} requests", last.1)
            });
        }
        rule
    }

    fn truth(&self) -> Rule {
        let mut rule = Rule::new("what is told is true");
        for (client, _, request) in self.requests() {
            let Some((_, End::Told { code, outcome })) = request.ends.first() else { continue };
            let denied = outcome == "NotSent" || outcome == "Rejected";
            let right = !denied || request.effects().is_empty();
            rule.look(right, || {
                format!(
                    "client {client}: {} was told {outcome} ({code}) and took effect",
                    request.n
                )
            });
        }
        rule
    }

    fn pushes(&self) -> Rule {
        let mut rule = Rule::new("pushes come");
        for (client, story, request) in self.requests() {
            let Some((_, effect)) = request.ok() else { continue };
            if request.kind == Kind::Enter || self.excused(story, request) {
                continue;
            }
            rule.look(request.pushes.contains(&(request.visit, effect)), || {
                let since = self.since(request.sent);
                format!("client {client}: no push of {:?} {}, {since}", request.kind, request.n)
            });
        }
        rule
    }

    fn sizes(&self) -> Rule {
        let mut rule = Rule::new("sizes level off");
        let mut visits = self.stories().flat_map(|(_, story)| &story.visits);
        let roam = visits.any(|visit| matches!(&visit.lost, Some((_, why)) if why == "roam"));
        for (name, seen) in &self.events.usage {
            let [first, last, _] = ends(seen);
            let memory_max = first.0.saturating_add(first.0 / 2).saturating_add(MEMORY_SPARE);
            rule.look(last.0 <= memory_max, || {
                format!("{name}: {} bytes, was {}", last.0, first.0)
            });
            let open_max = first.1.saturating_add(first.1 / 10).saturating_add(DESCRIPTORS_SPARE);
            // Whoever goes from gate to gate keeps what it left for a moment.
            let lingering = if roam && name == "clients" { LINGERING_MAX } else { 0 };
            let open_max = open_max.saturating_add(lingering);
            rule.look(last.1 <= open_max, || format!("{name}: {} open, was {}", last.1, first.1));
        }
        if let [before, .., after] = self.events.keys.as_slice() {
            let most = before.saturating_add(before / 10);
            rule.look(*after <= most, || format!("redis: {after} keys, was {before}"));
        }
        // No process was looked at: nothing is known.
        rule.look(!self.events.usage.is_empty(), || "no process was looked at".to_owned());
        rule
    }

    fn lives(&self) -> Rule {
        let mut rule = Rule::new("processes live");
        rule.look(true, String::new);
        for problem in &self.events.problems {
            rule.look(false, || problem.clone());
        }
        rule
    }

    /// How long requests failed behind a fault and behind its end, for those whom it did not hit.
    fn recovery(&self, fault: &Fault) -> String {
        let mut lasts = [(fault.down, fault.up, 0, 0_u64), (fault.up, fault.next, 0, 0_u64)];
        for (_, story, request) in self.requests() {
            let hit = self.hit(story, request.kind, fault) && !fault.who.starts_with(REDIS_SERVER);
            if request.ok().is_some() || hit {
                continue;
            }
            for (from, until, last, failed) in &mut lasts {
                if request.sent >= *from && request.sent < *until {
                    *last = request.sent.saturating_sub(*from).max(*last);
                    *failed = failed.saturating_add(1);
                }
            }
        }
        let word = match fault.how {
            How::Kill => "killed",
            How::Stop => "stopped",
            How::Roll => "replaced",
            How::Cut => "cut off",
        };
        let [(.., down, failed), (.., up, missed)] = lasts;
        format!(
            "{word:<8} {:<7} {failed:>6} of others failed, the last sent {:>5} ms later; back: \
             {missed:>6}, {:>5} ms",
            fault.who,
            down / 1_000,
            up / 1_000
        )
    }
}
