//! To an instance of another process: two connections between two of ours, one for data and one for
//! control, both duplex.
//!
//! One driver serves every connection of the instance, also those with due's instances, which `due` keeps. A link exists from the first use on, whether it
//! is connected or not: it queues until it is open, and again while it is idle. What was never handed to
//! a socket is reported as unsent; for everything else the loss of a link means "unknown". Nothing is
//! ever sent twice. Where to look: `dial` opens, `accept` lets in and settles what crossed, `pair` is
//! the link itself, `service` is what the driver calls.

mod accept;
mod dial;
pub(crate) mod directory;
pub(crate) mod due;
mod memory;
pub(crate) mod pair;
mod queue;
mod service;
pub(crate) mod stats;
mod told;

use crate::{
    guard::LinkGuard,
    links::{LinkId, Links, Unsent},
    outside::{AllowList, Outside, Tuning},
};
use memory::Memory;
use pair::{Pair, Stage};
use service::{Batch, Switch};
use stats::{FarCounts, Reason, Stats};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::task::AbortHandle;
use told::Told;
use yumen_core::{locator::Incarnation, watch::Watch};
use yumen_net::{
    driver::{Driver, Service},
    env::{Env, Listener},
};
use yumen_proto::{
    conn::{CloseReason, Now},
    id::{ConnId, InstanceId},
    link::{Farewell, Kind, Lane, LinkConn, LinkMark, LinkSettings, NONCE_LEN},
};

/// Longest time from the end of one connection of a link to the end of the other.
const ENDING_MAX: Duration = Duration::from_secs(2);
/// Longest time for parting after idleness.
const PARTING_MAX: Duration = Duration::from_secs(5);
/// A peer that was silent for longer is passed over where another can do: its heartbeats come each
/// second.
const QUIET_AFTER: Duration = Duration::from_millis(2_500);
/// A link that was open for so long owes no pause before it is dialled again.
const STEADY: Duration = Duration::from_secs(5);

/// What the driver keeps with each connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Where it came from; `None` of one that was dialled.
    from: Option<IpAddr>,
    /// The life that was announced on it.
    told: u64,
    whose: Whose,
}

/// What a connection belongs to.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// Accepted, and not known yet.
    Nobody,
    /// One lane of a link to one of ours.
    Ours { link: LinkId, lane: Lane, dial: u64 },
    /// Of a link to one of due's: one of those that were dialled, or one that the peer dialled.
    Due { link: LinkId, line: Option<usize> },
}

/// The links of one instance to other processes.
pub(crate) struct Far {
    links: Weak<Links>,
    env: Env,
    settings: Arc<LinkSettings>,
    allow: AllowList,
    tuning: Tuning,
    guard: LinkGuard,
    life: Cell<u64>,
    /// Tells this process from an earlier one under the same id.
    run: u64,
    driver: Rc<Driver<LinkConn, Conn>>,
    memories: RefCell<BTreeMap<InstanceId, Memory>>,
    accepted: Cell<usize>,
    /// Accepted connections that are not known yet, the oldest first.
    half_open: RefCell<BTreeSet<ConnId>>,
    listener: RefCell<Option<Box<dyn Listener>>>,
    listening: RefCell<Option<AbortHandle>>,
    batch: Batch,
    told: Told,
    pub(crate) stats: Stats,
}

impl Far {
    pub(crate) fn open(links: &Rc<Links>, env: &Env, outside: Outside) -> Rc<Self> {
        let Outside { mut settings, mut life, listener, allow, tuning, guard } = outside;
        (settings.id, settings.kind) = (links.me().as_str().into(), links.kind());
        let driver = Driver::new(env);
        let far = Rc::new(Self {
            links: Rc::downgrade(links),
            env: env.clone(),
            settings: Arc::new(settings),
            allow,
            tuning,
            guard,
            life: Cell::new(life.current().0),
            run: env.dice.secret().max(1),
            driver,
            memories: RefCell::default(),
            accepted: Cell::new(0),
            half_open: RefCell::default(),
            listener: RefCell::new(listener),
            listening: RefCell::default(),
            batch: Batch::default(),
            told: Told::default(),
            stats: Stats::default(),
        });
        let service: Rc<dyn Service<LinkConn, Conn>> = Rc::new(Switch(Rc::clone(&far)));
        far.driver.start(&service);
        let this = Rc::clone(&far);
        env.spawn.local(async move { this.follow(life).await });
        far
    }

    /// Lets others in from now on.
    pub(crate) fn start(self: &Rc<Self>) {
        let Some(listener) = self.listener.take() else { return };
        let this = Rc::clone(self);
        let task = self.env.spawn.local(async move { this.listen(listener).await });
        self.listening.replace(Some(task));
    }

    /// Lets nobody in any more; what is queued is still written.
    pub(crate) fn close(&self) {
        self.listening.take().into_iter().for_each(|task| task.abort());
        self.listener.take();
        self.driver.close_all(CloseReason::Shutdown, "");
    }

    /// Connections that are still open.
    pub(crate) fn conns(&self) -> usize {
        self.driver.len()
    }

    #[cfg(test)]
    pub(crate) fn writes(&self) -> u64 {
        self.driver.stats.writes.get()
    }

    /// What has happened on the links.
    pub(crate) fn counts(&self) -> FarCounts {
        FarCounts {
            bytes_sent: self.driver.stats.bytes_out.get(),
            bytes_received: self.driver.stats.bytes_in.get(),
            ..self.stats.counts()
        }
    }

    /// Frames that did not parse.
    pub(crate) fn skipped(&self) -> u64 {
        self.driver.stats.skipped.get()
    }

    /// The link to a peer that is reached by none yet.
    pub(crate) fn link(
        self: &Rc<Self>,
        links: &Rc<Links>,
        peer: &InstanceId,
    ) -> Result<LinkId, Unsent> {
        let (kind, ours) = links.directory().find(peer).ok_or(Unsent::Closed)?;
        if self.is_held_back(peer) {
            self.stats.held_back();
            return Err(Unsent::Closed);
        }
        if !ours {
            return self.link_due(links, (peer, kind));
        }
        let pair = self.settle(links, (peer, kind));
        self.dial(&pair);
        Ok(pair.link)
    }

    /// Whether it is too early to dial a peer again.
    fn is_held_back(&self, peer: &InstanceId) -> bool {
        let now = self.now().mono;
        self.memories.borrow().get(peer).is_some_and(|memory| memory.holds_back(now))
    }

    /// A new link to one of ours, not connected.
    fn settle(self: &Rc<Self>, links: &Rc<Links>, (peer, kind): (&InstanceId, Kind)) -> Rc<Pair> {
        let link = links.reserve();
        let pair = Rc::new(Pair::new(self, link, peer.clone(), self.now().mono));
        links.settle_far(link, (peer, kind), Rc::clone(&pair));
        pair
    }

    fn now(&self) -> Now {
        self.env.clock.now()
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        for part in nonce.chunks_exact_mut(8) {
            part.copy_from_slice(&self.env.dice.secret().to_be_bytes());
        }
        nonce
    }

    /// What is said of this instance when it dials; `dial` is 0 in an answer.
    fn mark(&self, dial: u64, last: u64) -> LinkMark {
        LinkMark { life: self.life.get(), run: self.run, dial, last }
    }

    /// Tells every peer of a new life. What waits to be sent was said in the one before, which others may
    /// have replaced meanwhile: it is never sent in this one.
    async fn follow(&self, mut life: Watch<Incarnation>) {
        while life.changed().await {
            let before = self.life.replace(life.current().0);
            let Some(links) = self.links.upgrade() else { return };
            for pair in links.pairs() {
                if before != 0 && !pair.is_empty() {
                    self.stats.count(Reason::LifeOver);
                    self.lose(&links, &pair);
                } else {
                    self.tell_life(&pair);
                }
            }
            self.driver.flush();
        }
    }

    /// Tells one peer of the life, if it was told another one.
    fn tell_life(&self, pair: &Pair) {
        let Some(conn) = pair.data.conn.get().filter(|_| pair.stage() == Stage::Open) else {
            return;
        };
        let life = self.life.get();
        self.driver.with(conn, |machine, out, conn| {
            if conn.told != life {
                conn.told = life;
                machine.tell_life(life, out);
            }
        });
    }

    /// That life of an instance is over: what it has is cut.
    pub(crate) fn fence(&self, links: &Links, pair: &Rc<Pair>, life: Incarnation) {
        let theirs = pair.their_life.get();
        if theirs != 0 && theirs <= life.0 {
            self.refused(Reason::LifeOver, &pair.peer);
            self.lose(links, pair);
        }
    }

    /// A peer tells its life.
    fn reborn(&self, links: &Links, pair: &Rc<Pair>, life: u64) {
        pair.their_life.set(life);
        if links.is_over(&pair.peer, life) {
            self.refused(Reason::LifeOver, &pair.peer);
            self.lose(links, pair);
        }
    }

    /// The registry has other records than before: who is gone from it and not connected is lost.
    pub(crate) fn peers_changed(&self, links: &Links) {
        self.dues_changed(links);
        for pair in links.pairs() {
            let known = links.directory().find(&pair.peer).is_some();
            if !known && pair.stage() == Stage::Dormant {
                self.lose(links, &pair);
            }
        }
        let now = self.now().mono;
        let stays = |id: &InstanceId, memory: &mut Memory| {
            memory.holds_back(now) || links.directory().find(id).is_some()
        };
        self.memories.borrow_mut().retain(stays);
    }

    /// The link broke, or can never be opened.
    fn lose(&self, links: &Links, pair: &Rc<Pair>) {
        if pair.stage() == Stage::Over {
            return;
        }
        let now = self.now().mono;
        let open_for = pair.opened.get().map(|at| now.saturating_duration_since(at));
        if open_for.is_some() {
            self.broke(&pair.peer);
        }
        let mut memories = self.memories.borrow_mut();
        let memory = memories.entry(pair.peer.clone()).or_default();
        if open_for.is_some_and(|time| time >= STEADY) {
            memory.steady();
        } else {
            memory.failed(now, &self.env.dice);
        }
        drop(memories);
        for conn in pair.late.take() {
            self.driver.close_now(conn, CloseReason::Done); // the peer dials again
        }
        links.drop_link(pair.link);
    }

    /// Closes what is left of a link's connections, at once.
    fn cut(&self, pair: &Pair) {
        for lane in [&pair.data, &pair.control] {
            lane.welcome.set(false);
            if let Some(conn) = lane.conn.take() {
                self.driver.close_now(conn, CloseReason::Done);
            }
        }
    }

    /// A connection of a link has ended.
    fn ended(self: &Rc<Self>, links: &Rc<Links>, conn: ConnId, whose: Whose, reason: CloseReason) {
        let (link, lane, dial) = match whose {
            Whose::Nobody => return,
            Whose::Due { link, line } => return self.due_ended(links, conn, (link, line), reason),
            Whose::Ours { link, lane, dial } => (link, lane, dial),
        };
        let Some(pair) = links.pair(link).filter(|pair| pair.dial.get() == dial) else { return };
        let end = pair.lane(lane);
        if end.conn.get() != Some(conn) {
            return;
        }
        end.conn.set(None);
        let both = pair.data.conn.get().is_none() && pair.control.conn.get().is_none();
        match pair.stage() {
            Stage::Dialling => pair.fail(Reason::of(reason)),
            Stage::Parting if both => self.parted(links, &pair),
            Stage::Joining | Stage::Open if both => self.lose(links, &pair),
            // What the peer wrote on the other one before it ended is still to be read.
            Stage::Joining | Stage::Open
                if reason == CloseReason::Gone || pair.ending.get().is_some() =>
            {
                pair.end_from(self.now().mono);
            }
            Stage::Joining | Stage::Open => self.lose(links, &pair),
            Stage::Parting | Stage::Dormant | Stage::Over => {}
        }
    }

    /// The peer says why it leaves.
    fn farewell(&self, pair: &Pair, conn: ConnId, why: Farewell) {
        match (pair.stage(), why) {
            (Stage::Dialling, Farewell::Duplicate) => pair.crossed(),
            (Stage::Dialling, Farewell::LifeOver) => pair.give_up(Reason::LifeOver),
            (Stage::Dialling, Farewell::IdTaken) => pair.give_up(Reason::IdTaken),
            (Stage::Dialling, _) => pair.fail(Reason::Leaving),
            (Stage::Open | Stage::Joining | Stage::Parting, Farewell::Idle) => {
                pair.part(self.now().mono);
                self.driver.close(conn, CloseReason::Done, "");
            }
            (Stage::Open | Stage::Joining, _) => pair.end_from(self.now().mono),
            (Stage::Parting | Stage::Dormant | Stage::Over, _) => {}
        }
    }

    /// Both connections of an idle link have ended in peace.
    fn parted(self: &Rc<Self>, links: &Rc<Links>, pair: &Rc<Pair>) {
        pair.rest(self.now().mono);
        for conn in pair.late.take() {
            self.arrived(links, conn);
        }
        if pair.stage() == Stage::Dormant && !pair.is_empty() {
            self.dial(pair);
        }
    }

    /// A second has passed.
    fn sweep(self: &Rc<Self>, links: &Rc<Links>, now: Now) {
        self.sweep_dues(links, now);
        for pair in links.pairs() {
            let since = |at: std::time::Instant| now.mono.saturating_duration_since(at);
            let late = match pair.stage() {
                Stage::Open | Stage::Joining
                    if pair.ending.get().is_some_and(|at| since(at) >= ENDING_MAX) =>
                {
                    true
                }
                Stage::Joining => since(pair.since.get()) > self.dial_max(),
                Stage::Parting => since(pair.since.get()) > PARTING_MAX,
                Stage::Open if pair.mine.get() && pair.ending.get().is_none() => {
                    let idle = since(pair.used.get()) >= self.tuning.idle_max;
                    if idle && pair.is_empty() && !links.has_calls(pair.link) {
                        self.part(&pair, now);
                    }
                    false
                }
                Stage::Open | Stage::Dormant | Stage::Dialling | Stage::Over => false,
            };
            if late {
                self.lose(links, &pair);
            }
            pair.quiet.set(self.silence(&pair, now) > QUIET_AFTER);
        }
    }

    /// How long nothing has come on either connection of a link.
    fn silence(&self, pair: &Pair, now: Now) -> Duration {
        let conns = [&pair.data, &pair.control].into_iter().filter_map(|lane| lane.conn.get());
        let silence = |conn| self.driver.with(conn, |machine, _, _| machine.silence(now.mono));
        conns.filter_map(silence).min().unwrap_or_default()
    }

    /// Begins to part from a peer with which nothing was exchanged for long.
    fn part(&self, pair: &Pair, now: Now) {
        pair.part(now.mono);
        for lane in [&pair.data, &pair.control] {
            if let Some(conn) = lane.conn.get() {
                self.driver.with(conn, |machine, out, _| machine.farewell(Farewell::Idle, out));
            }
        }
        self.driver.flush();
    }

    /// Control is looked at before each batch of data.
    fn put_first(&self, lane: Lane, conn: ConnId) {
        if lane == Lane::Control {
            self.driver.go_first(conn);
        }
    }

    /// Longest time from the start of a dial until both lanes are there.
    fn dial_max(&self) -> Duration {
        self.tuning.dial_max.saturating_add(self.settings.handshake_max)
    }
}
