//! Calls into the driver from inside its callbacks, and connections that come and go.

use super::*;
use crate::env::Dice;
use std::collections::BTreeMap;

#[test]
fn every_call_may_be_made_from_inside_every_callback() {
    for seed in 0..20 {
        Rig::with(Settings { backlog_max: 2000, ..Settings::default() }, seed, torture);
    }
}

/// Some call into the driver on some connection.
fn meddle(echo: &Echo, dice: &Dice, more: &dyn Fn()) {
    let driver = &echo.driver;
    let ids = driver.ids();
    let at = usize::try_from(dice.below(u64::try_from(ids.len()).unwrap())).unwrap();
    let Some(conn) = ids.get(at).copied() else { return };
    match dice.below(40) {
        0 => driver.close(conn, CloseReason::ByGame, "bye"),
        1 => driver.close_now(conn, CloseReason::Kicked),
        2..=4 => more(),
        5..=9 => driver.resume(conn),
        10..=12 => driver.flush(),
        13 => {
            driver.append(conn, &packet(-1, &[0; 1500]));
        }
        14..=25 => {
            driver.append(conn, &packet(-1, b"from another"));
        }
        26 => {
            driver.with(conn, |_, out, _| out.buffer().extend(packet(-1, b"beside")));
        }
        27 => drop((driver.backlog(conn), driver.buffered(conn), driver.len())),
        _ => {}
    }
}

async fn torture(rig: Rig) {
    let (dice, peers) = (rig.env.dice.clone(), Rc::new(RefCell::new(Vec::new())));
    let more = {
        let (driver, settings) = (Rc::clone(&rig.driver), Arc::clone(&rig.settings));
        let (peers, dice) = (Rc::clone(&peers), rig.sim.dice().clone());
        let (clock, count) = (rig.env.clock.clone(), Cell::new(0));
        Rc::new(move || {
            count.set(count.get() + 1);
            if count.get() > 400 {
                return;
            }
            let (near, far) = pair(300, &dice);
            let machine = ServerConn::new(Arc::clone(&settings), clock.now());
            let next = u64::try_from(driver.ids.get() + 1).unwrap();
            driver.accept(far, Transport::Stream, machine, next);
            peers.borrow_mut().push(Peer::new(near));
        })
    };
    (0..20).for_each(|_| more());
    let (inside, roll) = (Rc::clone(&more), dice.clone());
    rig.on_event(move |echo, conn, data| {
        meddle(echo, &roll, &*inside);
        match roll.below(20) {
            0 => Turn::Hold,
            1 => Turn::Yield,
            _ => echo.echo(conn, data),
        }
    });
    let (inside, roll) = (Rc::clone(&more), dice.clone());
    rig.echo.on_closed.replace(Some(Rc::new(move |echo, _| meddle(echo, &roll, &*inside))));
    let (inside, roll) = (Rc::clone(&more), dice.clone());
    rig.echo.on_open.replace(Some(Rc::new(move |echo, _| meddle(echo, &roll, &*inside))));
    for round in 0..3000 {
        let mut peer = {
            let mut peers = peers.borrow_mut();
            if peers.is_empty() {
                break;
            }
            let at = usize::try_from(dice.below(u64::try_from(peers.len()).unwrap())).unwrap();
            peers.swap_remove(at)
        };
        let blob: Vec<u8> = (0..dice.below(10)).flat_map(|_| packet(round, b"hello")).collect();
        let wait = Duration::from_millis(2);
        let sent = tokio::time::timeout(wait, peer.send(&blob)).await;
        let _nothing_comes = tokio::time::timeout(wait, peer.more()).await;
        if !matches!(sent, Ok(Err(_))) && dice.below(30) > 0 {
            peers.borrow_mut().push(peer);
        }
        for conn in rig.driver.ids() {
            rig.driver.resume(conn);
        }
    }
    peers.take();
    rig.on_event(|_, _, _| Turn::Go);
    rig.driver.ids().iter().for_each(|conn| rig.driver.resume(*conn));
    rig.until(|rig| rig.driver.is_empty()).await;
    rig.all_ended().await;
}

#[test]
fn what_is_appended_to_a_connection_accepted_in_the_place_of_the_current_one_is_written() {
    // With some seeds the second packet comes with the same read.
    (0..8).for_each(|seed| Rig::with(Settings::default(), seed, replace_the_current_one));
}

async fn replace_the_current_one(rig: Rig) {
    let (near, far) = pair(1024, rig.sim.dice());
    let (far, machine) = (RefCell::new(Some(far)), RefCell::new(Some(rig.machine())));
    rig.on_event(move |echo, conn, _| {
        echo.driver.close_now(conn, CloseReason::ByGame);
        let (socket, machine) = (far.take().unwrap(), machine.take().unwrap());
        let next = echo.driver.accept(socket, Transport::Stream, machine, 2);
        assert!(echo.driver.append(next, &packet(42, b"hello")));
        Turn::Go
    });
    let (mut peer, _) = rig.client(1024);
    // What is left of the old one's input must not reach the new one.
    peer.send(&[packet(1, b"x"), packet(2, b"y"), HEARTBEAT.to_vec()].concat()).await.unwrap();
    let (mut next, start) = (Peer::new(near), rig.env.clock.now().mono);
    assert_eq!(route(&mut next).await, 42);
    assert_eq!((rig.env.clock.now().mono, rig.env.spawn.len()), (start, 2), "by the batch itself");
    rig.env.clock.sleep(Duration::from_millis(5)).await;
    assert_eq!((rig.echo.events.take().len(), next.seen.len()), (1, 0));
}

#[test]
fn a_resume_at_the_end_of_the_batch_that_was_held_is_not_lost() {
    run(async |rig| {
        let (refuse, woken) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(ConnId(0))));
        let again = Rc::clone(&woken);
        rig.on_event(move |echo, conn, data| {
            if refuse.replace(!refuse.get()) {
                again.set(conn);
                return Turn::Hold;
            }
            echo.echo(conn, data)
        });
        let (mut peer, conn) = rig.client(1024);
        for n in 0..10 {
            peer.send(&packet(n, b"x")).await.unwrap();
            rig.until(|_| woken.get() == conn).await;
            woken.set(ConnId(0));
            rig.driver.resume(conn);
            rig.driver.resume(conn);
            assert_eq!(route(&mut peer).await, n);
        }
    });
}

#[test]
fn w17_thousands_of_connections_come_and_go_and_none_gets_what_is_anothers() {
    for seed in [1, 2, 3] {
        Rig::with(Settings::default(), seed, async |rig| {
            // The answer carries what the driver knows of the connection: its id and its data.
            rig.on_event(|echo, conn, data| {
                let known = echo.driver.with(conn, |_, _, data| *data);
                let body = format!("{}:{}:{}", conn.0, known.unwrap(), data.route.0);
                echo.driver.append(conn, &packet(data.route.0, body.as_bytes()));
                Turn::Go
            });
            let mut live: BTreeMap<i64, (Peer, i32)> = BTreeMap::new();
            for round in 0..6000 {
                if live.len() < 50 || rig.sim.dice().below(2) == 0 {
                    let (mut peer, conn) = rig.client(256);
                    peer.send(&packet(round, b"who am I")).await.unwrap();
                    live.insert(conn.0, (peer, round));
                }
                let nth = rig.sim.dice().below(u64::try_from(live.len()).unwrap());
                let id = *live.keys().nth(usize::try_from(nth).unwrap()).unwrap();
                let (mut peer, asked) = live.remove(&id).unwrap();
                if rig.sim.dice().below(3) > 0 {
                    let (route, body) = recv(&mut peer).await.unwrap();
                    let expected = format!("{id}:{id}:{asked}");
                    assert_eq!((route, String::from_utf8(body).unwrap()), (asked, expected));
                    assert!(peer.seen.is_empty());
                }
                match rig.sim.dice().below(3) {
                    0 => drop(peer),
                    1 => rig.driver.close_now(ConnId(id), CloseReason::Kicked),
                    _ => rig.driver.close(ConnId(id), CloseReason::ByGame, ""),
                }
            }
            live.clear();
            rig.all_ended().await;
        });
    }
}

#[test]
fn w41_closing_all_while_clients_come_and_go_reports_each_once() {
    for seed in 0..10 {
        Rig::with(Settings::default(), seed, async |rig| {
            let mut all: Vec<_> = (0..500).map(|_| rig.client(200)).collect();
            for (n, (peer, conn)) in all.iter_mut().enumerate() {
                match n % 4 {
                    0 => peer.send(&packet(1, b"x")).await.unwrap(),
                    1 => drop(rig.push(*conn, 2, 1000)), // more than the pipe holds
                    2 => rig.driver.close(*conn, CloseReason::ByGame, ""),
                    _ => {}
                }
            }
            yield_now().await;
            let mut turn = 0;
            all.retain(|_| {
                turn += 1;
                turn % 3 > 0 // a third leaves at the same time
            });
            let late: Vec<_> = (0..20).map(|_| rig.client(200)).collect();
            rig.driver.close_all(CloseReason::Shutdown, "stopping");
            rig.all_ended().await;
            assert_eq!(rig.driver.ids.get(), 520);
            drop((all, late));
        });
    }
}

#[test]
fn the_end_of_a_connection_may_bring_the_next_one() {
    run(async |rig| {
        let (left, dice) = (Cell::new(100), rig.sim.dice().clone());
        let (settings, clock) = (Arc::clone(&rig.settings), rig.env.clock.clone());
        rig.echo.on_closed.replace(Some(Rc::new(move |echo, _| {
            if left.get() > 0 {
                left.set(left.get() - 1);
                let (_gone, far) = pair(100, &dice);
                let machine = ServerConn::new(Arc::clone(&settings), clock.now());
                let next = u64::try_from(echo.driver.ids.get() + 1).unwrap();
                echo.driver.accept(far, Transport::Stream, machine, next);
            }
        })));
        drop(rig.client(100));
        rig.until(|rig| rig.echo.ended.borrow().len() == 101).await;
        assert!(rig.ended().await.iter().all(|(_, reason)| *reason == CloseReason::Gone));
    });
}
