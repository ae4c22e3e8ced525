//! etcd is away, asleep, silent, or has forgotten everything.

use super::{Version, on_both, run};
use crate::{
    etcd::{
        gateway,
        member::{Member, brisk},
    },
    registry::{
        follow, ids, is_red, is_well, join, never_lacks, node, says, until, until_ids, within,
    },
    wire::{Proxy, closed, count_callers, mute},
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::sleep;
use yumen_core::{
    cluster::{Instance, Kind, State},
    health::Health,
    registry::Registry,
};
use yumen_plugins::etcd::EtcdRegistry;

on_both!(
    w20_twenty_seconds_without_etcd_lose_nobody_and_nobody_spins,
    w20_a_server_that_slept_longer_than_its_leases_loses_nobody,
    w20_a_server_that_forgot_everything_is_told_again,
    w20_a_lost_lease_and_a_deleted_record_are_registered_again,
    w20_a_stream_that_dies_without_a_word_is_noticed,
    a_killed_process_is_gone_when_its_lease_has_run_out,
    a_process_starts_from_disk_while_etcd_is_down,
    the_next_member_is_asked_when_one_never_answers,
);

/// Leases of 5 s, so that a machine that is busy does not miss one.
fn steady(member: &Member) -> EtcdRegistry {
    member.brisk().retry_interval(Duration::from_secs(4)).build().unwrap()
}

async fn w20_twenty_seconds_without_etcd_lose_nobody_and_nobody_spins(version: Version) {
    let mut member = Member::start(version).await;
    let (registry, other) = (member.registry(), member.registry());
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        join(&registry, &node(name)).await;
    }
    let mut nodes = follow(&other).await;
    let watched = never_lacks(nodes.clone(), &["a", "b", "c", "d", "e"]);
    member.kill();
    let (callers, counting) = count_callers(&member.addr()).await;
    // Meanwhile an instance changes and another comes, again and again.
    let late = async { while registry.join(&node("late")).await.is_err() {} };
    let mut changed = node("a");
    changed.state = State::Busy;
    let change = async { while registry.join(&changed).await.is_err() {} };
    let server = async {
        sleep(Duration::from_secs(20)).await;
        assert!(!registry.health().is_ready() && !other.health().is_ready(), "both say so");
        assert_eq!(nodes.current().len(), 5);
        counting.abort();
        assert!(counting.await.unwrap_err().is_cancelled());
        member.restart().await;
    };
    within(async { tokio::join!(late, change, server) }).await;
    let callers = callers.load(Ordering::Relaxed);
    assert!((10..500).contains(&callers), "{callers} connections in 20 s");
    until(&mut nodes, |set| set.contains(&changed) && set.contains(&node("late"))).await;
    is_well(&registry).await;
    is_well(&other).await;
    // Followed, not read once: a leave after the outage is told.
    let leaving = Instance { state: State::Hang, ..node("late") };
    join(&registry, &leaving).await;
    within(registry.leave(&"late".into(), Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &names).await;
    assert!(!watched.is_finished());
}

async fn w20_a_server_that_slept_longer_than_its_leases_loses_nobody(version: Version) {
    let member = Member::start(version).await;
    let (registry, other) = (steady(&member), steady(&member));
    join(&registry, &node("a")).await;
    join(&registry, &node("b")).await;
    let mut nodes = follow(&other).await;
    let watched = never_lacks(nodes.clone(), &["a", "b"]);
    member.pause();
    // Five times without an answer within a second are longer than the lease.
    is_red(&registry).await;
    is_red(&other).await;
    member.resume();
    is_well(&registry).await;
    is_well(&other).await;
    within(member.serves()).await;
    join(&registry, &node("c")).await;
    until_ids(&mut nodes, &["a", "b", "c"]).await;
    within(registry.leave(&"c".into(), Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["a", "b"]).await;
    assert!(!watched.is_finished());
}

async fn w20_a_server_that_forgot_everything_is_told_again(version: Version) {
    let mut member = Member::start(version).await;
    let (registry, other) = (steady(&member), steady(&member));
    let dead = steady(&member);
    join(&registry, &node("a")).await;
    join(&registry, &node("b")).await;
    join(&dead, &node("dead")).await;
    let mut nodes = follow(&other).await;
    let watched = never_lacks(nodes.clone(), &["a", "b"]);
    member.kill();
    drop(dead);
    is_red(&registry).await;
    member.forget();
    member.restart().await;
    is_well(&registry).await;
    is_well(&other).await;
    // Who does not come back is gone after all.
    until_ids(&mut nodes, &["a", "b"]).await;
    join(&registry, &node("c")).await;
    until_ids(&mut nodes, &["a", "b", "c"]).await;
    assert!(!watched.is_finished());
}

async fn w20_a_lost_lease_and_a_deleted_record_are_registered_again(version: Version) {
    let member = Member::start(version).await;
    let (registry, other) = (member.brisk().build().unwrap(), member.brisk().build().unwrap());
    join(&registry, &node("a")).await;
    let mut nodes = follow(&other).await;
    let key = "/services/node/a";
    let first = gateway::get(&member.addr(), key).await.unwrap().lease;
    for _ in 0..2 {
        let lease = gateway::get(&member.addr(), key).await.unwrap().lease;
        gateway::revoke(&member.addr(), lease).await;
        until_ids(&mut nodes, &[]).await;
        until_ids(&mut nodes, &["a"]).await;
    }
    let second = gateway::get(&member.addr(), key).await.unwrap().lease;
    assert_ne!(second, first);
    gateway::delete(&member.addr(), key).await;
    until_ids(&mut nodes, &[]).await;
    until_ids(&mut nodes, &["a"]).await;
    assert_eq!(gateway::get(&member.addr(), key).await.unwrap().lease, second);
    gateway::put(&member.addr(), key, "somebody's mistake").await;
    until(&mut nodes, |set| set.is_empty()).await;
    until_ids(&mut nodes, &["a"]).await;
    assert_eq!(registry.health(), Health::Good);
}

async fn w20_a_stream_that_dies_without_a_word_is_noticed(version: Version) {
    let member = Member::start(version).await;
    let proxy = Proxy::start(member.addr(), None).await;
    let followed = brisk([proxy.addr()]).timeout(Duration::from_secs(2));
    let (registry, other) = (member.brisk().build().unwrap(), followed.build().unwrap());
    join(&registry, &node("a")).await;
    let mut nodes = follow(&other).await;
    // What comes after the read can only be seen by a stream that is there.
    join(&registry, &node("a0")).await;
    until(&mut nodes, |set| ids(set).contains(&"a0")).await;
    for name in ["b", "c"] {
        proxy.blackhole();
        // Long before the connection's own keep-alive would end it.
        says(&other, "gave no sign of life").await;
        join(&registry, &node(name)).await;
        until(&mut nodes, |set| ids(set).contains(&name)).await;
        // Followed again, and not only read.
        is_well(&other).await;
    }
    // A stream on which nothing happens is not a dead one.
    let connections = proxy.accepted();
    sleep(Duration::from_secs(7)).await;
    assert_eq!(proxy.accepted(), connections);
    is_well(&other).await;
}

async fn a_killed_process_is_gone_when_its_lease_has_run_out(version: Version) {
    let member = Member::start(version).await;
    let (killed, other) = (steady(&member), steady(&member));
    join(&killed, &node("a")).await;
    join(&other, &node("b")).await;
    let mut nodes = follow(&other).await;
    assert_eq!(ids(&nodes.current()), ["a", "b"]);
    drop(killed);
    until_ids(&mut nodes, &["b"]).await;
    // A second longer than the lease: the other one lives on its renewals.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(ids(&nodes.current()), ["b"]);
}

async fn a_process_starts_from_disk_while_etcd_is_down(version: Version) {
    let mut member = Member::start(version).await;
    let dir = tempfile::tempdir().unwrap();
    let (registry, other) = (member.registry(), member.registry());
    join(&other, &node("a")).await;
    {
        let earlier = member.brisk().cache_dir(dir.path()).build().unwrap();
        let mut nodes = follow(&earlier).await;
        join(&registry, &node("b")).await;
        until_ids(&mut nodes, &["a", "b"]).await;
        let copy = dir.path().join("etcd-services-node.json");
        let kept = || std::fs::read_to_string(&copy).is_ok_and(|text| text.contains("\"b\""));
        within(async {
            while !kept() {
                sleep(Duration::from_millis(20)).await
            }
        })
        .await;
    }
    member.kill();
    let none = member.brisk().build().unwrap();
    within(none.watch(Kind::Node)).await.expect_err("without a copy there is no set");
    let started = member.brisk().cache_dir(dir.path()).build().unwrap();
    let mut nodes = follow(&started).await;
    assert_eq!(ids(&nodes.current()), ["a", "b"]);
    within(started.watch(Kind::Gate)).await.expect_err("there is no copy of this kind");
    assert!(started.health() != Health::Good, "it says that this is a copy");

    member.forget();
    drop(registry);
    member.restart().await;
    // The first answer of the server replaces the copy, though `b` was in it.
    until_ids(&mut nodes, &["a"]).await;
    is_well(&started).await;
}

async fn the_next_member_is_asked_when_one_never_answers(version: Version) {
    let member = Member::start(version).await;
    let (mute, accepting) = mute().await;
    let registry = brisk([mute, closed().await, member.addr()]).build().unwrap();
    let mut nodes = within(registry.watch(Kind::Node)).await.unwrap();
    within(registry.join(&node("a"))).await.unwrap();
    until_ids(&mut nodes, &["a"]).await;
    is_well(&registry).await;
    accepting.abort();
}
