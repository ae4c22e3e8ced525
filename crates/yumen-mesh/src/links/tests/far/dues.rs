//! Links to due's instances: what they see of us, byte by byte, and what they are spared.

#[path = "dues/inbound.rs"]
mod inbound;

use super::{lines::Lines, *};
use yumen_net::testing::Peer as Raw;
use yumen_proto::{
    id::UserId,
    link::{Event, Flow, Targets},
};

/// What a due process hears on one connection.
#[derive(Default)]
struct Heard {
    conn: usize,
    seq: u64,
    /// Route and the number that says whom it concerns.
    what: (u8, i64),
}

/// A due process that listens, writes down what it hears, and answers as it is told.
struct Process {
    env: Env,
    conns: Cell<usize>,
    beats: RefCell<BTreeMap<usize, u32>>,
    heard: RefCell<Vec<Heard>>,
    answers: Cell<bool>,
    /// Says nothing to a handshake.
    rude: Cell<bool>,
}

impl Process {
    async fn listen(world: &World, id: &str) -> Rc<Self> {
        let env = world.sim.env();
        let mut listener = env.net.listen(&format!("{id}:1")).await.unwrap();
        let this = Rc::new(Self {
            env: env.clone(),
            conns: Cell::new(0),
            beats: RefCell::default(),
            heard: RefCell::default(),
            answers: Cell::new(true),
            rude: Cell::new(false),
        });
        let process = Rc::clone(&this);
        env.spawn.local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let this = Rc::clone(&process);
                let conn = process.conns.replace(process.conns.get() + 1);
                process.env.spawn.local(async move { this.serve(conn, Raw::new(socket)).await });
            }
        });
        world.records.borrow_mut().insert(id.into(), due_record(id, Kind::Node));
        world.publish();
        this
    }

    async fn serve(&self, conn: usize, mut raw: Raw) {
        loop {
            let mut answers = Vec::new();
            let mut rest = raw.seen.as_slice();
            while let Some(frame) = Frame::decode_as(Flow::Requests, &mut rest, 1 << 20).unwrap() {
                self.hear(conn, &frame, &mut answers);
            }
            raw.seen = rest.to_vec();
            if raw.send(&answers).await.is_err() || !raw.more().await {
                return;
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are just done")]
    fn hear(&self, conn: usize, frame: &Frame<'_>, answers: &mut Vec<u8>) {
        let Frame::Request { seq, command } = *frame else {
            *self.beats.borrow_mut().entry(conn).or_default() += 1;
            return;
        };
        let reply = match command {
            Command::Handshake { kind: Kind::Node, id: "a" } if seq == 1 => Reply::Done,
            Command::IsOnline { .. } => Reply::Online(true),
            Command::GetState => Reply::State(State::Busy),
            _ => Reply::Done,
        };
        let introduces = matches!(command, Command::Handshake { .. });
        if !introduces {
            let whom = whom(&command);
            self.heard.borrow_mut().push(Heard { conn, seq, what: (command.code(), whom) });
        }
        let silent = if introduces { self.rude.get() } else { !self.answers.get() };
        if seq != 0 && !silent {
            let reply = Frame::Reply { seq, route: command.code(), code: 0, reply };
            reply.encode_as(Flow::Replies, answers).unwrap();
        }
    }

    /// On which connections, in order, something was heard.
    fn conns_of(&self, what: (u8, i64)) -> Vec<usize> {
        let heard = self.heard.borrow();
        heard.iter().filter(|heard| heard.what == what).map(|heard| heard.conn).collect()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other is asked about")]
fn whom(command: &Command<'_>) -> i64 {
    match *command {
        Command::Deliver { conn: ConnId(0), user, .. } => user.map_or(0, |user| user.0),
        Command::Deliver { conn, .. } | Command::Trigger { conn, .. } => conn.0,
        Command::Push { target: Target::Conn(conn), .. }
        | Command::IsOnline { target: Target::Conn(conn) } => conn.0,
        Command::Multicast { targets, .. } => targets.len() as i64,
        _ => 0,
    }
}

fn due_record(id: &str, kind: Kind) -> Instance {
    Instance::new(id.into(), kind, format!("drpc://{id}:1?is_secure=false"))
}

fn send(end: &End, link: LinkId, command: Command<'_>) -> Result<(), Unsent> {
    end.links.send(link, Frame::Request { seq: 0, command })
}

fn push(conn: i64) -> Command<'static> {
    Command::Push { target: Target::Conn(ConnId(conn)), disconnect: false, packet: &[1, 2] }
}

fn deliver(conn: i64, user: i64) -> Command<'static> {
    let user = (user != 0).then_some(UserId(user));
    Command::Deliver { conn: ConnId(conn), user, packet: &[] }
}

/// One of ours, and what listens at the address of one of due's.
async fn both(world: &World) -> (Rc<End>, Rc<Process>, LinkId) {
    let a = world.open(Plan::new("a")).await;
    let due = Process::listen(world, "d").await;
    let link = a.links.link(&"d".into()).unwrap();
    (a, due, link)
}

#[test]
fn due_is_dialled_five_times_and_asked_in_its_own_order() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        for conn in 1..=20 {
            let event = Event::Connect;
            send(&a, link, Command::Trigger { event, conn: ConnId(conn), user: None }).unwrap();
            send(&a, link, deliver(conn, 0)).unwrap();
            send(&a, link, push(conn)).unwrap();
        }
        a.links.flush();
        world.settle().await;
        assert_eq!(due.conns.get(), 5);
        for conn in 1..=20 {
            let of_conn = due.conns_of((15, conn));
            assert_eq!(of_conn, due.conns_of((14, conn)), "events and messages of one client");
            assert_eq!(
                of_conn,
                due.conns_of((15, conn % 5 + 5)),
                "by the number of its connection"
            );
            assert_eq!(due.conns_of((8, conn)), due.conns_of((8, 1)), "pushes keep their order");
        }
        let conns: std::collections::BTreeSet<_> =
            (1..=5).flat_map(|conn| due.conns_of((15, conn))).collect();
        assert_eq!(conns.len(), 5);
        let load = a.links.load();
        assert_eq!((load.conns, load.far, load.counts.opened, load.counts.dials), (5, 1, 1, 5));
        let peer = a.links.peer(link).unwrap();
        assert_eq!((peer.id.as_str(), peer.kind, peer.ours), ("d", Kind::Node, false));
    });
}

#[test]
fn w48_what_nodes_deliver_to_a_due_node_is_spread_by_user() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        (0..3).for_each(|_| {
            (1..=10).for_each(|user| send(&a, link, deliver(0, user)).unwrap());
        });
        a.links.flush();
        world.settle().await;
        let mut used = std::collections::BTreeSet::new();
        for user in 1..=10 {
            let conns = due.conns_of((15, user));
            assert!(conns.len() == 3 && conns.iter().all(|conn| *conn == conns[0]), "{conns:?}");
            used.insert(conns[0]);
        }
        assert_eq!(used.len(), 5);
    });
}

#[test]
fn calls_are_answered_and_go_on_other_connections_than_pushes() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        for conn in 1..=8 {
            assert_eq!(a.links.call(link, is_online(conn)).await, Ok((0, Reply::Online(true))));
            send(&a, link, push(9)).unwrap();
        }
        a.links.flush();
        world.settle().await;
        let pushed = due.conns_of((8, 9));
        assert_eq!((pushed.len(), pushed.iter().max()), (8, pushed.iter().min()));
        let asked: Vec<_> = (1..=8).flat_map(|conn| due.conns_of((6, conn))).collect();
        assert!(!asked.contains(&pushed[0]), "{asked:?}");
        assert_eq!(asked[..4], asked[4..], "they take turns");
        let seqs: Vec<_> = due.heard.borrow().iter().map(|heard| heard.seq).collect();
        assert_eq!(
            seqs.iter().copied().filter(|seq| *seq != 0).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
        let state = a.links.call(link, Command::GetState).await;
        assert_eq!(state, Ok((0, Reply::State(State::Busy))));
    });
}

#[test]
fn heartbeats_go_out_on_every_connection_and_silence_is_no_fault() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        tokio::time::sleep(Duration::from_secs(605)).await;
        assert_eq!((due.conns.get(), a.links.load().conns), (5, 5));
        for conn in 0..5 {
            let beats = due.beats.borrow()[&conn];
            assert!((58..=61).contains(&beats), "{beats} in ten minutes");
        }
        send(&a, link, push(1)).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!(due.conns_of((8, 1)).len(), 1);
    });
}

#[test]
fn what_due_would_misread_and_what_is_ours_is_not_sent() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        let list: Vec<i64> = (0..10_000).collect();
        let kind = TargetKind::User;
        for (len, fits) in [(8189, true), (8190, false), (10_000, false)] {
            let targets = Targets::from_slice(&list[..len]);
            let multicast = Command::Multicast { kind, targets, disconnect: false, packet: &[] };
            assert_eq!(send(&a, link, multicast).is_ok(), fits, "{len}");
            for command in [
                Command::Subscribe { kind, targets, channel: "c" },
                Command::Unsubscribe { kind, targets, channel: "c" },
            ] {
                assert_eq!(send(&a, link, command).is_ok(), fits, "{len}");
            }
        }
        for (len, fits) in [(240, true), (241, false)] {
            let channel = "c".repeat(len);
            let channel = channel.as_str();
            let publish = Command::Publish { channel, disconnect: false, packet: &[] };
            assert_eq!(send(&a, link, publish).is_ok(), fits, "{len}");
        }
        let ours = Command::Consumed { conn: ConnId(1), bytes: 1 };
        assert!(matches!(send(&a, link, ours), Err(Unsent::Unfit(LinkError::WrongWay { .. }))));
        a.links.flush();
        world.settle().await;
        assert_eq!((due.conns_of((9, 8189)).len(), due.heard.borrow().len()), (1, 4));
    });
}

#[test]
fn w08_ten_thousand_targets_all_arrive_at_a_due_gate() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        let list: Vec<i64> = (0..10_000).collect();
        let (mut rest, kind) = (Targets::from_slice(&list), TargetKind::User);
        while !rest.is_empty() {
            let (targets, more) = rest.split_at(yumen_proto::link::TARGETS_MAX_DUE);
            let multicast = Command::Multicast { kind, targets, disconnect: false, packet: &[7] };
            send(&a, link, multicast).unwrap();
            rest = more;
        }
        a.links.flush();
        world.settle().await;
        let heard: Vec<_> = due.heard.borrow().iter().map(|heard| heard.what).collect();
        assert_eq!(heard, [(9, 8189), (9, 1811)]);
    });
}

#[test]
fn a_due_process_that_is_gone_is_lost_and_dialled_again_later() {
    world(1, async |world| {
        let (env, lines) = Lines::of(world.sim.env());
        let a = world.open_in(&env, Plan::new("a")).await;
        let due = Process::listen(&world, "d").await;
        due.answers.set(false);
        let link = a.links.link(&"d".into()).unwrap();
        world.settle().await;
        let asked = a.links.call(link, is_online(1));
        let gone = async {
            world.settle().await;
            lines.refuses.set(true);
            lines.cut();
            tokio::time::sleep(Duration::from_millis(1)).await;
            a.push(link, 10, 5).unwrap(); // while it is dialled again
            a.links.flush();
        };
        let (answer, ()) = tokio::join!(asked, gone);
        assert_eq!(answer, Err(CallError::Unknown), "it was written");
        world.settle().await;
        assert_eq!((a.lost.borrow().len(), a.unsent.take()), (1, vec![10]));
        assert_eq!(a.links.peer(link), None);
        lines.refuses.set(false);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let link = a.links.link(&"d".into()).unwrap();
        send(&a, link, push(3)).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!(due.conns_of((8, 3)).len(), 1);
        assert_eq!((due.conns.get(), a.links.load().counts.broken), (10, 1));
    });
}

#[test]
fn a_connection_that_breaks_is_opened_again_and_nothing_queued_is_lost() {
    world(1, async |world| {
        let (env, lines) = Lines::of(world.sim.env());
        let a = world.open_in(&env, Plan::new("a")).await;
        let due = Process::listen(&world, "d").await;
        let link = a.links.link(&"d".into()).unwrap();
        world.settle().await;
        lines.cut();
        tokio::time::sleep(Duration::from_millis(1)).await;
        for conn in 1..=50 {
            send(&a, link, deliver(conn, 0)).unwrap();
        }
        a.links.flush();
        world.settle().await;
        assert!((1..=50).all(|conn| due.conns_of((15, conn)).len() == 1));
        assert_eq!((due.conns.get(), a.lost.borrow().len()), (10, 0));
        assert_eq!(a.links.call(link, is_online(1)).await, Ok((0, Reply::Online(true))));
    });
}

#[test]
fn a_due_process_that_accepts_and_says_nothing_is_given_up() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        due.rude.set(true);
        send(&a, link, deliver(7, 0)).unwrap();
        a.links.flush();
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!((a.lost.borrow().len(), due.heard.borrow().len()), (1, 0));
        assert_eq!(a.unsent.take(), [7]);
        assert_eq!(a.links.load().counts.dials_failed.of("silent"), 15, "three of each");
    });
}
