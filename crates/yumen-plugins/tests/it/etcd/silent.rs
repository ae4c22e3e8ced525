//! A server that accepts and never answers, and one that is not there.

use super::member::brisk;
use crate::{
    registry::{node, within},
    wire::{closed, mute},
};
use yumen_core::{cluster::Kind, health::Health, registry::Registry};

#[tokio::test]
async fn a_server_that_never_answers_is_an_error_that_names_it_and_not_a_hang() {
    let (addr, accepting) = mute().await;
    let registry = brisk([addr.clone()]).build().unwrap();
    let instance = node("a");
    let both = async { tokio::join!(registry.join(&instance), registry.watch(Kind::Node)) };
    let (joined, watched) = within(both).await;
    for error in [joined.unwrap_err().to_string(), watched.err().unwrap().to_string()] {
        assert!(error.contains(&addr) && error.contains("no answer within 1s"), "{error}");
    }
    accepting.abort();
}

#[tokio::test]
async fn five_failures_in_a_row_are_not_ready_and_say_why() {
    let addr = closed().await;
    let registry = brisk([addr.clone()]).build().unwrap();
    assert_eq!(registry.health(), Health::Good, "it was not asked for anything yet");
    within(async {
        while registry.health().is_ready() {
            registry.watch(Kind::Node).await.expect_err("nobody is there");
        }
    })
    .await;
    let Health::Failing { failures, last } = registry.health() else { panic!("it is failing") };
    assert!(failures >= 5 && last.contains(&addr), "{failures} {last}");
    assert!(last.contains("refused"), "the cause is told: {last}");
}

#[tokio::test]
async fn a_registry_that_is_dropped_ends_its_work_and_its_watches_keep_the_last_set() {
    let (addr, accepting) = mute().await;
    let registry = brisk([addr]).build().unwrap();
    within(registry.join(&node("a"))).await.unwrap_err();
    within(registry.watch(Kind::Node)).await.err().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks() > 1);
    drop(registry);
    // The connections end with the last task that used them; the listener's task stays.
    within(async {
        while tasks() > 1 {
            tokio::task::yield_now().await
        }
    })
    .await;
    accepting.abort();
}
