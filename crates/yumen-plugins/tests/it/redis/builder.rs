//! How a locator is described; no server is needed.

use std::time::Duration;
use yumen_core::{
    health::Health,
    locator::{Locator, LocatorError, Role},
};
use yumen_plugins::redis::{RedisLocator, RedisLocatorBuilder};
use yumen_proto::UserId;
use yumen_settings::{Settings, keys::stores::LocateRedisSettings};

#[test]
fn dues_defaults_describe_a_locator_and_none_is_reached() {
    let locator = RedisLocator::new(&LocateRedisSettings::default()).unwrap();
    assert_eq!(locator.name(), "redis");
    assert_eq!(locator.health(), Health::Good);
    assert!(!locator.stats().connected);
}

#[test]
fn everything_that_is_wrong_is_told_with_its_key() {
    let mut settings = LocateRedisSettings::default();
    settings.addrs = vec!["redis".to_owned()];
    settings.db = -1;
    settings.username = "ada".to_owned();
    settings.prefix = "due}".to_owned();
    let problems = RedisLocator::new(&settings).unwrap_err();
    for key in ["addrs", "db", "password", "prefix"] {
        let name = format!("etc.locate.redis.{key}: ");
        let count = problems.iter().filter(|problem| problem.starts_with(&name)).count();
        assert_eq!(count, 1, "{key} in {problems:#?}");
    }
    assert_eq!(problems.len(), 4);
}

#[test]
fn times_and_limits_come_from_the_file() {
    let mut settings = Settings::default();
    let limits = &mut settings.yumen.locator;
    limits.timeout = Duration::from_millis(1_234);
    limits.dial_timeout = Duration::from_millis(2_345);
    limits.ping_interval = Duration::from_millis(3_456);
    limits.commands_max = 77;
    settings.locate.redis.max_retries = 8;
    let builder = RedisLocatorBuilder::from_settings(&settings.locate.redis);
    let builder = builder.limits(&settings.yumen.locator);
    let text = format!("{builder:?}");
    for word in ["1.234s", "2.345s", "3.456s", "77", "retries_max: 8"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert_eq!(builder.build().unwrap().stats().in_flight_max, 77);
    let same = RedisLocator::from_settings(&settings).unwrap();
    assert_eq!(same.stats().in_flight_max, 77);
}

#[test]
fn several_addresses_mean_redis_cluster_which_has_one_database() {
    let mut settings = LocateRedisSettings::default();
    settings.addrs = vec!["a:1".to_owned(), "b:1".to_owned()];
    let locator = RedisLocator::new(&settings).unwrap();
    let text = format!("{locator:?}");
    assert!(text.contains("redis at a:1, b:1"), "{text}");
    settings.db = 1;
    let problems = RedisLocator::new(&settings).unwrap_err();
    let says = "etc.locate.redis.db: 2 addresses mean Redis Cluster, which has no database but 0";
    assert!(problems.len() == 1 && problems[0].starts_with(says), "{problems:?}");
}

#[test]
fn what_is_wrong_with_the_files_for_tls_is_told_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    std::fs::write(dir.path().join("empty"), "no certificate").unwrap();
    let mut settings = LocateRedisSettings::default();
    settings.ca_file = file("missing");
    settings.cert_file = file("empty");
    settings.key_file = file("empty");
    let problems = RedisLocator::new(&settings).unwrap_err();
    for says in [
        "caFile: ".to_owned() + &file("missing") + ": No such file",
        "certFile: it holds no certificates".to_owned(),
        "keyFile: it holds no private key".to_owned(),
    ] {
        let says = format!("etc.locate.redis.{says}");
        assert!(
            problems.iter().any(|problem| problem.starts_with(&says)),
            "{says} in {problems:?}"
        );
    }
    settings.ca_file.clear();
    settings.key_file.clear();
    let problems = RedisLocator::new(&settings).unwrap_err().join("; ");
    assert!(problems.contains("keyFile: a certificate without its key"), "{problems}");
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let zero = RedisLocator::builder().command_max(Duration::ZERO).in_flight_max(0);
    assert_eq!(zero.build().unwrap_err().len(), 2);
}

#[test]
fn a_password_is_in_no_text() {
    let builder = RedisLocator::builder().user("ada", "s3cret").addr("127.0.0.1:1");
    let text = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_every_call_at_once() {
    // Port 1 is nobody's.
    let locator = RedisLocator::builder().addr("127.0.0.1:1").build().unwrap();
    for failures in 1..=20 {
        let limit = Duration::from_secs(20);
        let found = tokio::time::timeout(limit, locator.find(UserId(1), &Role::Gate)).await;
        let error = found.unwrap().unwrap_err();
        assert!(matches!(error, LocatorError::Backend { backend: "redis", .. }), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1 cannot be reached"), "{error}");
        assert!(matches!(locator.health(), Health::Failing { failures: n, .. } if n >= failures));
    }
    assert!(!locator.health().is_ready());
}
