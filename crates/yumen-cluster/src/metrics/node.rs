//! A node's numbers on the page.

use super::{
    family::{self, Family},
    page::{Page, Whose},
    queue,
    shown::{self, Shown},
};
use crate::node::{Stats, census::Census, table::Label};
use yumen_core::cluster::Event;

/// Of the buckets of a route's histogram every second bound is given: there may be many routes.
const ROUTE_STEP: usize = 2;

/// What one instance has counted.
pub(super) fn instance(page: &mut Page<'_>, whose: Whose<'_>, census: &Census) {
    let handlers = &census.handlers;
    for (label, served) in &handlers.served {
        let route = name(*label);
        if !matches!(label, Label::Event(_)) {
            page.sample(&family::NODE_MESSAGES, whose, &[&route], served.messages);
            page.sample(&family::NODE_MESSAGE_BYTES, whose, &[&route], served.bytes);
        }
        page.histogram(&family::NODE_HANDLER, whose, &[&route], (&served.times, ROUTE_STEP));
    }
    for (label, count) in &census.slow {
        page.sample(&family::NODE_SLOW, whose, &[&name(*label)], *count);
    }
    page.histogram(&family::NODE_POLL, whose, &[], (&handlers.polls, 1));
    page.sample(&family::NODE_WAITING, whose, &[], handlers.waiting);
    page.sample(&family::NODE_WAITING_MAX, whose, &[], handlers.waiting_max);
    shown::write(page, whose, &census.counters, shown);
    queue(page, whose, "held", &handlers.held);
    queue(page, whose, "inbox", &census.inbox);
    super::links(page, whose, &census.links);
}

/// How a handler is called in the label `route`.
fn name(label: Label) -> String {
    match label {
        Label::Route(id) => id.to_string(),
        Label::Fallback => "other".to_owned(),
        Label::Event(Event::Connect) => "connect".to_owned(),
        Label::Event(Event::Reconnect) => "reconnect".to_owned(),
        Label::Event(Event::Disconnect) => "disconnect".to_owned(),
    }
}

/// Where a counter of a node is found on the page.
fn shown(name: &'static str) -> Shown {
    let (family, label) = match name {
        "busy" => (&family::NODE_DROPPED, Some("busy")),
        "malformed" => (&family::NODE_DROPPED, Some("malformed")),
        "unknown_routes" => (&family::NODE_DROPPED, Some("unknown_route")),
        "forbidden" => (&family::NODE_DROPPED, Some("forbidden")),
        "held_dropped" => (&family::NODE_DROPPED, Some("gone")),
        "refused" => (&family::NODE_REFUSED, None),
        "timeouts" => (&family::NODE_TIMEOUTS, None),
        "panics" => (&family::NODE_PANICS, None),
        "replies" => (&family::NODE_REPLIES, None),
        "answers_lost" => (&family::NODE_ANSWERS_LOST, None),
        "answers_delayed" => (&family::NODE_ANSWERS_DELAYED, None),
        "waited" => (&family::NODE_WAITED, None),
        "events" => (&family::NODE_EVENTS, None),
        "events_dropped" => (&family::NODE_EVENTS_DROPPED, None),
        "events_failed" => (&family::NODE_EVENTS_FAILED, None),
        "unserved" => (&family::NODE_UNSERVED, None),
        "users_lost" => (&family::NODE_USERS_LOST, None),
        "handed_on" => (&family::NODE_HANDED_ON, None),
        "inbox_full" => (&family::NODE_INBOX_FULL, None),
        "messages" | "slow_polls" => return Shown::Elsewhere,
        _ => return Shown::Nowhere,
    };
    Shown::As(family, label)
}

/// Why messages are dropped, with what each reason means.
pub(super) fn reasons(family: &Family) -> Vec<(&'static str, &'static str)> {
    shown::reasons(family, Stats::described(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_a_node_is_shown() {
        for (name, help) in Stats::described() {
            assert_ne!(shown(name), Shown::Nowhere, "{name}: {help}");
        }
    }
}
