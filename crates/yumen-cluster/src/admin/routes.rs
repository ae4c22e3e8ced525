//! `/routes`: what clients may send, who serves it, and how much of it there has been.

use super::{
    answer::{self, Answer},
    cluster::{NODES, state_name},
    desk::{At, INSTANCE_MAX},
};
use crate::{
    app::Control,
    gate::{listing, traffic::Carried},
    metrics::answered,
};
use axum::{extract::State, http::StatusCode};
use serde::Serialize;
use std::{collections::BTreeMap, pin::pin};
use tokio::time::sleep;
use yumen_core::cluster::Instance;
use yumen_proto::id::RouteId;

#[derive(Serialize)]
struct Routes {
    routes: Vec<RouteRow>,
    conflicts: usize,
    silent: Vec<String>,
}

#[derive(Serialize)]
struct RouteRow {
    id: i32,
    internal: bool,
    stateful: bool,
    authorized: bool,
    group: String,
    instances: Vec<ServerRow>,
    traffic: TrafficRow,
}

/// An instance that serves a route.
#[derive(Serialize)]
struct ServerRow {
    id: String,
    state: &'static str,
    weight: u32,
    takes_new: bool,
}

/// What the gates of this process have carried of a route.
#[derive(Clone, Copy, Default, Serialize)]
struct TrafficRow {
    messages_in: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
}

impl TrafficRow {
    fn add(&mut self, more: &Carried) {
        self.messages_in = self.messages_in.saturating_add(more.messages_in);
        self.bytes_in = self.bytes_in.saturating_add(more.bytes_in);
        self.messages_out = self.messages_out.saturating_add(more.messages_out);
        self.bytes_out = self.bytes_out.saturating_add(more.bytes_out);
    }
}

/// Every route, as a gate of this process serves it.
pub(super) async fn routes(State(desk): At) -> Answer {
    let place = desk.large().await;
    let clusters = desk.followed.now(&desk.control).await?;
    let (traffic, silent) = traffic(&desk.control).await;
    let mut body = Routes { routes: Vec::new(), conflicts: 0, silent };
    for nodes in clusters.iter().filter_map(|kinds| kinds.get(NODES)) {
        let (routes, conflicts) = listing(nodes);
        body.conflicts = body.conflicts.saturating_add(conflicts);
        body.routes.extend(routes.into_iter().map(|route| RouteRow {
            id: route.rules.id.0,
            internal: route.rules.internal,
            stateful: route.rules.stateful,
            authorized: route.rules.authorized,
            group: route.group.to_string(),
            instances: route.servers.into_iter().map(|(node, open)| server(node, open)).collect(),
            traffic: traffic.get(&route.rules.id).copied().unwrap_or_default(),
        }));
    }
    Ok(answer::json_holding(StatusCode::OK, &body, place))
}

fn server(node: &Instance, takes_new: bool) -> ServerRow {
    let (state, weight) = (state_name(node.state), node.weight.max(1));
    ServerRow { id: node.id.to_string(), state, weight, takes_new }
}

/// What the gates of this process have carried, by route; and those that did not answer.
async fn traffic(control: &Control) -> (BTreeMap<RouteId, TrafficRow>, Vec<String>) {
    let (mut traffic, mut silent) = (BTreeMap::<_, TrafficRow>::new(), Vec::new());
    let gates = control.gates();
    // All are asked before the first is waited for: they count at the same time.
    let asked: Vec<_> = gates.iter().flat_map(|gate| gate.ask_census(|_| true)).collect();
    let mut late = pin!(sleep(INSTANCE_MAX));
    for (id, answer) in asked {
        let Some(census) = answered(answer, &mut late).await else {
            silent.push(id.to_string());
            continue;
        };
        for (route, carried) in &census.routes {
            route.iter().for_each(|route| traffic.entry(*route).or_default().add(carried));
        }
    }
    (traffic, silent)
}
