//! A whole cluster on the virtual network of `yumen_net::testing`: one thread, virtual time, a seed.
//!
//! The same gates and nodes as in a process of their own, started in the same order; only sockets and
//! time differ. Nothing here is for production.

mod held;
mod hosted;

pub use held::{Held, Probe};
pub use hosted::{Hosted, members};

use crate::{
    app::Part,
    backend::Backend,
    instance::{InstanceError, Member, Stop, Ties, told_to_end},
    presence::{self, Wanted},
};
use std::{cell::RefCell, rc::Rc, sync::Arc};
use tokio::sync::oneshot;
use yumen_core::watch::{Watch, WatchSender};
use yumen_mesh::Neighbours;
use yumen_net::{env::Env, testing::Sim};
use yumen_proto::link::Kind;

type Ended = Rc<RefCell<Vec<Result<(), InstanceError>>>>;

/// Starts components on a virtual network and stops them.
#[derive(Debug)]
pub struct SimApp {
    sim: Sim,
    neighbours: Rc<Neighbours>,
    stop: WatchSender<Stop>,
    envs: Vec<Env>,
    ended: Ended,
}

impl SimApp {
    /// Nothing runs yet.
    pub fn new(sim: &Sim) -> Self {
        Self {
            sim: sim.clone(),
            neighbours: Rc::default(),
            stop: WatchSender::new(Stop::No),
            envs: Vec::new(),
            ended: Ended::default(),
        }
    }

    /// Starts every instance of a component and waits until each serves. Gates must have been made
    /// with `build_unbound`; start nodes first.
    ///
    /// # Errors
    /// Why an instance ended at once.
    ///
    /// # Panics
    /// If the cluster's registry or locator fails.
    #[expect(clippy::expect_used, reason = "for tests")]
    pub async fn start(&mut self, part: impl Into<Part>) -> Result<(), InstanceError> {
        let (cluster, members) = members(part);
        for Member { id, launch, .. } in members {
            let registry = cluster.registry();
            let life = cluster.locator().open(&id).await.expect("a locator");
            let (ready, served) = oneshot::channel();
            let record = Wanted::default();
            let ties = Ties {
                id: id.clone(),
                cluster: cluster.clone(),
                backend: Backend::here(),
                record: record.clone(),
                incarnation: Watch::fixed(life),
                gates: registry.watch(Kind::Gate).await.expect("a registry"),
                nodes: registry.watch(Kind::Node).await.expect("a registry"),
                stop: self.stop.watch(),
                progress: Arc::default(),
                settings: Watch::fixed(Arc::default()),
                ready,
                workers: None,
                door: None,
            };
            let env = self.sim.env();
            let instance = launch(env.clone(), Rc::clone(&self.neighbours), ties);
            let ended = Rc::clone(&self.ended);
            // Not among the instance's own tasks: an instance waits for those to end.
            let runner = self.sim.env();
            runner.spawn.local(async move {
                let result = instance.await;
                ended.borrow_mut().push(result);
            });
            self.envs.push(runner);
            self.envs.push(env);
            match served.await {
                Ok(served) => {
                    registry.join(&served).await.expect("a registry");
                    record.begin(served);
                }
                Err(_) => return self.ended.borrow_mut().pop().unwrap_or(Ok(())),
            }
            let mut stop = self.stop.watch();
            let keep = presence::keep(Arc::clone(registry), record, ());
            self.sim.env().spawn.local(async move {
                tokio::select! {
                    kept = keep => kept.expect("a record that fits"),
                    () = told_to_end(&mut stop) => {}
                }
            });
        }
        Ok(())
    }

    /// The environment of every instance and of its runner, in the order of their start.
    pub fn envs(&self) -> &[Env] {
        &self.envs
    }

    /// Tells every instance to stop and waits until all have ended.
    ///
    /// # Errors
    /// The first instance that failed.
    pub async fn stop(self) -> Result<(), InstanceError> {
        self.stop.send(Stop::Drain { max: None });
        for env in &self.envs {
            env.spawn.idle().await;
        }
        self.ended.borrow_mut().drain(..).collect()
    }
}

#[cfg(test)]
#[path = "testing/tests.rs"]
mod tests;
