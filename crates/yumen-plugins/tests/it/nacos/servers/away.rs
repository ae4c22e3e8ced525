//! Nacos killed, stopped and forgetful; processes that die, and two under one id.

use super::*;
use tokio::task::JoinHandle;

/// Fails the test if a set ever lacks one of these.
fn never_lacks(mut watch: Watch<Snapshot>, wanted: &'static [&'static str]) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let set = watch.current();
            for id in wanted {
                assert!(ids(&set).contains(id), "{id} is missing in {:?}", ids(&set));
            }
            assert!(watch.changed().await, "a watch never ends by itself");
        }
    })
}

/// due's SDK leaves it to chance; here nobody is lost, and all register again (W-20).
#[tokio::test]
async fn w20_a_nacos_that_is_killed_or_stopped_costs_nobody_its_place() {
    let mut server = Server::start().await;
    let (one, other) = (server.registry(), server.registry());
    within(one.join(&node("a", 4_000))).await.unwrap();
    within(other.join(&node("b", 4_001))).await.unwrap();
    let mut nodes = within(one.watch(Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["a", "b"]).await;
    let watched = never_lacks(within(one.watch(Kind::Node)).await.unwrap(), &["a", "b"]);

    server.kill();
    says(&one, "127.0.0.1").await;
    says(&other, "127.0.0.1").await;
    // Longer than heartbeats may be missed.
    sleep(Duration::from_secs(10)).await;
    server.revive().await;
    is_well(&one).await;
    is_well(&other).await;
    let looker = server.registry();
    let mut fresh = within(looker.watch(Kind::Node)).await.unwrap();
    until_ids(&mut fresh, &["a", "b"]).await;

    server.pause();
    says(&one, "no answer within").await;
    // By then every heartbeat has been missed and every instance is to be forgotten.
    sleep(Duration::from_secs(21)).await;
    server.resume();
    is_well(&one).await;
    is_well(&other).await;
    // Until what is missed would be gone.
    sleep(Duration::from_secs(18)).await;
    assert!(!watched.is_finished(), "nobody was ever missing");
    watched.abort();
    // And who leaves then is gone.
    within(other.leave(&"b".into(), Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["a"]).await;
}

#[tokio::test]
async fn a_killed_process_goes_its_successor_replaces_it_and_a_rival_is_named() {
    let server = Server::start().await;
    let looker = server.registry();
    let mut nodes = within(looker.watch(Kind::Node)).await.unwrap();
    let killed = server.registry();
    within(killed.join(&node("a", 4_000))).await.unwrap();
    within(killed.join(&node("b", 4_001))).await.unwrap();
    until_ids(&mut nodes, &["a", "b"]).await;
    drop(killed);
    let started = std::time::Instant::now();
    // Started again elsewhere, at once: what was killed is not in the way.
    let successor = server.registry();
    within(successor.join(&node("a", 4_010))).await.unwrap();
    // Taken away, and not left until it is forgotten, which takes 20 s. Sleep counts, not a busy machine.
    let all = [("serviceName", "node"), ("healthyOnly", "false")];
    let mut slept = Duration::ZERO;
    while server.ask("GET", "/instance/list", &all).await.contains("\"port\":4000") {
        assert!(slept < Duration::from_secs(10), "what was killed is in the way");
        sleep(Duration::from_millis(200)).await;
        slept += Duration::from_millis(200);
    }
    within(async {
        while nodes.current().iter().any(|node| node.endpoint.contains(":4000")) {
            assert!(nodes.changed().await);
        }
    })
    .await;
    assert_eq!(ids(&nodes.current()).first(), Some(&"a"));
    until_ids(&mut nodes, &["a"]).await;
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());

    // Somebody removes it, or changes it: both heal.
    let at = [("serviceName", "node"), ("ip", "127.0.0.1"), ("port", "4010")];
    let gone = [&at[..], &[("ephemeral", "true"), ("clusterName", "DEFAULT")]].concat();
    let query: Vec<_> = gone.iter().map(|(key, value)| format!("{key}={value}")).collect();
    server.ask("DELETE", &format!("/instance?{}", query.join("&")), &[]).await;
    until_ids(&mut nodes, &[]).await;
    until_ids(&mut nodes, &["a"]).await;

    let rival = server.registry();
    let theirs = node("a", 4_020);
    let metadata = r#"{"id":"a","name":"node","kind":"node","state":"work","endpoint":"drpc://127.0.0.1:4020"}"#;
    server
        .ask(
            "POST",
            "/instance",
            &[
                ("serviceName", "node"),
                ("ip", "127.0.0.1"),
                ("port", "4020"),
                ("ephemeral", "true"),
                ("metadata", metadata),
            ],
        )
        .await;
    says(&successor, "registered by another process, at drpc://127.0.0.1:4020").await;
    drop(rival);
    drop(theirs);
    // It has no heartbeat, so it goes, and then all is well.
    is_well(&successor).await;
    until_ids(&mut nodes, &["a"]).await;
}

/// W-21: due's transports look at no state; here the set says who takes work.
#[tokio::test]
async fn w21_three_of_a_kind_are_three_and_the_one_that_hangs_says_so() {
    let server = Server::start().await;
    let registries = [server.registry(), server.registry(), server.registry()];
    for (registry, (id, port)) in registries.iter().zip([("a", 1), ("b", 2), ("c", 3)]) {
        within(registry.join(&node(id, port))).await.unwrap();
    }
    let mut nodes = within(registries[0].watch(Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["a", "b", "c"]).await;
    let hanging = Instance { state: State::Hang, ..node("b", 2) };
    within(registries[1].join(&hanging)).await.unwrap();
    within(async {
        while nodes.current()[1].state != State::Hang {
            assert!(nodes.changed().await);
        }
    })
    .await;
    assert_eq!(ids(&nodes.current()), ["a", "b", "c"], "it is there until it leaves");
}
