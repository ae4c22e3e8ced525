//! due's record in Consul: an instance as the service of an agent, and back.
//!
//! Pure. Consul keeps texts beside a service (`Meta`), at most 64 pairs of at most 512 bytes, so routes are
//! written short and in pieces. Whatever does not fit is refused with its name and cut nowhere. The one thing
//! to know: due writes negative routes and cannot read them; here the last `-` of an item separates, so they
//! are read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, time::Duration};
use yumen_core::{
    cluster::{Instance, Kind, RouteInfo},
    registry::RegistryError,
};

/// Most bytes of one value.
const VALUE_MAX: usize = 512;
/// Most bytes of the name of a value.
const NAME_MAX: usize = 128;
/// Most values of one service.
const PAIRS_MAX: usize = 64;

const INTERNAL: u32 = 1;
const STATEFUL: u32 = 2;
const AUTHORIZED: u32 = 4;

/// How the server finds out that an instance is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks {
    /// It connects so often, and waits so long. `None`: it does not.
    pub(super) health: Option<(Duration, Duration)>,
    /// It expects a heartbeat within this time. `None`: it does not.
    pub(super) heartbeat: Option<Duration>,
    /// It forgets an instance that failed for so long.
    pub(super) deregister: Duration,
}

/// What an agent is told of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registration {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) address: String,
    tagged_addresses: BTreeMap<String, Address>,
    pub(super) meta: BTreeMap<String, String>,
    checks: Vec<Check>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    address: String,
    port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", skip_serializing_if = "Option::is_none")]
    check_id: Option<String>,
    #[serde(rename = "TCP", skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    deregister_critical_service_after: String,
    /// Not in due's: whoever registers serves already, so nobody has to wait for the first check.
    status: &'static str,
}

/// What an agent or the catalogue has of a service. Other members are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "Service")]
    pub(super) name: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) meta: Option<BTreeMap<String, String>>,
    pub(super) create_index: u64,
    pub(super) modify_index: u64,
}

/// The name of a kind's service.
pub(super) const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Gate => "gate",
        Kind::Node => "node",
        Kind::Mesh => "mesh",
        Kind::Master => "master",
    }
}

/// Under which id an instance stands at its agent.
pub(super) fn service_id(kind: Kind, id: &str) -> String {
    format!("{}-{id}", word(kind))
}

/// The id of the check that waits for heartbeats.
pub(super) fn heartbeat_id(service_id: &str) -> String {
    format!("service:{service_id}")
}

/// Where an endpoint leads: its scheme, host and port.
fn parts(endpoint: &str) -> Option<(&str, &str, u16)> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let addr = rest.split(['/', '?', '#']).next()?;
    let (host, port) = addr.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!scheme.is_empty() && !host.is_empty()).then_some((scheme, host, port))
}

/// What an agent is told of an instance.
///
/// # Errors
/// [`RegistryError::Unfit`] names what Consul cannot hold.
pub(super) fn registration(
    instance: &Instance,
    checks: &Checks,
) -> Result<Registration, RegistryError> {
    let unfit = |problem: String| RegistryError::Unfit { backend: "consul", problem };
    let Some((scheme, host, port)) = parts(&instance.endpoint) else {
        let endpoint = &instance.endpoint;
        return Err(unfit(format!("the endpoint {endpoint:?} has no scheme://host:port")));
    };
    let meta = meta(instance);
    fits(&meta).map_err(unfit)?;
    let id = service_id(instance.kind, instance.id.as_str());
    let address = Address { address: host.to_owned(), port };
    Ok(Registration {
        name: word(instance.kind).to_owned(),
        port,
        address: host.to_owned(),
        tagged_addresses: [(scheme.to_owned(), address)].into(),
        meta,
        checks: self::checks(&id, host, port, checks),
        id,
    })
}

fn checks(id: &str, host: &str, port: u16, checks: &Checks) -> Vec<Check> {
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    let base = Check {
        deregister_critical_service_after: seconds(checks.deregister),
        status: "passing",
        ..Check::default()
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let health = checks.health.map(|(interval, timeout)| Check {
        tcp: Some(format!("{host}:{port}")),
        interval: Some(seconds(interval)),
        timeout: Some(seconds(timeout)),
        ..base.clone()
    });
    let heartbeat = checks.heartbeat.map(|ttl| Check {
        check_id: Some(heartbeat_id(id)),
        ttl: Some(seconds(ttl)),
        ..base.clone()
    });
    health.into_iter().chain(heartbeat).collect()
}

/// The texts of a record.
fn meta(instance: &Instance) -> BTreeMap<String, String> {
    // The words for kind, state and events are those of the record's JSON.
    let written = serde_json::to_value(instance).unwrap_or_default();
    let word = |name: &str| written.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let list = |name: &str| written.get(name).map(|list| (name.to_owned(), list.to_string()));
    let mut meta: BTreeMap<String, String> = ["id", "kind", "alias", "state", "endpoint"]
        .into_iter()
        .map(|name| (name.to_owned(), word(name)))
        .collect();
    if instance.weight > 0 {
        meta.insert("weight".to_owned(), instance.weight.to_string());
    }
    meta.extend(["events", "services"].into_iter().filter_map(list));
    let pieces = pieces(&instance.routes).into_iter().enumerate();
    meta.extend(pieces.map(|(n, piece)| (format!("routes-{n}"), piece)));
    let own = instance.metadata.iter();
    meta.extend(own.map(|(name, value)| (format!("_{name}"), value.clone())));
    meta
}

/// Routes as short texts, each as long as a value may be.
fn pieces(routes: &[RouteInfo]) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for route in routes {
        let bit = |is: bool, bit: u32| if is { bit } else { 0 };
        let bits = bit(route.internal, INTERNAL)
            | bit(route.stateful, STATEFUL)
            | bit(route.authorized, AUTHORIZED);
        let item = format!("{}-{bits}", route.id.0);
        match pieces.last_mut() {
            Some(last) if last.len().saturating_add(item.len()) < VALUE_MAX => {
                last.push(',');
                last.push_str(&item);
            }
            _ => pieces.push(item),
        }
    }
    pieces
}

/// Consul's limits, which it tells by the value and not by the name.
fn fits(meta: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in meta {
        let named = name.strip_prefix('_').map_or_else(
            || format!("its {name}"),
            |own| format!("the entry {own:?} of its metadata"),
        );
        if value.len() > VALUE_MAX {
            let len = value.len();
            return Err(format!("{named} takes {len} bytes, and a value in Consul {VALUE_MAX}"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.len() > NAME_MAX || !name.chars().all(plain) {
            return Err(format!(
                "{named} has a name that Consul does not take: at most {} of A-Z, a-z, 0-9, - and _",
                NAME_MAX.saturating_sub(1)
            ));
        }
    }
    if meta.len() > PAIRS_MAX {
        let routes = meta.keys().filter(|name| name.starts_with("routes-")).count();
        return Err(format!(
            "it takes {} values, and Consul has room for {PAIRS_MAX}: {routes} of them are for routes, \
             at about 80 routes each",
            meta.len()
        ));
    }
    Ok(())
}

/// Reads a record.
///
/// A piece of a route that cannot be read is left out, as due does.
///
/// # Errors
/// Why it is no record.
pub(super) fn read(service: &Service) -> Result<Instance, String> {
    let empty = BTreeMap::new();
    let meta = service.meta.as_ref().unwrap_or(&empty);
    let mut record = Map::new();
    record.insert("name".to_owned(), service.name.clone().into());
    for name in ["id", "kind", "alias", "state", "endpoint"] {
        if let Some(text) = meta.get(name) {
            record.insert(name.to_owned(), text.clone().into());
        }
    }
    if let Some(weight) = meta.get("weight") {
        let weight = weight.parse::<i64>().map_err(|_| format!("its weight is {weight:?}"))?;
        record.insert("weight".to_owned(), weight.into());
    }
    for name in ["events", "services"] {
        if let Some(text) = meta.get(name).filter(|text| !text.is_empty()) {
            let list: Value =
                serde_json::from_str(text).map_err(|error| format!("its {name}: {error}"))?;
            record.insert(name.to_owned(), list);
        }
    }
    record.insert("routes".to_owned(), routes(meta));
    let own: Map<String, Value> = meta
        .iter()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix('_')?.to_owned(), value.clone().into()))
        })
        .collect();
    record.insert("metadata".to_owned(), own.into());
    serde_json::from_value(record.into()).map_err(|error| error.to_string())
}

/// The routes of all pieces, in the order of the pieces' numbers.
fn routes(meta: &BTreeMap<String, String>) -> Value {
    let number = |name: &str| name.strip_prefix("routes-")?.parse::<u32>().ok();
    let mut pieces: Vec<(u32, &str)> =
        meta.iter().filter_map(|(name, piece)| Some((number(name)?, piece.as_str()))).collect();
    pieces.sort_unstable();
    let items = pieces.into_iter().flat_map(|(_, piece)| piece.split(','));
    let route = |item: &str| {
        let (id, bits) = item.rsplit_once('-')?;
        let (id, bits) = (id.parse::<i32>().ok()?, bits.parse::<u32>().ok()?);
        let is = |bit: u32| bits & bit != 0;
        Some(json!({ "i": id, "n": is(INTERNAL), "s": is(STATEFUL), "a": is(AUTHORIZED) }))
    };
    items.filter_map(route).collect()
}

#[cfg(test)]
#[path = "record/tests.rs"] // the fuzz target includes this file from elsewhere
mod tests;
