//! On a real Nacos: the conformance suite, due's records, rights, and outages.

mod away;

use super::server::Server;
use std::{collections::BTreeMap, future::Future, time::Duration};
use tokio::time::sleep;
use yumen_core::{
    cluster::{Event, Instance, Kind, Snapshot, State},
    conformance,
    health::Health,
    registry::Registry,
    watch::Watch,
};

/// Far longer than anything takes, also on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(120);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it is done within two minutes")
}

/// A node at an address of its own.
pub(crate) fn node(id: &str, port: u16) -> Instance {
    let endpoint = format!("drpc://127.0.0.1:{port}?is_secure=false");
    Instance::new(id.into(), Kind::Node, endpoint)
}

fn ids(set: &Snapshot) -> Vec<&str> {
    set.iter().map(|instance| instance.id.as_str()).collect()
}

async fn until_ids(watch: &mut Watch<Snapshot>, wanted: &[&str]) {
    within(async {
        while ids(&watch.current()) != wanted {
            assert!(watch.changed().await, "a watch never ends by itself");
        }
    })
    .await;
}

async fn says(registry: &impl Registry, what: &str) {
    within(async {
        loop {
            match registry.health() {
                Health::Failing { last, .. } if last.contains(what) => return,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
}

async fn is_well(registry: &impl Registry) {
    within(async {
        while registry.health() != Health::Good {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_nacos_registry_conforms_in_every_namespace_group_and_cluster() {
    let server = Server::start().await;
    within(conformance::registry(&server.registry())).await;
    let apart = server.builder().namespace("game").group("EU").cluster("one").build().unwrap();
    let here = node("a", 4_000);
    server.registry().join(&here).await.unwrap();
    within(conformance::registry(&apart)).await;
}

/// due registers over gRPC with its SDK; what stands in Nacos is the same.
#[tokio::test]
async fn a_record_of_dues_is_found_and_ours_is_what_due_reads() {
    let server = Server::start().await;
    let metadata = r#"{"id":"due-1","name":"node","kind":"node","alias":"room","state":"work",
        "endpoint":"drpc://10.0.0.9:7001?is_secure=false","weight":"2","events":"[1]",
        "routes":"[{\"i\":1,\"s\":true},{\"i\":-2}]","services":"[\"wallet\"]",
        "metadata":"{\"zone\":\"东\"}"}"#;
    let at = [("serviceName", "node"), ("ip", "10.0.0.9"), ("port", "7001"), ("ephemeral", "true")];
    server.ask("POST", "/instance", &[&at[..], &[("metadata", metadata)]].concat()).await;
    // One that is no record, one that an administrator has disabled, and one without texts.
    let bad = [
        ("serviceName", "node"),
        ("ip", "10.0.0.8"),
        ("port", "1"),
        ("metadata", "{\"id\":\"x\"}"),
    ];
    server.ask("POST", "/instance", &bad).await;
    let off = r#"{"id":"off","name":"node","kind":"node","state":"work"}"#;
    let off = [
        ("serviceName", "node"),
        ("ip", "10.0.0.7"),
        ("port", "1"),
        ("enabled", "false"),
        ("metadata", off),
    ];
    server.ask("POST", "/instance", &off).await;

    let registry = server.registry();
    let mut own = node("ours", 7_002);
    own.weight = 3;
    own.state = State::Busy;
    own.routes = vec![yumen_core::cluster::RouteInfo::new((-1).into())];
    within(registry.join(&own)).await.unwrap();
    let mut nodes = within(registry.watch(Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["due-1", "ours"]).await;
    let set = nodes.current();
    let due = &set[0];
    assert_eq!(
        (due.alias.as_str(), due.weight, due.events.as_slice()),
        ("room", 2, &[Event::Connect][..])
    );
    assert_eq!((due.routes.len(), due.services.len(), due.metadata["zone"].as_str()), (2, 1, "东"));
    assert_eq!(set[1], own);
    assert_eq!(registry.unread(), 1, "one bad record fails nothing");

    let listed = server
        .ask("GET", "/instance/list", &[("serviceName", "node"), ("healthyOnly", "true")])
        .await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let ours =
        listed["hosts"].as_array().unwrap().iter().find(|host| host["port"] == 7_002).unwrap();
    assert_eq!((ours["ip"].as_str(), ours["ephemeral"].as_bool()), (Some("127.0.0.1"), Some(true)));
    let texts: BTreeMap<String, String> = serde_json::from_value(ours["metadata"].clone()).unwrap();
    for (name, text) in [
        ("id", "ours"),
        ("name", "node"),
        ("kind", "node"),
        ("alias", "node"),
        ("state", "busy"),
        ("endpoint", "drpc://127.0.0.1:7002?is_secure=false"),
        ("weight", "3"),
        ("routes", "[{\"i\":-1}]"),
    ] {
        assert_eq!(texts.get(name).map(String::as_str), Some(text), "{name}");
    }
}

#[tokio::test]
async fn a_record_that_is_too_long_is_told_with_what_is_long_and_heals_when_it_fits() {
    let server = Server::start().await;
    let registry = server.registry();
    let mut long = node("long", 4_000);
    long.routes = (1..=100).map(|id| yumen_core::cluster::RouteInfo::new(id.into())).collect();
    let error = within(registry.join(&long)).await.unwrap_err().to_string();
    for word in
        ["a server takes 1024", "routes with ", "nacos.core.param.check.enabled", "Metadata"]
    {
        assert!(error.contains(word), "{word} in {error}");
    }
    says(&registry, "does not fit into Nacos").await;
    long.routes.truncate(30);
    within(registry.join(&long)).await.unwrap();
    is_well(&registry).await;
}

#[tokio::test]
async fn with_a_user_it_logs_in_and_again_when_the_token_runs_out() {
    let server =
        Server::start_with(&[("NACOS_AUTH", "game:s3cret"), ("NACOS_TOKEN_TTL", "2")]).await;
    let registry = server.builder().user("game", "s3cret").build().unwrap();
    within(registry.join(&node("a", 4_000))).await.unwrap();
    let mut nodes = within(registry.watch(Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["a"]).await;
    // Several tokens long, and nothing goes.
    let never = tokio::time::timeout(Duration::from_secs(6), async {
        while nodes.changed().await {
            assert_eq!(ids(&nodes.current()), ["a"]);
        }
    });
    assert!(never.await.is_err());
    assert_eq!(registry.health(), Health::Good);
    within(registry.join(&node("b", 4_001))).await.unwrap();
    until_ids(&mut nodes, &["a", "b"]).await;

    for (builder, says) in
        [(server.builder(), "403"), (server.builder().user("game", "guess"), "unknown user")]
    {
        let registry = builder.build().unwrap();
        let error = within(registry.join(&node("c", 4_002))).await.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("guess"), "{error}");
        let error = within(registry.watch(Kind::Node)).await.err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}
