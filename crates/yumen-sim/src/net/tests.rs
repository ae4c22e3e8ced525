//! What a virtual network promises to those who test on it.

use super::*;
use std::future::poll_fn;
use yumen_net::testing::Peer;

/// Runs `test` in virtual time on a network with that seed, and gives the hash of what happened.
fn run(seed: u64, test: impl AsyncFnOnce(&Network)) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let trace = Trace::new(false);
        test(&Network::new(seed, &trace)).await;
        trace.sum().0
    })
}

/// A stream from host `a` to host `b`: the dialling end, then the accepted one.
async fn connected(net: &Network) -> (Peer, Peer) {
    let (a, b) = (net.env("a"), net.env("b"));
    let mut listener = b.net.listen("0.0.0.0:7").await.unwrap();
    let near = a.net.dial("b:7").await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (Peer::new(near), Peer::new(far))
}

async fn within<T>(millis: u64, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(millis), future).await.ok()
}

#[test]
fn bytes_of_a_stream_keep_their_order_whatever_the_delays() {
    for seed in 0..20 {
        run(seed, async |net| {
            let jitter = Duration::from_millis(50);
            net.set_delays(Delays { min: Duration::ZERO, jitter });
            let (mut near, mut far) = connected(net).await;
            let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
            let all = sent.clone();
            let env = net.env("a");
            env.spawn.local(async move {
                for part in all.chunks(37) {
                    near.send(part).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            });
            far.end().await;
            assert!(far.seen == sent, "{} of {} bytes", far.seen.len(), sent.len());
        });
    }
}

#[test]
fn a_seed_repeats_a_run_and_another_does_not() {
    let one = |seed| {
        run(seed, async |net| {
            let (mut near, mut far) = connected(net).await;
            for round in 0..50 {
                near.send(&[round; 100]).await.unwrap();
                assert!(far.more().await);
            }
        })
    };
    assert_eq!(one(1), one(1));
    assert_ne!(one(1), one(2));
}

#[test]
fn a_wall_holds_bytes_back_until_it_falls() {
    run(3, async |net| {
        let (mut near, mut far) = connected(net).await;
        near.send(b"one").await.unwrap();
        net.wall(&["b"], Wall::BlackHole);
        near.send(b"two").await.unwrap();
        assert_eq!(within(60_000, far.more()).await, None);
        net.heal();
        while far.seen.len() < 6 {
            assert_eq!(within(1000, far.more()).await, Some(true));
        }
        assert_eq!(far.seen, b"onetwo");
    });
}

#[test]
fn who_dials_through_a_wall_waits_or_is_refused() {
    run(4, async |net| {
        let (a, b) = (net.env("a"), net.env("b"));
        let _listener = b.net.listen("0.0.0.0:7").await.unwrap();
        net.wall(&["a"], Wall::Refuses);
        let refused = a.net.dial("b:7").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        net.heal();
        net.wall(&["a"], Wall::BlackHole);
        let mut dial = a.net.dial("b:7");
        assert!(within(60_000, &mut dial).await.is_none());
        net.heal();
        assert!(within(1000, dial).await.unwrap().is_ok());
    });
}

#[test]
fn a_killed_process_ends_its_streams_and_refuses() {
    for seed in 0..20 {
        run(seed, async |net| {
            let (mut near, _far) = connected(net).await;
            net.kill("b");
            assert_eq!(within(1000, near.more()).await, Some(false));
            let refused = net.env("a").net.dial("b:7").await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        });
    }
}

#[test]
fn a_vanished_machine_is_silent_until_it_is_back() {
    run(5, async |net| {
        let (mut near, _far) = connected(net).await;
        net.vanish("b");
        near.send(b"into the void").await.unwrap();
        assert_eq!(within(60_000, near.more()).await, None);
        net.restore("b");
        assert_eq!(within(1000, near.more()).await, Some(false), "it knows nothing of the stream");
    });
}

#[test]
fn a_broken_stream_loses_what_is_on_its_way_and_resets_both_ends() {
    run(6, async |net| {
        let (mut near, mut far) = connected(net).await;
        near.send(b"lost").await.unwrap();
        assert!(net.break_one("b", "a"));
        assert!(!far.more().await && far.seen.is_empty());
        assert!(!near.more().await);
        assert!(near.send(b"x").await.is_err());
        drop((near, far));
        assert_eq!(net.streams(), 0);
    });
}

#[test]
fn a_reader_that_is_slow_stops_the_writer() {
    run(7, async |net| {
        let a = net.env("a");
        let mut listener = net.env("b").net.listen("b:7").await.unwrap();
        let mut near = a.net.dial("b:7").await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut sent = 0;
        while let Ok(n) = near.try_write(&[1; 1000]) {
            sent += n;
        }
        assert_eq!(sent, 64 * 1024);
        assert!(within(1000, poll_fn(|cx| near.poll_writable(cx))).await.is_none());
        let mut space = [0; 100];
        poll_fn(|cx| far.poll_read(cx, &mut space)).await.unwrap();
        poll_fn(|cx| near.poll_writable(cx)).await.unwrap();
        assert!(near.try_write(&[1; 1000]).is_ok());
    });
}

#[test]
fn a_host_is_reached_by_its_name_and_by_its_address() {
    run(8, async |net| {
        let (a, b) = (net.env("a"), net.env("b"));
        let listener = b.net.listen("0.0.0.0:0").await.unwrap();
        let addr = listener.addr().unwrap();
        assert!(a.net.dial(&addr.to_string()).await.is_ok());
        assert!(a.net.dial(&format!("b:{}", addr.port())).await.is_ok());
        assert!(b.net.listen(&format!("b:{}", addr.port())).await.is_err(), "it is taken");
        drop(listener);
        assert!(a.net.dial(&addr.to_string()).await.is_err());
        assert!(a.net.dial("nowhere:7").await.is_err());
    });
}
