//! What must hold in every run, looked for in what the clients saw.
//!
//! * **Order** (promise 3): of one session, what one node says it carried out is in the order in which it
//!   was sent, and nothing is carried out twice. Counts of one owner only grow.
//! * **One owner** (promise 4): an answer to a step that was sent after the user's gate had heard of a
//!   claim comes from the node of that claim, or of a newer one. Once a gate was told that a life is
//!   over, nothing of that life passes it: seen by a client that has had an answer to something it sent
//!   after that moment.
//! * Claims of a user only grow.

use super::{
    game::Effect,
    history::{Seen, What},
    words::{Mark, STEP, STEPPED},
};
use crate::stores::Fact;
use std::collections::{BTreeMap, BTreeSet};
use yumen_core::locator::{Moved, Role};

/// The most that one run reports.
const REPORTS_MAX: usize = 10;

/// What a gate was told, by its host and process: when, and what.
type Told = BTreeMap<(String, u64), Vec<(u64, Moved)>>;

/// Everything that did not hold.
pub(crate) fn check(seen: &[Seen], effects: &[Effect], facts: &[(u64, Fact)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let told = told(facts);
    let mut sessions: BTreeMap<u64, Vec<&Seen>> = BTreeMap::new();
    for one in seen {
        sessions.entry(one.session).or_default().push(one);
    }
    for session in sessions.values() {
        order(session, &mut wrong);
        if let Some(news) = gate_of(session).and_then(|gate| told.get(&gate)) {
            fences(session, news, &mut wrong);
            owners(session, news, &mut wrong);
        }
    }
    once(effects, &mut wrong);
    counts(seen, &mut wrong);
    claims(facts, &mut wrong);
    wrong.truncate(REPORTS_MAX);
    wrong
}

fn told(facts: &[(u64, Fact)]) -> Told {
    let mut told = Told::new();
    for (at, fact) in facts {
        if let Fact::Told { host, boot, moved } = fact {
            told.entry((host.clone(), *boot)).or_default().push((*at, moved.clone()));
        }
    }
    told
}

fn gate_of(session: &[&Seen]) -> Option<(String, u64)> {
    session.iter().find_map(|seen| match &seen.what {
        What::Opened { gate, boot } => Some((gate.clone(), *boot)),
        _ => None,
    })
}

/// The mark of what a node said, if it said something.
fn mark(what: &What) -> Option<&Mark> {
    match what {
        What::Answered { mark, .. } | What::Pushed { mark, .. } => Some(mark),
        _ => None,
    }
}

/// Steps of a session are answered in their order by each node, at most once in all.
fn order(session: &[&Seen], wrong: &mut Vec<String>) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for seen in session {
        match &seen.what {
            What::Pushed { route: STEPPED, mark } => {
                if mark.session != seen.session {
                    wrong.push(format!("{seen:?}: an answer for another session"));
                }
                let before = last.insert(&mark.node, mark.n).unwrap_or(0);
                if mark.n <= before {
                    wrong.push(format!("{seen:?}: out of order, after step {before}"));
                }
                if !all.insert(mark.n) {
                    wrong.push(format!("{seen:?}: answered twice"));
                }
            }
            What::Garbled { .. } => wrong.push(format!("{seen:?}: changed on its way")),
            _ => {}
        }
    }
}

/// What was carried out: no step twice, and in the order of its session on each process of a node.
fn once(effects: &[Effect], wrong: &mut Vec<String>) {
    let mut all = BTreeSet::new();
    let mut last: BTreeMap<(u64, &str), u64> = BTreeMap::new();
    for effect in effects {
        let mark = &effect.mark;
        if !all.insert((mark.session, mark.n)) {
            wrong.push(format!("{effect:?}: carried out twice"));
        }
        let before = last.insert((mark.session, &mark.node), mark.n).unwrap_or(0);
        if mark.n < before {
            wrong.push(format!("{effect:?}: carried out after step {before}"));
        }
    }
}

/// A user never sees the count of one claim go back.
fn counts(seen: &[Seen], wrong: &mut Vec<String>) {
    let mut last: BTreeMap<(u64, u64, u64), u64> = BTreeMap::new();
    for seen in seen {
        if let What::Pushed { route: STEPPED, mark } = &seen.what {
            let before =
                last.insert((seen.user, seen.session, mark.epoch), mark.count).unwrap_or(0);
            if mark.count <= before {
                wrong.push(format!("{seen:?}: the count was {before} before"));
            }
        }
    }
}

/// Nothing of a life that is over passes a gate that was told so.
fn fences(session: &[&Seen], news: &[(u64, Moved)], wrong: &mut Vec<String>) {
    // When each request was sent, and the newest moment at which the gate has certainly forwarded
    // something of this session.
    let mut sent = BTreeMap::new();
    let mut since = 0;
    for seen in session {
        if let What::Sent { n, .. } = seen.what {
            sent.insert(n, seen.at);
        }
        let Some(mark) = mark(&seen.what) else { continue };
        let over = news.iter().find(|(at, moved)| {
            let closed = |instance: &str, life: u64| instance == mark.node && life >= mark.life;
            match moved {
                Moved::Closed { instance, incarnation } => {
                    *at < since && closed(instance.as_str(), incarnation.0)
                }
                _ => false,
            }
        });
        if let Some((at, _)) = over {
            wrong.push(format!("{seen:?}: that life was over, as the gate was told at {at}"));
        }
        if mark.session == seen.session {
            let asked = sent.get(&mark.n).copied().unwrap_or(0);
            since = since.max(asked);
        }
    }
}

/// A step goes to the newest owner that the gate knows of.
fn owners(session: &[&Seen], news: &[(u64, Moved)], wrong: &mut Vec<String>) {
    let mut sent = BTreeMap::new();
    for seen in session {
        match &seen.what {
            What::Sent { route: STEP, n } => drop(sent.insert(*n, seen.at)),
            What::Pushed { route: STEPPED, mark } => {
                let Some(sent) = sent.get(&mark.n) else { continue };
                let claim = news.iter().rev().filter(|(at, _)| at < sent);
                let claim = claim.filter_map(|(_, moved)| match moved {
                    Moved::Claimed { user, place, epoch }
                        if u64::try_from(user.0) == Ok(seen.user) && place.role != Role::Gate =>
                    {
                        Some((place.instance.as_str(), epoch.0))
                    }
                    _ => None,
                });
                let newest = claim.max_by_key(|(_, epoch)| *epoch);
                if let Some((node, epoch)) = newest
                    && epoch > mark.epoch
                    && node != mark.node
                {
                    wrong.push(format!("{seen:?}: {node} owned the user by claim {epoch}"));
                }
            }
            _ => {}
        }
    }
}

/// Claims of one user in one role only grow.
fn claims(facts: &[(u64, Fact)], wrong: &mut Vec<String>) {
    let mut last = BTreeMap::new();
    for (at, fact) in facts {
        if let Fact::Claimed { user, is_gate, epoch, .. } = fact {
            let before = last.insert((*user, *is_gate), *epoch);
            if before.is_some_and(|before| before >= *epoch) {
                wrong.push(format!("at {at} {fact:?}: not newer than {before:?}"));
            }
        }
    }
}
