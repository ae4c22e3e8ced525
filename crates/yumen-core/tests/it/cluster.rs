//! The registry record against due v2.5.8's form.

use std::collections::BTreeMap;
use yumen_core::{
    cluster::{Event, Instance, Kind, RouteInfo, State},
    codec::{CodecError, Decode, Encode, Json},
};

/// One record a line. The first four are what a running cluster of due v2.5.8 put into etcd: a
/// node in work and hanging, a gate likewise. They were recorded as JSON values, so their members,
/// order and numbers are due's, and the absence of white space is that of its encoder. The last
/// is written after due's source: a node with a guarded route.
const RECORDS: &str = include_str!("golden/registry.jsonl");

fn read(text: &str) -> Result<Instance, CodecError> {
    Json::decode(text.as_bytes())
}

fn write(instance: &Instance) -> String {
    let mut out = Vec::new();
    Json::encode(instance, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_record_of_due_is_read_and_written_byte_for_byte() {
    let mut count = 0;
    for line in RECORDS.lines() {
        assert_eq!(write(&read(line).unwrap()), line);
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn a_node_of_due_reads_as_what_it_is() {
    let node = read(RECORDS.lines().last().unwrap()).unwrap();
    assert_eq!(node.id.as_str(), "node-1");
    assert_eq!((node.kind, node.state, node.alias.as_str()), (Kind::Node, State::Work, "room"));
    assert_eq!(node.events, [Event::Connect, Event::Disconnect]);
    assert!(node.wants(Event::Connect) && !node.wants(Event::Reconnect));
    let guarded = RouteInfo { stateful: true, authorized: true, ..RouteInfo::new(2.into()) };
    assert_eq!(node.routes, [RouteInfo::new(1.into()), guarded]);
    assert_eq!(node.route(2.into()), Some(&guarded));
    assert_eq!(node.weight, 1);
}

#[test]
fn every_member_has_its_place_and_its_form() {
    let mut all = Instance::new("n".into(), Kind::Mesh, "grpc://h:1");
    all.state = State::Busy;
    all.events = vec![Event::Reconnect];
    all.routes =
        vec![RouteInfo { id: (-5).into(), internal: true, stateful: true, authorized: true }];
    all.services = vec!["a<b>".to_owned()];
    all.weight = 9;
    all.metadata = BTreeMap::from([("k".to_owned(), "&".to_owned())]);
    let text = concat!(
        r#"{"id":"n","name":"mesh","kind":"mesh","alias":"mesh","state":"busy","events":[2],"#,
        r#""routes":[{"i":-5,"n":true,"s":true,"a":true}],"services":["a<b>"],"#,
        r#""endpoint":"grpc://h:1","weight":9,"metadata":{"k":"&"}}"#
    );
    assert_eq!(write(&all), text);
    assert_eq!(read(text).unwrap(), all);
}

#[test]
fn route_zero_is_written_without_its_number_as_due_does() {
    let mut node = Instance::new("n".into(), Kind::Node, "");
    node.routes = vec![RouteInfo { authorized: true, ..RouteInfo::new(0.into()) }];
    let text = write(&node);
    assert!(text.contains(r#""routes":[{"a":true}]"#), "{text}");
    assert_eq!(read(&text).unwrap(), node);
}

#[test]
fn unknown_members_words_and_numbers_do_not_hide_an_instance() {
    let text = r#"{"id":"n","kind":"node","state":"frozen","events":[3,99,1],"color":{"deep":[1]},
        "routes":[{"i":1,"z":true}],"weight":-4}"#;
    let node = read(text).unwrap();
    assert_eq!(node.state, State::Shut);
    assert_eq!(node.events, [Event::Disconnect, Event::Connect]);
    assert_eq!(node.routes, [RouteInfo::new(1.into())]);
    assert_eq!(node.weight, 0);
    assert_eq!(read(r#"{"id":"n","kind":"node","weight":99999999999}"#).unwrap().weight, u32::MAX);
}

#[test]
fn members_that_are_null_or_missing_are_empty() {
    let nulls = r#"{"id":"n","name":null,"kind":"gate","alias":null,"state":null,"events":null,
        "routes":null,"services":null,"endpoint":null,"weight":null,"metadata":null}"#;
    let bare = read(r#"{"id":"n","kind":"gate"}"#).unwrap();
    assert_eq!(read(nulls).unwrap(), bare);
    assert_eq!(bare.state, State::Shut);
    assert_eq!(write(&bare), r#"{"id":"n","kind":"gate","state":"shut"}"#);
}

#[test]
fn a_record_without_an_id_or_of_no_known_kind_is_refused_and_says_why() {
    for (text, why) in [
        (r#"{"kind":"gate"}"#, "missing field `id`"),
        (r#"{"id":"","kind":"gate"}"#, "instance id is empty"),
        (r#"{"id":"n"}"#, "missing field `kind`"),
        (r#"{"id":"n","kind":"moon"}"#, "unknown variant `moon`"),
        (r#"{"id":"n","kind":"gate","routes":[{"i":4294967296}]}"#, "expected i32"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.detail().contains(why), "{text}: {error}");
        assert!(error.detail().contains("line 1 column"), "{text}: {error}");
    }
}
