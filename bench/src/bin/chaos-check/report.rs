//! The figures of a run of replaced processes, for people and for files: what clients noticed of it.
//!
//! Everything is computed from the logs. A client is without service from the moment its connection is
//! gone, or from the sending of a request that was refused, until it is answered again.
use crate::events::{Events, Micros};
use crate::rules::{KEPT, ONCE, Verdict};
use crate::story::{End, Kind, Stories, Story, Visit};
use serde::Serialize;

const SECOND: Micros = 1_000_000;

/// What came of an update.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    clients: usize,
    /// From the first stop until the last process was ready.
    pub(crate) took_ms: u64,
    processes: Vec<Replaced>,
    /// Requests that were answered, in the whole run.
    pub(crate) acknowledged: u64,
    pub(crate) acknowledged_lost: u64,
    pub(crate) duplicates: u64,
    /// Requests that were refused and had no effect.
    pub(crate) refused: u64,
    /// Requests of which nobody can say whether they had one.
    pub(crate) unknown: u64,
    pub(crate) reconnects: usize,
    /// The most that connected within one second, wherever that second begins.
    pub(crate) reconnects_peak_per_second: usize,
    /// Clients that were without service at all.
    pub(crate) interrupted: usize,
    /// The longest interruption of each client, over all clients.
    pub(crate) without_service_ms: Spread,
    /// All interruptions of each client together, over all clients.
    without_service_sum_ms: Spread,
    holds: bool,
}

/// One process that was replaced.
#[derive(Debug, Serialize)]
struct Replaced {
    who: String,
    /// From its stop until the one in its place was ready.
    took_ms: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let place = values.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
            values.get(place).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// Computes the report.
pub(crate) fn report(stories: &Stories, events: &Events, verdict: &Verdict) -> Report {
    let first = events.faults.first().map_or(0, |fault| fault.down);
    let last = events.faults.last().map_or(0, |fault| fault.up);
    let all = || stories.clients.values();
    let requests = || all().flat_map(|story| &story.requests);
    let told = |wanted: fn(&str) -> bool| {
        let is = |end: &End| matches!(end, End::Told { outcome, .. } if wanted(outcome));
        count(requests().filter(|request| request.ends.iter().any(|(_, end)| is(end))).count())
    };
    let broken = |name: &str| {
        verdict.rules.iter().filter(|rule| rule.name == name).map(|rule| rule.broken).sum()
    };
    let mut opened: Vec<Micros> = all().flat_map(returns).collect();
    opened.sort_unstable();
    let gaps: Vec<Vec<u64>> = all().map(|story| interruptions(story, first, events.end)).collect();
    let longest = gaps.iter().map(|gaps| gaps.iter().max().copied().unwrap_or_default());
    Report {
        clients: stories.clients.len(),
        took_ms: last.saturating_sub(first) / 1_000,
        processes: events
            .faults
            .iter()
            .map(|fault| Replaced {
                who: fault.who.clone(),
                took_ms: fault.up.saturating_sub(fault.down) / 1_000,
            })
            .collect(),
        acknowledged: count(requests().filter(|request| request.ok().is_some()).count()),
        acknowledged_lost: broken(KEPT),
        duplicates: broken(ONCE),
        refused: told(|outcome| outcome == "NotSent" || outcome == "Rejected"),
        unknown: told(|outcome| outcome == "Unknown"),
        reconnects: opened.len(),
        reconnects_peak_per_second: peak(&opened),
        interrupted: gaps.iter().filter(|gaps| !gaps.is_empty()).count(),
        without_service_ms: Spread::of(longest.collect()),
        without_service_sum_ms: Spread::of(gaps.iter().map(|gaps| gaps.iter().sum()).collect()),
        holds: verdict.holds(),
    }
}

/// When a client connected again because its connection was gone.
fn returns(story: &Story) -> impl Iterator<Item = Micros> {
    let pairs = story.visits.iter().zip(story.visits.iter().skip(1));
    pairs.filter(|(before, _)| is_gone(before)).map(|(_, next)| next.open)
}

/// Whether the connection ended by itself: not because the client was told to go.
fn is_gone(visit: &Visit) -> bool {
    visit.lost.as_ref().is_some_and(|(_, why)| why == "cut" || why == "silent")
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// The most of them within one second; `times` are sorted.
pub(crate) fn peak(times: &[Micros]) -> usize {
    let within = |(at, from): (usize, &Micros)| {
        let end = times.partition_point(|time| *time < from.saturating_add(SECOND));
        end.saturating_sub(at)
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

/// How long a client was without service each time, in milliseconds; times that overlap are one.
fn interruptions(story: &Story, from: Micros, end: Micros) -> Vec<u64> {
    let mut spans = Vec::new();
    for visit in &story.visits {
        if let Some((lost, _)) = visit.lost.as_ref().filter(|_| is_gone(visit)) {
            spans.push((*lost, answered(story, *lost, None).unwrap_or(end)));
        }
    }
    for request in &story.requests {
        if request.ok().is_none() && request.sent >= from {
            spans.push((
                request.sent,
                answered(story, request.sent, Some(request.kind)).unwrap_or(end),
            ));
        }
    }
    spans.sort_unstable();
    let mut merged: Vec<(Micros, Micros)> = Vec::new();
    for (begin, over) in spans {
        match merged.last_mut() {
            Some((_, last)) if begin <= *last => *last = over.max(*last),
            _ => merged.push((begin, over)),
        }
    }
    merged.iter().map(|(begin, over)| over.saturating_sub(*begin) / 1_000).collect()
}

/// When a request of that kind, or any, that was sent after a moment was answered for the first time.
fn answered(story: &Story, after: Micros, kind: Option<Kind>) -> Option<Micros> {
    let later = story.requests.iter().filter(|request| request.sent > after);
    let fitting = later.filter(|request| {
        request.kind != Kind::Enter
            && kind.is_none_or(|kind| kind == Kind::Enter || kind == request.kind)
    });
    fitting.filter_map(|request| request.ok().map(|(at, _)| at)).min()
}
