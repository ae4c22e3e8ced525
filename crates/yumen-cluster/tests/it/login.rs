//! Who a connection belongs to, and what happens when a user logs in twice (W-40).

use crate::{
    apart::Stores,
    game::{self, ECHO, HOME, LOGIN, SECRET, STAY, World},
    rig::{self, Got, Peer, Rig},
};
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    gate::{DuplicateLogin, GateBuilder, GateHandle},
    node::NodeHandle,
};
use yumen_core::status::Code;
use yumen_proto::{NoticeReason, UserId};

const NEWS: i32 = 99;

/// Where the two logins happen.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// On one gate instance.
    Here,
    /// On two instances of one gate, behind one listener.
    Instances,
    /// On two gates.
    Gates,
    /// On two gates of two processes, the node in a third.
    Processes,
}

const EVERYWHERE: [Where; 4] = [Where::Here, Where::Instances, Where::Gates, Where::Processes];

struct Setting {
    _rig: Rig,
    gates: Vec<GateHandle>,
    node: NodeHandle,
    world: World,
}

impl Setting {
    fn new(place: Where, policy: DuplicateLogin) -> Self {
        let (stores, alone) = (Stores::default(), Cluster::in_process());
        let is_apart = matches!(place, Where::Processes);
        let cluster = || if is_apart { stores.process() } else { alone.clone() };
        let world = World::default();
        let state = world.clone();
        let routes = game::with_events(game::routes());
        let node = rig::node(&cluster(), "node", routes, move || state.clone());
        let node = node.id("node").build().unwrap();
        let handle = node.handles()[0].clone();
        let build = |gate: GateBuilder| gate.duplicate_login(policy).build().unwrap();
        let gates = match place {
            Where::Here => vec![build(rig::gate(&cluster()))],
            Where::Instances => vec![build(rig::gate(&cluster()).instances(2))],
            Where::Gates | Where::Processes => {
                vec![build(rig::gate(&cluster())), build(rig::gate(&cluster()))]
            }
        };
        let handles = gates.iter().map(yumen_cluster::gate::Gate::handle).collect();
        let rig = if is_apart {
            let node = Rig::serving(App::default().with(node));
            let app = |gate| Rig::start(App::default().with(gate));
            gates.into_iter().map(app).fold(node, |others, gate| gate.beside(others))
        } else {
            Rig::start(gates.into_iter().fold(App::default().with(node), App::with))
        };
        Self { _rig: rig, gates: handles, node: handle, world }
    }

    /// Two clients, on two gates where there are two.
    fn clients(&self, place: Where) -> [Peer; 2] {
        let addr = |gate: &GateHandle| gate.addresses()[0];
        let one = Peer::announced(addr(&self.gates[0]));
        let two = Peer::announced(addr(self.gates.last().unwrap()));
        let sessions = rig::block_on(async {
            let mut all = Vec::new();
            for gate in &self.gates {
                all.extend(gate.sessions(10).await);
            }
            all
        });
        let same = sessions[0].gate == sessions[1].gate;
        assert_eq!(same, matches!(place, Where::Here), "{place:?}: {sessions:?}");
        [one, two]
    }

    fn duplicates(&self) -> u64 {
        rig::block_on(async {
            let mut sum = 0;
            for gate in &self.gates {
                sum += gate.stats().await.duplicates;
            }
            sum
        })
    }

    fn push(&self, text: &str) {
        rig::block_on(self.node.push_acked(UserId(7), NEWS, &game::text(text))).unwrap();
    }
}

#[test]
fn w40_the_older_connection_is_kicked_and_told_why() {
    for place in EVERYWHERE {
        let setting = Setting::new(place, DuplicateLogin::Kick);
        let [mut one, mut two] = setting.clients(place);
        assert_eq!(one.call(LOGIN, "7").text(), "welcome");
        setting.push("first");
        assert_eq!(one.read().text(), "first");
        assert_eq!(two.call(LOGIN, "7").text(), "welcome");
        let Got::Closing(reason, text) = one.read() else { panic!("{place:?}") };
        assert_eq!((reason, text.as_str()), (NoticeReason::Kicked, "logged in elsewhere"));
        assert_eq!(reason.number(), 3);
        assert_eq!(one.read(), Got::End);
        assert_eq!(two.call(SECRET, "").text(), "7");
        setting.push("second");
        assert_eq!(two.read().text(), "second", "{place:?}: the new connection has the user");
        let log = setting.world.log.until("the kicked one has ended", |log| {
            log.iter().any(|line| line.contains("disconnect"))
        });
        let ended: Vec<_> = log.iter().filter(|line| line.contains("disconnect")).collect();
        assert!(ended[0].ends_with("disconnect -"), "the user is still here: {ended:?}");
        assert_eq!(setting.duplicates(), 1);
        // The user survives the end of the connection that lost it.
        assert!(rig::block_on(setting.node.is_online(UserId(7))).unwrap());
        drop(two);
        let gone = |log: &[String]| log.iter().any(|line| line.ends_with("disconnect 7"));
        setting.world.log.until("the user leaves", gone);
    }
}

#[test]
fn w40_the_older_connection_is_displaced_and_stays_without_a_user() {
    for place in EVERYWHERE {
        let setting = Setting::new(place, DuplicateLogin::Displace);
        let [mut one, mut two] = setting.clients(place);
        assert_eq!(one.call(LOGIN, "7").text(), "welcome");
        assert_eq!(one.call(STAY, "").text(), "-");
        assert_eq!(one.call(HOME, "").text(), "node");
        assert_eq!(two.call(LOGIN, "7").text(), "welcome");
        // On another gate the news travels; then the old connection is nobody.
        let mut tries = 0;
        while matches!(one.call(SECRET, ""), Got::Message { .. }) {
            tries += 1;
            assert!(tries < 10_000, "{place:?}: never displaced");
        }
        assert_eq!(one.call(HOME, "").code(), Code::UNAUTHORIZED, "{place:?}");
        assert_eq!(one.call(ECHO, "open").text(), "open", "it stays, and is told nothing");
        setting.push("x");
        assert_eq!(two.read().text(), "x");
        assert_eq!(two.call(HOME, "").text(), "node", "the binding belongs to the user");
        assert_eq!(setting.duplicates(), 1);
        assert_eq!(one.call(LOGIN, "8").text(), "welcome", "it may be somebody else");
        assert_eq!(one.call(SECRET, "").text(), "8");
    }
}

#[test]
fn w40_the_newer_login_is_refused() {
    for place in EVERYWHERE {
        let setting = Setting::new(place, DuplicateLogin::Refuse);
        let [mut one, mut two] = setting.clients(place);
        assert_eq!(one.call(LOGIN, "7").text(), "welcome");
        assert_eq!(two.call(LOGIN, "7").code(), Code::ILLEGAL_INVOKE, "{place:?}");
        assert_eq!(two.call(SECRET, "").code(), Code::UNAUTHORIZED, "{place:?}");
        assert_eq!(one.call(SECRET, "").text(), "7");
        assert_eq!(one.call(LOGIN, "7").text(), "welcome", "again on the same connection");
        setting.push("x");
        assert_eq!(one.read().text(), "x");
        assert_eq!(setting.duplicates(), 1);
        drop(one);
        // Once the first has left, the user may come.
        let mut tries = 0;
        while matches!(two.call(LOGIN, "7"), Got::Status { .. }) {
            tries += 1;
            assert!(tries < 10_000, "{place:?}: never let in");
        }
        assert_eq!(two.call(SECRET, "").text(), "7");
    }
}

#[test]
fn a_connection_can_change_its_user() {
    let setting = Setting::new(Where::Here, DuplicateLogin::Kick);
    let [mut one, mut two] = setting.clients(Where::Here);
    assert_eq!(one.call(LOGIN, "1").text(), "welcome");
    assert_eq!(one.call(LOGIN, "2").text(), "welcome");
    assert_eq!(one.call(SECRET, "").text(), "2");
    let online = |user| rig::block_on(setting.node.is_online(UserId(user))).unwrap();
    while online(1) {}
    assert!(online(2));
    assert_eq!(two.call(LOGIN, "1").text(), "welcome");
    assert_eq!(one.call(SECRET, "").text(), "2", "nobody was kicked");
    assert_eq!(setting.duplicates(), 0);
}

#[test]
fn logins_of_one_user_from_many_connections_at_once_leave_exactly_one() {
    for policy in [DuplicateLogin::Kick, DuplicateLogin::Displace] {
        let setting = Setting::new(Where::Instances, policy);
        let addr = setting.gates[0].addresses()[0];
        let threads: Vec<_> = (0..16)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut client = Peer::announced(addr);
                    client.send(LOGIN, 1, "7");
                    client
                })
            })
            .collect();
        let mut clients: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        if policy == DuplicateLogin::Displace {
            // All have been decided; only the news of the last may still be on its way.
            clients.iter_mut().for_each(|client| drop(client.read()));
        }
        rig::until_stats(&setting.gates[0], "one user is left", |stats| {
            let kicked = if policy == DuplicateLogin::Kick { 15 } else { 0 };
            stats.users == 1 && stats.closed == kicked && stats.connections == 16 - kicked
        });
        setting.push("to the last");
        let sessions = rig::block_on(setting.gates[0].sessions(20));
        let owner = sessions.iter().find(|session| session.user == Some(UserId(7))).unwrap();
        let mut reached = 0;
        for client in &mut clients {
            let owns = client.socket.local_addr().unwrap() == owner.peer;
            if owns || policy == DuplicateLogin::Displace {
                client.send(ECHO, 2, "the end");
            }
            let until_end = || Some(client.read()).filter(|got| *got != Got::End);
            let text = |got: &Got| match got {
                Got::Message { body, .. } => String::from_utf8_lossy(body).into_owned(),
                other => format!("{other:?}"),
            };
            let all = std::iter::from_fn(until_end).map(|got| text(&got));
            let all: Vec<_> = all.take_while(|text| text != "the end").collect();
            let got = all.iter().any(|text| text == "to the last");
            assert_eq!(got, owns, "{policy:?}: {all:?}");
            reached += usize::from(got);
        }
        assert_eq!(reached, 1, "{policy:?}");
    }
}

#[test]
fn of_many_logins_at_once_one_is_let_in_where_later_ones_are_refused() {
    let setting = Setting::new(Where::Here, DuplicateLogin::Refuse);
    let addr = setting.gates[0].addresses()[0];
    let threads: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Peer::announced(addr);
                let got = client.call(LOGIN, "7");
                (client, got)
            })
        })
        .collect();
    let all: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (mut inside, mut refused) = (Vec::new(), Vec::new());
    for (client, got) in all {
        match got {
            Got::Message { .. } => inside.push(client),
            got => {
                assert_eq!(got.code(), Code::ILLEGAL_INVOKE);
                refused.push(client);
            }
        }
    }
    assert_eq!((inside.len(), refused.len()), (1, 15));
    setting.push("x");
    assert_eq!(inside[0].read().text(), "x");
    for client in &mut refused {
        assert_eq!(client.call(ECHO, "open").text(), "open", "a refused login closes nothing");
    }
    drop(inside);
    let began = std::time::Instant::now();
    while rig::block_on(setting.node.is_online(UserId(7))).unwrap() {
        assert!(began.elapsed() < rig::PATIENCE, "the place is left behind");
    }
}
