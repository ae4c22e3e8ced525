//! On Redis Cluster and on Valkey: the conformance suite, dead processes, due beside us, slots that move.

mod failover;

use super::*;
use crate::redis::{cluster::Cluster, launch::Make};
use yumen_plugins::redis::RedisLocator;

#[tokio::test]
async fn on_redis_cluster_the_locator_conforms() {
    let cluster = Cluster::start(Make::Redis, 0).await;
    within(120, conformance::locator(&cluster.locator())).await;
    let cluster = Cluster::start(Make::Redis, 0).await;
    within(120, conformance::locator_shared(&cluster.locator(), &cluster.locator())).await;
}

#[tokio::test]
async fn on_valkey_the_locator_conforms() {
    let server = Server::of(Make::Valkey);
    within(60, conformance::locator(&server.locator())).await;
    let server = Server::of(Make::Valkey);
    within(60, conformance::locator_shared(&server.locator(), &server.locator())).await;
}

#[tokio::test]
async fn on_a_cluster_of_valkey_the_locator_conforms() {
    let cluster = Cluster::start(Make::Valkey, 0).await;
    within(120, conformance::locator(&cluster.locator())).await;
    let cluster = Cluster::start(Make::Valkey, 0).await;
    within(120, conformance::locator_shared(&cluster.locator(), &cluster.locator())).await;
}

#[tokio::test]
async fn one_server_of_a_cluster_given_alone_says_what_to_write() {
    let cluster = Cluster::start(Make::Redis, 0).await;
    let locator = RedisLocator::builder().addr(&cluster.addrs()[0]).build().unwrap();
    let told = within(20, locator.find(UserId(1), &Role::Gate)).await.unwrap_err().to_string();
    assert!(told.contains("name two or more of its servers in locate.redis.addrs"), "{told}");
}

/// As on one server: due's records have no lease, ours end with their process.
#[tokio::test]
async fn w19_on_redis_cluster_what_a_killed_process_left_is_gone_within_ten_seconds() {
    const USERS: i64 = 300;
    let cluster = Cluster::start(Make::Redis, 0).await;
    let (killed, alive_here) = (cluster.locator(), cluster.locator());
    let (dead, lives_on) = (Place::gate("gate-1"), Place::gate("gate-2"));
    let own = [(lives_on.instance.clone(), alive_here.open(&lives_on.instance).await.unwrap())];
    let life = killed.open(&dead.instance).await.unwrap();
    let lives = [(dead.instance.clone(), life)];
    let mut moves = alive_here.watch();
    let fill = async {
        for n in 1..=USERS {
            let place = if n % 10 == 0 { &lives_on } else { &dead };
            killed.claim(UserId(n), place, None).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
    };
    alive(&alive_here, &own, alive(&killed, &lives, fill)).await;
    killed.renew(&dead.instance, life).await.unwrap();
    drop(killed);
    alive(&alive_here, &own, async {
        // Ten seconds of sleep: what a busy machine takes in between does not count.
        let mut slept = Duration::ZERO;
        loop {
            let keys = cluster.keys().await;
            if keys.iter().filter(|key| key.ends_with(":gate")).count() == 30 {
                break;
            }
            assert!(slept < Duration::from_secs(10), "places of a dead process are left");
            tokio::time::sleep(Duration::from_millis(100)).await;
            slept += Duration::from_millis(100);
        }
    })
    .await;
    for n in 1..=USERS {
        let gate = alive_here.find(UserId(n), &Role::Gate).await.unwrap();
        assert_eq!(gate.map(|found| found.place), (n % 10 == 0).then(|| lives_on.clone()));
    }
    let closed = next_but(&mut moves, |moved| matches!(moved, Moved::Claimed { .. })).await;
    assert_eq!(closed, Moved::Closed { instance: dead.instance.clone(), incarnation: life });
}

/// A process of due's writes on the same cluster, as its cluster client does.
#[tokio::test]
async fn on_redis_cluster_what_due_writes_is_found_and_told_and_ours_is_as_due_writes_it() {
    let cluster = Cluster::start(Make::Redis, 0).await;
    let (one, other) = (cluster.locator(), cluster.locator());
    let gate = Place::gate("gate-1");
    let life = one.open(&gate.instance).await.unwrap();
    let lives = [(gate.instance.clone(), life)];
    alive(&one, &lives, async {
        other.find(UserId(1), &Role::Gate).await.unwrap();
        let mut moves = [one.watch(), other.watch()];
        for n in 1..=20_i64 {
            let (user, key) = (UserId(n), format!("due:locate:user:{n}:gate"));
            let due_gate = Place::gate("due-gate");
            cluster.due(&["SET", &key, "due-gate", "KEEPTTL"]);
            let event = format!(
                r#"{{"uid":{n},"type":1,"insID":"due-gate","insKind":"gate","insName":""}}"#
            );
            cluster.due(&["PUBLISH", "due:locate:cluster:gate:event", &event]);
            let mut epochs = Vec::new();
            for moves in &mut moves {
                match within(30, moves.next()).await {
                    Some(Moved::Claimed { user: who, place, epoch }) => {
                        assert_eq!((who, place), (user, due_gate.clone()));
                        epochs.push(epoch);
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(epochs[0], epochs[1], "one epoch, whoever settled it");
            let found = other.find(user, &Role::Gate).await.unwrap().unwrap();
            assert_eq!((found.place.clone(), found.epoch), (due_gate, epochs[0]));
            let claim = one.claim(user, &gate, Some(life)).await.unwrap();
            assert_eq!(claim.previous, Some(found));
            assert!(claim.epoch > epochs[0]);
            let value = cluster.due(&["GET", &key]);
            assert_eq!(value, redis::Value::BulkString(b"gate-1".to_vec()));
            for moves in &mut moves {
                let told = Moved::Claimed { user, place: gate.clone(), epoch: claim.epoch };
                assert_eq!(within(30, moves.next()).await, Some(told));
            }
        }
        for process in [&one, &other] {
            let stats = process.stats();
            assert_eq!((stats.due_events, stats.unreadable), (20, 0), "{stats:?}");
        }
    })
    .await;
}

/// `MOVED`, `ASK` and `TRYAGAIN`: a third of the slots moves to another server under claims.
#[tokio::test]
async fn slots_that_move_to_another_server_cost_no_claim() {
    let cluster = Arc::new(Cluster::start(Make::Redis, 0).await);
    let locator = cluster.locator();
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let lives = [(gate.instance.clone(), life)];
    let mut ids = Vec::new();
    for server in 0..3 {
        ids.push(cluster.id(server).await);
    }
    let (mover, addr) = (Arc::clone(&cluster), cluster.servers[0].addr());
    let moving = tokio::task::spawn_blocking(move || {
        let words = ["--cluster", "reshard", &addr, "--cluster-from", &ids[0], "--cluster-to"];
        let mut words: Vec<_> = words.map(str::to_owned).to_vec();
        words.extend([&ids[1], "--cluster-slots", "400"].map(str::to_owned));
        mover.cli(&words);
    });
    alive(&locator, &lives, async {
        let mut last = BTreeMap::new();
        let mut rounds = 0;
        while !moving.is_finished() || rounds < 2 {
            for n in 1..=200 {
                let claim = locator.claim(UserId(n), &gate, Some(life)).await.unwrap();
                let before = last.insert(n, claim.epoch);
                assert!(before.is_none_or(|before| before < claim.epoch), "user {n}: {claim:?}");
                let previous = claim.previous.map(|lost| lost.epoch);
                assert_eq!(previous, before, "every claim is known to the next");
            }
            rounds += 1;
        }
    })
    .await;
    moving.await.unwrap();
    assert_eq!(locator.stats().failed, 0, "{:?}", locator.stats());
}
