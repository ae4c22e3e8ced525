//! What is in order: everything one node sends to one client, and the events of one connection.

use crate::{
    game::{self, ECHO, LOGIN, SLOW, World, text},
    rig::{self, Got, Peer, Server, Threads},
};
use yumen_cluster::node::{Audience, Clients, Raw, Router, Session, on};
use yumen_core::status::Status;
use yumen_proto::ConnId;

const SCRIPT: i32 = 30;
const NEWS: i32 = 99;
const ROOM: &str = "room";

/// Every way to send something to a client; a reply can only be the last of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Reply,
    ToConn,
    ToUser,
    Multicast,
    Broadcast,
    Publish,
    ToUserAcked,
    MulticastAcked,
    BroadcastAcked,
    PublishAcked,
}

const WAYS: [Way; 10] = [
    Way::Reply,
    Way::ToConn,
    Way::ToUser,
    Way::Multicast,
    Way::Broadcast,
    Way::Publish,
    Way::ToUserAcked,
    Way::MulticastAcked,
    Way::BroadcastAcked,
    Way::PublishAcked,
];

async fn send(way: Way, session: &Session, clients: &Clients, body: &Raw) -> Result<(), Status> {
    let users = [session.user().unwrap()];
    match way {
        Way::Reply => {}
        Way::ToConn => session.push(NEWS, body)?,
        Way::ToUser => clients.push(users[0], NEWS, body).await?,
        Way::Multicast => clients.multicast(&users, NEWS, body).await?,
        Way::Broadcast => clients.broadcast(Audience::Everybody, NEWS, body)?,
        Way::Publish => clients.publish(ROOM, NEWS, body)?,
        Way::ToUserAcked => clients.push_acked(users[0], NEWS, body).await?,
        Way::MulticastAcked => {
            assert_eq!(clients.multicast_acked(&users, NEWS, body).await?, 1);
        }
        Way::BroadcastAcked => {
            assert_eq!(clients.broadcast_acked(Audience::Users, NEWS, body).await?, 1);
        }
        Way::PublishAcked => assert_eq!(clients.publish_acked(ROOM, NEWS, body).await?, 1),
    }
    Ok(())
}

/// A body is the number of its first message, then a letter per way.
async fn script(session: Session, clients: Clients, Raw(body): Raw) -> Result<Option<Raw>, Status> {
    let line = std::str::from_utf8(&body).unwrap();
    let (first, ways) = line.split_once(' ').unwrap();
    let first: u64 = first.parse().unwrap();
    for (number, letter) in (first..).zip(ways.bytes()) {
        let way = WAYS[usize::from(letter - b'a')];
        let body = text(number.to_string());
        if way == Way::Reply {
            return Ok(Some(body));
        }
        send(way, &session, &clients, &body).await?;
    }
    Ok(None)
}

async fn run_script(session: Session, clients: Clients, body: Raw) -> Result<(), Status> {
    // A reply is sent as one: on the same connection, as the last thing.
    match script(session.clone(), clients, body).await? {
        Some(reply) => session.push(SCRIPT, &reply),
        None => Ok(()),
    }
}

async fn script_with_reply(session: Session, clients: Clients, body: Raw) -> Result<Raw, Status> {
    Ok(script(session, clients, body).await?.unwrap())
}

/// Each pair of ways, next to each other in both orders, several times over.
fn stream(rounds: usize) -> Vec<Way> {
    let mut ways = Vec::new();
    for _ in 0..rounds {
        for first in WAYS {
            for second in WAYS {
                ways.extend([first, second]);
            }
        }
    }
    ways
}

/// Cuts the stream into requests, each of which ends with its reply or after eight messages.
fn requests(ways: &[Way]) -> Vec<(i32, String, usize)> {
    let (mut all, mut line, mut count, mut number) = (Vec::new(), String::from("0 "), 0, 0);
    for way in ways {
        let letter = WAYS.iter().position(|known| known == way).unwrap() as u8;
        line.push(char::from(b'a' + letter));
        count += 1;
        number += 1;
        if *way == Way::Reply || count == 8 {
            let route = if *way == Way::Reply { SCRIPT } else { SCRIPT + 1 };
            all.push((route, std::mem::replace(&mut line, format!("{number} ")), count));
            count = 0;
        }
    }
    if count > 0 {
        all.push((SCRIPT + 1, line, count));
    }
    all
}

async fn subscribe(session: Session) -> Result<Raw, Status> {
    session.subscribe(ROOM).await?;
    Ok(text("in"))
}

fn numbered(threads: Threads) {
    let (here, there) = threads.clusters();
    let routes = game::routes()
        .route(SCRIPT, on(script_with_reply))
        .route(SCRIPT + 1, on(run_script))
        .route(SCRIPT + 2, on(subscribe));
    let node = rig::node(&there, "node", routes, World::default).build().unwrap();
    let server = Server::start(threads, rig::gate(&here).build().unwrap(), node);
    let mut client = server.client();
    assert_eq!(client.call(LOGIN, "1").text(), "welcome");
    assert_eq!(client.call(SCRIPT + 2, "").text(), "in");
    let (mut expected, mut ahead) = (0u64, 0);
    let mut read = |client: &mut Peer| {
        let got = client.read();
        assert_eq!(got.text(), expected.to_string(), "{threads:?}: {got:?}");
        expected += 1;
    };
    for (route, line, count) in requests(&stream(30)) {
        client.send(route, 1, line);
        ahead += count;
        while ahead > 300 {
            read(&mut client);
            ahead -= 1;
        }
    }
    (0..ahead).for_each(|_| read(&mut client));
    server.rig.stop().unwrap();
}

#[test]
fn w46_a_numbered_stream_through_every_pair_of_ways_keeps_its_order_on_one_thread() {
    numbered(Threads::One);
}

#[test]
fn w46_a_numbered_stream_through_every_pair_of_ways_keeps_its_order_on_two_threads() {
    numbered(Threads::Two);
}

#[test]
fn w46_a_numbered_stream_through_every_pair_of_ways_keeps_its_order_over_processes() {
    numbered(Threads::Apart);
}

const NOTE: i32 = 40;
const NOTE_SLOWLY: i32 = 41;

async fn note(
    conn: ConnId,
    yumen_cluster::node::State(world): yumen_cluster::node::State<World>,
    Raw(body): Raw,
) {
    world.log.add(format!("{conn} {}", String::from_utf8_lossy(&body)));
}

async fn note_slowly(
    conn: ConnId,
    yumen_cluster::node::State(world): yumen_cluster::node::State<World>,
    Raw(body): Raw,
) {
    world.log.add(format!("{conn} begin"));
    world.latch.pass().await;
    world.log.add(format!("{conn} {}", String::from_utf8_lossy(&body)));
}

fn noting(threads: Threads) -> (Server, World) {
    let ((here, there), world) = (threads.clusters(), World::default());
    let state = world.clone();
    let routes: Router<World> =
        game::routes().route(NOTE, on(note)).route(NOTE_SLOWLY, on(note_slowly));
    let routes = game::with_events(routes);
    let node = rig::node(&there, "node", routes, move || state.clone()).build().unwrap();
    (Server::start(threads, rig::gate(&here).build().unwrap(), node), world)
}

fn of_conn(log: &[String], conn: i64) -> Vec<String> {
    let head = format!("{conn} ");
    log.iter().filter_map(|line| line.strip_prefix(&head)).map(str::to_owned).collect()
}

#[test]
fn w42_events_come_in_order_with_the_messages_of_their_connection() {
    for threads in Threads::ALL {
        let (server, world) = noting(threads);
        let rounds = 50;
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let addr = server.addr;
                std::thread::spawn(move || {
                    for round in 0..rounds {
                        let mut client = Peer::due(addr);
                        let user = worker * rounds + round + 1;
                        // Everything in one write: nothing here waits for anything.
                        let mut all = Vec::new();
                        for n in 0..5 {
                            all.extend(Peer::packet(NOTE, 0, format!("before {n}").as_bytes()));
                        }
                        all.extend(Peer::packet(LOGIN, 1, user.to_string().as_bytes()));
                        for n in 0..5 {
                            all.extend(Peer::packet(NOTE, 0, format!("after {n}").as_bytes()));
                        }
                        client.write(&all);
                        assert_eq!(client.read().text(), "welcome");
                        // Every other one leaves while messages are held behind its login.
                        if round % 2 == 0 {
                            assert_eq!(client.call(ECHO, "all done").text(), "all done");
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        let count = 4 * rounds as usize;
        let ended =
            |log: &[String]| log.iter().filter(|line| line.contains("disconnect")).count() == count;
        let log = world.log.until("every disconnect", ended);
        for conn in 1..=count as i64 {
            let lines = of_conn(&log, conn);
            // The gate binds while it forwards, so where the reconnect falls is up to it; but not
            // before the login was sent, and not twice.
            let at = lines.iter().position(|line| line.starts_with("reconnect")).unwrap();
            let user = lines[at].rsplit(' ').next().unwrap().to_owned();
            assert!(at >= 6, "{threads:?}: {lines:#?}");
            let mut rest = lines.clone();
            rest.remove(at);
            assert_eq!(
                rest.pop().unwrap(),
                format!("disconnect {user}"),
                "{threads:?}: {lines:#?}"
            );
            let mut wanted = vec!["connect".to_owned()];
            wanted.extend((0..5).map(|n| format!("before {n}")));
            wanted.extend((0..5).map(|n| format!("after {n}")));
            // What was held is dropped from its end; nothing overtakes anything.
            assert_eq!(rest, wanted[..rest.len()], "{threads:?}: {lines:#?}");
            let waited = user.parse::<i64>().unwrap() % 2 == 1;
            assert!(!waited || rest.len() == wanted.len(), "{threads:?}: {lines:#?}");
        }
        server.rig.stop().unwrap();
    }
}

#[test]
fn w42_events_stay_in_order_while_a_handler_waits() {
    for threads in Threads::ALL {
        let (server, world) = noting(threads);
        let mut client = server.client();
        client.send(NOTE_SLOWLY, 0, "slow");
        client.send(NOTE, 0, "held");
        world.log.until("the handler waits", |log| log.iter().any(|line| line == "1 begin"));
        // Another connection is not held back.
        let mut other = server.client();
        other.send(NOTE, 0, "free");
        world.log.until("others flow", |log| log.iter().any(|line| line == "2 free"));
        assert_eq!(of_conn(&world.log.lines(), 1), ["connect", "begin"]);
        world.latch.open(1);
        world.log.until("both", |log| log.iter().any(|line| line == "1 held"));
        // And now the connection ends while the handler waits and a message is held.
        client.send(NOTE_SLOWLY, 0, "runs on");
        client.send(NOTE, 0, "dropped");
        let began = |log: &[String]| log.iter().filter(|line| *line == "1 begin").count() == 2;
        world.log.until("the handler waits", began);
        drop(client);
        server.until("the gate has seen the end", |stats| stats.closed == 1);
        // A message of another connection is handled after the event has arrived at the node.
        assert_eq!(other.call(ECHO, "x").text(), "x");
        world.latch.open(1);
        let ended = |log: &[String]| log.iter().any(|line| line == "1 disconnect -");
        let log = world.log.until("the end", ended);
        let wanted = ["connect", "begin", "slow", "held", "begin", "runs on", "disconnect -"];
        assert_eq!(of_conn(&log, 1), wanted, "{threads:?}");
        server.rig.stop().unwrap();
    }
}

#[test]
fn messages_of_a_connection_wait_behind_a_slow_one_and_answers_keep_their_order() {
    let (server, world) = noting(Threads::Two);
    let mut client = server.client();
    for n in 0..20 {
        client.send(if n % 5 == 0 { SLOW } else { ECHO }, n + 1, n.to_string());
    }
    world.latch.open(4);
    for n in 0..20 {
        let Got::Message { seq, .. } = client.read() else { panic!() };
        assert_eq!(seq, n + 1);
    }
}
