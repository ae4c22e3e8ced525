//! Two instances, two sockets between them, and peers that mean no good.

use crate::run;
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{AbortHandle, spawn_local, yield_now},
};
use yumen_core::{cluster::Instance, locator::Incarnation, watch::Watch};
use yumen_mesh::{
    AllowList, LinkGuard, LinkId, Links, Neighbours, Outside, Receive, Switchboard, Tuning, Unsent,
};
use yumen_net::env::Env;
use yumen_proto::{
    id::{ConnId, InstanceId, UserId},
    link::{Command, Frame, Kind, LinkSettings, Reply, Secret, Target},
};

struct End {
    links: Rc<Links>,
    addr: SocketAddr,
    env: Env,
    seen: RefCell<Vec<i64>>,
    binds: Cell<u32>,
    lost: Cell<u32>,
    changed: Notify,
}

impl Receive for End {
    fn on_frame(&self, link: LinkId, frame: Frame<'_>) {
        match frame {
            Frame::Request { command: Command::Deliver { conn, packet, .. }, .. } => {
                assert!(packet.iter().all(|byte| *byte == conn.0 as u8), "harmed on its way");
                self.seen.borrow_mut().push(conn.0);
            }
            Frame::Request { command: Command::Bind { .. }, .. } => {
                self.binds.set(self.binds.get() + 1);
            }
            Frame::Request { seq: seq @ 1.., command } => {
                let Command::IsOnline { target: Target::Conn(conn) } = command else { return };
                let (route, reply) = (command.row().code, Reply::Online(conn.0 % 2 == 0));
                let _lost = self.links.send(link, Frame::Reply { seq, route, code: 0, reply });
            }
            Frame::Request { .. } | Frame::Reply { .. } | Frame::Heartbeat => {}
        }
    }
    fn on_batch_end(&self) {
        self.links.flush();
        self.changed.notify_one();
    }
    fn on_lost(&self, _link: LinkId, _peer: &InstanceId) {
        self.lost.set(self.lost.get() + 1);
        self.changed.notify_one();
    }
}

impl End {
    async fn open(id: &str, secrets: &[&str]) -> Rc<Self> {
        let env = Env::real();
        let listener = env.net.listen("127.0.0.1:0").await.unwrap();
        let addr = listener.addr().unwrap();
        let (board, neighbours) = (Switchboard::default(), Rc::new(Neighbours::default()));
        let links = Links::open(&env, &id.into(), Kind::Node, &board, &neighbours).unwrap();
        let secrets = secrets.iter().map(|text| Secret::new(*text).unwrap()).collect();
        links.go_outside(Outside {
            settings: LinkSettings { secrets, ..LinkSettings::new(Kind::Node, id) },
            life: Watch::fixed(Incarnation(1)),
            listener: Some(listener),
            allow: AllowList::default(),
            tuning: Tuning::default(),
            guard: LinkGuard::default(),
        });
        let end = Rc::new(Self {
            links,
            addr,
            env,
            seen: RefCell::default(),
            binds: Cell::new(0),
            lost: Cell::new(0),
            changed: Notify::new(),
        });
        end.links.start(Rc::clone(&end) as Rc<dyn Receive>);
        end
    }

    fn knows(&self, others: &[&Self]) {
        let records: Vec<_> = others.iter().map(|other| other.record()).collect();
        self.links.set_peers(Kind::Node, &records.into());
    }

    fn record(&self) -> Instance {
        let endpoint = format!("drpc://{}?is_secure=false", self.addr);
        let mut record = Instance::new(self.links.me().clone(), Kind::Node, endpoint);
        record.metadata.insert("yumen".into(), "1".into());
        record
    }

    /// Sends as soon as there is room, if the link lives.
    async fn push(&self, link: LinkId, n: i64, len: usize) {
        let packet = vec![n as u8; len];
        let command = Command::Deliver { conn: ConnId(n), user: None, packet: &packet };
        while self.links.send(link, Frame::Request { seq: 0, command }) == Err(Unsent::Full) {
            self.links.room(link).await;
        }
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.changed.notified().await;
        }
    }
}

#[test]
fn sixty_megabytes_arrive_whole_and_in_order_both_ways() {
    run(async {
        let secret = &["a secret of the cluster"][..];
        let (a, b) = (End::open("a", secret).await, End::open("b", secret).await);
        a.knows(&[&b]);
        b.knows(&[&a]);
        let there = async {
            let link = a.links.link(b.links.me()).unwrap();
            for n in 0..1000 {
                a.push(link, n, usize::try_from(n * 61 % 64_000).unwrap()).await;
                if n % 10 == 0 {
                    a.links.flush();
                }
            }
            a.links.flush();
        };
        let back = async {
            let link = b.links.link(a.links.me()).unwrap();
            for n in 0..1000 {
                b.push(link, n, usize::try_from(n * 67 % 64_000).unwrap()).await;
            }
            b.links.flush();
        };
        tokio::join!(there, back);
        a.until(|a| a.seen.borrow().len() == 1000).await;
        b.until(|b| b.seen.borrow().len() == 1000).await;
        assert!(a.seen.borrow().iter().copied().eq(0..1000));
        assert!(b.seen.borrow().iter().copied().eq(0..1000));
        let (a, b) = (a.links.load(), b.links.load());
        assert_eq!((a.conns, b.conns), (2, 2), "one data lane and one for control");
        assert_eq!(a.counts.broken + b.counts.broken, 0);
        assert_eq!((a.counts.frames_sent, b.counts.frames_sent), (1000, 1000), "none twice");
        assert!(a.counts.bytes_received > 30_000_000, "{}", a.counts.bytes_received);
        assert!(a.counts.bytes_sent >= b.counts.bytes_received);
    });
}

#[test]
fn calls_are_answered_and_an_instance_that_stops_says_so() {
    run(async {
        let (a, b) = (End::open("a", &[]).await, End::open("b", &[]).await);
        a.knows(&[&b]);
        let link = a.links.link(b.links.me()).unwrap();
        for n in 0..200 {
            let command = Command::IsOnline { target: Target::Conn(ConnId(n)) };
            let answer = a.links.call(link, command).await;
            assert_eq!(answer, Ok((0, Reply::Online(n % 2 == 0))));
        }
        a.push(link, 7, 100_000).await; // not flushed: closing sends it
        a.links.close();
        b.until(|b| b.lost.get() == 1).await;
        assert_eq!(*b.seen.borrow(), [7]);
        a.links.drained().await;
        a.env.spawn.abort_all();
        assert_eq!(b.links.load().conns, 0);
    });
}

/// What a connection is told until it is closed.
async fn told(addr: SocketAddr, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(words).await.unwrap();
    let mut told = Vec::new();
    let _reset_is_an_end_too = stream.read_to_end(&mut told).await;
    told
}

#[test]
fn w09_hostile_headers_close_one_connection_and_harm_nothing_else() {
    run(async {
        let (a, b) = (End::open("a", &[]).await, End::open("b", &[]).await);
        a.knows(&[&b]);
        let link = a.links.link(b.links.me()).unwrap();
        a.push(link, 1, 10).await;
        a.links.flush();
        b.until(|b| b.seen.borrow().len() == 1).await;
        let hostile: [&[u8]; 8] = [
            &[0xff; 4],
            &[0xff, 0xff, 0xff, 0xfc, 0, 0],
            &[0, 0, 0, 0],
            &[0, 0, 0, 1, 0],
            &[0, 0, 0, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x00, 0x10, 0x00, 0x01, 0, 1],
            &[0xff, 0xff, 0xff, 0xff, 0x81],
            b"GET / HTTP/1.1\r\n\r\n",
        ];
        for words in hostile {
            assert!(told(b.addr, words).await.is_empty(), "{words:?}");
        }
        let refused = b.links.load().counts.refused;
        assert_eq!(refused.of("too_large"), 5, "{refused:?}");
        assert_eq!(refused.of("too_short"), 3, "{refused:?}");
        a.push(link, 2, 10).await;
        a.links.flush();
        b.until(|b| b.seen.borrow().len() == 2).await;
        assert_eq!((b.lost.get(), b.links.load().conns), (0, 2), "the peer noticed nothing");
    });
}

#[test]
fn w10_a_raw_socket_can_neither_bind_nor_push() {
    run(async {
        let b = End::open("b", &["a secret of the cluster"]).await;
        let mut words = Vec::new();
        let handshake = Command::Handshake { kind: Kind::Node, id: "a" };
        Frame::Request { seq: 1, command: handshake }.encode(&mut words).unwrap();
        let handshake_len = words.len();
        let bind = Command::Bind { conn: ConnId(1), user: UserId(1) };
        Frame::Request { seq: 2, command: bind }.encode(&mut words).unwrap();
        let push = Command::Deliver { conn: ConnId(1), user: None, packet: &[1] };
        Frame::Request { seq: 0, command: push }.encode(&mut words).unwrap();
        let _handshake_is_answered = told(b.addr, &words).await;
        assert!(told(b.addr, &words[handshake_len..]).await.is_empty(), "without an introduction");
        assert_eq!((b.binds.get(), b.seen.borrow().len()), (0, 0));
        let refused = b.links.load().counts.refused;
        assert_eq!(refused.of("stranger"), 2, "{refused:?}");
    });
}

/// A way to an instance that a test can cut.
struct Proxy {
    addr: SocketAddr,
    lines: Rc<RefCell<Vec<AbortHandle>>>,
}

impl Proxy {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let lines = Rc::new(RefCell::new(Vec::<AbortHandle>::new()));
        let known = Rc::clone(&lines);
        spawn_local(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let line = spawn_local(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _broken = copy_bidirectional(&mut near, &mut far).await;
                });
                known.borrow_mut().push(line.abort_handle());
            }
        });
        Self { addr, lines }
    }

    /// How many were cut.
    fn cut(&self) -> usize {
        let lines = self.lines.take();
        lines.iter().filter(|line| !line.is_finished()).inspect(|line| line.abort()).count()
    }
}

#[test]
fn w31_real_sockets_cut_a_dozen_times_under_load_freeze_nobody() {
    run(async {
        let (a, b) = (End::open("a", &[]).await, End::open("b", &[]).await);
        let proxy = Proxy::to(b.addr).await;
        let mut record = b.record();
        record.endpoint = format!("drpc://{}?is_secure=false", proxy.addr);
        a.links.set_peers(Kind::Node, &[record].into());
        let (sent, stop) = (Rc::new(Cell::new(0_i64)), Rc::new(Cell::new(false)));
        for _ in 0..16 {
            let (a, sent, stop) = (Rc::clone(&a), Rc::clone(&sent), Rc::clone(&stop));
            spawn_local(async move {
                while !stop.get() {
                    let Ok(link) = a.links.link(&"b".into()) else {
                        a.env.clock.sleep(Duration::from_millis(1)).await;
                        continue;
                    };
                    a.push(link, sent.get(), 2000).await;
                    sent.set(sent.get() + 1);
                    a.links.flush();
                    yield_now().await;
                }
            });
        }
        let (mut cuts, mut lines) = (0, 0);
        while cuts < 12 {
            let before = b.seen.borrow().len();
            b.until(|b| b.seen.borrow().len() > before + 20).await; // it flows
            let cut = proxy.cut();
            cuts += usize::from(cut > 0);
            lines += cut;
        }
        let before = b.seen.borrow().len();
        b.until(|b| b.seen.borrow().len() > before + 1000).await;
        stop.set(true);
        assert!(lines >= 24, "both connections of each link: {lines}");
        // At most once, and in order.
        assert!(b.seen.borrow().windows(2).all(|pair| pair[0] < pair[1]));
        assert!(a.lost.get() >= 12 && a.links.load().links == 1, "{}", a.lost.get());
    });
}
