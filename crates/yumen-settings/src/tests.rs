//! What a settings file means, key by key, and what is refused.

use super::*;
use std::time::Duration;
use yumen_proto::{
    conn::{Heartbeat, Mechanism},
    packet::{ByteOrder, Layout, Width},
};

const SECTIONS: [&str; 2] = ["network.tcp.server", "network.ws.server"];

fn parse(text: &str) -> Result<Settings, SettingsErrors> {
    let settings = Settings::parse(text, Path::new("etc/etc.toml"))?;
    Ok(Settings { tree: Tree::default(), ..settings })
}

fn packet(line: &str) -> PacketSettings {
    parse(&format!("[packet]\n{line}")).unwrap().packet
}

fn tcp(line: &str) -> TcpServerSettings {
    parse(&format!("[network.tcp.server]\n{line}")).unwrap().tcp
}

fn ws(line: &str) -> WsServerSettings {
    parse(&format!("[network.ws.server]\n{line}")).unwrap().ws
}

fn problems(text: &str) -> Vec<String> {
    parse(text).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

fn heartbeat(interval: Duration, mechanism: Mechanism) -> Heartbeat {
    Heartbeat { interval, mechanism, misses: 2 }
}

#[test]
fn an_empty_file_gives_the_defaults_of_due() {
    let settings = parse("").unwrap();
    assert_eq!(settings, Settings::default());
    let layout = settings.packet.layout();
    assert_eq!(
        (layout.order, layout.route, layout.seq),
        (ByteOrder::Big, Width::Two, Some(Width::Two))
    );
    assert_eq!((layout.body_max, layout.heartbeat_time), (5000, false));
    assert_eq!(settings.tcp.connections_max, 5000);
    assert_eq!(settings.tcp.heartbeat, heartbeat(Duration::from_secs(10), Mechanism::Resp));
    assert_eq!(settings.tcp.heartbeat.idle_max(), Some(Duration::from_secs(20)));
    assert_eq!((settings.tcp.addr, settings.tcp.login_max), (None, Duration::ZERO));
    assert_eq!((settings.ws.path.as_str(), settings.ws.origins), ("/", vec!["*".to_owned()]));
    assert!(settings.notes.is_empty());
}

#[test]
fn each_packet_key_is_read() {
    let default = PacketSettings::default();
    let rows: [(&str, PacketSettings); 14] = [
        ("byteOrder = 'little'", PacketSettings { order: ByteOrder::Little, ..default }),
        ("byteOrder = 'LITTLE'", PacketSettings { order: ByteOrder::Little, ..default }),
        ("byteOrder = 'middle'", default),
        ("routeBytes = 1", PacketSettings { route: Width::One, ..default }),
        ("routeBytes = 4", PacketSettings { route: Width::Four, ..default }),
        ("routeBytes = '4'", PacketSettings { route: Width::Four, ..default }),
        ("seqBytes = 0", PacketSettings { seq: None, ..default }),
        ("seqBytes = 1", PacketSettings { seq: Some(Width::One), ..default }),
        ("seqBytes = 4", PacketSettings { seq: Some(Width::Four), ..default }),
        ("bufferBytes = 100000", PacketSettings { body_max: 100_000, ..default }),
        ("bufferBytes = '4M'", PacketSettings { body_max: 4 * 1024 * 1024, ..default }),
        ("bufferBytes = 0", PacketSettings { body_max: 0, ..default }),
        ("heartbeatTime = true", PacketSettings { heartbeat_time: true, ..default }),
        ("heartbeatTime = 'false'", default),
    ];
    for (line, expected) in rows {
        assert_eq!(packet(line), expected, "{line}");
    }
}

#[test]
fn buffer_bytes_limits_what_is_sent_and_never_lowers_what_is_accepted() {
    let limits = |line| {
        let Layout { body_max, receive_max, .. } = packet(line).layout();
        (body_max, receive_max)
    };
    assert_eq!(limits("bufferBytes = 100"), (100, 65_536));
    assert_eq!(limits("bufferBytes = 100000"), (100_000, 100_000));
}

#[test]
fn each_key_that_both_listeners_have_is_read() {
    let default = TcpServerSettings::default();
    let off = Heartbeat { interval: Duration::ZERO, ..default.heartbeat };
    let after = |seconds| Heartbeat { interval: Duration::from_secs(seconds), ..default.heartbeat };
    let tick = Heartbeat { mechanism: Mechanism::Tick, ..default.heartbeat };
    let rows: [(&str, TcpServerSettings); 14] = [
        ("addr = ':1'", TcpServerSettings { addr: Some(":1".to_owned()), ..default.clone() }),
        ("maxConnNum = 7", TcpServerSettings { connections_max: 7, ..default.clone() }),
        ("maxConnNum = '7'", TcpServerSettings { connections_max: 7, ..default.clone() }),
        ("maxConnNum = 0", default.clone()),
        ("maxConnNum = -1", default.clone()),
        (
            "heartbeatInterval = '7d'",
            TcpServerSettings { heartbeat: after(604_800), ..default.clone() },
        ),
        (
            "heartbeatInterval = 3000000000",
            TcpServerSettings { heartbeat: after(3), ..default.clone() },
        ),
        ("heartbeatInterval = 0", TcpServerSettings { heartbeat: off, ..default.clone() }),
        ("heartbeatInterval = '10'", TcpServerSettings { heartbeat: off, ..default.clone() }),
        ("heartbeatInterval = '-1s'", TcpServerSettings { heartbeat: off, ..default.clone() }),
        ("heartbeatInterval = -1", TcpServerSettings { heartbeat: off, ..default.clone() }),
        ("heartbeatMechanism = 'tick'", TcpServerSettings { heartbeat: tick, ..default.clone() }),
        ("heartbeatMechanism = 'tock'", default.clone()),
        (
            "authorizeTimeout = '1m30s'",
            TcpServerSettings { login_max: Duration::from_secs(90), ..default.clone() },
        ),
    ];
    for (line, expected) in rows {
        assert_eq!(tcp(line), expected, "{line}");
        let TcpServerSettings { addr, connections_max, heartbeat, login_max } = expected;
        let expected = WsServerSettings {
            addr,
            connections_max,
            heartbeat,
            login_max,
            ..WsServerSettings::default()
        };
        assert_eq!(ws(line), expected, "{line}");
    }
}

#[test]
fn each_key_that_only_ws_has_is_read() {
    assert_eq!(ws("path = '/game/'").path, "/game/");
    assert_eq!(ws("origins = ['https://a', 'https://b']").origins, ["https://a", "https://b"]);
    assert!(ws("origins = []").origins.is_empty());
    assert_eq!(problems("[network.ws.server]\npath = 'game'").len(), 1);
    let unknown = problems("[network.tcp.server]\npath = '/'\norigins = []");
    assert_eq!(unknown.len(), 2, "{unknown:?}");
}

#[test]
fn every_problem_is_named_with_file_and_key_and_all_at_once() {
    let text = "[packet]\nrouteBytes = 3\nseqBytes = -1\nbufferBytes = -5\nbyteOder = 'big'\n\
        [network.tcp.server]\nmaxConnNum = 'many'\nheartbeatInterval = 1.5\ncertFile = 'a.pem'\n\
        [network.ws.server]\npath = ''\norigins = 'all'\nkeyFile = 'a.key'\nheartbeat = 1\n";
    let expected = [
        ("packet.routeBytes", "3"),
        ("packet.seqBytes", "-1"),
        ("packet.bufferBytes", "-5"),
        ("packet.byteOder", "unknown key"),
        ("network.tcp.server.maxConnNum", "\"many\""),
        ("network.tcp.server.heartbeatInterval", "1.5"),
        ("network.tcp.server.certFile", "TLS"),
        ("network.ws.server.path", "'/'"),
        ("network.ws.server.origins", "\"all\""),
        ("network.ws.server.keyFile", "TLS"),
        ("network.ws.server.heartbeat", "unknown key"),
    ];
    let errors = parse(text).unwrap_err();
    assert_eq!(errors.problems.len(), expected.len(), "{errors}");
    for (problem, (key, part)) in errors.problems.iter().zip(expected) {
        let file = Origin::File(Path::new("etc/etc.toml").into());
        assert_eq!((problem.origin.as_ref(), problem.key.as_str()), (Some(&file), key));
        assert!(problem.what.contains(part), "{part}: {problem}");
    }
    let text = errors.to_string();
    assert_eq!(text.lines().count(), expected.len());
    assert!(text.starts_with("etc/etc.toml: packet.routeBytes: "), "{text}");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_for_every_key() {
    let packet = ["byteOrder", "routeBytes", "seqBytes", "bufferBytes", "heartbeatTime"];
    for key in packet {
        for value in ["[1]", "1.5", "{ a = 1 }"] {
            let text = format!("[packet]\n{key} = {value}");
            assert_eq!(problems(&text).len(), 1, "{text}");
        }
    }
    let server =
        ["addr", "maxConnNum", "heartbeatInterval", "heartbeatMechanism", "authorizeTimeout"];
    for (section, key) in SECTIONS.iter().flat_map(|section| server.map(|key| (section, key))) {
        for value in ["[1]", "true", "1.5"] {
            let text = format!("[{section}]\n{key} = {value}");
            assert_eq!(problems(&text).len(), 1, "{text}");
        }
    }
    assert_eq!(problems("[network.ws.server]\npath = 1\norigins = [1]").len(), 2);
    assert_eq!(problems("[packet]\nbufferBytes = '4 tons'").len(), 1);
    assert_eq!(problems("[packet]\nbufferBytes = '2G'").len(), 1);
}

#[test]
fn a_section_that_is_no_table_is_said_once() {
    assert_eq!(problems("packet = 1"), ["etc/etc.toml: packet: is 1; it must be a table"]);
    assert_eq!(problems("network = 'x'").len(), 1);
    assert_eq!(problems("[network]\ntcp = []").len(), 1);
    assert_eq!(problems("[network.ws]\nserver = true").len(), 1);
}

#[test]
fn what_is_accepted_without_effect_is_noted() {
    for section in SECTIONS {
        for line in [
            "writeTimeout = '3s'",
            "writeQueueSize = 512",
            "handshakeTimeout = '3s'",
            "heartbeatInterval = '10'",
            "authorizeTimeout = 'soon'",
            "heartbeatMechanism = 'Tick'",
            "maxConnNum = 0",
        ] {
            let notes = parse(&format!("[{section}]\n{line}")).unwrap().notes;
            let (key, _) = line.split_once(' ').unwrap();
            assert_eq!(notes.len(), 1, "{line}: {notes:?}");
            assert!(
                notes[0].to_string().starts_with(&format!("etc/etc.toml: {section}.{key}: ")),
                "{notes:?}"
            );
        }
    }
    assert_eq!(parse("[packet]\nbyteOrder = 'middle'").unwrap().notes.len(), 1);
}

#[test]
fn keys_of_tls_may_be_empty() {
    for section in SECTIONS {
        let text = format!("[{section}]\ncertFile = ''\nkeyFile = ''");
        assert_eq!(parse(&text), Ok(Settings::default()));
    }
}

#[test]
fn tables_of_others_are_left_alone() {
    let text = "pid = ''\n[cluster.gate]\nid = 'g'\n[network.tcp.client]\naddr = 'x'\n\
        [network.kcp.server]\nmtu = 1400\n[log]\nlevel = 'info'";
    assert_eq!(parse(text), Ok(Settings::default()));
}

#[test]
fn a_file_that_does_not_parse_is_refused_and_not_skipped() {
    let errors = parse("[packet]\nrouteBytes = \n").unwrap_err();
    assert_eq!(errors.problems.len(), 1);
    let text = errors.to_string();
    assert!(text.contains("etc/etc.toml") && text.contains("line 2"), "{text}");
    assert_eq!(problems("[packet]\nseqBytes = 1\nseqBytes = 2").len(), 1);
}
