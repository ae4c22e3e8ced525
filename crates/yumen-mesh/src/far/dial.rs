//! Opens a link: both connections, some attempts, and then the peer is told to be gone.
//!
//! Everything is bounded by time. An attempt ends early if the peer's own dial is kept instead.

use super::{
    Conn, Far, Whose,
    pair::{Pair, Stage, Verdict},
    stats::Reason,
};
use std::{rc::Rc, time::Duration};
use yumen_net::{driver::Transport, socket::Socket};
use yumen_proto::{
    conn::Out,
    link::{Lane, LinkConn, LinkTarget},
};

/// Pauses between two attempts: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the dial of a peer is waited for that has refused this side's for it.
const CROSSED_WAIT: Duration = Duration::from_millis(500);

/// How an attempt ended.
enum Attempt {
    /// Well, or it does not matter any more.
    Done,
    Ended(Verdict),
}

impl Far {
    /// Begins to dial.
    pub(super) fn dial(self: &Rc<Self>, pair: &Rc<Pair>) {
        let (this, pair) = (Rc::clone(self), Rc::clone(pair));
        let dial = self.begin(&pair);
        self.env.spawn.local(async move { this.attempts(pair, dial).await });
    }

    fn begin(&self, pair: &Pair) -> u64 {
        let dial = self.env.dice.secret().max(1);
        pair.begin(dial, self.now().mono);
        self.stats.dialled();
        dial
    }

    async fn attempts(self: Rc<Self>, pair: Rc<Pair>, first: u64) {
        let (mut dial, mut pause, began) = (first, PAUSE_MIN, self.now().mono);
        let mut left = self.tuning.dial_tries.max(1);
        loop {
            let Attempt::Ended(verdict) = self.attempt(&pair, dial).await else { return };
            self.cut(&pair);
            let wait = match verdict {
                Verdict::Failed(reason) => {
                    self.dial_failed(reason, &pair.peer);
                    left = left.saturating_sub(1);
                    pause
                }
                // The peer's dial comes soon, or it has failed and this side's is welcome.
                Verdict::Crossed => {
                    let waited = self.now().mono.saturating_duration_since(began);
                    left = if waited > self.dial_max() { 0 } else { left };
                    CROSSED_WAIT
                }
                Verdict::GiveUp(reason) => {
                    self.dial_failed(reason, &pair.peer);
                    left = 0;
                    Duration::ZERO
                }
            };
            if left == 0 {
                break;
            }
            self.wait(&pair, dial, self.env.dice.jitter(wait)).await;
            if !pair.dials(dial) {
                return;
            }
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
            dial = self.begin(&pair);
        }
        if let Some(links) = self.links.upgrade() {
            self.lose(&links, &pair);
        }
    }

    /// Waits, or until the attempt is overtaken.
    async fn wait(&self, pair: &Pair, dial: u64, pause: Duration) {
        let sleep = self.env.clock.sleep(pause);
        tokio::pin!(sleep);
        while pair.dials(dial) {
            tokio::select! {
                biased;
                () = pair.changed.notified() => {}
                () = &mut sleep => return,
            }
        }
    }

    async fn attempt(self: &Rc<Self>, pair: &Rc<Pair>, dial: u64) -> Attempt {
        let sockets = match self.connect(pair).await {
            Ok(sockets) => sockets,
            Err(reason) => {
                let overtaken = !pair.dials(dial);
                let failed = Attempt::Ended(Verdict::Failed(reason));
                return if overtaken { Attempt::Done } else { failed };
            }
        };
        if !pair.dials(dial) {
            return Attempt::Done;
        }
        for (lane, socket) in [Lane::Data, Lane::Control].into_iter().zip(sockets) {
            if let Err(reason) = self.introduce(pair, (lane, dial), socket) {
                return Attempt::Ended(Verdict::GiveUp(reason));
            }
        }
        let late = self.env.clock.sleep(self.dial_max());
        tokio::pin!(late);
        loop {
            if !pair.dials(dial) {
                return Attempt::Done;
            }
            if let Some(verdict) = pair.verdict() {
                return Attempt::Ended(verdict);
            }
            tokio::select! {
                biased;
                () = pair.changed.notified() => {}
                () = &mut late => return Attempt::Ended(Verdict::Failed(Reason::Silent)),
            }
        }
    }

    /// Both connections, or why there is none.
    async fn connect(&self, pair: &Pair) -> Result<[Socket; 2], Reason> {
        let links = self.links.upgrade().ok_or(Reason::Leaving)?;
        let address = links.directory().address(&pair.peer).map(str::to_owned);
        drop(links);
        let address = address.ok_or(Reason::Unreachable)?;
        let both =
            async { tokio::try_join!(self.env.net.dial(&address), self.env.net.dial(&address)) };
        tokio::select! {
            biased;
            both = both => both.map(<[Socket; 2]>::from).map_err(|_| Reason::Unreachable),
            () = self.env.clock.sleep(self.tuning.dial_max) => Err(Reason::TimedOut),
        }
    }

    /// The first words on a connection that was dialled.
    fn introduce(
        self: &Rc<Self>,
        pair: &Pair,
        (lane, dial): (Lane, u64),
        socket: Socket,
    ) -> Result<(), Reason> {
        let last = self.memories.borrow().get(&pair.peer).map_or(0, |memory| memory.last);
        let links = self.links.upgrade().ok_or(Reason::Leaving)?;
        let (kind, _) = links.directory().find(&pair.peer).ok_or(Reason::Unreachable)?;
        let whom = (pair.peer.as_str(), links.directory().has_tls(&pair.peer));
        let socket = self.guard.dial(socket, whom, self.now().mono).map_err(|_| Reason::Tls)?;
        let mark = self.mark(dial, last);
        let target = LinkTarget { id: pair.peer.as_str().into(), kind, ours: true, lane, mark };
        let (settings, mut words) = (self.settings.clone(), Out::default());
        let machine = LinkConn::dial(settings, self.now(), target, self.nonce(), &mut words);
        let machine = machine.map_err(|fault| Reason::of(fault.into()))?;
        let whose = Whose::Ours { link: pair.link, lane, dial };
        let conn = Conn { from: None, told: mark.life, whose };
        let id = self.driver.accept(socket, Transport::Stream, machine, conn);
        pair.lane(lane).conn.set(Some(id));
        pair.lane(lane).welcome.set(false);
        self.put_first(lane, id);
        self.driver.append(id, words.pending());
        self.driver.flush();
        Ok(())
    }

    /// The server has proved who it is: whether it is the one that is meant.
    pub(super) fn recognised(&self, pair: &Rc<Pair>, (run, life): (u64, u64)) {
        let Some(links) = self.links.upgrade() else { return };
        if links.is_over(&pair.peer, life) {
            self.refused(Reason::LifeOver, &pair.peer);
            pair.give_up(Reason::LifeOver);
            self.cut(pair); // not a frame of it is taken
        } else if pair.is_other(run) {
            // What was agreed with the process before it is gone.
            self.lose(&links, pair);
        } else {
            pair.their_run.set(run);
            pair.their_life.set(life);
        }
    }

    /// The server keeps this connection.
    pub(super) fn welcomed(self: &Rc<Self>, pair: &Rc<Pair>, lane: Lane) {
        if pair.verdict().is_some() {
            return; // it came with the words for which this dial was given up: a life that is over
        }
        pair.lane(lane).welcome.set(true);
        let both = pair.data.welcome.get() && pair.control.welcome.get();
        if both && pair.stage() == Stage::Dialling {
            self.opened(pair);
        }
    }
}
