//! The record against due's documented bodies, and against texts of any kind.

use super::*;
use proptest::prelude::*;
use yumen_core::cluster::{Event, State};

const CHECKS: Checks = Checks {
    health: Some((Duration::from_secs(10), Duration::from_secs(5))),
    heartbeat: Some(Duration::from_secs(10)),
    deregister: Duration::from_secs(30),
};

fn documented() -> Instance {
    let endpoint = "drpc://192.168.1.10:34567?is_secure=false";
    let mut node = Instance::new("node-1".into(), Kind::Node, endpoint);
    node.alias = "room".to_owned();
    node.events = [1, 3].into_iter().filter_map(Event::from_number).collect();
    let guarded = RouteInfo { stateful: true, authorized: true, ..RouteInfo::new(2.into()) };
    node.routes = vec![RouteInfo::new(1.into()), guarded];
    node.weight = 1;
    node
}

/// What an agent gives back for it.
fn stored(registration: Registration) -> Service {
    let Registration { id, name, address, port, meta, .. } = registration;
    Service { id, name, address, port, meta: Some(meta), ..Service::default() }
}

#[test]
fn a_node_is_registered_with_the_body_that_due_sends_and_passes_from_the_start() {
    let due = json!({
        "ID": "node-node-1", "Name": "node", "Port": 34567, "Address": "192.168.1.10",
        "TaggedAddresses": { "drpc": { "Address": "192.168.1.10", "Port": 34567 } },
        "Meta": {
            "id": "node-1", "kind": "node", "alias": "room", "state": "work",
            "endpoint": "drpc://192.168.1.10:34567?is_secure=false", "weight": "1",
            "events": "[1,3]", "routes-0": "1-0,2-6"
        },
        "Checks": [
            { "TCP": "192.168.1.10:34567", "Interval": "10s", "Timeout": "5s",
              "DeregisterCriticalServiceAfter": "30s" },
            { "CheckID": "service:node-node-1", "TTL": "10s",
              "DeregisterCriticalServiceAfter": "30s" }
        ]
    });
    let registration = registration(&documented(), &CHECKS).unwrap();
    let mut ours = serde_json::to_value(&registration).unwrap();
    // The one thing that due does not say.
    for check in ours["Checks"].as_array_mut().unwrap() {
        assert_eq!(check.as_object_mut().unwrap().remove("Status").unwrap(), "passing");
    }
    assert_eq!(ours, due);
    assert_eq!(read(&stored(registration)).unwrap(), documented());
}

#[test]
fn what_is_switched_off_is_not_checked() {
    let none = Checks { health: None, heartbeat: None, ..CHECKS };
    assert!(registration(&documented(), &none).unwrap().checks.is_empty());
}

#[test]
fn routes_fall_into_the_pieces_of_dues_check() {
    let mut node = documented();
    let both = |id: i32| RouteInfo { internal: true, stateful: true, ..RouteInfo::new(id.into()) };
    node.routes = (1..=200).map(both).collect();
    let meta = registration(&node, &CHECKS).unwrap().meta;
    let lens: Vec<_> = (0..3).map(|n| meta[&format!("routes-{n}")].len()).collect();
    assert_eq!(lens, [509, 509, 71]);
    assert!(meta["routes-1"].starts_with("104-3,") && meta["routes-2"].starts_with("189-3,"));
    assert!(!meta.contains_key("routes-3"));
}

#[test]
fn a_piece_may_be_full_to_the_last_byte() {
    let mut node = documented();
    // Items of 7 bytes and a comma each.
    node.routes = vec![RouteInfo::new(10_000.into()); 64];
    let meta = registration(&node, &CHECKS).unwrap().meta;
    assert_eq!(meta["routes-0"].len(), 64 * 8 - 1, "all in one");
    node.routes[0] = RouteInfo::new(100_000.into());
    let meta = registration(&node, &CHECKS).unwrap().meta;
    assert_eq!((meta["routes-0"].len(), meta.contains_key("routes-1")), (512, false));
    node.routes[1] = RouteInfo::new(100_000.into());
    let meta = registration(&node, &CHECKS).unwrap().meta;
    assert_eq!((meta["routes-0"].len(), meta["routes-1"].as_str()), (505, "10000-0"));
}

#[test]
fn the_address_is_that_of_the_endpoint_with_brackets_where_they_belong() {
    assert_eq!(parts("drpc://10.0.0.1:4000?is_secure=false"), Some(("drpc", "10.0.0.1", 4000)));
    assert_eq!(parts("drpc://[::1]:4000/x"), Some(("drpc", "::1", 4000)));
    for bad in
        ["", "x", "drpc://", "drpc://a", "drpc://a:0", "drpc://:1", "://a:1", "drpc://a:65536"]
    {
        assert_eq!(parts(bad), None, "{bad}");
    }
    let six = Instance { endpoint: "drpc://[::1]:4000".to_owned(), ..documented() };
    let registration = registration(&six, &CHECKS).unwrap();
    assert_eq!(registration.address, "::1");
    assert_eq!(registration.checks[0].tcp.as_deref(), Some("[::1]:4000"));
}

fn instances() -> impl Strategy<Value = Instance> {
    let route =
        (any::<i32>(), any::<[bool; 3]>()).prop_map(|(id, [internal, stateful, authorized])| {
            RouteInfo { id: id.into(), internal, stateful, authorized }
        });
    let words = ".{0,20}";
    (
        (".{1,20}", words, 0_u32..=u32::MAX),
        prop::collection::vec(route, 0..300),
        prop::collection::vec(words, 0..4),
        prop::collection::btree_map("[A-Za-z0-9_-]{0,20}", words, 0..8),
        prop::sample::select(vec![State::Shut, State::Work, State::Busy, State::Hang]),
        prop::sample::select(vec![Kind::Gate, Kind::Node, Kind::Mesh]),
    )
        .prop_map(|((id, alias, weight), routes, services, metadata, state, kind)| {
            let mut instance = Instance::new(id.as_str().into(), kind, "drpc://127.0.0.1:1");
            (instance.alias, instance.weight, instance.routes) = (alias, weight, routes);
            (instance.services, instance.metadata, instance.state) = (services, metadata, state);
            instance.events = vec![Event::Disconnect];
            instance
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(instance in instances()) {
        let registration = registration(&instance, &CHECKS).unwrap();
        for (name, text) in &registration.meta {
            prop_assert!(text.len() <= VALUE_MAX && name.len() <= NAME_MAX);
        }
        prop_assert_eq!(read(&stored(registration)).unwrap(), instance);
    }

    #[test]
    fn no_text_makes_the_reader_fail_in_another_way_than_by_saying_so(
        name in ".{0,10}",
        meta in prop::collection::btree_map(
            "id|kind|alias|state|endpoint|weight|events|services|routes-[0-9]{0,3}|_.{0,5}|.{0,8}",
            "gate|node|work|[0-9,-]{0,40}|\\[[0-9,\"a-z]{0,20}\\]|.{0,40}",
            0..10,
        ),
    ) {
        let service = Service { name, meta: Some(meta.clone()), ..Service::default() };
        if let Ok(instance) = read(&service) {
            prop_assert_eq!(instance.id.as_str(), meta["id"].as_str());
            let items: usize = meta.values().map(|text| text.split(',').count()).sum();
            prop_assert!(instance.routes.len() <= items);
        }
    }
}
