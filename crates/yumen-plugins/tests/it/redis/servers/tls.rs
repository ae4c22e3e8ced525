//! Who may connect, and over what: users with rights, and TLS on both sides.

use super::*;
use crate::{
    papers::Papers,
    redis::{
        cluster::Cluster,
        launch::{Launched, Make},
    },
};
use std::path::Path;
use yumen_plugins::redis::RedisLocator;

/// What the user of a locator must be allowed, and no more.
const RIGHTS: &str = "~due:* ~{due:* &due:* -@all +@connection +@read +@write +@scripting +@pubsub \
                      +cluster|info +cluster|nodes +cluster|links +cluster|slots +time";

fn user() -> Vec<String> {
    let words = format!("--user yumen on >s3cret {RIGHTS}");
    words.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough_and_a_wrong_password_is_named() {
    for make in [Make::Redis, Make::Valkey] {
        let server = Launched::start_with(make, |_, _| user());
        let builder = || RedisLocator::builder().addr(server.addr()).prefix("due");
        let locator = builder().user("yumen", "s3cret").build().unwrap();
        within(60, conformance::locator(&locator)).await;
        let wrong = builder().user("yumen", "guess").build().unwrap();
        let error = wrong.find(UserId(1), &Role::Gate).await.unwrap_err().to_string();
        assert!(error.contains("WRONGPASS") && !error.contains("guess"), "{error}");
    }
}

#[tokio::test]
async fn on_redis_cluster_the_same_rights_are_enough() {
    let cluster = Cluster::launch(Make::Redis, 0, &user(), &[]);
    cluster.settled(3).await;
    let locator = || cluster.builder().user("yumen", "s3cret").build().unwrap();
    within(120, conformance::locator_shared(&locator(), &locator())).await;
    assert_eq!(locator().health(), Health::Good);
}

impl Papers {
    /// Plain connections are refused, and those without a certificate that is trusted.
    fn server(&self) -> Vec<String> {
        let file = |name: &str| self.file(name);
        let words = [
            "--port",
            "0",
            "--tls-port",
            "PORT",
            "--tls-cluster",
            "yes",
            "--tls-replication",
            "yes",
        ];
        let mut words: Vec<_> = words.map(str::to_owned).to_vec();
        for (key, name) in
            [("cert-file", "us.crt"), ("key-file", "us.key"), ("ca-cert-file", "ca.crt")]
        {
            words.extend([format!("--tls-{key}"), file(name)]);
        }
        words
    }

    fn cli(&self) -> Vec<String> {
        let file = |name: &str| self.file(name);
        let words = ["--tls", "--cacert", &file("ca.crt"), "--cert", &file("us.crt"), "--key"];
        words.iter().map(|word| (*word).to_owned()).chain([file("us.key")]).collect()
    }
}

fn with_port(words: Vec<String>) -> impl Fn(u16, &Path) -> Vec<String> {
    move |port, _| words.iter().map(|word| word.replace("PORT", &port.to_string())).collect()
}

#[tokio::test]
async fn with_tls_both_sides_show_a_certificate_that_the_other_trusts() {
    let papers = Papers::new();
    let server = Launched::start_with(Make::Redis, with_port(papers.server()));
    let builder = || RedisLocator::builder().addr(server.addr()).prefix("due");
    let known = || builder().identity(papers.path("us.crt"), papers.path("us.key"));
    let locator = known().tls(Some(papers.path("ca.crt"))).build().unwrap();
    within(60, conformance::locator(&locator)).await;
    let mut settings = yumen_settings::keys::stores::LocateRedisSettings::default();
    settings.addrs = vec![server.addr()];
    let file = |name: &str| papers.file(name);
    (settings.ca_file, settings.cert_file) = (file("ca.crt"), file("us.crt"));
    settings.key_file = file("us.key");
    let same = RedisLocator::new(&settings).unwrap();
    assert_eq!(same.find(UserId(1), &Role::Gate).await.unwrap(), None);

    let foreign = known().tls(Some(papers.path("foreign.crt"))).build().unwrap();
    let error = foreign.find(UserId(1), &Role::Gate).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "a server that is not trusted: {error}");
    for refused in [builder().tls(Some(papers.path("ca.crt"))), builder()] {
        let refused = refused.connect_max(Duration::from_secs(1)).build().unwrap();
        let error = refused.find(UserId(1), &Role::Gate).await.unwrap_err();
        assert!(matches!(error, LocatorError::Backend { .. }), "{error}");
    }
}

#[tokio::test]
async fn with_tls_every_server_of_a_redis_cluster_is_reached() {
    let papers = Papers::new();
    let cluster = Cluster::launch(Make::Redis, 0, &papers.server(), &papers.cli());
    let locator = || {
        let known = cluster.builder().identity(papers.path("us.crt"), papers.path("us.key"));
        known.tls(Some(papers.path("ca.crt"))).build().unwrap()
    };
    // The servers need a moment until all of them agree.
    let first = locator();
    within(60, async { while first.open(&"gate-0".into()).await.is_err() {} }).await;
    within(120, async {
        for n in 1..=30 {
            while first.find(UserId(n), &Role::Gate).await.is_err() {}
        }
    })
    .await;
    within(120, conformance::locator_shared(&locator(), &locator())).await;
}
