//! Discovery without a server: who is there stands in the code or in a file.
//!
//! Pure but for [`StaticRegistry::from_file`] and [`StaticRegistry::reread`], which read one file and so
//! belong before the start or on the service runtime. An instance of this process that joins or leaves is
//! seen by this process alone: the others know what their own list says, and learn of nothing by themselves.

use super::{Registry, RegistryError};
use crate::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    watch::{Watch, WatchSender},
};
use std::{
    collections::BTreeMap,
    future,
    sync::{Mutex, PoisonError},
};
use yumen_proto::InstanceId;

#[cfg(feature = "json")]
mod file;

/// Most instances of a list, and most that join.
const INSTANCES_MAX: usize = 10_000;

/// The kinds in use are few, so each has its watch from the start.
const KINDS: [Kind; 4] = [Kind::Gate, Kind::Node, Kind::Mesh, Kind::Master];

/// A fixed list of instances, the same in every process that is given it. Share it in an `Arc`.
///
/// A record of this process's own instances may stand in the list: the instance replaces it while it is
/// there, and when it has left it is gone here, whatever the list says.
///
/// ```
/// use yumen_core::{cluster::{Instance, Kind}, registry::{Registry, StaticRegistry}};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let gate = Instance::new("gate-1".into(), Kind::Gate, "drpc://10.0.0.1:4000?is_secure=false");
/// let registry = StaticRegistry::new([gate])?;
/// let mut gates = registry.watch(Kind::Gate).await?;
/// assert_eq!(gates.current()[0].id.as_str(), "gate-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StaticRegistry {
    #[cfg(feature = "json")]
    file: Option<std::path::PathBuf>,
    state: Mutex<State>,
}

/// Why a list of instances cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaticError {
    /// The file could not be read.
    #[error("list of instances {file}: {source}")]
    Read {
        /// Its name, as it was given.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than a list may be.
    #[error("list of instances {file}: larger than {max} bytes")]
    TooLarge {
        /// Its name, as it was given.
        file: String,
        /// The bound.
        max: u64,
    },
    /// The file is not a JSON list of records, or a record has no id, or a kind that does not exist.
    #[error("list of instances {file}: {problem}")]
    Malformed {
        /// Its name, as it was given.
        file: String,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// Two records of one kind have the same id.
    #[error("two instances of kind {kind:?} are called {id} in the list of instances")]
    Twice {
        /// Their kind.
        kind: Kind,
        /// Their id.
        id: InstanceId,
    },
    /// The list names more instances than it may.
    #[error("the list of instances is longer than {max}")]
    TooMany {
        /// The bound.
        max: usize,
    },
}

type Ids<T> = BTreeMap<(Kind, InstanceId), T>;

#[derive(Debug)]
struct State {
    /// What the list says.
    listed: Ids<Instance>,
    /// What this process did: its instances, and `None` for one that has left but is listed.
    own: Ids<Option<Instance>>,
    watches: BTreeMap<Kind, WatchSender<Snapshot>>,
}

impl State {
    fn snapshot(&self, kind: Kind) -> Snapshot {
        let of_kind = |(key, _): &(&(Kind, InstanceId), _)| key.0 == kind;
        let mut all: BTreeMap<_, _> = self.listed.iter().filter(of_kind).collect();
        for (key, own) in self.own.iter().filter(|((of, _), _)| *of == kind) {
            match own {
                Some(instance) => all.insert(key, instance),
                None => all.remove(key),
            };
        }
        all.into_values().cloned().collect()
    }

    fn publish(&self, kind: Kind) {
        if let Some(watch) = self.watches.get(&kind) {
            watch.send_if_new(self.snapshot(kind));
        }
    }
}

impl StaticRegistry {
    /// The instances of a list.
    ///
    /// # Errors
    /// [`StaticError::Twice`] and [`StaticError::TooMany`], at 10,000.
    pub fn new(instances: impl IntoIterator<Item = Instance>) -> Result<Self, StaticError> {
        let empty = |kind| (kind, WatchSender::new(Snapshot::default()));
        let state = State {
            listed: by_id(instances)?,
            own: BTreeMap::new(),
            watches: KINDS.into_iter().map(empty).collect(),
        };
        KINDS.into_iter().for_each(|kind| state.publish(kind));
        Ok(Self {
            #[cfg(feature = "json")]
            file: None,
            state: Mutex::new(state),
        })
    }

    /// Puts another list in the place of the first. Everybody who watches sees it; instances of this
    /// process stay.
    ///
    /// # Errors
    /// As [`StaticRegistry::new`]; the old list then stays.
    pub fn replace(
        &self,
        instances: impl IntoIterator<Item = Instance>,
    ) -> Result<(), StaticError> {
        let listed = by_id(instances)?;
        self.locked(|state| {
            state.listed = listed;
            KINDS.into_iter().for_each(|kind| state.publish(kind));
        });
        Ok(())
    }

    /// A panic in an earlier holder is not a reason to stop serving: every step leaves the tables whole.
    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The list by kind and id.
fn by_id(instances: impl IntoIterator<Item = Instance>) -> Result<Ids<Instance>, StaticError> {
    let mut listed = BTreeMap::new();
    for instance in instances {
        if listed.len() >= INSTANCES_MAX {
            return Err(StaticError::TooMany { max: INSTANCES_MAX });
        }
        let key = (instance.kind, instance.id.clone());
        if let Some(first) = listed.insert(key, instance) {
            return Err(StaticError::Twice { kind: first.kind, id: first.id });
        }
    }
    Ok(listed)
}

impl Registry for StaticRegistry {
    fn name(&self) -> &str {
        "static list"
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        let joined = self.locked(|state| {
            let key = (instance.kind, instance.id.clone());
            if state.own.len() >= INSTANCES_MAX && !state.own.contains_key(&key) {
                return Err(RegistryError::Full { max: INSTANCES_MAX });
            }
            state.own.insert(key, Some(instance.clone()));
            state.publish(instance.kind);
            Ok(())
        });
        Box::pin(future::ready(joined))
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.locked(|state| {
            let key = (kind, id.clone());
            // One that never joined here is another process's: its record is not ours to hide.
            if state.own.remove(&key).is_some() && state.listed.contains_key(&key) {
                state.own.insert(key, None);
            }
            state.publish(kind);
        });
        Box::pin(future::ready(Ok(())))
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        let watch = self.locked(|state| {
            let empty = || WatchSender::new(Snapshot::default());
            state.watches.entry(kind).or_insert_with(empty).watch()
        });
        Box::pin(future::ready(Ok(watch)))
    }
}
