//! What the components of one process share: who is there, who is where, and how to reach each other.
//!
//! A plain value that is passed in; there are no globals, so several clusters fit into one test.

use crate::stores::{Counted, StoreCounts};
use std::{fmt, sync::Arc};
use yumen_core::{
    locator::Locator,
    memory::{MemoryLocator, MemoryRegistry},
    registry::Registry,
};
use yumen_mesh::Switchboard;

/// What every component of a process shares. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    registry: Arc<dyn Registry>,
    locator: Arc<dyn Locator>,
    board: Switchboard,
    counts: Arc<StoreCounts>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("board", &self.board).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Everything in memory: for a first run, for tests, for a game in one process.
    pub fn in_process() -> Self {
        Self::new(MemoryRegistry::default(), MemoryLocator::default())
    }

    /// A cluster whose instances find each other through `registry` and users through `locator`.
    pub fn new(registry: impl Registry, locator: impl Locator) -> Self {
        let counts = Arc::<StoreCounts>::default();
        Self {
            registry: Arc::new(Counted { store: registry, counts: Arc::clone(&counts) }),
            locator: Arc::new(Counted { store: locator, counts: Arc::clone(&counts) }),
            board: Switchboard::default(),
            counts,
        }
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
