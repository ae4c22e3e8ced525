//! The same random steps on the locator in memory and on Redis, through two processes: the same answers,
//! and the same news to both.

use super::*;
use crate::redis::{cluster::Cluster, launch::Make};
use std::hash::{BuildHasher, RandomState};
use yumen_core::memory::MemoryLocator;

const STEPS: usize = 3_000;
const INSTANCES: [&str; 4] = ["a", "b", "c", "d"];

/// Dice that fall the same way for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }
}

/// Epochs and lives have other numbers on each side; the order in which they were given is the same.
#[derive(Default)]
struct Numbers {
    memory: BTreeMap<u64, usize>,
    /// Of two users, or two instances, the numbers may be the same on Redis Cluster.
    redis: BTreeMap<(String, u64), usize>,
}

impl Numbers {
    fn pair(&mut self, whose: String, memory: u64, redis: u64) {
        let next = self.memory.len();
        self.memory.insert(memory, next);
        assert_eq!(self.redis.insert((whose, redis), next), None, "numbers are never used twice");
    }
}

struct Pair {
    memory: MemoryLocator,
    redis: [RedisLocatorHandle; 2],
    epochs: Numbers,
    lives: Numbers,
    /// Instance, number in memory, number on Redis; the newest last.
    lived: Vec<(InstanceId, Incarnation, Incarnation)>,
    claimed: Vec<(UserId, Place, Epoch, Epoch)>,
}

type RedisLocatorHandle = yumen_plugins::redis::RedisLocator;

fn role(dice: &mut Dice) -> Role {
    match dice.below(3) {
        0 => Role::Gate,
        1 => Role::node("room"),
        _ => Role::node("lobby"),
    }
}

impl Pair {
    fn new(redis: [RedisLocatorHandle; 2]) -> Self {
        Self {
            memory: MemoryLocator::default(),
            redis,
            epochs: Numbers::default(),
            lives: Numbers::default(),
            lived: Vec::new(),
            claimed: Vec::new(),
        }
    }

    async fn step(&mut self, dice: &mut Dice) {
        let process = dice.below(2);
        let instance = InstanceId::from(INSTANCES[dice.below(INSTANCES.len())]);
        let user = UserId(i64::try_from(1 + dice.below(6)).unwrap());
        match dice.below(20) {
            0 => self.open(process, instance).await,
            1 => self.close(process, instance, dice).await,
            2 => self.renew(process, instance, dice).await,
            3..=10 => {
                let place = Place { role: role(dice), instance };
                self.claim(process, user, place, dice).await;
            }
            11..=15 => self.release(process, dice).await,
            _ => {
                let role = role(dice);
                let wanted = self.memory.find(user, &role).await.unwrap();
                let found = self.redis[process].find(user, &role).await.unwrap();
                let wanted = wanted.map(|at| (at.place, self.epochs.memory[&at.epoch.0]));
                let found =
                    found.map(|at| (at.place, self.epochs.redis[&(user.to_string(), at.epoch.0)]));
                assert_eq!(found, wanted);
            }
        }
    }

    /// A life of the instance: the newest, one before it, or one that never was.
    fn life(&self, instance: &InstanceId, dice: &mut Dice) -> (Incarnation, Incarnation) {
        let lives = self.lived.iter().rev().filter(|(of, _, _)| of == instance);
        let life = lives.map(|(_, memory, redis)| (*memory, *redis)).nth(dice.below(3));
        life.unwrap_or_default()
    }

    async fn open(&mut self, process: usize, instance: InstanceId) {
        let memory = self.memory.open(&instance).await.unwrap();
        let redis = self.redis[process].open(&instance).await.unwrap();
        self.lives.pair(instance.to_string(), memory.0, redis.0);
        self.lived.push((instance, memory, redis));
    }

    async fn close(&mut self, process: usize, instance: InstanceId, dice: &mut Dice) {
        let (memory, redis) = self.life(&instance, dice);
        let wanted = self.memory.close(&instance, memory).await.unwrap();
        assert_eq!(self.redis[process].close(&instance, redis).await.unwrap(), wanted);
    }

    async fn renew(&mut self, process: usize, instance: InstanceId, dice: &mut Dice) {
        let (memory, redis) = self.life(&instance, dice);
        let wanted = self.memory.renew(&instance, memory).await;
        let renewed = self.redis[process].renew(&instance, redis).await;
        self.same_refusal(renewed.err(), wanted.err());
    }

    async fn claim(&mut self, process: usize, user: UserId, place: Place, dice: &mut Dice) {
        let stated = (dice.below(2) == 0).then(|| self.life(&place.instance, dice));
        let wanted = self.memory.claim(user, &place, stated.map(|life| life.0)).await;
        let claimed = self.redis[process].claim(user, &place, stated.map(|life| life.1)).await;
        match (claimed, wanted) {
            (Ok(redis), Ok(memory)) => {
                self.epochs.pair(user.to_string(), memory.epoch.0, redis.epoch.0);
                let lost = redis
                    .previous
                    .map(|at| (at.place, self.epochs.redis[&(user.to_string(), at.epoch.0)]));
                let wanted = memory.previous.map(|at| (at.place, self.epochs.memory[&at.epoch.0]));
                assert_eq!(lost, wanted);
                self.claimed.push((user, place, memory.epoch, redis.epoch));
            }
            (redis, memory) => self.same_refusal(redis.err(), memory.err()),
        }
    }

    fn same_refusal(&self, redis: Option<LocatorError>, memory: Option<LocatorError>) {
        match (redis, memory) {
            (None, None)
            | (Some(LocatorError::NotOpen { .. }), Some(LocatorError::NotOpen { .. })) => {}
            (
                Some(LocatorError::Superseded { instance, current: redis, .. }),
                Some(LocatorError::Superseded { current: memory, .. }),
            ) => {
                let life = (instance.to_string(), redis.0);
                assert_eq!(self.lives.redis[&life], self.lives.memory[&memory.0]);
            }
            (redis, memory) => panic!("{redis:?} where memory says {memory:?}"),
        }
    }

    async fn release(&mut self, process: usize, dice: &mut Dice) {
        // Mostly one of the last: the others are over long since.
        let back = dice.below(12.min(self.claimed.len().max(1)));
        let Some((user, place, memory, redis)) = self.claimed.iter().rev().nth(back).cloned()
        else {
            return;
        };
        let wanted = self.memory.release(user, &place, memory).await.unwrap();
        let released = self.redis[process].release(user, &place, redis).await.unwrap();
        assert_eq!(released, wanted);
    }
}

/// What is told, with the places of its numbers in the order in which they were given.
fn told(moved: Moved, number: impl Fn(bool, String, u64) -> usize) -> String {
    match moved {
        Moved::Claimed { user, place, epoch } => {
            format!("{user} to {place}: {}", number(true, user.to_string(), epoch.0))
        }
        Moved::Released { user, place, epoch } => {
            format!("{user} off {place}: {}", number(true, user.to_string(), epoch.0))
        }
        Moved::Closed { instance, incarnation } => {
            let life = number(false, instance.to_string(), incarnation.0);
            format!("{instance} ends {life}")
        }
        other => panic!("nothing can be lost here: {other:?}"),
    }
}

impl Pair {
    fn wanted(&self, moved: Moved) -> String {
        told(moved, |epoch, _, number| {
            let numbers = if epoch { &self.epochs } else { &self.lives };
            numbers.memory[&number]
        })
    }

    fn heard(&self, moved: Moved) -> String {
        told(moved, |epoch, whose, number| {
            let numbers = if epoch { &self.epochs } else { &self.lives };
            numbers.redis[&(whose, number)]
        })
    }
}

/// On Redis Cluster the answers are the same; what is told of different places comes in any order.
#[tokio::test]
async fn on_redis_cluster_any_history_gives_what_the_locator_in_memory_gives() {
    let cluster = Cluster::start(Make::Redis, 0).await;
    let mut pair = Pair::new([cluster.locator(), cluster.locator()]);
    for process in &pair.redis {
        process.find(UserId(1), &Role::Gate).await.unwrap();
    }
    let mut wanted = pair.memory.watch();
    let mut heard = pair.redis.each_ref().map(|process| process.watch());
    let seed = seed();
    println!("YUMEN_SEED={seed} repeats this run");
    let mut dice = Dice(seed);
    for step in 0..STEPS {
        within(30, pair.step(&mut dice)).await;
        let mut told_now: Vec<_> =
            std::iter::from_fn(|| wanted.try_next()).map(|moved| pair.wanted(moved)).collect();
        told_now.sort();
        for moves in &mut heard {
            let mut all = Vec::new();
            for _ in &told_now {
                let moved = within(30, moves.next()).await.unwrap();
                all.push(pair.heard(moved));
            }
            all.sort();
            assert_eq!(all, told_now, "step {step}");
        }
    }
    for process in &pair.redis {
        let stats = process.stats();
        assert_eq!((stats.due_events, stats.unreadable), (0, 0), "due's copies are known as ours");
        assert!(stats.connected && stats.following && stats.failed == 0, "{stats:?}");
    }
    for instance in INSTANCES.map(InstanceId::from) {
        let life = pair.redis[0].open(&instance).await.unwrap();
        assert!(pair.redis[1].close(&instance, life).await.unwrap());
    }
    let left = cluster.keys().await;
    let kept = |key: &String| {
        key.contains("}:yumen") || key.ends_with("}:life") || key.ends_with(":instances")
    };
    assert!(left.iter().all(|key| kept(key) || key.ends_with(":turn")), "{left:?}");
}

fn seed() -> u64 {
    let seed = std::env::var("YUMEN_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| RandomState::new().hash_one(0))
}

#[tokio::test]
async fn any_history_gives_what_the_locator_in_memory_gives() {
    let server = Server::start();
    let mut pair = Pair::new([server.locator(), server.locator()]);
    for process in &pair.redis {
        process.find(UserId(1), &Role::Gate).await.unwrap();
    }
    let mut wanted = pair.memory.watch();
    let mut heard = pair.redis.each_ref().map(|process| process.watch());
    let seed = seed();
    println!("YUMEN_SEED={seed} repeats this run");
    let mut dice = Dice(seed);
    for step in 0..STEPS {
        within(30, pair.step(&mut dice)).await;
        if step % 200 == 199 {
            books::agree(&server).await;
        }
        while let Some(moved) = wanted.try_next() {
            let wanted = pair.wanted(moved);
            for moves in &mut heard {
                let moved = within(30, moves.next()).await.unwrap();
                let heard = pair.heard(moved);
                assert_eq!(heard, wanted, "step {step}");
            }
        }
    }
    for moves in &mut heard {
        assert_eq!(moves.try_next(), None, "and nothing else");
    }
    for process in &pair.redis {
        let stats = process.stats();
        assert_eq!((stats.due_events, stats.unreadable), (0, 0), "due's copies are known as ours");
        assert!(stats.connected && stats.following && stats.failed == 0, "{stats:?}");
    }
    // Everything ends, and only what is kept for a while is left.
    for instance in INSTANCES.map(InstanceId::from) {
        let life = pair.redis[0].open(&instance).await.unwrap();
        assert!(pair.redis[1].close(&instance, life).await.unwrap());
    }
    let mut look = server.raw().await;
    let left = keys(&mut look).await;
    let kept = |key: &String| {
        key.contains("}:yumen") || key.contains(":yumen:last:") || key.ends_with(":turn")
    };
    assert!(left.iter().all(kept), "{left:?}");
    for key in left {
        let ttl: i64 = raw(&mut look, &["PTTL", &key]).await;
        assert!(ttl > 0 || ttl == -2, "{key} has a time to live: {ttl}");
    }
}
