//! Whether the keys agree with each other, whatever happened.

use super::*;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

/// Every place has its record, its seat and an open life, and nothing else has; due's has a record that
/// ends by itself, and no more.
pub(super) async fn agree(server: &Server) {
    let mut look = server.raw().await;
    let lives: BTreeMap<String, String> = raw(&mut look, &["HGETALL", "due:yumen:lives"]).await;
    let seats: Vec<String> = raw(&mut look, &["ZRANGE", "due:yumen:seats", "0", "-1"]).await;
    let seats: BTreeSet<String> = seats.into_iter().collect();
    let mut wanted = BTreeSet::new();
    for key in keys(&mut look).await {
        let Some(rest) = key.strip_prefix("due:locate:user:") else { continue };
        let (user, kind) = rest.split_once(':').unwrap();
        let held: BTreeMap<String, String> = match kind {
            "gate" => [(String::new(), raw(&mut look, &["GET", &key]).await)].into(),
            _ => raw(&mut look, &["HGETALL", &key]).await,
        };
        for (group, instance) in held {
            let suffix = if kind == "gate" { String::new() } else { format!(":{group}") };
            let name = format!("{{{key}}}:yumen{suffix}");
            let record: String = raw(&mut look, &["GET", &name]).await;
            let words: Vec<&str> = record.splitn(3, ' ').collect();
            assert_eq!(words[2], instance, "{name}");
            if words[1] == "0" {
                let ttl: i64 = raw(&mut look, &["TTL", &name]).await;
                assert!(ttl > 0, "{name}: {ttl}");
                continue;
            }
            assert_eq!(Some(words[1]), lives.get(&instance).map(String::as_str), "{name}");
            wanted.insert(format!("{instance}\0{kind}\0{user}\0{group}"));
        }
    }
    assert_eq!(seats, wanted, "seats and places");
}

/// What somebody remembers who keeps the rules of the locator's module.
#[derive(Default)]
struct Cache(BTreeMap<(UserId, Role), (Place, Epoch)>);

impl Cache {
    fn on_move(&mut self, moved: Moved) {
        match moved {
            Moved::Claimed { user, place, epoch } => {
                let known =
                    self.0.entry((user, place.role.clone())).or_insert((place.clone(), epoch));
                if known.1 <= epoch {
                    *known = (place, epoch);
                }
            }
            Moved::Released { user, place, epoch } => {
                let key = (user, place.role);
                if self.0.get(&key).is_some_and(|known| known.1 <= epoch) {
                    self.0.remove(&key);
                }
            }
            Moved::Closed { instance, .. } => {
                self.0.retain(|_, known| known.0.instance != instance)
            }
            _ => self.0.clear(),
        }
    }
}

type Process = Arc<yumen_plugins::redis::RedisLocator>;

const USERS: i64 = 60;
const TASKS: i64 = 16;

/// Claims, releases and opens until it is told to stop; gives how many calls went through.
async fn move_about(process: Process, places: [Place; 4], task: i64, stop: Arc<AtomicBool>) -> u32 {
    let (mut n, mut done) = (task, 0_u32);
    while !stop.load(Ordering::Relaxed) {
        n = (n * 31 + 7) % 1_009;
        let (user, place) = (UserId(1 + n % USERS), &places[usize::try_from(n % 4).unwrap()]);
        match process.claim(user, place, None).await {
            Ok(claim) if n % 3 == 0 => {
                let released = process.release(user, place, claim.epoch).await;
                done += u32::from(released.is_ok());
            }
            Ok(_) => done += 1,
            Err(LocatorError::Backend { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
        if n % 97 == 0 {
            let _anew = process.open(&place.instance).await;
        }
    }
    done
}

/// Tells a follower all that was done before this, and compares what it remembers with what is.
async fn remembers_what_is(process: &Process, moves: &mut Moves, cache: &mut Cache, last: UserId) {
    let place = Place::gate("gate-1");
    let epoch = process.claim(last, &place, None).await.unwrap().epoch;
    loop {
        cache.on_move(within(30, moves.next()).await.unwrap());
        if cache.0.get(&(last, Role::Gate)).is_some_and(|known| known.1 == epoch) {
            break;
        }
    }
    // What due told last may still be followed up.
    for patience in (0..200).rev() {
        while let Some(moved) = moves.try_next() {
            cache.on_move(moved);
        }
        let mut wrong = Vec::new();
        for ((user, role), (place, epoch)) in &cache.0 {
            let found = process.find(*user, role).await.unwrap();
            if found.as_ref().map(|found| (&found.place, found.epoch)) != Some((place, *epoch)) {
                wrong.push(format!("{user} as {role}: {found:?}, not at {place} since {epoch}"));
            }
        }
        if wrong.is_empty() {
            return;
        }
        assert!(patience > 0, "{wrong:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until it can send and hear again.
async fn is_back(process: &Process) {
    well(&**process).await;
    within(10, async {
        while !process.stats().following {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(process.stats().reconnects > 0 && process.stats().resubscribes > 0);
}

/// Connections of ours break all the time while two processes of ours and one of due's move users about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_the_keys_agree_and_no_follower_remembers_what_is_not() {
    let server = Server::start();
    let processes = [Arc::new(server.locator()), Arc::new(server.locator())];
    let places = [
        Place::gate("gate-1"),
        Place::gate("gate-2"),
        Place::node("room", "node-1"),
        Place::node("lobby", "node-2"),
    ];
    for place in &places {
        processes[0].open(&place.instance).await.unwrap();
    }
    processes[1].find(UserId(1), &Role::Gate).await.unwrap();
    let mut followers = processes.each_ref().map(|process| (process.watch(), Cache::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let process = Arc::clone(&processes[usize::from(task % 2 == 0)]);
        tasks.spawn(move_about(process, places.clone(), task, Arc::clone(&stop)));
    }
    let mut admin = server.raw().await;
    for round in 0..60 {
        let kind = ["normal", "pubsub"][round % 2];
        let _: i64 = raw(&mut admin, &["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).await;
        for n in 0..6 {
            let user = 1 + i64::try_from(round * 7 + n * 11).unwrap() % USERS;
            match n % 3 {
                2 => due::due_unbinds(&mut admin, user, "gate-of-due").await,
                _ => due::due_binds(&mut admin, user, "gate-of-due").await,
            }
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
        for (moves, cache) in &mut followers {
            while let Some(moved) = moves.try_next() {
                cache.on_move(moved);
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut done = 0;
    while let Some(task) = within(30, tasks.join_next()).await {
        done += task.unwrap();
    }
    assert!(done > 100, "{done} calls went through");
    let last = [UserId(1_001), UserId(1_002)];
    for ((process, (moves, cache)), last) in processes.iter().zip(&mut followers).zip(last) {
        is_back(process).await;
        remembers_what_is(process, moves, cache, last).await;
    }
    // What due wrote while both were cut off is put down by whoever asks next.
    for user in 1..=USERS {
        processes[0].find(UserId(user), &Role::Gate).await.unwrap();
    }
    // What an open was cut off from is taken away by the next.
    for place in &places {
        processes[0].open(&place.instance).await.unwrap();
    }
    agree(&server).await;
}
