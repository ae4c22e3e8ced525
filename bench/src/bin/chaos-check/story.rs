//! What each client lived through, put together from its lines.
//!
//! It only sorts: no rule is checked here. Lines that make no sense are kept as problems.
use crate::events::Micros;
use std::collections::{BTreeMap, HashMap};

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Enter,
    Free,
    Held,
}

/// A life of a node, by the place of its name in [`Stories::lives`].
pub(crate) type Life = usize;

/// Where and as which of the user's a request took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Effect {
    pub(crate) life: Life,
    pub(crate) count: u64,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Ok(Effect),
    Told {
        code: String,
        /// `Applied`, `Rejected`, `NotSent` or `Unknown`.
        outcome: String,
    },
}

/// One request with all that became of it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) n: u64,
    pub(crate) kind: Kind,
    pub(crate) sent: Micros,
    /// Which of the client's connections it went through.
    pub(crate) visit: usize,
    pub(crate) ends: Vec<(Micros, End)>,
    /// Effects that were pushed, each with the connection it came through.
    pub(crate) pushes: Vec<(usize, Effect)>,
}

/// A connection of a client.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) gate: String,
    pub(crate) open: Micros,
    pub(crate) lost: Option<(Micros, String)>,
    /// Effects in the order of the replies and of the pushes, with the number of the request.
    pub(crate) replies: Vec<(Kind, u64, Effect)>,
    pub(crate) pushes: Vec<(Kind, u64, Effect)>,
}

/// One client.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) requests: Vec<Request>,
    pub(crate) visits: Vec<Visit>,
    /// Since when its node is which.
    pub(crate) nodes: Vec<(Micros, Life)>,
    pub(crate) done: bool,
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Stories {
    pub(crate) clients: BTreeMap<u32, Story>,
    pub(crate) lives: Vec<String>,
    known: HashMap<String, Life>,
    /// Lines that make no sense, and answers to nothing.
    pub(crate) problems: Vec<String>,
}

impl Stories {
    /// Takes one line.
    pub(crate) fn line(&mut self, line: &str) {
        if self.take(line).is_none() {
            self.problems.push(line.to_owned());
        }
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let at: Micros = words.next()?.parse().ok()?;
        let client: u32 = words.next()?.parse().ok()?;
        let word = words.next()?;
        let rest: Vec<&str> = words.collect();
        let number = |at: usize| rest.get(at).and_then(|text| text.parse::<u64>().ok());
        let life = match (word, rest.as_slice()) {
            ("ok", [_, life, ..]) | ("push", [_, _, life, ..]) => Some(self.life(life)),
            _ => None,
        };
        let story = self.clients.entry(client).or_default();
        match word {
            "open" => story.open(at, rest.first()?),
            "shut" | "in" | "unpushed" => {}
            "lost" => story.visits.last_mut()?.lost = Some((at, (*rest.first()?).to_owned())),
            "enter" | "free" | "held" => story.sent(at, kind(word)?, number(0)?)?,
            "ok" => {
                let effect = Effect { life: life?, count: number(2)? };
                story.answered(at, number(0)?, effect)?;
            }
            "told" => {
                let (code, outcome) = ((*rest.get(1)?).to_owned(), (*rest.get(2)?).to_owned());
                let end = (at, End::Told { code, outcome });
                story.request(number(0)?)?.ends.push(end);
            }
            "push" => {
                let effect = Effect { life: life?, count: number(3)? };
                story.pushed(kind(rest.first()?)?, number(1)?, effect)?;
            }
            "done" => story.done = true,
            _ => return None,
        }
        Some(())
    }

    fn life(&mut self, name: &str) -> Life {
        if let Some(life) = self.known.get(name) {
            return *life;
        }
        let life = self.lives.len();
        self.lives.push(name.to_owned());
        self.known.insert(name.to_owned(), life);
        life
    }

    /// The node that a life was of: what stands before the `/`.
    pub(crate) fn node(&self, life: Life) -> &str {
        let name = self.lives.get(life).map(String::as_str).unwrap_or_default();
        name.split('/').next().unwrap_or_default()
    }
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "enter" => Some(Kind::Enter),
        "free" => Some(Kind::Free),
        "held" => Some(Kind::Held),
        _ => None,
    }
}

impl Story {
    fn open(&mut self, at: Micros, gate: &str) {
        let (replies, pushes) = (Vec::new(), Vec::new());
        self.visits.push(Visit { gate: gate.to_owned(), open: at, lost: None, replies, pushes });
    }

    fn visit(&self) -> Option<usize> {
        self.visits.len().checked_sub(1)
    }

    fn sent(&mut self, sent: Micros, kind: Kind, n: u64) -> Option<()> {
        let visit = self.visit()?;
        // Requests are numbered from 1 without a gap.
        if u64::try_from(self.requests.len()).ok()?.checked_add(1)? != n {
            return None;
        }
        let (ends, pushes) = (Vec::new(), Vec::new());
        self.requests.push(Request { n, kind, sent, visit, ends, pushes });
        Some(())
    }

    fn request(&mut self, n: u64) -> Option<&mut Request> {
        self.requests.get_mut(usize::try_from(n.checked_sub(1)?).ok()?)
    }

    fn answered(&mut self, at: Micros, n: u64, effect: Effect) -> Option<()> {
        let request = self.request(n)?;
        request.ends.push((at, End::Ok(effect)));
        let kind = request.kind;
        if kind == Kind::Enter {
            self.nodes.push((at, effect.life));
        } else {
            self.visits.last_mut()?.replies.push((kind, n, effect));
        }
        Some(())
    }

    fn pushed(&mut self, kind: Kind, n: u64, effect: Effect) -> Option<()> {
        let visit = self.visit()?;
        let request = self.request(n)?;
        if request.kind != kind {
            return None;
        }
        request.pushes.push((visit, effect));
        // What an earlier connection has asked for may be pushed at any time: orders are per connection.
        if request.visit == visit {
            self.visits.last_mut()?.pushes.push((kind, n, effect));
        }
        Some(())
    }

    /// The gate that the client was at.
    pub(crate) fn gate_at(&self, at: Micros) -> Option<&str> {
        let visit = self.visits.iter().rev().find(|visit| visit.open <= at)?;
        let there = visit.lost.as_ref().is_none_or(|(lost, _)| *lost >= at);
        there.then_some(visit.gate.as_str())
    }

    /// The life that the client was bound to.
    pub(crate) fn node_at(&self, at: Micros) -> Option<Life> {
        self.nodes.iter().rev().find(|(since, _)| *since <= at).map(|(_, life)| *life)
    }
}

impl Request {
    /// When and with which effect it was answered.
    pub(crate) fn ok(&self) -> Option<(Micros, Effect)> {
        self.ends.iter().find_map(|(at, end)| match end {
            End::Ok(effect) => Some((*at, *effect)),
            End::Told { .. } => None,
        })
    }

    /// Every different effect that is known of it.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        let mut found: Vec<Effect> = Vec::new();
        let replies = self.ends.iter().filter_map(|(_, end)| match end {
            End::Ok(effect) => (self.kind != Kind::Enter).then_some(*effect),
            End::Told { .. } => None,
        });
        for effect in replies.chain(self.pushes.iter().map(|(_, effect)| *effect)) {
            if !found.contains(&effect) {
                found.push(effect);
            }
        }
        found
    }
}
