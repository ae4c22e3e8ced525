//! What a registry on etcd refuses before it begins.

use crate::papers::Papers;
use std::time::Duration;
use yumen_plugins::etcd::{EtcdRegistry, EtcdRegistryBuilder};
use yumen_settings::keys::backends::RegistryEtcdSettings;

#[test]
fn dues_defaults_make_a_registry_without_a_runtime() {
    EtcdRegistry::new(&RegistryEtcdSettings::default()).unwrap();
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_key() {
    let mut settings = RegistryEtcdSettings::default();
    settings.addrs = vec!["10.0.0.1".into(), "http://a".into(), "ok:2379".into(), "a:0".into()];
    settings.namespace = "a/b".to_owned();
    settings.timeout = Duration::ZERO;
    settings.dial_timeout = Duration::ZERO;
    settings.retry_interval = Duration::from_secs(3600);
    settings.password = "secret".to_owned().into();
    let problems = EtcdRegistry::new(&settings).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|text| text.split(':').next().unwrap()).collect();
    let keys: Vec<_> = keys.iter().map(|key| key.strip_prefix("registry.etcd.").unwrap()).collect();
    let wanted = ["addrs", "addrs", "addrs", "namespace", "timeout", "dialTimeout"];
    assert_eq!(keys, [&wanted[..], &["retryInterval", "username"]].concat(), "{problems:?}");
    assert!(!problems.concat().contains("secret"));
    assert!(problems[0].contains("\"10.0.0.1\" is not host:port"), "{problems:?}");
    let none = EtcdRegistry::builder::<String>([]).build().unwrap_err();
    assert_eq!(none, ["registry.etcd.addrs: names no server"]);
}

#[test]
fn files_for_tls_are_read_at_the_start_and_need_addresses_that_say_so() {
    let papers = Papers::new();
    let build = |addrs: &[&str], change: &dyn Fn(EtcdRegistryBuilder) -> EtcdRegistryBuilder| {
        let builder = change(EtcdRegistry::builder(addrs.iter().copied()));
        builder.build().err().unwrap_or_default().join("\n")
    };
    let secure: &[&str] = &["https://a:2379"];
    let path = |name: &str| papers.path(name);
    let trusting = |builder: EtcdRegistryBuilder| builder.ca_file(path("ca.crt"));
    assert_eq!(build(secure, &trusting), "");
    assert_eq!(build(secure, &|b| trusting(b).identity(path("us.crt"), path("us.key"))), "");
    std::fs::write(path("empty"), "no certificate").unwrap();
    for (addrs, change, told) in [
        (
            &["a:2379"][..],
            &trusting as &dyn Fn(_) -> _,
            "caFile: is named, but a:2379 is not encrypted",
        ),
        (&["a:2379", "https://b:2379"], &trusting, "addrs: some begin with https://"),
        (
            secure,
            &|b: EtcdRegistryBuilder| b.ca_file(path("none")),
            "none cannot be read: No such file",
        ),
        (secure, &|b| b.ca_file(path("empty")), "caFile: "),
        (
            secure,
            &|b| trusting(b).identity(path("us.crt"), ""),
            "keyFile: is missing beside certFile",
        ),
        (
            secure,
            &|b| trusting(b).identity("", path("us.key")),
            "certFile: is missing beside keyFile",
        ),
        (
            secure,
            &|b| trusting(b).identity(path("us.crt"), path("them.key")),
            "is not the one of this",
        ),
        (secure, &|b| trusting(b).identity(path("us.crt"), path("empty")), "empty: "),
        (
            secure,
            &|b| trusting(b).identity(path("empty"), path("us.key")),
            "it holds no certificate",
        ),
    ] {
        let problems = build(addrs, change);
        assert!(
            problems.contains("registry.etcd.") && problems.contains(told),
            "{told}: {problems}"
        );
    }
}
