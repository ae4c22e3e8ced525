//! The locator inside one process: what `conformance` cannot ask of every backend.

use std::{collections::BTreeMap, sync::Arc, thread};
use yumen_core::{
    locator::{Locator, LocatorError, Moved, Place, Role},
    memory::{LocatorLimits, MemoryLocator},
};
use yumen_proto::{Epoch, UserId};

#[cfg(feature = "conformance")]
#[tokio::test]
async fn the_memory_locator_conforms() {
    crate::within_seconds(yumen_core::conformance::locator(&MemoryLocator::default())).await;
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn the_smallest_memory_locator_conforms() {
    let limits = LocatorLimits { places_max: 4, instances_max: 3, moves_max: 8 };
    crate::within_seconds(yumen_core::conformance::locator(&MemoryLocator::bounded(limits))).await;
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn two_handles_of_the_memory_locator_are_one() {
    let locator = MemoryLocator::default();
    let suite = yumen_core::conformance::locator_shared(&locator, &locator);
    crate::within_seconds(suite).await;
}

/// due's locator keeps no lease: whoever was on a gate that crashed stays located there.
#[tokio::test]
async fn w19_a_crashed_gate_leaves_nobody_located_there() {
    let locator = MemoryLocator::default();
    let (dead, alive) = (Place::gate("gate-1"), Place::gate("gate-2"));
    locator.open(&dead.instance).await.unwrap();
    locator.open(&alive.instance).await.unwrap();
    for n in 1..=1_000 {
        let place = if n % 10 == 0 { &alive } else { &dead };
        locator.claim(UserId(n), place, None).await.unwrap();
    }

    // The gate died without a word; whoever runs it ends its life.
    let last = locator.open(&dead.instance).await.unwrap();
    locator.close(&dead.instance, last).await.unwrap();

    for n in 1..=1_000 {
        let found = locator.find(UserId(n), &Role::Gate).await.unwrap();
        assert_eq!(found.is_some(), n % 10 == 0, "user {n}");
    }
    assert_eq!(locator.places(), 100, "nothing is kept for those who are gone");
}

/// due's subscription ends at the first error, and its caches are wrong from then on.
#[tokio::test]
async fn w19_a_follower_that_missed_events_is_told_and_follows_on() {
    let limits = LocatorLimits { moves_max: 16, ..LocatorLimits::default() };
    let locator = MemoryLocator::bounded(limits);
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let mut moves = locator.watch();
    let mut cache = BTreeMap::from([(UserId(1), Epoch(0))]);

    for _ in 0..50 {
        for n in 1..=100 {
            locator.claim(UserId(n), &gate, Some(life)).await.unwrap();
        }
        let mut lost = 0;
        while let Some(moved) = moves.try_next() {
            match moved {
                Moved::Lost => {
                    lost += 1;
                    cache.clear();
                }
                Moved::Claimed { user, epoch, .. } => drop(cache.insert(user, epoch)),
                other => panic!("nothing else happened: {other:?}"),
            }
        }
        assert_eq!(lost, 1, "told once each time");
        assert_eq!(cache.len(), 16, "what is remembered is bounded by what was told");
        for (user, epoch) in &cache {
            let found = locator.find(*user, &Role::Gate).await.unwrap().unwrap();
            assert_eq!(found.epoch, *epoch, "what is remembered is true");
        }
    }
}

/// One event ends all places of an instance, so that a full gate's end floods nobody.
#[tokio::test]
async fn w19_the_end_of_a_full_gate_is_one_event() {
    let limits = LocatorLimits { moves_max: 2, ..LocatorLimits::default() };
    let locator = MemoryLocator::bounded(limits);
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    for n in 1..=10_000 {
        locator.claim(UserId(n), &gate, Some(life)).await.unwrap();
    }
    let mut moves = locator.watch();
    assert!(locator.close(&gate.instance, life).await.unwrap());
    let closed = Moved::Closed { instance: gate.instance.clone(), incarnation: life };
    assert_eq!(moves.next().await, Some(closed));
    assert_eq!(moves.try_next(), None);
    assert_eq!(locator.places(), 0);
}

/// The gate that loses a user learns it in time, and cannot undo the newer login (W-40).
#[tokio::test]
async fn w40_of_two_logins_the_later_names_the_earlier_and_outlives_its_release() {
    let locator = MemoryLocator::default();
    let (old, new, user) = (Place::gate("gate-1"), Place::gate("gate-2"), UserId(5));
    for gate in [&old, &new] {
        locator.open(&gate.instance).await.unwrap();
    }
    let first = locator.claim(user, &old, None).await.unwrap();
    let second = locator.claim(user, &new, None).await.unwrap();
    assert_eq!(second.previous.map(|lost| lost.place), Some(old.clone()));
    assert!(!locator.release(user, &old, first.epoch).await.unwrap());
    let found = locator.find(user, &Role::Gate).await.unwrap().unwrap();
    assert_eq!((found.place, found.epoch), (new, second.epoch));
}

#[tokio::test]
async fn a_full_locator_refuses_new_seats_and_still_moves_old_ones() {
    let limits = LocatorLimits { places_max: 1, instances_max: 2, moves_max: 4 };
    let locator = MemoryLocator::bounded(limits);
    let (one, two) = (Place::gate("gate-1"), Place::gate("gate-2"));
    for gate in [&one, &two] {
        locator.open(&gate.instance).await.unwrap();
    }
    let third = locator.open(&"gate-3".into()).await;
    assert!(matches!(third, Err(LocatorError::Full { what: "instances", max: 2 })));
    locator.open(&one.instance).await.unwrap();

    locator.claim(UserId(1), &one, None).await.unwrap();
    let mut moves = locator.watch();
    let refused = locator.claim(UserId(2), &one, None).await;
    assert!(matches!(refused, Err(LocatorError::Full { what: "places", max: 1 })));
    assert_eq!(moves.try_next(), None, "what was refused is not told");
    let moved = locator.claim(UserId(1), &two, None).await.unwrap();
    assert!(locator.release(UserId(1), &two, moved.epoch).await.unwrap());
    locator.claim(UserId(2), &one, None).await.unwrap();
}

#[tokio::test]
async fn gates_racing_for_one_user_see_one_chain_of_owners() {
    const CLAIMS: u64 = 500;
    let locator = Arc::new(MemoryLocator::default());
    let user = UserId(1);
    let names = ["gate-1", "gate-2", "gate-3", "gate-4"];
    for name in names {
        locator.open(&name.into()).await.unwrap();
    }
    let racers = names.map(|name| {
        let locator = Arc::clone(&locator);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let claims = (0..CLAIMS)
                .map(|_| runtime.block_on(locator.claim(user, &Place::gate(name), None)).unwrap());
            claims.map(|c| (c.previous.map_or(Epoch(0), |p| p.epoch), c.epoch)).collect::<Vec<_>>()
        })
    });
    let mut chain = BTreeMap::new();
    for racer in racers {
        chain.extend(racer.join().unwrap());
    }
    // Each claim was displaced by exactly one other, so following them visits every claim.
    let mut epoch = Epoch(0);
    let mut length = 0;
    while let Some(next) = chain.get(&epoch) {
        assert!(*next > epoch);
        epoch = *next;
        length += 1;
    }
    assert_eq!(length, CLAIMS * 4);
    let found = locator.find(user, &Role::Gate).await.unwrap().unwrap();
    assert_eq!(found.epoch, epoch);
}
