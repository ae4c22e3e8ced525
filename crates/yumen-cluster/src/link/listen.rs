//! The listener of one instance on its way to the instance's thread.

use crate::{instance::InstanceError, secure::SecureLinks};
use std::{fmt, rc::Rc, time::Duration};
use yumen_core::{
    cluster::{Instance, Snapshot},
    locator::Incarnation,
    watch::Watch,
};
use yumen_mesh::{AllowList, Links, Outside, Tuning};
use yumen_net::{
    env::{Env, Listener},
    tcp::Bound,
};
use yumen_proto::link::{Kind, LinkSettings};

/// The name under which a record says that its instance is one of ours.
const OURS: &str = "yumen";
/// The name under which a record says that its instance is linked by TLS.
const TLS: &str = "yumenTls";
/// Longest wait at the end for the last bytes to other processes.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Where an instance listens.
pub(crate) enum Listening {
    /// Bound before anything started, and what is announced.
    Bound(std::net::TcpListener, String),
    /// Through the instance's own network, at this address.
    Through {
        /// Where.
        addr: String,
        /// What is announced instead.
        advertise: Option<(String, u16)>,
    },
}

/// How one instance goes outside.
pub(crate) struct Door {
    pub(crate) settings: LinkSettings,
    pub(crate) allow: AllowList,
    pub(crate) tuning: Tuning,
    pub(crate) listening: Listening,
    pub(crate) links: SecureLinks,
    /// To be said at the start.
    pub(crate) warnings: Vec<String>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Door {
    /// What is announced; `None` while nothing is bound.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        match &self.listening {
            Listening::Bound(_, endpoint) => Some(endpoint),
            Listening::Through { .. } => None,
        }
    }

    /// Puts the listener into use on this thread; gives what is announced too.
    pub(crate) async fn open(
        self,
        env: &Env,
        life: Watch<Incarnation>,
    ) -> Result<(Outside, String), InstanceError> {
        let Self { settings, allow, tuning, listening, links, .. } = self;
        let failed =
            |address: &str, source| InstanceError::Listen { address: address.to_owned(), source };
        let (listener, endpoint): (Box<dyn Listener>, String) = match listening {
            Listening::Bound(socket, endpoint) => {
                let bound = Bound::new(socket).map_err(|source| failed(&endpoint, source))?;
                (Box::new(bound), endpoint)
            }
            Listening::Through { addr, advertise } => {
                let listener = env.net.listen(&addr).await;
                let listener = listener.map_err(|source| failed(&addr, source))?;
                let local = listener.addr().map_err(|source| failed(&addr, source))?;
                let host = super::address::split(&addr).map_or("", |(host, _)| host);
                let advertise = advertise.as_ref().map(|(host, port)| (host.as_str(), *port));
                let announced = super::address::announced(host, local, advertise, Vec::new);
                (listener, announced.endpoint)
            }
        };
        let (listener, guard) = (Some(listener), links.guard());
        Ok((Outside { settings, life, listener, allow, tuning, guard }, endpoint))
    }
}

/// Opens the door of an instance, if it has one, and writes into its record how it is reached.
pub(crate) async fn go_outside(
    links: &Rc<Links>,
    (door, env): (Option<Door>, &Env),
    life: Watch<Incarnation>,
    record: &mut Instance,
) -> Result<(), InstanceError> {
    let Some(door) = door else { return Ok(()) };
    let (outside, endpoint) = door.open(env, life).await?;
    if outside.guard.is_on() {
        record.metadata.insert(TLS.to_owned(), "1".to_owned());
    }
    links.go_outside(outside);
    record.endpoint = endpoint;
    record.metadata.insert(OURS.to_owned(), "1".to_owned());
    Ok(())
}

/// Tells the links who there is of one kind, at every snapshot.
pub(crate) async fn follow(links: Rc<Links>, kind: Kind, mut peers: Watch<Snapshot>) {
    loop {
        links.set_peers(kind, &peers.current());
        if !peers.changed().await {
            return;
        }
    }
}

/// Waits until what was sent to other processes is written, the farewells included, or nobody takes it.
pub(crate) async fn say_farewell(links: &Links, env: &Env) {
    tokio::select! {
        biased;
        () = links.drained() => {}
        () = env.clock.sleep(FAREWELL_MAX) => {}
    }
}
