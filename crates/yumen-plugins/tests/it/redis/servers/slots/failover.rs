//! Two gates claim the same users while servers die, hang, forget and come back.

use super::*;
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
use tokio::task::JoinSet;
use yumen_plugins::redis::RedisLocator;

const USERS: i64 = 60;

/// Every claim that was answered: user, epoch, gate, and between which two ticks of the test.
type Answered = (UserId, Epoch, usize, u64, u64);

/// Two gates that claim the same users as fast as they can, and a fence for what their owners do.
struct Rivals {
    gates: [(Arc<RedisLocator>, Place, Incarnation); 2],
    ticks: AtomicU64,
    answered: Mutex<Vec<Answered>>,
    /// Why a claim was not answered, last.
    refused: Mutex<String>,
    /// Of each user the newest epoch that did something, and whose it was.
    fence: Mutex<BTreeMap<UserId, (Epoch, usize)>>,
}

impl Rivals {
    async fn start(cluster: &Cluster) -> Arc<Self> {
        let mut gates = Vec::new();
        for name in ["gate-1", "gate-2"] {
            let locator = Arc::new(cluster.locator());
            let place = Place::gate(name);
            let life = locator.open(&place.instance).await.unwrap();
            gates.push((locator, place, life));
        }
        Arc::new(Self {
            gates: gates.try_into().ok().unwrap(),
            ticks: AtomicU64::new(0),
            answered: Mutex::default(),
            refused: Mutex::default(),
            fence: Mutex::default(),
        })
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Claims for ever.
    async fn play(self: Arc<Self>, gate: usize, seed: i64) {
        let (locator, place, life) = &self.gates[gate];
        for n in seed.. {
            let user = UserId(1 + (n * 7) % USERS);
            let asked = self.tick();
            let claim = locator.claim(user, place, Some(*life)).await;
            let claim = match claim {
                Ok(claim) => claim,
                // The servers are being replaced.
                Err(LocatorError::Backend { source, .. }) => {
                    *self.refused.lock().unwrap() = source.to_string();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Err(over) => panic!("a failover costs nobody its life: {over}"),
            };
            if let Some(lost) = &claim.previous {
                assert!(lost.epoch < claim.epoch, "{claim:?}");
            }
            let answered = (user, claim.epoch, gate, asked, self.tick());
            self.answered.lock().unwrap().push(answered);
            let mut fence = self.fence.lock().unwrap();
            let newest = fence.entry(user).or_insert((claim.epoch, gate));
            assert!(
                newest.0 != claim.epoch || newest.1 == gate,
                "two owners of {user} by {claim:?}"
            );
            *newest = (*newest).max((claim.epoch, gate));
        }
    }

    async fn renew(self: Arc<Self>) {
        let [one, other] = &self.gates;
        let life =
            |gate: &(Arc<RedisLocator>, Place, Incarnation)| [(gate.1.instance.clone(), gate.2)];
        let (ones, others) = (life(one), life(other));
        tokio::join!(renewing(&*one.0, &ones), renewing(&*other.0, &others));
    }

    fn start_all(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for gate in 0..2 {
            for seed in 0..4 {
                tasks.spawn(Arc::clone(self).play(gate, seed * 15));
            }
        }
        tasks.spawn(Arc::clone(self).renew());
        tasks
    }

    /// Until so many more claims are answered.
    async fn claims(&self, more: usize) {
        let count = || self.answered.lock().unwrap().len();
        let wanted = count() + more;
        for _ in 0..3_000 {
            if count() >= wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} of {wanted} claims, then {}", count(), self.refused.lock().unwrap());
    }

    /// What was answered so far is in order: who asked after another was answered has a greater epoch.
    fn check(&self) {
        let answered = self.answered.lock().unwrap();
        for user in (1..=USERS).map(UserId) {
            let mut claims: Vec<_> = answered.iter().filter(|claim| claim.0 == user).collect();
            claims.sort_by_key(|claim| claim.1);
            for pair in claims.windows(2) {
                assert!(pair[0].1 < pair[1].1, "one epoch, given twice: {pair:?}");
            }
            // From the newest epoch down: nobody below was asked for after one above was answered.
            for (_, epoch, gate, asked, _) in claims.iter().rev() {
                let after = claims.iter().find(|claim| claim.1 > *epoch && claim.4 < *asked);
                assert_eq!(after, None, "epoch {epoch} of gate {gate} went back");
            }
        }
    }

    /// All agree on where each user is, and no claim that was answered is forgotten.
    async fn agree(&self) {
        let newest = |user| {
            let answered = self.answered.lock().unwrap();
            answered.iter().filter(|claim| claim.0 == user).map(|claim| claim.1).max().unwrap()
        };
        for user in (1..=USERS).map(UserId) {
            let newest = newest(user);
            within(30, async {
                loop {
                    let one = self.gates[0].0.find(user, &Role::Gate).await;
                    let other = self.gates[1].0.find(user, &Role::Gate).await;
                    if let (Ok(Some(one)), Ok(Some(other))) = (one, other)
                        && one == other
                        && one.epoch >= newest
                    {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_epoch_goes_back_whichever_primary_is_killed() {
    let mut cluster = Cluster::start(Make::Redis, 1).await;
    let rivals = Rivals::start(&cluster).await;
    let tasks = rivals.start_all();
    rivals.claims(300).await;
    for (locator, ..) in &rivals.gates {
        let stats = locator.stats();
        assert_eq!((stats.due_events, stats.unreadable), (0, 0), "due's copies are known as ours");
    }
    for part in 0..3 {
        rivals.claims(300).await;
        let primary = cluster.primary(part).await;
        cluster.servers[primary].kill();
        rivals.claims(100).await;
        within(60, async { while cluster.primary(part).await == primary {} }).await;
        rivals.claims(300).await;
        rivals.check();
        // What was killed comes back, empty, and becomes a replica.
        cluster.servers[primary].restart();
        cluster.settled(6).await;
    }
    drop(tasks);
    rivals.check();
    rivals.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_epoch_goes_back_when_a_primary_hangs_and_wakes_up() {
    let cluster = Cluster::start(Make::Valkey, 1).await;
    let rivals = Rivals::start(&cluster).await;
    let tasks = rivals.start_all();
    for part in 0..3 {
        rivals.claims(200).await;
        let primary = cluster.primary(part).await;
        cluster.servers[primary].pause();
        within(60, async { while cluster.primary(part).await == primary {} }).await;
        rivals.claims(300).await;
        cluster.servers[primary].resume();
        cluster.settled(6).await;
        rivals.check();
    }
    drop(tasks);
    rivals.check();
    rivals.agree().await;
}

/// The replicas hang, so they never hear of what their primaries answer; and then they take over.
#[tokio::test]
async fn claims_that_a_failover_forgets_are_said_again_and_later_epochs_are_greater() {
    let mut cluster = Cluster::start(Make::Redis, 1).await;
    let (one, other, third) = (cluster.locator(), cluster.locator(), cluster.locator());
    let gates = [Place::gate("gate-1"), Place::gate("gate-2"), Place::gate("gate-3")];
    let mut lives = Vec::new();
    for (process, gate) in [&one, &other, &third].into_iter().zip(&gates) {
        lives.push(process.open(&gate.instance).await.unwrap());
    }
    for n in 1..=USERS {
        one.claim(UserId(n), &gates[0], Some(lives[0])).await.unwrap();
    }
    cluster.settled(6).await;
    let primary = cluster.primary(0).await;
    let replicas: Vec<_> = {
        let mut primaries = Vec::new();
        for part in 0..3 {
            primaries.push(cluster.primary(part).await);
        }
        (0..6).filter(|server| !primaries.contains(server)).collect()
    };
    for replica in &replicas {
        cluster.servers[*replica].pause();
    }
    // Nor is anything on the way to them.
    cluster.drop_replicas(primary).await;
    let mut answered = BTreeMap::new();
    for n in 1..=USERS {
        let claim = other.claim(UserId(n), &gates[1], Some(lives[1])).await.unwrap();
        answered.insert(UserId(n), claim.epoch);
    }
    let mut moves = third.watch();
    cluster.servers[primary].kill();
    for replica in &replicas {
        cluster.servers[*replica].resume();
    }
    let renewed: Vec<_> =
        gates.iter().map(|gate| gate.instance.clone()).zip(lives.iter().copied()).collect();
    let checked = async {
        within(60, async { while cluster.primary(0).await == primary {} }).await;
        next_but(&mut moves, |moved| *moved != Moved::Lost).await;
        for (user, epoch) in &answered {
            within(30, async {
                loop {
                    match third.find(*user, &Role::Gate).await {
                        Ok(Some(found)) if found.epoch == *epoch => break,
                        _ => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            })
            .await;
        }
        let mut ahead = 0;
        for (user, epoch) in &answered {
            let claim = third.claim(*user, &gates[2], Some(lives[2])).await.unwrap();
            assert!(claim.epoch > *epoch);
            // By an hour, where another server owns the slot: however the clocks differ.
            ahead += usize::from(claim.epoch.0 > epoch.0 + 3_500_000_000);
        }
        assert!(ahead > 0, "some of {USERS} users are in a third of the slots");
    };
    Box::pin(alive(&third, &renewed, checked)).await;
}
