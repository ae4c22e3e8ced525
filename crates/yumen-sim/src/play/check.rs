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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::play::words::ECHO;
    use yumen_core::locator::{Incarnation, Place};
    use yumen_proto::{Epoch, UserId};

    fn mark(node: &str, (life, epoch): (u64, u64), n: u64) -> Mark {
        Mark { node: node.to_owned(), life, epoch, session: 1, n, count: n }
    }

    fn stepped(node: &str, times: (u64, u64), n: u64) -> What {
        What::Pushed { route: STEPPED, mark: mark(node, times, n) }
    }

    fn sent(n: u64) -> What {
        What::Sent { route: STEP, n }
    }

    /// What is wrong with one session at the gate `g`, whose events are a second apart.
    fn session(whats: Vec<What>, told: Vec<(u64, Moved)>) -> Vec<String> {
        let opened = What::Opened { gate: "g".to_owned(), boot: 1 };
        let whats = std::iter::once(opened).chain(whats);
        let seen = |(second, what)| Seen { at: second as u64 * 1000, user: 7, session: 1, what };
        let seen: Vec<_> = whats.enumerate().map(seen).collect();
        let fact = |moved| Fact::Told { host: "g".to_owned(), boot: 1, moved };
        let facts: Vec<_> = told.into_iter().map(|(at, moved)| (at, fact(moved))).collect();
        check(&seen, &[], &facts)
    }

    #[test]
    fn answers_in_order_are_right_and_gaps_too() {
        let whats =
            vec![sent(1), sent(2), sent(3), stepped("a", (1, 1), 1), stepped("a", (1, 1), 3)];
        assert!(session(whats, vec![]).is_empty());
    }

    #[test]
    fn answers_that_are_swapped_or_doubled_are_wrong() {
        let swapped = vec![sent(1), sent(2), stepped("a", (1, 1), 2), stepped("a", (1, 1), 1)];
        assert!(session(swapped, vec![])[0].contains("out of order"));
        let doubled = vec![sent(1), stepped("a", (1, 1), 1), stepped("b", (1, 2), 1)];
        assert!(session(doubled, vec![])[0].contains("answered twice"));
    }

    #[test]
    fn a_step_that_is_carried_out_twice_is_wrong() {
        let effect = |node| Effect { at: 1, user: 7, mark: mark(node, (1, 1), 5) };
        assert!(check(&[], &[effect("a"), effect("b")], &[])[0].contains("carried out twice"));
        assert!(check(&[], &[effect("a")], &[]).is_empty());
    }

    #[test]
    fn an_ended_life_is_wrong_once_the_gate_has_forwarded_something_since() {
        let closed = Moved::Closed { instance: "a".into(), incarnation: Incarnation(1) };
        let told = || vec![(2500, closed.clone())];
        let whats = |between: Vec<What>| {
            let mut whats = vec![sent(1), sent(2), stepped("b", (2, 2), 2)];
            whats.extend(between);
            whats.push(stepped("a", (1, 1), 3));
            whats
        };
        // The request that was answered was sent before the gate was told.
        assert!(session(whats(vec![]), told()).is_empty());
        let since = vec![
            What::Sent { route: ECHO, n: 9 },
            What::Answered { route: ECHO, mark: mark("b", (2, 0), 9) },
        ];
        assert!(session(whats(since.clone()), told())[0].contains("that life was over"));
        let next = Moved::Closed { instance: "a".into(), incarnation: Incarnation(0) };
        assert!(session(whats(since), vec![(2500, next)]).is_empty(), "an earlier life");
    }

    #[test]
    fn a_step_that_goes_to_an_older_owner_than_the_gate_knows_is_wrong() {
        let claimed = |node: &str, epoch| Moved::Claimed {
            user: UserId(7),
            place: Place::node("game", node),
            epoch: Epoch(epoch),
        };
        let whats = || vec![sent(1), stepped("a", (1, 4), 1)];
        assert!(session(whats(), vec![(500, claimed("a", 4))]).is_empty());
        assert!(session(whats(), vec![(1500, claimed("b", 5))]).is_empty(), "told too late");
        let wrong = session(whats(), vec![(500, claimed("b", 5))]);
        assert!(wrong[0].contains("b owned the user by claim 5"), "{wrong:?}");
    }

    #[test]
    fn claims_that_go_back_are_wrong() {
        let claimed = |epoch| {
            let (instance, life) = ("a".into(), Incarnation(1));
            let user = UserId(7);
            (1, Fact::Claimed { user, instance, is_gate: false, epoch: Epoch(epoch), life })
        };
        assert!(check(&[], &[], &[claimed(1), claimed(2)]).is_empty());
        assert!(check(&[], &[], &[claimed(2), claimed(2)])[0].contains("not newer"));
    }
}
