//! A gate's numbers on the page.

use super::{
    family::{self, Family},
    page::{Page, Whose},
    queue,
    shown::{self, Shown},
};
use crate::gate::{
    GateHandle, GateStats,
    census::{Census, Listened},
};
use std::net::SocketAddr;

/// What the acceptor of a gate has counted.
pub(super) fn acceptor(page: &mut Page<'_>, gate: &GateHandle) {
    let whose = Whose(&[gate.name()]);
    for (index, counts) in gate.listeners().iter().enumerate() {
        let listener = listener(Some(&counts.address), index);
        let refused = [
            ("listener", counts.refused_listener),
            ("address", counts.refused_address),
            ("header", counts.refused_header),
        ];
        for (reason, count) in refused {
            page.sample(&family::GATE_REFUSED, whose, &[&listener, reason], count);
        }
        page.sample(&family::GATE_ACCEPT_ERRORS, whose, &[&listener], counts.accept_errors);
    }
}

/// What one instance has counted.
pub(super) fn instance(
    page: &mut Page<'_>,
    whose: Whose<'_>,
    addresses: &[SocketAddr],
    census: &Census,
) {
    for (index, listened) in census.listeners.iter().enumerate() {
        connections(page, whose, &listener(addresses.get(index), index), listened);
    }
    shown::write(page, whose, &census.stats.named(), shown);
    for (id, carried) in &census.routes {
        let route = id.map_or_else(|| "other".to_owned(), |id| id.to_string());
        let messages = [("in", carried.messages_in), ("out", carried.messages_out)];
        for (direction, count) in messages {
            page.sample(&family::GATE_MESSAGES, whose, &[direction, &route], count);
        }
        for (direction, bytes) in [("in", carried.bytes_in), ("out", carried.bytes_out)] {
            page.sample(&family::GATE_MESSAGE_BYTES, whose, &[direction, &route], bytes);
        }
    }
    let (stats, socket) = (&census.stats, &census.socket);
    for (direction, bytes) in [("in", stats.bytes_in), ("out", stats.bytes_out)] {
        page.sample(&family::GATE_SOCKET_BYTES, whose, &[direction], bytes);
    }
    for (direction, calls) in [("in", socket.reads), ("out", socket.writes)] {
        page.sample(&family::GATE_SOCKET_CALLS, whose, &[direction], calls);
    }
    page.sample(&family::GATE_SOCKET_FULL, whose, &[], socket.blocked);
    page.sample(&family::GATE_PAUSES, whose, &[], socket.pauses);
    page.sample(&family::GATE_USERS, whose, &[], stats.users);
    page.sample(&family::GATE_WAITING, whose, &[], stats.waiting);
    page.histogram(&family::GATE_SWEEP, whose, &[], (&census.sweeps, 1));
    queue(page, whose, "backlog", &census.backlog);
    queue(page, whose, "in_flight", &census.in_flight);
    super::links(page, whose, &census.links);
}

/// How a listener is called: where it listens, or on a virtual network its number.
fn listener(address: Option<&SocketAddr>, index: usize) -> String {
    let known = address.filter(|address| address.port() != 0);
    known.map_or_else(|| index.to_string(), SocketAddr::to_string)
}

fn connections(page: &mut Page<'_>, whose: Whose<'_>, listener: &str, listened: &Listened) {
    let Listened { transport, accepted, opening, active, pending, closing } = *listened;
    page.sample(&family::GATE_ACCEPTED, whose, &[listener, transport], accepted);
    let states =
        [("opening", opening), ("active", active), ("pending", pending), ("closing", closing)];
    for (state, count) in states {
        page.sample(&family::GATE_CONNECTIONS, whose, &[listener, transport, state], count);
    }
}

/// Where a counter of a gate is found on the page.
fn shown(name: &'static str) -> Shown {
    if let Some(reason) = name.strip_prefix("closed_") {
        return Shown::As(&family::GATE_CLOSED, Some(reason));
    }
    if let Some(reason) = name.strip_prefix("dropped_") {
        return Shown::As(&family::GATE_DROPPED, Some(reason));
    }
    let (family, label) = match name {
        "binds" => (&family::GATE_LOGINS, None),
        "duplicates" => (&family::GATE_DUPLICATES, None),
        "packets_skipped" => (&family::GATE_SKIPPED, None),
        "wrong_layout" => (&family::GATE_WRONG_LAYOUT, None),
        "refused_by_nodes" => (&family::GATE_REFUSED_BY_NODES, None),
        "statuses" => (&family::GATE_STATUSES, Some("sent")),
        "statuses_unsent" => (&family::GATE_STATUSES, Some("unsent")),
        "undeliverable" => (&family::GATE_UNDELIVERABLE, None),
        "unserved" => (&family::GATE_UNSERVED, None),
        "events_lost" => (&family::GATE_EVENTS_UNTOLD, Some("lost")),
        "events_unwanted" => (&family::GATE_EVENTS_UNTOLD, Some("unwanted")),
        "sent_again" => (&family::GATE_SENT_AGAIN, None),
        "held" => (&family::GATE_HELD, None),
        "connections" | "users" | "waiting" | "accepted" | "closed" | "refused"
        | "refused_listener" | "refused_address" | "refused_header" | "accept_errors"
        | "messages_in" | "messages_out" | "bytes_in" | "bytes_out" => return Shown::Elsewhere,
        _ => return Shown::Nowhere,
    };
    Shown::As(family, label)
}

/// Why connections end and messages are dropped, with what each reason means.
pub(super) fn reasons(family: &Family) -> Vec<(&'static str, &'static str)> {
    shown::reasons(family, GateStats::described(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_a_gate_is_shown() {
        for (name, help) in GateStats::described() {
            assert_ne!(shown(name), Shown::Nowhere, "{name}: {help}");
        }
    }
}
