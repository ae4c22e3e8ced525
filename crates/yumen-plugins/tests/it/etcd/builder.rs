//! What a registry on etcd refuses before it begins.

use std::time::Duration;
use yumen_plugins::etcd::EtcdRegistry;
use yumen_settings::keys::backends::RegistryEtcdSettings;

#[test]
fn dues_defaults_make_a_registry_without_a_runtime() {
    EtcdRegistry::new(&RegistryEtcdSettings::default()).unwrap();
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_key() {
    let mut settings = RegistryEtcdSettings::default();
    settings.addrs = vec!["10.0.0.1".into(), "https://a:1".into(), "ok:2379".into(), "a:0".into()];
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
