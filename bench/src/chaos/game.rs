//! The game of the chaos run: every request has an effect that can be counted.
//!
//! A node counts, for each user, the requests that took effect on it, and tells the count to the client
//! twice: in a push, and in the reply behind it. So the client's own log shows what was lost, done twice
//! or done in another order. The counts belong to one life of one node and die with it; with [`Saves`] those
//! of a user's own node go with the user, whichever node that is.
use super::saves::Saves;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;
use yumen::prelude::*;
use yumen::registry::State as InstanceState;

/// Logs in and makes the node that answers the user's own.
pub(super) const ENTER: i32 = 1;
/// An effect on whichever node.
pub(super) const FREE: i32 = 2;
/// An effect on the user's own node.
pub(super) const HELD: i32 = 3;
/// What is pushed for an effect of [`FREE`]: through the connection that asked.
pub(super) const FREE_DONE: i32 = 12;
/// What is pushed for an effect of [`HELD`]: to the user, wherever it is.
pub(super) const HELD_DONE: i32 = 13;

/// Name of the nodes.
const NODES: &str = "game";
/// How often a node looks whether a user that another one holds is free, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOKS_MAX: u32 = 300;
/// How often a node that hangs looks for users who were bound to it meanwhile.
const SWEEPS: u32 = 4;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Enter {
    pub(super) user: i64,
}

/// A request, by its number at this client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) n: u64,
}

/// What a request has done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Effect {
    /// The request's number.
    pub(super) n: u64,
    /// The life of the node, as `node-1/PID`.
    pub(super) life: String,
    /// How many of the user's requests on this route have taken effect in that life.
    pub(super) count: u64,
    /// Why nothing was pushed, in a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unpushed: Option<String>,
}

struct World {
    life: String,
    /// Effects by user and route.
    counts: RefCell<HashMap<(UserId, i32), u64>>,
    clients: Clients,
    /// Where counts of [`HELD`] are while nobody holds the user.
    saves: Option<Saves>,
}

impl World {
    fn effect(&self, user: UserId, route: i32, n: u64) -> Effect {
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry((user, route)).or_default();
        *count = count.saturating_add(1);
        Effect { n, life: self.life.clone(), count: *count, unpushed: None }
    }

    /// Makes sure that what the user has is here and nowhere else.
    async fn hold(&self, user: UserId) -> Result<(), Status> {
        let Some(saves) = &self.saves else { return Ok(()) };
        let broken = |error| Status::unavailable(format!("the save of user {user}: {error}"));
        for _ in 0..LOOKS_MAX {
            if self.counts.borrow().contains_key(&(user, HELD)) {
                return Ok(());
            }
            if let Some(count) = saves.take(user).map_err(broken)? {
                self.counts.borrow_mut().insert((user, HELD), count);
                // The user may have moved on while this node waited for it.
                let bound = self.clients.locate_node(user, NODES).await?;
                if bound.as_ref() == Some(self.clients.node_id()) {
                    return Ok(());
                }
                self.release(user);
                return Err(Status::unavailable("the user has moved on"));
            }
            self.clients.clock().sleep(LOOK_EVERY).await;
        }
        Err(Status::unavailable("another node holds the user"))
    }

    /// Gives back what the user has, if it is here.
    fn release(&self, user: UserId) {
        let Some(saves) = &self.saves else { return };
        let count = self.counts.borrow_mut().remove(&(user, HELD));
        // A save that is lost is seen by the checker: the user's count begins again.
        count.map(|count| saves.give(user, count)).transpose().unwrap_or_default();
    }

    /// Binds every user who is bound here to another node, in turn, and gives back what it has.
    async fn move_all(&self) {
        let nodes = self.clients.nodes();
        let takes = |state| matches!(state, InstanceState::Work | InstanceState::Busy);
        let others = nodes.iter().filter(|node| node.id != *self.clients.node_id());
        let others: Vec<_> = others.filter(|node| takes(node.state)).collect();
        for _ in 0..SWEEPS {
            for (user, to) in self.clients.bound_users().into_iter().zip(others.iter().cycle()) {
                if self.clients.bind_to(user, &to.id).await.is_ok() {
                    self.release(user);
                }
            }
            self.clients.clock().sleep(LOOK_EVERY).await;
        }
    }
}

async fn enter(
    session: Session,
    State(world): State<World>,
    Msg(enter): Msg<Enter>,
) -> Result<Msg<String>, Status> {
    let user = UserId::new(enter.user).ok_or_else(|| Status::invalid_argument("user below 1"))?;
    if session.user() != Some(user) {
        session.bind(user).await?;
    }
    session.bind_node().await?;
    world.hold(user).await?;
    Ok(Msg(world.life.clone()))
}

async fn free(
    user: UserId,
    session: Session,
    State(world): State<World>,
    Msg(ask): Msg<Ask>,
) -> Result<Msg<Effect>, Status> {
    let effect = world.effect(user, FREE, ask.n);
    session.push(FREE_DONE, &Msg(&effect))?;
    Ok(Msg(effect))
}

async fn held(
    user: UserId,
    State(world): State<World>,
    Msg(ask): Msg<Ask>,
) -> Result<Msg<Effect>, Status> {
    world.hold(user).await?;
    let effect = world.effect(user, HELD, ask.n);
    let pushed = world.clients.push(user, HELD_DONE, &Msg(&effect)).await;
    Ok(Msg(Effect { unpushed: pushed.err().map(|status| status.to_string()), ..effect }))
}

/// A node of the game, known as `id`. With `saves` its users can be moved to others.
pub(super) fn node(
    cluster: &Cluster,
    settings: &Settings,
    id: &str,
    saves: Option<Saves>,
) -> Result<Node, BuildError> {
    let life = format!("{id}/{}", std::process::id());
    let moves = saves.is_some();
    let state = move |place: &Place| World {
        life: life.clone(),
        counts: RefCell::default(),
        clients: place.clients.clone(),
        saves: saves.clone(),
    };
    let routes = Router::new()
        .route(ENTER, on(enter))
        .route(FREE, on(free).login())
        .route(HELD, on(held).sticky());
    let node = Node::builder(cluster, NODES, state).id(id).settings(settings).routes(routes);
    if !moves {
        return node.build();
    }
    node.on_hang(|State(world): State<World>, _| async move { world.move_all().await })
        .on_unbound(|State(world): State<World>, _, user| async move { world.release(user) })
        .build()
}
