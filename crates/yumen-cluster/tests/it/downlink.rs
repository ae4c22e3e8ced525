//! Everything a node can do with a client: what is sent arrives, and what cannot be is answered.

use crate::{
    game::{self, ECHO, LOGIN, World, text},
    rig::{self, Got, Peer, Server, Threads},
};
use std::{sync::Arc, time::Duration};
use yumen_cluster::node::{
    Audience, Clients, Next, NodeHandle, Raw, Request, Response, Router, Session, on,
};
use yumen_core::status::{Code, Status};
use yumen_proto::{ConnState, NoticeReason, UserId};

const SUBSCRIBE: i32 = 20;
const UNSUBSCRIBE: i32 = 21;
const LAST: i32 = 22;
const BEHIND: i32 = 23;
const WHERE: i32 = 24;
/// Route of everything pushed.
const NEWS: i32 = 99;

async fn subscribe(session: Session, body: Raw) -> Result<Raw, Status> {
    session.subscribe(std::str::from_utf8(&body.0).unwrap()).await?;
    Ok(body)
}

async fn unsubscribe(session: Session, body: Raw) -> Result<Raw, Status> {
    session.unsubscribe(std::str::from_utf8(&body.0).unwrap()).await?;
    Ok(body)
}

async fn last(session: Session, body: Raw) -> Result<(), Status> {
    session.push(NEWS, &text("before"))?;
    session.push_and_close(NEWS, &body)?;
    session.push(NEWS, &text("after"))
}

async fn panics(body: Raw) -> Raw {
    assert!(body.0.is_empty(), "on purpose");
    body
}

async fn layer(request: Request<World>, next: Next<World>) -> Response {
    let before = request.body().len();
    let response = next.run(request).await;
    assert!(before != 3, "on purpose, in the middleware");
    response
}

async fn place(session: Session) -> Result<Raw, Status> {
    Ok(text(format!("{} {}", session.address().await?, session.is_online().await?)))
}

fn routes() -> Router<World> {
    game::routes()
        .route(SUBSCRIBE, on(subscribe))
        .route(UNSUBSCRIBE, on(unsubscribe))
        .route(LAST, on(last))
        .route(WHERE, on(place))
        .group(|group| group.layer(layer).route(BEHIND, on(panics)))
}

/// A gate, a node, and a handle to the node.
fn server(threads: Threads) -> (Server, NodeHandle, World) {
    let ((here, there), world) = (threads.clusters(), World::default());
    let state = world.clone();
    let routes = game::with_events(routes());
    let node = rig::node(&there, "node", routes, move || state.clone()).build().unwrap();
    let handle = node.handles()[0].clone();
    let gate = rig::gate(&here).build().unwrap();
    (Server::start(threads, gate, node), handle, world)
}

rig::everywhere! {
    w01_push_with_disconnect_closes_after_the_message,
    w11_a_panic_behind_middleware_ends_one_message,
    w38_channels_and_users_are_stores_of_their_own_and_end_with_the_connection,
    w44_negative_and_unknown_users_are_answered_and_harm_nobody,
    w44_connections_that_are_not_there_are_not_found,
    acknowledged_counts_are_how_many_connections_took_the_message,
    disconnect_lets_what_was_sent_arrive_and_kick_does_not_wait,
    a_session_knows_its_address_and_the_gate_tells_everything_about_it,
}

fn users(count: i64, server: &Server) -> Vec<Peer> {
    let login = |user: i64| {
        let mut client = server.client();
        assert_eq!(client.call(LOGIN, user.to_string()).text(), "welcome");
        client
    };
    (1..=count).map(login).collect()
}

fn w01_push_with_disconnect_closes_after_the_message(threads: Threads) {
    let (server, _node, world) = server(threads);
    let mut client = server.client();
    client.send(LAST, 1, "farewell");
    assert_eq!(client.read().text(), "before");
    assert_eq!(client.read().text(), "farewell");
    assert_eq!(client.read().closing(), NoticeReason::ByGame);
    assert_eq!(client.read(), Got::End);
    let mut due = Peer::due(server.addr);
    let long = "x".repeat(60_000);
    due.send(LAST, 1, &long);
    assert_eq!(due.read().text(), "before");
    assert_eq!(due.read().text(), long, "a message longer than one write comes whole");
    assert_eq!(due.read(), Got::End, "a due client only sees the end");
    world.log.until("both disconnects", |log| {
        log.iter().filter(|line| line.contains("disconnect")).count() == 2
    });
    let stats = server.until("both closed", |stats| stats.closed == 2);
    assert_eq!(stats.undeliverable, 2, "what is pushed after the last message is counted");
}

fn w11_a_panic_behind_middleware_ends_one_message(threads: Threads) {
    let (server, _node, _world) = server(threads);
    let mut client = server.client();
    assert_eq!(client.call(BEHIND, "").text(), "");
    assert_eq!(client.call(BEHIND, "xx").code(), Code::INTERNAL, "in the handler");
    assert_eq!(client.call(BEHIND, "xxx").code(), Code::INTERNAL);
    assert_eq!(client.call(BEHIND, "").text(), "", "the next one is served");
    assert_eq!(client.call(ECHO, "too").text(), "too");
    server.rig.stop().unwrap();
}

fn w38_channels_and_users_are_stores_of_their_own_and_end_with_the_connection(threads: Threads) {
    let (server, node, _world) = server(threads);
    let mut one = server.client();
    // Names that due keeps in the same map as attributes of the connection.
    let names = ["user", "uid", "conn", "1", "7", "", "房间:1", "a b/c"];
    for name in names {
        assert_eq!(one.call(SUBSCRIBE, name).text(), name);
    }
    assert_eq!(one.call(LOGIN, "7").text(), "welcome");
    let sessions = rig::block_on(server.gate.sessions(10));
    assert_eq!((sessions[0].channels.len(), sessions[0].user), (8, Some(UserId(7))));
    for name in names {
        let reached = rig::block_on(node.publish_acked(name, NEWS, &text(name))).unwrap();
        assert_eq!((reached, one.read().text()), (1, name.to_owned()));
    }
    assert_eq!(one.call(game::LOGOUT, "").text(), "bye");
    assert_eq!(rig::block_on(node.publish_acked("7", NEWS, &text("x"))).unwrap(), 1);
    assert_eq!(one.read().text(), "x", "a logout leaves channels alone");
    assert_eq!(one.call(UNSUBSCRIBE, "user").text(), "user");
    assert_eq!(rig::block_on(node.publish_acked("user", NEWS, &text("x"))).unwrap(), 0);
    assert_eq!(one.call(SUBSCRIBE, "1").text(), "1", "a second time");
    assert_eq!(rig::block_on(node.publish_acked("1", NEWS, &text("once"))).unwrap(), 1);
    assert_eq!(one.read().text(), "once");
    drop(one);
    server.until("the connection is gone", |stats| stats.connections == 0 && stats.closed == 1);
    let _two = server.client();
    for name in names {
        let reached = rig::block_on(node.publish_acked(name, NEWS, &text(name))).unwrap();
        assert_eq!(reached, 0, "{name}");
    }
}

fn w44_negative_and_unknown_users_are_answered_and_harm_nobody(threads: Threads) {
    let (server, node, _world) = server(threads);
    let mut clients = users(2, &server);
    for stranger in [-1, 0, i64::MIN, i64::MAX, 77].map(UserId) {
        let news = text("x");
        let code = |result: Result<(), Status>| result.unwrap_err().code();
        assert_eq!(code(rig::block_on(node.push(stranger, NEWS, &news))), Code::NOT_FOUND);
        assert_eq!(code(rig::block_on(node.push_acked(stranger, NEWS, &news))), Code::NOT_FOUND);
        assert_eq!(code(rig::block_on(node.close(stranger))), Code::NOT_FOUND);
        assert_eq!(code(rig::block_on(node.kick(stranger))), Code::NOT_FOUND);
        assert!(!rig::block_on(node.is_online(stranger)).unwrap());
        assert!(rig::block_on(node.address(stranger)).is_err());
        let list = vec![UserId(1), stranger, UserId(2)];
        let reached = rig::block_on(node.multicast_acked(list.clone(), NEWS, &news)).unwrap();
        assert_eq!(reached, 2, "{stranger}");
        rig::block_on(node.multicast(list, NEWS, &news)).unwrap();
        for client in &mut clients {
            assert_eq!((client.read().text(), client.read().text()), ("x".into(), "x".into()));
        }
    }
    for (n, wrong) in ["-1", "0", "-9223372036854775808"].iter().enumerate() {
        assert_eq!(clients[0].call(LOGIN, wrong).code(), Code::INVALID_ARGUMENT, "{n}");
    }
    assert_eq!(clients[0].call(ECHO, "fine").text(), "fine");
}

/// Commands for connections that are not there, straight to the gate.
fn w44_connections_that_are_not_there_are_not_found(threads: Threads) {
    let (server, node, _world) = server(threads);
    let mut client = server.client();
    client.call(ECHO, "");
    let gate = rig::block_on(server.gate.sessions(1))[0].gate.clone();
    let results = rig::block_on(node.run(move |clients: Clients| async move {
        let mut codes = Vec::new();
        for conn in [-1, 0, i64::MIN, i64::MAX, 2] {
            let session = clients.session(&gate, yumen_proto::ConnId(conn))?;
            session.push(NEWS, &text("nobody"))?;
            codes.push(session.address().await.map(drop).unwrap_err().code());
            codes.push(session.bind(UserId(5)).await.unwrap_err().code());
            session.close()?;
            session.kick()?;
            session.subscribe("room").await?;
        }
        Ok(codes)
    }));
    assert!(results.unwrap().iter().all(|code| *code == Code::NOT_FOUND));
    assert_eq!(rig::block_on(node.publish_acked("room", NEWS, &text("x"))).unwrap(), 0);
    assert_eq!(client.call(ECHO, "fine").text(), "fine");
    assert!(server.stats().undeliverable >= 5);
}

fn acknowledged_counts_are_how_many_connections_took_the_message(threads: Threads) {
    let (server, node, _world) = server(threads);
    let mut clients = users(5, &server);
    let mut anonymous = server.client();
    for client in &mut clients[..3] {
        client.call(SUBSCRIBE, "room");
    }
    let news = text("n");
    let all = |n: i64| (1..=n).map(UserId).collect::<Vec<_>>();
    rig::block_on(async {
        assert_eq!(node.multicast_acked(all(4), NEWS, &news).await.unwrap(), 4);
        assert_eq!(node.multicast_acked(all(9), NEWS, &news).await.unwrap(), 5);
        assert_eq!(node.multicast_acked(vec![], NEWS, &news).await.unwrap(), 0);
        assert_eq!(node.broadcast_acked(Audience::Everybody, NEWS, &news).await.unwrap(), 6);
        assert_eq!(node.broadcast_acked(Audience::Users, NEWS, &news).await.unwrap(), 5);
        assert_eq!(node.publish_acked("room", NEWS, &news).await.unwrap(), 3);
        assert_eq!(node.publish_acked("empty", NEWS, &news).await.unwrap(), 0);
        assert_eq!(node.count(Audience::Everybody).await.unwrap(), 6);
        assert_eq!(node.count(Audience::Users).await.unwrap(), 5);
        node.push_acked(UserId(5), NEWS, &text("last")).await.unwrap();
    });
    // What was acknowledged came: counted at the receivers.
    let wanted = [5, 5, 5, 4, 3];
    for (client, wanted) in clients.iter_mut().zip(wanted) {
        client.send(ECHO, 1, "end");
        let news = std::iter::from_fn(|| Some(client.read().text()).filter(|t| t != "end"));
        let news: Vec<_> = news.filter(|text| text == "n").collect();
        assert_eq!(news.len(), wanted);
    }
    assert_eq!(
        (anonymous.read().text(), anonymous.call(ECHO, "e").text()),
        ("n".into(), "e".into())
    );
}

fn disconnect_lets_what_was_sent_arrive_and_kick_does_not_wait(threads: Threads) {
    let (server, node, world) = server(threads);
    let mut clients = users(2, &server);
    let long = "x".repeat(50_000);
    rig::block_on(async {
        for _ in 0..10 {
            node.push(UserId(1), NEWS, &text(long.as_str())).await.unwrap();
        }
        node.close(UserId(1)).await.unwrap();
        assert!(node.push_acked(UserId(1), NEWS, &text("late")).await.is_err());
        node.kick(UserId(2)).await.unwrap();
    });
    for _ in 0..10 {
        assert_eq!(clients[0].read().text(), long);
    }
    assert_eq!(clients[0].read().closing(), NoticeReason::ByGame);
    assert_eq!(clients[0].read(), Got::End);
    assert!(clients[1].read_to_end().iter().all(|got| matches!(got, Got::Closing(..))));
    world.log.until("both disconnects carry their user", |log| {
        log.iter().filter(|l| l.ends_with("disconnect 1") || l.ends_with("disconnect 2")).count()
            == 2
    });
    server.until("nobody is left", |stats| stats.users == 0 && stats.connections == 0);
    let gone = rig::block_on(node.is_online(UserId(1)));
    assert!(!gone.unwrap(), "the place is released");
}

fn a_session_knows_its_address_and_the_gate_tells_everything_about_it(threads: Threads) {
    let (server, node, _world) = server(threads);
    let mut client = users(1, &server).remove(0);
    let addr = client.socket.local_addr().unwrap();
    assert_eq!(client.call(WHERE, "").text(), format!("{addr} true"));
    assert_eq!(rig::block_on(node.address(UserId(1))).unwrap(), addr);
    assert!(rig::block_on(node.is_online(UserId(1))).unwrap());
    client.call(SUBSCRIBE, "room");
    let sessions = rig::block_on(server.gate.sessions(10));
    let [info] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((info.conn.0, info.user, info.peer, info.listener), (1, Some(UserId(1)), addr, 0));
    assert_eq!(
        (info.state, info.channels.as_slice()),
        (ConnState::Active, &["room".to_owned()][..])
    );
    assert_eq!((info.in_flight, info.backlog), (0, 0));
    let logged_in = info.logged_in.unwrap();
    assert!(info.last_packet <= logged_in && logged_in <= info.connected, "{info:?}");
    assert!(info.connected < Duration::from_secs(20));
    assert!(rig::block_on(server.gate.sessions(0)).is_empty());
    let _shared: Arc<dyn Send> = Arc::new(server.gate.clone());
}
