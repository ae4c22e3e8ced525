//! One client: connect, enter, a round of requests now and then, and the next gate when this one fails.
use super::super::game::{self, Ask, Effect, Enter};
use super::super::sheet::Sheet;
use super::{Orders, Tally};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use yumen::client::{Client, Clients, Event};
use yumen::net::env::Dice;
use yumen::status::{Code, Status};

/// Longest pause before a client tries the next gate, or enters again.
const RETRY_MS: u64 = 400;
/// Requests in a row without any answer after which a client goes to another gate.
const SILENCE_MAX: u32 = 3;
/// Most requests that wait; more are not sent.
const WAITING_MAX: usize = 12;
/// What an answered request pushes has come by then.
const PUSHED_AFTER: Duration = Duration::from_secs(1);
/// Clients start, and go home, one after the other within this time.
const SPREAD_MS: u64 = 2_000;

pub(super) struct Bot {
    pub(super) index: u32,
    /// Between two rounds.
    pub(super) pause: Duration,
    /// How long it stays at a gate on average; 0: for good.
    pub(super) roam_ms: u64,
    pub(super) clients: Clients,
    pub(super) sheet: Rc<Sheet>,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) tally: Arc<Tally>,
    pub(super) dice: Dice,
    /// Of the last request.
    pub(super) number: Rc<Cell<u64>>,
    /// The last word to go home that was heard.
    pub(super) homeward: u64,
    /// When it goes; kept, since whoever waits for it is interrupted by every round.
    pub(super) going: Option<Pin<Box<Sleep>>>,
}

/// What a connection looks like to its client.
struct Visit {
    client: Client,
    /// Requests in a row that nobody answered.
    silence: Cell<u32>,
    /// Whether the user has a node, as far as is known.
    placed: Cell<bool>,
}

/// Why a client left a gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Its connection ended.
    Cut,
    /// The gate answered nothing, or did not let it in.
    Silent,
    /// It was told to go home.
    Home,
    /// It had been there for long.
    Roam,
    /// It was told to stop.
    Stop,
}

impl Left {
    fn word(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Silent => "silent",
            Self::Home => "home",
            Self::Roam => "roam",
            Self::Stop => "stop",
        }
    }
}

/// One more, for as long as this lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bot {
    /// Plays until it is told to stop.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) async fn live(mut self) -> io::Result<()> {
        sleep(self.spread()).await;
        let mut turn = self.home();
        while !self.orders.borrow().stop {
            let Some((name, address)) = self.gate(turn) else {
                sleep(self.some(RETRY_MS)).await;
                continue;
            };
            let Ok(client) = self.clients.connect(&address.to_string()).await else {
                self.line(format_args!("shut {name}"))?;
                turn = turn.wrapping_add(1);
                sleep(self.some(RETRY_MS)).await;
                continue;
            };
            self.line(format_args!("open {name}"))?;
            let (left, asked) = self.visit(client, &name).await?;
            self.line(format_args!("lost {}", left.word()))?;
            // The gate knows who comes back when; the dice only add to that.
            sleep(asked).await;
            turn = if left == Left::Home { self.home() } else { turn.wrapping_add(1) };
            if left != Left::Stop {
                sleep(self.some(RETRY_MS)).await;
            }
        }
        self.line(format_args!("done"))
    }

    /// Stays at a gate as long as it can.
    /// Gives why it left, and how long the gate wants it to stay away.
    async fn visit(&mut self, client: Client, gate: &str) -> io::Result<(Left, Duration)> {
        let tally = Arc::clone(&self.tally);
        let _open = Counted::new(&tally.open);
        let visit = Visit { client, silence: Cell::new(0), placed: Cell::new(false) };
        let visit = Rc::new(visit);
        let mut tasks = JoinSet::new();
        tasks.spawn_local(listen(self.pen(), Rc::clone(&visit)));
        let mut asks = JoinSet::new();
        let left = self.stay(&visit, gate, &mut asks, &tally).await?;
        // Whatever still waits is answered, or told that it is not, before this visit is over.
        while let Some(ended) = asks.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        let notice = if left == Left::Cut { visit.client.closed().await.notice } else { None };
        visit.client.close();
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok((left, notice.and_then(|notice| notice.retry_after).unwrap_or_default()))
    }

    async fn stay(
        &mut self,
        visit: &Rc<Visit>,
        gate: &str,
        asks: &mut JoinSet<io::Result<()>>,
        tally: &Tally,
    ) -> io::Result<Left> {
        let mut entered = None;
        let mut until = pin!(self.roaming());
        loop {
            if !visit.client.is_open() {
                return Ok(Left::Cut);
            }
            if visit.silence.get() >= SILENCE_MAX {
                return Ok(Left::Silent);
            }
            if !visit.placed.get() {
                entered = None;
                self.enter(visit).await?;
                if visit.placed.get() {
                    entered = Some(Counted::new(&tally.entered));
                    self.line(format_args!("in"))?;
                }
            }
            while asks.try_join_next().is_some() {}
            let pause =
                if entered.is_some() { self.round(visit, asks) } else { self.some(RETRY_MS) };
            tokio::select! {
                biased;
                left = self.told(gate) => return Ok(left),
                _ = visit.client.closed() => return Ok(Left::Cut),
                () = &mut until => break,
                () = sleep(pause) => {}
            }
        }
        // What was asked here is answered here, and what that pushes arrives.
        while let Some(ended) = asks.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        sleep(PUSHED_AFTER).await;
        Ok(if visit.client.is_open() { Left::Roam } else { Left::Cut })
    }

    /// Ends when the client has been at a gate for long enough.
    fn roaming(&self) -> impl Future<Output = ()> + use<> {
        // Half of it and up to as much again.
        let stay = Duration::from_millis(self.roam_ms / 2).saturating_add(self.some(self.roam_ms));
        let roams = self.roam_ms > 0;
        async move {
            match roams {
                true => sleep(stay).await,
                false => std::future::pending().await,
            }
        }
    }

    /// Sends one round and gives the pause behind it.
    fn round(&self, visit: &Rc<Visit>, asks: &mut JoinSet<io::Result<()>>) -> Duration {
        if asks.len() < WAITING_MAX {
            // Two on one route, so that their order shows.
            for (word, route) in [("free", game::FREE), ("held", game::HELD), ("held", game::HELD)]
            {
                asks.spawn_local(ask(self.pen(), Rc::clone(visit), word, route));
            }
        }
        // Half of the pause and up to as much again: no two clients stay in step.
        let ms = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(ms / 2).saturating_add(self.some(ms))
    }

    /// Waits for a word to leave `gate`.
    async fn told(&mut self, gate: &str) -> Left {
        loop {
            let (homeward, stop) = {
                let orders = self.orders.borrow_and_update();
                (orders.homeward, orders.stop)
            };
            if stop {
                return Left::Stop;
            }
            if homeward != self.homeward {
                self.homeward = homeward;
                self.going = Some(Box::pin(sleep(self.spread())));
            }
            if let Some(going) = &mut self.going {
                going.await;
                self.going = None;
                if self.gate(self.home()).is_some_and(|(name, _)| name != gate) {
                    return Left::Home;
                }
            } else if self.orders.changed().await.is_err() {
                return Left::Stop;
            }
        }
    }

    /// Logs in and takes the node that answers.
    async fn enter(&self, visit: &Visit) -> io::Result<()> {
        let pen = self.pen();
        let n = pen.next();
        pen.line(format_args!("enter {n}"))?;
        let user = i64::from(self.index).saturating_add(1);
        match visit.client.call::<_, String>(game::ENTER, &Enter { user }).await {
            Ok(life) => {
                visit.silence.set(0);
                visit.placed.set(true);
                pen.line(format_args!("ok {n} {life} 0"))
            }
            Err(status) => pen.told(visit, n, &status),
        }
    }

    fn gate(&self, turn: u32) -> Option<(String, SocketAddr)> {
        let orders = self.orders.borrow();
        let count = u32::try_from(orders.gates.len()).unwrap_or(u32::MAX);
        let at = usize::try_from(turn.checked_rem(count)?).ok()?;
        orders.gates.iter().nth(at).map(|(name, address)| (name.clone(), *address))
    }

    fn home(&self) -> u32 {
        self.index
    }

    /// Its share of the time in which all of them begin something.
    fn spread(&self) -> Duration {
        Duration::from_millis(u64::from(self.index) % SPREAD_MS)
    }

    fn some(&self, most_ms: u64) -> Duration {
        Duration::from_millis(self.dice.below(most_ms))
    }

    fn pen(&self) -> Pen {
        let (sheet, number) = (Rc::clone(&self.sheet), Rc::clone(&self.number));
        Pen { index: self.index, sheet, number }
    }

    fn line(&self, words: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.pen().line(words)
    }
}

/// Writes down what one client sees, and numbers its requests.
struct Pen {
    index: u32,
    sheet: Rc<Sheet>,
    number: Rc<Cell<u64>>,
}

impl Pen {
    fn next(&self) -> u64 {
        self.number.set(self.number.get().saturating_add(1));
        self.number.get()
    }

    fn line(&self, words: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.sheet.line(format_args!("{} {words}", self.index))
    }

    /// A request that was not answered with its effect.
    fn told(&self, visit: &Visit, n: u64, status: &Status) -> io::Result<()> {
        let silent = status.code() == Code::DEADLINE_EXCEEDED;
        visit.silence.set(if silent { visit.silence.get().saturating_add(1) } else { 0 });
        let code = status.code().to_string().replace(' ', "-");
        self.line(format_args!("told {n} {code} {:?} {}", status.outcome(), status.message()))
    }
}

/// One request, from its sending to its end.
async fn ask(pen: Pen, visit: Rc<Visit>, word: &'static str, route: i32) -> io::Result<()> {
    let n = pen.next();
    pen.line(format_args!("{word} {n}"))?;
    match visit.client.call::<_, Effect>(route, &Ask { n }).await {
        Ok(effect) => {
            visit.silence.set(0);
            if let Some(why) = &effect.unpushed {
                pen.line(format_args!("unpushed {} {why}", effect.n))?;
            }
            pen.line(format_args!("ok {} {} {}", effect.n, effect.life, effect.count))
        }
        Err(status) => {
            // Its node is gone, or nobody knows which it is: enter again.
            if route == game::HELD && status.code() != Code::BUSY {
                visit.placed.set(false);
            }
            pen.told(&visit, n, &status)
        }
    }
}

/// Writes down what is pushed, until the connection has ended.
async fn listen(pen: Pen, visit: Rc<Visit>) -> io::Result<()> {
    while let Some(event) = visit.client.next_event().await {
        let Event::Push(push) = event else { continue };
        match visit.client.decode::<Effect>(&push) {
            Ok(Effect { n, life, count, .. }) => {
                let word = if push.route.0 == game::FREE_DONE { "free" } else { "held" };
                pen.line(format_args!("push {word} {n} {life} {count}"))?;
            }
            Err(error) => pen.line(format_args!("garbage {} {error}", push.route.0))?,
        }
    }
    Ok(())
}
