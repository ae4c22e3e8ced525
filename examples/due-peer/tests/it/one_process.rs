//! The game over a cluster in one process.

use crate::{clients, recording::SETTINGS};
use std::path::Path;
use tokio::sync::oneshot;
use yumen::prelude::*;
use yumen_due_peer::{Net, gate, node};

#[test]
fn recorded_clients_get_from_ours_what_they_got_from_due() {
    let settings = Settings::parse(SETTINGS, Path::new("etc.toml")).unwrap();
    let cluster = Cluster::in_process();
    let gate = gate(&cluster, &settings, Net::Tcp).unwrap();
    let node = node(&cluster, &settings).unwrap();
    let addr = gate.addresses()[0];
    let app = App::default().with(node).with(gate);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(app.run_until(async {
            let _stopped_or_failed = stopped.await;
        }))
    });
    clients::play(addr, Net::Tcp);
    stop.send(()).unwrap();
    server.join().unwrap().unwrap();
}
