//! The registry inside one process.

use std::sync::Arc;
use yumen_core::{
    cluster::{Instance, Kind, State},
    conformance,
    memory::MemoryRegistry,
    registry::{Registry, RegistryError},
};

fn gate(id: &str) -> Instance {
    Instance::new(id.into(), Kind::Gate, "drpc://127.0.0.1:1?is_secure=false")
}

#[tokio::test]
async fn the_memory_registry_conforms() {
    crate::within_seconds(conformance::registry(&MemoryRegistry::default())).await;
}

#[tokio::test]
async fn a_full_registry_refuses_newcomers_and_still_updates_members() {
    let registry = MemoryRegistry::bounded(1);
    registry.join(&gate("a")).await.unwrap();
    let refused = registry.join(&gate("b")).await;
    assert!(matches!(refused, Err(RegistryError::Full { max: 1 })));
    let mut hanging = gate("a");
    hanging.state = State::Hang;
    registry.join(&hanging).await.unwrap();
    let node = Instance::new("n".into(), Kind::Node, "");
    registry.join(&node).await.unwrap();
    registry.leave(&"a".into(), Kind::Gate).await.unwrap();
    registry.join(&gate("b")).await.unwrap();
}

#[tokio::test]
async fn a_watch_keeps_the_last_set_when_the_registry_is_gone() {
    let registry = MemoryRegistry::default();
    let mut gates = registry.watch(Kind::Gate).await.unwrap();
    registry.join(&gate("a")).await.unwrap();
    drop(registry);
    assert!(gates.changed().await, "the last change is still seen");
    assert_eq!(*gates.current(), [gate("a")]);
    assert!(!gates.changed().await);
    assert_eq!(*gates.current(), [gate("a")]);
}

#[tokio::test]
async fn joining_again_without_a_change_wakes_nobody() {
    let registry = MemoryRegistry::default();
    registry.join(&gate("a")).await.unwrap();
    let gates = registry.watch(Kind::Gate).await.unwrap();
    registry.join(&gate("a")).await.unwrap();
    registry.join(&Instance::new("n".into(), Kind::Node, "")).await.unwrap();
    assert!(!gates.is_behind());
}

#[tokio::test]
async fn watchers_on_another_thread_end_at_the_whole_set() {
    let registry = Arc::new(MemoryRegistry::default());
    let mut gates = registry.watch(Kind::Gate).await.unwrap();
    let threads = ["a", "b", "c", "d"].map(|name| {
        let registry = Arc::clone(&registry);
        std::thread::spawn(move || {
            for n in 0..50 {
                // Finished when it is made, so it need not be awaited.
                drop(registry.join(&gate(&format!("{name}{n}"))));
            }
        })
    });
    while gates.current().len() < 200 {
        assert!(gates.changed().await);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}
