//! Who is let in, how many, and who is shown the door.

use super::*;
use yumen_net::{socket::Socket, testing::Peer as Raw};

const OLD: &str = "the old secret of the cluster";
const NEW: &str = "the new secret of the cluster";

async fn raw(world: &World, address: &str) -> Raw {
    let socket: Socket = world.sim.env().net.dial(address).await.unwrap();
    Raw::new(socket)
}

fn dues_words() -> Vec<u8> {
    let mut words = Vec::new();
    let command = Command::Handshake { kind: Kind::Gate, id: "due" };
    Frame::Request { seq: 1, command }.encode(&mut words).unwrap();
    let command = Command::Deliver { conn: ConnId(1), user: None, packet: &[1] };
    Frame::Request { seq: 0, command }.encode(&mut words).unwrap();
    words
}

#[test]
fn no_more_connections_are_accepted_than_there_may_be() {
    world(1, async |world| {
        let tuning = Tuning { accepted_max: 5, ..Tuning::default() };
        let b = world.open(Plan { tuning, ..Plan::new("b") }).await;
        let mut raws = Vec::new();
        for _ in 0..8 {
            raws.push(raw(&world, "b:1").await);
        }
        world.settle().await;
        let load = b.links.load();
        assert_eq!((load.conns, load.counts.refused.of("too_many")), (5, 3));
        drop(raws);
        world.settle().await;
        let a = world.open(Plan::new("a")).await;
        let link = a.link(&b);
        a.push(link, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!(*b.seen.borrow(), [1], "their places are free again");
    });
}

#[test]
fn of_those_that_say_nothing_the_oldest_goes_and_a_peer_comes_through() {
    world(1, async |world| {
        let tuning = Tuning { half_open_max: 3, ..Tuning::default() };
        let b = world.open(Plan { tuning, ..Plan::new("b") }).await;
        let mut raws = Vec::new();
        for _ in 0..20 {
            raws.push(raw(&world, "b:1").await);
        }
        world.settle().await;
        let load = b.links.load();
        assert_eq!((load.conns, load.counts.refused.of("half_open")), (3, 17));
        let a = world.open(Plan::new("a")).await;
        let link = a.link(&b);
        a.push(link, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!(*b.seen.borrow(), [1]);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(b.links.load().conns, 2, "silence ends in time");
        assert!(b.links.load().counts.refused.of("silent") > 0);
    });
}

#[test]
fn one_of_dues_that_only_says_who_it_is_is_no_stranger() {
    world(1, async |world| {
        let tuning = Tuning { half_open_max: 3, ..Tuning::default() };
        let b = world.open(Plan { tuning, ..Plan::new("b") }).await;
        let mut dues = Vec::new();
        for _ in 0..10 {
            let mut due = raw(&world, "b:1").await;
            due.send(&dues_words()[..18]).await.unwrap();
            dues.push(due);
            world.settle().await;
        }
        let mut strangers = Vec::new();
        for _ in 0..20 {
            strangers.push(raw(&world, "b:1").await);
        }
        world.settle().await;
        let load = b.links.load();
        assert_eq!((load.conns, load.counts.refused.of("half_open")), (13, 17));
    });
}

#[test]
fn who_proves_nothing_needs_an_address_on_the_list() {
    let nobody: AllowList =
        ["10.0.0.0/8".parse::<crate::NetBlock>().unwrap()].into_iter().collect();
    // Without a secret nobody can prove anything, and no byte is read.
    world(1, async |world| {
        let b = world.open(Plan { allow: nobody.clone(), ..Plan::new("b") }).await;
        let mut due = raw(&world, "b:1").await;
        due.end().await;
        assert!(due.seen.is_empty());
        let a = world.open(Plan::new("a")).await;
        let link = a.link(&b);
        a.push(link, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert!(b.seen.borrow().is_empty());
        assert!(b.links.load().counts.refused.of("not_allowed") >= 2);
    });
    // With one, who proves it may come from anywhere.
    world(1, async |world| {
        let mut plan = Plan { allow: nobody.clone(), ..Plan::new("b").secret(&[OLD]) };
        plan.settings.insecure = true;
        let b = world.open(plan).await;
        let a = world.open(Plan::new("a").secret(&[OLD])).await;
        let link = a.link(&b);
        a.push(link, 1, 5).unwrap();
        a.links.flush();
        let mut due = raw(&world, "b:1").await;
        due.send(&dues_words()).await.unwrap();
        due.end().await;
        world.settle().await;
        assert_eq!(*b.seen.borrow(), [1]);
        assert_eq!(b.links.load().counts.refused.of("not_allowed"), 1);
    });
}

#[test]
fn a_secret_changes_one_instance_after_the_other_and_no_message_is_lost() {
    // Behind the old one everywhere; then in front; then alone.
    let steps = [&[OLD][..], &[OLD, NEW], &[NEW, OLD], &[NEW]];
    for near in steps.windows(2) {
        for (here, there) in [(near[0], near[1]), (near[1], near[0])] {
            world(1, async |world| {
                let a = world.open(Plan::new("a").secret(here)).await;
                let b = world.open(Plan::new("b").secret(there)).await;
                for (from, to) in [(&a, &b), (&b, &a)] {
                    let link = from.link(to);
                    from.push(link, 1, 5).unwrap();
                    from.links.flush();
                    world.settle().await;
                    assert_eq!(*to.seen.borrow(), [1], "{here:?} {there:?}");
                }
            });
        }
    }
    world(1, async |world| {
        let a = world.open(Plan::new("a").secret(&[OLD])).await;
        let b = world.open(Plan::new("b").secret(&[NEW])).await;
        let link = a.link(&b);
        a.push(link, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!((b.seen.borrow().len(), a.unsent.take()), (0, vec![1]));
        assert_eq!(a.links.load().counts.dials_failed.of("bad_proof"), 3);
    });
}

#[test]
fn another_cluster_is_refused_and_named_on_both_sides() {
    world(1, async |world| {
        let mut plan = Plan::new("a");
        plan.settings.cluster = "live".into();
        let a = world.open(plan).await;
        let b = world.open(Plan::new("b")).await;
        let link = a.link(&b);
        a.push(link, 1, 5).unwrap();
        a.links.flush();
        world.settle().await;
        assert_eq!((b.seen.borrow().len(), a.unsent.take()), (0, vec![1]));
        assert_eq!(a.links.load().counts.dials_failed.of("wrong_cluster"), 3);
        assert!(b.links.load().counts.refused.of("wrong_cluster") >= 3);
    });
}

#[test]
fn of_two_live_processes_under_one_id_the_later_life_is_believed() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        let lives = |life| Watch::fixed(Incarnation(life));
        let first = world.open(Plan { life: lives(5), ..Plan::new("x") }).await;
        let to_a = first.link(&a);
        first.push(to_a, 1, 5).unwrap();
        first.links.flush();
        world.settle().await;
        let second = world.open(Plan { life: lives(6), ..Plan::new("x") }).await;
        let to_a = second.link(&a);
        second.push(to_a, 2, 5).unwrap();
        second.links.flush();
        world.settle().await;
        assert_eq!((first.lost.borrow().len(), a.lost.borrow().len()), (1, 1));
        let to_a = first.link(&a);
        first.push(to_a, 3, 5).unwrap();
        first.links.flush();
        world.settle().await;
        assert_eq!((a.seen.take(), first.unsent.take()), (vec![1, 2], vec![3]));
        assert_eq!(first.links.load().counts.dials_failed.of("id_taken"), 1);
        assert!(second.lost.borrow().is_empty());
    });
}

#[test]
fn nobody_gets_in_under_the_id_of_the_instance_itself() {
    world(1, async |world| {
        let b = world.open(Plan::new("b")).await;
        let copy = world.open_at("copy:1", Plan::new("b")).await;
        copy.links.set_peers(Kind::Node, &[record("a", "b:1")].into());
        let link = copy.links.link(&"a".into()).unwrap();
        copy.push(link, 1, 5).unwrap();
        copy.links.flush();
        world.settle().await;
        assert!(b.seen.borrow().is_empty() && b.links.load().links == 0);
        assert!(b.links.load().counts.refused.of("id_taken") > 0);
    });
}

#[test]
fn a_window_smaller_than_a_frame_still_carries_every_frame() {
    world(1, async |world| {
        let small = |id: &str| {
            let mut plan = Plan::new(id);
            plan.settings.window = 1000;
            plan
        };
        let (a, b) = (world.open(small("a")).await, world.open(small("b")).await);
        let to_b = a.link(&b);
        for n in 0..300 {
            while a.push(to_b, n, usize::try_from(n * 37 % 5000).unwrap()).is_err() {
                a.links.room(to_b).await;
            }
        }
        a.links.flush();
        world.settle().await;
        assert!(b.seen.borrow().iter().copied().eq(0..300));
        assert!(a.links.load().counts.credit_waits > 0);
        assert_eq!(b.links.load().counts.refused.of("overrun"), 0);
    });
}

#[test]
fn everybody_who_waits_for_room_gets_it_when_the_first_has_queued_again() {
    world(1, async |world| {
        let env = world.sim.env();
        let a = world.open(Plan::new("a")).await;
        let b = world.open_in(&env, Plan::new("b")).await;
        let to_b = a.link(&b);
        a.push(to_b, 0, 5).unwrap();
        a.links.flush();
        world.settle().await;
        env.spawn.freeze();
        while a.push(to_b, 1, 60_000).is_ok() {
            a.links.flush();
        }
        while a.push(to_b, 1, 500).is_ok() {}
        let (tasks, sent) = (world.sim.env(), Rc::new(Cell::new(0)));
        for n in 2..8 {
            let (a, sent) = (Rc::clone(&a), Rc::clone(&sent));
            tasks.spawn.local(async move {
                while a.push(to_b, n, 500).is_err() {
                    a.links.room(to_b).await;
                }
                sent.set(sent.get() + 1);
            });
        }
        world.settle().await;
        assert_eq!(sent.get(), 0, "the lane is full");
        env.spawn.thaw();
        // Nobody but this one flushes, as a node does at the end of a turn.
        for _ in 0..20 {
            world.settle().await;
            a.links.flush();
        }
        assert_eq!(sent.get(), 6, "so many of six got room");
        world.settle().await;
        let mut last = b.seen.borrow().iter().rev().take(6).copied().collect::<Vec<_>>();
        last.sort_unstable();
        assert_eq!(last, [2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn a_lane_whose_peer_gives_no_room_back_is_full_and_bounded() {
    world(1, async |world| {
        let env = world.sim.env();
        let a = world.open(Plan::new("a")).await;
        let b = world.open_in(&env, Plan::new("b")).await;
        let to_b = a.link(&b);
        a.push(to_b, 0, 5).unwrap();
        a.links.flush();
        world.settle().await;
        env.spawn.freeze();
        let mut bytes = 0;
        while a.push(to_b, 1, 60_000).is_ok() {
            a.links.flush();
            bytes += 60_000;
            assert!(bytes < 4 * LANE_MAX);
        }
        // What the peer takes, and as much again that waits here.
        assert!((2 * LANE_MAX - 140_000..=2 * LANE_MAX + 70_000).contains(&bytes), "{bytes}");
        let most = a.links.load().queued_most;
        assert!(
            (LANE_MAX..=LANE_MAX + 70_000).contains(&most),
            "what is shown is what is full: {most}"
        );
        // Control is not held up by it.
        a.links.send(to_b, Frame::Request { seq: 0, command: is_online(1) }).unwrap();
        env.spawn.thaw();
        a.links.room(to_b).await;
        a.push(to_b, 1, 60_000).unwrap();
    });
}

#[test]
fn a_frame_that_the_peer_refuses_for_its_size_is_reported_and_the_rest_flows() {
    world(1, async |world| {
        let a = world.open(Plan::new("a")).await;
        let mut plan = Plan::new("b");
        plan.settings.frame_max = 1000;
        let b = world.open(plan).await;
        let to_b = a.link(&b);
        a.push(to_b, 1, 10).unwrap();
        a.push(to_b, 2, 2000).unwrap(); // it is not known yet
        a.push(to_b, 3, 10).unwrap();
        a.lost.borrow_mut().push((to_b, "b".into())); // no loss comes before this report
        a.links.flush();
        world.settle().await;
        assert_eq!((b.seen.take(), a.unsent.take()), (vec![1, 3], vec![2]));
        assert!(matches!(a.push(to_b, 4, 2000), Err(Unsent::Unfit(_))));
    });
}
