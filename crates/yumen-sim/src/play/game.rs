//! The game that the nodes of a run play: every user has one node of its own, which counts its steps.
//!
//! A node marks everything it says with who it is, the life it believes in and the claim by which the
//! user is its own. It is as naive as a game may be: it never checks whether it still owns a user.

use super::words::{ECHO, JOIN, LOGIN, Mark, STEP, STEPPED, TICK, numbers};
use crate::{
    cluster::Boot,
    stores::Stores,
    trace::{Trace, note},
};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use yumen_cluster::node::{Clients, Node, Place, Raw, Router, Session, State, on};
use yumen_core::{Code, Status, locator::Incarnation, watch::Watch};
use yumen_proto::{InstanceId, UserId};

/// How often a node tells its users that it is there.
const TICK_EVERY: Duration = Duration::from_millis(400);

/// A step that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) at: u64,
    pub(crate) user: u64,
    pub(crate) mark: Mark,
}

/// What the nodes of a run have done, whoever believes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects(Arc<Mutex<Vec<Effect>>>);

impl Effects {
    pub(crate) fn take(&self) -> Vec<Effect> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, effect: Effect) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(effect);
    }
}

/// What one node knows.
pub(crate) struct World {
    me: InstanceId,
    life: RefCell<Watch<Incarnation>>,
    stores: Stores,
    trace: Trace,
    effects: Effects,
    owned: RefCell<BTreeMap<UserId, Owned>>,
    ticks: Cell<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Owned {
    epoch: u64,
    count: u64,
}

impl World {
    fn mark(&self, owned: Owned, (session, n): (u64, u64)) -> Mark {
        let life = self.life.borrow_mut().current().0;
        let node = self.me.to_string();
        Mark { node, life, epoch: owned.epoch, session, n, count: owned.count }
    }

    fn said(&self, mark: &Mark) -> Raw {
        Raw(Bytes::from(mark.to_string()))
    }
}

/// A node of the game.
pub(crate) fn node(boot: &Boot, stores: &Stores, trace: &Trace, effects: &Effects) -> Node {
    let (life, stores) = (boot.life.clone(), stores.clone());
    let (trace, effects) = (trace.clone(), effects.clone());
    let world = move |place: &Place| World {
        me: place.id.clone(),
        life: RefCell::new(life.clone()),
        stores: stores.clone(),
        trace: trace.clone(),
        effects: effects.clone(),
        owned: RefCell::default(),
        ticks: Cell::new(0),
    };
    let routes = Router::new()
        .route(LOGIN, on(login))
        .route(JOIN, on(join).login())
        .route(STEP, on(step).sticky())
        .route(ECHO, on(echo));
    let node = Node::builder(&boot.cluster, "game", world).id(boot.host.as_str()).routes(routes);
    let node = node.drain_max(Duration::from_secs(5)).on_start(tick_all);
    node.build_unbound().unwrap_or_else(|problems| unreachable!("{problems}"))
}

fn nonsense() -> Status {
    Status::invalid_argument("not two numbers")
}

async fn login(world: State<World>, session: Session, body: Raw) -> Result<Raw, Status> {
    let asked = numbers(&body.0).ok_or_else(nonsense)?;
    let user = i64::try_from(asked.1).map_err(|_| nonsense())?;
    session.bind(UserId(user)).await?;
    Ok(world.said(&world.mark(Owned::default(), asked)))
}

async fn join(world: State<World>, session: Session, body: Raw) -> Result<Raw, Status> {
    let asked = numbers(&body.0).ok_or_else(nonsense)?;
    let user = session.user().ok_or_else(|| Status::unauthorized("nobody"))?;
    session.bind_node().await?;
    let epoch = world.stores.epoch_of(user, &world.me).map_or(0, |epoch| epoch.0);
    let owned = Owned { epoch, count: 0 };
    world.owned.borrow_mut().insert(user, owned);
    Ok(world.said(&world.mark(owned, asked)))
}

async fn step(world: State<World>, session: Session, body: Raw) -> Result<(), Status> {
    let asked = numbers(&body.0).ok_or_else(nonsense)?;
    let user = session.user().ok_or_else(|| Status::unauthorized("nobody"))?;
    let owned = {
        let mut all = world.owned.borrow_mut();
        let known = all.get_mut(&user);
        let known = known.ok_or_else(|| Status::new(Code::NOT_BOUND, "not one of mine"))?;
        known.count = known.count.saturating_add(1);
        *known
    };
    let mark = world.mark(owned, asked);
    note!(world.trace, "step {user} {mark}");
    let (at, user) = (world.trace.millis(), u64::try_from(user.0).unwrap_or(0));
    world.effects.add(Effect { at, user, mark: mark.clone() });
    session.push(STEPPED, &world.said(&mark))
}

async fn echo(world: State<World>, body: Raw) -> Result<Raw, Status> {
    let asked = numbers(&body.0).ok_or_else(nonsense)?;
    Ok(world.said(&world.mark(Owned::default(), asked)))
}

/// Tells every user of this node that it is there, again and again.
async fn tick_all(world: State<World>, clients: Clients) {
    let (world, users): (Rc<World>, _) = (Rc::clone(&world.0), clients.clone());
    clients.spawn(async move {
        loop {
            users.clock().sleep(TICK_EVERY).await;
            let owned: Vec<_> = {
                let owned = world.owned.borrow();
                owned.iter().map(|(user, owned)| (*user, *owned)).collect()
            };
            for (user, owned) in owned {
                let n = world.ticks.get().saturating_add(1);
                world.ticks.set(n);
                // Asked for first, so that the mark is of the life in which it is sent.
                if !matches!(users.locate(user).await, Ok(Some(_))) {
                    continue; // who is not online hears nothing
                }
                let mark = world.mark(owned, (0, n));
                let _told = users.push(user, TICK, &world.said(&mark)).await;
            }
        }
    });
}
