//! `due-peer` as processes of its own, over a real etcd and a real Redis.

mod child;
mod events;
mod foreign_gate;
mod foreign_mesh;
mod foreign_node;
mod moving;

use crate::{clients, recording};
use child::{Backends, Process};
use events::Subscriber;
use serde_json::Value;
use yumen::registry::{Instance, Kind, Registry};
use yumen_due_peer::Net;
use yumen_plugins::etcd::EtcdRegistry;

/// The records of one kind, once there are any.
fn records(backends: &Backends, kind: Kind) -> Vec<Instance> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let registry = EtcdRegistry::builder([backends.etcd.clone()]).build().unwrap();
        let mut watch = registry.watch(kind).await.unwrap();
        while watch.current().is_empty() {
            assert!(watch.changed().await);
        }
        watch.current().to_vec()
    })
}

/// What is compared of a record: where it listens is its own, and what is ours stands under `metadata`.
fn compared(mut record: Instance) -> Instance {
    record.endpoint.clear();
    record.metadata.clear();
    record.routes.sort_by_key(|route| route.id);
    record.events.sort();
    record
}

#[test]
fn recorded_clients_and_stores_see_of_two_processes_what_they_saw_of_due() {
    let backends = Backends::start();
    let mut events = Subscriber::open(&backends);
    let node = Process::node(&backends);
    let gate = Process::gate(&backends, Net::Tcp);
    let recorded = recording::records();
    for (kind, at) in [(Kind::Node, 0), (Kind::Gate, 1)] {
        let ours = records(&backends, kind);
        assert_eq!(ours.len(), 1);
        assert_eq!(compared(ours[0].clone()), compared(recorded[at].clone()));
    }
    clients::play(gate.clients(), Net::Tcp);
    node.said("EVENT disconnect 1002");
    let theirs = recording::published();
    let ours = events.take(theirs.len());
    // Of one user and kind, what was published has an order; of all of them, none was promised.
    let of = |user: i64, kind: &str, all: &[(String, Value)]| {
        let about =
            |(_, event): &&(String, Value)| event["uid"] == user && event["insKind"] == kind;
        all.iter().filter(about).cloned().collect::<Vec<_>>()
    };
    for (user, kind) in [(1001, "gate"), (1001, "node"), (1002, "gate"), (1002, "node")] {
        assert_eq!(of(user, kind, &ours), of(user, kind, &theirs), "{user} {kind}");
    }
    drop((gate, node));
    assert!(events.take(1).is_empty(), "more than was recorded");
}

#[test]
fn over_web_sockets_the_recorded_clients_see_the_same() {
    let backends = Backends::start();
    let node = Process::node(&backends);
    let gate = Process::gate(&backends, Net::Ws);
    clients::play(gate.clients(), Net::Ws);
    node.said("EVENT disconnect 1002");
}
