//! What one instance tells the others about itself: the registry record.
//!
//! The serde form is the record that due v2.5 writes and reads, byte for byte as JSON: members in
//! the order of [`Instance`]'s fields, left out when empty or zero, kind and state as words, events
//! as numbers. Readers take what they know and skip the rest, so both sides may grow.
//! Nothing here checks an instance or talks to anyone.

mod record;

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use yumen_proto::{InstanceId, RouteId};

pub use yumen_proto::link::{Event, Kind, State};

/// One running instance, as the others see it.
///
/// ```
/// use yumen_core::cluster::{Instance, Kind, RouteInfo, State};
///
/// let mut node = Instance::new("node-1".into(), Kind::Node, "drpc://10.0.0.1:4000?is_secure=false");
/// node.alias = "room".to_owned();
/// node.routes = vec![RouteInfo { authorized: true, ..RouteInfo::new(2.into()) }];
/// assert_eq!(node.state, State::Work);
/// assert!(node.route(2.into()).is_some_and(|route| route.authorized));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique among the instances of its kind; a node that also serves a mesh registers twice
    /// under one id.
    #[serde(with = "record::id")]
    pub id: InstanceId,
    /// The service it belongs to: the word of its kind.
    #[serde(
        default,
        deserialize_with = "record::or_empty",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
    /// What it is.
    #[serde(with = "record::kind")]
    pub kind: Kind,
    /// The component's name. Of a node: the group under which users are bound to it.
    #[serde(
        default,
        deserialize_with = "record::or_empty",
        skip_serializing_if = "String::is_empty"
    )]
    pub alias: String,
    /// Whether it takes work. A missing or unknown word reads as [`State::Shut`]: such an
    /// instance can be reached, but nothing new is given to it.
    #[serde(default = "record::state::missing", with = "record::state")]
    pub state: State,
    /// Which events of connections it wants. Unknown numbers are skipped.
    #[serde(default, with = "record::events", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Which messages of clients it takes.
    #[serde(default, deserialize_with = "record::or_empty", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteInfo>,
    /// Names of the mesh services it provides.
    #[serde(default, deserialize_with = "record::or_empty", skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Where its link listens, as `scheme://host:port?is_secure=false`.
    #[serde(
        default,
        deserialize_with = "record::or_empty",
        skip_serializing_if = "String::is_empty"
    )]
    pub endpoint: String,
    /// Its share of traffic among its like; 0 = not stated. Numbers out of range are read as
    /// the nearest in range.
    #[serde(default, deserialize_with = "record::weight", skip_serializing_if = "record::is_zero")]
    pub weight: u32,
    /// Whatever else the operator wrote down.
    #[serde(
        default,
        deserialize_with = "record::or_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub metadata: BTreeMap<String, String>,
}

impl Instance {
    /// An instance in work, named after its kind, with nothing to offer yet.
    pub fn new(id: InstanceId, kind: Kind, endpoint: impl Into<String>) -> Self {
        let name = record::kind::word(kind).to_owned();
        Self {
            id,
            alias: name.clone(),
            name,
            kind,
            state: State::Work,
            events: Vec::new(),
            routes: Vec::new(),
            services: Vec::new(),
            endpoint: endpoint.into(),
            weight: 0,
            metadata: BTreeMap::new(),
        }
    }

    /// The first entry for a route, if the instance takes it.
    pub fn route(&self, id: RouteId) -> Option<&RouteInfo> {
        self.routes.iter().find(|route| route.id == id)
    }

    /// Whether it wants to be told of this event.
    pub fn wants(&self, event: Event) -> bool {
        self.events.contains(&event)
    }
}

/// How one route may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteInfo {
    /// The number in the packet.
    #[serde(
        rename = "i",
        default,
        with = "record::route",
        skip_serializing_if = "record::is_no_route"
    )]
    pub id: RouteId,
    /// Refused from clients; other instances may send it.
    #[serde(rename = "n", default, skip_serializing_if = "record::is_false")]
    pub internal: bool,
    /// Follows the user to the node it is bound to.
    #[serde(rename = "s", default, skip_serializing_if = "record::is_false")]
    pub stateful: bool,
    /// Refused from connections that are not logged in.
    #[serde(rename = "a", default, skip_serializing_if = "record::is_false")]
    pub authorized: bool,
}

impl RouteInfo {
    /// A route that everybody may use.
    pub const fn new(id: RouteId) -> Self {
        Self { id, internal: false, stateful: false, authorized: false }
    }
}

/// Every live instance of one kind: always the whole set, never a change of it, so that a missed
/// wake-up heals itself. Sorted by id; no id twice.
pub type Snapshot = Arc<[Instance]>;
