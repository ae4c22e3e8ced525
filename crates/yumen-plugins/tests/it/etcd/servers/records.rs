//! Records: what is written, what is read, and what becomes of a change.

use super::{Version, on_both, run};
use crate::{
    etcd::{gateway, member::Member},
    registry::{follow, ids, join, node, until, until_ids, within},
    wire::{Gate, Proxy},
};
use std::time::Duration;
use yumen_core::{
    cluster::{Instance, Kind, State},
    conformance,
    health::Health,
    registry::Registry,
};
use yumen_plugins::etcd::EtcdRegistry;

on_both!(
    the_registry_conforms,
    dues_record_is_read_beside_values_that_are_none,
    the_recorded_life_of_dues_cluster_is_followed_and_written_again,
    a_change_is_put_on_the_lease_that_is_there,
    what_happens_between_the_read_and_the_watch_is_not_missed,
    a_history_that_was_dropped_is_read_again_and_is_no_failure,
    a_second_process_with_one_id_is_told_and_not_written_over,
    who_leaves_takes_nothing_that_is_anothers,
    a_set_of_many_pages_is_read_whole,
    an_id_with_a_slash_is_refused,
);

/// What a node of due's wrote, after the source of its encoder.
const DUES: &str = concat!(
    r#"{"id":"node-1","name":"node","kind":"node","alias":"room","state":"work","events":[1,3],"#,
    r#""routes":[{"i":1},{"i":2,"s":true,"a":true}],"#,
    r#""endpoint":"drpc://192.168.1.10:34567?is_secure=false","weight":1}"#
);

/// What a cluster of due v2.5.8 did to etcd, recorded: one change a line.
const LIFE: &str = include_str!("../golden/life.txt");

async fn the_registry_conforms(version: Version) {
    let member = Member::start(version).await;
    within(conformance::registry(&member.registry())).await;
    assert_eq!(gateway::leases(&member.addr()).await, 0, "who leaves gives the lease back");
}

async fn dues_record_is_read_beside_values_that_are_none(version: Version) {
    let member = Member::start(version).await;
    let addr = member.addr();
    let gate = r#"{"id":"g","kind":"gate"}"#;
    let others = [
        ("/services/node/broken", "{"),
        ("/services/node/empty", ""),
        ("/services/node/nameless", r#"{"kind":"node"}"#),
        ("/services/node/gate", gate),
        ("/services/node2/node-2", DUES),
        ("/services/nod/node-3", DUES),
        ("/service/node/node-4", DUES),
    ];
    for (key, value) in others {
        // Each has an id of its own, so that one that is read is seen.
        let id = key.rsplit('/').next().unwrap();
        gateway::put(&addr, key, &value.replace("node-1", id)).await;
    }
    gateway::put(&addr, "/services/node/node-1", DUES).await;
    let registry = member.registry();
    let mut nodes = follow(&registry).await;
    let read: Instance = serde_json::from_str(DUES).unwrap();
    assert_eq!(*nodes.current(), std::slice::from_ref(&read)[..]);
    assert_eq!(registry.unread(), 4);

    gateway::put(&addr, "/services/node/node-5", "[]").await;
    gateway::put(&addr, "/services/node2/node-6", &DUES.replace("node-1", "node-6")).await;
    gateway::delete(&addr, "/services/node/broken").await;
    gateway::delete(&addr, "/services/node/empty").await;
    let last = node("last");
    join(&registry, &last).await;
    until(&mut nodes, |set| set.contains(&last)).await;
    assert_eq!(*nodes.current(), [last, read]);
    assert_eq!(registry.unread(), 3);
}

async fn the_recorded_life_of_dues_cluster_is_followed_and_written_again(version: Version) {
    let (theirs, ours) = (Member::start(version).await, Member::start(version).await);
    let (theirs_read, ours_written) = (theirs.registry(), ours.registry());
    let mut gates = within(theirs_read.watch(Kind::Gate)).await.unwrap();
    let mut nodes = within(theirs_read.watch(Kind::Node)).await.unwrap();
    let mut steps = 0;
    for line in LIFE.lines() {
        let mut words = line.splitn(3, ' ');
        let (op, key, value) = (words.next().unwrap(), words.next().unwrap(), words.next());
        let followed = if key.starts_with("/services/gate/") { &mut gates } else { &mut nodes };
        match (op, value) {
            ("put", Some(value)) => {
                let instance: Instance = serde_json::from_str(value).unwrap();
                gateway::put(&theirs.addr(), key, value).await;
                until(followed, |set| **set == *std::slice::from_ref(&instance)).await;
                join(&ours_written, &instance).await;
                let written = gateway::get(&ours.addr(), key).await.unwrap();
                assert_eq!(written.value, value, "byte for byte");
                assert_ne!(written.lease, 0);
            }
            ("delete", None) => {
                gateway::delete(&theirs.addr(), key).await;
                until_ids(followed, &[]).await;
                within(ours_written.leave(&"gate-1".into(), Kind::Gate)).await.unwrap();
                assert_eq!(gateway::get(&ours.addr(), key).await, None);
            }
            _ => panic!("{line}"),
        }
        steps += 1;
    }
    assert_eq!(steps, 5);
}

async fn a_change_is_put_on_the_lease_that_is_there(version: Version) {
    let member = Member::start(version).await;
    let (registry, other) = (member.registry(), member.registry());
    let mut nodes = follow(&other).await;
    let mut instance = node("a");
    join(&registry, &instance).await;
    let lease = gateway::get(&member.addr(), "/services/node/a").await.unwrap().lease;
    for (state, weight) in [(State::Busy, 3), (State::Hang, 3), (State::Work, 7)] {
        (instance.state, instance.weight) = (state, weight);
        join(&registry, &instance).await;
        until(&mut nodes, |set| **set == *std::slice::from_ref(&instance)).await;
        let there = gateway::get(&member.addr(), "/services/node/a").await.unwrap();
        assert_eq!(there.lease, lease);
    }
    assert_eq!(gateway::leases(&member.addr()).await, 1);
    assert_eq!((registry.health(), other.health()), (Health::Good, Health::Good));
}

/// Waits as long as it may for an answer that a test holds back.
fn patient(proxy: &Proxy) -> EtcdRegistry {
    EtcdRegistry::builder([proxy.addr()]).timeout(Duration::from_secs(5)).build().unwrap()
}

async fn what_happens_between_the_read_and_the_watch_is_not_missed(version: Version) {
    let member = Member::start(version).await;
    let addr = member.addr();
    gateway::put(&addr, "/services/node/node-1", DUES).await;
    gateway::put(&addr, "/services/node/x", &DUES.replace("node-1", "x")).await;
    let proxy = Proxy::start(addr.clone(), Some("192.168.1.10")).await;
    let registry = patient(&proxy);
    let nodes = registry.watch(Kind::Node);
    let (nodes, ()) = within(async { tokio::join!(nodes, proxy.held()) }).await;
    let mut nodes = nodes.unwrap();
    assert_eq!(ids(&nodes.current()), ["node-1", "x"], "it was read, and is not followed yet");
    gateway::put(&addr, "/services/node/node-2", &DUES.replace("node-1", "node-2")).await;
    gateway::delete(&addr, "/services/node/x").await;
    proxy.set(Gate::Open);
    until_ids(&mut nodes, &["node-1", "node-2"]).await;
    assert_eq!(registry.health(), Health::Good);
    assert_eq!(proxy.accepted(), 1, "on the first connection, and not by a second read");
}

async fn a_history_that_was_dropped_is_read_again_and_is_no_failure(version: Version) {
    let member = Member::start(version).await;
    let addr = member.addr();
    gateway::put(&addr, "/services/node/node-1", DUES).await;
    let proxy = Proxy::start(addr.clone(), Some("192.168.1.10")).await;
    // After a failure the one that goes would be missed for two minutes.
    let followed = EtcdRegistry::builder([proxy.addr()]).timeout(Duration::from_secs(5));
    let followed = followed.retry_interval(Duration::from_secs(120)).build().unwrap();
    let nodes = followed.watch(Kind::Node);
    let (nodes, ()) = within(async { tokio::join!(nodes, proxy.held()) }).await;
    let mut nodes = nodes.unwrap();
    gateway::put(&addr, "/services/node/a", &DUES.replace("node-1", "a")).await;
    gateway::delete(&addr, "/services/node/node-1").await;
    gateway::compact(&addr).await;
    proxy.set(Gate::Open);
    until_ids(&mut nodes, &["a"]).await;
    gateway::put(&addr, "/services/node/b", &DUES.replace("node-1", "b")).await;
    until_ids(&mut nodes, &["a", "b"]).await;
    assert_eq!(followed.health(), Health::Good);
    assert_eq!(proxy.accepted(), 1);
}

async fn a_second_process_with_one_id_is_told_and_not_written_over(version: Version) {
    let member = Member::start(version).await;
    let (first, second) = (member.brisk().build().unwrap(), member.brisk().build().unwrap());
    let (ours, mut theirs) = (node("a"), node("a"));
    theirs.endpoint = "drpc://10.9.9.9:1?is_secure=false".to_owned();
    join(&first, &ours).await;
    let mut nodes = follow(&second).await;
    assert_eq!(*nodes.current(), std::slice::from_ref(&ours)[..], "who asks before a join knows");
    join(&second, &theirs).await;
    until(&mut nodes, |set| **set == *std::slice::from_ref(&theirs)).await;

    let told = |health: Health| match health {
        Health::Failing { last, .. } => last.contains("10.9.9.9:1"),
        Health::Good => false,
    };
    within(async {
        while !told(first.health()) {
            nothing().await
        }
    })
    .await;
    let changed = Instance { weight: 9, ..ours.clone() };
    let refused = within(first.join(&changed)).await.unwrap_err().to_string();
    assert!(refused.contains("/services/node/a is registered by another process"), "{refused}");
    assert_eq!(*nodes.current(), std::slice::from_ref(&theirs)[..]);
    assert_eq!(second.health(), Health::Good);

    within(second.leave(&"a".into(), Kind::Node)).await.unwrap();
    until(&mut nodes, |set| **set == *std::slice::from_ref(&changed)).await;
    within(async {
        while first.health() != Health::Good {
            nothing().await
        }
    })
    .await;
}

/// Lets the others work.
async fn nothing() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

async fn who_leaves_takes_nothing_that_is_anothers(version: Version) {
    let member = Member::start(version).await;
    let (first, second) = (member.registry(), member.registry());
    join(&first, &node("a")).await;
    join(&second, &node("a")).await;
    within(first.leave(&"a".into(), Kind::Node)).await.unwrap();
    let left = gateway::get(&member.addr(), "/services/node/a").await.unwrap();
    let left: Instance = serde_json::from_str(&left.value).unwrap();
    assert_eq!(left, node("a"));
    assert_eq!(gateway::leases(&member.addr()).await, 1);
}

async fn a_set_of_many_pages_is_read_whole(version: Version) {
    let member = Member::start(version).await;
    let name = |n: usize| format!("node-{n:04}");
    let entry = |n| (format!("/services/node/{}", name(n)), DUES.replace("node-1", &name(n)));
    let entries: Vec<_> = (0..1_203).map(entry).collect();
    gateway::put_all(&member.addr(), &entries).await;
    let registry = member.registry();
    let set = follow(&registry).await.current();
    assert_eq!(set.len(), 1_203);
    assert!(set.iter().enumerate().all(|(n, instance)| instance.id.as_str() == name(n)));
}

async fn an_id_with_a_slash_is_refused(version: Version) {
    let member = Member::start(version).await;
    let registry = member.registry();
    let refused = within(registry.join(&node("a/b"))).await.unwrap_err().to_string();
    assert!(refused.contains("a/b contains a slash"), "{refused}");
}
