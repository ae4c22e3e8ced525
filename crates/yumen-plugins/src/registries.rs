//! Which registry a program uses, and several at once: for a move from one to another without a stop.
//!
//! | When | What is promised |
//! |---|---|
//! | an instance joins, changes or leaves | it does so in all of them; a join is done when one has it, and the others' plug-ins try on for ever |
//! | an instance is in any of them | it is in the set |
//! | two of them have a record of one id, and the records differ | the one that changed last counts, as seen from here; before any change, the first of the list |
//! | one of them is away | nothing is lost: its last set stays, and what the others say of the same instances is newer. Its failure is in the health report; alone it never makes an instance unready |
//! | one is away, and one that answers says that an instance is gone | it is gone, though the one that is away had it |
//! | an instance says that it goes, and is gone from one of them | what is left of it elsewhere counts as going, until that is gone or changes |
//! | all are away | the last set stays; the health report says why |
//!
//! Never looks into a record beyond its id and its state. The one thing to know: a plug-in goes on by itself
//! with a record that it was given once, so a join that one registry refused is not lost there.

mod merge;
mod union;

use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};
use tokio::{runtime::Handle, time::timeout};
use union::Union;
use yumen_core::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    health::Health,
    registry::{Registry, RegistryError},
    watch::Watch,
};
use yumen_proto::InstanceId;
use yumen_settings::Settings;

/// How long the others are waited for once one has answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// Failures that are reported of some while others are well: fewer than make an instance unready.
const FAILURES_MAX: u32 = 4;

/// The registry that `yumen.registry.backends` names: one, or several as [`Registries`].
///
/// # Errors
/// Everything that is wrong with the settings of those that are named, each with its key; a name that is
/// none, and one whose feature this program was built without.
pub fn from_settings(settings: &Settings) -> Result<Arc<dyn Registry>, Vec<String>> {
    let names = &settings.yumen.registry.backends;
    let mut problems = Vec::new();
    let mut all: Vec<Arc<dyn Registry>> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        if names.iter().take(n).any(|before| before == name) {
            problems.push(format!("yumen.registry.backends: {name:?} stands there twice"));
            continue;
        }
        match backend(name, settings) {
            Ok(registry) => all.push(registry),
            Err(some) => problems.extend(some),
        }
    }
    if names.is_empty() {
        problems.push("yumen.registry.backends: names no registry".to_owned());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    match <[_; 1]>::try_from(all) {
        Ok([one]) => Ok(one),
        Err(all) => Ok(Arc::new(Registries::new(all))),
    }
}

fn backend(name: &str, settings: &Settings) -> Result<Arc<dyn Registry>, Vec<String>> {
    match name {
        #[cfg(feature = "consul")]
        "consul" => Ok(Arc::new(crate::consul::ConsulRegistry::from_settings(settings)?)),
        #[cfg(feature = "etcd")]
        "etcd" => Ok(Arc::new(crate::etcd::EtcdRegistry::from_settings(settings)?)),
        #[cfg(feature = "nacos")]
        "nacos" => Ok(Arc::new(crate::nacos::NacosRegistry::from_settings(settings)?)),
        _ => {
            let known: &[&str] = &[
                #[cfg(feature = "consul")]
                "consul",
                #[cfg(feature = "etcd")]
                "etcd",
                #[cfg(feature = "nacos")]
                "nacos",
            ];
            let known = known.join(", ");
            Err(vec![format!(
                "yumen.registry.backends: {name:?} is none that this program has: {known}"
            )])
        }
    }
}

/// Several registries as one: see the module for what it promises.
///
/// ```
/// use std::sync::Arc;
/// use yumen_core::{cluster::{Instance, Kind}, memory::MemoryRegistry, registry::Registry};
/// use yumen_plugins::registries::Registries;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let [old, new] = [(); 2].map(|()| Arc::new(MemoryRegistry::default()));
/// let both = Registries::new([old.clone() as Arc<dyn Registry>, new.clone()]);
/// both.join(&Instance::new("gate-1".into(), Kind::Gate, "drpc://127.0.0.1:4000")).await?;
/// assert_eq!(new.watch(Kind::Gate).await?.current().len(), 1);
/// assert_eq!(both.watch(Kind::Gate).await?.current().len(), 1);
/// # Ok::<(), yumen_core::registry::RegistryError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Registries {
    name: String,
    all: Vec<Arc<dyn Registry>>,
    unions: Mutex<Vec<(Kind, Union)>>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registries").field(&self.name).finish()
    }
}

impl Registries {
    /// All of them; where nothing else tells two records apart, the one of the first counts. Each has to go
    /// on by itself with what it was given once, as those of this crate do. Of none, every call fails.
    pub fn new(all: impl IntoIterator<Item = Arc<dyn Registry>>) -> Self {
        let all: Vec<Arc<dyn Registry>> = all.into_iter().collect();
        let names: Vec<&str> = all.iter().map(|registry| registry.name()).collect();
        Self { name: names.join(" and "), all, unions: Mutex::default() }
    }
}

impl Registry for Registries {
    fn name(&self) -> &str {
        &self.name
    }

    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            let mut tries = Several(self.all.iter().map(|one| one.join(instance)).collect());
            let mut result = Err(none());
            while let Some(tried) = match result {
                Err(_) => tries.next().await,
                // The rest is tried on by those whom it concerns.
                Ok(()) => timeout(PATIENCE, tries.next()).await.unwrap_or_default(),
            } {
                match tried {
                    Err(unfit @ RegistryError::Unfit { .. }) => return Err(unfit),
                    Ok(()) => result = Ok(()),
                    Err(error) if result.is_err() => result = Err(error),
                    Err(_) => {}
                }
            }
            result
        })
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            let mut tries = Several(self.all.iter().map(|one| one.leave(id, kind)).collect());
            let mut result = Ok(());
            while let Some(tried) = tries.next().await {
                result = result.and(tried);
            }
            result
        })
    }

    fn watch(&self, kind: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        Box::pin(async move {
            let watch = {
                let mut unions = self.unions.lock().unwrap_or_else(PoisonError::into_inner);
                match unions.iter().find(|(of, _)| *of == kind) {
                    Some((_, union)) => union.watch(),
                    None => {
                        let runtime = Handle::try_current().map_err(|error| {
                            RegistryError::Backend { backend: "several", source: error.into() }
                        })?;
                        let union = Union::start(&runtime, kind, &self.all);
                        let watch = union.watch();
                        unions.push((kind, union));
                        watch
                    }
                }
            };
            watch.await
        })
    }

    /// Good if all are; the worst if all fail. Of those that fail beside others that do not, the worst, with
    /// fewer failures than make an instance unready.
    fn health(&self) -> Health {
        let mut worst = Health::Good;
        let mut one_is_good = false;
        for registry in &self.all {
            match (registry.health(), &worst) {
                (Health::Good, _) => one_is_good = true,
                (Health::Failing { failures, .. }, Health::Failing { failures: most, .. })
                    if failures <= *most => {}
                (Health::Failing { failures, last }, _) => {
                    let last = format!("{}: {last}", registry.name());
                    worst = Health::Failing { failures, last };
                }
            }
        }
        if let Health::Failing { failures, .. } = &mut worst
            && one_is_good
        {
            *failures = FAILURES_MAX.min(*failures);
        }
        worst
    }
}

/// What is waited for at once, whoever is first.
struct Several<'a, T>(Vec<BoxFuture<'a, T>>);

impl<T> Several<'_, T> {
    /// The next that is ready; `None` if none is left.
    async fn next(&mut self) -> Option<T> {
        if self.0.is_empty() {
            return None;
        }
        poll_fn(|cx| {
            for n in 0..self.0.len() {
                let Some(one) = self.0.get_mut(n) else { break };
                if let Poll::Ready(result) = one.as_mut().poll(cx) {
                    drop(self.0.swap_remove(n));
                    return Poll::Ready(Some(result));
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn none() -> RegistryError {
    RegistryError::Backend { backend: "several", source: "there is no registry at all".into() }
}
