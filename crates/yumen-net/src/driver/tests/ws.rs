//! WebSocket through the driver: the handshake, one packet per binary message, and the limits.

use super::*;
use crate::ws::{Link, handshake::Options};
use yumen_proto::{
    conn::{ClientConn, ClientEvent, HandshakeFault},
    error::WireError,
};

const REQUEST: &str = "GET /game HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// A frame as a client sends it, masked. `head` is the first byte: the opcode, and `FIN`.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut bytes = vec![head];
    match payload.len() {
        len @ 0..126 => bytes.push(FIN | len as u8),
        len @ 126..65_536 => {
            bytes.push(FIN | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(FIN | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FIN | BINARY, payload)
}

impl Rig {
    fn options(&self) -> Options {
        Options { path: "/game".to_owned(), ..Options::new(1000) }
    }

    pub(super) fn web(&self, room: usize) -> (Peer, ConnId) {
        let (near, far) = pair(room, self.sim.dice());
        let link = Link::server(&Arc::new(self.options()), self.env.clock.now().mono);
        (Peer::new(near), self.accept(far, Transport::Ws(Box::new(link))))
    }

    async fn open_web(&self, room: usize) -> (Peer, ConnId) {
        let (mut peer, conn) = self.web(room);
        peer.send(REQUEST.as_bytes()).await.unwrap();
        assert!(answer(&mut peer).await.starts_with("HTTP/1.1 101 "));
        (peer, conn)
    }
}

/// The head of the answer to the handshake; what comes behind stays in `seen`.
async fn answer(peer: &mut Peer) -> String {
    loop {
        let end = peer.seen.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            return String::from_utf8(peer.seen.drain(..end + 4).collect()).unwrap();
        }
        assert!(peer.more().await, "no whole answer: {:?}", peer.seen);
    }
}

/// The next frame of the server, which never masks: its first byte and its payload.
async fn frame_of(peer: &mut Peer) -> Option<(u8, Vec<u8>)> {
    loop {
        let seen = &peer.seen;
        let (at, len) = match seen.get(1) {
            Some(127..) => panic!("masked, or longer than these tests use"),
            Some(126) if seen.len() >= 4 => (4, usize::from(seen[2]) * 256 + usize::from(seen[3])),
            Some(126) | None => (usize::MAX, 0),
            Some(len) => (2, usize::from(*len)),
        };
        if at <= 4 && seen.len() >= at + len {
            let all: Vec<u8> = peer.seen.drain(..at + len).collect();
            return Some((all[0], all[at..].to_vec()));
        }
        if !peer.more().await {
            return None;
        }
    }
}

#[test]
fn an_upgrade_opens_the_connection_and_each_packet_is_one_message_both_ways() {
    run(async |rig| {
        let (mut peer, conn) = rig.web(64 * 1024);
        yield_now().await;
        assert!(rig.echo.opened.borrow().is_empty() && !rig.push(conn, 1, 1), "not open yet");
        let mut all = REQUEST.as_bytes().to_vec();
        (0..20).for_each(|n| all.extend(binary(&packet(n, &[7; 300]))));
        for byte in all.chunks(37) {
            peer.send(byte).await.unwrap();
            yield_now().await;
        }
        assert!(answer(&mut peer).await.starts_with("HTTP/1.1 101 "));
        assert_eq!(*rig.echo.opened.borrow(), [conn]);
        for n in 0..20 {
            assert_eq!(frame_of(&mut peer).await, Some((FIN | BINARY, packet(n, &[7; 300]))));
        }
        // Three packets of one batch are three messages, and one write.
        let writes = rig.driver.stats.writes.get();
        (0..3).for_each(|n| assert!(rig.push(conn, n, 10)));
        for n in 0..3 {
            assert_eq!(frame_of(&mut peer).await, Some((FIN | BINARY, packet(n, &[1; 10]))));
        }
        assert_eq!(rig.driver.stats.writes.get(), writes + 1);
    });
}

#[test]
fn the_handshake_is_answered_though_nobody_sends_a_packet() {
    run(async |rig| {
        let (_peer, conn) = rig.open_web(1024).await;
        assert_eq!((*rig.echo.opened.borrow()).clone(), [conn]);
    });
}

#[test]
fn what_is_pushed_as_soon_as_it_opens_follows_the_answer() {
    run(async |rig| {
        rig.echo.on_open.replace(Some(Rc::new(|echo, conn| {
            assert!(echo.driver.append(conn, &packet(1, b"welcome")));
        })));
        let (mut peer, _) = rig.open_web(50).await;
        assert_eq!(frame_of(&mut peer).await, Some((FIN | BINARY, packet(1, b"welcome"))));
    });
}

#[test]
fn a_message_of_two_packets_is_skipped_and_counted_and_text_is_ignored() {
    run(async |rig| {
        let (mut peer, conn) = rig.open_web(4096).await;
        let two = [packet(1, b"a"), packet(2, b"b")].concat();
        peer.send(&binary(&two)).await.unwrap();
        peer.send(&binary(&packet(3, b"long")[..8])).await.unwrap();
        peer.send(&frame(FIN | TEXT, b"hello")).await.unwrap();
        peer.send(&binary(&[])).await.unwrap();
        peer.send(&binary(&HEARTBEAT)).await.unwrap();
        peer.send(&binary(&packet(4, b"c"))).await.unwrap();
        let beat = frame_of(&mut peer).await.unwrap();
        assert_eq!((beat.0, beat.1.get(4)), (FIN | BINARY, Some(&0x80)), "heartbeats are answered");
        assert_eq!(frame_of(&mut peer).await, Some((FIN | BINARY, packet(4, b"c"))));
        assert_eq!(rig.driver.stats.skipped.get(), 2);
        assert_eq!(*rig.echo.events.borrow(), [(conn, 4)]);
    });
}

#[test]
fn fragments_make_one_message_and_a_ping_between_them_is_answered_at_once() {
    run(async |rig| {
        let (mut peer, _) = rig.open_web(4096).await;
        let whole = packet(9, &[5; 500]);
        peer.send(&frame(BINARY, &whole[..100])).await.unwrap();
        peer.send(&frame(FIN | PING, b"are you there")).await.unwrap();
        assert_eq!(frame_of(&mut peer).await, Some((FIN | PONG, b"are you there".to_vec())));
        peer.send(&frame(CONTINUE, &whole[100..300])).await.unwrap();
        peer.send(&frame(FIN | PONG, b"unasked for")).await.unwrap();
        peer.send(&frame(FIN | CONTINUE, &whole[300..])).await.unwrap();
        assert_eq!(frame_of(&mut peer).await, Some((FIN | BINARY, whole)));
    });
}

#[test]
fn text_and_pings_are_no_sign_of_life() {
    run(async |rig| {
        let (mut peer, conn) = rig.open_web(4096).await;
        let start = rig.env.clock.now().mono;
        while !rig.driver.is_empty() {
            peer.send(&frame(FIN | TEXT, b"hello")).await.unwrap();
            peer.send(&frame(FIN | PING, b"")).await.unwrap();
            rig.env.clock.sleep(Duration::from_millis(500)).await;
        }
        assert!(rig.env.clock.now().mono - start < Duration::from_secs(22));
        peer.end().await;
        assert!(peer.seen.ends_with(&[FIN | CLOSE, 0]), "a WebSocket ends with a close frame");
        assert_eq!(rig.ended().await, [(conn, CloseReason::Idle)]);
    });
}

#[test]
fn a_close_frame_is_echoed_and_ends_the_connection() {
    run(async |rig| {
        let (mut peer, conn) = rig.open_web(4096).await;
        peer.send(&binary(&packet(1, b"x"))).await.unwrap();
        peer.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes())).await.unwrap();
        peer.send(&binary(&packet(2, b"too late"))).await.unwrap();
        assert_eq!(frame_of(&mut peer).await, Some((FIN | BINARY, packet(1, b"x"))));
        assert_eq!(frame_of(&mut peer).await, Some((FIN | CLOSE, 1000_u16.to_be_bytes().to_vec())));
        assert_eq!(frame_of(&mut peer).await, None);
        assert_eq!(rig.ended().await, [(conn, CloseReason::Gone)]);
    });
}

#[test]
fn a_graceful_close_frames_what_is_queued_and_then_says_goodbye() {
    run(async |rig| {
        let (mut peer, conn) = rig.open_web(64).await;
        (0..20).for_each(|n| assert!(rig.push(conn, n, 100)));
        rig.driver.close(conn, CloseReason::ByGame, "");
        for n in 0..20 {
            assert_eq!(frame_of(&mut peer).await, Some((FIN | BINARY, packet(n, &[1; 100]))));
        }
        assert_eq!(frame_of(&mut peer).await, Some((FIN | CLOSE, vec![])));
        assert_eq!(frame_of(&mut peer).await, None);
        assert_eq!(rig.ended().await, [(conn, CloseReason::ByGame)]);
    });
}

#[test]
fn an_oversize_message_is_refused_at_its_header_whole_or_in_fragments() {
    run(async |rig| {
        for bad in [
            binary(&[0; 1001])[..8].to_vec(),
            frame(FIN | BINARY, &[0; 70_000])[..14].to_vec(),
            [frame(BINARY, &[0; 600]), frame(FIN | CONTINUE, &[0; 600])].concat(),
        ] {
            let (mut peer, conn) = rig.open_web(4096).await;
            peer.send(&bad).await.unwrap();
            assert_eq!(frame_of(&mut peer).await, Some((FIN | CLOSE, vec![])));
            assert_eq!(frame_of(&mut peer).await, None);
            let ended = rig.ended().await;
            let [(id, CloseReason::Malformed(WireError::TooLarge { max: 1000, .. }))] = ended[..]
            else {
                panic!("{ended:?}")
            };
            assert_eq!(id, conn);
        }
    });
}

#[test]
fn broken_frames_close_the_connection() {
    run(async |rig| {
        let unmasked = [&[FIN | BINARY, 3][..], b"abc"].concat();
        for bad in [
            unmasked,
            frame(0xC0 | BINARY, b"reserved bit"),
            frame(FIN | 5, b"unknown opcode"),
            frame(FIN | CONTINUE, b"of nothing"),
            frame(FIN | TEXT, &[0xFF, 0xFE]),
            frame(FIN | PING, &[0; 126]),
        ] {
            let (mut peer, conn) = rig.open_web(4096).await;
            peer.send(&bad).await.unwrap();
            peer.end().await;
            assert_eq!(rig.ended().await, [(conn, CloseReason::Malformed(WireError::Framing))]);
        }
    });
}

#[test]
fn a_handshake_has_ten_seconds() {
    run(async |rig| {
        let (mut peer, conn) = rig.web(4096);
        let start = rig.env.clock.now().mono;
        for byte in REQUEST.as_bytes() {
            // It is not the silence that counts.
            if peer.send(&[*byte]).await.is_err() {
                break;
            }
            rig.env.clock.sleep(Duration::from_millis(100)).await;
        }
        peer.end().await;
        let took = rig.env.clock.now().mono - start;
        assert!((10..=12).contains(&took.as_secs()), "{took:?}");
        assert_eq!(rig.ended().await, [(conn, CloseReason::Handshake(HandshakeFault::TimedOut))]);
        assert!(rig.echo.opened.borrow().is_empty());
    });
}

#[test]
fn w18_another_path_gets_its_http_answer_and_the_connection_ends() {
    run(async |rig| {
        use HandshakeFault::{BadRequest, Path, TooLarge};
        for (request, status, fault) in [
            (REQUEST.replace("/game", "/debug/pprof"), "404", Path),
            (REQUEST.replace("GET", "POST"), "405", BadRequest),
            (REQUEST.replace("websocket", "h2c"), "426", BadRequest),
            ("\u{0}\r\n\r\n".to_owned(), "400", BadRequest),
            (format!("GET /game HTTP/1.1\r\nX: {}", "y".repeat(9000)), "431", TooLarge),
        ] {
            let (mut peer, conn) = rig.web(300);
            let _longer_than_it_is_read = peer.send(request.as_bytes()).await;
            let head = answer(&mut peer).await;
            assert_eq!(head.split(' ').nth(1), Some(status));
            peer.end().await;
            assert_eq!(rig.ended().await, [(conn, CloseReason::Handshake(fault))]);
        }
        assert!(rig.echo.opened.borrow().is_empty());
    });
}

#[test]
fn messages_held_in_the_middle_of_a_read_come_once_and_in_order() {
    for turn in [Turn::Hold, Turn::Yield] {
        run(async |rig| {
            let refuse = Cell::new(0_u32);
            rig.on_event(move |echo, conn, data| {
                refuse.set(refuse.get() + 1);
                match (turn, refuse.get() % 3) {
                    (Turn::Hold, 0) => Turn::Hold,
                    (Turn::Yield, 0) => {
                        echo.echo(conn, data);
                        Turn::Yield
                    }
                    _ => echo.echo(conn, data),
                }
            });
            let (mut peer, conn) = rig.open_web(64 * 1024).await;
            let blob: Vec<u8> = (0..200).flat_map(|n| binary(&packet(n, &[3; 200]))).collect();
            let cut = blob.len() - 10; // the last one stays unfinished
            peer.send(&blob[..cut]).await.unwrap();
            for n in 0..200 {
                if n == 199 {
                    peer.send(&blob[cut..]).await.unwrap();
                }
                let echo = loop {
                    if turn == Turn::Hold {
                        rig.driver.resume(conn);
                    }
                    let wait = Duration::from_millis(5);
                    if let Ok(echo) = tokio::time::timeout(wait, frame_of(&mut peer)).await {
                        break echo;
                    }
                };
                let ended = rig.ended().await;
                assert!(ended.is_empty(), "{ended:?} after {n}");
                assert_eq!(echo, Some((FIN | BINARY, packet(n, &[3; 200]))));
            }
            assert!(peer.seen.is_empty());
        });
    }
}

#[test]
fn pings_of_one_that_does_not_read_count_for_the_backlog() {
    let settings = Settings { backlog_max: 20_000, ..Settings::default() };
    Rig::with(settings, 3, async |rig| {
        let (mut peer, conn) = rig.open_web(200).await;
        let pings = frame(FIN | PING, &[9; 100]).repeat(10);
        let mut sent = 0;
        while !rig.driver.is_empty() && sent < 200_000 {
            let _closed = peer.send(&pings).await;
            sent += pings.len();
        }
        assert!(sent < 30_000, "{sent} bytes of pings");
        yield_now().await;
        assert_eq!(rig.ended().await, [(conn, CloseReason::Backlog)]);
    });
}

#[test]
fn an_idle_web_socket_holds_nothing_whatever_it_has_received() {
    run(async |rig| {
        let (mut peer, conn) = rig.open_web(64 * 1024).await;
        assert_eq!(rig.driver.buffered(conn), Some(0));
        for n in 0..20 {
            peer.send(&binary(&packet(n, &[7; 900]))).await.unwrap();
        }
        for n in 0..20 {
            assert_eq!(frame_of(&mut peer).await.unwrap().1, packet(n, &[7; 900]));
        }
        assert_eq!(rig.driver.buffered(conn), Some(0));
        let (first, rest) = (frame(BINARY, &packet(1, b"x")[..7]), &packet(1, b"x")[7..]);
        peer.send(&first).await.unwrap();
        rig.env.clock.sleep(Duration::from_millis(1)).await;
        assert!(rig.driver.buffered(conn).unwrap() > 0, "it is in the middle of a message");
        let last = frame(FIN | CONTINUE, rest);
        peer.send(&last[..3]).await.unwrap();
        rig.env.clock.sleep(Duration::from_millis(1)).await;
        peer.send(&last[3..]).await.unwrap();
        assert_eq!(frame_of(&mut peer).await.unwrap().1, packet(1, b"x"));
        let with_more = [binary(&packet(2, &[7; 900])), last[..1].to_vec()].concat();
        peer.send(&with_more).await.unwrap();
        assert_eq!(frame_of(&mut peer).await.unwrap().1, packet(2, &[7; 900]));
        rig.env.clock.sleep(Duration::from_millis(1)).await;
        assert!(rig.driver.buffered(conn).unwrap() < 16, "the beginning of a header");
    });
}

/// Counts what a client is told.
#[derive(Default)]
struct Bot {
    messages: RefCell<Vec<i32>>,
    ended: RefCell<Vec<CloseReason>>,
}

impl Service<ClientConn, ()> for Bot {
    fn on_event(&self, _: ConnId, event: ClientEvent<'_>) -> Turn {
        if let ClientEvent::Message(data) = event {
            self.messages.borrow_mut().push(data.route.0);
        }
        Turn::Go
    }
    fn on_closed(&self, _: ConnId, (): (), reason: CloseReason) {
        self.ended.borrow_mut().push(reason);
    }
}

#[test]
fn our_own_client_speaks_with_our_own_gate() {
    run(async |rig| {
        let bots = Driver::new(&rig.env);
        let bot = Rc::new(Bot::default());
        bots.start(&(Rc::clone(&bot) as Rc<dyn Service<ClientConn, ()>>));
        let mut clients = Vec::new();
        for path in ["/game", "/elsewhere"] {
            let (near, far) = pair(300, rig.sim.dice());
            let now = rig.env.clock.now();
            let link = Link::server(&Arc::new(rig.options()), now.mono);
            rig.accept(far, Transport::Ws(Box::new(link)));
            let link = Link::client("gate", path, 1000, now.mono, &rig.env.dice);
            let mut hello = Out::default();
            let machine = ClientConn::new(Arc::clone(&rig.settings), now, true, &mut hello);
            let id = bots.accept(near, Transport::Ws(Box::new(link)), machine, ());
            // What a machine has to say first waits for the handshake.
            bots.with(id, |_, out, ()| out.buffer().extend_from_slice(hello.pending()));
            clients.push(id);
        }
        rig.until(|_| bots.len() == 1 && rig.echo.opened.borrow().len() == 1).await;
        assert_eq!(
            bot.ended.take(),
            [CloseReason::Handshake(HandshakeFault::Refused)],
            "the other path was refused"
        );
        let conn = rig.echo.opened.borrow()[0];
        rig.until(|rig| rig.driver.with(conn, |m, _, _| m.is_announced()) == Some(true)).await;
        for n in 0..100 {
            assert!(bots.append(clients[0], &packet(n, &[1; 200])));
        }
        rig.until(|_| bot.messages.borrow().len() == 100).await;
        assert_eq!(bot.messages.take(), (0..100).collect::<Vec<_>>());
        rig.driver.close(conn, CloseReason::ByGame, "enough");
        rig.until(|_| bots.is_empty()).await;
        assert_eq!(bot.ended.take().len(), 1);
    });
}
