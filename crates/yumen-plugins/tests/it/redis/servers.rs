//! On a real Redis: the conformance suite, and what it cannot ask.

mod books;
mod due;
mod model;
mod outage;
mod slots;
mod tls;

use super::{
    proxy::Proxy,
    server::{Server, keys, raw, within},
};
use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use yumen_core::{
    conformance,
    health::Health,
    locator::{Incarnation, Locator, LocatorError, Moved, Moves, Place, Role},
};
use yumen_proto::{Epoch, InstanceId, UserId};

#[tokio::test]
async fn the_redis_locator_conforms() {
    let server = Server::start();
    within(60, conformance::locator(&server.locator())).await;
}

#[tokio::test]
async fn two_processes_on_one_redis_see_each_others_changes() {
    let server = Server::start();
    within(60, conformance::locator_shared(&server.locator(), &server.locator())).await;
}

/// due bounds nothing and waits for ever in places; a caller that goes away leaves nothing behind.
#[tokio::test]
async fn ten_thousand_cancelled_calls_leave_nothing_behind() {
    let server = Server::start();
    let locator = server.builder().in_flight_max(64).build().unwrap();
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let before = locator.stats();
    // Some never reach the connection, some are cancelled while they wait, some while they are answered.
    let mut cancelled = 0;
    for n in 0..10_000_u64 {
        let user = UserId(i64::try_from(n).unwrap() + 1);
        let polls = n % 4;
        let mut claim = pin!(locator.claim(user, &gate, Some(life)));
        for _ in 0..polls {
            let done = poll_fn(|cx| Poll::Ready(claim.as_mut().poll(cx).is_ready())).await;
            if done {
                break;
            }
            tokio::task::yield_now().await;
        }
        cancelled += 1;
    }
    assert_eq!(cancelled, 10_000);
    let stats = locator.stats();
    assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{stats:?}");
    assert_eq!(stats.reconnects, before.reconnects, "and the connection is the same");
    for n in 0..200 {
        let claim = within(10, locator.claim(UserId(20_000 + n), &gate, Some(life))).await;
        assert_eq!(claim.unwrap().previous, None);
    }
    assert!(locator.close(&gate.instance, life).await.unwrap());
    let mut look = server.raw().await;
    let left = keys(&mut look).await;
    let places = left.iter().filter(|key| key.ends_with(":gate")).count();
    assert_eq!(places, 0, "what a cancelled claim did ends with its instance");
}

#[tokio::test]
async fn more_commands_than_may_wait_are_refused_at_once() {
    let server = Server::start();
    let locator = server.builder().in_flight_max(1).waiting_max(2).build().unwrap();
    locator.find(UserId(1), &Role::Gate).await.unwrap();
    server.pause();
    let find = || locator.find(UserId(1), &Role::Gate);
    let mut waiting = [find(), find(), find()];
    for call in &mut waiting {
        let pending = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
    }
    let stats = locator.stats();
    assert_eq!((stats.in_flight, stats.waiting), (1, 2));
    let load = locator.load().unwrap();
    assert_eq!((load.in_flight, load.in_flight_max, load.waiting, load.waiting_max), (1, 1, 2, 2));
    assert_eq!((load.connections, load.reconnects), (2, 0));
    let refused = find().await.unwrap_err().to_string();
    assert!(refused.contains("2 commands wait"), "{refused}");
    server.resume();
    for call in waiting {
        assert_eq!(within(10, call).await.unwrap(), None);
    }
    assert_eq!((locator.stats().in_flight, locator.stats().waiting), (0, 0));
}

/// due: the connection that loses is told nothing, on another gate both stay bound.
#[tokio::test]
async fn w40_of_two_gates_that_claim_at_once_the_loser_is_told() {
    const ROUNDS: usize = 100;
    let server = Server::start();
    let processes = [Arc::new(server.locator()), Arc::new(server.locator())];
    let gates = [Place::gate("gate-1"), Place::gate("gate-2")];
    let mut lives = Vec::new();
    for (process, gate) in processes.iter().zip(&gates) {
        lives.push(process.open(&gate.instance).await.unwrap());
    }
    let mut moves = processes.each_ref().map(|process| process.watch());
    let user = UserId(7);
    let mut chain = BTreeMap::new();
    for _ in 0..ROUNDS {
        let one = processes[0].claim(user, &gates[0], Some(lives[0]));
        let two = processes[1].claim(user, &gates[1], Some(lives[1]));
        let (one, two) = tokio::join!(one, two);
        for claim in [one.unwrap(), two.unwrap()] {
            chain.insert(claim.previous.map_or(Epoch(0), |lost| lost.epoch), claim.epoch);
        }
    }
    // Every claim was displaced by exactly one other, so following them visits all.
    let mut epoch = Epoch(0);
    let mut length = 0;
    while let Some(next) = chain.get(&epoch) {
        assert!(*next > epoch, "epochs grow");
        epoch = *next;
        length += 1;
    }
    assert_eq!(length, 2 * ROUNDS);
    let found = processes[0].find(user, &Role::Gate).await.unwrap().unwrap();
    assert_eq!(found.epoch, epoch);
    for moves in &mut moves {
        let mut last = Epoch(0);
        for _ in 0..2 * ROUNDS {
            let told = within(10, moves.next()).await;
            let Some(Moved::Claimed { epoch, .. }) = told else { panic!("{told:?}") };
            assert!(epoch > last, "both gates are told every claim, in order");
            last = epoch;
        }
        assert_eq!(last, epoch, "and so which of them has lost");
    }
}

/// due: a bind waits in the reader of its socket, so one slow bind delays all behind it.
#[tokio::test]
async fn w50_a_slow_redis_delays_calls_by_one_round_trip_and_not_each_other() {
    const CALLS: u32 = 300;
    let delay = Duration::from_millis(100);
    let server = Server::start();
    let line = Proxy::start(server.addr(), delay).await;
    let locator = Arc::new(server.builder().addr(line.addr()).build().unwrap());
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    let start = Instant::now();
    for n in 1..=CALLS {
        let (locator, gate) = (Arc::clone(&locator), gate.clone());
        calls.spawn(async move { locator.claim(UserId(n.into()), &gate, Some(life)).await });
    }
    while let Some(claim) = calls.join_next().await {
        claim.unwrap().unwrap();
    }
    let took = start.elapsed();
    assert!(took >= delay * 2, "the line is slow: {took:?}");
    assert!(took < delay * 2 * CALLS / 4, "calls do not wait for each other: {took:?}");
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let server = Server::start();
    let locator = server.locator();
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let mut admin = server.raw().await;
    for _ in 0..3 {
        let _: () = raw(&mut admin, &["SCRIPT", "FLUSH", "SYNC"]).await;
        let claim = locator.claim(UserId(1), &gate, Some(life)).await.unwrap();
        let _: () = raw(&mut admin, &["SCRIPT", "FLUSH", "SYNC"]).await;
        assert!(locator.release(UserId(1), &gate, claim.epoch).await.unwrap());
    }
    locator.claim(UserId(1), &gate, Some(life)).await.unwrap();
    let _: () = raw(&mut admin, &["SCRIPT", "FLUSH", "SYNC"]).await;
    assert!(locator.close(&gate.instance, life).await.unwrap());
    let left = keys(&mut admin).await;
    assert!(!left.contains(&"due:locate:user:1:gate".to_owned()), "{left:?}");
}

#[tokio::test]
async fn an_epoch_outlives_its_place_for_an_hour_and_dues_keys_never_expire() {
    let server = Server::start();
    let locator = server.locator();
    let (gate, room) = (Place::gate("gate-1"), Place::node("room", "node-1"));
    for place in [&gate, &room] {
        locator.open(&place.instance).await.unwrap();
        locator.claim(UserId(1), place, None).await.unwrap();
    }
    let mut look = server.raw().await;
    for key in
        ["due:locate:user:1:gate", "due:locate:user:1:node", "{due:locate:user:1:gate}:yumen"]
    {
        let ttl: i64 = raw(&mut look, &["TTL", key]).await;
        assert_eq!(ttl, -1, "{key} is there and does not expire");
    }
    let found = locator.find(UserId(1), &Role::Gate).await.unwrap().unwrap();
    assert!(locator.release(UserId(1), &gate, found.epoch).await.unwrap());
    let gone: i64 = raw(&mut look, &["TTL", "due:locate:user:1:gate"]).await;
    let kept: i64 = raw(&mut look, &["TTL", "{due:locate:user:1:gate}:yumen"]).await;
    assert_eq!(gone, -2);
    assert!((3_000..=3_600).contains(&kept), "{kept}");
}

/// Redis tells what is published to all databases.
#[tokio::test]
async fn clusters_in_two_databases_do_not_meet() {
    let server = Server::start();
    let clusters = [server.locator(), server.builder().db(1).build().unwrap()];
    let gate = Place::gate("gate-1");
    for cluster in &clusters {
        cluster.open(&gate.instance).await.unwrap();
    }
    let mut moves = clusters[1].watch();
    let there = clusters[0].claim(UserId(1), &gate, None).await.unwrap();
    assert_eq!(clusters[1].find(UserId(1), &Role::Gate).await.unwrap(), None);
    let here = clusters[1].claim(UserId(2), &gate, None).await.unwrap();
    // The copy of the other's event on due's channel is followed up, and there is nothing.
    let told = Moved::Claimed { user: UserId(2), place: gate.clone(), epoch: here.epoch };
    assert_eq!(within(10, moves.next()).await, Some(told));
    assert!(clusters[0].release(UserId(1), &gate, there.epoch).await.unwrap());
    assert!(clusters[1].release(UserId(2), &gate, here.epoch).await.unwrap());
}

/// Whoever ended the life may die before the places are taken away.
#[tokio::test]
async fn a_place_whose_life_is_over_is_gone_before_it_is_taken_away() {
    let server = Server::start();
    let locator = server.locator();
    let (dead, gate) = (Place::gate("gate-1"), Place::gate("gate-2"));
    locator.open(&gate.instance).await.unwrap();
    let life = locator.open(&dead.instance).await.unwrap();
    let users = [UserId(1), UserId(2), UserId(3)];
    let mut epochs = Vec::new();
    for user in users {
        epochs.push(locator.claim(user, &dead, Some(life)).await.unwrap().epoch);
    }
    let mut moves = locator.watch();
    let mut admin = server.raw().await;
    let _: i64 = raw(&mut admin, &["HDEL", "due:yumen:lives", "gate-1"]).await;
    assert_eq!(locator.find(users[0], &Role::Gate).await.unwrap(), None);
    assert!(!locator.release(users[0], &dead, epochs[0]).await.unwrap());
    let claim = locator.claim(users[1], &gate, None).await.unwrap();
    assert_eq!(claim.previous, None);
    // The next life of the same instance starts without them, and keeps what it claims itself.
    let next = locator.open(&dead.instance).await.unwrap();
    assert!(next > life);
    let own = locator.claim(users[2], &dead, Some(next)).await.unwrap();
    assert_eq!(own.previous, None, "an earlier life is not displaced");
    let life = life.to_string();
    let _: i64 = raw(&mut admin, &["HSET", "due:yumen:ended", "gate-1", &life]).await;
    let lives = [(dead.instance.clone(), next)];
    alive(&locator, &lives, async {
        within(30, async {
            while keys(&mut admin).await.contains(&"due:yumen:ended".to_owned()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    })
    .await;
    let left = keys(&mut admin).await;
    let places: Vec<_> = left.iter().filter(|key| key.ends_with(":gate")).collect();
    assert_eq!(places, ["due:locate:user:2:gate", "due:locate:user:3:gate"]);
    assert_eq!(locator.find(users[2], &Role::Gate).await.unwrap().unwrap().epoch, own.epoch);
    let released = |moved: &Moved| matches!(moved, Moved::Released { .. });
    while let Some(moved) = moves.try_next() {
        assert!(!released(&moved), "a place that went with its life is not released: {moved:?}");
    }
}

/// Of two machines one is ahead by days, and Redis forgets everything.
#[tokio::test]
async fn epochs_and_lives_only_grow_whatever_the_clocks_say() {
    let server = Server::start();
    let locator = server.locator();
    let gate = Place::gate("gate-1");
    let mut ahead = server.raw().await;
    let future = "4000000000000000";
    let record = format!("{future} 0 ");
    let _: () = raw(&mut ahead, &["SET", "{due:locate:user:1:gate}:yumen", &record]).await;
    let _: () = raw(&mut ahead, &["SET", "due:yumen:last:gate-1", future]).await;
    let life = locator.open(&gate.instance).await.unwrap();
    assert_eq!(life, Incarnation(4_000_000_000_000_001));
    let claim = locator.claim(UserId(1), &gate, Some(life)).await.unwrap();
    assert!(claim.epoch.0 > 4_000_000_000_000_000, "{}", claim.epoch);
    let _: () = raw(&mut ahead, &["FLUSHALL"]).await;
    let next = locator.open(&gate.instance).await.unwrap();
    assert!(next > life, "what this process has seen it does not fall behind");
    let again = locator.claim(UserId(1), &gate, Some(next)).await.unwrap();
    assert!(again.epoch > claim.epoch);
}

#[tokio::test]
async fn a_key_that_is_no_place_is_an_error_and_nothing_more() {
    let server = Server::start();
    let locator = server.locator();
    let mut peer = server.raw().await;
    let _: i64 = raw(&mut peer, &["LPUSH", "due:locate:user:1:gate", "no place"]).await;
    let error = locator.find(UserId(1), &Role::Gate).await.unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    for (channel, event) in [
        ("due:locate:cluster:gate:event", "no event"),
        ("due:locate:cluster:node:event", "{}"),
        ("due:yumen:moves", "[\"claim\",\"1\"]"),
        ("due:yumen:moves", "[\"\",\"1\",\"gate\",\"\",\"g\",\"1\"]"),
    ] {
        let _: i64 = raw(&mut peer, &["PUBLISH", channel, event]).await;
    }
    within(10, async {
        while locator.stats().unreadable < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(locator.find(UserId(2), &Role::Gate).await.unwrap(), None);
    assert_eq!(locator.health(), Health::Good);
}

#[tokio::test]
async fn dropped_it_leaves_no_connection() {
    let server = Server::start();
    let mut look = server.raw().await;
    let locator = server.locator();
    locator.find(UserId(1), &Role::Gate).await.unwrap();
    let clients = |list: String| list.lines().count();
    assert!(clients(raw(&mut look, &["CLIENT", "LIST"]).await) > 1);
    drop(locator);
    within(10, async {
        while clients(raw(&mut look, &["CLIENT", "LIST"]).await) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The next event that is not one of these.
async fn next_but(moves: &mut Moves, skip: impl Fn(&Moved) -> bool) -> Moved {
    loop {
        let moved = within(30, moves.next()).await.expect("a stream never ends by itself");
        if !skip(&moved) {
            return moved;
        }
    }
}

/// Renews every life as often as an instance does, for as long as it is polled.
async fn renewing(locator: &dyn Locator, lives: &[(InstanceId, Incarnation)]) {
    let mut ticks = tokio::time::interval(yumen_core::locator::RENEW_INTERVAL);
    loop {
        ticks.tick().await;
        for (instance, life) in lives {
            match locator.renew(instance, *life).await {
                Ok(()) | Err(LocatorError::Backend { .. }) => {}
                Err(over) => panic!("a life that is renewed is over: {over}"),
            }
        }
    }
}

/// Runs `what` while these lives are renewed.
async fn alive<T>(
    locator: &dyn Locator,
    lives: &[(InstanceId, Incarnation)],
    what: impl Future<Output = T>,
) -> T {
    tokio::select! {
        () = renewing(locator, lives) => unreachable!("renews for ever"),
        done = what => done,
    }
}

/// Until the locator is well again.
async fn well(locator: &dyn Locator) {
    within(30, async {
        while locator.find(UserId(1), &Role::Gate).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(locator.health(), Health::Good);
}
