//! W-02: a mesh of due's delivers to our node. Due's own nodes take nothing from one, and tell nobody.

use crate::{
    foreign::{Client, Server, payload, route, seq},
    ours::Ours,
    recording,
    redis::Redis,
};
use yumen::proto::link::Kind;
use yumen_due_peer::node;

/// A handshake of that kind and id.
fn handshake(kind: u8, id: &str) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 11 + u8::try_from(id.len()).unwrap(), 0, 1];
    frame.extend_from_slice(&1_u64.to_be_bytes());
    frame.push(kind);
    frame.extend_from_slice(id.as_bytes());
    frame
}

/// A delivery of nobody's packet to a route.
fn deliver(number: u64, to: i32, body: &str) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 0, 0, 15];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&[0; 16]);
    frame.extend_from_slice(&u32::try_from(9 + body.len()).unwrap().to_be_bytes());
    frame.push(0);
    frame.extend_from_slice(&to.to_be_bytes());
    frame.extend_from_slice(&0_i32.to_be_bytes());
    frame.extend_from_slice(body.as_bytes());
    let size = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

#[test]
fn w02_what_a_mesh_of_dues_delivers_is_carried_out_and_answered() {
    let redis = Redis::start();
    let gate = Server::listen();
    let ours = Ours::start(redis.locator(), |cluster, settings| {
        yumen::prelude::App::default().with(node(cluster, settings).unwrap())
    });
    ours.joins(recording::record("gate-1", gate.addr));
    let (_, listens) = ours.record(Kind::Node);
    redis.connect().bind_gate(1002);
    let mesh = Client::dial(listens, &handshake(3, "mesh-1"));
    for number in 1..=5 {
        let conn = usize::try_from(number).unwrap() - 1;
        let body = format!(r#"{{"uid":1002,"m":"{number}"}}"#);
        mesh.say(conn, &deliver(number + 10, 4, &body));
        let answer = mesh.next();
        assert_eq!((answer.conn, seq(&answer.bytes)), (conn, number + 10));
        assert_eq!((route(&answer.bytes), payload(&answer.bytes)), (15, &[0, 0][..]));
        let push = gate.next();
        assert_eq!((route(&push.bytes), seq(&push.bytes) == 0), (8, false));
        assert!(push.bytes.ends_with(body.as_bytes()), "{push:?}");
        let mut done = push.bytes[..14].to_vec();
        done[3] = 12;
        done.extend_from_slice(&[0, 0]);
        gate.answer(push.conn, &done);
    }
    // A packet that is none is answered too.
    let mut broken = deliver(99, 4, "");
    broken.truncate(31);
    broken[3] = 27;
    mesh.say(0, &broken);
    let answer = mesh.next();
    assert_eq!((seq(&answer.bytes), payload(&answer.bytes)), (99, &[0, 2][..]));
    mesh.leave();
    ours.stop();
}
