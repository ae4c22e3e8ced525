//! The generator against servers of a few lines that do what they should, or do not.
//!
//! Every server listens on a port that the system chose and ends with its connection.
use super::*;
use std::net::{TcpListener, TcpStream};
use std::thread;
use yumen::proto::extension::STATUS_FLAG;
use yumen::proto::{Outcome, Packet, StatusReply};

/// Starts a server that turns every packet read into the bytes that `answer` appends.
fn server(
    answer: impl Fn(&Layout, yumen::proto::Data<'_>, &mut Vec<u8>) + Send + Clone + 'static,
) -> Target {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::tcp(listener.local_addr().unwrap());
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let layout = layout();
                let (mut socket, mut kept): (TcpStream, Vec<u8>) = (socket, Vec::new());
                let mut buffer = vec![0; 65536];
                while let Ok(read @ 1..) = socket.read(&mut buffer) {
                    kept.extend_from_slice(&buffer[..read]);
                    let (mut bytes, mut out) = (&kept[..], Vec::new());
                    while let Ok(Some(packet)) = layout.decode(&mut bytes) {
                        if let Packet::Data(data) = packet {
                            answer(&layout, data, &mut out);
                        }
                    }
                    kept = bytes.to_vec();
                    if socket.write_all(&out).is_err() {
                        return;
                    }
                }
            });
        }
    });
    target
}

fn layout() -> Layout {
    Layout::default()
}

fn request() -> Request {
    Request {
        layout: layout(),
        route: RouteId(7),
        body: BodyCodec::Json.echo(100),
        expect: Expect::Echo,
        announce: true,
    }
}

fn echo(layout: &Layout, data: yumen::proto::Data<'_>, out: &mut Vec<u8>) {
    layout.encode_data(data.route, data.seq, data.body, out).unwrap();
}

fn measure(target: &Target, connections: usize, load: Load) -> Measured {
    let mut generator = Generator::connect(target, connections, request()).unwrap();
    // Long enough for a busy machine; only a test that loses something waits for it.
    generator.wait_max(Duration::from_secs(1));
    generator.run(load, &mut |_| ()).unwrap()
}

fn closed(messages: u64) -> Load {
    Load::Closed { depth: 4, messages }
}

#[test]
fn an_honest_server_answers_everything() {
    let measured = measure(&server(echo), 3, closed(1_000));
    assert_eq!((measured.sent, measured.received, measured.errors()), (1_000, 1_000, 0));
    assert_eq!((measured.latencies.count(), measured.closed), (1_000, 0));
    assert_eq!(measured.first_reply.unwrap(), request().body);
}

#[test]
fn a_dropped_reply_is_reported_as_lost_and_does_not_hang_the_run() {
    let target = server(|layout, data, out| {
        if data.seq != 5 {
            echo(layout, data, out);
        }
    });
    // One connection: of two, a slow one might never come to its fifth request.
    let measured = measure(&target, 1, closed(100));
    assert_eq!((measured.sent, measured.received, measured.lost), (100, 99, 1));
    assert_eq!(measured.errors(), 1);
}

#[test]
fn a_reply_given_twice_is_counted_once_and_as_a_duplicate() {
    let target = server(|layout, data, out| {
        echo(layout, data, out);
        if data.seq == 3 {
            echo(layout, data, out);
        }
    });
    let measured = measure(&target, 1, closed(50));
    assert_eq!((measured.received, measured.duplicated, measured.lost), (50, 1, 0));
}

#[test]
fn replies_that_are_not_what_was_asked_for_are_wrong() {
    let route = server(|layout, data, out| {
        layout.encode_data(RouteId(8), data.seq, data.body, out).unwrap();
    });
    assert_eq!(measure(&route, 1, closed(20)).wrong, 20);
    let length = server(|layout, data, out| {
        layout.encode_data(data.route, data.seq, &data.body[1..], out).unwrap();
    });
    assert_eq!(measure(&length, 1, closed(20)).wrong, 20);
    let content = server(|layout, data, out| {
        layout.encode_data(data.route, data.seq, &vec![b'x'; data.body.len()], out).unwrap();
    });
    assert_eq!(measure(&content, 1, closed(640)).wrong, 10, "one in 64 is compared");
}

#[test]
fn a_status_reply_is_a_refusal_and_not_a_reply() {
    let target = server(|layout, data, out| {
        let mut body = Vec::new();
        let text = "busy";
        StatusReply { code: 1001, outcome: Outcome::Rejected, retry_after_ms: 0, text }
            .encode(&mut body);
        layout.encode_flagged(STATUS_FLAG, data.route, data.seq, &body, out).unwrap();
    });
    let measured = measure(&target, 1, closed(20));
    assert_eq!((measured.refused, measured.received, measured.lost), (20, 0, 0));
}

#[test]
fn a_server_that_hangs_up_loses_what_waited_and_the_rest_is_unsent() {
    let target = server(|layout, data, out| {
        assert!(data.seq < 11, "ends this connection's thread");
        echo(layout, data, out);
    });
    let measured = measure(&target, 1, closed(100));
    assert_eq!(measured.closed, 1);
    assert_eq!(measured.received + measured.lost + measured.unsent, 100);
    assert!(measured.received <= 10 && measured.lost >= 1, "{measured:?}");
}

#[test]
fn an_open_loop_counts_from_the_intended_time_even_if_the_generator_itself_was_held_up() {
    let mut generator = Generator::connect(&server(echo), 1, request()).unwrap();
    let (rate, duration) = (NonZeroU32::new(1_000).unwrap(), Duration::from_millis(1_100));
    // The line of progress after a second takes 200 ms: a hundred requests are sent late. Their
    // replies come at once, and still each of them has waited.
    let slow = &mut |_: Progress<'_>| crate::poll::pass(Duration::from_millis(200)).unwrap();
    let measured = generator.run(Load::Open { rate, duration }, slow).unwrap();
    assert_eq!((measured.sent, measured.received, measured.errors()), (1_100, 1_100, 0));
    let latency = measured.latencies.summary();
    assert!(latency.p99_us > 50_000.0, "{latency:?}");
}

#[test]
fn a_websocket_server_that_others_wrote_understands_the_generator() {
    use std::io::ErrorKind;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target: Target = format!("ws://{}/play", listener.local_addr().unwrap()).parse().unwrap();
    let server = thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let mut seen = 0;
        loop {
            match socket.read() {
                Ok(message) if message.is_binary() => {
                    let data = message.into_data();
                    if let Packet::Data(_) = layout().decode_message(&data).unwrap() {
                        seen += 1;
                        socket.send(tungstenite::Message::Binary(data)).unwrap();
                    }
                    if seen == 100 {
                        socket.send(tungstenite::Message::Ping("still there?".into())).unwrap();
                    }
                }
                Ok(message) => assert!(message.is_pong(), "{message}"),
                Err(tungstenite::Error::Io(error))
                    if error.kind() == ErrorKind::ConnectionReset =>
                {
                    return seen;
                }
                Err(tungstenite::Error::Protocol(_)) => return seen,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let measured = measure(&target, 1, closed(300));
    assert_eq!((measured.sent, measured.received, measured.errors()), (300, 300, 0));
    assert_eq!((server.join().unwrap(), measured.closed), (300, 0));
}

#[test]
fn a_server_that_does_not_switch_to_websocket_is_named_in_the_error() {
    use std::io::Write;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target: Target = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
        socket
    });
    let error = Generator::connect(&target, 1, request()).unwrap_err();
    assert!(error.to_string().contains("403 Forbidden"), "{error}");
    drop(server.join().unwrap());
}

#[test]
fn a_silent_connection_sends_heartbeats_and_one_that_speaks_does_not() {
    use std::io::Read;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::tcp(listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        // Requests are not answered, so that the client's load lasts for its `wait_max`.
        let (mut socket, mut all) = (listener.accept().unwrap().0, Vec::new());
        socket.read_to_end(&mut all).unwrap();
        let (mut bytes, mut kinds) = (&all[..], Vec::new());
        while let Some(packet) = layout().decode(&mut bytes).unwrap() {
            kinds.push(match packet {
                Packet::Control { kind: 0, .. } | Packet::Empty => 'b',
                Packet::Control { .. } => 'a',
                Packet::Data(_) => 'd',
            });
        }
        kinds.into_iter().collect::<String>()
    });
    let mut generator = Generator::connect(&target, 1, request()).unwrap();
    generator.beat_every = Duration::from_millis(20);
    // Requests come at the pace at which the connection is looked at, or faster.
    let (rate, duration) = (NonZeroU32::new(200).unwrap(), Duration::from_millis(300));
    generator.wait_max(Duration::from_millis(1));
    generator.run(Load::Open { rate, duration }, &mut |_| ()).unwrap();
    let idle = generator.listen(Duration::from_millis(300), &mut |_| ()).unwrap();
    drop(generator);
    assert_eq!((idle.sent, idle.closed), (0, 0));
    let sent = server.join().unwrap();
    let silent = sent.trim_start_matches('a').trim_start_matches('d');
    assert!(silent.len() >= 3 && silent.chars().all(|kind| kind == 'b'), "{sent}");
}

#[test]
fn a_message_that_nobody_asked_for_is_a_push_and_no_duplicate() {
    let target = server(|layout, data, out| {
        layout.encode_data(RouteId(9), 0, b"news", out).unwrap();
        echo(layout, data, out);
        layout.encode_data(RouteId(9), 0, b"late news", out).unwrap();
    });
    let mut generator = Generator::connect(&target, 1, request()).unwrap();
    let measured = generator.run(closed(1), &mut |_| ()).unwrap();
    let mut heard = Vec::new();
    let wait = Duration::from_millis(200);
    let idle = generator.listen(wait, &mut |body| heard.push(body.to_vec())).unwrap();
    assert_eq!((measured.received, measured.errors()), (1, 0));
    // The second may come together with the reply.
    assert_eq!(measured.pushed + idle.pushed, 2);
    assert!(heard.iter().all(|body| body == b"late news"), "{heard:?}");
}

#[test]
fn a_closed_loop_for_a_time_ends_with_everything_answered() {
    let mut generator = Generator::connect(&server(echo), 2, request()).unwrap();
    let load = Load::Timed { depth: 8, duration: Duration::from_millis(200) };
    let measured = generator.run(load, &mut |_| ()).unwrap();
    assert!(measured.sent > 16 && measured.elapsed >= Duration::from_millis(150), "{measured:?}");
    assert_eq!((measured.received, measured.errors()), (measured.sent, 0));
}

#[test]
fn a_client_that_does_not_read_fills_its_server_and_does_not_wait() {
    let mut generator = Generator::connect(
        &server(echo),
        1,
        Request {
            layout: Layout { body_max: 200_000, ..layout() },
            body: vec![b'x'; 60_000],
            expect: Expect::Any,
            ..request()
        },
    )
    .unwrap();
    generator.stop_reading().unwrap();
    let (rate, duration) = (NonZeroU32::new(2_000).unwrap(), Duration::from_millis(500));
    let clock = Clock::start();
    let measured = generator.run(Load::Open { rate, duration }, &mut |_| ()).unwrap();
    // The server waits to write and so reads no more: 60 MB do not fit into any socket.
    assert_eq!((measured.received, measured.closed), (0, 0));
    assert!(measured.sent > 0 && measured.unsent > 0, "{measured:?}");
    assert!(clock.ns() < 4_000_000_000, "no wait for replies");
}
