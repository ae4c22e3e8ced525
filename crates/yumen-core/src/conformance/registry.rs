//! The promises of a registry.

use super::must;
use crate::{
    BoxFuture,
    cluster::{Event, Instance, Kind, RouteInfo, Snapshot, State},
    registry::Registry,
    watch::Watch,
};
use std::{future::poll_fn, task::Poll};

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
    every_change_is_seen(registry, &mut nodes).await;
    a_join_while_a_watch_begins_is_not_missed(registry).await;
    a_join_that_was_given_up_does_no_harm(registry, &mut nodes).await;
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
    // No two instances listen at one address, and some registries know an instance by it.
    let port = id.bytes().fold(4_000_u16, |port, byte| port.saturating_add(byte.into()));
    let endpoint = format!("drpc://10.0.0.1:{port}?is_secure=false");
    let mut node = Instance::new(id.into(), Kind::Node, endpoint);
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

type Change = fn(&mut Instance);

/// Each by itself, so that none is seen only because of another.
async fn every_change_is_seen(registry: &dyn Registry, nodes: &mut Watch<Snapshot>) {
    let mut node = full("a");
    must("who has left can join again", registry.join(&node).await);
    until(nodes, "and is seen again", std::slice::from_ref(&node)).await;
    let changes: [(&str, Change); 7] = [
        ("a state", |node| node.state = State::Hang),
        ("a weight", |node| node.weight = 8),
        ("no weight", |node| node.weight = 0),
        ("an endpoint", |node| node.endpoint = "drpc://10.0.0.2:4001?is_secure=false".to_owned()),
        ("routes", |node| node.routes.truncate(1)),
        ("events", |node| node.events.clear()),
        ("metadata", |node| node.metadata.clear()),
    ];
    for (what, change) in changes {
        change(&mut node);
        must("a change can be published", registry.join(&node).await);
        until(nodes, what, std::slice::from_ref(&node)).await;
    }
    must("a leave", registry.leave(&"a".into(), Kind::Node).await);
    must("a join right after it", registry.join(&node).await);
    must("a leave right after that", registry.leave(&"a".into(), Kind::Node).await);
    must("and a join again", registry.join(&full("b")).await);
    until(nodes, "the last word counts", &[full("b")]).await;
    must("a leave", registry.leave(&"b".into(), Kind::Node).await);
    until(nodes, "and it is gone", &[]).await;
}

/// Begins a call and leaves it where it has to wait.
async fn begin<T>(call: &mut BoxFuture<'_, T>) -> Option<T> {
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn a_join_while_a_watch_begins_is_not_missed(registry: &dyn Registry) {
    let mut gate = full("g");
    gate.kind = Kind::Gate;
    gate.name = "gate".to_owned();
    let mut watch = registry.watch(Kind::Gate);
    let begun = begin(&mut watch).await;
    must("a join", registry.join(&gate).await);
    let watch = match begun {
        Some(watch) => watch,
        None => watch.await,
    };
    let mut gates = must("a kind can be followed", watch);
    until(&mut gates, "what comes while a watch begins is seen", &[gate]).await;
    must("a leave", registry.leave(&"g".into(), Kind::Gate).await);
    until(&mut gates, "and so is that it goes", &[]).await;
}

async fn a_join_that_was_given_up_does_no_harm(
    registry: &dyn Registry,
    nodes: &mut Watch<Snapshot>,
) {
    let mut given_up = full("a");
    given_up.weight = 1;
    let mut join = registry.join(&given_up);
    begin(&mut join).await;
    drop(join);
    must("it can be tried again", registry.join(&full("a")).await);
    until(nodes, "the newest record stands", &[full("a")]).await;
    let id = "a".into();
    let mut leave = registry.leave(&id, Kind::Node);
    begin(&mut leave).await;
    drop(leave);
    must("so can a leave", registry.leave(&id, Kind::Node).await);
    until(nodes, "it is gone", &[]).await;
}
