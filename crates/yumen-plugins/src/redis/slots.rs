//! Where users are, in Redis Cluster.
//!
//! A script sees one slot. A place and its record lie in one, as everywhere; what belongs to an instance
//! lies in another: `{<prefix>:yumen:<instance>}:life` (hash: the open life, the last one, the last
//! renewal, the life whose places are left) and `…:seats` (hash: place to life and epoch). The set
//! `<prefix>:yumen:instances` names them all, and every renewal adds its own again.
//!
//! **A claim** is three steps: the place is put on the instance's list if the life is open; it is written;
//! and the life is looked at again. A life that ended in between takes its claim back. **A search** reads
//! the place, then asks whether its life is open. So nobody is found on a life that is over, as on one
//! server, at the price of one or two round trips more.
//!
//! **Failover.** Redis copies to its replicas after it has answered, so a primary that dies may take the
//! last answers with it. What holds even then: *epochs and lives only grow*, because each carries the
//! config epoch of the server that gave it, worth an hour: whoever takes a slot over is ahead of all
//! before it, as long as clocks differ by less. So of two owners, the one with the lower epoch is the old
//! one, everywhere. What heals: each process remembers its claims and releases of the last minute, and
//! says them again when servers have changed; a later claim stays. Whoever watches is told that events
//! may be lost. What is lost: a claim whose process died with the server.
//!
//! **Every call can be sent again**: each has a token, and a record keeps the token of the call that wrote
//! it. So what a broken connection, a `MOVED` or a failover cut short is repeated.

mod tend;

pub(super) use tend::{Recent, servers};

use super::{
    BATCHES_MAX, KEPT, Shared, bytes,
    keys::{Change, Seat, member},
    ms,
    server::{Call, Fault, Request, Script},
};
use std::{sync::atomic::Ordering, time::Duration};
use yumen_core::locator::{Attempt, Claim, Incarnation, Located, LocatorError, Place, Role};
use yumen_proto::{Epoch, InstanceId, UserId};

/// A renewal is missed after this, and a life is over when this many looks in a row have missed it; looks
/// are 400 ms apart at least.
const MISSED: Duration = Duration::from_millis(4_500);
const LOOKS: &str = "10";
/// How often a step is taken again that another process came in between of.
const TRIES: usize = 16;

/// The scripts for Redis Cluster.
#[derive(Debug)]
pub(super) struct Scripts {
    claim: Script,
    release: Script,
    find: Script,
    settle: Script,
    drop: Script,
    restore: Script,
    open: Script,
    renew: Script,
    close: Script,
    look: Script,
    swept: Script,
    enlist: Script,
    confirm: Script,
    unlist: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let (later, place) = (include_str!("slots/later.lua"), include_str!("slots/place.lua"));
        let on_place = |code| Script::new(&[later, place, code]);
        let ends = include_str!("slots/end.lua");
        Self {
            claim: on_place(include_str!("slots/claim.lua")),
            release: on_place(include_str!("slots/release.lua")),
            find: on_place(include_str!("slots/find.lua")),
            settle: on_place(include_str!("slots/settle.lua")),
            drop: on_place(include_str!("slots/drop.lua")),
            restore: on_place(include_str!("slots/restore.lua")),
            open: Script::new(&[later, include_str!("slots/open.lua")]),
            renew: Script::new(&[later, include_str!("slots/renew.lua")]),
            close: Script::new(&[ends, include_str!("slots/close.lua")]),
            look: Script::new(&[later, ends, include_str!("slots/look.lua")]),
            swept: Script::new(&[include_str!("slots/swept.lua")]),
            enlist: Script::new(&[include_str!("slots/enlist.lua")]),
            confirm: Script::new(&[include_str!("slots/confirm.lua")]),
            unlist: Script::new(&[include_str!("slots/unlist.lua")]),
        }
    }
}

/// What a place was before a claim.
struct Lost {
    epoch: u64,
    life: String,
    instance: String,
}

impl Lost {
    fn read(words: &[&str]) -> Option<Self> {
        let [epoch, life, instance] = words else { return None };
        let (life, instance) = ((*life).to_owned(), (*instance).to_owned());
        Some(Self { epoch: epoch.parse().ok()?, life, instance })
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.epoch, self.life, self.instance)
    }
}

/// What the script of a claim answered.
enum Written {
    /// Its epoch, who had the place, and whom our record named.
    Done(u64, Lost, String),
    Held(Lost),
}

impl Shared {
    fn on_place<'a>(
        &self,
        script: &'a Script,
        seat: &Seat,
        instance: &str,
        token: &str,
        rest: impl IntoIterator<Item = Vec<u8>>,
    ) -> Call<'a> {
        let mut call = self.call(script, seat, instance, [bytes(token)]);
        call.args.extend(rest);
        call.keys.truncate(2);
        call
    }

    fn on_life<'a>(
        &self,
        script: &'a Script,
        instance: &InstanceId,
        args: impl IntoIterator<Item = Vec<u8>>,
    ) -> Call<'a> {
        let keys = vec![self.keys.own_life(instance)];
        Call { script, keys, args: args.into_iter().collect() }
    }

    fn on_seats<'a>(
        &self,
        script: &'a Script,
        instance: &InstanceId,
        args: impl IntoIterator<Item = Vec<u8>>,
    ) -> Call<'a> {
        let mut call = self.on_life(script, instance, args);
        call.keys.push(self.keys.own_seats(instance));
        call
    }

    async fn words(&self, what: &'static str, call: Call<'_>) -> Result<Vec<String>, Fault> {
        let answer = self.server.ask_again(Request::Script(call)).await?;
        self.server.read(what, answer)
    }

    /// The time and the least number that may be given, for a script that gives one.
    fn clock_and_floor(&self) -> [Vec<u8>; 2] {
        let floor = self.seen.load(Ordering::Relaxed).saturating_add(1);
        [Self::clock().to_string().into_bytes(), floor.to_string().into_bytes()]
    }

    /// The life of that instance that is open.
    async fn open_life(&self, instance: &str) -> Result<Option<String>, Fault> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys.own_life(&InstanceId::from(instance))).arg("open");
        let answer = self.server.ask_again(Request::Command(get)).await?;
        self.server.read("a life", answer)
    }

    /// Whether that life of that instance is open; `0` stands for an instance of due's.
    async fn is_open(&self, instance: &str, life: &str) -> Result<bool, Fault> {
        Ok(life == "0" || self.open_life(instance).await?.as_deref() == Some(life))
    }

    async fn enrol(&self, instance: &InstanceId) -> Result<(), Fault> {
        let mut add = redis::cmd("SADD");
        add.arg(self.keys.instances()).arg(instance.as_str());
        self.server.ask_again(Request::Command(add)).await.map(drop)
    }

    pub(super) async fn open_in_slots(
        &self,
        slots: &Scripts,
        instance: &InstanceId,
    ) -> Result<Incarnation, LocatorError> {
        // Before, so that a life is looked after from its first moment; again at every renewal.
        self.enrol(instance).await?;
        let [clock, floor] = self.clock_and_floor();
        let moves = bytes(&self.keys.moves());
        let args = [bytes(instance.as_str()), clock, floor, moves, bytes(&self.token())];
        let call = self.on_life(&slots.open, instance, args);
        let answer = self.server.ask_again(Request::Script(call)).await?;
        let (life, earlier): (u64, String) = self.server.read("an open", answer)?;
        self.see(life);
        self.holds.store(true, Ordering::Relaxed);
        if !earlier.is_empty() {
            // Nobody is found there any more; what this leaves is taken away by whoever looks.
            let _swept = self.sweep_slots(slots, instance, &earlier, BATCHES_MAX).await;
        }
        Ok(Incarnation(life))
    }

    pub(super) async fn renew_in_slots(
        &self,
        slots: &Scripts,
        instance: &InstanceId,
        life: Incarnation,
    ) -> Result<(), LocatorError> {
        let call = self.on_life(&slots.renew, instance, [life.to_string().into_bytes()]);
        let words = self.words("a renewal", call).await?;
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ok"] => Ok(self.enrol(instance).await?),
            refused => Err(self.refusal(refused, instance, life)),
        }
    }

    pub(super) async fn close_in_slots(
        &self,
        slots: &Scripts,
        instance: &InstanceId,
        life: Incarnation,
    ) -> Result<bool, LocatorError> {
        let life = life.to_string();
        let moves = bytes(&self.keys.moves());
        let args = [bytes(instance.as_str()), bytes(&life), moves, bytes(&self.token())];
        let call = self.on_life(&slots.close, instance, args);
        let answer = self.server.ask_again(Request::Script(call)).await?;
        let was: bool = self.server.read("the end of a life", answer)?;
        if was {
            let _swept = self.sweep_slots(slots, instance, &life, BATCHES_MAX).await;
        }
        Ok(was)
    }

    pub(super) async fn claim_in_slots(
        &self,
        slots: &Scripts,
        user: UserId,
        place: &Place,
        stated: Option<Incarnation>,
        how: &str,
    ) -> Result<Attempt, LocatorError> {
        let seat = self.keys.seat(user, &place.role);
        let instance = &place.instance;
        let refused = |words: &[String]| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.refusal(&words, instance, stated.unwrap_or_default())
        };
        let life = stated.map_or_else(Vec::new, |life| life.to_string().into_bytes());
        let args = [life, member(&seat)];
        let words = self.words("a life", self.on_seats(&slots.enlist, instance, args)).await?;
        let ["ok", life] = *words.iter().map(String::as_str).collect::<Vec<_>>() else {
            return Err(refused(&words));
        };
        let at = |lost: &Lost| Located {
            place: Place { role: place.role.clone(), instance: lost.instance.as_str().into() },
            epoch: Epoch(lost.epoch),
        };
        let mut over = String::new();
        for _ in 0..TRIES {
            let (epoch, lost, recorded) =
                match self.write(slots, &seat, instance, life, [how, &over]).await? {
                    Written::Done(epoch, lost, recorded) => (epoch, lost, recorded),
                    Written::Held(lost) if self.is_open(&lost.instance, &lost.life).await? => {
                        return Ok(Attempt::Taken(at(&lost)));
                    }
                    Written::Held(lost) => {
                        over = lost.text();
                        continue;
                    }
                };
            self.see(epoch);
            if let Some(words) = self.confirm(slots, &seat, instance, life, epoch).await? {
                return Err(refused(&words));
            }
            self.recent.claimed(&seat, instance, life, epoch);
            if !recorded.is_empty() && recorded != instance.as_str() {
                // Left on the list it would only be looked at once more, at that life's end.
                let _listed = self.unlist(slots, &recorded, "epoch", lost.epoch, &[&seat]).await;
            }
            let was = !lost.instance.is_empty() && self.is_open(&lost.instance, &lost.life).await?;
            let previous = was.then(|| at(&lost));
            return Ok(Attempt::Claimed(Claim { epoch: Epoch(epoch), previous }));
        }
        Err(self.server.odd("a claim").into())
    }

    /// The second step of a claim. `how`: whether only if nobody else has it, and whose place is over.
    async fn write(
        &self,
        slots: &Scripts,
        seat: &Seat,
        instance: &InstanceId,
        life: &str,
        [how, over]: [&str; 2],
    ) -> Result<Written, Fault> {
        let event = seat.event(Change::Bound, instance).bytes();
        let [clock, floor] = self.clock_and_floor();
        let rest = [bytes(life), clock, floor, event, bytes(how), bytes(over)];
        let token = self.token();
        let call = self.on_place(&slots.claim, seat, instance.as_str(), &token, rest);
        let words = self.words("a claim", call).await?;
        let odd = || self.server.odd("a claim");
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ok", epoch, lost @ .., recorded] => {
                let lost = Lost::read(lost).ok_or_else(odd)?;
                Ok(Written::Done(epoch.parse().map_err(|_| odd())?, lost, (*recorded).to_owned()))
            }
            ["held", lost @ ..] => Ok(Written::Held(Lost::read(lost).ok_or_else(odd)?)),
            _ => Err(odd()),
        }
    }

    pub(super) async fn release_in_slots(
        &self,
        slots: &Scripts,
        user: UserId,
        place: &Place,
        epoch: Epoch,
    ) -> Result<bool, LocatorError> {
        let seat = self.keys.seat(user, &place.role);
        let written = self.peek(slots, &seat).await?;
        let [_, who, at, life] = &written;
        if who != place.instance.as_str() || *at != epoch.to_string() {
            return Ok(false);
        }
        // The life is over: the place went with it, and who ended the life removes it.
        if !self.is_open(who, life).await? {
            return Ok(false);
        }
        let released = self.take_back(slots, &seat, &place.instance, epoch.0).await?;
        self.recent.released(&seat, &place.instance, epoch.0);
        if released {
            let _listed = self.unlist(slots, who, "epoch", epoch.0, &[&seat]).await;
        }
        Ok(released)
    }

    async fn take_back(
        &self,
        slots: &Scripts,
        seat: &Seat,
        instance: &InstanceId,
        epoch: u64,
    ) -> Result<bool, Fault> {
        let event = seat.event(Change::Unbound, instance).bytes();
        let rest = [epoch.to_string().into_bytes(), ms(KEPT), event];
        let token = self.token();
        let call = self.on_place(&slots.release, seat, instance.as_str(), &token, rest);
        let answer = self.server.ask_again(Request::Script(call)).await?;
        self.server.read("a release", answer)
    }

    /// What is written: what, instance, epoch, life.
    async fn peek(&self, slots: &Scripts, seat: &Seat) -> Result<[String; 4], Fault> {
        let call = self.on_place(&slots.find, seat, "", "", []);
        let words = self.words("a search", call).await?;
        words.try_into().map_err(|_| self.server.odd("a search"))
    }

    pub(super) async fn find_in_slots(
        &self,
        slots: &Scripts,
        user: UserId,
        role: &Role,
    ) -> Result<Option<Located>, LocatorError> {
        let seat = self.keys.seat(user, role);
        let [what, instance, epoch, life] = self.peek(slots, &seat).await?;
        if what == "none" || !self.is_open(&instance, &life).await? {
            return Ok(None);
        }
        let (instance, epoch) = match what.as_str() {
            "at" => (instance, epoch),
            // Due wrote since: this gets its epoch now.
            _ => match self.settle_in_slots(slots, &seat, &instance, false).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let place = Place { role: role.clone(), instance: instance.as_str().into() };
        Ok(Some(Located { place, epoch: self.epoch(&epoch)? }))
    }

    /// Follows up what due wrote; where the user is now, with the epoch. `bound`: due has just told that
    /// the user is on this instance.
    pub(super) async fn settle_in_slots(
        &self,
        slots: &Scripts,
        seat: &Seat,
        instance: &str,
        bound: bool,
    ) -> Result<Option<(String, String)>, Fault> {
        let mut instance = instance.to_owned();
        for _ in 0..TRIES {
            let open = self.open_life(&instance).await?.unwrap_or_else(|| "0".to_owned());
            let [clock, floor] = self.clock_and_floor();
            let told = if bound { "1" } else { "0" };
            let rest = [clock, floor, ms(KEPT), bytes(told), bytes(&open)];
            let token = self.token();
            let call = self.on_place(&slots.settle, seat, &instance, &token, rest);
            let words = self.words("a search", call).await?;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let [what, at, epoch, life, was, was_epoch] = *words.as_slice() else {
                return Err(self.server.odd("a search"));
            };
            if what == "again" {
                instance = at.to_owned();
                continue;
            }
            if !was.is_empty() && was != at {
                let epoch = was_epoch.parse().unwrap_or_default();
                let _listed = self.unlist(slots, was, "epoch", epoch, &[seat]).await;
            }
            if what == "none" {
                return Ok(None);
            }
            if life != "0" {
                let (owner, epoch) = (InstanceId::from(at), epoch.parse().unwrap_or_default());
                if self.confirm(slots, seat, &owner, life, epoch).await?.is_some() {
                    return Ok(None);
                }
            }
            return Ok(Some((at.to_owned(), epoch.to_owned())));
        }
        Err(self.server.odd("a search"))
    }

    /// The third step of a claim: the place is on the list of its life. If that is over, nobody may be
    /// left who knows of the place, so it is taken back; gives why.
    async fn confirm(
        &self,
        slots: &Scripts,
        seat: &Seat,
        instance: &InstanceId,
        life: &str,
        epoch: u64,
    ) -> Result<Option<Vec<String>>, Fault> {
        let args = [bytes(life), member(seat), epoch.to_string().into_bytes()];
        let words = self.words("a life", self.on_seats(&slots.confirm, instance, args)).await?;
        if words == ["ok"] {
            return Ok(None);
        }
        self.drop_in_slots(slots, seat, instance, life).await?;
        Ok(Some(words))
    }

    async fn drop_in_slots(
        &self,
        slots: &Scripts,
        seat: &Seat,
        instance: &InstanceId,
        life: &str,
    ) -> Result<(), Fault> {
        let event = seat.event(Change::Unbound, instance).bytes();
        let rest = [bytes(life), ms(KEPT), event];
        let token = self.token();
        let call = self.on_place(&slots.drop, seat, instance.as_str(), &token, rest);
        self.server.ask_again(Request::Script(call)).await.map(drop)
    }

    async fn unlist(
        &self,
        slots: &Scripts,
        instance: &str,
        what: &str,
        limit: u64,
        seats: &[&Seat],
    ) -> Result<(), Fault> {
        let mut args = vec![bytes(what), limit.to_string().into_bytes()];
        args.extend(seats.iter().map(|seat| member(seat)));
        let keys = vec![self.keys.own_seats(&InstanceId::from(instance))];
        let call = Call { script: &slots.unlist, keys, args };
        self.server.ask_again(Request::Script(call)).await.map(drop)
    }
}
