//! One instance as the app runs it, on the thread and the network of a test.
//!
//! It finds the others, begins a life, serves, can be found, renews its life, and leaves at its end;
//! stores that fail are asked again, as long as it takes. It may be paused and killed at any time.

use crate::{
    app::{Part, lease::Lease},
    backend::Backend,
    cluster::Cluster,
    instance::{InstanceError, Member, Progress, Stop, Ties},
    presence::{self, Wanted},
};
use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::oneshot;
use yumen_core::{
    cluster::State,
    locator::Incarnation,
    watch::{Watch, WatchSender},
};
use yumen_mesh::Neighbours;
use yumen_net::{env::Env, spawn::Spawn};
use yumen_proto::{id::InstanceId, link::Kind};

/// How long before a store that failed is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The components of a part, and the cluster they belong to.
pub fn members(part: impl Into<Part>) -> (Cluster, Vec<Member>) {
    match part.into() {
        Part::Gate(gate) => (gate.cluster, gate.members),
        Part::Node(node) => node.into_parts(),
    }
}

/// See the module.
#[derive(Debug)]
pub struct Hosted {
    /// Its id in the cluster.
    pub id: InstanceId,
    /// What it is.
    pub kind: Kind,
    env: Env,
    /// What the service runtime does for it: not among its own tasks, which it waits for at its end.
    runner: Spawn,
    stop: WatchSender<Stop>,
    record: Wanted,
    ended: Rc<RefCell<Option<Result<(), InstanceError>>>>,
}

impl Hosted {
    /// Starts it beside its neighbours and waits for nothing. Its lives will be sent to `lives`.
    pub fn start(
        cluster: &Cluster,
        member: Member,
        (env, neighbours): (&Env, Rc<Neighbours>),
        lives: WatchSender<Incarnation>,
    ) -> Self {
        let lives = Arc::new(lives);
        let stop = WatchSender::new(Stop::No);
        let hosted = Self {
            id: member.id.clone(),
            kind: member.kind,
            env: env.clone(),
            runner: Spawn::default(),
            stop,
            record: Wanted::default(),
            ended: Rc::default(),
        };
        let run = Run {
            cluster: cluster.clone(),
            env: env.clone(),
            neighbours,
            runner: hosted.runner.clone(),
            stop: hosted.stop.watch(),
            record: hosted.record.clone(),
            lives,
        };
        let ended = Rc::clone(&hosted.ended);
        hosted.runner.local(async move {
            let result = run.run(member).await;
            ended.replace(Some(result));
        });
        hosted
    }

    /// As if the process were stopped: nothing of it runs while time goes on.
    pub fn pause(&self) {
        self.env.spawn.freeze();
        self.runner.freeze();
    }

    /// Ends [`Hosted::pause`].
    pub fn resume(&self) {
        self.env.spawn.thaw();
        self.runner.thaw();
    }

    /// Drops every task of it, as if the process were gone. What it held is dropped at the next turn.
    pub fn kill(&self) {
        self.runner.abort_all();
        self.env.spawn.abort_all();
    }

    /// Tells the registry, and it, to stop; [`Hosted::ended`] resolves when it has.
    pub fn stop(&self, how: Stop) {
        self.record.change(|record| record.state = State::Hang);
        self.stop.send(how);
    }

    /// Waits until it has ended and left the stores; gives how, if it was not killed.
    pub async fn ended(&self) -> Option<Result<(), InstanceError>> {
        self.runner.idle().await;
        self.env.spawn.idle().await;
        self.ended.borrow_mut().take()
    }

    /// How it has ended, if it has by itself.
    pub fn try_ended(&self) -> Option<Result<(), InstanceError>> {
        self.ended.borrow_mut().take()
    }
}

struct Run {
    cluster: Cluster,
    env: Env,
    neighbours: Rc<Neighbours>,
    runner: Spawn,
    stop: Watch<Stop>,
    record: Wanted,
    lives: Arc<WatchSender<Incarnation>>,
}

impl Run {
    async fn run(self, member: Member) -> Result<(), InstanceError> {
        let Member { id, kind, launch, .. } = member;
        let (registry, locator) = (self.cluster.registry(), self.cluster.locator());
        let gates = asked(async || registry.watch(Kind::Gate).await).await;
        let nodes = asked(async || registry.watch(Kind::Node).await).await;
        let life = asked(async || locator.open(&id).await).await;
        self.lives.send(life);
        let (ready, served) = oneshot::channel();
        let record = self.record;
        let ties = Ties {
            id: id.clone(),
            cluster: self.cluster.clone(),
            backend: Backend::here(),
            record: record.clone(),
            incarnation: self.lives.watch(),
            gates,
            nodes,
            stop: self.stop,
            progress: Arc::<Progress>::default(),
            settings: Watch::fixed(Arc::default()),
            ready,
            workers: None,
            door: None,
        };
        let lease = Lease::new(locator, &id, Some(life));
        // It is frozen together with what it renews.
        let renewing = self.runner.local(lease.keep(Arc::clone(&self.lives), || false));
        let (joining, theirs) = (Arc::clone(registry), self.runner.clone());
        let join = theirs.local(async move {
            if let Ok(served) = served.await {
                record.begin(served);
                let _unfit = presence::keep(joining, record, ()).await;
            }
        });
        let result = launch(self.env, self.neighbours, ties).await;
        renewing.abort();
        join.abort();
        let mut life = self.lives.watch();
        // As the app: tried once, the stores give it up by themselves.
        let _left = registry.leave(&id, kind).await;
        let _closed = locator.close(&id, life.current()).await;
        result
    }
}

/// Asks a store until it answers.
async fn asked<T, E: std::fmt::Display>(mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "a store did not answer; it is asked again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
