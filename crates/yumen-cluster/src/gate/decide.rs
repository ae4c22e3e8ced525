//! What a gate is to be: what code says, else what the settings say, else the default.
//!
//! The one place that knows which setting belongs to which method of the builder. It binds nothing.

use super::{
    Dispatch, DuplicateLogin, fresh_id,
    listen::{Heard, Listen, Tcp},
    plan::Limit,
};
use crate::instance::check_common;
use std::{collections::BTreeMap, time::Duration};
use yumen_net::alive::Alive;
use yumen_proto::{
    conn::{self, Heartbeat},
    packet::Layout,
};
use yumen_settings::Settings;

/// What code has said.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) instances: Option<u16>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) layout: Option<Layout>,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) login_max: Option<Duration>,
    pub(super) backlog_max: Option<usize>,
    pub(super) write_stall_max: Option<Duration>,
    pub(super) dispatch: Option<Dispatch>,
    pub(super) duplicate_login: Option<DuplicateLogin>,
    pub(super) in_flight_max: Option<u32>,
    pub(super) messages_per_second_max: Option<u32>,
    pub(super) buffers_max: Option<usize>,
    pub(super) alive: Option<Alive>,
    pub(super) drain_max: Option<Duration>,
    pub(super) closes_per_second_max: Option<u32>,
}

/// Everything decided, and not checked.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) instances: u16,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) listens: Vec<Heard>,
    pub(super) dispatch: Dispatch,
    pub(super) duplicate_login: DuplicateLogin,
    pub(super) in_flight_max: u32,
    pub(super) messages_per_second_max: Limit<u32>,
    pub(super) buffers_max: usize,
    pub(super) alive: Alive,
    pub(super) drain_max: Duration,
    pub(super) closes_per_second_max: u32,
}

impl Decided {
    pub(super) fn new(code: Code, mut listens: Vec<Listen>, written: Option<&Settings>) -> Self {
        if let (true, Some(written)) = (listens.is_empty(), written) {
            listens.push(Tcp::default_on(&written.network.tcp.server.addr).into());
        }
        let connection = code.connection(written);
        let listens = listens.into_iter().map(|listen| listen.hear(&code, &connection, written));
        let listens = listens.collect();
        let gate = written.map(|written| &written.cluster.gate);
        let own = written.map(|written| &written.yumen.gate);
        let id = code.id.or_else(|| gate.map(|gate| gate.id.clone()).filter(|id| !id.is_empty()));
        let name = code.name.or_else(|| gate.map(|gate| gate.name.clone()));
        let name = name.unwrap_or_else(|| "gate".to_owned());
        let mut metadata = gate.map(|gate| gate.metadata.clone()).unwrap_or_default();
        metadata.extend(code.metadata);
        let in_flight = own.map(|own| u32::try_from(own.in_flight_max.0).unwrap_or(u32::MAX));
        let rate = own.map(|own| own.messages_per_second_max);
        let alive =
            own.map(|own| Alive { ask_after: own.keep_alive, silent_max: own.user_timeout });
        let buffers_max = own.map(|own| own.buffers_max.len());
        let drain_max = written.map(drain_max);
        let closes = own.map(|own| own.closes_per_second_max);
        Self {
            id: id.unwrap_or_else(|| fresh_id(&name)),
            name,
            instances: code.instances.or_else(|| Some(own?.instances)).unwrap_or(1),
            metadata,
            listens,
            dispatch: code
                .dispatch
                .or_else(|| gate.map(|gate| dispatch(&gate.dispatch)))
                .unwrap_or_default(),
            duplicate_login: code
                .duplicate_login
                .or_else(|| own.map(|own| duplicate_login(&own.duplicate_login)))
                .unwrap_or_default(),
            in_flight_max: code.in_flight_max.or(in_flight).unwrap_or(256 * 1024),
            messages_per_second_max: Limit::new(code.messages_per_second_max, rate, 0),
            alive: code.alive.or(alive).unwrap_or_default(),
            buffers_max: code.buffers_max.or(buffers_max).unwrap_or(16 * 1024 * 1024),
            drain_max: code.drain_max.or(drain_max).unwrap_or(Duration::from_secs(10)),
            closes_per_second_max: code.closes_per_second_max.or(closes).unwrap_or(1_000),
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        check_common(&self.id, &self.name, self.instances, &mut problems);
        if self.listens.is_empty() {
            problems.push("no listener: add `.listen(Tcp::on(\"0.0.0.0:3553\"))`".to_owned());
        }
        let listens = self.listens.iter();
        problems.extend(listens.flat_map(|listen| listen.proxies.problems.iter().cloned()));
        if !self.alive.is_sound() {
            problems.push(
                "a client would be given up before it is asked whether it is there: yumen.gate.keepAlive \
                 (or `.alive(…)`) has to be less than yumen.gate.userTimeout"
                    .to_owned(),
            );
        }
        problems.extend(self.listens.iter().flat_map(|listen| listen.problems.iter().cloned()));
        if self.in_flight_max == 0 {
            problems.push("in_flight_max is 0: no message could be forwarded".to_owned());
        }
        if self.closes_per_second_max == 0 {
            problems.push("closes_per_second_max is 0: no client could ever go".to_owned());
        }
        problems
    }
}

impl Code {
    /// What all listeners have in common. Heartbeats and logins have settings for each listener.
    fn connection(&self, written: Option<&Settings>) -> conn::Settings {
        let usual = conn::Settings::default();
        let own = written.map(|written| &written.yumen.gate);
        let layout = self.layout.or_else(|| Some(written?.packet.layout()));
        let backlog_max = self.backlog_max.or_else(|| Some(own?.backlog_max.len()));
        let write_stall_max = self.write_stall_max.or_else(|| Some(own?.write_stall_max));
        conn::Settings {
            layout: layout.unwrap_or(usual.layout),
            backlog_max: backlog_max.unwrap_or(usual.backlog_max),
            write_stall_max: write_stall_max.unwrap_or(usual.write_stall_max),
            ..usual
        }
    }
}

/// How long draining may take: `shutdownMaxWaitTime`, if it says anything, is for all components.
fn drain_max(written: &Settings) -> Duration {
    let all = written.general.shutdown_max_wait_time;
    if all.is_zero() { written.yumen.gate.drain_max } else { all }
}

/// The tables of keys let no other words through.
fn dispatch(word: &str) -> Dispatch {
    match word {
        "rr" => Dispatch::RoundRobin,
        "wrr" => Dispatch::Weighted,
        _ => Dispatch::Random,
    }
}

fn duplicate_login(word: &str) -> DuplicateLogin {
    match word {
        "displace" => DuplicateLogin::Displace,
        "refuse" => DuplicateLogin::Refuse,
        _ => DuplicateLogin::Kick,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::Cluster, gate::Gate};
    use std::path::Path;
    use yumen_proto::conn::Mechanism;

    fn settings(text: &str) -> Settings {
        Settings::parse(text, Path::new("etc.toml")).unwrap()
    }

    fn decided(settings: Option<&Settings>) -> Decided {
        Decided::new(Code::default(), vec![Tcp::default_on("127.0.0.1:1").into()], settings)
    }

    /// What the one listener was told.
    fn connection(gate: &Decided) -> &conn::Settings {
        &gate.listens[0].plan.settings
    }

    type Row = (&'static str, &'static str, fn(&Decided) -> String, &'static str);

    /// A key, a value in toml, what has to come of it.
    const ROWS: [Row; 30] = [
        ("cluster.gate.id", "'g-7'", |gate| gate.id.clone(), "g-7"),
        ("cluster.gate.name", "'door'", |gate| gate.name.clone(), "door"),
        ("cluster.gate.dispatch", "'rr'", |gate| format!("{:?}", gate.dispatch), "RoundRobin"),
        ("cluster.gate.dispatch", "'wrr'", |gate| format!("{:?}", gate.dispatch), "Weighted"),
        ("cluster.gate.metadata", "{ zone = 'b' }", |gate| gate.metadata["zone"].clone(), "b"),
        (
            "network.tcp.server.addr",
            "'127.0.0.1:2'",
            |gate| gate.listens[0].addr.clone(),
            "127.0.0.1:2",
        ),
        (
            "network.tcp.server.maxConnNum",
            "7",
            |gate| gate.listens[0].connections_max.now.to_string(),
            "7",
        ),
        (
            "network.tcp.server.heartbeatInterval",
            "'3s'",
            |gate| format!("{:?}", connection(gate).heartbeat.interval),
            "3s",
        ),
        (
            "network.tcp.server.heartbeatMechanism",
            "'tick'",
            |gate| (connection(gate).heartbeat.mechanism == Mechanism::Tick).to_string(),
            "true",
        ),
        (
            "network.tcp.server.authorizeTimeout",
            "'4s'",
            |gate| format!("{:?}", connection(gate).login_max),
            "4s",
        ),
        (
            "packet.byteOrder",
            "'little'",
            |gate| format!("{:?}", connection(gate).layout.order),
            "Little",
        ),
        ("packet.routeBytes", "4", |gate| format!("{:?}", connection(gate).layout.route), "Four"),
        ("packet.seqBytes", "0", |gate| format!("{:?}", connection(gate).layout.seq), "None"),
        ("packet.bufferBytes", "9", |gate| connection(gate).layout.body_max.to_string(), "9"),
        (
            "packet.heartbeatTime",
            "true",
            |gate| connection(gate).layout.heartbeat_time.to_string(),
            "true",
        ),
        ("yumen.gate.instances", "3", |gate| gate.instances.to_string(), "3"),
        (
            "yumen.gate.duplicateLogin",
            "'refuse'",
            |gate| format!("{:?}", gate.duplicate_login),
            "Refuse",
        ),
        (
            "yumen.gate.duplicateLogin",
            "'displace'",
            |gate| format!("{:?}", gate.duplicate_login),
            "Displace",
        ),
        ("yumen.gate.inFlightMax", "'1K'", |gate| gate.in_flight_max.to_string(), "1024"),
        (
            "yumen.gate.messagesPerSecondMax",
            "5",
            |gate| gate.messages_per_second_max.now.to_string(),
            "5",
        ),
        (
            "yumen.gate.perAddressMax",
            "6",
            |gate| gate.listens[0].per_address_max.now.to_string(),
            "6",
        ),
        ("yumen.gate.backlogMax", "'2K'", |gate| connection(gate).backlog_max.to_string(), "2048"),
        ("yumen.gate.buffersMax", "'3K'", |gate| gate.buffers_max.to_string(), "3072"),
        (
            "yumen.gate.writeStallMax",
            "'2s'",
            |gate| format!("{:?}", connection(gate).write_stall_max),
            "2s",
        ),
        ("yumen.gate.keepAlive", "'7s'", |gate| format!("{:?}", gate.alive.ask_after), "7s"),
        ("yumen.gate.userTimeout", "'1m'", |gate| format!("{:?}", gate.alive.silent_max), "60s"),
        ("yumen.gate.drainMax", "'5s'", |gate| format!("{:?}", gate.drain_max), "5s"),
        (
            "yumen.gate.closesPerSecondMax",
            "40",
            |gate| gate.closes_per_second_max.to_string(),
            "40",
        ),
        ("shutdownMaxWaitTime", "'6s'", |gate| format!("{:?}", gate.drain_max), "6s"),
        ("shutdownMaxWaitTime", "'0s'", |gate| format!("{:?}", gate.drain_max), "10s"),
    ];

    #[test]
    fn each_setting_of_a_gate_decides_what_its_key_says() {
        for (key, value, of, expected) in ROWS {
            let decided = decided(Some(&settings(&format!("{key} = {value}"))));
            assert_eq!(of(&decided), expected, "{key}");
            assert_eq!(decided.problems(), Vec::<String>::new(), "{key}");
        }
    }

    #[test]
    fn an_empty_file_means_what_no_settings_mean_but_for_the_size_of_bodies() {
        let written = decided(Some(&settings("")));
        let plain = decided(None);
        assert_eq!((written.name, written.instances), (plain.name, plain.instances));
        assert_eq!((written.dispatch, written.drain_max), (plain.dispatch, plain.drain_max));
        assert_eq!(written.listens[0].addr, "127.0.0.1:1", "nobody wrote another");
        let (mut written, plain) =
            (connection(&decided(Some(&settings("")))).clone(), connection(&decided(None)).clone());
        // due's default, which is smaller than ours.
        assert_eq!(written.layout.body_max, 5000);
        written.layout.body_max = plain.layout.body_max;
        assert_eq!(format!("{written:?}"), format!("{plain:?}"));
    }

    #[test]
    fn what_code_says_wins_whichever_comes_first() {
        let written = settings(
            "cluster.gate.id = 'file'\nyumen.gate.instances = 9\ncluster.gate.metadata = { a = '1', b = '1' }
            packet.seqBytes = 4\nyumen.gate.messagesPerSecondMax = 9\nyumen.gate.drainMax = '9s'
            network.tcp.server = { maxConnNum = 9, heartbeatInterval = '9s', authorizeTimeout = '9s' }",
        );
        let say = |builder: crate::gate::GateBuilder| {
            builder
                .id("code")
                .instances(2)
                .metadata("b", "2")
                .layout(Layout::default())
                .messages_per_second_max(0)
                .drain_max(Duration::from_secs(1))
                .login_max(Duration::from_secs(2))
                .listen(Tcp::on("127.0.0.1:3").connections_max(4).per_address_max(5))
                .listen(Tcp::default_on("127.0.0.1:4").heartbeat(Heartbeat::default()))
        };
        let builder = || Gate::builder(&Cluster::in_process());
        let orders = [say(builder()).settings(&written), say(builder().settings(&written))];
        for gate in orders.map(|builder| builder.decide().gate) {
            assert_eq!((gate.id.as_str(), gate.instances), ("code", 2));
            assert_eq!((gate.metadata["a"].as_str(), gate.metadata["b"].as_str()), ("1", "2"));
            assert_eq!(connection(&gate).layout.seq, Layout::default().seq);
            assert_eq!(gate.drain_max, Duration::from_secs(1));
            let rate = gate.messages_per_second_max;
            assert_eq!((rate.now, rate.follows), (0, false));
            let [first, second] = &gate.listens[..] else { panic!() };
            assert_eq!((first.connections_max.now, first.connections_max.follows), (4, false));
            assert_eq!((first.per_address_max.now, first.per_address_max.follows), (5, false));
            assert_eq!((second.connections_max.now, second.connections_max.follows), (9, true));
            assert!(second.per_address_max.follows);
            assert_eq!(first.plan.settings.heartbeat.interval, Duration::from_secs(9));
            assert_eq!(second.plan.settings.heartbeat, Heartbeat::default());
            for listen in [first, second] {
                assert_eq!(listen.plan.settings.login_max, Duration::from_secs(2));
            }
        }
    }

    #[test]
    fn an_address_of_code_is_fixed_unless_it_is_only_a_default() {
        let written = settings("network.tcp.server.addr = '127.0.0.1:9'");
        let addr = |listen: Tcp, settings| {
            Decided::new(Code::default(), vec![listen.into()], settings).listens[0].addr.clone()
        };
        assert_eq!(addr(Tcp::on("127.0.0.1:1"), Some(&written)), "127.0.0.1:1");
        assert_eq!(addr(Tcp::default_on("127.0.0.1:1"), Some(&written)), "127.0.0.1:9");
        assert_eq!(addr(Tcp::default_on("127.0.0.1:1"), None), "127.0.0.1:1");
    }

    #[test]
    fn a_gate_without_a_listener_listens_where_the_settings_say() {
        let addr = |text: &str| {
            let gate = Decided::new(Code::default(), Vec::new(), Some(&settings(text)));
            gate.listens[0].addr.clone()
        };
        assert_eq!(addr(""), ":3553");
        assert_eq!(addr("network.tcp.server.addr = ':9'"), ":9");
        let without = Decided::new(Code::default(), Vec::new(), None).problems();
        assert!(without[0].starts_with("no listener"), "{without:?}");
    }

    #[cfg(feature = "ws")]
    #[test]
    fn a_ws_listener_has_settings_of_its_own() {
        use crate::gate::{Ws, plan::Kind};
        let written = settings(
            "[network.ws.server]\naddr = '127.0.0.1:9'\npath = '/ws'\norigins = ['x']\nmaxConnNum = 7
            heartbeatInterval = '3s'\nheartbeatMechanism = 'tick'\nauthorizeTimeout = '4s'",
        );
        let decide = |ws: Ws| Decided::new(Code::default(), vec![ws.into()], Some(&written));
        let gate = decide(Ws::default_on("127.0.0.1:1"));
        let listen = &gate.listens[0];
        assert_eq!((listen.addr.as_str(), listen.connections_max.now), ("127.0.0.1:9", 7));
        assert_eq!(listen.protocol(), "ws");
        let connection = connection(&gate);
        assert_eq!(connection.heartbeat.interval, Duration::from_secs(3));
        assert_eq!(connection.heartbeat.mechanism, Mechanism::Tick);
        assert_eq!(connection.login_max, Duration::from_secs(4));
        let Kind::Ws(options) = &listen.plan.transport else { panic!() };
        assert_eq!((options.path.as_str(), &options.origins[..]), ("/ws", &["x".to_owned()][..]));
        let gate = decide(Ws::on("127.0.0.1:1").path("/code").origins(["y"]));
        let Kind::Ws(options) = &gate.listens[0].plan.transport else { panic!() };
        assert_eq!((options.path.as_str(), &options.origins[..]), ("/code", &["y".to_owned()][..]));
    }
}
