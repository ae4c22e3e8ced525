//! The recording of a due cluster of one gate and one node, read.

use serde_json::Value;
use std::collections::BTreeMap;
use yumen::registry::Instance;

const RECORD: &str = include_str!("../../../../crates/yumen-proto/tests/golden/due-traffic.json");

/// A frame, and who sent it when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    /// Milliseconds since the start.
    pub(crate) at: f64,
    /// Of all connections of its link, from 1.
    pub(crate) connection: u64,
    /// From the dialler.
    pub(crate) from_dialler: bool,
    pub(crate) bytes: Vec<u8>,
}

/// The frames of a link in the order of time. Those of one connection keep their order.
pub(crate) fn frames(link: &str) -> Vec<Recorded> {
    let record: Value = serde_json::from_str(RECORD).unwrap();
    let mut all = Vec::new();
    for one in record["links"].as_array().unwrap() {
        if !one["link"].as_str().unwrap().starts_with(link) {
            continue;
        }
        let connection = one["connection"].as_u64().unwrap();
        for frame in one["frames"].as_array().unwrap() {
            let at = frame[0].as_f64().unwrap();
            let from_dialler = frame[1] == ">";
            let bytes = hex(frame[2].as_str().unwrap());
            all.push(Recorded { at, connection, from_dialler, bytes });
        }
    }
    assert!(!all.is_empty(), "nothing was recorded of {link}");
    all.sort_by(|a, b| a.at.total_cmp(&b.at));
    all
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len() / 2).map(|n| digit(2 * n)).collect()
}

/// The registry records of the recording, in the order in which they were written.
pub(crate) fn records() -> Vec<Instance> {
    let record: Value = serde_json::from_str(RECORD).unwrap();
    let all = record["etcd"].as_array().unwrap().iter();
    all.filter_map(|one| serde_json::from_value(one["value"].clone()).ok()).collect()
}

/// What was published about users, with its channel.
pub(crate) fn published() -> Vec<(String, Value)> {
    let record: Value = serde_json::from_str(RECORD).unwrap();
    let all = record["redis"].as_array().unwrap().iter().filter(|one| one[0] == "publish");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|one| (text(&one[1]), serde_json::from_str(&text(&one[2])).unwrap())).collect()
}

/// The settings that the recorded cluster ran with, in due's own keys.
pub(crate) const SETTINGS: &str = "
[packet]
byteOrder = 'big'
routeBytes = 4
seqBytes = 4
bufferBytes = 100000
[cluster.gate]
id = 'gate-1'
[cluster.node]
id = 'node-1'
name = 'node'
codec = 'json'
[network.tcp.server]
addr = '127.0.0.1:0'
heartbeatInterval = 0
[network.ws.server]
addr = '127.0.0.1:0'
heartbeatInterval = 0
";

/// What a client understands of a packet: route, sequence number, body. `None` for a heartbeat.
pub(crate) fn read(packet: &[u8]) -> Option<(i32, i32, Value)> {
    if packet[4] & 0x80 != 0 {
        return None;
    }
    let number = |at: usize| i32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    let body = serde_json::from_slice(&packet[13..]).unwrap_or(Value::Null);
    Some((number(5), number(9), body))
}

/// Whether an answer says what the recorded one said. Where due names an error, another text will do;
/// and due's count of connections is not compared: it reads that answer at the wrong place.
pub(crate) fn says_the_same(recorded: &Value, ours: &Value) -> bool {
    let (Some(recorded), Some(ours)) = (recorded.as_object(), ours.as_object()) else {
        return recorded == ours;
    };
    let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    if sorted(keys(recorded)) != sorted(keys(ours)) {
        return false;
    }
    let all: BTreeMap<_, _> = recorded.iter().collect();
    all.into_iter().all(|(key, value)| match (key.as_str(), value.as_str()) {
        ("stat", _) => ours[key].is_u64(),
        ("errs", Some(text)) => first_errors(text) == first_errors(ours[key].as_str().unwrap()),
        (_, Some(text)) if is_error(key) => {
            (text == "<nil>") == (ours[key] == "<nil>") && ours[key].is_string()
        }
        _ => ours[key] == *value,
    })
}

fn is_error(key: &str) -> bool {
    ["err", "e", "e2", "gate", "node"].contains(&key)
}

/// Of three texts, the last of which may have spaces: which are errors.
fn first_errors(text: &str) -> [bool; 3] {
    let mut parts = text.splitn(3, ' ');
    [(); 3].map(|()| parts.next().unwrap() != "<nil>")
}

#[test]
fn the_comparison_sees_a_wrong_answer() {
    let recorded = serde_json::json!({"uid": 7, "stat": 0, "errs": "<nil> <nil> no such user"});
    let right = serde_json::json!({"stat": 2, "uid": 7, "errs": "<nil> <nil> nobody is here"});
    assert!(says_the_same(&recorded, &right));
    for (key, wrong) in [("uid", "8"), ("stat", "\"2\""), ("errs", "\"<nil> <nil> <nil>\"")] {
        let mut ours = right.clone();
        ours[key] = serde_json::from_str(wrong).unwrap();
        assert!(!says_the_same(&recorded, &ours), "{key}");
    }
    let gate = serde_json::json!({"gate": "<nil>"});
    assert!(!says_the_same(&gate, &serde_json::json!({"gate": "failed"})));
    assert!(!says_the_same(&gate, &serde_json::json!({"node": "<nil>"})));
}

/// The recorded record of an instance, which listens at `addr` now.
pub(crate) fn record(id: &str, addr: std::net::SocketAddr) -> Value {
    let mut record = recorded_record(id);
    record["endpoint"] = format!("drpc://{addr}?is_secure=false").into();
    record
}

fn recorded_record(id: &str) -> Value {
    let all: Value = serde_json::from_str(RECORD).unwrap();
    let all = all["etcd"].as_array().unwrap().clone();
    all.iter().map(|put| put["value"].clone()).find(|value| value["id"] == id).unwrap()
}

/// Our record is the recorded one but for its address and what stands under `metadata`.
pub(crate) fn assert_same_record(id: &str, mut ours: Value) {
    let mut recorded = recorded_record(id);
    for record in [&mut recorded, &mut ours] {
        let record = record.as_object_mut().unwrap();
        record.remove("endpoint").unwrap();
        record.remove("metadata");
        for (key, by) in [("routes", "i"), ("events", "")] {
            if let Some(list) = record.get_mut(key).and_then(Value::as_array_mut) {
                list.sort_by_key(|one| one.get(by).unwrap_or(one).as_i64());
            }
        }
    }
    assert_eq!(recorded, ours);
}

/// The words with which an instance introduced itself.
pub(crate) fn handshake(id: &str) -> Vec<u8> {
    frames(&format!("{id} dials")).swap_remove(0).bytes
}

/// What a gate or a node wrote to Redis is what was recorded: its keys, and what it told others. Scripts
/// are compared by what they do.
pub(crate) fn assert_same_writes(kind: &str, written: &[Vec<String>]) {
    let all: Value = serde_json::from_str(RECORD).unwrap();
    let words = |line: &Value| -> Vec<String> {
        line.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let recorded: Vec<_> = all["redis"].as_array().unwrap().iter().map(words).collect();
    let mine = |line: &[String]| {
        line[1].ends_with(&format!(":{kind}"))
            || line[1] == format!("due:locate:cluster:{kind}:event")
    };
    let keys = ["set", "hset", "publish"];
    let said = |lines: &[Vec<String>]| -> Vec<Vec<String>> {
        let own = lines.iter().filter(|line| keys.contains(&line[0].as_str()) && mine(line));
        // What comes behind the value is how it is written.
        own.map(|line| {
            let mut line = line.clone();
            line.truncate(if line[0] == "hset" { 4 } else { 3 });
            line
        })
        .collect()
    };
    assert_eq!(said(&recorded), said(written));
    let removed = |line: &&Vec<String>| ["del", "hdel"].contains(&line[0].as_str()) && mine(line);
    let removals = recorded
        .iter()
        .filter(|line| line[0] == "publish" && mine(line))
        .filter(|line| line[2].contains(r#""type":3"#) || line[2].contains(r#""type":4"#));
    assert_eq!(written.iter().filter(removed).count(), removals.count(), "{written:?}");
}
