//! The settings of a gate, checked: shared by all its instances.

use super::{balance::Dispatch, doors::Told};
use crate::secure::Secure;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use yumen_net::{acceptor::Counts, limit::Limiter};
use yumen_proto::{conn::Settings, id::RouteId};

/// What happens when a user logs in a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateLogin {
    /// The older connection is closed, and told why. The default.
    #[default]
    Kick,
    /// The older connection stays open without a user, and is not told: what due does.
    Displace,
    /// The newer login is refused.
    Refuse,
}

/// The settings of a gate.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) listens: Vec<Listen>,
    pub(crate) dispatch: Dispatch,
    pub(crate) duplicate_login: DuplicateLogin,
    pub(crate) in_flight_max: u32,
    pub(crate) messages_per_second_max: Limit<u32>,
    /// Bounds on connections, of each listener that is bound.
    pub(crate) limits: Vec<Limits>,
    pub(crate) buffers_max: usize,
    pub(crate) drain_max: Duration,
    pub(crate) closes_per_second_max: u32,
    /// What the listeners have counted, and what of it is in the log.
    pub(crate) counts: Arc<Counts>,
    pub(crate) told: Told,
}

impl Plan {
    /// The route of a packet. Every listener has the same layout.
    pub(crate) fn route_of(&self, packet: &[u8]) -> Option<RouteId> {
        self.listens.first()?.settings.layout.route_of(packet)
    }
}

/// A limit as it is when the gate starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit<T> {
    pub(crate) now: T,
    /// Whether it comes from the settings and follows them.
    pub(crate) follows: bool,
}

impl<T: Copy> Limit<T> {
    /// What code says, or else the settings, or else `usual`.
    pub(crate) fn new(code: Option<T>, written: Option<T>, usual: T) -> Self {
        let follows = code.is_none() && written.is_some();
        Self { now: code.or(written).unwrap_or(usual), follows }
    }
}

/// Bounds on the connections of one listener, and which of them follow the settings.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) limiter: Limiter,
    pub(crate) is_ws: bool,
    pub(crate) total_follows: bool,
    pub(crate) address_follows: bool,
}

/// One listener.
#[derive(Debug)]
pub(crate) struct Listen {
    /// Where, as it was configured.
    pub(crate) addr: String,
    pub(crate) settings: Arc<Settings>,
    pub(crate) transport: Kind,
    pub(crate) secure: Secure,
}

impl Listen {
    pub(crate) fn is_ws(&self) -> bool {
        #[cfg(feature = "ws")]
        if let Kind::Ws(_) = self.transport {
            return true;
        }
        false
    }
}

/// How packets travel on a listener.
#[derive(Debug)]
pub(crate) enum Kind {
    Tcp,
    #[cfg(feature = "ws")]
    Ws(Arc<yumen_net::ws::handshake::Options>),
}

impl Kind {
    /// As labels of metrics have it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            #[cfg(feature = "ws")]
            Self::Ws(_) => "ws",
        }
    }
}
