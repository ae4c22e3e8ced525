//! What all clients of a thread share: the one driver, the settings, and the way to a new connection.
//!
//! The driver knows a client only by a weak reference, so a client ends with its last handle and the
//! driver's two tasks with the last client. No user code runs in here.

use super::{address::Target, bot::Bot, settings::Plan, tls};
use std::{
    cell::Cell,
    future::poll_fn,
    io,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
};
use yumen_core::status::{Code, Outcome, Status};
use yumen_net::{
    driver::{Driver, Service, Transport, Turn},
    env::Env,
    socket::Socket,
    spawn::Spawn,
};
use yumen_proto::{
    conn::{ClientConn, ClientEvent, CloseReason, Out, Settings},
    error::WireError,
    id::{ConnId, RouteId},
    packet::{Keys, Width},
};

/// A larger scratch buffer is not kept for the next message.
const SCRATCH_MAX: usize = 256 * 1024;
/// Packets of gates that are looked at for what they might be.
const PUZZLES_MAX: u8 = 16;

/// Why a connection was not opened.
#[derive(Debug)]
pub(super) enum Refused {
    Dial(io::Error),
    TimedOut,
    Ended(CloseReason),
}

/// What happened to the clients of a thread, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Pushes dropped because nobody looked.
    pub pushes_dropped: u64,
    /// Answers that came after their request had been given up.
    pub answers_late: u64,
    /// Connections that were opened anew.
    pub reconnects: u64,
}

pub(super) struct Hub {
    pub(super) driver: Rc<Driver<ClientConn, Weak<Bot>>>,
    pub(super) env: Env,
    pub(super) settings: Arc<Settings>,
    pub(super) plan: Plan,
    tls: tls::Known,
    pub(super) counts: Cell<Counts>,
    /// Packets that were looked at for what they might be.
    puzzles: Cell<u8>,
    /// Where bodies and packets are put together: taken, used, put back.
    body: Cell<Vec<u8>>,
    packet: Cell<Vec<u8>>,
}

impl Hub {
    pub(super) fn start(env: &Env, connection: Settings, plan: Plan) -> Rc<Self> {
        // Its tasks are its own: they end with it, and nobody else's do.
        let env = Env { spawn: Spawn::default(), ..env.clone() };
        let hub = Rc::new(Self {
            driver: Driver::new(&env),
            env,
            settings: Arc::new(connection),
            plan,
            tls: tls::Known::default(),
            counts: Cell::default(),
            puzzles: Cell::new(0),
            body: Cell::default(),
            packet: Cell::default(),
        });
        let desk: Rc<dyn Service<ClientConn, Weak<Bot>>> = Rc::new(Desk(Rc::downgrade(&hub)));
        hub.driver.start(&desk);
        hub
    }

    /// Opens a connection for `bot`; resolves once packets may flow. Safe to drop: what was begun
    /// then ends with the bot, or with the next attempt.
    pub(super) async fn open(&self, bot: &Weak<Bot>, target: &Target) -> Result<(), Refused> {
        tokio::select! {
            biased;
            opened = self.try_open(bot, target) => opened,
            () = self.env.clock.sleep(self.plan.dial_max) => {
                bot.upgrade().iter().for_each(|bot| bot.give_up_opening());
                Err(Refused::TimedOut)
            }
        }
    }

    async fn try_open(&self, bot: &Weak<Bot>, target: &Target) -> Result<(), Refused> {
        let mut socket = self.env.net.dial(&target.host).await.map_err(Refused::Dial)?;
        if target.secure {
            let now = self.env.clock.now().mono;
            let secured = self.tls.dial(&self.plan.tls, socket, &target.host, now);
            socket = secured.map_err(Refused::Dial)?;
        }
        if let Some(bot) = bot.upgrade() {
            self.adopt(&bot, socket, target);
        }
        poll_fn(|cx| match bot.upgrade() {
            Some(bot) => bot.poll_open(cx),
            None => Poll::Ready(Err(Refused::Ended(CloseReason::Done))),
        })
        .await
    }

    /// Hands a dialled socket to the driver.
    fn adopt(&self, bot: &Rc<Bot>, socket: Socket, target: &Target) {
        let mut greeting = Out::default();
        let settings = Arc::clone(&self.settings);
        let now = self.env.clock.now();
        let machine = ClientConn::new(settings, now, self.plan.announces, &mut greeting);
        let transport = self.transport(target);
        let conn = self.driver.accept(socket, transport, machine, Rc::downgrade(bot));
        // Under a WebSocket the announcement waits for the handshake, whose request goes first.
        self.driver.with(conn, |_, out, _| out.buffer().extend_from_slice(greeting.pending()));
        bot.opening(conn);
    }

    fn transport(&self, target: &Target) -> Transport {
        #[cfg(feature = "ws")]
        if let Some(path) = &target.path {
            let message_max = self.settings.layout.packet_max();
            let (now, dice) = (self.env.clock.now().mono, &self.env.dice);
            let link = yumen_net::ws::Link::client(&target.host, path, message_max, now, dice);
            return Transport::Ws(Box::new(link));
        }
        debug_assert!(target.path.is_none(), "an address with a path needs the feature `ws`");
        Transport::Stream
    }

    /// The largest sequence number that fits into a packet.
    pub(super) fn seq_max(&self) -> Result<i32, Status> {
        match self.settings.layout.seq {
            Some(Width::One) => Ok(i8::MAX.into()),
            Some(Width::Two) => Ok(i16::MAX.into()),
            Some(Width::Four) => Ok(i32::MAX),
            None => {
                let why =
                    "without sequence numbers in the layout no answer can be told from others";
                Err(Status::new(Code::ILLEGAL_INVOKE, why).ended(Outcome::NotSent))
            }
        }
    }

    /// Queues a message. It is written, with all others of this turn, when the tasks of this thread
    /// have had theirs.
    pub(super) fn post(
        &self,
        conn: ConnId,
        (route, seq): (RouteId, i32),
        body: &[u8],
    ) -> Result<(), Status> {
        let mut packet = self.packet.take();
        let encoded = self.settings.layout.encode_data(route, seq, body, &mut packet);
        let posted = encoded.map_err(unsendable).and_then(|()| self.append(conn, &packet));
        put_back(&self.packet, packet);
        posted
    }

    fn append(&self, conn: ConnId, packet: &[u8]) -> Result<(), Status> {
        let backlog = self.driver.backlog(conn).ok_or_else(not_connected)?;
        if backlog > 0 && backlog.saturating_add(packet.len()) > self.settings.backlog_max {
            let full = "more would be queued for sending than `backlog_max` allows";
            return Err(Status::busy(full).ended(Outcome::NotSent));
        }
        if self.driver.append(conn, packet) { Ok(()) } else { Err(not_connected()) }
    }

    /// Lends `f` an empty buffer for a body. `f` may run user code: nothing is borrowed.
    pub(super) fn with_body<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut body = self.body.take();
        let result = f(&mut body);
        put_back(&self.body, body);
        result
    }

    /// A gate sends what makes no sense in our layout. Says once what it seems to use; looks at a few
    /// packets only, since what others cost has no bound.
    pub(super) fn puzzle(&self, bytes: &[u8], waits_for: impl Fn(RouteId) -> bool) {
        if self.puzzles.get() >= PUZZLES_MAX {
            return;
        }
        self.puzzles.set(self.puzzles.get().saturating_add(1));
        let layout = &self.settings.layout;
        if let Some(guess) = layout.guess(bytes, waits_for) {
            self.puzzles.set(PUZZLES_MAX);
            tracing::warn!(
                "a gate seems to use {guess}, but this client is configured with {}: give both the \
                 same `packet` settings",
                Keys(layout)
            );
        }
    }

    /// Counts an answer that nobody waits for any longer.
    pub(super) fn count_late(&self) {
        self.count(|counts| counts.answers_late = counts.answers_late.saturating_add(1));
    }

    /// Counts something.
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.env.spawn.abort_all();
    }
}

fn put_back(place: &Cell<Vec<u8>>, mut buffer: Vec<u8>) {
    if buffer.capacity() <= SCRATCH_MAX {
        buffer.clear();
        place.set(buffer);
    }
}

/// There is no connection, so nothing was sent.
pub(super) fn not_connected() -> Status {
    Status::unavailable("not connected").ended(Outcome::NotSent)
}

fn unsendable(error: WireError) -> Status {
    Status::invalid_argument(error.to_string()).ended(Outcome::NotSent).caused_by(error)
}

/// The hub as its driver sees it.
struct Desk(Weak<Hub>);

impl Desk {
    fn bot(&self, conn: ConnId) -> Option<Rc<Bot>> {
        self.0.upgrade()?.driver.with(conn, |_, _, bot| bot.upgrade())?
    }
}

impl Service<ClientConn, Weak<Bot>> for Desk {
    fn on_open(&self, conn: ConnId) {
        if let Some(bot) = self.bot(conn) {
            bot.on_open(conn);
        }
    }

    fn on_event(&self, conn: ConnId, event: ClientEvent<'_>) -> Turn {
        if let Some(bot) = self.bot(conn) {
            bot.on_event(conn, event);
        }
        Turn::Go
    }

    fn on_malformed(&self, conn: ConnId, bytes: &[u8]) {
        if let Some(bot) = self.bot(conn) {
            bot.puzzle(bytes);
        }
    }

    fn on_closed(&self, conn: ConnId, bot: Weak<Bot>, reason: CloseReason) {
        if let Some(bot) = bot.upgrade() {
            bot.on_closed(conn, reason);
        }
    }
}
