//! What a node sends: in order, flushed once per batch, and never forgotten where it must not be.
//!
//! Most frames go straight to their link. What a gate *must* learn (how many bytes of a session are
//! done, how a message was refused) is owed until the link has taken it: a gate that is never told
//! would stop reading that session for ever. Nothing is borrowed while a link is called.

use crate::node::{stats::Stats, uplink::Uplink};
use std::{
    cell::{Cell, RefCell},
    mem,
    rc::Rc,
};
use tokio::sync::Notify;
use yumen_core::Status;
use yumen_mesh::{LinkId, Unsent};
use yumen_net::env::Env;
use yumen_proto::{
    extension::StatusReply,
    id::{ConnId, RouteId},
    link::{Command, Frame},
};

/// Most statuses owed at once; one beyond is counted as lost.
const STATUSES_MAX: usize = 4096;
/// Amounts owed are added up per connection when there are this many of them.
const AMOUNTS_MAX: usize = 4096;

/// Whom a status is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) link: LinkId,
    pub(crate) conn: ConnId,
    pub(crate) route: RouteId,
    pub(crate) seq: i32,
}

#[derive(Clone, Copy, Debug)]
struct Amount {
    link: LinkId,
    conn: ConnId,
    bytes: u32,
}

/// The sending side of one instance.
pub(crate) struct Outbox {
    uplink: Rc<dyn Uplink>,
    env: Env,
    stats: Rc<Stats>,
    amounts: RefCell<Vec<Amount>>,
    statuses: RefCell<Vec<(Asker, Status)>>,
    full: RefCell<Vec<LinkId>>,
    in_batch: Cell<bool>,
    dirty: Cell<bool>,
    wake: Notify,
}

impl Outbox {
    pub(crate) fn new(env: &Env, uplink: Rc<dyn Uplink>, stats: Rc<Stats>) -> Rc<Self> {
        let this = Rc::new(Self {
            uplink,
            env: env.clone(),
            stats,
            amounts: RefCell::default(),
            statuses: RefCell::default(),
            full: RefCell::default(),
            in_batch: Cell::new(false),
            dirty: Cell::new(false),
            wake: Notify::new(),
        });
        let housekeeping = Rc::clone(&this);
        env.spawn.local(async move {
            loop {
                housekeeping.wake.notified().await;
                housekeeping.dirty.set(false);
                housekeeping.flush();
            }
        });
        this
    }

    pub(crate) fn uplink(&self) -> &dyn Uplink {
        &*self.uplink
    }

    /// Whether this is the first frame of a batch.
    pub(crate) fn enter_batch(&self) -> bool {
        !self.in_batch.replace(true)
    }

    /// The batch is over: everything it caused is on its way.
    pub(crate) fn end_batch(self: &Rc<Self>) {
        self.in_batch.set(false);
        self.flush();
    }

    /// Sends a frame that may be refused.
    pub(crate) fn send(&self, link: LinkId, command: Command<'_>) -> Result<(), Unsent> {
        let sent = self.uplink.send(link, Frame::Request { seq: 0, command });
        self.touched();
        sent
    }

    /// Sends any frame that may be refused.
    pub(crate) fn send_frame(&self, link: LinkId, frame: Frame<'_>) -> Result<(), Unsent> {
        let sent = self.uplink.send(link, frame);
        self.touched();
        sent
    }

    /// `bytes` of what the gate sent for `conn` are done.
    pub(crate) fn consumed(&self, link: LinkId, conn: ConnId, bytes: u32) {
        let mut amounts = self.amounts.borrow_mut();
        match amounts.last_mut() {
            Some(last) if last.link == link && last.conn == conn => {
                last.bytes = last.bytes.saturating_add(bytes);
            }
            _ => amounts.push(Amount { link, conn, bytes }),
        }
        drop(amounts);
        self.touched();
    }

    /// Tells the gate how a message was refused.
    pub(crate) fn refuse(&self, asker: Asker, status: Status) {
        if self.statuses.borrow().is_empty() && self.send_status(&asker, &status).is_ok() {
            return self.touched();
        }
        let mut statuses = self.statuses.borrow_mut();
        if statuses.len() >= STATUSES_MAX {
            return self.stats.answers_lost.bump();
        }
        statuses.push((asker, status));
        drop(statuses);
        self.touched();
    }

    fn send_status(&self, asker: &Asker, status: &Status) -> Result<(), Unsent> {
        let after = status.retry_after().map_or(0, |after| after.as_nanos().div_ceil(1_000_000));
        let reply = StatusReply {
            code: status.code().0,
            outcome: status.outcome(),
            retry_after_ms: u32::try_from(after).unwrap_or(u32::MAX),
            text: status.message(),
        };
        let Asker { link, conn, route, seq } = *asker;
        let command = Command::Status { conn, route, seq, reply };
        self.uplink.send(link, Frame::Request { seq: 0, command })
    }

    /// Outside a batch somebody has to flush.
    pub(crate) fn touched(&self) {
        if !self.in_batch.get() && !self.dirty.replace(true) {
            self.wake.notify_one();
        }
    }

    /// Sends what is owed, then lets the links write.
    fn flush(self: &Rc<Self>) {
        self.settle_statuses();
        self.settle_amounts();
        self.uplink.flush();
    }

    fn settle_statuses(self: &Rc<Self>) {
        if self.statuses.borrow().is_empty() {
            return;
        }
        let mut owed = self.statuses.take();
        owed.retain(|(asker, status)| self.is_left(asker.link, || self.send_status(asker, status)));
        let later = mem::replace(&mut *self.statuses.borrow_mut(), owed);
        self.statuses.borrow_mut().extend(later);
    }

    fn settle_amounts(self: &Rc<Self>) {
        let mut owed = self.amounts.take();
        if owed.len() > AMOUNTS_MAX {
            add_up(&mut owed);
        }
        owed.retain(|&Amount { link, conn, bytes }| {
            let command = Command::Consumed { conn, bytes };
            self.is_left(link, || self.uplink.send(link, Frame::Request { seq: 0, command }))
        });
        let later = mem::replace(&mut *self.amounts.borrow_mut(), owed);
        self.amounts.borrow_mut().extend(later);
    }

    /// Whether something stays owed. A link that is full is tried again when it has room; what is
    /// owed to a dead one is forgotten.
    fn is_left(self: &Rc<Self>, link: LinkId, send: impl FnOnce() -> Result<(), Unsent>) -> bool {
        if self.full.borrow().contains(&link) {
            return true;
        }
        match send() {
            Ok(()) => false,
            Err(Unsent::Full) => {
                self.full.borrow_mut().push(link);
                let this = Rc::clone(self);
                self.env.spawn.local(async move {
                    this.uplink.room(link).await;
                    this.full.borrow_mut().retain(|full| *full != link);
                    this.flush();
                });
                true
            }
            Err(_) => {
                self.stats.answers_lost.bump();
                false
            }
        }
    }
}

/// One amount per connection, in the order of links and connections.
fn add_up(amounts: &mut Vec<Amount>) {
    amounts.sort_by_key(|amount| (amount.link, amount.conn));
    amounts.dedup_by(|next, kept| {
        let same = next.link == kept.link && next.conn == kept.conn;
        if same {
            kept.bytes = kept.bytes.saturating_add(next.bytes);
        }
        same
    });
}
