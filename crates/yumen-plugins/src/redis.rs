//! Where users are, in Redis: interchangeable with due's processes on the same server.
//!
//! What due knows is exactly due's and never expires: `<prefix>:locate:user:<uid>:gate` names the gate,
//! the hash `…:node` names the node of each group, and due's two channels get due's events. What due has
//! no room for lies in keys of ours:
//!
//! | Key | What |
//! |---|---|
//! | `{<due's key>}:yumen`, for nodes with `:<group>` | epoch, life and instance of the place; after its end the epoch, for an hour |
//! | `<prefix>:yumen:lives` | hash: instance to the life that is open |
//! | `<prefix>:yumen:life:<instance>` | there for 9 s after a renewal |
//! | `<prefix>:yumen:last:<instance>` | the last life, for an hour, so that lives only grow |
//! | `<prefix>:yumen:seats` | sorted set: each instance's places, so that its end finds them |
//! | `<prefix>:yumen:ended` | hash: instance to the last life whose places are not all taken away yet |
//! | `<prefix>:yumen:turn` | who looks for lives that are overdue now |
//! | `<prefix>:yumen:moves`, with `:<db>` if that is not 0 | channel: every change, with its epoch |
//!
//! **Atomic.** Each claim, release, search, open, renewal and close is one script, so a claim sees the
//! lives as they are and a life that is over never claims. All keys are named to the script. A place and
//! its record share a slot, but the lives are in another one: on Redis Cluster, which is what two or more
//! addresses mean, that takes other scripts and one or two steps more: see the head of `slots.rs`.
//!
//! **Epochs** are the time in µs, or the last epoch and one if that is more. A process never falls behind
//! what it has seen, so clocks that differ, and a server that lost its memory, do no harm to it.
//!
//! **Lives** end when they are closed, opened again, or overdue. A process that has an instance of its
//! own looks for those, about four times a second: what was killed is gone within 10 s of its last
//! renewal. A renewal that comes late, but before anybody ended the life, is taken; and after the server
//! was away nobody ends a life before the others had time to renew. So an outage costs nobody its places.
//!
//! **due's places** have no life. They are taken as they are, get an epoch when they are first seen, and
//! stay until due or a claim moves them. An instance of due's cannot be claimed for.
//!
//! The server must not evict keys (`maxmemory-policy noeviction`). Redis 6 and later, Valkey 8. A user with
//! rights of its own needs `+@connection +@read +@write +@scripting +@pubsub` on the keys `<prefix>:*` and
//! `{<prefix>:*` and the channels `<prefix>:*`; on Redis Cluster also
//! `+time +cluster|info +cluster|nodes +cluster|links +cluster|slots`.

mod builder;
mod follow;
mod keys;
mod lives;
mod router;
mod server;
mod settle;
mod slots;
mod tls;

pub use builder::RedisLocatorBuilder;

use keys::{Change, Keys, Seat};
use lives::{bytes, ms};
use server::{Call, Fault, Request, Script, Server};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::AbortHandle,
    time::timeout,
};
use yumen_core::{
    BoxFuture,
    health::{Health, Load},
    locator::{
        Attempt, Claim, Incarnation, Located, Locator, LocatorError, Moves, MovesSender, Place,
        RENEW_INTERVAL, Role,
    },
};
use yumen_proto::{Epoch, InstanceId, UserId};
use yumen_settings::{Settings, keys::stores::LocateRedisSettings};

/// How long a renewal holds.
const RENEWAL: Duration = RENEW_INTERVAL.saturating_mul(3);
/// How long epochs and lives are remembered that are over: longer than any two clocks differ.
const KEPT: Duration = Duration::from_secs(3_600);
/// Batches of places that a close or an open takes away itself; the rest follows.
const BATCHES_MAX: usize = 64;
/// Events of due's that wait to be compared with what due wrote.
const TOLD_MAX: usize = 4_096;

/// Where users are, in Redis: share it in an `Arc`. See the module.
///
/// Made without a runtime; its connections are made at the first call, on the runtime of that call, and
/// end when it is dropped.
#[derive(Debug)]
pub struct RedisLocator {
    shared: Arc<Shared>,
    tasks: OnceLock<Tasks>,
}

/// Figures of a [`RedisLocator`], for a person or for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Whether commands can be sent now.
    pub connected: bool,
    /// Whether changes are told now.
    pub following: bool,
    /// Commands under way.
    pub in_flight: usize,
    /// Most commands under way.
    pub in_flight_max: usize,
    /// Commands that wait for their turn.
    pub waiting: usize,
    /// Most commands that wait.
    pub waiting_max: usize,
    /// Connections for commands that were made after the first.
    pub reconnects: u64,
    /// Subscriptions that were made after the first; each told the followers that they lost events.
    pub resubscribes: u64,
    /// Commands that failed or were not answered in time, and attempts to connect.
    pub failed: u64,
    /// Changes that processes of due's have told.
    pub due_events: u64,
    /// Messages on the channels that nobody could read.
    pub unreadable: u64,
}

/// Problems under the names of due's keys; those of limits cannot come from a file that was read.
fn with_keys(built: Result<RedisLocator, Vec<String>>) -> Result<RedisLocator, Vec<String>> {
    let named = |problem: &String| format!("etc.locate.redis.{problem}");
    built.map_err(|problems| problems.iter().map(named).collect())
}

/// What calls and tasks share.
#[derive(Debug)]
struct Shared {
    keys: Keys,
    scripts: Scripts,
    /// The scripts for Redis Cluster, if it is one.
    slots: Option<slots::Scripts>,
    /// What was claimed and released there a moment ago.
    recent: slots::Recent,
    /// What the tokens of this process begin with, and how many it has given.
    tag: u64,
    tokens: AtomicU64,
    server: Server,
    moves: MovesSender,
    /// The greatest epoch or life that this process has seen.
    seen: AtomicU64,
    /// Whether an instance was opened here: only then does this process look after lives.
    holds: AtomicBool,
    /// Whether the first attempt to subscribe is over.
    subscribed: watch::Sender<bool>,
    subscribes: AtomicU64,
    following: AtomicBool,
    due_events: AtomicU64,
    /// Whether events of due's did not fit into the settler's queue.
    behind: AtomicBool,
    unreadable: AtomicU64,
}

#[derive(Debug)]
struct Scripts {
    claim: Script,
    release: Script,
    find: Script,
    settle: Script,
    drop: Script,
    open: Script,
    renew: Script,
    close: Script,
    look: Script,
    swept: Script,
}

impl Scripts {
    fn new() -> Self {
        let common = include_str!("redis/common.lua");
        Self {
            claim: Script::new(&[common, include_str!("redis/claim.lua")]),
            release: Script::new(&[common, include_str!("redis/release.lua")]),
            find: Script::new(&[common, include_str!("redis/find.lua")]),
            settle: Script::new(&[common, include_str!("redis/settle.lua")]),
            drop: Script::new(&[common, include_str!("redis/drop.lua")]),
            open: Script::new(&[include_str!("redis/open.lua")]),
            renew: Script::new(&[include_str!("redis/renew.lua")]),
            close: Script::new(&[include_str!("redis/close.lua")]),
            look: Script::new(&[include_str!("redis/look.lua")]),
            swept: Script::new(&[include_str!("redis/swept.lua")]),
        }
    }
}

/// The background work; ends with the value.
#[derive(Debug)]
struct Tasks([AbortHandle; 4]);

impl Tasks {
    fn start(shared: &Arc<Shared>, runtime: &Handle) -> Self {
        let (told, settling) = mpsc::channel(TOLD_MAX);
        let server = Arc::clone(shared);
        Self([
            runtime.spawn(async move { server.server.keep().await }).abort_handle(),
            runtime.spawn(follow::follow(Arc::clone(shared), told)).abort_handle(),
            runtime.spawn(settle::settle(Arc::clone(shared), settling)).abort_handle(),
            runtime.spawn(lives::look(Arc::clone(shared))).abort_handle(),
        ])
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl RedisLocator {
    /// The locator that due's section `locate.redis` and our `yumen.locator` describe. Nothing is sent
    /// before its first call.
    ///
    /// # Errors
    /// All that is wrong, each with its key.
    pub fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        let builder = RedisLocatorBuilder::from_settings(&settings.locate.redis);
        with_keys(builder.limits(&settings.yumen.locator).build())
    }

    /// As [`RedisLocator::from_settings`], with the default limits.
    ///
    /// # Errors
    /// All that is wrong, each with its key.
    pub fn new(settings: &LocateRedisSettings) -> Result<Self, Vec<String>> {
        with_keys(RedisLocatorBuilder::from_settings(settings).build())
    }

    /// Describes a locator from code.
    pub fn builder() -> RedisLocatorBuilder {
        RedisLocatorBuilder::default()
    }

    /// Its figures now.
    pub fn stats(&self) -> RedisStats {
        let shared = &self.shared;
        let (server, counts) = (&shared.server, &shared.server.counts);
        let after_first = |count: &AtomicU64| count.load(Ordering::Relaxed).saturating_sub(1);
        RedisStats {
            connected: server.is_up(),
            following: shared.following.load(Ordering::Relaxed),
            in_flight: server.in_flight(),
            in_flight_max: server.tuning.in_flight_max,
            waiting: counts.waiting.load(Ordering::Relaxed),
            waiting_max: server.tuning.waiting_max,
            reconnects: after_first(&counts.connects),
            resubscribes: after_first(&shared.subscribes),
            failed: counts.failed.load(Ordering::Relaxed),
            due_events: shared.due_events.load(Ordering::Relaxed),
            unreadable: shared.unreadable.load(Ordering::Relaxed),
        }
    }

    fn over(server: Server, keys: Keys, moves_max: usize) -> Self {
        let shared = Shared {
            keys,
            scripts: Scripts::new(),
            slots: server.has_slots().then(slots::Scripts::new),
            recent: slots::Recent::default(),
            tag: RandomState::new().build_hasher().finish(),
            tokens: AtomicU64::new(0),
            server,
            moves: MovesSender::bounded(moves_max),
            seen: AtomicU64::new(0),
            holds: AtomicBool::new(false),
            subscribed: watch::Sender::new(false),
            subscribes: AtomicU64::new(0),
            following: AtomicBool::new(false),
            due_events: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            unreadable: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), tasks: OnceLock::new() }
    }

    /// Starts the background work if this is the first call, and waits until it has tried to subscribe:
    /// what a call changes is told to whoever watches already.
    async fn started(&self) -> Result<&Shared, Fault> {
        if self.tasks.get().is_none() {
            let runtime = Handle::try_current().map_err(Fault::NoRuntime)?;
            self.tasks.get_or_init(|| Tasks::start(&self.shared, &runtime));
        }
        if !*self.shared.subscribed.borrow() {
            let mut tried = self.shared.subscribed.subscribe();
            let limit = self.shared.server.tuning.connect_max;
            // After the limit the call goes on, and followers are told of a loss when there is a
            // subscription.
            let _late = timeout(limit, tried.wait_for(|tried| *tried)).await;
        }
        Ok(&self.shared)
    }
}

impl Shared {
    /// The time in µs.
    #[expect(clippy::disallowed_methods, reason = "the only look at the clock of this locator")]
    fn clock() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// The time in µs, and later than all that this process has seen.
    fn time(&self) -> u64 {
        Self::clock().max(self.seen.load(Ordering::Relaxed).saturating_add(1))
    }

    /// The name of one call, unlike that of any other of any process.
    fn token(&self) -> String {
        format!("{:x}-{:x}", self.tag, self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    fn see(&self, number: u64) {
        self.seen.fetch_max(number, Ordering::Relaxed);
    }

    /// A run of a script on one place, with what all of those get.
    fn call<'a>(
        &self,
        script: &'a Script,
        seat: &Seat,
        instance: &str,
        rest: impl IntoIterator<Item = Vec<u8>>,
    ) -> Call<'a> {
        let keys = &self.keys;
        let mut args = vec![
            bytes(seat.kind()),
            bytes(seat.group()),
            seat.user.to_string().into_bytes(),
            bytes(instance),
            bytes(&keys.moves()),
            bytes(&keys.events_of(&seat.role)),
        ];
        args.extend(rest);
        let keys = vec![seat.place.clone(), seat.record.clone(), keys.lives(), keys.seats()];
        Call { script, keys, args }
    }

    async fn open(&self, instance: &InstanceId) -> Result<Incarnation, LocatorError> {
        if let Some(slots) = &self.slots {
            return self.open_in_slots(slots, instance).await;
        }
        let keys = &self.keys;
        let call = Call {
            script: &self.scripts.open,
            keys: vec![keys.life(instance), keys.last(instance), keys.lives(), keys.ended()],
            args: vec![
                bytes(instance.as_str()),
                self.time().to_string().into_bytes(),
                ms(RENEWAL),
                ms(KEPT),
                bytes(&keys.moves()),
            ],
        };
        let answer = self.server.ask(Request::Script(call)).await?;
        let (life, earlier): (u64, String) = self.server.read("an open", answer)?;
        self.see(life);
        self.holds.store(true, Ordering::Relaxed);
        if !earlier.is_empty() {
            // Nobody is found there any more; what this leaves is taken away by whoever looks.
            let _swept = self.sweep(instance, &earlier, BATCHES_MAX).await;
        }
        Ok(Incarnation(life))
    }

    async fn renew(&self, instance: &InstanceId, life: Incarnation) -> Result<(), LocatorError> {
        if let Some(slots) = &self.slots {
            return self.renew_in_slots(slots, instance, life).await;
        }
        let call = Call {
            script: &self.scripts.renew,
            keys: vec![self.keys.life(instance), self.keys.lives()],
            args: vec![bytes(instance.as_str()), life.to_string().into_bytes(), ms(RENEWAL)],
        };
        let answer = self.server.ask_again(Request::Script(call)).await?;
        let words: Vec<String> = self.server.read("a renewal", answer)?;
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ok"] => Ok(()),
            refused => Err(self.refusal(refused, instance, life)),
        }
    }

    async fn close(&self, instance: &InstanceId, life: Incarnation) -> Result<bool, LocatorError> {
        if let Some(slots) = &self.slots {
            return self.close_in_slots(slots, instance, life).await;
        }
        let life = life.to_string();
        let was = self.end(instance, &life, "now").await?;
        if was {
            let _swept = self.sweep(instance, &life, BATCHES_MAX).await;
        }
        Ok(was)
    }

    async fn claim(
        &self,
        user: UserId,
        place: &Place,
        stated: Option<Incarnation>,
        how: &str,
    ) -> Result<Attempt, LocatorError> {
        if let Some(slots) = &self.slots {
            return self.claim_in_slots(slots, user, place, stated, how).await;
        }
        let seat = self.keys.seat(user, &place.role);
        let life = stated.map_or_else(Vec::new, |life| life.to_string().into_bytes());
        let event = seat.event(Change::Bound, &place.instance).bytes();
        let rest = [life, self.time().to_string().into_bytes(), event, bytes(how)];
        let call = self.call(&self.scripts.claim, &seat, place.instance.as_str(), rest);
        let answer = self.server.ask(Request::Script(call)).await?;
        let words: Vec<String> = self.server.read("a claim", answer)?;
        let at = |instance: &str, epoch: &str| -> Result<Located, LocatorError> {
            let place = Place { role: place.role.clone(), instance: InstanceId::from(instance) };
            Ok(Located { place, epoch: self.epoch(epoch)? })
        };
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ok", epoch] => {
                Ok(Attempt::Claimed(Claim { epoch: self.epoch(epoch)?, previous: None }))
            }
            ["ok", epoch, instance, was] => {
                let previous = Some(at(instance, was)?);
                Ok(Attempt::Claimed(Claim { epoch: self.epoch(epoch)?, previous }))
            }
            ["taken", instance, was] => Ok(Attempt::Taken(at(instance, was)?)),
            refused => Err(self.refusal(refused, &place.instance, stated.unwrap_or_default())),
        }
    }

    async fn release(
        &self,
        user: UserId,
        place: &Place,
        epoch: Epoch,
    ) -> Result<bool, LocatorError> {
        if let Some(slots) = &self.slots {
            return self.release_in_slots(slots, user, place, epoch).await;
        }
        let seat = self.keys.seat(user, &place.role);
        let event = seat.event(Change::Unbound, &place.instance).bytes();
        let rest = [epoch.to_string().into_bytes(), ms(KEPT), event];
        let call = self.call(&self.scripts.release, &seat, place.instance.as_str(), rest);
        let answer = self.server.ask(Request::Script(call)).await?;
        Ok(self.server.read("a release", answer)?)
    }

    async fn find(&self, user: UserId, role: &Role) -> Result<Option<Located>, LocatorError> {
        if let Some(slots) = &self.slots {
            return self.find_in_slots(slots, user, role).await;
        }
        let seat = self.keys.seat(user, role);
        let call = self.call(&self.scripts.find, &seat, "", []);
        let answer = self.server.ask_again(Request::Script(call)).await?;
        let words: Vec<String> = self.server.read("a search", answer)?;
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["new" | "gone", instance] => {
                // Due wrote since: this gets its epoch now.
                let call = self.settling(&seat, instance, false);
                let answer = self.server.ask_again(Request::Script(call)).await?;
                let words: Vec<String> = self.server.read("a search", answer)?;
                self.located(role, &words)
            }
            _ => self.located(role, &words),
        }
    }

    fn located(&self, role: &Role, words: &[String]) -> Result<Option<Located>, LocatorError> {
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["none"] => Ok(None),
            ["at", instance, epoch] => {
                let place = Place { role: role.clone(), instance: InstanceId::from(*instance) };
                Ok(Some(Located { place, epoch: self.epoch(epoch)? }))
            }
            _ => Err(self.server.odd("a search").into()),
        }
    }

    fn epoch(&self, text: &str) -> Result<Epoch, Fault> {
        let epoch = text.parse().map_err(|_| self.server.odd("an epoch"))?;
        self.see(epoch);
        Ok(Epoch(epoch))
    }

    /// Why a script refused: the life is over.
    fn refusal(&self, words: &[&str], instance: &InstanceId, stated: Incarnation) -> LocatorError {
        let instance = instance.clone();
        match words {
            ["closed"] => LocatorError::NotOpen { instance },
            ["over", current] => match current.parse() {
                Ok(current) => {
                    LocatorError::Superseded { instance, stated, current: Incarnation(current) }
                }
                Err(_) => self.server.odd("a life").into(),
            },
            _ => self.server.odd("a life").into(),
        }
    }
}

impl Locator for RedisLocator {
    fn name(&self) -> &str {
        "redis"
    }

    fn open<'a>(
        &'a self,
        instance: &'a InstanceId,
    ) -> BoxFuture<'a, Result<Incarnation, LocatorError>> {
        Box::pin(async move { self.started().await?.open(instance).await })
    }

    fn renew<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<(), LocatorError>> {
        Box::pin(async move { self.started().await?.renew(instance, incarnation).await })
    }

    fn close<'a>(
        &'a self,
        instance: &'a InstanceId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        Box::pin(async move { self.started().await?.close(instance, incarnation).await })
    }

    fn claim<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> BoxFuture<'a, Result<Claim, LocatorError>> {
        Box::pin(async move {
            match self.started().await?.claim(user, place, incarnation, "").await? {
                Attempt::Claimed(claim) => Ok(claim),
                Attempt::Taken(_) => Err(self.started().await?.server.odd("a claim").into()),
            }
        })
    }

    fn claim_if_free<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        incarnation: Option<Incarnation>,
    ) -> BoxFuture<'a, Result<Attempt, LocatorError>> {
        Box::pin(async move { self.started().await?.claim(user, place, incarnation, "free").await })
    }

    fn release<'a>(
        &'a self,
        user: UserId,
        place: &'a Place,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<bool, LocatorError>> {
        Box::pin(async move { self.started().await?.release(user, place, epoch).await })
    }

    fn find<'a>(
        &'a self,
        user: UserId,
        role: &'a Role,
    ) -> BoxFuture<'a, Result<Option<Located>, LocatorError>> {
        Box::pin(async move { self.started().await?.find(user, role).await })
    }

    fn watch(&self) -> Moves {
        self.shared.moves.watch()
    }

    fn health(&self) -> Health {
        self.shared.server.health()
    }

    fn load(&self) -> Option<Load> {
        let stats = self.stats();
        Some(Load {
            connections: usize::from(stats.connected).saturating_add(stats.following.into()),
            reconnects: stats.reconnects.saturating_add(stats.resubscribes),
            in_flight: stats.in_flight,
            in_flight_max: stats.in_flight_max,
            waiting: stats.waiting,
            waiting_max: stats.waiting_max,
        })
    }
}
