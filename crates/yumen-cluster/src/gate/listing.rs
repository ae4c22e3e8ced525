//! The routes of a cluster as a gate would serve them, for an operator to read.
//!
//! It asks the table that gates route by, so what is shown is what happens.

use super::{
    table::{Route, Table},
    traffic::Routes,
};
use std::sync::Arc;
use yumen_core::cluster::{Instance, RouteInfo, Snapshot};

/// A route and who serves it.
#[derive(Debug)]
pub(crate) struct Listed<'a> {
    /// Its number, and who may send it: the strictest of what its nodes say.
    pub(crate) rules: RouteInfo,
    /// The name that its nodes share.
    pub(crate) group: Arc<str>,
    /// Every node that serves it, and whether new messages go there.
    pub(crate) servers: Vec<(&'a Instance, bool)>,
}

/// Every route of the nodes, by number; and how often one was declared by a second group, whose nodes
/// then do not serve it.
pub(crate) fn listing(nodes: &Snapshot) -> (Vec<Listed<'_>>, usize) {
    let table = Table::new(nodes, &Routes::default());
    let mut routes: Vec<_> = table.routes.values().map(|route| listed(route, nodes)).collect();
    routes.sort_by_key(|route| route.rules.id);
    (routes, table.conflicts)
}

fn listed<'a>(route: &Route, nodes: &'a Snapshot) -> Listed<'a> {
    let node = |index: &u32| nodes.get(usize::try_from(*index).ok()?);
    let server = |index: &u32| Some((node(index)?, route.open.contains(index)));
    let servers = route.all.iter().filter_map(server).collect();
    Listed { rules: route.rules, group: Arc::clone(&route.group), servers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::cluster::{Kind, State};

    #[test]
    fn a_route_is_listed_with_everyone_who_serves_it_and_who_gets_new_messages() {
        let node = |id: &str, alias: &str, state, routes: &[i32]| {
            let mut node = Instance::new(id.into(), Kind::Node, "");
            (node.alias, node.state) = (alias.to_owned(), state);
            node.routes = routes.iter().map(|id| RouteInfo::new((*id).into())).collect();
            node
        };
        let nodes = Snapshot::from([
            node("a", "room", State::Hang, &[7, 2]),
            node("b", "room", State::Work, &[7]),
            node("c", "mail", State::Work, &[7]),
        ]);
        let (routes, conflicts) = listing(&nodes);
        let short: Vec<_> = routes
            .iter()
            .map(|route| {
                let servers: Vec<_> =
                    route.servers.iter().map(|(node, open)| (node.id.as_str(), *open)).collect();
                (route.rules.id.0, &*route.group, servers)
            })
            .collect();
        let expected =
            [(2, "room", vec![("a", false)]), (7, "room", vec![("a", false), ("b", true)])];
        assert_eq!((short, conflicts), (expected.to_vec(), 1));
    }
}
