//! A process of ours beside one of due's: its app on a thread, and the registry that both know.

use crate::recording::SETTINGS;
use serde_json::Value;
use std::{net::SocketAddr, path::Path, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::sync::oneshot;
use yumen::{locator::Locator, prelude::*, proto::link::Kind, registry::Registry};

/// What runs until it is stopped.
pub(crate) struct Ours {
    registry: Arc<dyn Registry>,
    stop: oneshot::Sender<()>,
    app: JoinHandle<()>,
}

impl Ours {
    pub(crate) fn start(
        locator: impl Locator,
        app: impl FnOnce(&Cluster, &Settings) -> App,
    ) -> Self {
        let text = SETTINGS
            .replace("[cluster.gate]", "[cluster.gate]\naddr = '127.0.0.1:0'")
            .replace("[cluster.node]", "[cluster.node]\naddr = '127.0.0.1:0'");
        let settings = Settings::parse(&text, Path::new("etc.toml")).unwrap();
        let cluster =
            Cluster::new(Arc::clone(Cluster::in_process().registry()), locator).insecure(true);
        let app = app(&cluster, &settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let registry = Arc::clone(cluster.registry());
        let app = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let run = app.run_until(async {
                let _stopped_or_failed = stopped.await;
            });
            runtime.unwrap().block_on(run).unwrap();
        });
        Self { registry, stop, app }
    }

    fn block_on<T>(what: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limit = Duration::from_secs(20);
        runtime.block_on(async { tokio::time::timeout(limit, what).await.expect("in vain") })
    }

    /// An instance of due's stands in the registry.
    pub(crate) fn joins(&self, record: Value) {
        let record = serde_json::from_value(record).unwrap();
        Self::block_on(self.registry.join(&record)).unwrap();
    }

    /// The record of our gate or node, once it is there, and where it listens for others.
    pub(crate) fn record(&self, kind: Kind) -> (Value, SocketAddr) {
        Self::block_on(async {
            let mut watch = self.registry.watch(kind).await.unwrap();
            loop {
                let all = watch.current();
                if let Some(ours) = all.iter().find(|one| one.metadata.contains_key("yumen")) {
                    let rest = ours.endpoint.strip_prefix("drpc://").unwrap();
                    let address = rest.split('?').next().unwrap().parse().unwrap();
                    return (serde_json::to_value(ours).unwrap(), address);
                }
                assert!(watch.changed().await);
            }
        })
    }

    pub(crate) fn stop(self) {
        self.stop.send(()).unwrap();
        self.app.join().unwrap();
    }
}
