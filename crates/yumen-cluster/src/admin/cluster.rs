//! `/instances`, and the registry's view of the cluster that it and `/routes` show.
//!
//! Read from the registry's watches, which keep the last known set while a backend is away. The first
//! request opens them and they stay; before that admin costs the registry nothing.

use super::{
    answer::{self, Answer, Problem},
    desk::{At, INSTANCE_MAX},
    sessions::millis,
};
use crate::app::{Control, InstanceStatus};
use axum::{extract::State, http::StatusCode};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::{sync::Mutex, time::timeout};
use yumen_core::{
    cluster::{Kind, Snapshot, State as InstanceState},
    registry::RegistryError,
    watch::Watch,
};
use yumen_proto::id::InstanceId;

const KINDS: [Kind; 4] = [Kind::Gate, Kind::Node, Kind::Mesh, Kind::Master];
/// Where the nodes stand in it.
pub(super) const NODES: usize = 1;

/// The registries of this process, followed once somebody has asked.
#[derive(Default)]
pub(super) struct Followed(Mutex<Option<Vec<Kinds>>>);

/// One cluster: a watch of each kind, in the order of [`KINDS`].
type Kinds = Vec<Watch<Snapshot>>;

/// One cluster, as it is now: a snapshot of each kind, in the order of [`KINDS`].
pub(super) type Seen = Vec<Snapshot>;

impl Followed {
    /// Every cluster of this process, as it is now.
    pub(super) async fn now(&self, control: &Control) -> Result<Vec<Seen>, Problem> {
        let unavailable = |why: String| {
            let help = "the registry did not answer; ask again once it is back";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, why, help)
        };
        let read = async {
            let mut followed = self.0.lock().await;
            if followed.is_none() {
                *followed = Some(open(control).await?);
            }
            let clusters = followed.iter_mut().flatten();
            let now = |kinds: &mut Kinds| kinds.iter_mut().map(Watch::current).collect();
            Ok::<_, RegistryError>(clusters.map(now).collect())
        };
        match timeout(INSTANCE_MAX, read).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable("the registry is silent".to_owned())),
        }
    }
}

async fn open(control: &Control) -> Result<Vec<Kinds>, RegistryError> {
    let mut clusters = Vec::new();
    for cluster in control.clusters() {
        let mut kinds = Vec::new();
        for kind in KINDS {
            kinds.push(cluster.registry().watch(kind).await?);
        }
        clusters.push(kinds);
    }
    Ok(clusters)
}

#[derive(Serialize)]
struct Instances {
    phase: &'static str,
    instances: Vec<InstanceRow>,
}

#[derive(Serialize)]
struct InstanceRow {
    id: String,
    kind: &'static str,
    name: String,
    state: Option<&'static str>,
    weight: u32,
    endpoint: String,
    local: Option<LocalRow>,
}

/// What only its own process knows of an instance.
#[derive(Serialize)]
struct LocalRow {
    state: &'static str,
    thread: String,
    stalled_ms: Option<u64>,
    connections: Option<u64>,
}

/// Every instance of the cluster; those of this process whether the cluster knows them or not.
pub(super) async fn instances(State(desk): At) -> Answer {
    let connections = connections(&desk.control).await;
    let local = |status: &InstanceStatus| LocalRow {
        state: status.state.name(),
        thread: status.thread.clone(),
        stalled_ms: status.stalled.map(millis),
        connections: connections.get(&status.id).copied().flatten(),
    };
    let mut ours = desk.control.instances();
    let mut rows = Vec::new();
    for record in desk.followed.now(&desk.control).await?.iter().flatten().flat_map(|all| &**all) {
        let own = ours.iter().position(|own| own.id == record.id && own.kind == record.kind);
        let own = own.map(|at| ours.swap_remove(at));
        rows.push(InstanceRow {
            id: record.id.to_string(),
            kind: kind_name(record.kind),
            name: record.alias.clone(),
            state: Some(state_name(record.state)),
            weight: record.weight,
            endpoint: record.endpoint.clone(),
            local: own.as_ref().map(local),
        });
    }
    rows.extend(ours.iter().map(|own| InstanceRow {
        id: own.id.to_string(),
        kind: kind_name(own.kind),
        name: own.name.clone(),
        state: None,
        weight: 0,
        endpoint: String::new(),
        local: Some(local(own)),
    }));
    rows.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
    let body = Instances { phase: desk.control.phase().name(), instances: rows };
    Ok(answer::json(StatusCode::OK, &body))
}

/// Connections of each gate instance of this process; `None` where it does not answer.
async fn connections(control: &Control) -> BTreeMap<InstanceId, Option<u64>> {
    let mut all = BTreeMap::new();
    for gate in control.gates() {
        all.extend(gate.connections(INSTANCE_MAX).await);
    }
    all
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Gate => "gate",
        Kind::Node => "node",
        Kind::Mesh => "mesh",
        Kind::Master => "master",
    }
}

pub(super) fn state_name(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Shut => "shut",
        InstanceState::Work => "work",
        InstanceState::Busy => "busy",
        InstanceState::Hang => "hang",
    }
}
