//! `/sessions`: who is connected, as far as an operator asks for it.

use super::{
    answer::{self, Answer, Problem},
    desk::{At, INSTANCE_MAX},
};
use crate::gate::{GateHandle, SessionInfo, SessionPage, SessionQuery};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use yumen_proto::{
    conn::ConnState,
    id::{ConnId, InstanceId, UserId},
};

/// Sessions given if nobody says how many, and most of all.
const MAX_DEFAULT: usize = 100;
const MAX_MAX: usize = 10_000;
/// Most channels named of one session.
const CHANNELS_MAX: usize = 20;
/// What a wrong query is answered.
const FORMS: &str = "/sessions?max=100&user=7&conn=12&gate=gate-1: max is 0 to 10000, the others \
                     narrow the search";

/// What `/sessions` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    max: Option<usize>,
    user: Option<i64>,
    conn: Option<i64>,
    gate: Option<String>,
}

#[derive(Serialize)]
struct Page {
    sessions: Vec<Row>,
    shown: usize,
    total: u64,
    silent: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    gate: String,
    conn: i64,
    user: Option<i64>,
    peer: String,
    listener: u16,
    state: &'static str,
    connected_ms: u64,
    logged_in_ms: Option<u64>,
    last_packet_ms: u64,
    channels: Vec<String>,
    channels_total: usize,
    in_flight_bytes: u32,
    backlog_bytes: usize,
}

impl From<SessionInfo> for Row {
    fn from(info: SessionInfo) -> Self {
        let mut channels = info.channels;
        let channels_total = channels.len();
        channels.truncate(CHANNELS_MAX);
        Self {
            gate: info.gate.to_string(),
            conn: info.conn.0,
            user: info.user.map(|user| user.0),
            peer: info.peer.to_string(),
            listener: info.listener,
            state: state_name(info.state),
            connected_ms: millis(info.connected),
            logged_in_ms: info.logged_in.map(millis),
            last_packet_ms: millis(info.last_packet),
            channels,
            channels_total,
            in_flight_bytes: info.in_flight,
            backlog_bytes: info.backlog,
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn state_name(state: ConnState) -> &'static str {
    match state {
        ConnState::Active => "active",
        ConnState::Pending => "pending",
        ConnState::Closing => "closing",
    }
}

/// Sessions of this process's gates.
pub(super) async fn sessions(
    State(desk): At,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Answer {
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), FORMS))?;
    let gates = desk.control.gates();
    let query = query(&asked, &gates)?;
    let place = desk.large().await;
    let mut page = SessionPage::default();
    for gate in &gates {
        let rest = query.max.saturating_sub(page.sessions.len());
        let found = gate.find(&SessionQuery { max: rest, ..query.clone() }).await;
        page.sessions.extend(found.sessions);
        page.total = page.total.saturating_add(found.total);
        page.silent.extend(found.silent);
    }
    let page = Page {
        shown: page.sessions.len(),
        sessions: page.sessions.into_iter().map(Row::from).collect(),
        total: page.total,
        silent: page.silent.iter().map(ToString::to_string).collect(),
    };
    Ok(answer::json_holding(StatusCode::OK, &page, place))
}

/// What was asked, if it makes sense here.
fn query(asked: &Asked, gates: &[GateHandle]) -> Result<SessionQuery, Problem> {
    let max = asked.max.unwrap_or(MAX_DEFAULT);
    if max > MAX_MAX {
        return Err(Problem::bad(format!("max is {max}, more than {MAX_MAX}"), FORMS));
    }
    let user = match asked.user {
        Some(user) => Some(
            UserId::new(user)
                .ok_or_else(|| Problem::bad(format!("user is {user}; users are above 0"), FORMS))?,
        ),
        None => None,
    };
    let gate = asked.gate.as_deref().map(InstanceId::from);
    if let Some(gate) = &gate {
        let known: Vec<_> = gates.iter().flat_map(GateHandle::ids).collect();
        if !known.contains(&gate) {
            let known: Vec<_> = known.into_iter().map(InstanceId::as_str).collect();
            let error = format!("{gate} is no gate instance of this process");
            let help = format!("there are: {}", known.join(", "));
            return Err(Problem::new(StatusCode::NOT_FOUND, error, help));
        }
    }
    let conn = asked.conn.map(ConnId);
    Ok(SessionQuery { gate, user, conn, max, wait_max: INSTANCE_MAX })
}
