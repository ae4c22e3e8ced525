//! Who there is in other processes, what they are, and where they listen: the registry's records.

use std::collections::BTreeMap;
use yumen_core::cluster::{Instance, Snapshot};
use yumen_proto::{id::InstanceId, link::Kind};

/// The entry of a record's metadata that tells our instances from due's.
const OURS: (&str, &str) = ("yumen", "1");

/// The entry of those that are linked by TLS.
const TLS: (&str, &str) = ("yumenTls", "1");

#[derive(Debug)]
struct Record {
    ours: bool,
    tls: bool,
    /// `host:port`; `None` if it cannot be dialled.
    addr: Option<Box<str>>,
}

/// The newest records of every kind.
#[derive(Debug, Default)]
pub(crate) struct Directory(BTreeMap<Kind, BTreeMap<InstanceId, Record>>);

impl Directory {
    /// Takes over a whole set.
    pub(crate) fn set(&mut self, kind: Kind, peers: &Snapshot) {
        let record = |peer: &Instance| {
            let says = |(key, yes)| peer.metadata.get(key).is_some_and(|value| value == yes);
            let (ours, tls) = (says(OURS), says(TLS));
            (peer.id.clone(), Record { ours, tls, addr: address(&peer.endpoint).map(Into::into) })
        };
        self.0.insert(kind, peers.iter().map(record).collect());
    }

    fn record(&self, peer: &InstanceId) -> Option<(Kind, &Record)> {
        self.0.iter().find_map(|(kind, of_kind)| {
            let record = of_kind.get(peer).filter(|record| record.addr.is_some());
            record.map(|record| (*kind, record))
        })
    }

    /// What an instance is, and whether it is one of ours, if it can be dialled.
    pub(crate) fn find(&self, peer: &InstanceId) -> Option<(Kind, bool)> {
        self.record(peer).map(|(kind, record)| (kind, record.ours))
    }

    /// Whether it is linked by TLS, as it says.
    pub(crate) fn has_tls(&self, peer: &InstanceId) -> bool {
        self.record(peer).is_some_and(|(_, record)| record.tls)
    }

    /// Where it listens.
    pub(crate) fn address(&self, peer: &InstanceId) -> Option<&str> {
        self.record(peer).and_then(|(_, record)| record.addr.as_deref())
    }
}

/// `host:port` of an endpoint: `drpc://host:port?is_secure=false`.
fn address(endpoint: &str) -> Option<&str> {
    let rest = endpoint.strip_prefix("drpc://")?;
    let address = rest.split(['?', '/']).next()?;
    let (host, port) = address.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stands_between_scheme_and_query() {
        for (endpoint, expected) in [
            ("drpc://10.0.0.1:4000?is_secure=false", Some("10.0.0.1:4000")),
            ("drpc://node.local:4000", Some("node.local:4000")),
            ("drpc://[::1]:4000?is_secure=false", Some("[::1]:4000")),
            ("drpc://10.0.0.1", None),
            ("drpc://:4000", None),
            ("drpc://10.0.0.1:0", None),
            ("grpc://10.0.0.1:4000", None),
            ("", None),
        ] {
            assert_eq!(address(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn a_record_is_ours_if_it_says_so_and_a_new_set_replaces_the_old() {
        let mut ours = Instance::new("a".into(), Kind::Node, "drpc://h:1");
        ours.metadata.insert("yumen".into(), "1".into());
        let dues = Instance::new("b".into(), Kind::Node, "drpc://h:2");
        let mute = Instance::new("c".into(), Kind::Node, "");
        let mut directory = Directory::default();
        directory.set(Kind::Node, &[ours, dues.clone(), mute].into());
        assert_eq!(directory.find(&"a".into()), Some((Kind::Node, true)));
        assert_eq!(directory.find(&"b".into()), Some((Kind::Node, false)));
        assert_eq!(directory.find(&"c".into()), None);
        assert_eq!(directory.address(&"b".into()), Some("h:2"));
        directory.set(Kind::Gate, &[Instance::new("g".into(), Kind::Gate, "drpc://h:3")].into());
        directory.set(Kind::Node, &[dues].into());
        assert_eq!(directory.find(&"a".into()), None);
        assert_eq!(directory.find(&"g".into()), Some((Kind::Gate, false)));
    }
}
