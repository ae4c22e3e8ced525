//! Look-ups on the message path, for counting their instructions; not part of the API.

use super::{balance::Dispatch, sessions::Index, table::Table, traffic::Routes};
use yumen_core::cluster::{Instance, Kind, RouteInfo, Snapshot};
use yumen_proto::{
    id::{ConnId, RouteId, UserId},
    link::Target,
};

/// Routes, nodes and users of the probes.
const ROUTES: i32 = 200;
const NODES: usize = 3;
const USERS: i64 = 10_000;

/// Finds a route among 200 and the next of its three nodes. True if there is one.
pub fn route() -> impl FnMut(i32) -> bool {
    let nodes = (0..NODES).map(|n| {
        let mut node = Instance::new(format!("node-{n}").into(), Kind::Node, "");
        node.routes = (0..ROUTES).map(|id| RouteInfo::new(RouteId(id))).collect();
        node
    });
    let table = Table::new(&Snapshot::from_iter(nodes), &Routes::default());
    move |id| {
        let route = table.route(RouteId(id));
        route.and_then(|route| table.pick(route, Dispatch::RoundRobin, 0)).is_some()
    }
}

/// Finds the connection of a user among 10,000. True if there is one.
pub fn session() -> impl FnMut(i64) -> bool {
    let mut index = Index::default();
    for user in 1..=USERS {
        index.set_user(UserId(user), ConnId(user));
    }
    move |user| index.conn(Target::User(UserId(user))).is_some()
}
