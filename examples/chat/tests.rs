//! The chat end to end over real sockets: who gets which news, in which order, and nobody else.

use crate::{
    client::{Server, connect, connect_ws, free_ports, over_tcp, over_ws, packet},
    messages::*,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};
use yumen::{
    client::{self, Event, Push},
    codec::Protobuf,
    prelude::{Code, Status},
    proto::extension::NoticeReason,
};

type Client = client::Client<Protobuf>;
type Clients = client::Clients<Protobuf>;

/// Longest wait for anything that should come. Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `test` beside a chat of its own; the second and third arguments are its tcp and ws address.
fn chat<T>(test: impl AsyncFnOnce(Clients, String, String) -> T) -> T {
    let server = Server::start(crate::server(&free_ports()).unwrap());
    let (tcp, ws) = (format!("tcp://{}", server.tcp), format!("ws://{}/", server.ws));
    let patient = client::Clients::builder().call_max(PATIENCE).codec(Protobuf);
    let result = patient.run(async |clients| timeout(PATIENCE, test(clients, tcp, ws)).await);
    server.stop();
    result.unwrap().expect("news that should have come did not")
}

async fn enter(clients: &Clients, address: &str, name: &str) -> Client {
    let client = clients.connect(address).await.unwrap();
    let login = Login { name: name.to_owned() };
    let _: Welcome = client.call(LOGIN, &login).await.unwrap();
    client
}

fn which(room: &str) -> Which {
    Which { room: room.to_owned() }
}

async fn join(client: &Client, room: &str) -> Result<Room, Status> {
    client.call(JOIN, &which(room)).await
}

async fn say(client: &Client, room: &str, text: &str) -> Result<Number, Status> {
    client.call(SAY, &Say { room: room.to_owned(), text: text.to_owned() }).await
}

async fn number(client: &Client, route: i32, room: &str) -> Result<Number, Status> {
    client.call(route, &which(room)).await
}

fn decode(client: &Client, push: &Push) -> News {
    assert_eq!(push.route.0, NEWS);
    client.decode(push).unwrap()
}

async fn next(client: &Client) -> (What, String, String) {
    let news = decode(client, &client.next_push().await.unwrap());
    (news.what(), news.who, news.text)
}

/// All that has arrived. Complete behind the answer to a call, since one lane orders everything.
fn arrived(client: &Client) -> Vec<News> {
    assert_eq!(client.pushes_dropped(), 0);
    let events = std::iter::from_fn(|| client.try_event());
    events
        .map(|event| match event {
            Event::Push(push) => decode(client, &push),
            other @ (Event::Reconnected | _) => panic!("{other:?}"),
        })
        .collect()
}

/// The outcome of one talker: what was to arrive, by room, and what did.
struct Heard {
    /// Room → first and last number of the news that this one must have.
    due: BTreeMap<String, (u64, u64)>,
    news: Vec<News>,
}

const TALKERS: usize = 50;
const ROOMS: usize = 5;
const LINES: usize = 10;

/// Every talker is in one room; every third one in the next room as well.
fn rooms_of(talker: usize) -> Vec<String> {
    let count = if talker.is_multiple_of(3) { 2 } else { 1 };
    (talker..).take(count).map(|room| format!("room-{}", room % ROOMS)).collect()
}

/// One in ten leaves its rooms half-way.
fn leaves(talker: usize) -> bool {
    talker % 10 == 7
}

async fn talk(client: &Client, talker: usize, due: &mut BTreeMap<String, (u64, u64)>) {
    for line in 0..LINES {
        for room in rooms_of(talker) {
            if leaves(talker) && line == LINES / 2 {
                let left = number(client, LEAVE, &room).await.unwrap();
                due.get_mut(&room).unwrap().1 = left.number;
            }
            let said = say(client, &room, &format!("{talker}: {line}")).await;
            match leaves(talker) && line >= LINES / 2 {
                false => assert!(said.unwrap().number >= due[&room].0),
                true => assert_eq!(said.unwrap_err().code(), NOT_A_MEMBER),
            }
        }
    }
}

async fn all<T: 'static>(of: impl Iterator<Item = impl Future<Output = T> + 'static>) -> Vec<T> {
    let mut set = JoinSet::new();
    of.for_each(|one| drop(set.spawn_local(one)));
    set.join_all().await
}

#[test]
fn fifty_clients_get_exactly_the_news_of_their_rooms_in_one_order_each() {
    let heard = chat(async |clients, tcp, ws| {
        let entering = (0..TALKERS).map(|talker| {
            let (clients, address) =
                (clients.clone(), if talker.is_multiple_of(2) { tcp.clone() } else { ws.clone() });
            async move {
                let client = enter(&clients, &address, &format!("talker {talker}")).await;
                let mut due = BTreeMap::new();
                for room in rooms_of(talker) {
                    let joined = join(&client, &room).await.unwrap();
                    due.insert(room, (joined.number + 1, u64::MAX));
                }
                (talker, client, due)
            }
        });
        let talking = all(entering).await.into_iter().map(|(talker, client, mut due)| async move {
            talk(&client, talker, &mut due).await;
            (client, due)
        });
        let listening = all(talking).await.into_iter().map(|(client, mut due)| async move {
            for (room, (_, last)) in due.iter_mut().filter(|(_, due)| due.1 == u64::MAX) {
                *last = client.call::<_, Room>(MEMBERS, &which(room)).await.unwrap().number;
            }
            let news = arrived(&client);
            (client, Heard { due, news })
        });
        // Kept until all have listened: who goes is news for the others.
        let kept = all(listening).await;
        kept.into_iter().map(|(_, heard)| heard).collect::<Vec<_>>()
    });
    assert_eq!(heard.len(), TALKERS);
    let mut everything: BTreeMap<(String, u64), News> = BTreeMap::new();
    for Heard { due, news } in heard {
        let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for news in news {
            numbers.entry(news.room.clone()).or_default().push(news.number);
            let key = (news.room.clone(), news.number);
            let first = everything.entry(key).or_insert_with(|| news.clone());
            assert_eq!(*first, news, "the same number is the same news for everybody");
        }
        let due = due.into_iter().map(|(room, (first, last))| (room, (first..=last).collect()));
        // A room without news has no entry: who left alone, or came last, heard nothing.
        let due: BTreeMap<String, Vec<u64>> =
            due.filter(|(_, d): &(_, Vec<_>)| !d.is_empty()).collect();
        assert_eq!(numbers, due, "all of the own rooms, in order, and none of others");
    }
    said_in_order(everything.into_values());
}

/// Each talker's lines are in the rooms' news as often and in the order in which they were said.
fn said_in_order(everything: impl Iterator<Item = News>) {
    let mut said: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for news in everything.filter(|news| news.what() == What::Said) {
        said.entry((news.room, news.who)).or_default().push(news.text);
    }
    let mut expected = BTreeMap::new();
    for talker in 0..TALKERS {
        let count = if leaves(talker) { LINES / 2 } else { LINES };
        let lines: Vec<_> = (0..count).map(|line| format!("{talker}: {line}")).collect();
        for room in rooms_of(talker) {
            expected.insert((room, format!("talker {talker}")), lines.clone());
        }
    }
    assert_eq!(said, expected);
}

#[test]
fn a_second_login_takes_the_rooms_over_and_the_first_is_told_why_it_ends() {
    chat(async |clients, tcp, ws| {
        let (ada, bob) = (enter(&clients, &tcp, "Ada").await, enter(&clients, &tcp, "Bob").await);
        join(&ada, "lobby").await.unwrap();
        join(&bob, "lobby").await.unwrap();
        let again = clients.connect(&ws).await.unwrap();
        let welcome: Welcome = again.call(LOGIN, &Login { name: "Ada".into() }).await.unwrap();
        assert_eq!(welcome.user, 1);
        assert_eq!(welcome.rooms.len(), 1);
        assert_eq!(welcome.rooms[0].members, ["Ada", "Bob"]);
        let notice = ada.closed().await.notice.unwrap();
        assert_eq!(notice.reason, NoticeReason::Kicked);
        say(&bob, "lobby", "still here?").await.unwrap();
        let heard = (What::Said, "Bob".to_owned(), "still here?".to_owned());
        assert_eq!(next(&again).await, heard);
        say(&again, "lobby", "yes").await.unwrap();
        // Nobody has left and nobody has joined in between.
        assert_eq!(next(&bob).await, heard);
        assert_eq!(next(&bob).await.2, "yes");
    });
}

#[test]
fn who_disconnects_leaves_every_room_and_may_come_back_as_somebody_new() {
    chat(async |clients, tcp, ws| {
        let (ada, bob) = (enter(&clients, &tcp, "Ada").await, enter(&clients, &ws, "Bob").await);
        for room in ["lobby", "attic"] {
            join(&bob, room).await.unwrap();
            join(&ada, room).await.unwrap();
        }
        ada.close();
        ada.closed().await;
        let mut left = BTreeSet::new();
        while left.len() < 2 {
            let news = decode(&bob, &bob.next_push().await.unwrap());
            if news.what() == What::Left {
                left.insert(news.room);
            }
        }
        let lobby: Room = bob.call(MEMBERS, &which("lobby")).await.unwrap();
        assert_eq!(lobby.members, ["Bob"]);
        let again = clients.connect(&tcp).await.unwrap();
        let welcome: Welcome = again.call(LOGIN, &Login { name: "Ada".into() }).await.unwrap();
        assert_eq!((welcome.user, welcome.rooms), (3, vec![]));
    });
}

#[test]
fn only_who_made_a_room_can_dismiss_it_and_nobody_hears_of_the_next_one() {
    chat(async |clients, tcp, _| {
        let (ada, bob) = (enter(&clients, &tcp, "Ada").await, enter(&clients, &tcp, "Bob").await);
        join(&ada, "lobby").await.unwrap();
        join(&bob, "lobby").await.unwrap();
        let refused = number(&bob, DISMISS, "lobby").await.unwrap_err();
        assert_eq!(refused.code(), Code::ILLEGAL_REQUEST);
        number(&ada, DISMISS, "lobby").await.unwrap();
        assert_eq!(next(&bob).await.0, What::Dismissed);
        assert_eq!(say(&bob, "lobby", "hm").await.unwrap_err().code(), NOT_A_MEMBER);
        // The same name is a new room, of which Bob is no member.
        assert_eq!(join(&ada, "lobby").await.unwrap().number, 1);
        say(&ada, "lobby", "alone").await.unwrap();
        let lobby: Room = bob.call(MEMBERS, &which("lobby")).await.unwrap();
        assert_eq!(lobby.members, ["Ada"]);
        assert_eq!(arrived(&bob), []);
    });
}

#[test]
fn refusals_come_as_statuses_with_a_code_and_a_reason() {
    let told = |status: Status| (status.code(), status.message().to_owned());
    chat(async |clients, tcp, _| {
        let nobody = clients.connect(&tcp).await.unwrap();
        assert_eq!(join(&nobody, "lobby").await.unwrap_err().code(), Code::UNAUTHORIZED);
        let empty = nobody.call::<_, Welcome>(LOGIN, &Login::default()).await.unwrap_err();
        assert_eq!(told(empty), (Code::INVALID_ARGUMENT, "name: must not be empty".into()));
        let ada = enter(&clients, &tcp, "Ada").await;
        let bob = ada.call::<_, Welcome>(LOGIN, &Login { name: "Bob".into() }).await.unwrap_err();
        let why = "this connection is Ada's; open another one";
        assert_eq!(told(bob), (Code::ILLEGAL_INVOKE, why.into()));
        let nowhere = say(&ada, "attic", "hello").await.unwrap_err();
        assert_eq!(told(nowhere), (NOT_A_MEMBER, "you are not in attic".into()));
        let unknown = number(&ada, DISMISS, "attic").await.unwrap_err();
        assert_eq!(told(unknown), (Code::NOT_FOUND, "there is no room attic".into()));
        let long = say(&ada, "attic", &"x".repeat(1001)).await.unwrap_err();
        assert_eq!(told(long), (Code::INVALID_ARGUMENT, "text: is longer than 1000 bytes".into()));
        join(&ada, "attic").await.unwrap();
        let twice = join(&ada, "attic").await.unwrap_err();
        assert_eq!(told(twice), (Code::ILLEGAL_INVOKE, "you are in attic already".into()));
    });
}

#[test]
fn the_hundred_and_first_member_and_the_twenty_first_room_are_refused() {
    let mut hall = crate::hall::Hall::default();
    let line = |number| (None, yumen::proto::id::ConnId(number));
    for number in 1..=101 {
        let user = hall.arriving(&line(number), &format!("talker {number}")).unwrap();
        hall.arrived(user, line(number));
        let joined = hall.join(&line(number), "lobby").map(drop).map_err(|status| status.code());
        assert_eq!(joined, if number <= 100 { Ok(()) } else { Err(ROOM_FULL) });
    }
    for room in 2..=21 {
        let joined = hall.join(&line(1), &format!("room {room}")).map_err(|status| status.code());
        assert_eq!(joined.err(), (room > 20).then_some(Code::TOO_MANY_REQUESTS));
    }
    assert!(hall.view("room 21").is_err(), "no room is made for who may not enter it");
}

#[test]
fn the_wire_is_protobuf_as_any_other_client_writes_it() {
    let server = Server::start(crate::server(&free_ports()).unwrap());
    let mut socket = connect(server.tcp);
    // Login { name = 1: "Ada" }; Welcome { user = 1: 1 }.
    over_tcp(
        &mut socket,
        &packet((2, 2), LOGIN, 7, "\n\x03Ada"),
        &[packet((2, 2), LOGIN, 7, "\x08\x01")],
    );
    // Room { room = 1: "x", number = 2: 1, members = 3: ["Ada"] }.
    let room = packet((2, 2), JOIN, 8, "\n\x01x\x10\x01\x1a\x03Ada");
    over_tcp(&mut socket, &packet((2, 2), JOIN, 8, "\n\x01x"), &[room]);
    // News { room = 1: "x", number = 2: 2, who = 4: "Ada", text = 5: "hi" }, Number { number = 1: 2 }.
    let news = packet((2, 2), NEWS, 0, "\n\x01x\x10\x02\"\x03Ada*\x02hi");
    let said = packet((2, 2), SAY, 9, "\x08\x02");
    over_tcp(&mut socket, &packet((2, 2), SAY, 9, "\n\x01x\x12\x02hi"), &[news, said]);
    // Over WebSocket the same packets are one binary message each.
    let mut web = connect_ws(server.ws, "/").unwrap().0;
    let bob = packet((2, 2), LOGIN, 1, "\n\x03Bob");
    over_ws(&mut web, &bob, &[packet((2, 2), LOGIN, 1, "\x08\x02")]);
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0);
    server.stop();
}

/// `(message, field, tag, repeated)` of every field and enum value, from the `.proto` file.
fn declared() -> BTreeSet<(String, String, String, bool)> {
    let mut found = BTreeSet::new();
    let mut inside = String::new();
    for line in include_str!("chat.proto").lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("message ").or_else(|| line.strip_prefix("enum ")) {
            inside = name.trim_end_matches(" {").to_owned();
        } else if let Some((left, tag)) = line.trim_end_matches(';').split_once(" = ")
            && !inside.is_empty()
        {
            let repeated = left.starts_with("repeated ");
            let name = left.rsplit(' ').next().unwrap().to_owned();
            found.insert((inside.clone(), name, tag.to_owned(), repeated));
        }
    }
    found
}

/// The same, from the Rust file.
fn derived() -> BTreeSet<(String, String, String, bool)> {
    let mut found = BTreeSet::new();
    let (mut inside, mut attribute) = (String::new(), String::new());
    for line in include_str!("messages.rs").lines().map(str::trim) {
        let item = line.strip_prefix("pub(crate) ").unwrap_or(line);
        if let Some(name) = item.strip_prefix("struct ").or_else(|| item.strip_prefix("enum ")) {
            inside = name.trim_end_matches(" {").to_owned();
        } else if line.starts_with("#[prost(") {
            attribute = line.to_owned();
        } else if let (Some((name, _)), false) = (item.split_once(": "), attribute.is_empty()) {
            let (_, tag) = attribute.rsplit_once("tag = \"").unwrap();
            let tag = tag.trim_end_matches("\")]").to_owned();
            let repeated = attribute.contains("repeated");
            found.insert((inside.clone(), name.to_owned(), tag, repeated));
            attribute.clear();
        } else if let (Some((name, tag)), "What") = (item.split_once(" = "), inside.as_str()) {
            let tag = tag.trim_end_matches(',').to_owned();
            found.insert((inside.clone(), name.to_owned(), tag, false));
        } else if line == "}" {
            inside.clear();
        }
    }
    found
}

#[test]
fn the_proto_file_says_what_the_rust_messages_say() {
    assert_eq!(declared(), derived());
    assert_eq!(declared().len(), 19);
}
