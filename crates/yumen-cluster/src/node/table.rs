//! The route table as one instance uses it: bound handlers, and how slow each has been.

use crate::{
    calm::Calm,
    node::{census::Work, handler::Runner, router::Rules, stats::Stats},
};
use rustc_hash::FxHashMap;
use std::{
    cell::Cell,
    fmt,
    time::{Duration, Instant},
};
use yumen_core::cluster::Event;
use yumen_proto::id::{ConnId, RouteId};

/// Every event, in the order of their numbers.
pub(crate) const EVENTS: [Event; 3] = [Event::Connect, Event::Reconnect, Event::Disconnect];
/// At most one warning per route in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What a handler answers, for warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Route(RouteId),
    Fallback,
    Event(Event),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(id) => write!(f, "route {id}"),
            Self::Fallback => f.write_str("the fallback"),
            Self::Event(event) => write!(f, "event {event:?}"),
        }
    }
}

/// The handlers of one instance.
pub(crate) struct Table<S> {
    pub(crate) routes: FxHashMap<RouteId, Entry<S>>,
    pub(crate) fallback: Option<Entry<S>>,
    pub(crate) events: [Option<Entry<S>>; 3],
}

impl<S> Table<S> {
    pub(crate) fn route(&self, id: RouteId) -> Option<&Entry<S>> {
        self.routes.get(&id).or(self.fallback.as_ref())
    }

    pub(crate) fn entry(&self, label: Label) -> Option<&Entry<S>> {
        match label {
            Label::Route(id) => self.routes.get(&id),
            Label::Fallback => self.fallback.as_ref(),
            Label::Event(event) => self.event(event),
        }
    }

    /// Every handler.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry<S>> {
        self.routes.values().chain(&self.fallback).chain(self.events.iter().flatten())
    }

    pub(crate) fn event(&self, event: Event) -> Option<&Entry<S>> {
        let [connect, reconnect, disconnect] = &self.events;
        match event {
            Event::Connect => connect.as_ref(),
            Event::Reconnect => reconnect.as_ref(),
            Event::Disconnect => disconnect.as_ref(),
        }
    }
}

/// One handler.
pub(crate) struct Entry<S> {
    pub(crate) label: Label,
    pub(crate) rules: Rules,
    pub(crate) runner: Box<dyn Runner<S>>,
    /// What it has had to do.
    pub(crate) work: Work,
    warned: Cell<Option<Instant>>,
    failed: Calm,
}

impl<S> Entry<S> {
    pub(crate) fn new(label: Label, rules: Rules, runner: Box<dyn Runner<S>>) -> Self {
        let (work, warned, failed) = (Work::default(), Cell::new(None), Calm::default());
        Self { label, rules, runner, work, warned, failed }
    }

    /// It panicked, or failed where nobody waits for an answer. Where a panic was is told by the log's own
    /// hook.
    #[cold]
    pub(crate) fn has_failed(&self, now: Instant, conn: ConnId, why: impl fmt::Display) {
        if let Some(untold) = self.failed.tells(now) {
            let untold = (untold > 0).then_some(untold);
            tracing::warn!(label = %self.label, %conn, untold, "a handler failed: {why}");
        }
    }

    /// A poll took too long: nothing else on this instance ran in that time.
    #[cold]
    pub(crate) fn was_slow(&self, now: Instant, took: Duration, stats: &Stats) {
        let times = stats.slow_poll(self.label);
        let quiet = |last: Instant| now.saturating_duration_since(last) < WARN_EVERY;
        if self.warned.get().is_some_and(quiet) {
            return;
        }
        self.warned.set(Some(now));
        let label = self.label;
        tracing::warn!(
            %label, ?took, times,
            "a handler kept its instance for {took:?}; move it with .on_workers() or let it wait"
        );
    }
}
