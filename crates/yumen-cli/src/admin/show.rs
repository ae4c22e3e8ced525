//! Answers of the admin as a person reads them: tables, and lines that say what was done.
//!
//! It takes the JSON as it is documented and gives `None` for anything else, which is then printed as
//! it came.
use serde::Deserialize;

#[derive(Deserialize)]
struct Refusal {
    error: String,
    help: String,
}

/// Why something was refused, and what to do.
pub(super) fn refusal(body: &str) -> Option<String> {
    let Refusal { error, help } = serde_json::from_str(body).ok()?;
    Some(format!("{error}\n{help}\n"))
}

#[derive(Deserialize)]
struct Instances {
    phase: String,
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    id: String,
    kind: String,
    name: String,
    state: Option<String>,
    weight: u32,
    endpoint: String,
    local: Option<Local>,
}

#[derive(Deserialize)]
struct Local {
    state: String,
    thread: String,
    stalled_ms: Option<u64>,
    connections: Option<u64>,
}

pub(super) fn instances(body: &str) -> Option<String> {
    let Instances { phase, instances } = serde_json::from_str(body).ok()?;
    let titles = [
        "KIND",
        "ID",
        "NAME",
        "STATE",
        "WEIGHT",
        "ENDPOINT",
        "HERE",
        "THREAD",
        "CONNECTIONS",
        "STUCK",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    let count = instances.len();
    for Instance { id, kind, name, state, weight, endpoint, local } in instances {
        let (here, thread, connections, stuck) = local.map_or_else(Default::default, |local| {
            let connections = local.connections.map(|count| count.to_string());
            let stuck = local.stalled_ms.map(time);
            (Some(local.state), Some(local.thread), connections, stuck)
        });
        rows.push([
            kind,
            id,
            name,
            or_dash(state),
            weight.to_string(),
            or_dash(Some(endpoint)),
            or_dash(here),
            or_dash(thread),
            or_dash(connections),
            or_dash(stuck),
        ]);
    }
    Some(format!("{}\n{count} instances; this process is {phase}\n", table(&rows)))
}

#[derive(Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
    shown: usize,
    total: u64,
    silent: Vec<String>,
}

#[derive(Deserialize)]
struct Session {
    gate: String,
    conn: i64,
    user: Option<i64>,
    peer: String,
    state: String,
    connected_ms: u64,
    logged_in_ms: Option<u64>,
    last_packet_ms: u64,
    channels: Vec<String>,
    channels_total: usize,
    in_flight_bytes: u64,
    backlog_bytes: u64,
}

pub(super) fn sessions(body: &str) -> Option<String> {
    let Sessions { sessions, shown, total, silent } = serde_json::from_str(body).ok()?;
    let titles = [
        "GATE",
        "CONN",
        "USER",
        "PEER",
        "STATE",
        "CONNECTED",
        "LOGGED IN",
        "HEARD",
        "IN FLIGHT",
        "BACKLOG",
        "CHANNELS",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    for session in sessions {
        let more = session.channels_total.saturating_sub(session.channels.len());
        let mut channels = session.channels.join(" ");
        if more > 0 {
            channels.push_str(&format!(" +{more}"));
        }
        rows.push([
            session.gate,
            session.conn.to_string(),
            or_dash(session.user.map(|user| user.to_string())),
            session.peer,
            session.state,
            time(session.connected_ms),
            or_dash(session.logged_in_ms.map(time)),
            time(session.last_packet_ms),
            session.in_flight_bytes.to_string(),
            session.backlog_bytes.to_string(),
            or_dash(Some(channels)),
        ]);
    }
    let mut text = format!("{}\n{shown} of {total} sessions\n", table(&rows));
    if !silent.is_empty() {
        text.push_str(&format!(
            "no answer from {}: their sessions are missing\n",
            silent.join(", ")
        ));
    }
    Some(text)
}

#[derive(Deserialize)]
struct Routes {
    routes: Vec<Route>,
    conflicts: usize,
    silent: Vec<String>,
}

#[derive(Deserialize)]
struct Route {
    id: i32,
    internal: bool,
    stateful: bool,
    authorized: bool,
    group: String,
    instances: Vec<Server>,
    traffic: Traffic,
}

#[derive(Deserialize)]
struct Traffic {
    messages_in: u64,
    messages_out: u64,
}

#[derive(Deserialize)]
struct Server {
    id: String,
    state: String,
    weight: u32,
}

pub(super) fn routes(body: &str) -> Option<String> {
    let Routes { routes, conflicts, silent } = serde_json::from_str(body).ok()?;
    let mut rows = vec![["ROUTE", "GROUP", "RULES", "IN", "OUT", "SERVED BY"].map(str::to_owned)];
    let count = routes.len();
    for route in routes {
        let rules =
            [(route.authorized, "login"), (route.stateful, "sticky"), (route.internal, "internal")];
        let rules: Vec<_> = rules.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        let server = |server: Server| match server.weight {
            1 => format!("{} ({})", server.id, server.state),
            weight => format!("{} ({}, weight {weight})", server.id, server.state),
        };
        let servers: Vec<_> = route.instances.into_iter().map(server).collect();
        let cells = [rules.join(" "), servers.join(", ")].map(|cell| or_dash(Some(cell)));
        let [rules, servers] = cells;
        let (heard, sent) = (route.traffic.messages_in, route.traffic.messages_out);
        let [id, heard, sent] = [route.id.to_string(), heard.to_string(), sent.to_string()];
        rows.push([id, route.group, rules, heard, sent, servers]);
    }
    let what = "IN and OUT are messages that the gates of this process have carried";
    let mut text = format!("{}\n{count} routes; {what}\n", table(&rows));
    if !silent.is_empty() {
        text.push_str(&format!("no answer from {}: theirs are missing\n", silent.join(", ")));
    }
    if conflicts > 0 {
        text.push_str(&format!(
            "{conflicts} declarations of a second group are without effect: one group serves a route\n"
        ));
    }
    Some(text)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Log {
    Changed { was: String, now: String, falls_back_to: Option<String> },
    Level { level: String, falls_back_to: Option<String>, written: u64, dropped: u64 },
}

pub(super) fn log(body: &str) -> Option<String> {
    let (mut text, falls_back_to) = match serde_json::from_str(body).ok()? {
        Log::Changed { was, now, falls_back_to } => {
            (format!("the log level was {was} and is {now}\n"), falls_back_to)
        }
        Log::Level { level, falls_back_to, written, dropped } => {
            let lines = format!("{written} lines written, {dropped} dropped");
            (format!("the log level is {level}; {lines}\n"), falls_back_to)
        }
    };
    falls_back_to.iter().for_each(|former| {
        text.push_str(&format!("it falls back to {former} by itself\n"));
    });
    Some(text)
}

#[derive(Deserialize)]
struct Drain {
    was: String,
    what: String,
}

pub(super) fn drain(body: &str) -> Option<String> {
    let Drain { was, what } = serde_json::from_str(body).ok()?;
    Some(format!("it was {was}; {what}\n"))
}

fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// A time in the two units that matter: `4.2s`, `3m20s`, `5h07m`, `2d03h`.
fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < 60 => format!("{seconds}.{}s", ms % 1000 / 100),
        () if minutes < 60 => format!("{minutes}m{:02}s", seconds % 60),
        () if hours < 24 => format!("{hours}h{:02}m", minutes % 60),
        () => format!("{days}d{:02}h", hours % 24),
    }
}

/// Rows below each other, each column as wide as its widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line: Vec<_> = cells.collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times: Vec<_> =
            [0, 4_250, 59_999, 60_000, 200_000, 18_420_000, 183_600_000].map(time).into();
        assert_eq!(times, ["0.0s", "4.2s", "59.9s", "1m00s", "3m20s", "5h07m", "2d03h"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "B", "C"], ["long", "é", "-"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "A     B  C\nlong  é  -\n");
    }

    #[test]
    fn what_is_not_as_documented_is_left_as_it_came() {
        assert_eq!(sessions("{}"), None);
        assert_eq!(refusal("gateway timeout"), None);
        let both = r#"{"error":"no","help":"do"}"#;
        assert_eq!(refusal(both).as_deref(), Some("no\ndo\n"));
    }
}
