//! The registry inside one process.

use std::sync::Arc;
use yumen_core::{
    cluster::{Instance, Kind, State},
    conformance,
    memory::MemoryRegistry,
    registry::{Registry, RegistryError, StaticError, StaticRegistry},
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

#[tokio::test]
async fn a_static_list_without_entries_conforms_inside_one_process() {
    let registry = Arc::new(StaticRegistry::new([]).unwrap());
    crate::within_seconds(conformance::registry(&registry)).await;
}

#[tokio::test]
async fn an_own_instance_replaces_its_entry_in_the_list_and_takes_it_along_when_it_leaves() {
    let registry = StaticRegistry::new([gate("a"), gate("b")]).unwrap();
    let mut gates = registry.watch(Kind::Gate).await.unwrap();
    assert_eq!(*gates.current(), [gate("a"), gate("b")]);
    let mut hanging = gate("a");
    hanging.state = State::Hang;
    registry.join(&hanging).await.unwrap();
    assert_eq!(*gates.current(), [hanging, gate("b")]);
    registry.leave(&"a".into(), Kind::Gate).await.unwrap();
    assert_eq!(*gates.current(), [gate("b")], "it has left, whatever the list says");
    registry.leave(&"b".into(), Kind::Gate).await.unwrap();
    assert_eq!(*gates.current(), [gate("b")], "it never joined here: it is another process's");
    registry.join(&gate("a")).await.unwrap();
    assert_eq!(*gates.current(), [gate("a"), gate("b")]);
}

#[test]
fn a_list_that_names_an_instance_twice_is_refused() {
    let mesh = Instance::new("a".into(), Kind::Mesh, "");
    StaticRegistry::new([gate("a"), mesh]).unwrap();
    let refused = StaticRegistry::new([gate("a"), gate("b"), gate("a")]).unwrap_err();
    assert!(matches!(&refused, StaticError::Twice { kind: Kind::Gate, id } if id.as_str() == "a"));
}

#[cfg(feature = "json")]
mod file {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_file_is_read_again_when_asked_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let short =
            r#"[{"id": "a", "kind": "gate", "endpoint": "drpc://127.0.0.1:1?is_secure=false"}]"#;
        fs::write(&path, short).unwrap();
        let registry = StaticRegistry::from_file(&path).unwrap();
        let mut gates = registry.watch(Kind::Gate).await.unwrap();
        assert_eq!(*gates.current(), [gate("a")], "in work, and named after its kind");

        fs::write(&path, "[]").unwrap();
        assert_eq!(gates.current().len(), 1, "nobody asked");
        registry.reread().unwrap();
        assert!(gates.changed().await);
        assert!(gates.current().is_empty());

        fs::write(&path, short).unwrap();
        registry.reread().unwrap();
        for (text, problem) in [
            ("[{\"id\": \"a\"}]", "missing field `kind` at line 1 column 12"),
            ("[\n{\"id\": \"a\", \"kind\": \"moon\"}]", "unknown variant `moon`"),
            ("{}", "expected a sequence at line 1"),
        ] {
            fs::write(&path, text).unwrap();
            let refused = registry.reread().unwrap_err().to_string();
            assert!(refused.contains("cluster.json: ") && refused.contains(problem), "{refused}");
        }
        assert_eq!(*gates.current(), [gate("a")]);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let refused = StaticRegistry::from_file("/nowhere/cluster.json").unwrap_err().to_string();
        assert!(refused.starts_with("list of instances /nowhere/cluster.json: "), "{refused}");
    }

    #[tokio::test]
    async fn a_state_in_the_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        fs::write(&path, r#"[{"id": "a", "kind": "gate", "state": "hang", "alias": "west"}]"#)
            .unwrap();
        let registry = StaticRegistry::from_file(&path).unwrap();
        let gate = registry.watch(Kind::Gate).await.unwrap().current()[0].clone();
        assert_eq!((gate.state, gate.alias.as_str()), (State::Hang, "west"));
    }
}
