//! Links to due's instances: what they see of us, byte by byte, and what they are spared.

use super::{lines::Lines, *};
use yumen_net::testing::Peer as Raw;
use yumen_proto::{
    id::UserId,
    link::{Event, Flow, HEARTBEAT, Targets},
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

/// A connection that a due process has dialled to `to`, introduced.
async fn dialled(world: &World, to: &str, (kind, id): (Kind, &str)) -> Raw {
    let socket = world.sim.env().net.dial(&format!("{to}:1")).await.unwrap();
    let mut raw = Raw::new(socket);
    ask(&mut raw, 1, Command::Handshake { kind, id }).await;
    while raw.seen.len() < 16 {
        assert!(raw.more().await, "it is refused");
    }
    assert_eq!(raw.seen, [0, 0, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    raw.seen.clear();
    raw
}

async fn ask(raw: &mut Raw, seq: u64, command: Command<'_>) {
    let mut bytes = Vec::new();
    Frame::Request { seq, command }.encode_as(Flow::Requests, &mut bytes).unwrap();
    raw.send(&bytes).await.unwrap();
}

/// The answers on a connection: their sequence numbers.
async fn told(raw: &mut Raw) -> Vec<(u64, u16, Reply)> {
    let mut told = Vec::new();
    let _nothing_more = tokio::time::timeout(Duration::from_millis(200), raw.end()).await;
    let mut rest = raw.seen.as_slice();
    while let Some(frame) = Frame::decode_as(Flow::Replies, &mut rest, 1 << 20).unwrap() {
        if let Frame::Reply { seq, code, reply, .. } = frame {
            told.push((seq, code, reply));
        }
    }
    assert!(rest.is_empty());
    raw.seen.clear();
    told
}

#[test]
fn answers_go_back_on_the_connection_of_their_question() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        a.on_frame(answer);
        let mut raws = Vec::new();
        for _ in 0..9 {
            raws.push(dialled(&world, "a", (Kind::Gate, "d")).await);
        }
        for (n, raw) in raws.iter_mut().enumerate() {
            ask(raw, 77, is_online(n as i64)).await; // the same number on each
            ask(raw, 0, is_online(2)).await; // no answer is wanted
            ask(raw, 78, is_online(2)).await;
        }
        world.settle().await;
        for (n, raw) in raws.iter_mut().enumerate() {
            let expected = [(77, 0, Reply::Online(n % 2 == 0)), (78, 0, Reply::Online(true))];
            assert_eq!(told(raw).await, expected);
        }
        let load = a.links.load();
        assert_eq!((load.links, load.far, load.conns), (1, 1, 9), "one link");
        raws.pop();
        world.settle().await;
        assert!(a.lost.borrow().is_empty());
        raws.clear();
        world.settle().await;
        assert_eq!(a.lost.borrow()[0].1, "d".into());
    });
}

#[test]
fn an_answer_that_comes_too_late_is_never_given() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        let waits = Rc::new(RefCell::new(Vec::new()));
        let asked = Rc::clone(&waits);
        a.on_frame(move |_, link, frame| {
            let Frame::Request { seq, command } = frame else { panic!("{frame:?}") };
            asked.borrow_mut().push((link, seq, command.code()));
        });
        let mut raw = dialled(&world, "a", (Kind::Gate, "d")).await;
        ask(&mut raw, 5, is_online(1)).await;
        tokio::time::sleep(Duration::from_millis(2000)).await;
        ask(&mut raw, 6, is_online(2)).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        for (link, seq, route) in waits.take() {
            let reply = Reply::Online(true);
            a.links.send(link, Frame::Reply { seq, route, code: 0, reply }).unwrap();
        }
        a.links.flush();
        assert_eq!(told(&mut raw).await, [(6, 0, Reply::Online(true))]);
        assert_eq!(a.links.load().counts.answered_late, 1);
    });
}

#[test]
fn codes_that_due_does_not_know_become_the_one_for_everything_else() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        a.on_frame(|a, link, frame| {
            let Frame::Request { seq, command: Command::Bind { conn, .. } } = frame else { return };
            let code = conn.0 as u16;
            let reply = Frame::Reply { seq, route: 2, code, reply: Reply::Done };
            a.links.send(link, reply).unwrap();
        });
        let mut raw = dialled(&world, "a", (Kind::Node, "d")).await;
        for code in 0..5 {
            let bind = Command::Bind { conn: ConnId(code), user: UserId(1) };
            ask(&mut raw, 10 + code as u64, bind).await;
        }
        let codes: Vec<_> = told(&mut raw).await.iter().map(|(_, code, _)| *code).collect();
        assert_eq!(codes, [0, 1, 2, 2, 2]);
    });
}

#[test]
fn a_node_tells_its_state_even_to_who_wants_no_answer() {
    for (kind, expected) in [(Kind::Node, 2), (Kind::Gate, 0)] {
        world(1, async |world| {
            let mut plan = Plan::new("a");
            plan.settings.kind = kind;
            let a = world.open(plan).await;
            a.on_frame(|a, link, frame| {
                let Frame::Request { seq, command } = frame else { return };
                if seq == 0 {
                    return;
                }
                let asks = command == Command::GetState;
                let reply = if asks { Reply::State(State::Work) } else { Reply::Done };
                let reply = Frame::Reply { seq, route: command.code(), code: 0, reply };
                a.links.send(link, reply).unwrap();
            });
            let mut raw = dialled(&world, "a", (Kind::Gate, "d")).await;
            ask(&mut raw, 0, Command::GetState).await;
            ask(&mut raw, 0, Command::SetState { state: State::Busy }).await;
            let told = told(&mut raw).await;
            assert_eq!(told.len(), expected);
            assert!(told.iter().all(|(seq, ..)| *seq == 0));
        });
    }
}

#[test]
fn whoever_proves_nothing_cannot_pass_for_one_of_ours() {
    world(1, async |world| {
        let (a, b) = (world.open(Plan::new("a")).await, world.open(Plan::new("b")).await);
        b.on_frame(answer);
        let to_b = a.link(&b);
        for id in ["a", "b", ""] {
            let mut raw = dialled(&world, "a", (Kind::Node, id)).await;
            ask(&mut raw, 2, is_online(1)).await;
            raw.end().await;
            assert!(raw.seen.is_empty(), "{id}: {:?}", raw.seen);
        }
        assert_eq!(a.links.call(to_b, is_online(2)).await, Ok((0, Reply::Online(true))));
        assert_eq!(a.links.load().counts.refused.of("id_taken"), 3);
        assert!(a.seen.borrow().is_empty());
    });
}

#[test]
fn w10_due_peers_need_insecure_where_there_is_a_secret_and_an_allowed_address() {
    let secret = &["a secret of the cluster"][..];
    for (insecure, allow, served) in [
        (false, None, false),
        (true, None, true),
        (true, Some("10.0.0.0/8"), false),
        (true, Some("0.0.0.0/0"), true),
    ] {
        world(1, async |world| {
            let mut plan = Plan::new("a").secret(secret);
            plan.settings.insecure = insecure;
            plan.allow =
                allow.iter().map(|block| block.parse::<crate::NetBlock>().unwrap()).collect();
            let a = world.open(plan).await;
            let due = Process::listen(&world, "d").await;
            a.on_frame(answer);
            let socket = world.sim.env().net.dial("a:1").await.unwrap();
            let mut raw = Raw::new(socket);
            let _refused = ask(&mut raw, 1, Command::Handshake { kind: Kind::Node, id: "x" }).await;
            let mut question = Vec::new();
            let frame = Frame::Request { seq: 2, command: is_online(2) };
            frame.encode_as(Flow::Requests, &mut question).unwrap();
            let _refused = raw.send(&question).await;
            let answers = told(&mut raw).await;
            assert_eq!(answers.iter().any(|(seq, ..)| *seq == 2), served, "{insecure} {allow:?}");
            assert_eq!(a.seen.borrow().len(), usize::from(served));
            let refused = a.links.load().counts.refused;
            let why = if insecure { "not_allowed" } else { "stranger" };
            assert_eq!(refused.of(why), u64::from(!served), "{refused:?}");
            // And what is not trusted is not dialled.
            assert_eq!(a.links.link(&"d".into()).is_ok(), insecure);
            world.settle().await;
            assert_eq!(due.conns.get(), if insecure { 5 } else { 0 });
        });
    }
}

#[test]
fn one_that_only_says_it_is_there_is_not_shown_out() {
    world(1, async |world| {
        let mut plan = Plan::new("a");
        plan.tuning.half_open_max = 2;
        let a = world.open(plan).await;
        let mut raws = Vec::new();
        for _ in 0..5 {
            let mut raw = dialled(&world, "a", (Kind::Gate, "d")).await;
            raw.send(&HEARTBEAT).await.unwrap();
            world.settle().await;
            raws.push(raw);
        }
        assert_eq!(a.links.load().conns, 5);
        assert_eq!(a.links.load().counts.refused.of("half_open"), 0);
    });
}

#[test]
fn closing_sends_what_is_queued_to_due() {
    world(1, async |world| {
        let (a, due, link) = both(&world).await;
        world.settle().await;
        (1..=9).for_each(|conn| send(&a, link, deliver(conn, 0)).unwrap());
        a.links.close();
        a.links.drained().await;
        world.settle().await;
        assert!((1..=9).all(|conn| due.conns_of((15, conn)).len() == 1));
        assert!(a.unsent.borrow().is_empty());
    });
}
