//! A chat: logins, rooms over channels, protobuf messages without `protoc`, errors as statuses.
//!
//! Rooms live in the memory of one node instance, so nothing here is locked and nothing survives the
//! process. What is decided and what is sent happen in one step, before anything is awaited: that is why
//! everybody in a room gets the same news in the same order, and nobody else gets any.

#[cfg(test)]
#[path = "../client.rs"]
mod client;
mod hall;
mod messages;
#[cfg(test)]
mod tests;

use hall::{Hall, Line, Published};
use messages::*;
use std::{cell::RefCell, process::ExitCode};
use yumen::prelude::*;

/// The state of the one instance. Borrowed for a moment at a time, never across an `await`.
type Chat = RefCell<Hall>;

async fn login(
    State(chat): State<Chat>,
    session: Session,
    clients: Clients,
    ValidProto(login): ValidProto<Login>,
) -> Result<ProtoMsg<Welcome>, Status> {
    let user = chat.borrow_mut().arriving(&line(&session), &login.name)?;
    if let Err(status) = session.bind(user).await {
        let news = chat.borrow_mut().refused(user);
        publish(&clients, news)?;
        return Err(status);
    }
    let names = chat.borrow_mut().arrived(user, line(&session));
    let mut rooms = Vec::new();
    for name in names {
        // The room may have been dismissed while the one before was awaited.
        let Some(channel) = chat.borrow().channel(&name) else { continue };
        rooms.push(chat.borrow().view(&name)?);
        session.subscribe(&channel).await?;
    }
    Ok(ProtoMsg(Welcome { user: user.0, rooms }))
}

async fn join(
    State(chat): State<Chat>,
    session: Session,
    clients: Clients,
    ValidProto(which): ValidProto<Which>,
) -> Result<ProtoMsg<Room>, Status> {
    let (news, room) = chat.borrow_mut().join(&line(&session), &which.room)?;
    let channel = news.0.clone();
    publish(&clients, [news])?;
    // Behind the news on the same link: the newcomer gets what comes next and nothing before.
    if let Err(status) = session.subscribe(&channel).await {
        let left = chat.borrow_mut().leave(&line(&session), &which.room);
        publish(&clients, left)?;
        return Err(status);
    }
    Ok(ProtoMsg(room))
}

async fn leave(
    State(chat): State<Chat>,
    session: Session,
    clients: Clients,
    ValidProto(which): ValidProto<Which>,
) -> Result<ProtoMsg<Number>, Status> {
    let (channel, news) = chat.borrow_mut().leave(&line(&session), &which.room)?;
    let number = news.number;
    publish(&clients, [(channel.clone(), news)])?;
    session.unsubscribe(&channel).await?;
    Ok(ProtoMsg(Number { number }))
}

async fn say(
    State(chat): State<Chat>,
    session: Session,
    clients: Clients,
    ValidProto(say): ValidProto<Say>,
) -> Result<ProtoMsg<Number>, Status> {
    let news = chat.borrow_mut().say(&line(&session), &say.room, &say.text)?;
    let number = news.1.number;
    publish(&clients, [news])?;
    Ok(ProtoMsg(Number { number }))
}

async fn members(
    State(chat): State<Chat>,
    ValidProto(which): ValidProto<Which>,
) -> Result<ProtoMsg<Room>, Status> {
    Ok(ProtoMsg(chat.borrow().view(&which.room)?))
}

async fn dismiss(
    State(chat): State<Chat>,
    session: Session,
    clients: Clients,
    ValidProto(which): ValidProto<Which>,
) -> Result<ProtoMsg<Number>, Status> {
    let (news, members) = chat.borrow_mut().dismiss(&line(&session), &which.room)?;
    let (channel, number) = (news.0.clone(), news.1.number);
    publish(&clients, [news])?;
    clients.unsubscribe(&members, &channel).await?;
    Ok(ProtoMsg(Number { number }))
}

/// A connection has ended; the gate has forgotten its channels by itself.
async fn gone(State(chat): State<Chat>, session: Session, clients: Clients) -> Result<(), Status> {
    let news = chat.borrow_mut().gone(&line(&session));
    publish(&clients, news)
}

fn line(session: &Session) -> Line {
    (session.gate(), session.conn())
}

fn publish(clients: &Clients, news: impl IntoIterator<Item = Published>) -> Result<(), Status> {
    news.into_iter()
        .try_for_each(|(channel, news)| clients.publish(&channel, NEWS, &ProtoMsg(news)))
}

fn server(settings: &Settings) -> Result<(Gate, Node), BuildError> {
    let cluster = Cluster::in_process();
    let routes = Router::new()
        .route(LOGIN, on(login))
        .route(JOIN, on(join).login())
        .route(LEAVE, on(leave).login())
        .route(SAY, on(say).login())
        .route(MEMBERS, on(members).login())
        .route(DISMISS, on(dismiss).login())
        .event(Event::Disconnect, gone);
    let node = Node::builder(&cluster, "chat", |_| Chat::default())
        .settings(settings)
        // Whatever the settings say: a second instance would have rooms of its own.
        .instances(1)
        .routes(routes);
    let gate = Gate::builder(&cluster)
        .settings(settings)
        .listen(Tcp::default_on("127.0.0.1:3553"))
        .listen(Ws::default_on("127.0.0.1:3653"))
        // What the tests and the client expect of a second login.
        .duplicate_login(DuplicateLogin::Kick);
    Ok((gate.build()?, node.build()?))
}

fn main() -> ExitCode {
    App::main(|settings| {
        let (gate, node) = server(settings)?;
        Ok(App::default().pairs(gate, node))
    })
}
