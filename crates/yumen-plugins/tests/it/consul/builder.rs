//! What a registry on Consul refuses before it begins.

use yumen_plugins::consul::ConsulRegistry;
use yumen_settings::keys::backends::RegistryConsulSettings;

#[test]
fn dues_defaults_make_a_registry_without_a_runtime() {
    ConsulRegistry::new(&RegistryConsulSettings::default()).unwrap();
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_key() {
    let mut settings = RegistryConsulSettings::default();
    settings.addr = "consul".to_owned();
    settings.heartbeat_check_interval = 0;
    settings.health_check_interval = -1;
    settings.deregister_critical_service_after = 7200;
    settings.token = "a\nsecret".to_owned().into();
    let problems = ConsulRegistry::new(&settings).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|text| text.split(':').next().unwrap()).collect();
    let keys: Vec<_> =
        keys.iter().map(|key| key.strip_prefix("registry.consul.").unwrap()).collect();
    let wanted = ["healthCheckInterval", "heartbeatCheckInterval", "addr", "token"];
    assert_eq!(keys, [&wanted[..], &["deregisterCriticalServiceAfter"]].concat(), "{problems:?}");
    assert!(!problems.concat().contains("secret"));
}

#[test]
fn a_file_of_certificates_is_read_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let build = |addr: &str| ConsulRegistry::builder(addr).ca_file(&file).build();
    let problems = build("https://consul:8501").unwrap_err();
    assert!(problems[0].starts_with("registry.consul.caFile: ") && problems[0].contains("ca.pem"));
    std::fs::write(&file, "no certificate").unwrap();
    let problems = build("https://consul:8501").unwrap_err();
    assert!(problems[0].contains("holds no certificate"), "{problems:?}");
    let problems = build("consul:8500").unwrap_err();
    assert!(problems[0].contains("is not encrypted"), "{problems:?}");
}
