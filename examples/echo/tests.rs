//! The echo server end to end, with and without settings, and the shipped settings.

use super::*;
use crate::client::{Server, connect, connect_ws, free_ports, over_tcp, over_ws, packet};
use clap::CommandFactory;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

const MESSAGE: &str = r#"{"message":"hello"}"#;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc").join(name)
}

fn parse(text: &str) -> Settings {
    Settings::parse(text, Path::new("etc.toml")).unwrap()
}

fn start(settings: &Settings) -> Server {
    let free = Some("127.0.0.1:0".to_owned());
    let arguments = Arguments { tcp: free.clone(), ws: free };
    Server::start(server(&arguments, settings).unwrap())
}

/// One round trip on each listener.
fn try_both(settings: &Settings, widths: (usize, usize), body: &str) {
    let server = start(settings);
    let echoed = packet(widths, 1, 9, body);
    over_tcp(&mut connect(server.tcp), &echoed, std::slice::from_ref(&echoed));
    let (mut socket, _) = connect_ws(server.ws, &settings.network.ws.server.path).unwrap();
    over_ws(&mut socket, &echoed, std::slice::from_ref(&echoed));
    server.stop();
}

#[test]
fn a_message_comes_back_over_tcp_and_ws() {
    try_both(&Settings::default(), (2, 2), MESSAGE);
}

#[test]
fn the_widths_of_the_settings_are_on_the_wire() {
    try_both(&parse("[packet]\nrouteBytes = 1\nseqBytes = 0"), (1, 0), MESSAGE);
    try_both(&parse("[packet]\nrouteBytes = 4\nseqBytes = 1"), (4, 1), MESSAGE);
}

#[test]
fn the_bench_settings_carry_large_messages_and_no_heartbeats() {
    let settings = Settings::read(shipped("bench")).unwrap();
    assert!(settings.notes.is_empty());
    for heartbeat in
        [settings.network.tcp.server.heartbeat(), settings.network.ws.server.heartbeat()]
    {
        assert_eq!(heartbeat.idle_max(), None);
    }
    try_both(&settings, (4, 4), &format!(r#"{{"message":"{}"}}"#, "x".repeat(99_000)));
}

#[test]
fn a_message_of_megabytes_comes_back_where_the_settings_allow_it() {
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(3 << 20));
    try_both(&parse("[packet]\nbufferBytes = '4M'"), (2, 2), &body);
}

#[test]
fn the_path_of_the_settings_is_the_only_one_served() {
    let settings = parse("[network.ws.server]\npath = '/game'");
    try_both(&settings, (2, 2), MESSAGE);
    let server = start(&settings);
    let refused = connect_ws(server.ws, "/other").map(|_| ()).unwrap_err();
    assert!(refused.contains("404"), "{refused}");
    server.stop();
}

#[test]
fn connections_beyond_the_settings_are_closed() {
    let server = start(&parse("[network.tcp.server]\nmaxConnNum = 1"));
    let echoed = packet((2, 2), 1, 1, MESSAGE);
    let mut first = connect(server.tcp);
    over_tcp(&mut first, &echoed, std::slice::from_ref(&echoed));
    // Closed before a byte was read, which the system may report as a reset.
    assert!(matches!(connect(server.tcp).read(&mut [0; 1]), Ok(0) | Err(_)));
    over_tcp(&mut first, &echoed, std::slice::from_ref(&echoed));
    server.stop();
}

#[test]
fn the_default_settings_say_what_an_empty_file_means() {
    let settings = Settings::read(shipped("default")).unwrap();
    let changes = Settings::default().changed(&settings);
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    let addresses = [
        r#"etc.network.tcp.server.addr from ":3553" to "127.0.0.1:3553""#,
        r#"etc.network.ws.server.addr from ":3553" to "127.0.0.1:3653""#,
    ];
    assert_eq!(changes, addresses);
    let text = std::fs::read_to_string(shipped("default").join("etc.toml")).unwrap();
    for key in [
        "byteOrder",
        "routeBytes",
        "seqBytes",
        "bufferBytes",
        "heartbeatTime",
        "addr",
        "path",
        "origins",
        "maxConnNum",
        "heartbeatInterval",
        "heartbeatMechanism",
        "authorizeTimeout",
        "writeTimeout",
        "writeQueueSize",
        "certFile",
        "keyFile",
    ] {
        assert!(text.contains(&format!("{key} = ")), "{key}");
    }
}

#[test]
fn the_settings_choose_the_addresses_where_the_command_line_does_not() {
    let server = Server::start(server(&Arguments::default(), &free_ports()).unwrap());
    let echoed = packet((2, 2), 1, 1, MESSAGE);
    over_tcp(&mut connect(server.tcp), &echoed, std::slice::from_ref(&echoed));
    server.stop();
}

#[test]
fn the_command_line_wins_over_the_file() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let file = format!(
        "[network.tcp.server]\naddr = '256.0.0.1:1'\n[network.ws.server]\naddr = '{taken}'"
    );
    let free = Some("127.0.0.1:0".to_owned());
    let arguments = Arguments { tcp: free, ..Arguments::default() };
    let error = server(&arguments, &parse(&file)).unwrap_err();
    assert!(error.to_string().contains(&taken), "{error}");
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn the_line_to_try_fits_the_settings() {
    let (tcp, ws) = ("0.0.0.0:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
    let lines = introduction(tcp, ws, &Settings::default());
    assert!(lines.contains("tcp 0.0.0.0:1 and ws://127.0.0.1:2/ "), "{lines}");
    let line = "bench echo --connect 127.0.0.1:1 --route-bytes 2 --seq-bytes 2";
    assert!(lines.ends_with(line), "{lines}");
    let text = "[packet]\nbyteOrder = 'little'\nrouteBytes = 4\nseqBytes = 0\nbufferBytes = 500";
    let lines = introduction(tcp, ws, &parse(text));
    let line = "--route-bytes 4 --seq-bytes 0 --byte-order little --size 486";
    assert!(lines.ends_with(line), "{lines}");
}

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
}
