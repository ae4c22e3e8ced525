//! Connections under TLS: the same promises, and those of the handshake.

use super::*;
use crate::tls::{Dialling, File, Listening, Mutual, PairFiles, tests::Authority};
use std::time::Duration;
use yumen_proto::conn::{HandshakeFault, TlsFault};

const PLAIN_ROOM: usize = 64 * 1024;

impl Rig {
    /// A connection of a gate with TLS. The client's end has not said a word.
    fn raw_client(&self, listening: &Listening, room: usize) -> (Socket, ConnId) {
        let (near, far) = pair(room, self.sim.dice());
        let far = listening.accept(far, self.env.clock.now().mono);
        (near, self.accept(far, Transport::Stream))
    }

    fn tls_client(&self, sides: (&Listening, &Dialling), room: usize) -> (Peer, ConnId) {
        let (near, conn) = self.raw_client(sides.0, room);
        let near = sides.1.dial(near, "gate.test:1", self.env.clock.now().mono).unwrap();
        (Peer::new(near), conn)
    }
}

fn sides() -> (Authority, Listening, Dialling) {
    let authority = Authority::new();
    let (listening, dialling) = (authority.listening(), authority.dialling("gate.test"));
    (authority, listening, dialling)
}

#[test]
fn messages_of_any_size_come_back_and_the_service_hears_of_the_opening_first() {
    run(async |rig| {
        let (_authority, listening, dialling) = sides();
        for room in [7, 1500, PLAIN_ROOM] {
            let (mut peer, conn) = rig.tls_client((&listening, &dialling), room);
            for len in [0, 1, 16_000, 16_384, 60_000] {
                let sent = packet(5, &vec![b'x'; len]);
                peer.send(&sent).await.unwrap();
                let (route, body) = recv(&mut peer).await.unwrap();
                assert_eq!((route, body.len()), (5, len));
            }
            assert_eq!(rig.echo.opened.borrow().last(), Some(&conn));
        }
    });
}

#[test]
fn a_client_that_says_nothing_or_stalls_in_its_handshake_goes_after_ten_seconds_and_harms_nobody() {
    run(async |rig| {
        let (_authority, listening, dialling) = sides();
        let (_silent, silent) = rig.raw_client(&listening, PLAIN_ROOM);
        let (stalled, stuck) = rig.raw_client(&listening, PLAIN_ROOM);
        let mut stalled = Peer::new(stalled);
        // A hello of 512 bytes is announced, and never comes whole.
        stalled.send(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
        rig.env.clock.sleep(Duration::from_secs(9)).await;
        let (mut peer, _) = rig.tls_client((&listening, &dialling), PLAIN_ROOM);
        peer.send(&packet(1, b"hi")).await.unwrap();
        assert_eq!(recv(&mut peer).await, Some((1, b"hi".to_vec())));
        assert!(rig.ended().await.is_empty() && rig.echo.opened.borrow().len() == 1);
        assert_eq!(rig.driver.buffered(silent), Some(0), "nothing is kept for a silent one");
        rig.env.clock.sleep(Duration::from_millis(2_500)).await;
        let late = CloseReason::Handshake(HandshakeFault::TimedOut);
        assert_eq!(rig.ended().await, [(silent, late), (stuck, late)]);
    });
}

#[test]
fn what_is_no_tls_is_refused_under_that_name() {
    run(async |rig| {
        let (_authority, listening, _) = sides();
        for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], &packet(1, b"plain"), &[0]] {
            let (near, conn) = rig.raw_client(&listening, PLAIN_ROOM);
            let mut peer = Peer::new(near);
            peer.send(words).await.unwrap();
            peer.end().await;
            let reason = CloseReason::Handshake(HandshakeFault::NotTls);
            assert_eq!(rig.ended().await, [(conn, reason)]);
            assert_eq!(reason.name(), "handshake_not_tls");
        }
    });
}

/// Why each end says that the connection has failed.
async fn failing(rig: &Rig, listening: &Listening, dialling: &Dialling) -> (String, CloseReason) {
    let (near, conn) = rig.raw_client(listening, PLAIN_ROOM);
    let near = dialling.dial(near, "gate.test", rig.env.clock.now().mono).unwrap();
    let mut peer = Peer::new(near);
    let error = peer.send(b"x").await.unwrap_err().to_string();
    drop(peer);
    let ended = rig.ended().await;
    assert_eq!(ended[0].0, conn);
    (error, ended[0].1)
}

#[test]
fn a_foreign_an_expired_and_a_wrong_certificate_are_each_told_by_name() {
    run(async |rig| {
        let (authority, listening, _) = sides();
        let refused = CloseReason::Handshake(HandshakeFault::Tls(TlsFault::Refused));
        let stranger = Authority::new().dialling("gate.test");
        let (why, reason) = failing(&rig, &listening, &stranger).await;
        assert!(why.contains("nobody who is trusted") && reason == refused, "{why} {reason}");
        let (why, reason) = failing(&rig, &listening, &authority.dialling("other.test")).await;
        assert!(why.contains("another name") && reason == refused, "{why} {reason}");
        for (years, part) in [((2020, 2021), "has expired"), ((2088, 2090), "not valid yet")] {
            let pair = authority.issue("old", "gate.test", years);
            let (old, _) = Listening::load(vec![pair], Duration::ZERO).unwrap();
            let (why, reason) = failing(&rig, &old, &authority.dialling("gate.test")).await;
            assert!(why.contains(part) && reason == refused, "{why} {reason}");
        }
    });
}

#[test]
fn the_name_a_client_asks_for_picks_the_certificate() {
    run(async |rig| {
        let authority = Authority::new();
        let pairs = ["a.test", "b.test", "*.c.test"];
        let pairs =
            pairs.map(|name| authority.issue(&name[..1].replace('*', "c"), name, (2020, 2090)));
        let (listening, _) = Listening::load(pairs.to_vec(), Duration::ZERO).unwrap();
        for (name, fits) in
            [("a.test", true), ("b.test", true), ("x.c.test", true), ("d.test", false)]
        {
            let dialling = authority.dialling(name);
            let (mut peer, _) = rig.tls_client((&listening, &dialling), PLAIN_ROOM);
            assert_eq!(peer.send(&packet(1, b"")).await.is_ok(), fits, "{name}");
        }
    });
}

#[test]
fn after_a_change_of_files_new_connections_get_the_new_certificate_and_old_ones_live_on() {
    run(async |rig| {
        let (authority, listening, dialling) = sides();
        let (mut before, _) = rig.tls_client((&listening, &dialling), PLAIN_ROOM);
        before.send(&packet(1, b"a")).await.unwrap();
        assert!(recv(&mut before).await.is_some());
        authority.issue("gate", "new.test", (2020, 2090));
        listening.refresh(Duration::ZERO);
        listening.refresh(Duration::ZERO);
        before.send(&packet(2, b"b")).await.unwrap();
        assert!(recv(&mut before).await.is_some());
        let (why, _) = failing(&rig, &listening, &authority.dialling("gate.test")).await;
        assert!(why.contains("another name"), "{why}");
        let (mut after, _) =
            rig.tls_client((&listening, &authority.dialling("new.test")), PLAIN_ROOM);
        after.send(&packet(3, b"c")).await.unwrap();
        assert!(recv(&mut after).await.is_some());
    });
}

#[test]
fn a_goodbye_is_an_end_and_a_cut_is_a_break() {
    run(async |rig| {
        let (_authority, listening, dialling) = sides();
        for polite in [true, false] {
            let (near, conn) = rig.raw_client(&listening, PLAIN_ROOM);
            let now = rig.env.clock.now().mono;
            let mut socket = dialling.dial(near, "gate.test", now).unwrap();
            std::future::poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
            rig.until(|rig| rig.echo.opened.borrow().contains(&conn)).await;
            if polite {
                socket.finish().unwrap();
            }
            drop(socket);
            let reason = if polite { CloseReason::Gone } else { CloseReason::Reset };
            assert_eq!(rig.ended().await, [(conn, reason)]);
        }
    });
}

#[test]
fn a_client_that_does_not_read_holds_one_record_and_the_rest_is_counted_as_queued() {
    run(async |rig| {
        let (_authority, listening, dialling) = sides();
        let (mut peer, conn) = rig.tls_client((&listening, &dialling), 4096);
        peer.send(&packet(1, b"")).await.unwrap();
        assert!(recv(&mut peer).await.is_some());
        for _ in 0..10 {
            assert!(rig.push(conn, 9, 20_000));
        }
        rig.driver.flush();
        yield_now().await;
        let (left, held) = (rig.driver.backlog(conn).unwrap(), rig.driver.buffered(conn).unwrap());
        assert!(left > 200_000 - 16_384 && left < 200_200, "{left}");
        assert!(held < 700_000, "{held}");
        for _ in 0..10 {
            assert_eq!(recv(&mut peer).await.map(|(_, body)| body.len()), Some(20_000));
        }
        assert_eq!(rig.driver.backlog(conn), Some(0));
        // All of its own bytes fit, and what TLS adds does not.
        assert!(rig.push(conn, 9, 4_080));
        rig.driver.flush();
        yield_now().await;
        assert_eq!(rig.driver.backlog(conn), Some(1), "it stands for what is encrypted and unsent");
        assert!(recv(&mut peer).await.is_some());
        assert_eq!(rig.driver.backlog(conn), Some(0));
    });
}

#[test]
fn an_idle_connection_keeps_no_more_than_the_librarys_read_buffer() {
    run(async |rig| {
        let (_authority, listening, dialling) = sides();
        let (mut peer, conn) = rig.tls_client((&listening, &dialling), PLAIN_ROOM);
        peer.send(&packet(1, &[7; 60_000])).await.unwrap();
        assert!(recv(&mut peer).await.is_some());
        assert_eq!(rig.driver.buffered(conn), Some(4096));
    });
}

/// Everything that a client says in its handshake and after it, as it is on the wire.
async fn overheard(rig: &Rig, sides: (&Listening, &Dialling)) -> Vec<u8> {
    let now = rig.env.clock.now().mono;
    let (near, relay) = pair(PLAIN_ROOM, rig.sim.dice());
    let (far, conn) = rig.raw_client(sides.0, PLAIN_ROOM);
    let (mut client, mut server) = (sides.1.dial(near, "gate.test", now).unwrap(), Peer::new(far));
    let mut relay = Peer::new(relay);
    let mut words = Vec::new();
    // A flight of the client, one of the server, and the last of the client.
    for _ in 0..2 {
        let mut space = [0; 1024];
        let step =
            std::future::poll_fn(|cx| std::task::Poll::Ready(client.poll_read(cx, &mut space)));
        let _pending = step.await;
        let _written = client.try_write(b"after the handshake");
        relay.more().await;
        words.extend_from_slice(&relay.seen);
        server.send(&std::mem::take(&mut relay.seen)).await.unwrap();
        if words.len() < 1500 && server.more().await {
            relay.send(&std::mem::take(&mut server.seen)).await.unwrap();
        }
    }
    drop(server);
    rig.until(|rig| rig.driver.is_empty()).await;
    assert_eq!(rig.ended().await[0].0, conn);
    words
}

#[test]
fn whatever_a_client_sends_in_a_handshake_ends_only_its_own_connection() {
    run(async |rig| {
        let (_authority, listening, dialling) = sides();
        let real = overheard(&rig, (&listening, &dialling)).await;
        assert!(real.starts_with(&[0x16, 3]) && real.len() > 200, "{}", real.len());
        let dice = rig.sim.dice().clone();
        for round in 0..400 {
            let mut bytes = real.clone();
            for _ in 0..=dice.below(4) {
                let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
                match dice.below(3) {
                    0 => bytes[at] = dice.roll() as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, dice.roll() as u8),
                }
            }
            bytes[0] = 0x16;
            let (near, conn) = rig.raw_client(&listening, PLAIN_ROOM);
            let mut peer = Peer::new(near);
            let _cut_short = peer.send(&bytes).await;
            rig.driver.flush();
            yield_now().await;
            drop(peer);
            rig.until(|rig| rig.driver.is_empty()).await;
            let ended = rig.ended().await;
            assert_eq!(ended.len(), 1, "round {round}");
            assert_eq!(ended[0].0, conn);
            let known = matches!(
                ended[0].1,
                CloseReason::Gone | CloseReason::Reset | CloseReason::Handshake(_)
            );
            assert!(known, "round {round}: {}", ended[0].1);
        }
        let (mut peer, _) = rig.tls_client((&listening, &dialling), PLAIN_ROOM);
        peer.send(&packet(1, b"hi")).await.unwrap();
        assert_eq!(recv(&mut peer).await, Some((1, b"hi".to_vec())));
        assert_eq!(rig.echo.events.borrow().len(), 1, "nothing else ever passed for a message");
    });
}

/// A process of a cluster: its certificate is for `name`.
fn process(authority: &Authority, name: &str, names: &[&str], or_plain: bool) -> Mutual {
    let pair: PairFiles = authority.issue(name, name, (2020, 2090));
    let ca: File = authority.ca();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    Mutual::load((pair, ca), &names, or_plain, Duration::ZERO).unwrap().0
}

/// What `to` thinks of `from`, which says that it is `id` and dials `to` as `expected`.
async fn meet(
    rig: &Rig,
    (from, id): (&Mutual, &str),
    (to, expected): (&Mutual, &str),
) -> Result<bool, String> {
    let (near, far) = pair(PLAIN_ROOM, rig.sim.dice());
    let now = rig.env.clock.now().mono;
    let mut near = from.dial(near, expected, now).unwrap();
    let mut far = to.accept(far, now);
    let (mut space, mut more) = ([0; 100], [0; 100]);
    std::future::poll_fn(|cx| {
        let theirs = far.poll_read(cx, &mut space);
        let mine = near.poll_read(cx, &mut more);
        match (theirs, mine) {
            (std::task::Poll::Ready(Err(error)), _) | (_, std::task::Poll::Ready(Err(error))) => {
                std::task::Poll::Ready(Err(error.to_string()))
            }
            _ if near.is_open() && far.is_open() => {
                std::task::Poll::Ready(Ok(to.vouches(&far, id)))
            }
            _ => std::task::Poll::Pending,
        }
    })
    .await
}

#[test]
fn a_link_is_believed_by_the_name_in_its_certificate() {
    run(async |rig| {
        let authority = Authority::new();
        let (gate, room) =
            (process(&authority, "gate-1", &[], false), process(&authority, "room-1", &[], false));
        assert_eq!(meet(&rig, (&gate, "gate-1"), (&room, "room-1")).await, Ok(true));
        assert_eq!(meet(&rig, (&gate, "gate-1.2"), (&room, "room-1.7")).await, Ok(true));
        assert_eq!(meet(&rig, (&gate, "gate-2"), (&room, "room-1")).await, Ok(false));
        let why = meet(&rig, (&gate, "gate-1"), (&room, "room-2")).await.unwrap_err();
        assert!(why.contains("another name"), "{why}");
        let elsewhere = Authority::new();
        let stranger = process(&elsewhere, "gate-1", &[], false);
        let why = meet(&rig, (&stranger, "gate-1"), (&room, "room-1")).await.unwrap_err();
        assert!(why.contains("nobody who is trusted"), "{why}");
    });
}

#[test]
fn a_list_of_names_takes_the_place_of_ids() {
    run(async |rig| {
        let authority = Authority::new();
        let names = &["gates.test", "rooms.test"][..];
        let gate = process(&authority, "gates.test", names, false);
        let room = process(&authority, "rooms.test", names, false);
        assert_eq!(meet(&rig, (&gate, "gate-0a1b"), (&room, "room-9f")).await, Ok(true));
        let other = process(&authority, "others.test", names, false);
        assert_eq!(meet(&rig, (&other, "gate-0a1b"), (&room, "room-9f")).await, Ok(false));
    });
}

#[test]
fn who_shows_no_certificate_is_no_peer() {
    run(async |rig| {
        let authority = Authority::new();
        let room = process(&authority, "room-1", &[], false);
        let (near, far) = pair(PLAIN_ROOM, rig.sim.dice());
        let now = rig.env.clock.now().mono;
        let conn = rig.accept(room.accept(far, now), Transport::Stream);
        let near = authority.dialling("room-1").dial(near, "room-1", now).unwrap();
        let mut peer = Peer::new(near);
        let _it_may_believe_to_be_open = peer.send(&packet(1, b"hi")).await;
        peer.end().await;
        let reason = CloseReason::Handshake(HandshakeFault::Tls(TlsFault::NoCertificate));
        assert_eq!(rig.ended().await, [(conn, reason)]);
        assert!(rig.echo.events.borrow().is_empty());
    });
}

#[test]
fn where_plain_is_allowed_both_are_served_and_only_tls_vouches_by_certificate() {
    run(async |rig| {
        let authority = Authority::new();
        let room = process(&authority, "room-1", &[], true);
        let gate = process(&authority, "gate-1", &[], true);
        assert_eq!(meet(&rig, (&gate, "gate-2"), (&room, "room-1")).await, Ok(false));
        let (near, far) = pair(PLAIN_ROOM, rig.sim.dice());
        let far = room.accept(far, rig.env.clock.now().mono);
        let conn = rig.accept(far, Transport::Stream);
        let mut peer = Peer::new(near);
        peer.send(&packet(4, b"plain")).await.unwrap();
        assert_eq!(recv(&mut peer).await, Some((4, b"plain".to_vec())));
        assert_eq!(*rig.echo.opened.borrow(), [conn]);
    });
}
