//! The threads of the instances.
//!
//! A thread hosts one runtime and starts the instances it is sent, one after the other, until nobody
//! can send any more and all have ended. However an instance ends, a panic of its thread included, its
//! [`Reporter`] says so once.

use super::control::Entry;
use crate::{
    instance::{InstanceError, Launch, Ties},
    pulse::Pulse,
};
use std::{io, rc::Rc, sync::Arc};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};
use yumen_mesh::Neighbours;
use yumen_net::env::{Clock, Env};

/// How an instance ended.
pub(super) type Report = (Arc<Entry>, Result<(), InstanceError>);
/// An instance on its way to its thread.
pub(super) type Start = (Launch, Ties, Reporter);

/// Says how an instance ended. Dropped without a word, it says that the thread was lost.
#[derive(Debug)]
pub(super) struct Reporter {
    entry: Arc<Entry>,
    /// Has room for a report of every instance.
    reports: mpsc::Sender<Report>,
    result: Result<(), InstanceError>,
}

impl Reporter {
    pub(super) fn new(entry: Arc<Entry>, reports: mpsc::Sender<Report>) -> Self {
        Self { entry, reports, result: Err(InstanceError::ThreadLost) }
    }

    /// What it will say, unless it learns better.
    fn expect(&mut self, result: Result<(), InstanceError>) {
        self.result = result;
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(()));
        let _nobody_listens = self.reports.try_send((Arc::clone(&self.entry), result));
    }
}

/// Starts a thread called `name` that can host so many instances.
pub(super) fn start(
    name: &str,
    instances: usize,
    pulse: Arc<Pulse>,
) -> io::Result<mpsc::Sender<Start>> {
    let (tx, starts) = mpsc::channel(instances.max(1));
    let runtime = Builder::new_current_thread();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || host(runtime, starts, pulse))?;
    Ok(tx)
}

fn host(mut runtime: Builder, mut starts: mpsc::Receiver<Start>, pulse: Arc<Pulse>) {
    let runtime = match runtime.enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            // Out of descriptors, most likely: whoever waits for these instances has to know.
            tracing::error!(%error, "the thread of an instance cannot run");
            while starts.blocking_recv().is_some() {}
            return;
        }
    };
    let neighbours = Rc::new(Neighbours::default());
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = run_all(starts, &neighbours) => {}
            () = pulse.run(Clock::real()) => {}
        }
    });
}

/// Runs what it is sent, until nobody can send any more and all have ended.
async fn run_all(mut starts: mpsc::Receiver<Start>, neighbours: &Rc<Neighbours>) {
    let mut running = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            start = starts.recv() => match start {
                Some((launch, ties, mut reporter)) => {
                    let neighbours = Rc::clone(neighbours);
                    running.spawn_local(async move {
                        // A panic of one instance does not end the other on this thread.
                        reporter.expect(Err(InstanceError::Crashed));
                        reporter.expect(caught(launch(Env::real(), neighbours, ties)).await);
                    });
                }
                None => break,
            },
            Some(_) = running.join_next() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// Runs an instance; a panic in it is an error like any other.
async fn caught(
    instance: impl Future<Output = Result<(), InstanceError>>,
) -> Result<(), InstanceError> {
    use std::{
        future::poll_fn,
        panic::{AssertUnwindSafe, catch_unwind},
        pin::pin,
        task::Poll,
    };
    let mut instance = pin!(instance);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| instance.as_mut().poll(cx))) {
        Ok(polled) => polled,
        Err(_) => Poll::Ready(Err(InstanceError::Crashed)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Control;
    use yumen_core::cluster::Kind;

    #[test]
    fn an_instance_that_is_lost_on_its_way_is_reported() {
        let entry = Control::default().add("lobby".into(), Kind::Node, "lobby".to_owned());
        let (reports, mut ended) = mpsc::channel(2);
        drop(Reporter::new(Arc::clone(&entry), reports.clone()));
        let (who, result) = ended.try_recv().unwrap();
        assert!(Arc::ptr_eq(&who, &entry));
        assert!(matches!(result, Err(InstanceError::ThreadLost)));
        // A panic that takes the thread with it drops everything on it.
        let mut reporter = Reporter::new(entry, reports);
        let thread = std::thread::spawn(move || {
            reporter.expect(Err(InstanceError::Crashed));
            panic!("expected by this test");
        });
        assert!(thread.join().is_err());
        assert!(matches!(ended.try_recv(), Ok((_, Err(InstanceError::Crashed)))));
    }
}
