//! An agent that accepts and never answers, one that is not there, and one whose answers are written by hand.

use super::agent::brisk;
use crate::{
    registry::{ids, node, until, until_ids, within},
    wire::{closed, mute},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use yumen_core::{cluster::Kind, health::Health, registry::Registry};

#[tokio::test]
async fn an_agent_that_never_answers_is_an_error_that_names_it_and_not_a_hang() {
    let (addr, accepting) = mute().await;
    let registry = brisk(addr.clone()).build().unwrap();
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
    let registry = brisk(addr.clone()).build().unwrap();
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
    let registry = brisk(addr).build().unwrap();
    within(registry.join(&node("a"))).await.unwrap_err();
    within(registry.watch(Kind::Node)).await.err().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks() > 1);
    drop(registry);
    within(async {
        while tasks() > 1 {
            tokio::task::yield_now().await
        }
    })
    .await;
    accepting.abort();
}

fn entry(id: &str, created: u64) -> Value {
    json!({ "Node": { "Node": "n" }, "Service": {
        "ID": format!("node-{id}"), "Service": "node", "CreateIndex": created, "ModifyIndex": created,
        "Meta": { "id": id, "kind": "node", "state": "work", "endpoint": "drpc://127.0.0.1:1" } } })
}

/// Answers one question after the other with an index and a set; tells the path of each question.
async fn scripted(answers: Vec<(u64, Value)>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (asked, questions) = mpsc::channel(100);
    tokio::spawn(async move {
        for (index, set) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let len = stream.read(&mut head).await.unwrap();
            let path = String::from_utf8_lossy(&head[..len]).split(' ').nth(1).unwrap().to_owned();
            asked.send(path).await.unwrap();
            let set = set.to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Consul-Index: {index}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{set}",
                set.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        // The rest waits for ever.
        let _held = listener.accept().await;
        std::future::pending::<()>().await;
    });
    (addr, questions)
}

#[tokio::test]
async fn an_index_that_goes_backwards_begins_anew_and_loses_nobody() {
    let all = json!([entry("a", 1), entry("b", 2)]);
    let script =
        vec![(50, all), (3, json!([entry("b", 1)])), (4, json!([entry("b", 1), entry("c", 4)]))];
    let (addr, mut questions) = scripted(script).await;
    let registry = brisk(addr).build().unwrap();
    let mut nodes = within(registry.watch(Kind::Node)).await.unwrap();
    assert_eq!(ids(&nodes.current()), ["a", "b"]);
    until(&mut nodes, |set| {
        assert!(ids(set).contains(&"a"), "who is missing had no time yet: {set:?}");
        ids(set).contains(&"c")
    })
    .await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(questions.recv().await.unwrap());
    }
    assert!(!asked[0].contains("index"), "{asked:?}");
    assert!(asked[1].contains("index=50&wait=1000ms"), "{asked:?}");
    assert!(!asked[2].contains("index"), "after 3 comes 0, not 50: {asked:?}");
}

#[tokio::test]
async fn an_entry_that_is_nonsense_costs_itself_alone() {
    let set = json!([7, {}, { "Service": { "Meta": 3 } }, entry("a", 1), { "Service": { "ID": "x", "Meta": null } }]);
    let (addr, _questions) = scripted(vec![(9, set)]).await;
    let registry = brisk(addr).build().unwrap();
    let mut nodes = within(registry.watch(Kind::Node)).await.unwrap();
    until_ids(&mut nodes, &["a"]).await;
    assert_eq!(registry.unread(), 4);
}

#[tokio::test]
async fn of_one_id_at_two_agents_the_one_that_was_registered_later_counts() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut other = entry("a", second);
        other["Node"]["Node"] = json!("m");
        other["Service"]["Meta"]["alias"] = json!("other");
        let (addr, _questions) = scripted(vec![(9, json!([entry("a", first), other]))]).await;
        let registry = brisk(addr).build().unwrap();
        let mut nodes = within(registry.watch(Kind::Node)).await.unwrap();
        let alias = if second > first { "other" } else { "" };
        assert_eq!(nodes.current()[0].alias, alias);
        assert_eq!(nodes.current().len(), 1);
    }
}

#[tokio::test]
async fn a_server_without_an_index_is_not_asked_without_a_pause() {
    let set = json!([entry("a", 1)]);
    let (addr, mut questions) = scripted(vec![(0, set); 90]).await;
    let registry = brisk(addr).build().unwrap();
    let _nodes = within(registry.watch(Kind::Node)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut asked = 0;
    while questions.try_recv().is_ok() {
        asked += 1;
    }
    assert!((1..=3).contains(&asked), "{asked} questions in 1.5 s");
}
