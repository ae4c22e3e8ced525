//! What a node promises, over real sockets: panics, events, other nodes, other threads.

use crate::rig::{Log, Peer, Server, Threads, block_on, gate, node, until_nodes};
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    node::{
        Audience, Clients, Head, Msg, Next, Raw, Request, Response, Router, Session, State, To, on,
    },
};
use yumen_core::{Status, cluster::Event, status::Code};
use yumen_proto::id::UserId;

const LOGIN: i32 = 1;
const ECHO: i32 = 2;

async fn login(session: Session, Msg(user): Msg<i64>) -> Result<Msg<i64>, Status> {
    session.bind(UserId(user)).await?;
    session.bind_node().await?;
    Ok(Msg(user))
}

async fn echo(Raw(body): Raw) -> Raw {
    Raw(body)
}

async fn fall() {
    panic!("expected by this test");
}

fn basics<S: 'static>() -> Router<S> {
    Router::new().route(LOGIN, on(login)).route(ECHO, on(echo))
}

#[test]
fn w11_a_panic_behind_middleware_ends_one_message_and_not_the_node() {
    async fn pass(request: Request<()>, next: Next<()>) -> Response {
        next.run(request).await
    }
    async fn falls(_: Request<()>, _: Next<()>) -> Response {
        panic!("expected by this test")
    }
    let router = basics()
        .group(|g| g.layer(pass).route(3, on(fall)))
        .group(|g| g.layer(falls).route(4, on(echo)));
    let server = Server::with_routes(router);
    let mut client = server.client();
    for route in [3, 4] {
        assert_eq!(client.call(route, "").code(), Code::INTERNAL);
        assert_eq!(client.call(ECHO, "still here").text(), "still here");
    }
    server.rig.stop().unwrap();
}

#[test]
fn w36_a_panic_in_a_hook_or_an_event_handler_delays_neither_start_nor_stop() {
    let cluster = Cluster::in_process();
    let falls = async || -> () { panic!("expected by this test") };
    let node = node(&cluster, "node", basics().event(Event::Connect, falls), || ())
        .on_start(|_, _| fall())
        .on_stop(|_, _| fall())
        .build()
        .unwrap();
    let handle = node.handles()[0].clone();
    let server = Server::start(Threads::Two, gate(&cluster).build().unwrap(), node);
    until_nodes(&cluster, 1);
    assert_eq!(server.client().call(ECHO, "served").text(), "served");
    let stats = block_on(handle.stats()).unwrap();
    assert!(stats.contains(&("panics", 2)), "{stats:?}");
    server.rig.stop().unwrap();
}

#[test]
fn w42_a_client_s_events_and_messages_reach_the_node_in_order() {
    async fn came(State(log): State<Log>, session: Session) {
        tokio::task::yield_now().await;
        log.add(format!("connect {}", session.conn()));
    }
    async fn left(State(log): State<Log>, session: Session, user: Option<UserId>) {
        log.add(format!("disconnect {} {user:?}", session.conn()));
    }
    async fn note(State(log): State<Log>, Raw(body): Raw) {
        log.add(String::from_utf8_lossy(&body));
    }
    let log = Log::default();
    let router = Router::new()
        .route(LOGIN, on(login))
        .route(ECHO, on(note))
        .event(Event::Connect, came)
        .event(Event::Disconnect, left);
    let cluster = Cluster::in_process();
    let (state, gate) = (log.clone(), gate(&cluster).build().unwrap());
    let node = node(&cluster, "node", router, move || state.clone()).build().unwrap();
    let server = Server::start(Threads::One, gate, node);
    until_nodes(&cluster, 1);
    let mut client = server.client();
    (0..50).for_each(|n| client.send(ECHO, 0, n.to_string()));
    assert_eq!(client.call(LOGIN, "7").text(), "7");
    drop(client);
    let lines = log.until("the end", |lines| lines.last().is_some_and(|l| l.contains("disc")));
    let mut expected = vec!["connect 1".to_owned()];
    expected.extend((0..50).map(|n| n.to_string()));
    expected.push("disconnect 1 Some(UserId(7))".to_owned());
    assert_eq!(lines, expected);
}

#[test]
fn nodes_speak_to_each_other_and_an_internal_route_is_for_them_only() {
    const ASK: i32 = 10;
    const SECRET: i32 = 11;
    const NEWS: i32 = 12;
    /// Asks the other node; its answer comes as a message of the same route.
    async fn ask(user: UserId, clients: Clients, Raw(body): Raw) -> Result<(), Status> {
        clients.deliver(To::Node("back".into()), Some(user), SECRET, &Raw(body)).await
    }
    async fn answered(user: UserId, clients: Clients, Raw(body): Raw) -> Result<(), Status> {
        clients.push(user, NEWS, &Raw(body)).await
    }
    async fn secret(head: Head, Raw(body): Raw) -> Raw {
        assert!(head.is_from_node());
        Raw([&body[..], b"!"].concat().into())
    }
    let cluster = Cluster::in_process();
    let routes = basics().route(ASK, on(ask).login()).fallback(answered);
    let front = node(&cluster, "front", routes, || ()).build().unwrap();
    let routes = Router::new().route(SECRET, on(secret).internal());
    let back = node(&cluster, "back", routes, || ()).build().unwrap();
    let gate = gate(&cluster).build().unwrap();
    let addr = gate.addresses()[0];
    let rig = crate::rig::Rig::start(App::default().with(front).with(back).with(gate));
    until_nodes(&cluster, 2);
    let mut client = Peer::announced(addr);
    assert_eq!(client.call(SECRET, "let me in").code(), Code::ILLEGAL_REQUEST);
    assert_eq!(client.call(LOGIN, "7").text(), "7");
    client.send(ASK, 0, "hello");
    assert_eq!(client.read().text(), "hello!");
    rig.stop().unwrap();
}

#[test]
fn another_thread_reaches_clients_through_a_handle() {
    let cluster = Cluster::in_process();
    let node = node(&cluster, "node", basics::<()>(), || ()).build().unwrap();
    let handle = node.handles()[0].clone();
    let server = Server::start(Threads::Two, gate(&cluster).build().unwrap(), node);
    until_nodes(&cluster, 1);
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "7").text(), "7");
    block_on(async {
        assert_eq!(handle.count(Audience::Users).await.unwrap(), 1);
        assert!(handle.is_online(UserId(7)).await.unwrap());
        assert_eq!(handle.address(UserId(7)).await.unwrap(), client.socket.local_addr().unwrap());
        handle.push_acked(UserId(7), 20, &Msg("one")).await.unwrap();
        handle.push(UserId(7), 20, &Msg("two")).await.unwrap();
        assert_eq!(
            handle.broadcast_acked(Audience::Everybody, 20, &Msg("three")).await.unwrap(),
            1
        );
        let error = handle.push(UserId(-1), 20, &Msg("nobody")).await.unwrap_err();
        assert_eq!(error.code(), Code::NOT_FOUND, "W-44");
        handle.close(UserId(7)).await.unwrap();
    });
    let texts: Vec<_> = (0..3).map(|_| client.read().text()).collect();
    assert_eq!(texts, [r#""one""#, r#""two""#, r#""three""#]);
    server.rig.stop().unwrap();
}
