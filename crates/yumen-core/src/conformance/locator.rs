//! The promises of a locator, in the order of the rules in its module.

use super::must;
use crate::locator::{
    Attempt, Claim, Incarnation, Located, Locator, LocatorError, Moved, Moves, Place, Role,
};
use yumen_proto::{Epoch, InstanceId, UserId};

const ADA: UserId = UserId(1_001);
const BOB: UserId = UserId(1_002);
const EVE: UserId = UserId(1_003);

/// Checks a locator that knows no users and no instances.
///
/// # Panics
/// At the first broken promise.
pub async fn locator(locator: &dyn Locator) {
    let bench = Bench::new(locator).await;
    bench.the_newest_claim_wins().await;
    bench.a_claim_if_free_takes_nothing_from_anybody().await;
    bench.a_release_is_compare_and_delete().await;
    bench.roles_are_apart().await;
    bench.changes_are_told_in_order().await;
    bench.a_life_ends_without_the_places_it_lost().await;
    bench.a_life_ends_with_its_places().await;
    bench.a_life_that_is_over_is_refused().await;
    bench.a_new_life_starts_empty().await;
    bench.clean().await;
}

/// Checks two handles of one backend that knows no users and no instances: what is done through one is
/// seen through the other, and told there. A backend inside one process passes the same handle twice.
///
/// # Panics
/// At the first broken promise.
pub async fn locator_shared(one: &dyn Locator, other: &dyn Locator) {
    let here = Bench::new(one).await;
    let there = Bench { locator: other, lives: here.lives };
    // A first call through each, so that both follow.
    assert_eq!(there.find(ADA, &Role::Gate).await, None, "nobody is anywhere at first");
    // Of each user once: a follower may still be told what was done before it began to follow.
    a_change_is_told_elsewhere(&here, &there, ADA).await;
    a_change_is_told_elsewhere(&there, &here, BOB).await;
    the_end_of_a_life_is_told_elsewhere_once(&here, &there).await;
    there.clean().await;
}

async fn a_change_is_told_elsewhere(here: &Bench<'_>, there: &Bench<'_>, user: UserId) {
    let mut moves = there.locator.watch();
    let first = here.claim(user, &gate_1()).await.epoch;
    there
        .is_at(user, &gate_1(), first, "a claim is seen elsewhere as soon as it is answered")
        .await;
    let second = there.claim(user, &gate_2()).await;
    let loser = Located { place: gate_1(), epoch: first };
    assert_eq!(
        second.previous,
        Some(loser),
        "a claim names the place it displaces, also elsewhere"
    );
    assert!(second.epoch > first, "epochs grow, whoever claims");
    here.is_at(user, &gate_2(), second.epoch, "the newest claim wins everywhere").await;
    assert!(
        !here.release(user, &gate_1(), first).await,
        "who lost elsewhere has nothing to release"
    );
    let room_epoch = here.claim(user, &room()).await.epoch;
    assert!(here.release(user, &gate_2(), second.epoch).await, "any handle can release");
    assert_eq!(there.find(user, &Role::Gate).await, None, "what is released is gone everywhere");
    assert!(there.release(user, &room(), room_epoch).await);

    let claimed = |place, epoch| Moved::Claimed { user, place, epoch };
    let released = |place, epoch| Moved::Released { user, place, epoch };
    told(&mut moves, user, claimed(gate_1(), first)).await;
    told(&mut moves, user, claimed(gate_2(), second.epoch)).await;
    told(&mut moves, user, claimed(room(), room_epoch)).await;
    told(&mut moves, user, released(gate_2(), second.epoch)).await;
    told(&mut moves, user, released(room(), room_epoch)).await;
}

async fn the_end_of_a_life_is_told_elsewhere_once(here: &Bench<'_>, there: &Bench<'_>) {
    let id = InstanceId::from(IDS[2]);
    let [_, _, life] = here.lives;
    let mut moves = there.locator.watch();
    must("a life can be renewed through any handle", there.locator.renew(&id, life).await);
    here.claim(EVE, &room()).await;
    assert!(must("an instance can close", here.locator.close(&id, life).await));
    assert_eq!(there.find(EVE, &room().role).await, None, "nobody is at what closed elsewhere");
    let refused = there.locator.claim(EVE, &room(), None).await;
    let why = "an instance that closed elsewhere cannot be claimed for";
    assert!(matches!(refused, Err(LocatorError::NotOpen { .. })), "{why}: {refused:?}");
    let twice = must("a second close is answered", there.locator.close(&id, life).await);
    assert!(!twice, "a life ends once, whoever ends it");
    let next = must("an instance can open elsewhere", there.locator.open(&id).await);
    assert!(next > life, "incarnations grow, whoever opens");
    let last = must("and open again", here.locator.open(&id).await);

    assert_eq!(next_closed(&mut moves, &id).await, life, "the end of a life is told elsewhere");
    let then = "the next end that is told is the next life's: no end is told twice";
    assert_eq!(next_closed(&mut moves, &id).await, next, "{then}");
    assert!(last > next, "incarnations grow, whoever opens");
}

/// Two gates and a node that are open.
struct Bench<'a> {
    locator: &'a dyn Locator,
    lives: [Incarnation; 3],
}

const IDS: [&str; 3] = ["conformance-gate-1", "conformance-gate-2", "conformance-node"];

fn gate_1() -> Place {
    Place::gate(IDS[0])
}

fn gate_2() -> Place {
    Place::gate(IDS[1])
}

fn room() -> Place {
    Place::node("room", IDS[2])
}

fn lobby() -> Place {
    Place::node("lobby", IDS[2])
}

impl<'a> Bench<'a> {
    async fn new(locator: &'a dyn Locator) -> Self {
        let mut lives = [Incarnation::default(); 3];
        for (life, id) in lives.iter_mut().zip(IDS) {
            *life = must("an instance can open", locator.open(&id.into()).await);
        }
        Self { locator, lives }
    }

    /// Claims on behalf of whichever life is open.
    async fn claim(&self, user: UserId, place: &Place) -> Claim {
        must("a claim for an open instance", self.locator.claim(user, place, None).await)
    }

    async fn release(&self, user: UserId, place: &Place, epoch: Epoch) -> bool {
        must("a release is answered", self.locator.release(user, place, epoch).await)
    }

    async fn find(&self, user: UserId, role: &Role) -> Option<Located> {
        must("a search is answered", self.locator.find(user, role).await)
    }

    async fn is_at(&self, user: UserId, place: &Place, epoch: Epoch, promise: &str) {
        let wanted = Located { place: place.clone(), epoch };
        assert_eq!(self.find(user, &place.role).await, Some(wanted), "{promise}");
    }

    async fn the_newest_claim_wins(&self) {
        assert_eq!(self.find(ADA, &Role::Gate).await, None, "nobody is anywhere at first");
        let own = Some(self.lives[0]);
        let first = must("a claim", self.locator.claim(ADA, &gate_1(), own).await);
        assert_eq!(first.previous, None, "a first claim displaces nobody");
        self.is_at(ADA, &gate_1(), first.epoch, "a claim is seen as soon as it is answered").await;

        let second = self.claim(ADA, &gate_2()).await;
        let loser = Located { place: gate_1(), epoch: first.epoch };
        assert_eq!(second.previous, Some(loser), "a claim names the place it displaces");
        assert!(second.epoch > first.epoch, "epochs grow");
        self.is_at(ADA, &gate_2(), second.epoch, "the newest claim wins").await;

        let third = self.claim(ADA, &gate_2()).await;
        let same = Located { place: gate_2(), epoch: second.epoch };
        assert_eq!(third.previous, Some(same), "a place can displace itself");
        assert!(third.epoch > second.epoch, "epochs grow, also at one place");
        assert!(self.release(ADA, &gate_2(), third.epoch).await, "the owner can release");
        assert_eq!(self.find(ADA, &Role::Gate).await, None, "what is released is gone");

        let fourth = self.claim(ADA, &gate_1()).await;
        assert_eq!(fourth.previous, None, "what was released is not displaced");
        assert!(fourth.epoch > third.epoch, "epochs grow, also after a release");
        assert!(self.release(ADA, &gate_1(), fourth.epoch).await, "the owner can release");
    }

    async fn a_claim_if_free_takes_nothing_from_anybody(&self) {
        let own = Some(self.lives[0]);
        let attempt = |user, place, life| async move {
            must("an attempt is answered", self.locator.claim_if_free(user, &place, life).await)
        };
        let claimed = |attempt| match attempt {
            Attempt::Claimed(claim) => claim,
            Attempt::Taken(at) => panic!("what is free can be claimed, not taken by {at:?}"),
        };
        let first = claimed(attempt(ADA, gate_1(), own).await);
        self.is_at(ADA, &gate_1(), first.epoch, "what is free is claimed").await;
        let holder = Located { place: gate_1(), epoch: first.epoch };
        let second = attempt(ADA, gate_2(), None).await;
        assert_eq!(second, Attempt::Taken(holder), "what is taken is named");
        self.is_at(ADA, &gate_1(), first.epoch, "and stays what it was").await;
        let again = claimed(attempt(ADA, gate_1(), own).await);
        assert!(again.epoch > first.epoch, "a holder can claim again, and epochs grow");
        assert!(self.release(ADA, &gate_1(), again.epoch).await, "the owner can release");
        let third = claimed(attempt(ADA, gate_2(), None).await);
        assert_eq!(third.previous, None, "what was released is free");
        assert!(self.release(ADA, &gate_2(), third.epoch).await, "the owner can release");
        let wrong = Some(Incarnation(self.lives[0].0.wrapping_add(1)));
        let refused = self.locator.claim_if_free(ADA, &gate_1(), wrong).await;
        let why = "only the life that is open can";
        assert!(matches!(refused, Err(LocatorError::Superseded { .. })), "{why}: {refused:?}");
    }

    async fn a_release_is_compare_and_delete(&self) {
        let old = self.claim(ADA, &gate_1()).await;
        let new = self.claim(ADA, &gate_2()).await;
        assert!(!self.release(ADA, &gate_1(), old.epoch).await, "the loser has nothing to release");
        assert!(!self.release(ADA, &gate_1(), new.epoch).await, "another place cannot release");
        assert!(!self.release(ADA, &gate_2(), old.epoch).await, "another epoch cannot release");
        assert!(!self.release(BOB, &gate_2(), new.epoch).await, "another user cannot be released");
        self.is_at(ADA, &gate_2(), new.epoch, "refused releases change nothing").await;

        let again = self.claim(ADA, &gate_2()).await;
        let late = self.release(ADA, &gate_2(), new.epoch).await;
        assert!(!late, "a late release does not remove a newer claim of the same place");
        assert!(self.release(ADA, &gate_2(), again.epoch).await, "the newest claim can");
        assert!(!self.release(ADA, &gate_2(), again.epoch).await, "but only once");
    }

    async fn roles_are_apart(&self) {
        let gate = self.claim(ADA, &gate_1()).await;
        let in_room = self.claim(ADA, &room()).await;
        let in_lobby = self.claim(ADA, &lobby()).await;
        assert_eq!(in_room.previous, None, "a node does not displace a gate");
        assert_eq!(in_lobby.previous, None, "groups do not displace each other");
        assert!(self.release(ADA, &gate_1(), gate.epoch).await);
        self.is_at(ADA, &room(), in_room.epoch, "a node keeps its user without a gate").await;
        assert!(self.release(ADA, &room(), in_room.epoch).await);
        self.is_at(ADA, &lobby(), in_lobby.epoch, "and one group without another").await;
        assert!(self.release(ADA, &lobby(), in_lobby.epoch).await);
    }

    async fn changes_are_told_in_order(&self) {
        let mut moves = self.locator.watch();
        let mut other = self.locator.watch();
        let first = self.claim(BOB, &gate_1()).await.epoch;
        let second = self.claim(BOB, &gate_2()).await.epoch;
        assert!(!self.release(BOB, &gate_1(), first).await);
        assert!(self.release(BOB, &gate_2(), second).await);
        for moves in [&mut moves, &mut other] {
            let claimed = |place, epoch| Moved::Claimed { user: BOB, place, epoch };
            told(moves, BOB, claimed(gate_1(), first)).await;
            told(moves, BOB, claimed(gate_2(), second)).await;
            told(moves, BOB, Moved::Released { user: BOB, place: gate_2(), epoch: second }).await;
        }
    }

    /// The end of a place's loser must not reach what it lost.
    async fn a_life_ends_without_the_places_it_lost(&self) {
        let id = InstanceId::from(IDS[1]);
        self.claim(ADA, &gate_2()).await;
        let moved = self.claim(ADA, &gate_1()).await;
        let life = must("a new life", self.locator.open(&id).await);
        self.is_at(ADA, &gate_1(), moved.epoch, "a new life of the loser takes nothing").await;
        assert!(must("a close", self.locator.close(&id, life).await));
        self.is_at(ADA, &gate_1(), moved.epoch, "nor does its end").await;
        assert!(self.release(ADA, &gate_1(), moved.epoch).await, "the owner can release");
    }

    async fn a_life_ends_with_its_places(&self) {
        let id = InstanceId::from(IDS[2]);
        let stays = self.claim(ADA, &gate_1()).await;
        self.claim(ADA, &room()).await;
        self.claim(BOB, &room()).await;
        self.claim(ADA, &lobby()).await;
        let mut moves = self.locator.watch();
        let [_, _, life] = self.lives;
        assert!(must("an instance can close", self.locator.close(&id, life).await));
        for (user, place) in [(ADA, room()), (BOB, room()), (ADA, lobby())] {
            let found = self.find(user, &place.role).await;
            assert_eq!(found, None, "nobody is at an instance that closed");
        }
        self.is_at(ADA, &gate_1(), stays.epoch, "other instances are not touched").await;
        assert_eq!(next_closed(&mut moves, &id).await, life, "the end of a life is told");
        let twice = must("to close twice is no error", self.locator.close(&id, life).await);
        assert!(!twice, "but it does nothing");
        assert!(self.release(ADA, &gate_1(), stays.epoch).await);
    }

    async fn a_life_that_is_over_is_refused(&self) {
        let id = InstanceId::from(IDS[2]);
        let [_, _, old] = self.lives;
        for stated in [None, Some(old)] {
            let refused = self.locator.claim(ADA, &room(), stated).await;
            let why = "a claim for an instance that is not open is refused";
            assert!(matches!(refused, Err(LocatorError::NotOpen { .. })), "{why}: {refused:?}");
        }
        let refused = self.locator.renew(&id, old).await;
        let why = "an instance that is not open is told so when it renews";
        assert!(matches!(refused, Err(LocatorError::NotOpen { .. })), "{why}: {refused:?}");

        let new = must("an instance can open again", self.locator.open(&id).await);
        assert!(new > old, "incarnations grow, also after a close");
        let refused = self.locator.claim(ADA, &room(), Some(old)).await;
        let why = "a claim by an old life is refused";
        assert!(matches!(refused, Err(LocatorError::Superseded { .. })), "{why}: {refused:?}");
        let refused = self.locator.renew(&id, old).await;
        let why = "an old life is told so when it renews";
        assert!(matches!(refused, Err(LocatorError::Superseded { .. })), "{why}: {refused:?}");
        must("the new life can renew", self.locator.renew(&id, new).await);
        let late = must("a late close is no error", self.locator.close(&id, old).await);
        assert!(!late, "an old life cannot close a new one");
        let found = self.find(ADA, &room().role).await;
        assert_eq!(found, None, "what was refused changed nothing");
        must("the new life can claim", self.locator.claim(ADA, &room(), Some(new)).await);
    }

    async fn a_new_life_starts_empty(&self) {
        let id = InstanceId::from(IDS[2]);
        let before = self.find(ADA, &room().role).await.map(|found| found.epoch);
        let mut moves = self.locator.watch();
        let newest = must("an open instance can open again", self.locator.open(&id).await);
        assert_eq!(self.find(ADA, &room().role).await, None, "a new life starts without places");
        let over = next_closed(&mut moves, &id).await;
        assert!(over < newest, "the earlier life is told to be over");
        let claim = must("a claim", self.locator.claim(ADA, &room(), Some(newest)).await);
        assert_eq!(claim.previous, None, "an earlier life is not displaced");
        assert!(Some(claim.epoch) > before, "epochs grow over lives");
    }

    async fn clean(&self) {
        for id in IDS {
            let life = must("an instance can open", self.locator.open(&id.into()).await);
            must("and close", self.locator.close(&id.into(), life).await);
        }
        assert_eq!(self.find(ADA, &room().role).await, None, "nothing is left");
    }
}

/// The next event about a user has to be this one.
async fn told(moves: &mut Moves, who: UserId, wanted: Moved) {
    while let Some(moved) = moves.next().await {
        if let Moved::Claimed { user, .. } | Moved::Released { user, .. } = &moved
            && *user == who
        {
            assert_eq!(moved, wanted, "changes are told in the order of their epochs");
            return;
        }
    }
    panic!("a stream never ends by itself; missing {wanted:?}");
}

/// Waits to be told that a life of this instance is over.
async fn next_closed(moves: &mut Moves, id: &InstanceId) -> Incarnation {
    while let Some(moved) = moves.next().await {
        if let Moved::Closed { instance, incarnation } = moved
            && instance == *id
        {
            return incarnation;
        }
    }
    panic!("a stream never ends by itself; missing the end of {id}");
}
