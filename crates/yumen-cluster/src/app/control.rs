//! An [`App`](super::App) from outside: what it runs, how far it is, and telling it to stop.
//!
//! For admin, metrics, signals and the user's own code, from any thread. It never waits for an
//! instance: what it tells is what instances and the app have written down.

use super::join::Standing;
use crate::{
    backend::Backend, cluster::Cluster, gate::GateHandle, instance::Progress, node::NodeHandle,
    pulse::Pulse,
};
#[cfg(feature = "admin")]
use std::net::SocketAddr;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};
use yumen_core::watch::{Watch, WatchSender};
use yumen_log::Logs;
use yumen_net::env::Clock;
use yumen_proto::{id::InstanceId, link::Kind};
use yumen_settings::Settings;

/// How far an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Instances are being started, or `run` has not been called yet. Clients are not accepted.
    Starting,
    /// Everything runs.
    Serving,
    /// It was told to stop, or an instance failed: nothing new is taken, what is there is finished.
    Draining,
    /// Nothing runs any more.
    Ended,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Serving, Self::Draining, Self::Ended];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// It is not its turn yet.
    Waiting,
    /// It starts: its state is built and its start hooks run.
    Starting,
    /// It serves, and the cluster can find it.
    Serving,
    /// It finishes what it has.
    Draining,
    /// It has ended as it was told to.
    Ended,
    /// It ended by itself, or with work left.
    Failed,
}

impl InstanceState {
    const ALL: [Self; 6] =
        [Self::Waiting, Self::Starting, Self::Serving, Self::Draining, Self::Ended, Self::Failed];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether the instance has come to its end.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }

    fn number(self) -> u8 {
        Self::ALL
            .iter()
            .position(|state| *state == self)
            .map_or(0, |at| u8::try_from(at).unwrap_or(0))
    }

    fn numbered(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Failed)
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One instance, as it was when asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstanceStatus {
    /// Its id in the cluster.
    pub id: InstanceId,
    /// What it is.
    pub kind: Kind,
    /// The name of its component, which instances share.
    pub name: String,
    /// The thread that hosts it; empty until it is started.
    pub thread: String,
    /// How far it is.
    pub state: InstanceState,
    /// For how long its thread has not turned to anything new, once that is longer than
    /// `yumen.app.stallWarn`; `None` if it runs as it should.
    pub stalled: Option<Duration>,
    /// Why the registry has not its newest record, if that is so: others may not find it.
    pub unregistered: Option<String>,
    /// The beat of its thread, once it is started.
    pub pulse: Option<Arc<Pulse>>,
}

/// What an app has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// To go on.
    Run,
    /// To stop, and to finish what is there.
    Drain,
    /// To stop without finishing.
    End,
}

/// What is written down about one instance.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: InstanceId,
    pub(super) kind: Kind,
    name: String,
    host: OnceLock<(String, Arc<Pulse>)>,
    state: AtomicU8,
    stalled: AtomicBool,
    /// Whether the registry has its record.
    pub(super) standing: WatchSender<Standing>,
    /// What it has left to do; it writes that down while it drains.
    pub(super) progress: Arc<Progress>,
}

impl Entry {
    pub(super) fn set_state(&self, state: InstanceState) {
        self.state.store(state.number(), Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> InstanceState {
        InstanceState::numbered(self.state.load(Ordering::Relaxed))
    }

    /// It is hosted by this thread from now on.
    pub(super) fn set_host(&self, thread: &str, pulse: Arc<Pulse>) {
        let _only_started_once = self.host.set((thread.to_owned(), pulse));
    }

    /// Its thread and that thread's pulse.
    pub(super) fn host(&self) -> Option<&(String, Arc<Pulse>)> {
        self.host.get()
    }

    /// Says whether its thread is stuck.
    pub(super) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    fn status(&self) -> InstanceStatus {
        let host = self.host.get();
        let pulse = host.map(|(_, pulse)| Arc::clone(pulse));
        let stalled = self.stalled.load(Ordering::Relaxed);
        let silence = |pulse: &Arc<Pulse>| pulse.silence(Clock::real().now().mono);
        InstanceStatus {
            id: self.id.clone(),
            kind: self.kind,
            name: self.name.clone(),
            thread: host.map_or_else(String::new, |(thread, _)| thread.clone()),
            state: self.state(),
            stalled: pulse.as_ref().filter(|_| stalled).map(silence),
            unregistered: match self.standing.watch().current() {
                Standing::Failed(why) => Some(why),
                Standing::Unknown | Standing::Written(_) => None,
            },
            pulse,
        }
    }
}

/// An app from outside. Cheap to clone; `Send + Sync`.
///
/// ```
/// use yumen_cluster::app::{App, Phase};
///
/// let app = App::default();
/// let control = app.control();
/// assert_eq!(control.phase(), Phase::Starting);
/// control.drain(); // a run that begins now ends at once
/// ```
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: WatchSender<Phase>,
    served: AtomicBool,
    order: WatchSender<Order>,
    settings: WatchSender<Arc<Settings>>,
    began_with: OnceLock<Arc<Settings>>,
    parts: Mutex<Parts>,
    logs: OnceLock<Logs>,
    #[cfg(feature = "admin")]
    admin: OnceLock<SocketAddr>,
    backend: OnceLock<Backend>,
    /// Changes of the settings' files that were applied, and that failed.
    reloads: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct Parts {
    entries: Vec<Arc<Entry>>,
    gates: Vec<GateHandle>,
    nodes: Vec<NodeHandle>,
    clusters: Vec<Cluster>,
}

impl Default for Control {
    fn default() -> Self {
        Self(Arc::new(Shared {
            phase: WatchSender::new(Phase::Starting),
            served: AtomicBool::new(false),
            order: WatchSender::new(Order::Run),
            settings: WatchSender::new(Arc::default()),
            began_with: OnceLock::new(),
            parts: Mutex::default(),
            logs: OnceLock::new(),
            #[cfg(feature = "admin")]
            admin: OnceLock::new(),
            backend: OnceLock::new(),
            reloads: [AtomicU64::new(0), AtomicU64::new(0)],
        }))
    }
}

impl Control {
    /// How far the app is.
    pub fn phase(&self) -> Phase {
        self.phases().current()
    }

    /// Follows how far the app is.
    pub fn phases(&self) -> Watch<Phase> {
        self.0.phase.watch()
    }

    /// Tells the app to stop: to take nothing new, to finish what is there, and to end. Does nothing
    /// if it was told before. Told before it runs, it ends at once.
    pub fn drain(&self) {
        self.tell(Order::Drain);
    }

    /// Tells the app to end at once: connections are dropped, handlers are not waited for, and `run`
    /// returns an error if that leaves work undone.
    pub fn end_now(&self) {
        self.tell(Order::End);
    }

    /// Every instance, in the order in which it was added.
    pub fn instances(&self) -> Vec<InstanceStatus> {
        self.parts().entries.iter().map(|entry| entry.status()).collect()
    }

    /// A handle to each gate, in the order in which it was added.
    pub fn gates(&self) -> Vec<GateHandle> {
        self.parts().gates.clone()
    }

    /// A handle to each instance of each node, in the order in which it was added.
    pub fn nodes(&self) -> Vec<NodeHandle> {
        self.parts().nodes.clone()
    }

    /// The clusters that instances belong to, each once: as a rule one.
    pub fn clusters(&self) -> Vec<Cluster> {
        self.parts().clusters.clone()
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings_watch().current()
    }

    /// The settings with which the run began: what needs a restart stays as it is here.
    pub(crate) fn settings_at_start(&self) -> Arc<Settings> {
        self.0.began_with.get().cloned().unwrap_or_else(|| self.settings())
    }

    /// Follows the settings: a new value each time a file has changed and is right.
    pub fn settings_watch(&self) -> Watch<Arc<Settings>> {
        self.0.settings.watch()
    }

    /// The log of the process, if the app knows it.
    pub fn logs(&self) -> Option<Logs> {
        self.0.logs.get().cloned()
    }

    /// Where operators are answered over HTTP, once they are, with the port that the system chose.
    #[cfg(feature = "admin")]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.0.admin.get().copied()
    }

    #[cfg(feature = "admin")]
    pub(crate) fn set_admin(&self, addr: SocketAddr) {
        let _only_once = self.0.admin.set(addr);
    }

    /// How requests to plug-ins are run, once the app runs.
    pub(crate) fn backend(&self) -> Option<&Backend> {
        self.0.backend.get()
    }

    pub(super) fn set_backend(&self, backend: &Backend) {
        let _an_app_runs_once = self.0.backend.set(backend.clone());
    }

    /// Changes of the settings' files: how many were applied, and how many failed.
    pub(crate) fn reloads(&self) -> [u64; 2] {
        self.0.reloads.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn count_reload(&self, applied: bool) {
        let [good, bad] = &self.0.reloads;
        (if applied { good } else { bad }).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_logs(&self, logs: Logs) {
        let _only_once = self.0.logs.set(logs);
    }

    pub(super) fn set_settings(&self, settings: Arc<Settings>) {
        self.0.settings.send(settings);
    }

    /// The run begins, with the settings of this moment.
    pub(super) fn begin(&self) {
        let _an_app_runs_once = self.0.began_with.set(self.settings());
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        if phase == Phase::Serving {
            self.0.served.store(true, Ordering::Relaxed);
        }
        self.0.phase.send_if_new(phase);
    }

    /// Whether everything has run.
    pub(super) fn has_served(&self) -> bool {
        self.0.served.load(Ordering::Relaxed)
    }

    /// What the app has been told.
    pub(super) fn orders(&self) -> Watch<Order> {
        self.0.order.watch()
    }

    /// Resolves once the app has been told at least this.
    pub(super) async fn told(&self, order: Order) {
        let mut orders = self.orders();
        while orders.current() < order {
            // The sender lives as long as `self`.
            orders.changed().await;
        }
    }

    fn tell(&self, order: Order) {
        let _one_at_a_time = self.parts();
        if self.orders().current() < order {
            self.0.order.send(order);
        }
    }

    pub(super) fn add_cluster(&self, cluster: &Cluster) {
        let clusters = &mut self.parts().clusters;
        let is = |known: &Cluster| Arc::ptr_eq(known.registry(), cluster.registry());
        if !clusters.iter().any(is) {
            clusters.push(cluster.clone());
        }
    }

    pub(super) fn add_gate(&self, gate: GateHandle) {
        self.parts().gates.push(gate);
    }

    pub(super) fn add_nodes(&self, nodes: &[NodeHandle]) {
        self.parts().nodes.extend_from_slice(nodes);
    }

    pub(super) fn add(&self, id: InstanceId, kind: Kind, name: String) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            id,
            kind,
            name,
            host: OnceLock::new(),
            state: AtomicU8::new(InstanceState::Waiting.number()),
            stalled: AtomicBool::new(false),
            standing: WatchSender::new(Standing::Unknown),
            progress: Arc::default(),
        });
        self.parts().entries.push(Arc::clone(&entry));
        entry
    }

    /// What is written down about each instance.
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.parts().entries.clone()
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_never_weakened() {
        let control = Control::default();
        control.end_now();
        control.drain();
        assert_eq!(control.orders().current(), Order::End);
    }

    #[tokio::test]
    async fn labels_that_change_in_the_files_wait_for_the_next_start() {
        let zone = |name| {
            let text = format!("[yumen.admin.labels]\nzone = '{name}'\n");
            Arc::new(Settings::parse(&text, "etc.toml".as_ref()).unwrap())
        };
        let control = Control::default();
        control.set_settings(zone("old"));
        control.begin();
        control.set_settings(zone("new"));
        let page = crate::metrics::render(&control).await;
        assert!(page.contains("zone=\"old\"") && !page.contains("zone=\"new\""), "{page}");
    }

    #[test]
    fn every_state_survives_its_number() {
        for state in InstanceState::ALL {
            assert_eq!(InstanceState::numbered(state.number()), state);
        }
    }
}
