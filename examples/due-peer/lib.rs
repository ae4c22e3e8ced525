//! The game of the `due-peer` example: the routes that a recorded due node serves.
//!
//! Everything is JSON and everything a peer has to answer is in it: echo, login, push, broadcast,
//! questions about clients, channels, a sticky route, multicast. Errors are texts in the answers,
//! `<nil>` where there is none, as Go prints them.

use serde::{Deserialize, Serialize};
use std::io::Write;
use yumen::{node::Audience, prelude::*};

/// Answers what it is sent.
pub const ECHO: i32 = 1;
/// Binds the user to the connection and to the node.
pub const LOGIN: i32 = 2;
/// Undoes that.
pub const LOGOUT: i32 = 3;
/// Pushes to a user.
pub const PUSH: i32 = 4;
/// Sends to every connection.
pub const BROADCAST: i32 = 5;
/// Tells what the cluster knows of the client.
pub const WHO: i32 = 6;
/// Subscribes to a channel and sends to it.
pub const CHANNEL: i32 = 7;
/// Closes the connection.
pub const LEAVE: i32 = 8;
/// Answered by the node that the user is bound to.
pub const STICKY: i32 = 9;
/// Sends to some users.
pub const MULTICAST: i32 = 10;
/// What is pushed by [`PUSH`].
pub const PUSHED: i32 = 40;
/// What is pushed by [`BROADCAST`].
pub const TO_ALL: i32 = 50;
/// What is pushed by [`CHANNEL`].
pub const TO_CHANNEL: i32 = 70;
/// What is pushed by [`MULTICAST`].
pub const TO_SOME: i32 = 100;

/// The channel that [`CHANNEL`] subscribes to.
pub const ROOM: &str = "room:1";
/// A user that nobody is.
const NOBODY: UserId = UserId(999_999);

#[derive(Deserialize)]
struct Login {
    uid: i64,
}

#[derive(Serialize)]
struct Bound {
    gate: String,
    node: String,
}

#[derive(Serialize)]
struct Done {
    err: String,
}

#[derive(Serialize)]
struct Counted {
    n: u64,
    err: String,
}

#[derive(Serialize)]
struct Sent {
    e: String,
    n: u64,
    e2: String,
}

#[derive(Serialize)]
struct Who {
    uid: i64,
    cid: i64,
    gid: String,
    ip: String,
    stat: u64,
    online: bool,
    errs: String,
}

#[derive(Serialize)]
struct Seat {
    uid: i64,
    nid: String,
}

#[derive(Serialize)]
struct Note {
    m: &'static str,
}

/// What became of something, as Go prints an error.
fn error<T>(result: &Result<T, Status>) -> String {
    match result {
        Ok(_) => "<nil>".to_owned(),
        Err(status) => status.message().to_owned(),
    }
}

async fn echo(body: Raw) -> Raw {
    body
}

async fn login(session: Session, Msg(login): Msg<Login>) -> Msg<Bound> {
    let gate = session.bind(UserId(login.uid)).await;
    let node = match gate {
        Ok(()) => session.bind_node().await.map(drop),
        Err(_) => Err(Status::unauthorized("the gate did not bind the user")),
    };
    Msg(Bound { gate: error(&gate), node: error(&node) })
}

async fn logout(session: Session) -> Msg<Bound> {
    let node = session.unbind_node().await;
    let gate = session.unbind().await;
    Msg(Bound { gate: error(&gate), node: error(&node) })
}

async fn push(clients: Clients, body: Raw) -> Result<Msg<Done>, Status> {
    let to: Login = serde_json::from_slice(&body.0)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let pushed = clients.push_acked(UserId(to.uid), PUSHED, &body).await;
    Ok(Msg(Done { err: error(&pushed) }))
}

async fn broadcast(clients: Clients) -> Msg<Counted> {
    let sent = clients.broadcast_acked(Audience::Everybody, TO_ALL, &Msg(Note { m: "all" })).await;
    Msg(Counted { err: error(&sent), n: sent.unwrap_or(0) })
}

async fn who(session: Session, clients: Clients) -> Msg<Who> {
    let address = session.address().await;
    let stat = clients.count(Audience::Everybody).await;
    let online = match session.user() {
        Some(user) => clients.is_online(user).await,
        None => Err(Status::not_found("nobody is logged in here")),
    };
    let errs = [error(&address), error(&stat), error(&online)].join(" ");
    Msg(Who {
        uid: session.user().map_or(0, |user| user.0),
        cid: session.conn().0,
        gid: session.gate().map_or_else(String::new, |gate| gate.to_string()),
        ip: address.map_or_else(|_| String::new(), |address| address.ip().to_string()),
        stat: stat.unwrap_or(0),
        online: online.unwrap_or(false),
        errs,
    })
}

async fn channel(session: Session, clients: Clients) -> Msg<Sent> {
    let subscribed = session.subscribe(ROOM).await;
    let sent = clients.publish_acked(ROOM, TO_CHANNEL, &Msg(Note { m: "chan" })).await;
    Msg(Sent { e: error(&subscribed), e2: error(&sent), n: sent.unwrap_or(0) })
}

async fn leave(session: Session) -> Result<(), Status> {
    session.close()
}

async fn sticky(user: UserId, clients: Clients) -> Msg<Seat> {
    Msg(Seat { uid: user.0, nid: clients.node_id().to_string() })
}

async fn multicast(user: Option<UserId>, clients: Clients) -> Msg<Counted> {
    let users = [user.unwrap_or(UserId(0)), NOBODY];
    let sent = clients.multicast_acked(&users, TO_SOME, &Msg(Note { m: "multi" })).await;
    Msg(Counted { err: error(&sent), n: sent.unwrap_or(0) })
}

/// Says on standard output what has happened, for whoever watches.
fn tell(event: &str, user: Option<UserId>) {
    let user = user.map_or(0, |user| user.0);
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "EVENT {event} {user}");
    let _nobody_reads = written.and_then(|()| out.flush());
}

async fn connected(user: Option<UserId>) {
    tell("connect", user);
}

async fn bound(user: Option<UserId>) {
    tell("reconnect", user);
}

async fn gone(user: Option<UserId>) {
    tell("disconnect", user);
}

/// The routes and events of the node.
pub fn routes() -> Router<()> {
    Router::new()
        .route(ECHO, on(echo))
        .route(LOGIN, on(login))
        .route(LOGOUT, on(logout))
        .route(PUSH, on(push))
        .route(BROADCAST, on(broadcast))
        .route(WHO, on(who))
        .route(CHANNEL, on(channel))
        .route(LEAVE, on(leave))
        .route(STICKY, on(sticky).sticky())
        .route(MULTICAST, on(multicast))
        .event(Event::Connect, connected)
        .event(Event::Reconnect, bound)
        .event(Event::Disconnect, gone)
}

/// The node, with what `settings` say; its name is `cluster.node.name`.
///
/// # Errors
/// Settings that cannot be used, or a port that is taken.
pub fn node(cluster: &Cluster, settings: &Settings) -> Result<Node, BuildError> {
    Node::builder(cluster, "", |_| ()).settings(settings).routes(routes()).build()
}

/// Where clients connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Net {
    /// As `network.tcp.server` says.
    #[default]
    Tcp,
    /// As `network.ws.server` says.
    Ws,
}

/// The gate, with what `settings` say. A second login takes the user off the older connection, which
/// stays open, as due does it.
///
/// # Errors
/// As [`node`].
pub fn gate(cluster: &Cluster, settings: &Settings, net: Net) -> Result<Gate, BuildError> {
    let gate = Gate::builder(cluster).settings(settings);
    let gate = match net {
        Net::Tcp => gate.listen(Tcp::default_on(":3553")),
        Net::Ws => gate.listen(Ws::default_on(":3553")),
    };
    gate.duplicate_login(DuplicateLogin::Displace).build()
}
