//! Three members, of which some are lost; and a server that asks who one is.

use super::{Version, on_both, run};
use crate::{
    etcd::{
        gateway::post,
        member::{Member, brisk},
    },
    registry::{follow, ids, join, node, until, until_ids, within},
};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;
use yumen_core::{
    cluster::{Kind, State},
    health::Health,
    registry::{Registry, RegistryError},
};
use yumen_plugins::etcd::EtcdRegistryBuilder;

on_both!(
    w20_a_cluster_that_loses_its_leader_goes_on,
    w20_without_a_quorum_sets_are_read_and_records_wait,
    accounts_are_honoured_and_a_lost_token_is_replaced,
);

fn addrs(members: &[Member]) -> Vec<String> {
    members.iter().map(Member::addr).collect()
}

fn patient(members: &[Member]) -> EtcdRegistryBuilder {
    brisk(addrs(members)).retry_interval(Duration::from_secs(4))
}

async fn w20_a_cluster_that_loses_its_leader_goes_on(version: Version) {
    let mut members = Member::cluster(version, 3).await;
    let (registry, other) =
        (patient(&members).build().unwrap(), patient(&members).build().unwrap());
    join(&registry, &node("a")).await;
    let mut nodes = follow(&other).await;
    let mut leader = 0;
    for (n, member) in members.iter().enumerate() {
        if member.leads().await {
            leader = n;
        }
    }
    members[leader].kill();
    let mut changed = node("a");
    changed.state = State::Busy;
    join(&registry, &changed).await;
    join(&registry, &node("b")).await;
    until(&mut nodes, |set| **set == [changed.clone(), node("b")]).await;
    members[leader].restart().await;
    within(registry.leave(&"b".into(), Kind::Node)).await.unwrap();
    until(&mut nodes, |set| **set == *std::slice::from_ref(&changed)).await;
}

async fn w20_without_a_quorum_sets_are_read_and_records_wait(version: Version) {
    let mut members = Member::cluster(version, 3).await;
    let (registry, other) =
        (patient(&members).build().unwrap(), patient(&members).build().unwrap());
    join(&registry, &node("a")).await;
    let mut nodes = follow(&other).await;
    // Every member has it, so that each could be asked.
    for member in &members {
        let there = async {
            let read = json!({ "key": "L3NlcnZpY2VzL25vZGUvYQ==", "serializable": true });
            while post(&member.addr(), "kv/range", read.clone()).await.unwrap()["count"] != "1" {
                sleep(Duration::from_millis(20)).await;
            }
        };
        within(there).await;
    }
    members[0].kill();
    members[1].kill();
    let newcomer = patient(&members).build().unwrap();
    let mut read = follow(&newcomer).await;
    assert_eq!(ids(&read.current()), ["a"], "the one that is left is asked");
    within(async {
        while newcomer.health().is_ready() {
            let refused = newcomer.join(&node("new")).await;
            refused.expect_err("nothing can be written");
        }
    })
    .await;
    assert_eq!(ids(&nodes.current()), ["a"]);
    members[1].relaunch();
    until_ids(&mut nodes, &["a", "new"]).await;
    until_ids(&mut read, &["a", "new"]).await;
    within(async {
        while newcomer.health() != Health::Good || registry.health() != Health::Good {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// etcd takes its time over passwords.
fn slow(member: &Member) -> EtcdRegistryBuilder {
    member.brisk().timeout(Duration::from_secs(5))
}

async fn accounts_are_honoured_and_a_lost_token_is_replaced(version: Version) {
    let mut member = Member::start(version).await;
    let addr = member.addr();
    // From `/services/` to the key behind all that begin so.
    let services = json!({
        "permType": "READWRITE", "key": "L3NlcnZpY2VzLw==", "range_end": "L3NlcnZpY2VzMA=="
    });
    for (path, body) in [
        ("auth/user/add", json!({ "name": "root", "password": "r" })),
        ("auth/user/grant", json!({ "user": "root", "role": "root" })),
        ("auth/role/add", json!({ "name": "games" })),
        ("auth/role/grant", json!({ "name": "games", "perm": services })),
        ("auth/user/add", json!({ "name": "game", "password": "gh" })),
        ("auth/user/grant", json!({ "user": "game", "role": "games" })),
    ] {
        if path == "auth/user/grant" && body["user"] == "root" {
            // 3.4 does not have it by itself.
            let _there_already = post(&addr, "auth/role/add", json!({ "name": "root" })).await;
        }
        post(&addr, path, body).await.unwrap();
    }
    let early = slow(&member).user("game", "gh").build().unwrap();
    join(&early, &node("early")).await;
    post(&addr, "auth/enable", json!({})).await.unwrap();

    for (builder, why) in [
        (slow(&member), "user name is empty"),
        (slow(&member).user("game", "wrong"), "authentication failed"),
    ] {
        let refused = builder.build().unwrap();
        let told = |error: RegistryError| error.to_string().contains(why);
        within(async { while !told(refused.join(&node("x")).await.unwrap_err()) {} }).await;
        within(async { while !told(refused.watch(Kind::Node).await.unwrap_err()) {} }).await;
    }
    let registry = slow(&member).user("game", "gh").build().unwrap();
    let other = slow(&member).user("game", "gh").build().unwrap();
    join(&registry, &node("a")).await;
    let mut nodes = follow(&other).await;
    until_ids(&mut nodes, &["a", "early"]).await;

    // Tokens live in the server's memory.
    member.kill();
    member.relaunch();
    join(&registry, &node("b")).await;
    until_ids(&mut nodes, &["a", "b", "early"]).await;
    within(registry.leave(&"a".into(), Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["b", "early"]).await;
}
