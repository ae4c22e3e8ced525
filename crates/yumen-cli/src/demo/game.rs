//! The game of the demo: bots log in, join a room, echo, and talk to their room.
//!
//! This is all that a game writes: messages, handlers, and a table of routes.
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use yumen::prelude::*;
use yumen::settings::Settings;

pub(super) const LOGIN: i32 = 1;
pub(crate) const ECHO: i32 = 2;
pub(super) const SAY: i32 = 3;
/// What a bot hears from its room.
pub(super) const HEARD: i32 = 4;
/// Which node answers, through which gate.
const WHERE: i32 = 5;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) user: i64,
    pub(super) room: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) users: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Echo {
    pub(super) message: String,
}

#[derive(Debug, Serialize)]
struct Here {
    node: String,
    gate: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Say {
    pub(super) text: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) from: i64,
    pub(super) text: String,
}

/// What the node keeps: one thread owns it, so there is no lock.
struct Lobby {
    logins: Cell<u64>,
    clients: Clients,
}

async fn login(
    session: Session,
    State(lobby): State<Lobby>,
    Msg(login): Msg<Login>,
) -> Result<Msg<Welcome>, Status> {
    let user = UserId::new(login.user).ok_or_else(|| Status::invalid_argument("user below 1"))?;
    session.bind(user).await?;
    session.subscribe(&room(login.room)).await?;
    lobby.logins.set(lobby.logins.get().saturating_add(1));
    Ok(Msg(Welcome { users: lobby.logins.get() }))
}

async fn echo(Msg(echo): Msg<Echo>) -> Msg<Echo> {
    Msg(echo)
}

async fn say(
    user: UserId,
    State(lobby): State<Lobby>,
    Msg(say): Msg<Say>,
) -> Result<Msg<Heard>, Status> {
    let heard = Heard { from: user.0, text: say.text };
    let index = usize::try_from(user.0.saturating_sub(1)).unwrap_or_default();
    lobby.clients.publish(&room(index / super::world::ROOM), HEARD, &Msg(&heard))?;
    Ok(Msg(heard))
}

async fn here(session: Session, clients: Clients) -> Msg<Here> {
    let gate = session.gate().map(|gate| gate.to_string());
    Msg(Here { node: clients.node_id().to_string(), gate })
}

fn room(number: usize) -> String {
    format!("room:{number}")
}

/// The node of the demo.
pub(crate) fn node(cluster: &Cluster, settings: &Settings) -> Result<Node, BuildError> {
    Node::builder(cluster, "lobby", |place| Lobby {
        logins: Cell::new(0),
        clients: place.clients.clone(),
    })
    .settings(settings)
    .routes(
        Router::new()
            .route(LOGIN, on(login))
            .route(ECHO, on(echo))
            .route(SAY, on(say).login())
            .route(WHERE, on(here)),
    )
    .build()
}
