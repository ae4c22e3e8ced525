//! What a settings file means, key by key, and what is refused.

use super::*;
use std::{path::Path, time::Duration};
use yumen_proto::{
    conn::{Heartbeat, Mechanism},
    packet::{ByteOrder, Layout, Width},
};

const SERVERS: [&str; 2] = ["network.tcp.server", "network.ws.server"];

fn parse(text: &str) -> Result<Settings, SettingsErrors> {
    Settings::parse(text, Path::new("etc/etc.toml"))
}

fn problems(text: &str) -> Vec<String> {
    parse(text).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

fn notes(text: &str) -> Vec<String> {
    parse(text).unwrap().notes.iter().map(ToString::to_string).collect()
}

/// What `text` changes, as `key = value` without the stem.
fn changes(text: &str) -> Vec<String> {
    let changes = Settings::default().changed(&parse(text).unwrap());
    let line = |change: &Change| {
        let to = change.values.as_ref().map_or("***", |(_, to)| to);
        format!("{} = {to}", &change.key[4..])
    };
    changes.iter().filter(|change| change.standing.is_some()).map(line).collect()
}

#[test]
fn an_empty_file_gives_the_defaults_of_due() {
    let settings = parse("").unwrap();
    assert!(settings.changed(&Settings::default()).is_empty());
    let layout = settings.packet.layout();
    assert_eq!(
        (layout.order, layout.route, layout.seq),
        (ByteOrder::Big, Width::Two, Some(Width::Two))
    );
    assert_eq!((layout.body_max, layout.heartbeat_time), (5000, false));
    let NetworkSettings { tcp, ws, .. } = &settings.network;
    assert_eq!((tcp.server.max_conn_num, tcp.server.addr.as_str()), (5000, ":3553"));
    let heartbeat =
        Heartbeat { interval: Duration::from_secs(10), mechanism: Mechanism::Resp, misses: 2 };
    assert_eq!((tcp.server.heartbeat(), ws.server.heartbeat()), (heartbeat, heartbeat));
    assert_eq!(tcp.server.authorize_timeout, Duration::ZERO);
    assert_eq!((ws.server.path.as_str(), ws.server.origins.join(" ")), ("/", "*".to_owned()));
    assert!(settings.notes.is_empty());
}

#[test]
fn each_form_of_a_value_is_read() {
    let rows = [
        ("packet.byteOrder = 'LITTLE'", "packet.byteOrder = \"little\""),
        ("packet.routeBytes = '4'", "packet.routeBytes = 4"),
        ("packet.seqBytes = 0", "packet.seqBytes = 0"),
        ("packet.bufferBytes = '4M'", "packet.bufferBytes = \"4M\""),
        ("packet.bufferBytes = 0", "packet.bufferBytes = 0"),
        ("packet.heartbeatTime = 'yes'", "packet.heartbeatTime = true"),
        ("packet.heartbeatTime = 1", "packet.heartbeatTime = true"),
        ("network.tcp.server.maxConnNum = '7'", "network.tcp.server.maxConnNum = 7"),
        ("network.ws.server.origins = 'a, b'", "network.ws.server.origins = [\"a\", \"b\"]"),
        ("network.ws.server.origins = []", "network.ws.server.origins = []"),
        ("etc = 1", ""),
        ("log.level = 'warn,my_game::chat=debug'", "log.level = \"warn,my_game::chat=debug\""),
        ("log.terminals = 'console'", "log.terminals = [\"console\"]"),
        (
            "log.terminals = { file = ['WARN', 'error'], console = 'info' }",
            "log.terminals = { console = [\"info\"], file = [\"warn\", \"error\"] }",
        ),
        ("cluster.gate.name = 7", "cluster.gate.name = \"7\""),
        ("mode = 'release'", "mode = \"release\""),
        (
            "yumen.admin.labels = { zone = 'eu', rack = 7 }",
            "yumen.admin.labels = { \"rack\" = \"7\", \"zone\" = \"eu\" }",
        ),
        ("yumen.admin.labels = 'zone=eu'", "yumen.admin.labels = { \"zone\" = \"eu\" }"),
        ("yumen.admin.token = 'hunter2'", "yumen.admin.token = ***"),
    ];
    for (line, expected) in rows {
        let expected: Vec<_> = [expected].into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(changes(line), expected, "{line}");
    }
}

#[test]
fn a_duration_is_a_text_or_nanoseconds_and_never_below_zero() {
    for server in SERVERS {
        for (value, shown) in [
            ("'7d'", "\"7d\""),
            ("3000000000", "\"3s\""),
            ("0", "\"0s\""),
            ("'1m30s'", "\"90s\""),
            ("'10'", "\"0s\""),
            ("7", "\"7ns\""),
            ("'-1s'", "\"0s\""),
            ("-1", "\"0s\""),
        ] {
            let key = format!("{server}.heartbeatInterval");
            assert_eq!(changes(&format!("{key} = {value}")), [format!("{key} = {shown}")]);
        }
    }
}

#[test]
fn buffer_bytes_limits_what_is_sent_and_never_lowers_what_is_accepted() {
    let limits = |line| {
        let Layout { body_max, receive_max, .. } = parse(line).unwrap().packet.layout();
        (body_max, receive_max)
    };
    assert_eq!(limits("packet.bufferBytes = 100"), (100, 65_536));
    assert_eq!(limits("packet.bufferBytes = 100000"), (100_000, 100_000));
}

#[test]
fn every_problem_is_named_with_file_and_key_and_all_at_once() {
    let text = "mode = 'prod'\n[packet]\nrouteBytes = 3\nseqBytes = -1\nbufferBytes = -5\n\
        byteOder = 'big'\n\
        [network.tcp.server]\nmaxConnNum = 'many'\nheartbeatInterval = 1.5\ncertFile = []\n\
        addr = '3553'\n\
        [network.ws.server]\npath = ''\norigins = 1\nkeyFile = []\nheartbeat = 1\n\
        [cluster.gate]\ndispatch = 'randum'\n[yumen.gate]\ninstances = 0\n\
        [log]\nlevel = 'inf'\nterminals = ['consol']\n";
    let expected = [
        ("mode", "is \"prod\"; it must be debug, test or release"),
        ("cluster.gate.dispatch", "did you mean \"random\"?"),
        ("network.tcp.server.addr", "host:port"),
        ("network.tcp.server.maxConnNum", "is \"many\""),
        ("network.tcp.server.heartbeatInterval", "is 1.5"),
        ("network.tcp.server.certFile", "is []; it must be a text"),
        ("network.ws.server.path", "it must begin with '/'"),
        ("network.ws.server.origins", "is 1; it must be a list of texts"),
        ("network.ws.server.keyFile", "is []; it must be"),
        ("packet.routeBytes", "is 3; it must be 1, 2 or 4"),
        ("packet.seqBytes", "is -1; it must be 0, 1, 2 or 4"),
        ("packet.bufferBytes", "is -5; it must be a number of bytes"),
        ("log.level", "did you mean \"info\"?"),
        ("log.terminals", "is [\"consol\"]; it must be a list of console and file"),
        ("yumen.gate.instances", "is 0; it must be 1 to 256"),
        ("network.ws.server.heartbeat", "unknown key; [network.ws.server] has addr, path"),
        ("packet.byteOder", "unknown key; did you mean byteOrder?"),
    ];
    let errors = parse(text).unwrap_err();
    assert_eq!(errors.problems.len(), expected.len(), "{errors}");
    for (problem, (key, part)) in errors.problems.iter().zip(expected) {
        assert_eq!(problem.key, key);
        assert!(problem.what.contains(part), "{part}: {problem}");
    }
    assert!(errors.to_string().starts_with("etc/etc.toml: mode: "), "{errors}");
}

#[test]
fn what_a_builder_would_refuse_is_refused_in_the_file() {
    for (line, part) in [
        ("cluster.node.weight = 1001", "1 to 1000"),
        ("cluster.node.name = ''", "must not be empty"),
        ("cluster.gate.id = 'a/b'", "must not have '/'"),
        ("yumen.node.inboxMax = 4095", "at least 4K"),
        ("yumen.gate.instances = 257", "1 to 256"),
    ] {
        let said = problems(line);
        assert!(said.len() == 1 && said[0].contains(part), "{said:?}");
    }
    assert!(parse("cluster.gate.id = ''").is_ok());
}

#[test]
fn a_section_that_is_no_table_is_said_once() {
    assert_eq!(problems("packet = 1"), ["etc/etc.toml: packet: is 1; it must be a table"]);
    assert_eq!(problems("network = 'x'").len(), 1);
    assert_eq!(problems("[network]\ntcp = []").len(), 1);
    assert_eq!(problems("[network.ws]\nserver = true").len(), 1);
}

#[test]
fn what_has_no_effect_is_noted_once_for_all_its_keys() {
    let text = "network.tcp.server.writeTimeout = '3s'\nnetwork.ws.server.writeQueueSize = 1\n\
        network.tcp.server.writeQueueSize = 512";
    let why = "no effect: what waits for a client is bounded in bytes, and in time without one";
    let keys = "network.tcp.server.writeTimeout, network.ws.server.writeQueueSize";
    assert_eq!(notes(text), [format!("etc/etc.toml: {keys}: {why}")], "512 is the default");
    for line in [
        "packet.byteOrder = 'middle'",
        "packet.heartbeatTime = 'No'",
        "network.tcp.server.handshakeTimeout = '3s'",
        "network.tcp.server.heartbeatInterval = '10'",
        "network.tcp.server.heartbeatInterval = 10",
        "network.tcp.server.heartbeatMechanism = 'Tick'",
        "network.tcp.server.maxConnNum = 0",
        "cluster.mesh.expose = false",
    ] {
        let notes = notes(line);
        let (key, _) = line.split_once(' ').unwrap();
        assert_eq!(notes.len(), 1, "{line}: {notes:?}");
        assert!(notes[0].starts_with(&format!("etc/etc.toml: {key}: ")), "{notes:?}");
    }
}

#[test]
fn a_key_in_a_table_that_is_not_its_own_is_told_where_it_belongs() {
    let said = problems("[cluster.gate]\nmaxConnNum = 7\nbufferBytes = 1");
    assert!(said[0].ends_with("unknown key here; it belongs in [packet]"), "{said:?}");
    let tables = "[network.tcp.server] or [network.ws.server] or [network.kcp.server]";
    assert!(said[1].ends_with(&format!("it belongs in {tables}")), "{said:?}");
}

#[test]
fn terminals_where_lines_do_not_go_yet_are_noted() {
    let noted = notes("log.terminals = ['console', 'aliyun']");
    assert!(noted[0].contains("log.terminals: aliyun: not honoured yet"), "{noted:?}");
}

#[test]
fn keys_of_tls_may_be_empty() {
    for server in SERVERS {
        assert!(notes(&format!("[{server}]\ncertFile = ''\nkeyFile = ''")).is_empty());
    }
}

#[test]
fn other_tables_are_the_users_and_a_slip_of_the_pen_is_noted() {
    assert!(notes("answer = 42\n[game]\nmaxPlayers = 7\n[[levels]]\nname = 'x'").is_empty());
    let noted = notes("[netwrok.tcp.server]\naddr = ':1'");
    assert!(noted[0].ends_with("did you mean network?"), "{noted:?}");
    let noted = notes("routeBytes = 4");
    assert!(noted[0].ends_with("Yumen's is in [packet]"), "{noted:?}");
    assert!(notes("name = 'x'\nmaxConnNum = 7").is_empty());
}

#[test]
fn a_file_that_does_not_parse_is_refused_and_not_skipped() {
    let errors = parse("[packet]\nrouteBytes = \n").unwrap_err();
    assert_eq!(errors.problems.len(), 1);
    let text = errors.to_string();
    assert!(text.contains("etc/etc.toml") && text.contains("line 2"), "{text}");
    assert_eq!(problems("[packet]\nseqBytes = 1\nseqBytes = 2").len(), 1);
}
