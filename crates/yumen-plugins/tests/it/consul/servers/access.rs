//! Who may: tokens and certificates.

use crate::{
    consul::{
        agent::{Agent, brisk},
        plain::{self, ROOT},
    },
    papers::Papers,
    registry::{follow, is_well, join, node, says, until_ids, within},
};
use serde_json::json;
use yumen_core::{cluster::Kind, registry::Registry};
use yumen_plugins::consul::ConsulRegistry;
use yumen_settings::keys::backends::RegistryConsulSettings;

/// Nobody may do anything without a token.
async fn guarded() -> Agent {
    Agent::with(false, |_, _| {
        let tokens = json!({ "initial_management": ROOT, "agent": ROOT });
        json!({ "acl": { "enabled": true, "default_policy": "deny", "tokens": tokens } })
    })
    .await
}

/// A token that may do this.
async fn token(agent: &Agent, name: &str, rules: &str) -> String {
    let policy = json!({ "Name": name, "Rules": rules });
    plain::put(&agent.addr(), "/v1/acl/policy", &policy).await;
    let token = json!({ "Policies": [{ "Name": name }] });
    let made = plain::put(&agent.addr(), "/v1/acl/token", &token).await;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    made["SecretID"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_with_the_rights_of_the_manual_is_enough_and_without_one_it_is_told() {
    let agent = guarded().await;
    let rules = r#"service "gate" { policy = "write" } service "node" { policy = "write" }
        service "mesh" { policy = "write" } node_prefix "" { policy = "read" }"#;
    let enough = token(&agent, "enough", rules).await;
    let registry = brisk(agent.addr()).token(&enough).build().unwrap();
    join(&registry, &node("a")).await;
    until_ids(&mut follow(&registry).await, &["a"]).await;

    let nobody = agent.registry();
    let error = within(nobody.join(&node("b"))).await.unwrap_err().to_string();
    assert!(error.contains("403") && error.contains("Permission denied"), "{error}");
    let wrong = brisk(agent.addr()).token("00000000-0000-0000-0000-00000000dead").build().unwrap();
    let error = within(wrong.join(&node("b"))).await.unwrap_err().to_string();
    assert!(error.contains("403") && error.contains("ACL not found"), "{error}");
    let error = within(wrong.watch(Kind::Node)).await.err().unwrap().to_string();
    assert!(error.contains("ACL not found") && !error.contains("dead"), "{error}");
}

#[tokio::test]
async fn a_token_that_sees_only_a_part_is_not_taken_for_an_empty_cluster() {
    let agent = guarded().await;
    let all = brisk(agent.addr()).token(ROOT).build().unwrap();
    join(&all, &node("a")).await;
    until_ids(&mut follow(&all).await, &["a"]).await;
    let rules = r#"service "gate" { policy = "write" }"#;
    let gates = token(&agent, "gates", rules).await;
    let registry = brisk(agent.addr()).token(&gates).build().unwrap();
    let error = within(registry.watch(Kind::Node)).await.err().unwrap().to_string();
    assert!(error.contains("may not read all of /v1/health/service/node"), "{error}");
    assert!(error.contains("service:read and node:read"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_taken_away_is_told_and_one_that_comes_back_heals() {
    let agent = guarded().await;
    let all = brisk(agent.addr()).token(ROOT).build().unwrap();
    let rules = r#"service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }"#;
    let secret = token(&agent, "some", rules).await;
    let registry = brisk(agent.addr()).token(&secret).build().unwrap();
    join(&registry, &node("a")).await;
    let mut nodes = follow(&all).await;
    until_ids(&mut nodes, &["a"]).await;
    let tokens = plain::get(&agent.addr(), "/v1/acl/policies").await;
    let policy = tokens.as_array().unwrap().iter().find(|policy| policy["Name"] == "some").unwrap();
    let path = format!("/v1/acl/policy/{}", policy["ID"].as_str().unwrap());
    let rights = |rules: &str| json!({ "Name": "some", "Rules": rules });
    plain::put(&agent.addr(), &path, &rights("")).await;
    says(&registry, "403").await;
    plain::put(&agent.addr(), &path, &rights(rules)).await;
    is_well(&registry).await;
    until_ids(&mut nodes, &["a"]).await;
}

/// An agent that is also there by https, as `us` of the papers, with these further words about that.
async fn encrypted(papers: &Papers, more: serde_json::Value) -> (Agent, String) {
    let https = std::sync::atomic::AtomicU16::new(0);
    let agent = Agent::with(false, |_, port| {
        https.store(port, std::sync::atomic::Ordering::Relaxed);
        let mut words =
            json!({ "cert_file": papers.file("us.crt"), "key_file": papers.file("us.key") });
        words.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "ports": { "https": port }, "tls": { "https": words } })
    })
    .await;
    (agent, format!("https://127.0.0.1:{}", https.into_inner()))
}

#[tokio::test]
async fn an_encrypted_agent_is_trusted_by_its_authority_and_by_nothing_else() {
    let papers = Papers::new();
    let (agent, addr) = encrypted(&papers, json!({})).await;
    let registry = brisk(&addr).ca_file(papers.path("ca.crt")).build().unwrap();
    join(&registry, &node("a")).await;
    until_ids(&mut follow(&registry).await, &["a"]).await;

    let registry = brisk(&addr).ca_file(papers.path("foreign.crt")).build().unwrap();
    let error = within(registry.join(&node("b"))).await.unwrap_err().to_string();
    assert!(error.contains("certificate") && error.contains(&addr), "{error}");
    // An agent that does not speak TLS is not spoken to in the clear.
    let clear = format!("https://{}", agent.addr());
    let registry = brisk(&clear).ca_file(papers.path("ca.crt")).build().unwrap();
    within(registry.join(&node("b"))).await.unwrap_err();
    let there = plain::get(&agent.addr(), "/v1/agent/services").await;
    assert_eq!(there.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn an_agent_that_demands_a_certificate_is_shown_the_one_that_is_on_disk() {
    let papers = Papers::new();
    let demands = json!({ "ca_file": papers.file("ca.crt"), "verify_incoming": true });
    let (agent, addr) = encrypted(&papers, demands).await;
    let naked = brisk(&addr).ca_file(papers.path("ca.crt")).build().unwrap();
    let error = within(naked.join(&node("a"))).await.unwrap_err().to_string();
    assert!(error.contains(&addr) && error.contains("ertificate"), "{error}");
    papers.replace("mine.crt", "them.crt");
    papers.replace("mine.key", "them.key");
    let mut settings = RegistryConsulSettings::default();
    (settings.addr, settings.ca_file) = (addr, papers.file("ca.crt"));
    (settings.cert_file, settings.key_file) = (papers.file("mine.crt"), papers.file("mine.key"));
    let registry = ConsulRegistry::new(&settings).unwrap();
    within(registry.join(&node("a"))).await.unwrap_err();
    papers.replace("mine.crt", "us.crt");
    papers.replace("mine.key", "us.key");
    join(&registry, &node("a")).await;
    let there = plain::get(&agent.addr(), "/v1/agent/services").await;
    assert_eq!(there.as_object().unwrap().len(), 1);
}
