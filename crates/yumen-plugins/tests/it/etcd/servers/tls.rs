//! Encrypted connections: who trusts whom, and files that are renewed.

use super::{Version, on_both, run};
use crate::{
    etcd::member::{Member, brisk},
    papers::Papers,
    registry::{follow, is_well, join, node, says, until_ids, within},
};
use yumen_core::{conformance, registry::Registry};
use yumen_plugins::etcd::EtcdRegistry;
use yumen_settings::keys::backends::RegistryEtcdSettings;

on_both!(
    over_tls_both_sides_show_a_certificate_that_the_other_trusts,
    a_server_that_is_not_trusted_or_has_expired_is_named,
    certificates_that_are_renewed_on_disk_are_used_without_a_restart,
);

async fn over_tls_both_sides_show_a_certificate_that_the_other_trusts(version: Version) {
    let papers = Papers::new();
    let (_member, addr) = Member::encrypted(version, &papers, "us").await;
    let mut settings = RegistryEtcdSettings::default();
    settings.addrs = vec![addr.clone()];
    settings.ca_file = papers.file("ca.crt");
    (settings.cert_file, settings.key_file) = (papers.file("us.crt"), papers.file("us.key"));
    let registry = EtcdRegistry::new(&settings).unwrap();
    within(conformance::registry(&registry)).await;
    is_well(&registry).await;

    // Without a certificate nobody gets in, and nobody talks in the clear.
    let naked = brisk([addr.clone()]).ca_file(papers.path("ca.crt")).build().unwrap();
    let error = within(naked.join(&node("b"))).await.unwrap_err().to_string();
    let bare = addr.replace("https://", "");
    assert!(error.contains(&bare) && error.contains("ertificate"), "{error}");
    let clear = brisk([bare]).build().unwrap();
    within(clear.join(&node("b"))).await.unwrap_err();
}

async fn a_server_that_is_not_trusted_or_has_expired_is_named(version: Version) {
    let papers = Papers::new();
    for (shown, trusted, why) in
        [("us", "foreign.crt", "UnknownIssuer"), ("old", "ca.crt", "expired")]
    {
        let (_member, addr) = Member::encrypted(version, &papers, shown).await;
        let builder = brisk([addr.clone()]).identity(papers.path("us.crt"), papers.path("us.key"));
        let registry = builder.ca_file(papers.path(trusted)).build().unwrap();
        let error = within(registry.join(&node("a"))).await.unwrap_err().to_string();
        let bare = addr.replace("https://", "");
        assert!(error.contains(&bare) && error.contains(why), "{error}");
        says(&registry, why).await;
    }
}

async fn certificates_that_are_renewed_on_disk_are_used_without_a_restart(version: Version) {
    let papers = Papers::new();
    let (mut member, addr) = Member::encrypted(version, &papers, "us").await;
    for (mine, first) in
        [("mine.crt", "them.crt"), ("mine.key", "them.key"), ("known.crt", "foreign.crt")]
    {
        papers.replace(mine, first);
    }
    let builder = brisk([addr]).identity(papers.path("mine.crt"), papers.path("mine.key"));
    let registry = builder.ca_file(papers.path("known.crt")).build().unwrap();
    let error = within(registry.join(&node("a"))).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "its authority is unknown: {error}");
    papers.replace("known.crt", "ca.crt");
    let error = within(registry.join(&node("a"))).await.unwrap_err().to_string();
    assert!(!error.contains("UnknownIssuer"), "the server knows the other authority: {error}");
    // A renewal caught halfway: the certificate does not fit its key yet.
    papers.replace("mine.crt", "us.crt");
    within(registry.join(&node("a"))).await.unwrap_err();
    papers.replace("mine.key", "us.key");
    join(&registry, &node("a")).await;
    let mut nodes = follow(&registry).await;
    until_ids(&mut nodes, &["a"]).await;
    // And what stood before is not forgotten when a file is gone.
    std::fs::remove_file(papers.path("mine.key")).unwrap();
    std::fs::remove_file(papers.path("known.crt")).unwrap();
    member.kill();
    member.restart().await;
    join(&registry, &node("b")).await;
    until_ids(&mut nodes, &["a", "b"]).await;
}
