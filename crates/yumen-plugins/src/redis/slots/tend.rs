//! What nobody asks for, on Redis Cluster: lives that are overdue end, what they left is taken away, and
//! what a failover has forgotten is said again.
//!
//! It never holds up a call. One process looks at a time; every process says its own claims again.

use super::{LOOKS, MISSED, Scripts};
use crate::redis::{
    KEPT, Shared, bytes,
    follow::Told,
    keys::{Change, Seat, read_seat},
    ms,
    server::{Fault, Request, now},
};
use redis::Value;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};
use tokio::time::Instant;
use yumen_proto::InstanceId;

/// Between two looks of all processes.
const TURN: Duration = Duration::from_millis(450);
/// Commands of one sweep, look or redo that are under way at once.
const TOGETHER: usize = 64;
/// For how long claims and releases are remembered: longer than a server that is cut off from the others
/// goes on answering (`cluster-node-timeout`, 15 s by default).
const RECENT: Duration = Duration::from_secs(60);
/// How many are remembered, about 300 bytes each.
const RECENT_MAX: usize = 65_536;

/// One claim or release that was answered.
#[derive(Clone, Debug)]
struct Done {
    at: Instant,
    seat: Seat,
    instance: InstanceId,
    epoch: u64,
    /// The life of a claim; a release has none.
    life: Option<String>,
}

/// Claims and releases of the last minute.
#[derive(Debug, Default)]
pub(in crate::redis) struct Recent(Mutex<VecDeque<Done>>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, done: Done) {
        let mut all = self.lock();
        let old = |first: &Done| done.at.saturating_duration_since(first.at) > RECENT;
        while all.front().is_some_and(|first| all.len() >= RECENT_MAX || old(first)) {
            all.pop_front();
        }
        all.push_back(done);
    }

    pub(super) fn claimed(&self, seat: &Seat, instance: &InstanceId, life: &str, epoch: u64) {
        let (seat, instance) = (seat.clone(), instance.clone());
        self.push(Done { at: now(), seat, instance, epoch, life: Some(life.to_owned()) });
    }

    pub(super) fn released(&self, seat: &Seat, instance: &InstanceId, epoch: u64) {
        let (seat, instance) = (seat.clone(), instance.clone());
        self.push(Done { at: now(), seat, instance, epoch, life: None });
    }

    /// Of each place the last claim, and the last release.
    fn last(&self) -> [Vec<Done>; 2] {
        let mut last = BTreeMap::new();
        let now = now();
        for done in self.lock().iter() {
            if now.saturating_duration_since(done.at) <= RECENT {
                let what = (done.life.is_none(), done.seat.record.clone());
                last.insert(what, done.clone());
            }
        }
        let (releases, claims) = last.into_values().partition(|done| done.life.is_none());
        [claims, releases]
    }
}

/// Which servers there are, which of them own slots since when, and since when they hear each other: when
/// it changes, answers and events may be lost. From `CLUSTER NODES` and `CLUSTER LINKS`; servers before 7
/// have no links to tell of.
pub(in crate::redis) fn servers(nodes: &str, links: Option<Value>) -> Vec<String> {
    let mut all = Vec::new();
    for line in nodes.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [id, _, flags, _, _, _, epoch, ..] = words.as_slice() {
            let role = if flags.contains("master") { "primary" } else { "replica" };
            all.push(format!("{id} {role} {epoch}"));
        }
    }
    let links = links.and_then(|links| redis::from_redis_value(links).ok());
    let links: Vec<HashMap<String, Value>> = links.unwrap_or_default();
    for link in links {
        let word = |name: &str| format!("{:?}", link.get(name));
        if word("direction").contains("from") {
            all.push(format!("{} {}", word("node"), word("create-time")));
        }
    }
    all.sort();
    all
}

impl Shared {
    /// Ends what is overdue and takes away what was left, if it is this process' turn.
    pub(in crate::redis) async fn look_in_slots(&self, slots: &Scripts) -> Result<(), Fault> {
        let mut turn = redis::cmd("SET");
        turn.arg(self.keys.turn()).arg(1).arg("NX").arg("PX").arg(ms(TURN));
        if self.server.ask(Request::Command(turn)).await? == Value::Nil {
            return Ok(());
        }
        let mut names = redis::cmd("SMEMBERS");
        names.arg(self.keys.instances());
        let answer = self.server.ask_again(Request::Command(names)).await?;
        let names: Vec<String> = self.server.read("instances", answer)?;
        for names in names.chunks(TOGETHER) {
            let looks = names.iter().map(|name| self.look_at(slots, name));
            for looked in together(looks).await {
                looked?;
            }
        }
        Ok(())
    }

    async fn look_at(&self, slots: &Scripts, name: &str) -> Result<(), Fault> {
        let instance = InstanceId::from(name);
        let args = [bytes(name), bytes(&self.keys.moves()), ms(MISSED), bytes(LOOKS)];
        let call = self.on_life(&slots.look, &instance, args);
        let words = self.words("a look", call).await?;
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["left", life, rest @ ..] => {
                if !rest.is_empty() {
                    tracing::warn!(
                        "instance {instance} has not renewed its life {life}: it is over"
                    );
                }
                self.sweep_slots(slots, &instance, life, usize::MAX).await
            }
            ["none"] => {
                let mut forget = redis::cmd("SREM");
                forget.arg(self.keys.instances()).arg(name);
                self.server.ask_again(Request::Command(forget)).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Takes away the places of a life that is over, and of all before it: at most so many batches, the
    /// rest when somebody looks.
    pub(super) async fn sweep_slots(
        &self,
        slots: &Scripts,
        instance: &InstanceId,
        life: &str,
        batches_max: usize,
    ) -> Result<(), Fault> {
        let last: u64 = life.parse().map_err(|_| self.server.odd("a life"))?;
        let mut cursor = "0".to_owned();
        for _ in 0..batches_max {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(self.keys.own_seats(instance)).arg(&cursor).arg("COUNT").arg(TOGETHER);
            let answer = self.server.ask_again(Request::Command(scan)).await?;
            let (next, listed): (String, Vec<(Vec<u8>, String)>) =
                self.server.read("seats", answer)?;
            let of_it = |value: &str| {
                let life = value.split(' ').next().and_then(|life| life.parse::<u64>().ok());
                life.is_some_and(|life| life <= last)
            };
            let seats = listed.iter().filter(|(_, value)| of_it(value));
            let seats: Vec<Seat> =
                seats.filter_map(|(member, _)| read_seat(&self.keys, member)).collect();
            let drops = seats.iter().map(|seat| self.drop_in_slots(slots, seat, instance, life));
            for dropped in together(drops).await {
                dropped?;
            }
            let seats: Vec<&Seat> = seats.iter().collect();
            if !seats.is_empty() {
                self.unlist(slots, instance.as_str(), "life", last, &seats).await?;
            }
            cursor = next;
            if cursor == "0" {
                let call = self.on_life(&slots.swept, instance, [bytes(life), ms(KEPT)]);
                return self.server.ask_again(Request::Script(call)).await.map(drop);
            }
        }
        Ok(())
    }

    /// Follows up what due tells.
    pub(in crate::redis) async fn settle_all_in_slots(
        &self,
        slots: &Scripts,
        told: &[Told],
    ) -> Result<(), Fault> {
        for some in told.chunks(TOGETHER) {
            // What is told of one place is followed up in its order; the rest does not wait for it.
            let mut places: BTreeMap<String, Vec<(Seat, &Told)>> = BTreeMap::new();
            for told in some {
                let seat = self.keys.seat(told.user, &told.role);
                places.entry(seat.record.clone()).or_default().push((seat, told));
            }
            let settled = together(places.values().map(|told| self.settle_place(slots, told)));
            for settled in settled.await {
                settled?;
            }
        }
        Ok(())
    }

    async fn settle_place(&self, slots: &Scripts, told: &[(Seat, &Told)]) -> Result<(), Fault> {
        for (seat, told) in told {
            self.settle_in_slots(slots, seat, told.instance.as_str(), told.bound).await?;
        }
        Ok(())
    }

    /// Says again what this process has claimed and released, for servers that have forgotten it.
    pub(in crate::redis) async fn redo(&self, slots: &Scripts) -> Result<(), Fault> {
        for all in self.recent.last() {
            for some in all.chunks(TOGETHER) {
                for redone in together(some.iter().map(|done| self.redo_one(slots, done))).await {
                    redone?;
                }
            }
        }
        Ok(())
    }

    async fn redo_one(&self, slots: &Scripts, done: &Done) -> Result<(), Fault> {
        let Done { seat, instance, epoch, life, .. } = done;
        let Some(life) = life else {
            return self.take_back(slots, seat, instance, *epoch).await.map(drop);
        };
        let event = seat.event(Change::Bound, instance).bytes();
        let rest = [epoch.to_string().into_bytes(), bytes(life), event];
        let token = self.token();
        let call = self.on_place(&slots.restore, seat, instance.as_str(), &token, rest);
        let answer = self.server.ask_again(Request::Script(call)).await?;
        if self.server.read("a claim", answer)? {
            tracing::warn!(
                "{} had forgotten that {} {} is on {instance}; it was told again",
                self.server.name,
                seat.kind(),
                seat.user
            );
            return self.confirm(slots, seat, instance, life, *epoch).await.map(drop);
        }
        Ok(())
    }
}

/// Waits for all of them at once.
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut all = true;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(done) => *output = Some(done),
                    Poll::Pending => all = false,
                }
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
