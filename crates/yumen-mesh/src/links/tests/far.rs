//! Links between processes: over the virtual network, in virtual time, with a seed.

#[path = "far/breaks.rs"]
mod breaks;
#[path = "far/defects.rs"]
mod defects;
#[path = "far/doors.rs"]
mod doors;
#[path = "far/dues.rs"]
mod dues;
#[path = "far/lines.rs"]
mod lines;

use super::*;
use crate::{AllowList, LinkGuard, Outside, Tuning};
use std::collections::BTreeMap;
use yumen_core::{
    cluster::Instance,
    watch::{Watch, WatchSender},
};
use yumen_proto::link::{LinkSettings, Secret};

/// Instances that share nothing but a network and a registry.
pub(super) struct World {
    sim: Sim,
    records: RefCell<BTreeMap<InstanceId, Instance>>,
    ends: RefCell<Vec<Rc<End>>>,
}

/// How one instance meets the others.
pub(super) struct Plan {
    pub(super) settings: LinkSettings,
    pub(super) tuning: Tuning,
    pub(super) allow: AllowList,
    pub(super) life: Watch<Incarnation>,
}

impl Plan {
    pub(super) fn new(id: &str) -> Self {
        Self {
            settings: LinkSettings::new(Kind::Node, id),
            tuning: Tuning::default(),
            allow: AllowList::default(),
            life: Watch::fixed(Incarnation(1)),
        }
    }

    fn secret(mut self, secrets: &[&str]) -> Self {
        self.settings.secrets = secrets.iter().map(|text| Secret::new(*text).unwrap()).collect();
        self
    }
}

pub(super) fn record(id: &str, address: &str) -> Instance {
    let mut record =
        Instance::new(id.into(), Kind::Node, format!("drpc://{address}?is_secure=false"));
    record.metadata.insert("yumen".into(), "1".into());
    record
}

impl World {
    pub(super) fn new(sim: &Sim) -> Self {
        Self { sim: sim.clone(), records: RefCell::default(), ends: RefCell::default() }
    }

    /// A process with one instance, at the address `id:1`.
    pub(super) async fn open(&self, plan: Plan) -> Rc<End> {
        let env = self.sim.env();
        self.open_in(&env, plan).await
    }

    pub(super) async fn open_in(&self, env: &Env, plan: Plan) -> Rc<End> {
        let address = format!("{}:1", plan.settings.id);
        self.open_as(env, &address, plan).await
    }

    pub(super) async fn open_at(&self, address: &str, plan: Plan) -> Rc<End> {
        self.open_as(&self.sim.env(), address, plan).await
    }

    async fn open_as(&self, env: &Env, address: &str, plan: Plan) -> Rc<End> {
        let Plan { settings, tuning, allow, life } = plan;
        let id = settings.id.to_string();
        let listener = env.net.listen(address).await.unwrap();
        let end = End::of_kind(env, (settings.kind, &id), &Switchboard::default(), &Rc::default());
        let (listener, guard) = (Some(listener), LinkGuard::default());
        end.links.go_outside(Outside { settings, life, listener, allow, tuning, guard });
        end.links.start(Rc::clone(&end) as Rc<dyn Receive>);
        self.records.borrow_mut().insert(id.as_str().into(), record(&id, address));
        self.ends.borrow_mut().push(Rc::clone(&end));
        self.publish();
        end
    }

    /// Everybody hears of everybody.
    pub(super) fn publish(&self) {
        let records: Vec<_> = self.records.borrow().values().cloned().collect();
        for end in self.ends.borrow().iter() {
            end.links.set_peers(Kind::Node, &records.clone().into());
        }
    }

    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) fn world(seed: u64, test: impl AsyncFnOnce(World)) {
    Sim::run(seed, async |sim| {
        let test = test(World::new(&sim));
        tokio::time::timeout(Duration::from_secs(3600), test).await.expect("it waits in vain");
    });
}

/// Two instances in two processes.
pub(super) fn run_far(test: impl AsyncFnOnce(Rig)) {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        let b = world.open(Plan::new("b")).await;
        let env = world.sim.env();
        test(Rig { env, board: Switchboard::default(), rooms: Default::default(), a, b }).await;
    });
}

fn is_online(n: i64) -> Command<'static> {
    Command::IsOnline { target: Target::Conn(ConnId(n)) }
}

/// Answers every question.
fn answer(b: &End, link: LinkId, frame: Frame<'_>) {
    if let Frame::Request { seq: seq @ 1.., command } = frame
        && let Command::IsOnline { target: Target::Conn(conn) } = command
    {
        let (route, reply) = (command.row().code, Reply::Online(conn.0 % 2 == 0));
        let _lost = b.links.send(link, Frame::Reply { seq, route, code: 0, reply });
    }
}

#[test]
fn frames_queue_until_a_link_is_up_and_travel_both_ways() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        let b = world.open(Plan::new("b")).await;
        b.on_frame(answer);
        let to_b = a.link(&b);
        (0..1000).for_each(|n| a.push(to_b, n, 300).unwrap());
        let reply = a.links.call(to_b, is_online(2)).await;
        assert_eq!(reply, Ok((0, Reply::Online(true))));
        world.settle().await;
        assert!(b.seen.borrow().iter().copied().filter(|n| *n < 1_000_000).eq(0..1000));
        let to_a = b.link(&a);
        (0..1000).for_each(|n| b.push(to_a, n, 300).unwrap());
        b.links.flush();
        world.settle().await;
        assert!(a.seen.borrow().iter().copied().eq(0..1000));
        let load = b.links.load();
        assert_eq!((load.far, load.conns, load.queued), (1, 2, 0));
        assert_eq!((load.counts.opened, load.counts.dials), (1, 0), "it was dialled, by one pair");
        let peer = b.links.peer(to_a).unwrap();
        assert_eq!((peer.id.as_str(), peer.kind, peer.ours), ("a", Kind::Node, true));
    });
}

#[test]
fn dials_that_cross_on_the_wire_end_in_one_pair_and_lose_nothing() {
    for seed in 0..50 {
        world(seed, async |world| {
            let secrets = &["a secret of the cluster"][..];
            let a = world.open(Plan::new("a").secret(secrets)).await;
            let b = world.open(Plan::new("b").secret(secrets)).await;
            let (to_b, to_a) = (a.link(&b), b.link(&a));
            for n in 0..200 {
                a.push(to_b, n, 50).unwrap();
                b.push(to_a, n, 50).unwrap();
                if n % 20 == 0 {
                    a.links.flush();
                    b.links.flush();
                    yield_now().await;
                }
            }
            a.links.flush();
            b.links.flush();
            world.settle().await;
            for end in [&a, &b] {
                assert!(end.seen.borrow().iter().copied().eq(0..200), "seed {seed}");
                assert!(end.lost.borrow().is_empty() && end.unsent.borrow().is_empty());
                assert_eq!((end.links.load().conns, end.links.load().counts.opened), (2, 1));
            }
            assert_eq!((a.link(&b), b.link(&a)), (to_b, to_a));
        });
    }
}

#[test]
fn a_life_that_is_over_is_cut_off_and_stays_out_until_the_next() {
    world(1, async |world| {
        let (life, watch) = {
            let life = WatchSender::new(Incarnation(0));
            let watch = life.watch();
            (life, watch)
        };
        let a = world.open(Plan { life: watch, ..Plan::new("a") }).await;
        let b = world.open(Plan::new("b")).await;
        let to_b = a.link(&b);
        a.push(to_b, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        life.send(Incarnation(7)); // it is known only now
        world.settle().await;
        b.links.fence(&"a".into(), Incarnation(6));
        world.settle().await;
        assert!(a.lost.borrow().is_empty() && b.lost.borrow().is_empty(), "an earlier life");
        b.links.fence(&"a".into(), Incarnation(7));
        world.settle().await;
        assert_eq!((a.lost.borrow().len(), b.lost.borrow().len()), (1, 1));
        // Under the same life nothing comes through, whoever dials.
        for _ in 0..5 {
            let Ok(link) = a.links.link(&"b".into()) else {
                world.settle().await;
                continue;
            };
            let _refused = a.push(link, 2, 5);
            a.links.flush();
            world.settle().await;
        }
        let b_to_a = b.link(&a);
        b.push(b_to_a, 3, 5).unwrap();
        b.links.flush();
        world.settle().await;
        assert_eq!(*b.seen.borrow(), [1]);
        assert!(a.seen.borrow().is_empty());
        assert_eq!(*b.unsent.borrow(), [3]);
        assert!(b.links.load().counts.refused.of("life_over") > 0);
        life.send(Incarnation(8));
        tokio::time::sleep(Duration::from_secs(3)).await;
        let to_b = a.link(&b);
        a.push(to_b, 4, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!(*b.seen.borrow(), [1, 4]);
    });
}

#[test]
fn a_life_that_is_over_is_not_dialled_either() {
    for seed in 0..20 {
        world(seed, async |world| {
            let life = Watch::fixed(Incarnation(7));
            let a = world.open(Plan::new("a")).await;
            let b = world.open(Plan { life, ..Plan::new("b") }).await;
            a.links.fence(&"b".into(), Incarnation(7));
            // Both want something of the other at once, and the smaller id's dial is kept.
            let (to_b, to_a) = (a.link(&b), b.link(&a));
            a.push(to_b, 1, 5).unwrap();
            b.push(to_a, 2, 5).unwrap();
            a.links.flush();
            b.links.flush();
            world.settle().await;
            assert!(a.seen.borrow().is_empty(), "{:?}", a.seen.borrow());
            assert!(b.seen.borrow().is_empty(), "{:?}", b.seen.borrow());
            assert_eq!(*a.unsent.borrow(), [1]);
        });
    }
}

#[test]
fn what_was_said_in_a_life_is_not_sent_in_the_next() {
    for seed in 0..20 {
        world(seed, async |world| {
            let life = WatchSender::new(Incarnation(7));
            let a = world.open(Plan { life: life.watch(), ..Plan::new("a") }).await;
            let b = world.open(Plan::new("b")).await;
            let to_b = a.link(&b);
            a.push(to_b, 1, 5).unwrap();
            a.links.flush();
            life.send(Incarnation(8)); // while it is dialled
            world.settle().await;
            assert!(b.seen.borrow().is_empty(), "{:?}", b.seen.borrow());
            assert_eq!(*a.unsent.borrow(), [1]);
            tokio::time::sleep(Duration::from_secs(3)).await;
            let to_b = a.link(&b);
            a.push(to_b, 2, 5).unwrap();
            a.links.flush();
            world.settle().await;
            life.send(Incarnation(9)); // with nothing queued
            a.push(to_b, 3, 5).unwrap();
            a.links.flush();
            world.settle().await;
            assert_eq!(*b.seen.borrow(), [2, 3]);
        });
    }
}

#[test]
fn what_is_flushed_piece_by_piece_in_one_turn_leaves_with_one_write() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        let b = world.open(Plan::new("b")).await;
        let to_b = a.link(&b);
        a.push(to_b, 0, 5).unwrap();
        a.links.flush();
        world.settle().await;
        let writes = || a.links.far().unwrap().writes();
        let before = writes();
        for n in 1..=500 {
            a.push(to_b, n, 50).unwrap();
            a.links.flush();
        }
        world.settle().await;
        assert!(b.seen.borrow().iter().copied().eq(0..=500));
        assert_eq!(writes() - before, 1);
    });
}
