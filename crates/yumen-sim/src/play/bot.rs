//! A player: connects somewhere, logs in, takes steps, and comes back whenever it loses the connection.

use super::{
    history::{History, What},
    words::{ECHO, JOIN, LOGIN, Mark, STEP, STEPPED},
};
use crate::cluster::Sim;
use std::{cell::Cell, rc::Rc, time::Duration};
use yumen_cluster::client::{Client, Clients, Event, Push};
use yumen_net::env::Dice;

/// A player that got no answer to its steps for so long asks for a node of its own again.
const PATIENCE_MS: u64 = 2_500;
/// Steps that may be unanswered when the player gives the connection up.
const REJOINS_MAX: u32 = 3;

/// What every player shares with the run.
pub(crate) struct Stage {
    pub(crate) sim: Rc<Sim>,
    pub(crate) history: History,
    pub(crate) gates: Vec<String>,
    pub(crate) sessions: Cell<u64>,
    /// The run is over: close, and do not come back.
    pub(crate) is_over: Cell<bool>,
}

/// One player.
pub(crate) struct Bot {
    pub(crate) stage: Rc<Stage>,
    pub(crate) user: u64,
    pub(crate) clients: Clients,
    pub(crate) dice: Dice,
    /// When its last step was answered, in milliseconds.
    pub(crate) served: Rc<Cell<u64>>,
    /// Whether it has to go, before the run is over.
    pub(crate) leaves: Rc<Cell<bool>>,
}

/// One connection of a player.
struct Play<'a> {
    bot: &'a Bot,
    client: Client,
    session: u64,
    n: u64,
}

impl Bot {
    fn is_done(&self) -> bool {
        self.stage.is_over.get() || self.leaves.get()
    }

    /// Plays until it has to go.
    pub(crate) async fn play(self) {
        let mut gate = self.dice.roll();
        while !self.is_done() {
            gate = gate.wrapping_add(1);
            let count = u64::try_from(self.stage.gates.len()).unwrap_or(1);
            let at = usize::try_from(gate.checked_rem(count).unwrap_or(0)).unwrap_or(0);
            let Some(host) = self.stage.gates.get(at) else { return };
            self.visit(host).await;
            tokio::time::sleep(Duration::from_millis(200 + self.dice.below(600))).await;
        }
    }

    async fn visit(&self, host: &str) {
        let address = format!("tcp://{host}:3553");
        let connect = self.clients.connect(&address);
        let connected = tokio::time::timeout(Duration::from_secs(4), connect).await;
        let Ok(Ok(client)) = connected else { return };
        let session = self.stage.sessions.get().saturating_add(1);
        self.stage.sessions.set(session);
        let boot = self.stage.sim.boot(host);
        let mut play = Play { bot: self, client, session, n: 0 };
        play.add(What::Opened { gate: host.to_owned(), boot });
        play.session().await;
        play.drain();
        play.client.close();
        play.add(What::Closed);
    }
}

impl Play<'_> {
    fn add(&self, what: What) {
        self.bot.stage.history.add(self.bot.user, self.session, what);
    }

    fn number(&mut self) -> u64 {
        self.n = self.n.saturating_add(1);
        self.n
    }

    /// Logs in and plays until the connection is of no use any more.
    async fn session(&mut self) {
        let user = self.bot.user;
        if !self.call(LOGIN, user).await {
            return;
        }
        let mut joins = 0;
        let mut asked = 0;
        while !self.bot.is_done() && self.client.is_open() {
            let now = self.bot.stage.sim.trace().millis();
            let heard = self.bot.served.get().max(asked);
            if joins == 0 || now.saturating_sub(heard) > PATIENCE_MS {
                joins += 1;
                if joins > REJOINS_MAX {
                    return;
                }
                let n = self.number();
                asked = now;
                if !self.call(JOIN, n).await {
                    continue;
                }
                asked = self.bot.stage.sim.trace().millis();
            }
            for _ in 0..=self.bot.dice.below(3) {
                self.step();
            }
            if self.bot.dice.below(4) == 0 {
                let n = self.number();
                self.call(ECHO, n).await;
            }
            if self.listen().await {
                joins = 1;
            }
            if self.bot.dice.below(60) == 0 {
                return; // it logs in elsewhere
            }
        }
    }

    fn step(&mut self) {
        let n = self.number();
        if self.client.send_raw(STEP, format!("{} {n}", self.session).as_bytes()).is_ok() {
            self.add(What::Sent { route: STEP, n });
        }
    }

    async fn call(&mut self, route: i32, n: u64) -> bool {
        self.add(What::Sent { route, n });
        let body = format!("{} {n}", self.session);
        let answer = self.client.call_raw(route, body.as_bytes()).await;
        // What came before the answer is there by now; some of it may have come after.
        self.drain();
        match answer {
            Ok(body) => match mark(&body) {
                Some(mark) => {
                    self.add(What::Answered { route, mark });
                    return true;
                }
                None => self.add(What::Garbled { route }),
            },
            Err(status) => self.add(What::Failed { route, n, code: status.code().0 }),
        }
        false
    }

    /// Takes what comes for a while. True if a step was answered.
    async fn listen(&self) -> bool {
        let pause = Duration::from_millis(100 + self.bot.dice.below(300));
        let until = tokio::time::Instant::now() + pause;
        let mut stepped = false;
        loop {
            tokio::select! {
                biased;
                event = self.client.next_event() => match event {
                    Some(event) => stepped |= self.hear(event),
                    None => return stepped,
                },
                () = tokio::time::sleep_until(until) => return stepped,
            }
        }
    }

    fn drain(&self) -> bool {
        let mut stepped = false;
        while let Some(event) = self.client.try_event() {
            stepped |= self.hear(event);
        }
        stepped
    }

    fn hear(&self, event: Event) -> bool {
        let Event::Push(Push { route, body, .. }) = event else { return false };
        match mark(&body) {
            Some(mark) => {
                let is_step = route.0 == STEPPED;
                self.add(What::Pushed { route: route.0, mark });
                if is_step {
                    self.bot.served.set(self.bot.stage.sim.trace().millis());
                }
                is_step
            }
            None => {
                self.add(What::Garbled { route: route.0 });
                false
            }
        }
    }
}

fn mark(body: &[u8]) -> Option<Mark> {
    std::str::from_utf8(body).ok()?.parse().ok()
}
