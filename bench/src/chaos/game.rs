//! The game of the chaos run: every request has an effect that can be counted.
//!
//! A node counts, for each user, the requests that took effect on it, and tells the count to the client
//! twice: in a push, and in the reply behind it. So the client's own log shows what was lost, done twice
//! or done in another order. The counts belong to one life of one node and die with it.
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use yumen::prelude::*;

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
}

impl World {
    fn effect(&self, user: UserId, route: i32, n: u64) -> Effect {
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry((user, route)).or_default();
        *count = count.saturating_add(1);
        Effect { n, life: self.life.clone(), count: *count, unpushed: None }
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

async fn held(user: UserId, State(world): State<World>, Msg(ask): Msg<Ask>) -> Msg<Effect> {
    let effect = world.effect(user, HELD, ask.n);
    let pushed = world.clients.push(user, HELD_DONE, &Msg(&effect)).await;
    Msg(Effect { unpushed: pushed.err().map(|status| status.to_string()), ..effect })
}

/// A node of the game, known as `id`.
pub(super) fn node(cluster: &Cluster, settings: &Settings, id: &str) -> Result<Node, BuildError> {
    let life = format!("{id}/{}", std::process::id());
    let state = move |place: &Place| World {
        life: life.clone(),
        counts: RefCell::default(),
        clients: place.clients.clone(),
    };
    let routes = Router::new()
        .route(ENTER, on(enter))
        .route(FREE, on(free).login())
        .route(HELD, on(held).sticky());
    Node::builder(cluster, NODES, state).id(id).settings(settings).routes(routes).build()
}
