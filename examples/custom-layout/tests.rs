//! The layout on the wire, and what becomes of clients that have another one.

use super::{DOUBLE, layout, server};
use crate::client::{Server, connect, connect_ws, free_ports, over_tcp, over_ws, packet};
use std::{io::Read, io::Write, time::Duration};
use yumen::{
    client::{Clients, Plain},
    prelude::*,
};

/// A packet as a client in another language writes it: four bytes each, the lowest first.
fn little(route: i32, seq: Option<i32>, body: &str) -> Vec<u8> {
    let seq = seq.map_or(vec![], |seq| seq.to_le_bytes().to_vec());
    let rest = [&[0], &route.to_le_bytes()[..], &seq, body.as_bytes()].concat();
    [&u32::try_from(rest.len()).unwrap().to_le_bytes()[..], &rest].concat()
}

fn start(layout: Layout) -> Server {
    Server::start(server(&free_ports(), layout).unwrap())
}

#[test]
fn four_bytes_of_route_and_seq_travel_little_endian_over_tcp_and_ws() {
    let server = start(layout());
    let (ask, answer) = (little(DOUBLE, Some(70_000), "21"), [little(DOUBLE, Some(70_000), "42")]);
    over_tcp(&mut connect(server.tcp), &ask, &answer);
    over_ws(&mut connect_ws(server.ws, "/").unwrap().0, &ask, &answer);
    server.stop();
}

#[test]
fn a_layout_without_sequence_numbers_has_no_bytes_for_them() {
    let server = start(Layout { seq: None, ..layout() });
    over_tcp(&mut connect(server.tcp), &little(DOUBLE, None, "21"), &[little(DOUBLE, None, "42")]);
    server.stop();
}

#[test]
fn a_client_with_the_same_layout_gets_answers_and_refusals() {
    let server = start(layout());
    let clients = Clients::builder().layout(layout()).call_max(Duration::from_secs(60));
    let address = server.tcp.to_string();
    let (answer, refusal) = clients
        .run(async |clients| {
            let client = clients.connect(&address).await.unwrap();
            (
                client.call::<_, i32>(DOUBLE, &21).await,
                client.call::<_, i32>(DOUBLE, &i32::MAX).await,
            )
        })
        .unwrap();
    assert_eq!(answer.unwrap(), 42);
    let refusal = refusal.unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.message()),
        (Code::INVALID_ARGUMENT, "too large to be doubled")
    );
    server.stop();
}

#[test]
fn a_client_of_another_byte_order_is_closed_and_counted_and_the_others_play_on() {
    let built = server(&free_ports(), layout()).unwrap();
    let gate = built.0.handle();
    let server = Server::start(built);
    let mut good = connect(server.tcp);
    // Read the other way round, its size is hundreds of megabytes: nothing behind can be read.
    let mut wrong = connect(server.tcp);
    wrong.write_all(&packet((2, 2), 1, 1, "21")).unwrap();
    let mut rest = Vec::new();
    drop(wrong.read_to_end(&mut rest));
    assert!(rest.is_empty(), "{rest:?}");
    over_tcp(&mut good, &little(DOUBLE, Some(1), "1"), &[little(DOUBLE, Some(1), "2")]);
    let stats = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stats = stats.block_on(gate.stats());
    assert_eq!((stats.closed_oversize, stats.wrong_layout), (1, 1), "{stats:?}");
    server.stop();
}

#[test]
fn a_client_with_narrower_fields_is_told_both_layouts_in_its_own() {
    let server = start(layout());
    let narrow = Layout { route: Width::Two, seq: Some(Width::Two), ..layout() };
    let address = server.tcp.to_string();
    for body in [&b"21"[..], br#"{"name":"Ann"}"#] {
        let max = Duration::from_secs(60);
        let clients = Clients::builder().layout(narrow).codec(Plain).call_max(max);
        let refused = clients.run(async |clients| {
            let client = clients.connect(&address).await.unwrap();
            client.call_raw(1, body).await
        });
        let status = refused.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::UNROUTABLE, "{status}");
        for widths in ["routeBytes = 4, packet.seqBytes = 4", "routeBytes = 2, packet.seqBytes = 2"]
        {
            assert!(status.to_string().contains(widths), "{status}");
        }
    }
    server.stop();
}

#[test]
fn a_route_that_does_not_fit_the_layout_is_refused_before_anything_starts() {
    let narrow = Layout { route: Width::Two, ..layout() };
    let refused = server(&free_ports(), narrow).unwrap_err();
    assert!(refused.to_string().contains("route 1000000 does not fit the layout"), "{refused}");
}
