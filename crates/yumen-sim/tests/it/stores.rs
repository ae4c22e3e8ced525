//! The simulated stores keep the promises of real ones, and fail as real ones do.

use std::time::Duration;
use tokio::time::{sleep, timeout};
use yumen_core::{
    cluster::{Instance, Kind},
    conformance,
    locator::{Locator, LocatorError, Moved, Place, Role},
    registry::Registry,
};
use yumen_proto::UserId;
use yumen_sim::{cluster::Sim, stores::Store};

const USER: UserId = UserId(7);

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[test]
fn they_pass_the_conformance_suites() {
    for seed in 0..5 {
        Sim::run(seed, false, async |sim| {
            let (one, other) = (sim.stores().host("one"), sim.stores().host("other"));
            conformance::registry(&one).await;
            conformance::locator(&one).await;
            conformance::locator_shared(&one, &other).await;
        });
    }
}

#[test]
fn a_life_ends_when_nobody_renews_it() {
    Sim::run(1, false, async |sim| {
        let (one, other) = (sim.stores().host("one"), sim.stores().host("other"));
        let (place, mut moves) = (Place::gate("one"), Locator::watch(&other));
        let life = one.open(&place.instance).await.unwrap();
        one.claim(USER, &place, Some(life)).await.unwrap();
        for _ in 0..10 {
            seconds(3).await;
            one.renew(&place.instance, life).await.unwrap();
        }
        seconds(8).await;
        assert!(other.find(USER, &Role::Gate).await.unwrap().is_some());
        seconds(2).await;
        assert!(other.find(USER, &Role::Gate).await.unwrap().is_none());
        let late = one.renew(&place.instance, life).await;
        assert!(matches!(late, Err(LocatorError::NotOpen { .. })), "{late:?}");
        while moves.next().await
            != Some(Moved::Closed { instance: "one".into(), incarnation: life })
        {}
    });
}

#[test]
fn who_was_cut_off_gets_no_answer_and_is_told_that_news_are_lost() {
    Sim::run(2, false, async |sim| {
        let (one, other) = (sim.stores().host("one"), sim.stores().host("other"));
        let (place, mut moves) = (Place::gate("other"), Locator::watch(&one));
        let life = other.open(&place.instance).await.unwrap();
        sim.stores().cut(Some("one"), Store::Locator, true);
        assert!(one.find(USER, &Role::Gate).await.is_err());
        other.claim(USER, &place, Some(life)).await.unwrap();
        seconds(1).await;
        assert_eq!(moves.try_next(), None);
        sim.stores().cut(Some("one"), Store::Locator, false);
        assert_eq!(moves.next().await, Some(Moved::Lost));
        assert!(one.find(USER, &Role::Gate).await.unwrap().is_some());
    });
}

#[test]
fn a_locator_without_memory_knows_no_life_and_gives_later_ones() {
    Sim::run(3, false, async |sim| {
        let one = sim.stores().host("one");
        let (id, mut moves) = ("one".into(), Locator::watch(&one));
        let life = one.open(&id).await.unwrap();
        sim.stores().lose_memory().await;
        assert_eq!(moves.next().await, Some(Moved::Lost));
        assert!(one.renew(&id, life).await.is_err());
        assert!(one.open(&id).await.unwrap() > life);
    });
}

#[test]
fn the_record_of_a_silent_process_goes_and_comes_back_with_it() {
    Sim::run(4, false, async |sim| {
        let (one, other) = (sim.stores().host("one"), sim.stores().host("other"));
        let mut nodes = Registry::watch(&other, Kind::Node).await.unwrap();
        one.join(&Instance::new("one".into(), Kind::Node, "")).await.unwrap();
        seconds(1).await;
        assert_eq!(nodes.current().len(), 1);
        one.pause(true);
        seconds(9).await;
        assert_eq!(nodes.current().len(), 1, "it may come back");
        seconds(2).await;
        assert_eq!(nodes.current().len(), 0);
        one.pause(false);
        seconds(1).await;
        assert_eq!(nodes.current().len(), 1);
        one.kill();
        seconds(11).await;
        assert_eq!(nodes.current().len(), 0);
        let asked = timeout(Duration::from_secs(60), one.leave(&"one".into(), Kind::Node)).await;
        assert!(asked.is_err(), "a process that is gone is never answered");
    });
}
