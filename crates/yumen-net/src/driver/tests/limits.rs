//! Closing: at a limit, gracefully, at once; and what a peer that does not read costs the others.

use super::*;
use yumen_proto::{
    error::WireError,
    extension::{CloseNotice, NoticeReason, kind},
};

fn small(backlog_max: usize) -> Settings {
    Settings { backlog_max, ..Settings::default() }
}

#[test]
fn w16_a_blocked_client_is_closed_at_the_limit_and_delays_nobody() {
    run(async |rig| {
        let ((mut stuck, blocked), (mut peer, _)) = (rig.client(16), rig.client(1024));
        rig.push(blocked, 1, 1000);
        let start = rig.env.clock.now().mono;
        let mut rounds = 0;
        while rig.echo.ended.borrow().is_empty() {
            stuck.send(&HEARTBEAT).await.unwrap(); // it speaks, so it is not idle; it does not read
            peer.send(&packet(5, b"ping")).await.unwrap();
            assert_eq!(recv(&mut peer).await, Some((5, b"ping".to_vec())));
            rig.env.clock.sleep(Duration::from_millis(100)).await;
            rounds += 1;
        }
        let took = rig.env.clock.now().mono - start;
        assert!((10..=11).contains(&took.as_secs()) && rounds > 90, "{took:?}, {rounds}");
        assert_eq!(rig.ended().await, [(blocked, CloseReason::Stalled)]);
    });
}

#[test]
fn a_client_that_reads_gets_more_than_the_backlog_in_order() {
    Rig::with(small(8000), 3, async |rig| {
        let (mut peer, conn) = rig.client(700);
        for n in 0..1000 {
            assert!(rig.push(conn, n, 100));
            if n % 50 == 0 {
                rig.driver.flush();
            }
            if n % 60 == 59 {
                for seen in n - 59..=n {
                    assert_eq!(route(&mut peer).await, seen);
                }
            }
        }
    });
}

#[test]
fn one_that_does_not_read_is_closed_at_the_backlog_limit() {
    Rig::with(small(8000), 3, async |rig| {
        let (_peer, conn) = rig.client(700);
        let mut pushed = 0;
        while pushed < 1000 && rig.push(conn, 1, 100) {
            pushed += 1;
            yield_now().await;
        }
        assert!((76..84).contains(&pushed), "{pushed}");
        assert_eq!(rig.ended().await, [(conn, CloseReason::Backlog)]);
    });
}

#[test]
fn a_batch_larger_than_the_backlog_is_offered_to_the_socket_first() {
    Rig::with(small(8000), 3, async |rig| {
        let (mut peer, conn) = rig.client(1024 * 1024);
        for n in 0..200 {
            assert!(rig.push(conn, n, 1000));
            assert!(rig.driver.backlog(conn).unwrap() <= 129 * 1024, "no batch holds more");
        }
        for n in 0..200 {
            assert_eq!(route(&mut peer).await, n);
        }
        assert!(rig.ended().await.is_empty());
    });
}

#[test]
fn w37_a_suspended_client_under_push_load_is_closed_promptly_and_reported() {
    run(async |rig| {
        let mut all: Vec<_> = (0..40).map(|_| rig.client(4096)).collect();
        let (mut calm, one) = rig.client(4096);
        for conn in rig.driver.ids() {
            rig.push(conn, 1, 100);
        }
        for (peer, _) in &mut all {
            assert_eq!(route(peer).await, 1);
        }
        assert_eq!(route(&mut calm).await, 1);
        // From here on the 40 neither read nor write; pushes go on until each is closed.
        let start = rig.env.clock.now().mono;
        let mut pushes = 0;
        while rig.driver.len() > 1 && pushes < 5000 {
            for conn in rig.driver.ids() {
                rig.push(conn, 2, 500);
            }
            pushes += 1;
            assert_eq!(route(&mut calm).await, 2);
            calm.send(&HEARTBEAT).await.unwrap();
            rig.env.clock.sleep(Duration::from_millis(10)).await;
        }
        let took = rig.env.clock.now().mono - start;
        assert!(took < Duration::from_secs(12), "{took:?} and {pushes} pushes");
        rig.until(|rig| rig.echo.ended.borrow().len() == 40).await;
        for (conn, reason) in rig.ended().await {
            assert!(conn != one && matches!(reason, CloseReason::Stalled | CloseReason::Backlog));
        }
        drop(all);
    });
}

#[test]
fn w37_closing_a_client_that_does_not_read_takes_no_longer_than_the_drain() {
    run(async |rig| {
        let (_peer, conn) = rig.client(100);
        rig.push(conn, 1, 5000);
        yield_now().await;
        rig.driver.close(conn, CloseReason::Kicked, "elsewhere");
        assert!(!rig.push(conn, 2, 10), "nothing is queued behind a goodbye");
        let start = rig.env.clock.now().mono;
        rig.until(|rig| rig.driver.is_empty()).await;
        let took = rig.env.clock.now().mono - start;
        assert!((5..=6).contains(&took.as_secs()), "{took:?}");
        assert_eq!(rig.ended().await, [(conn, CloseReason::Kicked)]);
    });
}

#[test]
fn a_graceful_close_writes_all_that_is_queued_to_one_that_reads() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(100);
        for n in 0..50 {
            rig.push(conn, n, 80);
        }
        rig.driver.close(conn, CloseReason::ByGame, "");
        for n in 0..50 {
            assert_eq!(route(&mut peer).await, n);
        }
        assert_eq!(recv(&mut peer).await, None);
        assert_eq!(rig.ended().await, [(conn, CloseReason::ByGame)]);
    });
}

#[test]
fn the_end_of_a_closing_clients_stream_is_not_waited_for() {
    run(async |rig| {
        let (peer, conn) = rig.client(100);
        rig.push(conn, 1, 5000);
        yield_now().await;
        rig.driver.close(conn, CloseReason::ByGame, "");
        drop(peer);
        for _ in 0..5 {
            yield_now().await;
        }
        assert_eq!(rig.ended().await, [(conn, CloseReason::ByGame)]);
    });
}

#[test]
fn a_connection_closed_and_held_in_one_event_still_ends_with_its_peer() {
    run(async |rig| {
        rig.on_event(|echo, conn, _| {
            echo.driver.close(conn, CloseReason::ByGame, "");
            Turn::Hold
        });
        let (mut peer, conn) = rig.client(100);
        rig.push(conn, 1, 5000);
        peer.send(&packet(1, b"x")).await.unwrap();
        for _ in 0..5 {
            yield_now().await;
        }
        assert!(!rig.driver.is_held(conn) && rig.driver.len() == 1);
        drop(peer);
        for _ in 0..5 {
            yield_now().await;
        }
        assert_eq!(rig.ended().await, [(conn, CloseReason::ByGame)]);
    });
}

#[test]
fn an_announced_client_is_told_why_also_by_the_sweep() {
    run(async |rig| {
        for reason in [CloseReason::Kicked, CloseReason::Idle] {
            let (mut peer, conn) = rig.client(1024);
            let (mut tail, mut hello) = (Vec::new(), Vec::new());
            Announce { features: rig.settings.features, ..Announce::default() }.encode(&mut tail);
            Layout::default().encode_control(kind::ANNOUNCE, &tail, &mut hello);
            peer.send(&hello).await.unwrap();
            assert!(peer.more().await);
            peer.seen.clear();
            if reason == CloseReason::Kicked {
                rig.driver.close(conn, reason, "elsewhere");
            }
            peer.end().await;
            let mut rest = peer.seen.as_slice();
            let packet = Layout::default().decode(&mut rest).unwrap();
            let Some(Packet::Control { kind: kind::CLOSE, tail }) = packet else {
                panic!("{packet:?}")
            };
            let notice = CloseNotice::parse(tail).unwrap();
            let told = [NoticeReason::Kicked, NoticeReason::Idle].contains(&notice.reason);
            assert!(told && rest.is_empty() && reason.notice() == Some(notice.reason));
            assert_eq!(rig.ended().await, [(conn, reason)]);
        }
    });
}

#[test]
fn a_close_at_once_offers_what_is_queued_a_last_time() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(1024);
        rig.push(conn, 7, 10);
        rig.driver.close_now(conn, CloseReason::Kicked);
        assert!(rig.driver.is_empty() && !rig.push(conn, 8, 10));
        assert_eq!(recv(&mut peer).await.map(|(route, _)| route), Some(7));
        assert_eq!(recv(&mut peer).await, None);
        assert_eq!(rig.ended().await, [(conn, CloseReason::Kicked)]);
    });
}

#[test]
fn a_socket_that_lingers_is_dropped_after_two_sweeps() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(16);
        rig.driver.close_now(conn, CloseReason::Kicked);
        assert_eq!(rig.driver.lingering.borrow().len(), 1);
        assert!(peer.send(&[0; 10]).await.is_ok(), "what it still sends is discarded");
        rig.env.clock.sleep(Duration::from_millis(3100)).await;
        assert!(rig.driver.lingering.borrow().is_empty());
        assert!(peer.send(&[0; 10]).await.is_err());
    });
}

#[test]
fn oversize_and_broken_framing_close_and_what_came_before_is_answered() {
    run(async |rig| {
        let (mut peer, conn) = rig.client(1024);
        peer.send(&packet(1, b"x")).await.unwrap();
        peer.send(&[1, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(route(&mut peer).await, 1);
        assert_eq!(recv(&mut peer).await, None);
        let ended = rig.ended().await;
        let [(id, CloseReason::Malformed(WireError::TooLarge { .. }))] = ended[..] else {
            panic!("{ended:?}")
        };
        assert_eq!((id, rig.driver.len()), (conn, 0));
    });
}

#[test]
fn beyond_what_all_may_hold_only_those_with_more_than_their_share_are_closed() {
    run(async |rig| {
        rig.driver.set_held_max(110_000);
        let deaf: Vec<_> = (0..8).map(|_| rig.client(64)).collect();
        for (_peer, conn) in &deaf {
            rig.push(*conn, 1, 20_000);
            rig.driver.flush();
            yield_now().await;
        }
        let ended = rig.ended().await;
        assert_eq!(ended.len(), 3, "the sixth is beyond it, and makes room by its end: {ended:?}");
        assert!(ended.iter().all(|(_, reason)| *reason == CloseReason::Backlog));
        // A packet that has not come whole counts as well.
        let (mut slow, conn) = rig.client(64 * 1024);
        slow.send(&packet(1, &[0; 60_000])[..30_000]).await.unwrap();
        rig.until(|rig| !rig.echo.ended.borrow().is_empty()).await;
        assert_eq!(rig.ended().await, [(conn, CloseReason::Limit)]);
        // Who holds little is served.
        let (mut calm, _conn) = rig.client(1024);
        calm.send(&packet(5, b"ping")).await.unwrap();
        assert_eq!(recv(&mut calm).await, Some((5, b"ping".to_vec())));
        assert!(rig.driver.held() > 70_000);
        drop(deaf);
        rig.until(|rig| rig.driver.len() == 1).await;
        assert_eq!(rig.driver.held(), 0);
    });
}
