//! Consul is away, asleep, silent, or has forgotten everything.

use crate::{
    consul::{
        agent::{Agent, brisk},
        plain,
    },
    registry::{follow, ids, is_red, is_well, join, never_lacks, node, until, until_ids, within},
    wire::{Proxy, count_callers},
};
use serde_json::{Value, json};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::sleep;
use yumen_core::{
    cluster::{Instance, Kind, State},
    health::Health,
    registry::Registry,
};

#[tokio::test]
async fn w20_twenty_seconds_without_consul_lose_nobody_and_nobody_spins() {
    let mut agent = Agent::start().await;
    let (registry, other) = (agent.registry(), agent.registry());
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        join(&registry, &node(name)).await;
    }
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &names).await;
    let watched = never_lacks(nodes.clone(), &["a", "b", "c", "d", "e"]);
    agent.kill();
    let (callers, counting) = count_callers(&agent.addr()).await;
    // Meanwhile an instance changes and another comes, again and again.
    let late = async { while registry.join(&node("late")).await.is_err() {} };
    let changed = Instance { state: State::Busy, ..node("a") };
    let change = async { while registry.join(&changed).await.is_err() {} };
    let server = async {
        sleep(Duration::from_secs(20)).await;
        assert!(!registry.health().is_ready() && !other.health().is_ready(), "both say so");
        assert_eq!(nodes.current().len(), 5);
        counting.abort();
        assert!(counting.await.unwrap_err().is_cancelled());
        agent.restart().await;
    };
    within(async { tokio::join!(late, change, server) }).await;
    let callers = callers.load(Ordering::Relaxed);
    assert!((10..500).contains(&callers), "{callers} connections in 20 s");
    until(&mut nodes, |set| set.contains(&changed) && set.contains(&node("late"))).await;
    is_well(&registry).await;
    is_well(&other).await;
    // Followed, not read once: a leave after the outage is told.
    join(&registry, &Instance { state: State::Hang, ..node("late") }).await;
    until(&mut nodes, |set| set.iter().any(|node| node.state == State::Hang)).await;
    within(registry.leave(&"late".into(), Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &names).await;
    assert!(!watched.is_finished());
}

#[tokio::test]
async fn w20_an_agent_that_slept_longer_than_the_heartbeats_loses_nobody() {
    let agent = Agent::start().await;
    let (registry, other) = (agent.registry(), agent.registry());
    join(&registry, &node("a")).await;
    join(&registry, &node("b")).await;
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a", "b"]).await;
    let watched = never_lacks(nodes.clone(), &["a", "b"]);
    agent.pause();
    // Longer than a heartbeat may take. It wakes up and calls everybody dead.
    sleep(Duration::from_secs(8)).await;
    assert!(registry.health() != Health::Good && other.health() != Health::Good, "both noticed");
    agent.resume();
    is_well(&registry).await;
    is_well(&other).await;
    join(&registry, &node("c")).await;
    until_ids(&mut nodes, &["a", "b", "c"]).await;
    within(registry.leave(&"b".into(), Kind::Node)).await.unwrap();
    within(registry.leave(&"c".into(), Kind::Node)).await.unwrap();
    watched.abort();
    until_ids(&mut nodes, &["a"]).await;
}

#[tokio::test]
async fn w20_an_agent_that_forgot_everything_is_told_again() {
    let mut agent = Agent::start().await;
    let (registry, other) = (agent.registry(), agent.registry());
    let dead = agent.registry();
    for (registry, id) in [(&registry, "a"), (&registry, "b"), (&dead, "dead")] {
        join(registry, &node(id)).await;
    }
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a", "b", "dead"]).await;
    let watched = never_lacks(nodes.clone(), &["a", "b"]);
    agent.kill();
    drop(dead);
    is_red(&other).await;
    agent.restart().await;
    is_well(&registry).await;
    is_well(&other).await;
    // The agent knows nothing of it, but it may be on its way back.
    assert!(ids(&nodes.current()).contains(&"dead"), "the days of grace");
    // Who does not come back is gone after all.
    until_ids(&mut nodes, &["a", "b"]).await;
    join(&registry, &node("c")).await;
    until_ids(&mut nodes, &["a", "b", "c"]).await;
    let there = plain::get(&agent.addr(), "/v1/agent/services").await;
    let there: Vec<_> = there.as_object().unwrap().keys().collect();
    assert_eq!(there, ["node-a", "node-b", "node-c"]);
    assert!(!watched.is_finished());
}

#[tokio::test]
async fn w20_an_agent_that_is_restarted_with_its_memory_loses_nobody() {
    let mut agent = Agent::keeping().await;
    let (registry, other) = (agent.registry(), agent.registry());
    join(&registry, &node("a")).await;
    join(&registry, &node("b")).await;
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a", "b"]).await;
    let watched = never_lacks(nodes.clone(), &["a", "b"]);
    for _ in 0..2 {
        agent.kill();
        agent.restart().await;
        is_well(&registry).await;
        is_well(&other).await;
    }
    join(&registry, &node("c")).await;
    until_ids(&mut nodes, &["a", "b", "c"]).await;
    assert!(!watched.is_finished());
}

#[tokio::test]
async fn w20_a_service_and_a_check_that_somebody_removed_are_registered_again() {
    let agent = Agent::start().await;
    let (registry, other) = (agent.registry(), agent.registry());
    join(&registry, &node("a")).await;
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a"]).await;
    let addr = agent.addr();
    plain::put(&addr, "/v1/agent/service/deregister/node-a", &Value::Null).await;
    until_ids(&mut nodes, &[]).await;
    until_ids(&mut nodes, &["a"]).await;
    // Without its check it would live for ever, whatever becomes of its process.
    plain::put(&addr, "/v1/agent/check/deregister/service:node-a", &Value::Null).await;
    within(async {
        while plain::get(&addr, "/v1/agent/checks").await["service:node-a"]["Status"] != "passing" {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // Somebody's mistake under our id, at our address.
    let mine =
        json!({ "ID": "node-a", "Name": "node", "Meta": { "endpoint": node("a").endpoint } });
    plain::put(&addr, "/v1/agent/service/register", &mine).await;
    until_ids(&mut nodes, &[]).await;
    until_ids(&mut nodes, &["a"]).await;
    assert_eq!(registry.health(), Health::Good);
}

#[tokio::test]
async fn w20_a_line_that_dies_without_a_word_is_noticed() {
    let agent = Agent::start().await;
    let proxy = Proxy::start(agent.addr(), None).await;
    let (registry, other) = (agent.registry(), brisk(proxy.addr()).build().unwrap());
    join(&registry, &node("a")).await;
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a"]).await;
    for name in ["b", "c"] {
        proxy.blackhole();
        join(&registry, &node(name)).await;
        until(&mut nodes, |set| ids(set).contains(&name)).await;
        is_well(&other).await;
    }
    // A question to which nothing new is answered is not a dead line.
    let connections = proxy.accepted();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(proxy.accepted(), connections);
    is_well(&other).await;
}

#[tokio::test]
async fn a_killed_process_is_gone_when_its_heartbeat_has_run_out() {
    let agent = Agent::start().await;
    let (killed, other) = (agent.registry(), agent.registry());
    join(&killed, &node("a")).await;
    join(&other, &node("b")).await;
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a", "b"]).await;
    drop(killed);
    until_ids(&mut nodes, &["b"]).await;
    // The other one lives on its heartbeats.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(ids(&nodes.current()), ["b"]);
}

#[tokio::test]
async fn a_process_starts_from_disk_while_consul_is_down() {
    let mut agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let other = agent.registry();
    join(&other, &node("a")).await;
    {
        let earlier = brisk(agent.addr()).cache_dir(dir.path()).build().unwrap();
        let mut nodes = follow(&earlier).await;
        until_ids(&mut nodes, &["a"]).await;
        let copy = dir.path().join("consul-services-node.json");
        let kept = || std::fs::read_to_string(&copy).is_ok_and(|text| text.contains("\"a\""));
        within(async {
            while !kept() {
                sleep(Duration::from_millis(20)).await
            }
        })
        .await;
    }
    agent.kill();
    let none = agent.registry();
    within(none.watch(Kind::Node)).await.expect_err("without a copy there is no set");
    let started = brisk(agent.addr()).cache_dir(dir.path()).build().unwrap();
    let mut nodes = follow(&started).await;
    assert_eq!(ids(&nodes.current()), ["a"]);
    assert!(started.health() != Health::Good, "it says that this is a copy");
    drop(other);
    agent.restart().await;
    // The first answer of the server replaces the copy, though `a` was in it.
    until_ids(&mut nodes, &[]).await;
    is_well(&started).await;
}
