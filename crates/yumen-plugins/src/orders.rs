//! What a registry is asked to say of one instance, and how far the task is that says it.
//!
//! Knows no server: the task is the registry's own. It reads the newest [`Order`], and tells how it went. The
//! one thing to know: only the newest order counts, and an order that failed stays until it is carried out.

use crate::tries::Tries;
use std::{error::Error, future::Future, sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::AbortHandle};
use yumen_core::{
    cluster::Instance,
    watch::{Watch, WatchSender},
};

/// An error that several wait for.
pub(crate) type SharedError = Arc<dyn Error + Send + Sync>;

/// The work ended, since nobody owns it any more.
#[derive(Debug, thiserror::Error)]
#[error("the registry was dropped")]
pub(crate) struct Dropped;

/// What is asked of a keeper: a record, or none any more. The number grows with each; 0 is none yet.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) number: u64,
    pub(crate) record: Option<Arc<Instance>>,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// The newest order that was carried out.
    done: u64,
    /// How often a try failed.
    failures: u64,
    /// The last try, unless it succeeded.
    error: Option<SharedError>,
}

/// The handle of one keeper. Dropping it stops the work; the record then goes when the server notices.
#[derive(Debug)]
pub(crate) struct Keeper {
    orders: WatchSender<Order>,
    latest: Order,
    progress: Watch<Progress>,
    pub(crate) tries: Arc<Tries>,
    task: Option<AbortHandle>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Keeper {
    /// Starts `work` on `runtime`, with nothing to do yet. `registry` and `key` are for people: which record
    /// of which registry it keeps.
    pub(crate) fn start<W: Future<Output = ()> + Send + 'static>(
        runtime: &Handle,
        registry: &'static str,
        key: String,
        work: impl FnOnce(Watch<Order>, Told) -> W,
    ) -> Self {
        let latest = Order { number: 0, record: None };
        let orders = WatchSender::new(latest.clone());
        let sent = WatchSender::new(Progress::default());
        let progress = sent.watch();
        let tries = Arc::<Tries>::default();
        let told =
            Told { registry, key, tries: Arc::clone(&tries), progress: Progress::default(), sent };
        let task = runtime.spawn(work(orders.watch(), told)).abort_handle();
        Self { orders, latest, progress, tries, task: Some(task) }
    }

    /// Publishes a record in the place of the one before. The future ends with the first try.
    pub(crate) fn publish(
        &mut self,
        record: &Instance,
    ) -> impl Future<Output = Result<(), SharedError>> + use<> {
        // Nobody is disturbed by a record that is there already.
        if self.latest.record.as_deref() != Some(record) {
            self.order(Some(Arc::new(record.clone())));
        }
        outcome(self.progress.clone(), self.latest.number)
    }

    /// Withdraws the record. The work ends by itself when that is done.
    pub(crate) fn withdraw(mut self) -> impl Future<Output = Result<(), SharedError>> + use<> {
        self.task = None;
        self.order(None);
        outcome(self.progress.clone(), self.latest.number)
    }

    /// Withdraws the record, and stays ready for the next one. The future ends with the first try.
    pub(crate) fn clear(&mut self) -> impl Future<Output = Result<(), SharedError>> + use<> {
        if self.latest.record.is_some() {
            self.order(None);
        }
        outcome(self.progress.clone(), self.latest.number)
    }

    fn order(&mut self, record: Option<Arc<Instance>>) {
        self.latest = Order { number: self.latest.number.saturating_add(1), record };
        self.orders.send(self.latest.clone());
    }
}

/// Waits until the order is carried out, or a try fails.
async fn outcome(mut progress: Watch<Progress>, number: u64) -> Result<(), SharedError> {
    let before = progress.current();
    loop {
        let now = progress.current();
        match now.error {
            Some(error) if now.failures > before.failures => return Err(error),
            None if now.done >= number => return Ok(()),
            _ => {}
        }
        if !progress.changed().await {
            return Err(Arc::new(Dropped));
        }
    }
}

/// The other end of a keeper: where its task says how it goes.
#[derive(Debug)]
pub(crate) struct Told {
    registry: &'static str,
    key: String,
    tries: Arc<Tries>,
    progress: Progress,
    sent: WatchSender<Progress>,
}

impl Told {
    /// The order with this number stands.
    pub(crate) fn done(&mut self, number: u64) {
        if self.tries.good() > 0 {
            tracing::info!(key = %self.key, "registered in {} again", self.registry);
        }
        self.settled(number);
    }

    /// It is over with the order, well or not; no try succeeded just now.
    #[cfg(feature = "etcd")]
    pub(crate) fn given_up(&mut self, number: u64) {
        self.settled(number);
    }

    fn settled(&mut self, number: u64) {
        (self.progress.done, self.progress.error) = (number, None);
        self.sent.send(self.progress.clone());
    }

    /// A try failed. Gives the time until the next.
    pub(crate) fn failed(&mut self, error: impl Error + Send + Sync + 'static) -> Duration {
        if self.tries.failed(error.to_string()) == 1 {
            let registry = self.registry;
            tracing::warn!(key = %self.key, "not registered in {registry}, trying again: {error}");
        }
        self.progress.failures = self.progress.failures.saturating_add(1);
        self.progress.error = Some(Arc::new(error));
        self.sent.send(self.progress.clone());
        self.tries.pause()
    }
}
