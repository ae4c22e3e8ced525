//! The routes that most tests use, and the one world that their handlers see.

use crate::rig::{Count, Latch, Log};
use yumen_cluster::node::{Clients, Raw, Router, Session, State, on};
use yumen_core::{cluster::Event, status::Status};
use yumen_proto::id::{ConnId, UserId};

/// Answers with the same bytes.
pub(crate) const ECHO: i32 = 1;
/// Binds the connection to the user whose number is the body.
pub(crate) const LOGIN: i32 = 2;
/// Takes the user off the connection.
pub(crate) const LOGOUT: i32 = 3;
/// Binds the user to the node that handles it.
pub(crate) const STAY: i32 = 4;
/// Undoes it.
pub(crate) const LEAVE: i32 = 5;
/// Sticky: answers with the node's id.
pub(crate) const HOME: i32 = 6;
/// Stateless: answers with the node's id.
pub(crate) const ANY: i32 = 7;
/// Needs a login: answers with the user.
pub(crate) const SECRET: i32 = 8;
/// Not for clients.
pub(crate) const INTERNAL: i32 = 9;
/// Waits at the latch, then answers with the same bytes.
pub(crate) const SLOW: i32 = 10;
/// The same, out of order.
pub(crate) const SLOW_ANY: i32 = 11;

/// What handlers share with the test.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) latch: Latch,
    pub(crate) started: Count,
}

/// The user whose number is written in a body.
pub(crate) fn user(body: &Raw) -> Result<UserId, Status> {
    let number = std::str::from_utf8(&body.0).ok().and_then(|text| text.parse().ok());
    number.map(UserId).ok_or_else(|| Status::invalid_argument("not a number"))
}

/// A body of text.
pub(crate) fn text(text: impl Into<String>) -> Raw {
    Raw(text.into().into_bytes().into())
}

async fn echo(body: Raw) -> Raw {
    body
}

/// The route of an echo.
pub(crate) fn on_echo() -> impl yumen_cluster::node::IntoRoute<World> {
    on(echo)
}

async fn login(session: Session, body: Raw) -> Result<Raw, Status> {
    session.bind(user(&body)?).await?;
    Ok(text("welcome"))
}

async fn logout(session: Session) -> Result<Raw, Status> {
    session.unbind().await?;
    Ok(text("bye"))
}

async fn stay(session: Session) -> Result<Raw, Status> {
    let before = session.bind_node().await?;
    Ok(text(before.map_or_else(|| "-".to_owned(), |id| id.to_string())))
}

async fn leave(session: Session) -> Result<Raw, Status> {
    Ok(text(session.unbind_node().await?.to_string()))
}

async fn here(clients: Clients) -> Raw {
    text(clients.node_id().to_string())
}

async fn secret(user: UserId) -> Raw {
    text(user.to_string())
}

async fn slow(State(world): State<World>, body: Raw) -> Raw {
    world.started.bump();
    world.latch.pass().await;
    body
}

/// All of the above.
pub(crate) fn routes() -> Router<World> {
    Router::new()
        .route(ECHO, on(echo))
        .route(LOGIN, on(login))
        .route(LOGOUT, on(logout))
        .route(STAY, on(stay).login())
        .route(LEAVE, on(leave).login())
        .route(HOME, on(here).sticky())
        .route(ANY, on(here))
        .route(SECRET, on(secret).login())
        .route(INTERNAL, on(echo).internal())
        .route(SLOW, on(slow))
        .route(SLOW_ANY, on(slow).concurrent())
}

async fn connected(State(world): State<World>, conn: ConnId) {
    world.log.add(format!("{conn} connect"));
}

async fn reconnected(State(world): State<World>, conn: ConnId, user: UserId) {
    world.log.add(format!("{conn} reconnect {user}"));
}

async fn disconnected(State(world): State<World>, conn: ConnId, user: Option<UserId>) {
    let user = user.map_or_else(|| "-".to_owned(), |user| user.to_string());
    world.log.add(format!("{conn} disconnect {user}"));
}

/// Events are written into the world's log.
pub(crate) fn with_events(routes: Router<World>) -> Router<World> {
    routes
        .event(Event::Connect, connected)
        .event(Event::Reconnect, reconnected)
        .event(Event::Disconnect, disconnected)
}
