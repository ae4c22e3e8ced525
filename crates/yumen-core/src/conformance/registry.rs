//! The promises of a registry.

use super::must;
use crate::{
    cluster::{Event, Instance, Kind, RouteInfo, Snapshot, State},
    registry::Registry,
    watch::Watch,
};

/// Checks a registry that holds no instances.
///
/// # Panics
/// At the first broken promise.
pub async fn registry(registry: &dyn Registry) {
    let mut nodes = follow(registry, Kind::Node).await;
    assert!(nodes.current().is_empty(), "a watch starts with the whole set: here, none");
    a_join_is_seen_whole(registry, &mut nodes).await;
    a_second_join_replaces(registry, &mut nodes).await;
    sets_are_sorted_and_shared(registry, &mut nodes).await;
    kinds_are_apart(registry, &mut nodes).await;
    a_leave_is_seen(registry, &mut nodes).await;
}

async fn follow(registry: &dyn Registry, kind: Kind) -> Watch<Snapshot> {
    must("a kind can be followed", registry.watch(kind).await)
}

/// Waits for the set to be as wanted; a backend may take more than one step to get there.
async fn until(watch: &mut Watch<Snapshot>, promise: &str, wanted: &[Instance]) {
    while *watch.current() != *wanted {
        assert!(watch.changed().await, "a watch never ends by itself ({promise})");
    }
}

/// A record that uses every field.
fn full(id: &str) -> Instance {
    let mut node = Instance::new(id.into(), Kind::Node, "drpc://10.0.0.1:4000?is_secure=false");
    node.alias = "room".to_owned();
    node.events = vec![Event::Connect, Event::Disconnect];
    let open = RouteInfo::new((-1).into());
    let guarded = RouteInfo { id: 7.into(), internal: true, stateful: true, authorized: true };
    node.routes = vec![open, guarded];
    node.services = vec!["wallet".to_owned()];
    node.weight = 3;
    node.metadata = [("zone".to_owned(), "东".to_owned())].into();
    node
}

async fn a_join_is_seen_whole(registry: &dyn Registry, nodes: &mut Watch<Snapshot>) {
    must("an instance can join", registry.join(&full("b")).await);
    until(nodes, "a join is seen with every field", &[full("b")]).await;
}

async fn a_second_join_replaces(registry: &dyn Registry, nodes: &mut Watch<Snapshot>) {
    let mut hanging = full("b");
    hanging.state = State::Hang;
    hanging.routes.clear();
    must("an instance can join again", registry.join(&hanging).await);
    until(nodes, "the new record replaces the old one", &[hanging]).await;
    must("and again", registry.join(&full("b")).await);
    must("and again without a change", registry.join(&full("b")).await);
    until(nodes, "it is one instance still", &[full("b")]).await;
}

async fn sets_are_sorted_and_shared(registry: &dyn Registry, nodes: &mut Watch<Snapshot>) {
    must("another can join", registry.join(&full("a")).await);
    let both = [full("a"), full("b")];
    until(nodes, "a set is sorted by id", &both).await;
    let mut late = follow(registry, Kind::Node).await;
    assert_eq!(*late.current(), both, "a late watch starts with the whole set");
}

async fn kinds_are_apart(registry: &dyn Registry, nodes: &mut Watch<Snapshot>) {
    let mut meshes = follow(registry, Kind::Mesh).await;
    let mut mesh = full("b");
    mesh.kind = Kind::Mesh;
    mesh.name = "mesh".to_owned();
    must("an id may be used once in each kind", registry.join(&mesh).await);
    until(&mut meshes, "a kind shows its own", &[mesh]).await;
    assert_eq!(*nodes.current(), [full("a"), full("b")], "and nothing else");
    must("a leave", registry.leave(&"b".into(), Kind::Mesh).await);
    until(&mut meshes, "leaves one kind", &[]).await;
    assert_eq!(*nodes.current(), [full("a"), full("b")], "and not the other");
}

async fn a_leave_is_seen(registry: &dyn Registry, nodes: &mut Watch<Snapshot>) {
    let mut other = follow(registry, Kind::Node).await;
    must("an instance can leave", registry.leave(&"b".into(), Kind::Node).await);
    until(nodes, "a leave is seen", &[full("a")]).await;
    until(&mut other, "by every watch", &[full("a")]).await;
    must("to leave twice is no error", registry.leave(&"b".into(), Kind::Node).await);
    must("the last can leave", registry.leave(&"a".into(), Kind::Node).await);
    until(nodes, "an empty set is a set", &[]).await;
}
