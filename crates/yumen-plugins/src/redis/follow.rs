//! The subscription: what ours and due's processes tell becomes the stream of moves.
//!
//! It never asks for anything and never waits for a reader. The one thing to know: our scripts publish
//! our event and due's copy of it in one step, so the copy is the very next message and is skipped; any
//! other event on due's channels was written by a process of due's and goes to the settler.

use super::{
    Shared,
    keys::{Change, DueEvent},
    server::now,
    slots,
};
use redis::{ErrorKind, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use yumen_core::locator::{Incarnation, Moved, Place, Role};
use yumen_proto::{Epoch, InstanceId, UserId};

/// What due told, and what is to be compared with what due wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) user: UserId,
    pub(super) role: Role,
    pub(super) instance: InstanceId,
    pub(super) bound: bool,
}

/// Between two looks at the servers of Redis Cluster.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Copies of events that are waited for, and for how long: servers of Redis Cluster pass each event on by
/// itself, so that those of one may come between two of another.
const COPIES_MAX: usize = 4_096;
const COPY_AGE_MAX: Duration = Duration::from_secs(5);
/// Ends of lives that are remembered: of more instances than end within a moment.
const ENDED_MAX: usize = 256;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Follows for ever.
pub(super) async fn follow(shared: Arc<Shared>, told: mpsc::Sender<Told>) {
    let mut pause = PAUSE_MIN;
    let mut silent = false;
    for place in 0_usize.. {
        shared.following.store(false, Ordering::Relaxed);
        let gone = Arc::new(Notify::new());
        let heard = Arc::new(Mutex::new(now()));
        let ear = Ear {
            shared: Arc::clone(&shared),
            told: told.clone(),
            copies: Mutex::new(Copies::new(shared.slots.is_none())),
            ended: Mutex::default(),
            gone: Arc::clone(&gone),
            heard: Arc::clone(&heard),
        };
        let within = shared.server.tuning.connect_max;
        match timeout(within, subscribe(&shared, ear, place)).await {
            Ok(Ok(conn)) => {
                // After the subscription stands: what came in between is lost, what comes now is not.
                if silent {
                    shared.moves.send(Moved::Lost);
                    tracing::info!("moves are told again by {}", shared.server.name);
                }
                silent = true;
                pause = PAUSE_MIN;
                shared.subscribes.fetch_add(1, Ordering::Relaxed);
                shared.following.store(true, Ordering::Relaxed);
                shared.subscribed.send_replace(true);
                listen(&shared, conn, &gone, &heard).await;
                tracing::warn!(
                    "moves are not told any more by {}; subscribing again",
                    shared.server.name
                );
            }
            _ => {
                silent = true;
                shared.subscribed.send_replace(true);
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
            }
        }
    }
}

async fn subscribe(
    shared: &Shared,
    ear: Ear,
    place: usize,
) -> redis::RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(move |info| ear.hear(info));
    let none = (ErrorKind::InvalidClientConfig, "no server is named");
    let client = shared.server.listener(place).ok_or(none)?;
    let mut conn = client.get_multiplexed_async_connection_with_config(&config).await?;
    let keys = &shared.keys;
    conn.subscribe(&[keys.moves(), keys.gate_events(), keys.node_events()]).await?;
    Ok(conn)
}

/// Until the connection is gone, or does not answer after having been silent.
async fn listen(
    shared: &Shared,
    mut conn: MultiplexedConnection,
    gone: &Notify,
    heard: &Mutex<Instant>,
) {
    let tuning = &shared.server.tuning;
    let second = conn.clone();
    let pings = async {
        loop {
            let last = *heard.lock().unwrap_or_else(PoisonError::into_inner);
            let quiet = now().saturating_duration_since(last);
            if quiet < tuning.ping_every {
                sleep(tuning.ping_every.saturating_sub(quiet)).await;
                continue;
            }
            let ping = redis::cmd("PING");
            match timeout(tuning.command_max, ping.query_async::<Value>(&mut conn)).await {
                Ok(Ok(_)) => *heard.lock().unwrap_or_else(PoisonError::into_inner) = now(),
                _ => break,
            }
        }
    };
    let watched = async {
        match &shared.slots {
            Some(slots) => watch_servers(shared, slots, second).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = gone.notified() => {}
        () = pings => {}
        () = watched => {}
    }
}

/// Of the events of Redis Cluster none tells that some were lost, or that a server took over which has
/// forgotten some answers: so this looks. Until it is not answered.
async fn watch_servers(shared: &Shared, slots: &slots::Scripts, mut conn: MultiplexedConnection) {
    let mut known = None;
    let mut redo = true;
    loop {
        let seen = async {
            let nodes = redis::cmd("CLUSTER").arg("NODES").query_async::<String>(&mut conn).await?;
            let links = redis::cmd("CLUSTER").arg("LINKS").query_async::<Value>(&mut conn).await;
            Ok::<_, redis::RedisError>(slots::servers(&nodes, links.ok()))
        };
        let Ok(Ok(seen)) = timeout(shared.server.tuning.command_max, seen).await else { return };
        if known.as_ref().is_some_and(|known| *known != seen) {
            redo = true;
            shared.moves.send(Moved::Lost);
            tracing::warn!(
                "the servers of {} have changed; places are checked",
                shared.server.name
            );
        }
        known = Some(seen);
        // What fails now is tried again: until another server has taken over nobody can answer.
        redo = redo && shared.redo(slots).await.is_err();
        sleep(WATCH_EVERY).await;
    }
}

/// Hears what one connection brings, in order; called by the connection's own task.
struct Ear {
    shared: Arc<Shared>,
    told: mpsc::Sender<Told>,
    copies: Mutex<Copies>,
    /// On Redis Cluster, the lives that ended last.
    ended: Mutex<VecDeque<(InstanceId, u64)>>,
    gone: Arc<Notify>,
    heard: Arc<Mutex<Instant>>,
}

/// Nothing is refused.
type Heard = Result<(), std::convert::Infallible>;

impl Ear {
    fn hear(&self, info: PushInfo) -> Heard {
        if info.kind == PushKind::Disconnection {
            self.gone.notify_one();
            return Ok(());
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = now();
        if info.kind != PushKind::Message {
            return Ok(());
        }
        let mut parts = info.data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
            (parts.next(), parts.next())
        else {
            return Ok(());
        };
        let ours = channel == self.shared.keys.moves().as_bytes();
        let known = if ours { self.on_ours(&payload) } else { self.on_dues(&payload) };
        if known.is_none() {
            self.shared.unreadable.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn on_ours(&self, payload: &[u8]) -> Option<()> {
        let words: Vec<String> = serde_json::from_slice(payload).ok()?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match *words.as_slice() {
            ["close", instance, life] => {
                let (instance, life) = (InstanceId::from(instance), life.parse().ok()?);
                self.shared.see(life);
                self.ended(&instance, life);
                self.shared.moves.send(Moved::Closed { instance, incarnation: Incarnation(life) });
            }
            [what, user, kind, group, instance, epoch, ref life @ ..] => {
                let user = UserId(user.parse().ok()?);
                let role = match kind {
                    "gate" => Role::Gate,
                    "node" => Role::node(group),
                    _ => return None,
                };
                let epoch = Epoch(epoch.parse().ok()?);
                self.shared.see(epoch.0);
                let place = Place { role, instance: instance.into() };
                let life = life.first().and_then(|life| life.parse().ok());
                let over = life.is_some_and(|life: u64| self.is_over(&place.instance, life));
                self.on_move(what, user, place.clone(), epoch)?;
                if over && matches!(what, "claim" | "adopt") {
                    // The end of the life has come first, from another server.
                    self.shared.moves.send(Moved::Released { user, place, epoch });
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn on_move(&self, what: &str, user: UserId, place: Place, epoch: Epoch) -> Option<()> {
        let seat = || self.shared.keys.seat(user, &place.role);
        let copy = match what {
            "claim" => Some(seat().event(Change::Bound, &place.instance)),
            "release" | "drop" => Some(seat().event(Change::Unbound, &place.instance)),
            "adopt" | "gone" => None,
            _ => return None,
        };
        self.copies().expect(copy, now());
        match what {
            "claim" | "adopt" => self.shared.moves.send(Moved::Claimed { user, place, epoch }),
            "release" | "gone" => self.shared.moves.send(Moved::Released { user, place, epoch }),
            // Told by the end of the life.
            _ => {}
        }
        Some(())
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the end of a life, for claims of it that other servers tell later.
    fn ended(&self, instance: &InstanceId, life: u64) {
        if self.shared.slots.is_none() {
            return;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|(other, _)| other != instance);
        ended.push_back((instance.clone(), life));
        if ended.len() > ENDED_MAX {
            ended.pop_front();
        }
    }

    fn is_over(&self, instance: &InstanceId, life: u64) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        life > 0 && ended.iter().any(|(other, last)| other == instance && life <= *last)
    }

    fn on_dues(&self, payload: &[u8]) -> Option<()> {
        let event = DueEvent::read(payload)?;
        if self.copies().expected(&event) {
            return Some(());
        }
        let (user, role, instance, change) = event.meaning()?;
        let bound = change == Change::Bound;
        self.shared.due_events.fetch_add(1, Ordering::Relaxed);
        let behind = self.told.try_send(Told { user, role, instance, bound }).is_err();
        // The settler says so when it has caught up with what did fit.
        if behind && !self.shared.behind.swap(true, Ordering::Relaxed) {
            tracing::warn!("due's processes tell more moves than can be followed up");
        }
        Some(())
    }
}

/// Due's copies of our events that are still to come. From one server the copy is the very next message; the
/// servers of Redis Cluster pass each on by itself, so that those of one come between two of another.
struct Copies {
    one_server: bool,
    all: VecDeque<(Instant, DueEvent)>,
}

impl Copies {
    fn new(one_server: bool) -> Self {
        Self { one_server, all: VecDeque::new() }
    }

    /// An event of ours came, and this copy follows.
    fn expect(&mut self, copy: Option<DueEvent>, now: Instant) {
        let old = |at: Instant| now.saturating_duration_since(at) > COPY_AGE_MAX;
        let full = self.all.len() >= COPIES_MAX;
        while self.all.front().is_some_and(|(at, _)| self.one_server || full || old(*at)) {
            self.all.pop_front();
            if full {
                break;
            }
        }
        self.all.extend(copy.map(|copy| (now, copy)));
    }

    /// An event came: is it such a copy? Otherwise a process of due's told it.
    fn expected(&mut self, event: &DueEvent) -> bool {
        let place = self.all.iter().position(|(_, copy)| copy == event);
        if self.one_server {
            self.all.clear();
        } else if let Some(place) = place {
            self.all.remove(place);
        }
        place.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::keys::Keys;

    fn bound(user: i64) -> DueEvent {
        Keys::new("due", 0).seat(UserId(user), &Role::Gate).event(Change::Bound, &"gate-1".into())
    }

    #[tokio::test]
    async fn copies_of_several_servers_are_known_in_any_order_and_once() {
        let mut copies = Copies::new(false);
        let start = now();
        copies.expect(Some(bound(1)), start);
        copies.expect(None, start);
        copies.expect(Some(bound(2)), start);
        assert!(copies.expected(&bound(2)) && copies.expected(&bound(1)));
        assert!(!copies.expected(&bound(1)), "the second time due tells it");
        copies.expect(Some(bound(3)), start);
        copies.expect(Some(bound(4)), start + COPY_AGE_MAX * 2);
        assert!(!copies.expected(&bound(3)), "a copy that never came is not waited for");
        for user in 0..10_000 {
            copies.expect(Some(bound(user)), start + COPY_AGE_MAX * 2);
        }
        assert!(copies.all.len() <= COPIES_MAX);
    }

    #[tokio::test]
    async fn the_copy_of_one_server_is_the_very_next_message() {
        let mut copies = Copies::new(true);
        copies.expect(Some(bound(1)), now());
        assert!(!copies.expected(&bound(2)) && !copies.expected(&bound(1)));
        copies.expect(Some(bound(1)), now());
        copies.expect(Some(bound(2)), now());
        assert!(!copies.expected(&bound(1)));
    }
}
