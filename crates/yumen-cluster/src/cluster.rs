//! What the components of one process share: who is there, who is where, and how to reach each other.
//!
//! A plain value that is passed in; there are no globals, so several clusters fit into one test. Whether
//! gates and nodes of other processes can be reached is decided here and nowhere else.

mod terms;

pub(crate) use terms::Terms;

use crate::stores::{Counted, Counts, StoreCounts};
use std::{fmt, sync::Arc};
use terms::Code;
use yumen_core::{
    locator::{Locator, Wrapped},
    memory::{MemoryLocator, MemoryRegistry},
    registry::Registry,
};
use yumen_mesh::Switchboard;
use yumen_settings::Settings;

/// What every component of a process shares. Cheap to clone.
///
/// The same gates and nodes run in one process or in many; only this value differs:
///
/// ```
/// use yumen_cluster::cluster::Cluster;
/// use yumen_core::{memory::{MemoryLocator, MemoryRegistry}};
///
/// // All in this process, without a server beside it.
/// let alone = Cluster::in_process();
/// // Over processes: gates and nodes listen for each other. A real one has a registry and a locator
/// // that other processes see too.
/// let fleet = Cluster::new(MemoryRegistry::default(), MemoryLocator::default())
///     .secret("what every process of the cluster knows");
/// assert!(!alone.is_apart() && fleet.is_apart());
/// ```
#[derive(Clone)]
pub struct Cluster {
    registry: Arc<dyn Registry>,
    locator: Arc<dyn Locator>,
    board: Switchboard,
    counts: Arc<StoreCounts>,
    /// `None`: no socket between instances at all.
    reach: Option<Code>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Cluster");
        all.field("board", &self.board).field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Everything in memory: for a first run, for tests, for a game in one process.
    pub fn in_process() -> Self {
        Self::in_process_with(MemoryRegistry::default(), MemoryLocator::default())
    }

    /// As [`in_process`](Self::in_process), with stores of one's own: its instances reach each other
    /// without sockets, and nobody else reaches them.
    pub fn in_process_with(registry: impl Registry, locator: impl Locator) -> Self {
        let counts = Arc::<StoreCounts>::default();
        Self {
            registry: Arc::new(Counted { store: registry, counts: Arc::clone(&counts) }),
            locator: Arc::new(Wrapped { inner: locator, around: Counts(Arc::clone(&counts)) }),
            board: Switchboard::default(),
            counts,
            reach: None,
        }
    }

    /// A cluster of several processes: instances find each other through `registry` and users through
    /// `locator`, and every gate and node listens for the others. Those of one process still reach each
    /// other without sockets.
    ///
    /// Without a [`secret`](Self::secret) anybody who reaches the port of a gate or node can act as one of
    /// yours; therefore one that listens for other machines does not start without a secret, unless
    /// it is told to by [`insecure`](Self::insecure).
    pub fn new(registry: impl Registry, locator: impl Locator) -> Self {
        Self { reach: Some(Code::default()), ..Self::in_process_with(registry, locator) }
    }

    /// Takes what code does not say from `settings`: `yumen.cluster.*`. A gate or node that is built with
    /// settings takes it from those where nothing else is said. Default: none.
    #[must_use]
    pub fn settings(self, settings: &Settings) -> Self {
        self.with(|code| code.written = Some(settings.yumen.cluster.clone()))
    }

    /// Name of the cluster, at most 200 bytes; gates and nodes of different names refuse each other.
    /// Default: `yumen.cluster.name`, which is empty.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|code| code.name = Some(name.into()))
    }

    /// What every gate and node of the cluster knows and proves to the others; at least 16 bytes. Calling
    /// it again adds one that is accepted and not proved: to change the secret, add the new one as
    /// second everywhere, then swap the two, then remove the old one. Default:
    /// `yumen.cluster.secret` and `yumen.cluster.secretsOld`, which are empty: nothing is proved.
    #[must_use]
    pub fn secret(self, secret: impl Into<String>) -> Self {
        self.with(|code| code.secrets.push(secret.into()))
    }

    /// Whether peers are served that prove nothing, as due's, and whether gates and nodes listen for
    /// other machines without a secret. Default: `yumen.cluster.insecure`, which is false.
    #[must_use]
    pub fn insecure(self, insecure: bool) -> Self {
        self.with(|code| code.insecure = Some(insecure))
    }

    /// Adds an address, or a block as `10.0.0.0/8`, from which others may connect without a proof.
    /// Default: `yumen.cluster.allow`; none at all is everywhere.
    #[must_use]
    pub fn allow(self, addresses: impl Into<String>) -> Self {
        self.with(|code| code.allow.push(addresses.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut Code)) -> Self {
        if let Some(code) = &mut self.reach {
            change(code);
        }
        self
    }

    /// Whether its gates and nodes reach those of other processes.
    pub fn is_apart(&self) -> bool {
        self.reach.is_some()
    }

    /// What its instances say of themselves and demand of others; `None` if they reach no other process.
    /// What is wrong with it is added to `problems`.
    pub(crate) fn terms(
        &self,
        component: Option<&Settings>,
        problems: &mut Vec<String>,
    ) -> Option<Terms> {
        let reach = self.reach.as_ref()?;
        Some(reach.decide(component.map(|settings| &settings.yumen.cluster), problems))
    }

    /// What became of every request to registry and locator.
    pub(crate) fn counts(&self) -> &StoreCounts {
        &self.counts
    }

    /// Who is there.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// Who is where.
    pub fn locator(&self) -> &Arc<dyn Locator> {
        &self.locator
    }

    /// The instances of this process.
    pub fn board(&self) -> &Switchboard {
        &self.board
    }
}
