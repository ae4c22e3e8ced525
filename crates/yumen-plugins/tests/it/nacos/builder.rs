//! How a registry is described; no server is needed.

use yumen_core::{health::Health, registry::Registry};
use yumen_plugins::nacos::NacosRegistry;
use yumen_settings::{Settings, keys::backends::RegistryNacosSettings};

#[test]
fn dues_defaults_describe_a_registry_and_nobody_is_asked() {
    let registry = NacosRegistry::new(&RegistryNacosSettings::default()).unwrap();
    assert_eq!((registry.name(), registry.health()), ("nacos", Health::Good));
    let text = format!("{registry:?}");
    for word in ["http://127.0.0.1:8848/nacos", "DEFAULT_GROUP", "\"DEFAULT\"", "3s"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    NacosRegistry::from_settings(&Settings::default()).unwrap();
}

#[test]
fn everything_that_is_wrong_is_told_with_its_key() {
    let mut settings = RegistryNacosSettings::default();
    settings.urls = vec!["10.0.0.1:8848".to_owned(), "http://".to_owned()];
    settings.group_name.clear();
    settings.cluster_name = "a@@b".to_owned();
    settings.timeout = std::time::Duration::from_millis(1);
    settings.password = "s3cret".to_owned().into();
    let problems = NacosRegistry::new(&settings).unwrap_err();
    for (key, count) in
        [("urls", 2), ("groupName", 1), ("clusterName", 1), ("timeout", 1), ("username", 1)]
    {
        let name = format!("registry.nacos.{key}: ");
        let told = problems.iter().filter(|problem| problem.starts_with(&name)).count();
        assert_eq!(told, count, "{key} in {problems:#?}");
    }
    assert!(!problems.join(" ").contains("s3cret"));
}

#[tokio::test]
async fn a_password_is_in_no_text_and_an_address_that_nobody_has_is_told() {
    // Port 1 is nobody's.
    let builder = NacosRegistry::builder(["http://127.0.0.1:1/nacos/"]).user("ada", "s3cret");
    let registry = builder.build().unwrap();
    let node = super::servers::node("a", 1);
    let error = registry.join(&node).await.unwrap_err().to_string();
    assert!(error.contains("http://127.0.0.1:1/nacos: "), "{error}");
    assert!(!format!("{registry:?} {error} {:?}", registry.health()).contains("s3cret"));
}
