//! Processes that are killed, and a Redis that is killed, stalled or forgetful.

use super::*;

/// due's records have no lease: whoever was on a gate that was killed stays located there for ever.
#[tokio::test]
async fn w19_what_a_killed_process_left_is_gone_within_ten_seconds() {
    const USERS: i64 = 1_000;
    const TICK: Duration = Duration::from_millis(50);
    let server = Server::start();
    let (killed, alive_here) = (server.locator(), server.locator());
    let (dead, lives_on) = (Place::gate("gate-1"), Place::gate("gate-2"));
    let room = Place::node("room", "node-1");
    let own = alive_here.open(&lives_on.instance).await.unwrap();
    let own = [(lives_on.instance.clone(), own)];
    let mut moves = alive_here.watch();
    let mut lives = Vec::new();
    for place in [&dead, &room] {
        let life = killed.open(&place.instance).await.unwrap();
        lives.push((place.instance.clone(), life));
    }
    let fill = async {
        for n in 1..=USERS {
            let place = if n % 10 == 0 { &lives_on } else { &dead };
            killed.claim(UserId(n), place, None).await.unwrap();
            killed.claim(UserId(n), &room, None).await.unwrap();
        }
        // Whoever looks must have been well for a while.
        tokio::time::sleep(Duration::from_secs(4)).await;
    };
    alive(&alive_here, &own, alive(&killed, &lives, fill)).await;
    // Killed: nothing is closed, nothing is renewed any more. Every life was renewed a moment ago.
    for (instance, life) in &lives {
        killed.renew(instance, *life).await.unwrap();
    }
    drop(killed);
    let mut look = server.raw().await;
    alive(&alive_here, &own, async {
        // Ten seconds of sleep: what a busy machine takes in between does not count.
        let mut slept = Duration::ZERO;
        loop {
            let left: Vec<String> = keys(&mut look).await;
            let places = |end: &str| left.iter().filter(|key| key.ends_with(end)).count();
            if (places(":gate"), places(":node")) == (100, 0) {
                break;
            }
            assert!(slept < Duration::from_secs(10), "{} keys are left", left.len());
            tokio::time::sleep(TICK).await;
            slept += TICK;
        }
    })
    .await;
    for n in 1..=USERS {
        let gate = alive_here.find(UserId(n), &Role::Gate).await.unwrap();
        assert_eq!(gate.map(|found| found.place), (n % 10 == 0).then(|| lives_on.clone()));
        assert_eq!(alive_here.find(UserId(n), &room.role).await.unwrap(), None);
    }
    let claimed = |moved: &Moved| matches!(moved, Moved::Claimed { .. });
    let mut closed = Vec::new();
    for _ in 0..2 {
        match next_but(&mut moves, claimed).await {
            Moved::Closed { instance, .. } => closed.push(instance),
            other => panic!("one event for each life, and no other: {other:?}"),
        }
    }
    closed.sort();
    assert_eq!(closed, [dead.instance, room.instance], "each told once");
    assert_eq!(moves.try_next(), None);
}

/// due's subscription ends silently at its first error, and its caches are wrong from then on.
#[tokio::test]
async fn w19_after_a_restart_of_redis_followers_are_told_of_the_loss_and_follow_on() {
    let mut server = Server::start();
    let (one, other) = (server.locator(), server.locator());
    let gate = Place::gate("gate-1");
    let life = one.open(&gate.instance).await.unwrap();
    let before = one.claim(UserId(5), &gate, Some(life)).await.unwrap();
    other.find(UserId(5), &Role::Gate).await.unwrap();
    let mut moves = other.watch();
    for round in 1..=2 {
        server.restart();
        let lost = within(30, moves.next()).await;
        assert_eq!(lost, Some(Moved::Lost), "round {round}");
        well(&one).await;
        well(&other).await;
    }
    // Its memory is gone: who renews opens again and claims again, and everything only grows.
    let over = one.renew(&gate.instance, life).await;
    assert!(matches!(over, Err(LocatorError::NotOpen { .. })), "{over:?}");
    assert_eq!(other.find(UserId(5), &Role::Gate).await.unwrap(), None);
    let next = one.open(&gate.instance).await.unwrap();
    assert!(next > life, "lives only grow");
    let claim = one.claim(UserId(5), &gate, Some(next)).await.unwrap();
    assert!(claim.epoch > before.epoch, "epochs only grow");
    let told = Moved::Claimed { user: UserId(5), place: gate, epoch: claim.epoch };
    assert_eq!(next_but(&mut moves, |moved| *moved == Moved::Lost).await, told);
    assert!(one.stats().reconnects >= 1 && other.stats().resubscribes >= 1);
}

#[tokio::test]
async fn after_flushall_an_instance_learns_it_at_its_next_renewal() {
    let server = Server::start();
    let locator = server.locator();
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let before = locator.claim(UserId(5), &gate, Some(life)).await.unwrap();
    let mut admin = server.raw().await;
    let _: () = raw(&mut admin, &["FLUSHALL"]).await;
    let refused = locator.claim(UserId(6), &gate, Some(life)).await;
    assert!(matches!(refused, Err(LocatorError::NotOpen { .. })), "{refused:?}");
    let refused = locator.renew(&gate.instance, life).await;
    assert!(matches!(refused, Err(LocatorError::NotOpen { .. })), "{refused:?}");
    let next = locator.open(&gate.instance).await.unwrap();
    assert!(next > life);
    let again = locator.claim(UserId(5), &gate, Some(next)).await.unwrap();
    assert!(again.epoch > before.epoch && again.previous.is_none());
}

/// due: a Redis that stalls for longer than the call's time during logins leaves sockets that answer
/// nothing until the process is restarted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w32_after_a_stall_of_five_seconds_under_logins_every_call_succeeds() {
    let server = Server::start();
    let locator = Arc::new(server.locator());
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let lives = [(gate.instance.clone(), life)];
    let mut logins = tokio::task::JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for worker in 0..50_i64 {
        let (locator, gate, stopped) = (Arc::clone(&locator), gate.clone(), stopped.clone());
        logins.spawn(async move {
            let (mut done, mut failed) = (0_u32, 0_u32);
            while !*stopped.borrow() {
                let user = UserId(1 + worker + 50 * i64::from(done % 20));
                match locator.claim(user, &gate, Some(life)).await {
                    Ok(_) => done += 1,
                    Err(LocatorError::Backend { .. }) => {
                        failed += 1;
                        tokio::task::yield_now().await;
                    }
                    Err(other) => panic!("{other}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (done, failed)
        });
    }
    alive(&*locator, &lives, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.pause();
        tokio::time::sleep(Duration::from_secs(5)).await;
        server.resume();
        well(&*locator).await;
        for n in 0..1_000 {
            let claim = within(10, locator.claim(UserId(5_000 + n), &gate, Some(life))).await;
            claim.unwrap_or_else(|error| panic!("call {n} after the stall: {error}"));
        }
    })
    .await;
    stop.send_replace(true);
    let mut all = (0, 0);
    while let Some(login) = within(10, logins.join_next()).await {
        let (done, failed) = login.unwrap();
        all = (all.0 + done, all.1 + failed);
    }
    let (done, failed) = all;
    assert!(done > 0 && failed > 0, "{done} logins done, {failed} failed: it did stall");
    let stats = locator.stats();
    assert_eq!((stats.in_flight, stats.waiting), (0, 0), "none is stuck");
}

/// Whoever renews again right after an outage has lost nothing, and nobody is told otherwise.
#[tokio::test]
async fn an_outage_longer_than_a_renewal_holds_ends_nobodys_life() {
    let server = Server::start();
    let (one, other) = (server.locator(), server.locator());
    let gates = [Place::gate("gate-1"), Place::gate("gate-2")];
    let first = one.open(&gates[0].instance).await.unwrap();
    let second = other.open(&gates[1].instance).await.unwrap();
    let epoch = one.claim(UserId(5), &gates[0], Some(first)).await.unwrap().epoch;
    let mut moves = other.watch();
    let there = [(gates[1].instance.clone(), second)];
    alive(&other, &there, async {
        // For long enough that the other one looks after lives.
        tokio::time::sleep(Duration::from_secs(6)).await;
        one.renew(&gates[0].instance, first).await.unwrap();
        server.pause();
        tokio::time::sleep(Duration::from_secs(10)).await;
        server.resume();
        well(&other).await;
        // Who is back first looks soon, and the other one has not renewed for 12 s.
        tokio::time::sleep(Duration::from_secs(2)).await;
        well(&one).await;
        one.renew(&gates[0].instance, first).await.unwrap();
    })
    .await;
    for process in [&one, &other] {
        let found = process.find(UserId(5), &Role::Gate).await.unwrap().unwrap();
        assert_eq!((found.place, found.epoch), (gates[0].clone(), epoch));
    }
    while let Some(moved) = moves.try_next() {
        let over = matches!(moved, Moved::Closed { .. } | Moved::Released { .. });
        assert!(!over, "nobody is told otherwise: {moved:?}");
    }
}

#[tokio::test]
async fn a_late_renewal_is_taken_as_long_as_nobody_ended_the_life() {
    let server = Server::start();
    let locator = server.locator();
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let mut admin = server.raw().await;
    let gone: i64 = raw(&mut admin, &["DEL", "due:yumen:life:gate-1"]).await;
    assert_eq!(gone, 1, "as if it had run out");
    locator.renew(&gate.instance, life).await.unwrap();
    let ttl: i64 = raw(&mut admin, &["PTTL", "due:yumen:life:gate-1"]).await;
    assert!((8_000..=9_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_line_that_swallows_everything_is_given_up_with_the_first_call_on_it() {
    let server = Server::start();
    let line = Proxy::start(server.addr(), Duration::ZERO).await;
    let limit = Duration::from_millis(500);
    let locator = server.builder().addr(line.addr()).command_max(limit);
    // Nobody else finds out.
    let locator = locator.ping_every(Duration::from_secs(60)).build().unwrap();
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    line.swallow();
    let error = locator.claim(UserId(1), &gate, Some(life)).await.unwrap_err();
    assert!(error.to_string().contains("did not answer within 500 ms"), "{error}");
    well(&locator).await;
    for n in 1..100 {
        locator.claim(UserId(n), &gate, Some(life)).await.unwrap();
    }
    assert_eq!(locator.stats().reconnects, 1);
}

#[tokio::test]
async fn a_silent_subscription_is_noticed_and_made_again() {
    let server = Server::start();
    let quick = Duration::from_millis(100);
    let locator = server.builder().ping_every(quick).command_max(quick * 5).connect_max(quick * 5);
    let locator = locator.build().unwrap();
    let gate = Place::gate("gate-1");
    locator.open(&gate.instance).await.unwrap();
    let mut moves = locator.watch();
    server.pause();
    // Nothing is closed, nothing is refused: it only does not answer.
    within(30, async {
        while locator.health() == Health::Good {
            tokio::time::sleep(quick).await;
        }
        tokio::time::sleep(quick * 10).await;
    })
    .await;
    server.resume();
    assert_eq!(within(30, moves.next()).await, Some(Moved::Lost));
    well(&locator).await;
    assert!(locator.stats().resubscribes >= 1);
}
