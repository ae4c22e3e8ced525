//! A tiny server for the tests of clients: one driver, no gate, no node.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};
use yumen_net::{
    driver::{Driver, Service, Transport, Turn},
    env::Env,
    testing::Sim,
    ws::{Link, handshake::Options},
};
use yumen_proto::{
    conn::{CloseReason, Now, ServerConn, ServerEvent, Settings},
    extension::{Outcome, StatusReply},
    id::{ConnId, RouteId},
    packet::Layout,
};

/// Answers with the same body.
pub(super) const ECHO: i32 = 1;
/// Is kept until [`Server::answer_all`].
pub(super) const HOLD: i32 = 2;
/// Is refused with a status.
pub(super) const REFUSE: i32 = 3;
/// Breaks the connection without a word.
pub(super) const BREAK: i32 = 4;
/// Is answered with as many pushes as its first byte says, numbered from 0, on [`PUSHED`].
pub(super) const PUSHES: i32 = 5;
/// Closes the connection with a reason.
pub(super) const KICK: i32 = 6;
/// Is not answered.
pub(super) const IGNORE: i32 = 7;
/// What is pushed.
pub(super) const PUSHED: i32 = 100;

/// Runs a test with several seeds; the one that fails is printed. An hour of virtual time, which is
/// short, is the longest it may take.
pub(super) fn sim(test: impl AsyncFn(Sim)) {
    for seed in 0..10 {
        Sim::run(seed, async |sim| {
            let hour = Duration::from_secs(3_600);
            tokio::time::timeout(hour, test(sim)).await.expect("the test ends");
        });
    }
}

/// A request: whose it is, its route and sequence number, its body.
pub(super) type Request = (ConnId, RouteId, i32, Vec<u8>);

pub(super) struct Server {
    pub(super) driver: Rc<Driver<ServerConn, ()>>,
    pub(super) env: Env,
    settings: Arc<Settings>,
    /// Requests that wait for [`Server::answer_all`].
    pub(super) held: RefCell<Vec<Request>>,
    /// Everything that arrived.
    pub(super) seen: RefCell<Vec<(RouteId, i32, Vec<u8>)>>,
    /// When connections were accepted.
    pub(super) accepted: RefCell<Vec<Now>>,
    /// Why connections ended.
    pub(super) ended: RefCell<Vec<CloseReason>>,
}

impl Server {
    pub(super) async fn start(sim: &Sim, address: &str, layout: Layout) -> Rc<Self> {
        Self::serve(sim, address, layout, None).await
    }

    pub(super) async fn start_ws(sim: &Sim, address: &str, path: &str) -> Rc<Self> {
        let layout = Layout::default();
        let options = Options { path: path.to_owned(), ..Options::new(layout.packet_max()) };
        Self::serve(sim, address, layout, Some(Arc::new(options))).await
    }

    async fn serve(sim: &Sim, address: &str, layout: Layout, ws: Option<Arc<Options>>) -> Rc<Self> {
        let env = sim.env();
        let server = Rc::new(Self {
            driver: Driver::new(&env),
            settings: Arc::new(Settings { layout, ..Settings::default() }),
            held: RefCell::default(),
            seen: RefCell::default(),
            accepted: RefCell::default(),
            ended: RefCell::default(),
            env,
        });
        let service: Rc<dyn Service<ServerConn, ()>> = Rc::new(Desk(Rc::clone(&server)));
        server.driver.start(&service);
        let mut listener = server.env.net.listen(address).await.unwrap();
        let this = Rc::clone(&server);
        server.env.spawn.local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let now = this.env.clock.now();
                this.accepted.borrow_mut().push(now);
                let transport = match &ws {
                    None => Transport::Stream,
                    Some(options) => Transport::Ws(Box::new(Link::server(options, now.mono))),
                };
                let machine = ServerConn::new(Arc::clone(&this.settings), now);
                this.driver.accept(socket, transport, machine, ());
            }
        });
        server
    }

    /// Answers what was held in the order that `rank` gives, each with its body doubled.
    pub(super) fn answer_all(&self, rank: impl FnMut(&Request) -> u64) {
        let mut held = self.held.take();
        held.sort_by_cached_key(rank);
        for (conn, route, seq, body) in held {
            self.reply(conn, route, seq, &body.repeat(2));
        }
    }

    pub(super) fn reply(&self, conn: ConnId, route: RouteId, seq: i32, body: &[u8]) {
        let mut packet = Vec::new();
        self.settings.layout.encode_data(route, seq, body, &mut packet).unwrap();
        self.driver.append(conn, &packet);
    }

    /// Waits until `done`; fails after a minute of virtual time.
    pub(super) async fn until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..60_000 {
            if done(self) {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(1)).await;
        }
        panic!("it never happened");
    }
}

struct Desk(Rc<Server>);

impl Service<ServerConn, ()> for Desk {
    fn on_event(&self, conn: ConnId, event: ServerEvent<'_>) -> Turn {
        let ServerEvent::Message(data) = event else { return Turn::Go };
        let (server, route, seq, body) = (&self.0, data.route, data.seq, data.body.to_vec());
        server.seen.borrow_mut().push((route, seq, body.clone()));
        match route.0 {
            ECHO => server.reply(conn, route, seq, &body),
            HOLD => server.held.borrow_mut().push((conn, route, seq, body)),
            REFUSE => {
                let reply = StatusReply {
                    code: 2_001,
                    outcome: Outcome::Rejected,
                    retry_after_ms: 250,
                    text: "the table is full",
                };
                server.driver.with(conn, |m, out, ()| m.status(route, seq, &reply, out));
            }
            BREAK => server.driver.close_now(conn, CloseReason::Done),
            PUSHES => {
                for number in 0..body[0] {
                    server.reply(conn, RouteId(PUSHED), 0, &[number]);
                }
            }
            KICK => server.driver.close(conn, CloseReason::Kicked, "logged in elsewhere"),
            _ => {}
        }
        Turn::Go
    }

    fn on_closed(&self, _conn: ConnId, (): (), reason: CloseReason) {
        self.0.ended.borrow_mut().push(reason);
    }
}
