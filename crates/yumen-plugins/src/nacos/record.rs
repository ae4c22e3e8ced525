//! A record as Nacos keeps it: an address and texts, as due v2.5 writes and reads them.
//!
//! Pure. The one thing to know: Nacos knows an instance by its address in a service, not by its id, so two
//! instances of one kind cannot have one address there.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use yumen_core::cluster::{Instance, Kind};

/// A text of due's record that stands there as it is.
const TEXTS: [&str; 6] = ["id", "name", "kind", "alias", "state", "endpoint"];
/// What stands there as JSON, unless it is empty.
const LISTS: [&str; 4] = ["routes", "events", "services", "metadata"];
/// Characters of all names and texts of one record that a server takes by itself.
pub(super) const TEXTS_MAX: usize = 1_024;

/// Between two heartbeats; after how long without one an instance is unhealthy, and after how long it is
/// forgotten. The server looks every 5 s.
pub(super) const BEAT_EVERY_MS: u64 = 3_000;
const BEAT_MISSED_MS: u64 = 9_000;
const FORGOTTEN_MS: u64 = 20_000;

/// One instance in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Host {
    pub(super) ip: String,
    pub(super) port: u16,
    #[serde(default)]
    pub(super) healthy: bool,
    #[serde(default)]
    pub(super) enabled: bool,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}

/// What is to stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ip: String,
    pub(super) port: u16,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Why a record cannot be kept in Nacos.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnfitError {
    #[error("its endpoint {0:?} names no host and port, by which Nacos knows an instance")]
    Endpoint(String),
    #[error("it cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
}

impl Entry {
    /// # Errors
    /// [`UnfitError`].
    pub(super) fn new(instance: &Instance) -> Result<Self, UnfitError> {
        let unfit = || UnfitError::Endpoint(instance.endpoint.clone());
        let (ip, port) = address(&instance.endpoint).ok_or_else(unfit)?;
        let record = serde_json::to_value(instance)?;
        let mut metadata = BTreeMap::new();
        for name in TEXTS {
            let text = record.get(name).and_then(Value::as_str).unwrap_or_default();
            metadata.insert(name.to_owned(), text.to_owned());
        }
        if instance.weight > 0 {
            metadata.insert("weight".to_owned(), instance.weight.to_string());
        }
        for name in LISTS {
            if let Some(list) = record.get(name) {
                metadata.insert(name.to_owned(), list.to_string());
            }
        }
        for (name, ms) in [
            ("preserved.heart.beat.interval", BEAT_EVERY_MS),
            ("preserved.heart.beat.timeout", BEAT_MISSED_MS),
            ("preserved.ip.delete.timeout", FORGOTTEN_MS),
        ] {
            metadata.insert(name.to_owned(), ms.to_string());
        }
        Ok(Self { ip, port, metadata })
    }

    /// How many characters its texts take, as the server counts them.
    pub(super) fn len(&self) -> usize {
        let units = |text: &String| text.encode_utf16().count();
        self.metadata.iter().fold(0_usize, |sum, (name, text)| {
            sum.saturating_add(units(name)).saturating_add(units(text))
        })
    }

    pub(super) fn is_at(&self, host: &Host) -> bool {
        host.ip == self.ip && host.port == self.port
    }
}

impl Host {
    pub(super) fn id(&self) -> &str {
        self.metadata.get("id").map_or("", String::as_str)
    }

    /// The record that its texts are.
    ///
    /// # Errors
    /// Why they are none.
    pub(super) fn read(&self) -> Result<Instance, String> {
        let mut record = serde_json::Map::new();
        for (name, text) in &self.metadata {
            let value = if LISTS.contains(&name.as_str()) {
                if text.is_empty() {
                    continue;
                }
                serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?
            } else if name == "weight" {
                Value::from(text.parse::<i64>().unwrap_or_default())
            } else if TEXTS.contains(&name.as_str()) {
                Value::from(text.as_str())
            } else {
                continue;
            };
            record.insert(name.clone(), value);
        }
        serde_json::from_value(Value::Object(record)).map_err(|error| error.to_string())
    }
}

/// Host and port of `scheme://host:port` with whatever behind it.
fn address(endpoint: &str) -> Option<(String, u16)> {
    let (_, rest) = endpoint.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (host, port) = authority.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
}

pub(super) const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Gate => "gate",
        Kind::Node => "node",
        Kind::Mesh => "mesh",
        Kind::Master => "master",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::cluster::{Event, RouteInfo, State};

    fn host(metadata: &[(&str, &str)]) -> Host {
        let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Host { ip: "10.0.0.1".to_owned(), port: 4_000, healthy: true, enabled: true, metadata }
    }

    fn node() -> Instance {
        let mut node =
            Instance::new("n-1".into(), Kind::Node, "drpc://10.0.0.1:4000?is_secure=false");
        node.alias = "room".to_owned();
        node.state = State::Hang;
        node.events = vec![Event::Connect, Event::Disconnect];
        let guarded = RouteInfo { id: 7.into(), internal: true, stateful: true, authorized: true };
        node.routes = vec![RouteInfo::new((-1).into()), guarded];
        node.services = vec!["wallet".to_owned()];
        node.weight = 3;
        node.metadata = [("zone".to_owned(), "东".to_owned())].into();
        node
    }

    #[test]
    fn a_record_is_the_texts_that_due_writes() {
        let entry = Entry::new(&node()).unwrap();
        assert_eq!((entry.ip.as_str(), entry.port), ("10.0.0.1", 4_000));
        let due: BTreeMap<_, _> = entry
            .metadata
            .iter()
            .filter(|(name, _)| !name.starts_with("preserved."))
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let wanted = [
            ("id", "n-1"),
            ("name", "node"),
            ("kind", "node"),
            ("alias", "room"),
            ("state", "hang"),
            ("endpoint", "drpc://10.0.0.1:4000?is_secure=false"),
            ("weight", "3"),
            ("routes", r#"[{"i":-1},{"i":7,"n":true,"s":true,"a":true}]"#),
            ("events", "[1,3]"),
            ("services", r#"["wallet"]"#),
            ("metadata", r#"{"zone":"东"}"#),
        ];
        assert_eq!(
            due.get("routes").map(|text| serde_json::from_str::<Value>(text).unwrap()),
            Some(serde_json::from_str(wanted[7].1).unwrap())
        );
        for (name, text) in wanted.iter().filter(|(name, _)| *name != "routes" && *name != "events")
        {
            assert_eq!(due.get(name), Some(text), "{name}");
        }
        assert_eq!(due.len(), wanted.len(), "{due:?}");
        let bare = Entry::new(&Instance::new("g".into(), Kind::Gate, "drpc://h:1")).unwrap();
        let names: Vec<_> = bare.metadata.keys().filter(|name| !name.contains('.')).collect();
        assert_eq!(names, ["alias", "endpoint", "id", "kind", "name", "state"]);
        let back = host(&[]);
        assert_eq!(Host { metadata: entry.metadata, ..back }.read(), Ok(node()));
    }

    #[test]
    fn what_due_writes_is_read_and_what_is_no_record_says_why() {
        let due = host(&[
            ("id", "g"),
            ("name", "gate"),
            ("kind", "gate"),
            ("alias", "gate"),
            ("state", "work"),
            ("endpoint", "drpc://10.0.0.1:4000?is_secure=false"),
            ("later", "x"),
        ]);
        let gate = due.read().unwrap();
        assert_eq!((gate.kind, gate.state, gate.weight), (Kind::Gate, State::Work, 0));
        for (bad, why) in [
            (vec![("kind", "gate")], "id"),
            (vec![("id", "g"), ("kind", "dragon")], "dragon"),
            (vec![("id", "g"), ("kind", "gate"), ("routes", "[")], "routes"),
            (vec![], "id"),
        ] {
            let error = host(&bad).read().unwrap_err();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port_whatever_follows() {
        for (endpoint, wanted) in [
            ("drpc://10.0.0.1:4000?is_secure=false", Some(("10.0.0.1", 4_000))),
            ("drpc://127.0.0.1:4000/x:1", Some(("127.0.0.1", 4_000))),
            ("drpc://[::1]:9", Some(("::1", 9))),
            ("10.0.0.1:4000", None),
            ("drpc://:1", None),
            ("drpc://a:99999", None),
            ("", None),
        ] {
            let wanted = wanted.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(address(endpoint), wanted, "{endpoint}");
        }
        let nowhere = Instance::new("g".into(), Kind::Gate, "");
        assert!(Entry::new(&nowhere).unwrap_err().to_string().contains("endpoint"));
    }

    #[test]
    fn the_length_of_a_record_is_that_of_its_names_and_texts() {
        let mut entry = Entry::new(&node()).unwrap();
        entry.metadata = [("ab".to_owned(), "东x".to_owned())].into();
        assert_eq!(entry.len(), 4);
    }
}
