//! The memory locator against the simplest thing that could be right: a list of all that happened.

use proptest::prelude::*;
use std::collections::BTreeMap;
use yumen_core::{
    locator::{Incarnation, Located, Locator, LocatorError, Moved, Place, Role},
    memory::MemoryLocator,
};
use yumen_proto::{Epoch, InstanceId, UserId};

const INSTANCES: [&str; 3] = ["a", "b", "c"];

/// A step; numbers choose among what exists.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open {
        instance: usize,
    },
    /// `back`: 0 the newest life, else an earlier one.
    Close {
        instance: usize,
        back: usize,
    },
    Claim {
        user: i64,
        group: usize,
        instance: usize,
        back: Option<usize>,
    },
    /// A claim that was answered earlier.
    Release {
        claim: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let instance = || 0..INSTANCES.len();
    let step = prop_oneof![
        1 => instance().prop_map(|instance| Step::Open { instance }),
        1 => (instance(), 0..3_usize).prop_map(|(instance, back)| Step::Close { instance, back }),
        5 => (1..4_i64, 0..3_usize, instance(), prop::option::of(0..3_usize)).prop_map(
            |(user, group, instance, back)| Step::Claim { user, group, instance, back }
        ),
        3 => (0..64_usize).prop_map(|claim| Step::Release { claim }),
    ];
    prop::collection::vec(step, 1..80)
}

/// Everything the model remembers; it forgets nothing and searches everything.
#[derive(Default)]
struct Model {
    lives: Vec<(InstanceId, Incarnation, bool)>,
    claims: Vec<(UserId, Place, Epoch, Option<Incarnation>)>,
    told: Vec<Moved>,
}

impl Model {
    fn open_life(&self, id: &InstanceId) -> Option<Incarnation> {
        let open = self.lives.iter().find(|(of, _, open)| of == id && *open);
        open.map(|(_, life, _)| *life)
    }

    /// The life that the step means: the newest, or so many before it, or one that never was.
    fn life(&self, id: &InstanceId, back: usize) -> Incarnation {
        let lives = self.lives.iter().rev().filter(|(of, _, _)| of == id);
        lives.map(|(_, life, _)| *life).nth(back).unwrap_or_default()
    }

    /// Ends a life; `None` in a claim's place of its life means that the claim is over.
    fn end(&mut self, id: &InstanceId) {
        if let Some(life) = self.open_life(id) {
            self.lives.iter_mut().for_each(|l| l.2 &= l.1 != life);
            self.claims.iter_mut().filter(|c| c.3 == Some(life)).for_each(|c| c.3 = None);
            self.told.push(Moved::Closed { instance: id.clone(), incarnation: life });
        }
    }

    fn found(&self, user: UserId, role: &Role) -> Option<Located> {
        let here =
            self.claims.iter().rev().find(|c| c.0 == user && c.1.role == *role && c.3.is_some());
        here.map(|(_, place, epoch, _)| Located { place: place.clone(), epoch: *epoch })
    }
}

fn role(group: usize) -> Role {
    match group {
        0 => Role::Gate,
        n => Role::node(["room", "lobby"][n - 1]),
    }
}

async fn apply(step: Step, locator: &MemoryLocator, model: &mut Model) {
    match step {
        Step::Open { instance } => {
            let id = InstanceId::from(INSTANCES[instance]);
            model.end(&id);
            let life = locator.open(&id).await.unwrap();
            assert!(model.lives.iter().all(|l| l.0 != id || l.1 < life), "lives only grow");
            model.lives.push((id, life, true));
        }
        Step::Close { instance, back } => {
            let id = InstanceId::from(INSTANCES[instance]);
            let life = model.life(&id, back);
            let open = model.open_life(&id) == Some(life);
            assert_eq!(locator.close(&id, life).await.unwrap(), open);
            if open {
                model.end(&id);
            }
        }
        Step::Claim { user, group, instance, back } => {
            let id = InstanceId::from(INSTANCES[instance]);
            let stated = back.map(|back| model.life(&id, back));
            claim(UserId(user), Place { role: role(group), instance: id }, stated, locator, model)
                .await;
        }
        Step::Release { claim } => {
            let Some(at) = claim.checked_rem(model.claims.len()) else { return };
            let (user, place, epoch, _) = model.claims[at].clone();
            let wanted = Located { place: place.clone(), epoch };
            let held = model.found(user, &place.role) == Some(wanted);
            assert_eq!(locator.release(user, &place, epoch).await.unwrap(), held);
            if held {
                // All older claims of this seat are over too: they were displaced.
                let seat = |c: &&mut (UserId, Place, Epoch, Option<Incarnation>)| {
                    c.0 == user && c.1.role == place.role
                };
                model.claims.iter_mut().filter(seat).for_each(|c| c.3 = None);
                model.told.push(Moved::Released { user, place, epoch });
            }
        }
    }
}

async fn claim(
    user: UserId,
    place: Place,
    stated: Option<Incarnation>,
    locator: &MemoryLocator,
    model: &mut Model,
) {
    let answer = locator.claim(user, &place, stated).await;
    let open = model.open_life(&place.instance);
    match (answer, open) {
        (Err(LocatorError::NotOpen { .. }), None) => {}
        (Err(LocatorError::Superseded { current, .. }), Some(open)) => {
            assert!(stated.is_some_and(|stated| stated != open) && current == open);
        }
        (Ok(claim), Some(open)) => {
            assert!(stated.is_none_or(|stated| stated == open));
            assert_eq!(claim.previous, model.found(user, &place.role));
            assert!(model.claims.iter().all(|c| c.2 < claim.epoch), "epochs only grow");
            // What was displaced is over, whatever becomes of the newer claim.
            let seat = |c: &&mut (UserId, Place, Epoch, Option<Incarnation>)| {
                c.0 == user && c.1.role == place.role
            };
            model.claims.iter_mut().filter(seat).for_each(|c| c.3 = None);
            model.claims.push((user, place.clone(), claim.epoch, Some(open)));
            model.told.push(Moved::Claimed { user, place, epoch: claim.epoch });
        }
        (answer, open) => panic!("{answer:?} while {open:?} is open"),
    }
}

/// A follower that only listens ends with the same picture as one who asks.
fn heard(told: &[Moved]) -> BTreeMap<(UserId, Role), Located> {
    let mut cache = BTreeMap::new();
    for moved in told.iter().cloned() {
        match moved {
            Moved::Claimed { user, place, epoch } => {
                cache.insert((user, place.role.clone()), Located { place, epoch });
            }
            Moved::Released { user, place, .. } => drop(cache.remove(&(user, place.role))),
            Moved::Closed { instance, .. } => {
                cache.retain(|_, at: &mut Located| at.place.instance != instance);
            }
            other => panic!("nothing can be lost here: {other:?}"),
        }
    }
    cache
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_what_the_rules_say(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let locator = MemoryLocator::default();
            let mut moves = locator.watch();
            let mut model = Model::default();
            for step in steps {
                let before = model.told.len();
                apply(step, &locator, &mut model).await;
                let told = std::iter::from_fn(|| moves.try_next()).collect::<Vec<_>>();
                assert_eq!(told, model.told[before..], "told at once, in order, and nothing else");
            }
            let cache = heard(&model.told);
            for user in (1..4).map(UserId) {
                for role in (0..3).map(role) {
                    let found = locator.find(user, &role).await.unwrap();
                    assert_eq!(found, model.found(user, &role));
                    assert_eq!(found.as_ref(), cache.get(&(user, role)));
                }
            }
            assert_eq!(locator.places(), cache.len());
        });
    }
}
