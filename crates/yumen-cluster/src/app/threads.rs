//! The threads of the instances.
//!
//! A thread hosts one runtime and starts the instances it is sent, one after the other, until nobody
//! can send any more and all have ended.

use crate::instance::{InstanceError, Launch, Ties};
use std::{io, rc::Rc};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};
use yumen_mesh::Neighbours;
use yumen_net::env::Env;
use yumen_proto::id::InstanceId;

/// How an instance ended.
pub(super) type Report = (InstanceId, Result<(), InstanceError>);
/// An instance on its way to its thread.
pub(super) type Start = (Launch, Ties);

/// Starts a thread called `name` that can host so many instances.
pub(super) fn start(
    name: &str,
    instances: usize,
    reports: mpsc::Sender<Report>,
) -> io::Result<mpsc::Sender<Start>> {
    let (tx, starts) = mpsc::channel(instances.max(1));
    let runtime = Builder::new_current_thread();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || host(runtime, starts, &reports))?;
    Ok(tx)
}

fn host(mut runtime: Builder, mut starts: mpsc::Receiver<Start>, reports: &mpsc::Sender<Report>) {
    let Ok(runtime) = runtime.enable_all().build_local(LocalOptions::default()) else {
        // Out of descriptors, most likely: whoever waits for these instances has to know.
        while let Some((_, ties)) = starts.blocking_recv() {
            let report = (ties.id, Err(InstanceError::ThreadLost));
            let _nobody_listens = reports.blocking_send(report);
        }
        return;
    };
    let neighbours = Rc::new(Neighbours::default());
    runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                biased;
                start = starts.recv() => match start {
                    Some((launch, ties)) => {
                        let (id, neighbours) = (ties.id.clone(), Rc::clone(&neighbours));
                        let reports = reports.clone();
                        running.spawn_local(async move {
                            let instance = launch(Env::real(), neighbours, ties);
                            // A panic of one instance does not end the other on this thread.
                            let result = caught(instance).await;
                            let _nobody_listens = reports.send((id, result)).await;
                        });
                    }
                    None => break,
                },
                Some(_) = running.join_next() => {}
            }
        }
        while running.join_next().await.is_some() {}
    });
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
