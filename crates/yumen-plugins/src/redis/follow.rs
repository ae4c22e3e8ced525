//! The subscription: what ours and due's processes tell becomes the stream of moves.
//!
//! It never asks for anything and never waits for a reader. The one thing to know: our scripts publish
//! our event and due's copy of it in one step, so the copy is the very next message and is skipped; any
//! other event on due's channels was written by a process of due's and goes to the settler.

use super::{
    Shared,
    keys::{Change, DueEvent},
    server::now,
};
use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
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

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Follows for ever.
pub(super) async fn follow(shared: Arc<Shared>, told: mpsc::Sender<Told>) {
    let mut pause = PAUSE_MIN;
    let mut silent = false;
    loop {
        shared.following.store(false, Ordering::Relaxed);
        let gone = Arc::new(Notify::new());
        let heard = Arc::new(Mutex::new(now()));
        let ear = Ear {
            shared: Arc::clone(&shared),
            told: told.clone(),
            copy: Mutex::default(),
            gone: Arc::clone(&gone),
            heard: Arc::clone(&heard),
        };
        let within = shared.server.tuning.connect_max;
        match timeout(within, subscribe(&shared, ear)).await {
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

async fn subscribe(shared: &Shared, ear: Ear) -> redis::RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(move |info| ear.hear(info));
    let client = &shared.server.client;
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
    tokio::select! {
        () = gone.notified() => {}
        () = pings => {}
    }
}

/// Hears what one connection brings, in order; called by the connection's own task.
struct Ear {
    shared: Arc<Shared>,
    told: mpsc::Sender<Told>,
    /// Due's copy of the event of ours that came last.
    copy: Mutex<Option<DueEvent>>,
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
                self.shared.moves.send(Moved::Closed { instance, incarnation: Incarnation(life) });
            }
            [what, user, kind, group, instance, epoch] => {
                let user = UserId(user.parse().ok()?);
                let role = match kind {
                    "gate" => Role::Gate,
                    "node" => Role::node(group),
                    _ => return None,
                };
                let epoch = Epoch(epoch.parse().ok()?);
                self.shared.see(epoch.0);
                self.on_move(what, user, Place { role, instance: instance.into() }, epoch)?;
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
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = copy;
        match what {
            "claim" | "adopt" => self.shared.moves.send(Moved::Claimed { user, place, epoch }),
            "release" | "gone" => self.shared.moves.send(Moved::Released { user, place, epoch }),
            // Told by the end of the life.
            _ => {}
        }
        Some(())
    }

    fn on_dues(&self, payload: &[u8]) -> Option<()> {
        let event = DueEvent::read(payload)?;
        let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner).take();
        if copy.as_ref() == Some(&event) {
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
