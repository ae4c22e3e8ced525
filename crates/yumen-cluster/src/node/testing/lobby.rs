//! A small node for the tests: a state that is not `Send`, and a handler of every kind.

use super::Bench;
use crate::node::{
    Msg, Raw, Router, Session, State, Valid,
    message::{Invalid, Validate},
    on,
};
use serde::{Deserialize, Serialize};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};
use yumen_core::{Code, Status};
use yumen_proto::{
    id::{ConnId, UserId},
    link::Event,
};

#[derive(Deserialize)]
pub(crate) struct Greet {
    pub(crate) name: String,
}

impl Validate for Greet {
    fn validate(&self) -> Result<(), Invalid> {
        match self.name.len() {
            1..=8 => Ok(()),
            _ => Err(Invalid::new("name", "must have 1 to 8 bytes")),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Greeting {
    pub(crate) text: String,
}

/// `!Send` on purpose: state belongs to one instance.
pub(crate) struct Lobby {
    pub(crate) seats: RefCell<Vec<String>>,
    pub(crate) door: Notify,
    gate: Semaphore,
    pub(crate) runs: Rc<Cell<u32>>,
}

impl Lobby {
    pub(crate) fn new() -> Self {
        let (seats, door) = (RefCell::default(), Notify::new());
        Self { seats, door, gate: Semaphore::new(1), runs: Rc::default() }
    }

    pub(crate) fn write(&self, line: impl Into<String>) {
        self.seats.borrow_mut().push(line.into());
    }
}

pub(crate) async fn greet(
    user: UserId,
    State(lobby): State<Lobby>,
    Msg(req): Msg<Greet>,
) -> Result<Msg<Greeting>, Status> {
    lobby.write(req.name.clone());
    Ok(Msg(Greeting { text: format!("hi {} ({user})", req.name) }))
}

pub(crate) async fn checked(Valid(req): Valid<Greet>) -> Msg<String> {
    Msg(req.name)
}

pub(crate) async fn echo(Raw(body): Raw) -> Raw {
    Raw(body)
}

/// Holds an `Rc` across its await: not `Send`, and need not be.
pub(crate) async fn knock(State(lobby): State<Lobby>, Raw(body): Raw) -> Raw {
    lobby.door.notified().await;
    lobby.runs.set(lobby.runs.get() + 1);
    Raw(body)
}

/// Uses a tokio resource that is free, so it never waits.
pub(crate) async fn permit(State(lobby): State<Lobby>) {
    let _free = lobby.gate.acquire().await;
}

pub(crate) async fn fall() {
    panic!("expected by this test");
}

pub(crate) async fn fall_later(State(lobby): State<Lobby>) {
    lobby.door.notified().await;
    panic!("expected by this test");
}

pub(crate) async fn refuse() -> Result<(), Status> {
    Err(Status::new(Code(2_001), "the table is full"))
}

pub(crate) async fn chatty(session: Session) -> Raw {
    session.push(50, b"before".as_slice()).unwrap();
    Raw("after".into())
}

pub(crate) async fn came(State(lobby): State<Lobby>, conn: ConnId) {
    lobby.write(format!("connect {conn}"));
}

pub(crate) async fn came_back(State(lobby): State<Lobby>, user: UserId) {
    lobby.write(format!("reconnect {user}"));
}

pub(crate) async fn left(State(lobby): State<Lobby>, session: Session) {
    lobby.write(format!("disconnect {}", session.conn()));
}

pub(crate) fn router() -> Router<Lobby> {
    let twice = async |Raw(body): Raw| Raw([&body[..], &body[..]].concat().into());
    Router::new()
        .route(1, on(greet).login())
        .route(2, on(echo))
        .route(3, on(knock))
        .route(4, on(knock).concurrent())
        .route(5, on(fall))
        .route(6, on(twice).on_workers())
        .route(7, on(permit))
        .route(8, on(checked))
        .route(9, on(refuse))
        .route(10, on(chatty))
        .route(11, on(fall_later))
        .route(12, on(knock).timeout(Duration::from_secs(5)))
        .route(13, on(echo).internal())
        .route(14, on(fall).on_workers())
        .event(Event::Connect, came)
        .event(Event::Reconnect, came_back)
        .event(Event::Disconnect, left)
}

pub(crate) fn run(test: impl AsyncFnOnce(Bench<Lobby>)) {
    Bench::run(router(), Lobby::new, |_| (), test);
}

impl Bench<Lobby> {
    pub(crate) fn lobby(&self) -> &Lobby {
        self.front.state()
    }

    pub(crate) fn seats(&self) -> Vec<String> {
        self.lobby().seats.borrow().clone()
    }
}
