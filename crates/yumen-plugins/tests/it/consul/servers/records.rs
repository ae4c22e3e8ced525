//! What stands in Consul, and what due makes of it.

use crate::{
    consul::{
        agent::{Agent, brisk},
        plain::{self, dues_node, dues_reading},
    },
    registry::{follow, ids, is_well, join, never_lacks, node, says, until, until_ids, within},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;
use yumen_core::{
    cluster::{Event, Instance, Kind, RouteInfo, State},
    conformance,
    health::Health,
    registry::{Registry, RegistryError},
};

#[tokio::test]
async fn the_registry_conforms() {
    let agent = Agent::start().await;
    within(conformance::registry(&agent.registry())).await;
}

/// The node of due's documentation.
fn documented() -> Instance {
    let endpoint = "drpc://192.168.1.10:34567?is_secure=false";
    let mut node = Instance::new("node-1".into(), Kind::Node, endpoint);
    node.alias = "room".to_owned();
    node.events = vec![Event::Connect, Event::Disconnect];
    node.routes = vec![
        RouteInfo::new(1.into()),
        RouteInfo { stateful: true, authorized: true, ..RouteInfo::new(2.into()) },
    ];
    node.weight = 1;
    node
}

#[tokio::test]
async fn a_node_that_due_registered_is_found_beside_services_that_are_none() {
    let agent = Agent::start().await;
    plain::register(&agent.addr(), &dues_node(&[])).await;
    let registry = agent.registry();
    let mut nodes = follow(&registry).await;
    let mut wanted = documented();
    wanted.events = [1, 3].into_iter().filter_map(Event::from_number).collect();
    assert_eq!(*nodes.current(), [wanted.clone()]);
    // Others use Consul, too, and one of them uses our name.
    let stray = json!({ "ID": "stray", "Name": "node", "Port": 1 });
    plain::put(&agent.addr(), "/v1/agent/service/register", &stray).await;
    let broken = [("id", "broken"), ("events", "[1,")];
    plain::register(&agent.addr(), &dues_node(&broken)).await;
    let newer = [("id", "b"), ("state", "resting"), ("routes-0", "-7-1,9-x,5,3-65,99999999999-0")];
    plain::register(
        &agent.addr(),
        &dues_node(
            &[
                &newer[..],
                &[("routes-10", "10-0"), ("routes-9", "9-0"), ("_zone", "东"), ("unknown", "x")],
            ]
            .concat(),
        ),
    )
    .await;
    until(&mut nodes, |set| set.len() == 2).await;
    let set = nodes.current();
    assert_eq!(ids(&set), ["b", "node-1"]);
    assert_eq!((set[0].state, set[0].metadata["zone"].as_str()), (State::Shut, "东"));
    // Negative ones too, which due cannot read; what is malformed is left out.
    let routes: Vec<_> = set[0].routes.iter().map(|route| (route.id.0, route.internal)).collect();
    assert_eq!(routes, [(-7, true), (3, true), (9, false), (10, false)]);
    within(async {
        while registry.unread() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(registry.health(), Health::Good);
}

#[tokio::test]
async fn due_reads_what_we_registered() {
    let agent = Agent::start().await;
    let mut node = documented();
    node.services = vec!["wallet".to_owned()];
    node.routes =
        (-3..600).map(|id| RouteInfo { internal: true, ..RouteInfo::new(id.into()) }).collect();
    node.metadata = [("zone".to_owned(), "东".to_owned())].into();
    join(&agent.registry(), &node).await;
    let mut read = Vec::new();
    within(async {
        while read.is_empty() {
            read = dues_reading(&agent.addr(), "node").await;
        }
    })
    .await;
    let routes: Vec<Value> = (0..600).map(|id| json!([id, 1])).collect();
    let wanted = json!({
        "name": "node", "id": "node-1", "kind": "node", "alias": "room", "state": "work", "weight": 1,
        "endpoint": "drpc://192.168.1.10:34567?is_secure=false", "events": [1, 3],
        "services": ["wallet"], "routes": routes, "metadata": [["zone", "东"]],
    });
    assert_eq!(read, [wanted]);
    // And the same by us, in the same order, with those that due loses.
    assert_eq!(*follow(&agent.registry()).await.current(), [node]);
}

#[tokio::test]
async fn a_change_is_seen_and_nobody_is_away_for_a_moment() {
    let agent = Agent::start().await;
    // Somebody listens, so Consul may look.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("drpc://{}", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let look = Some((Duration::from_secs(1), Duration::from_secs(1)));
    let registry = brisk(agent.addr()).health_check(look).build().unwrap();
    let mut instance = Instance::new("a".into(), Kind::Node, endpoint);
    join(&registry, &instance).await;
    let other = agent.registry();
    let mut nodes = follow(&other).await;
    // At once, and not when the first check has passed.
    until_ids(&mut nodes, &["a"]).await;
    let watched = never_lacks(nodes.clone(), &["a"]);
    for weight in 1..20 {
        instance.weight = weight;
        within(registry.join(&instance)).await.unwrap();
        until(&mut nodes, |set| set[0].weight == weight).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(!watched.is_finished());
    // And Consul does look: who does not answer goes, heartbeat or not.
    watched.abort();
    accepting.abort();
    until_ids(&mut nodes, &[]).await;
}

#[tokio::test]
async fn w21_one_that_hangs_stays_in_the_set_and_says_so() {
    let agent = Agent::start().await;
    let (registry, other) = (agent.registry(), agent.registry());
    for id in ["a", "b", "c"] {
        join(&registry, &node(id)).await;
    }
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a", "b", "c"]).await;
    join(&registry, &Instance { state: State::Hang, ..node("b") }).await;
    until(&mut nodes, |set| set[1].state == State::Hang).await;
    let states: Vec<_> = nodes.current().iter().map(|node| node.state).collect();
    assert_eq!(states, [State::Work, State::Hang, State::Work]);
    // due sees it, too.
    let read = dues_reading(&agent.addr(), "node").await;
    let hanging = |node: &&Value| node["state"] == "hang";
    assert_eq!(read.iter().filter(hanging).map(|node| &node["id"]).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_second_process_with_one_id_is_told_and_not_written_over() {
    let agent = Agent::start().await;
    let (first, second) = (agent.registry(), agent.registry());
    let away = Instance::new("a".into(), Kind::Node, "drpc://127.0.0.1:9/other");
    join(&first, &node("a")).await;
    // The first join of a process replaces what is there.
    join(&second, &away).await;
    says(&first, "node-a is registered by another process, at drpc://127.0.0.1:9/other").await;
    assert_eq!(second.health(), Health::Good);
    within(second.leave(&"a".into(), Kind::Node)).await.unwrap();
    is_well(&first).await;
    until(&mut follow(&second).await, |set| **set == [node("a")]).await;
}

#[tokio::test]
async fn who_leaves_takes_nothing_that_is_anothers() {
    let agent = Agent::start().await;
    let (first, second) = (agent.registry(), agent.registry());
    let moved = Instance::new("a".into(), Kind::Node, "drpc://127.0.0.1:9/other");
    join(&first, &node("a")).await;
    join(&second, &moved).await;
    within(first.leave(&"a".into(), Kind::Node)).await.unwrap();
    until(&mut follow(&second).await, |set| **set == [moved.clone()]).await;
    within(second.leave(&"a".into(), Kind::Node)).await.unwrap();
    until_ids(&mut follow(&second).await, &[]).await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_name_and_nothing_is_written() {
    let agent = Agent::start().await;
    let registry = agent.registry();
    let long = "x".repeat(513);
    type Change = Box<dyn Fn(&mut Instance)>;
    let changes: [(Change, &str); 6] = [
        (
            Box::new(|node| node.services = vec!["wallet".to_owned(); 60]),
            "its services takes 541 bytes",
        ),
        (
            Box::new(move |node| drop(node.metadata.insert("zone".into(), long.clone()))),
            "the entry \"zone\" of its metadata takes 513 bytes",
        ),
        (
            Box::new(|node| drop(node.metadata.insert("a.b".into(), String::new()))),
            "the entry \"a.b\" of its metadata has a name that Consul does not take",
        ),
        (Box::new(|node| node.alias = "x".repeat(600)), "its alias takes 600 bytes"),
        (
            Box::new(|node| node.endpoint = "here".into()),
            "the endpoint \"here\" has no scheme://host:port",
        ),
        (
            Box::new(|node| node.routes = (0..9000).map(|id| RouteInfo::new(id.into())).collect()),
            "Consul has room for 64",
        ),
    ];
    for (change, wanted) in changes {
        let mut instance = documented();
        change(&mut instance);
        let error = within(registry.join(&instance)).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Unfit { .. }) && error.to_string().contains(wanted),
            "{error}"
        );
    }
    assert_eq!(plain::get(&agent.addr(), "/v1/agent/services").await, json!({}));
    // The very limit is fine, and Consul agrees.
    let mut instance = documented();
    instance.metadata.insert("zone".to_owned(), "x".repeat(512));
    within(registry.join(&instance)).await.unwrap();
}

#[tokio::test]
async fn an_id_may_hold_any_character() {
    let agent = Agent::start().await;
    let registry = agent.registry();
    let mut nodes = follow(&registry).await;
    for id in ["a/b c", "房间-1", "%2F?x=1&y#z", "a:b+c"] {
        let instance = Instance::new(id.into(), Kind::Node, "drpc://127.0.0.1:1");
        join(&registry, &instance).await;
        until(&mut nodes, |set| **set == [instance.clone()]).await;
        within(registry.leave(&id.into(), Kind::Node)).await.unwrap();
        until_ids(&mut nodes, &[]).await;
    }
}
