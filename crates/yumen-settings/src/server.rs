//! The listeners for clients: `network.tcp.server.*` and `network.ws.server.*`.
//!
//! Yumen bounds what waits for a client in bytes and in time, so due's two settings for a queue counted
//! in messages have no effect. Keys of TLS are refused, since a listener that went on without it would
//! carry in the clear what was meant to be hidden.

use crate::section::Section;
use std::time::Duration;
use yumen_proto::conn::{Heartbeat, Mechanism};

/// Most connections where nothing is said.
const CONNECTIONS_MAX: usize = 5000;

/// The tcp listener, as `network.tcp.server.*` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpServerSettings {
    /// `addr`: `host:port`; an empty host is every interface. Default: none. (due's is `:3553` for tcp
    /// and ws alike, so a program with both has to decide.)
    pub addr: Option<String>,
    /// `maxConnNum`: most connections; below 1 counts as not given. Default: 5000.
    pub connections_max: usize,
    /// `heartbeatInterval` and `heartbeatMechanism`: `resp` or `tick`, any other text is `resp`.
    /// Default: `10s`, `resp`; after two silent intervals the connection is closed.
    pub heartbeat: Heartbeat,
    /// `authorizeTimeout`: longest time without a user; zero is no limit. Default: zero.
    pub login_max: Duration,
}

/// The ws listener, as `network.ws.server.*` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsServerSettings {
    /// As [`TcpServerSettings::addr`].
    pub addr: Option<String>,
    /// `path`: where clients connect. `/` is every path, `/x` exactly that, `/x/` everything below it.
    /// Default: `/`.
    pub path: String,
    /// `origins`: accepted `Origin` headers, letter by letter; `*` accepts any and none, an empty list
    /// refuses all. Default: `*`.
    pub origins: Vec<String>,
    /// As [`TcpServerSettings::connections_max`].
    pub connections_max: usize,
    /// As [`TcpServerSettings::heartbeat`].
    pub heartbeat: Heartbeat,
    /// As [`TcpServerSettings::login_max`].
    pub login_max: Duration,
}

impl Default for TcpServerSettings {
    fn default() -> Self {
        Self {
            addr: None,
            connections_max: CONNECTIONS_MAX,
            heartbeat: Heartbeat::default(),
            login_max: Duration::ZERO,
        }
    }
}

impl Default for WsServerSettings {
    fn default() -> Self {
        let TcpServerSettings { addr, connections_max, heartbeat, login_max } =
            TcpServerSettings::default();
        let (path, origins) = ("/".to_owned(), vec!["*".to_owned()]);
        Self { addr, path, origins, connections_max, heartbeat, login_max }
    }
}

impl TcpServerSettings {
    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let read = common(&mut section);
        section.finish();
        read
    }
}

impl WsServerSettings {
    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let path = section.text("path").unwrap_or(&default.path).to_owned();
        if !path.starts_with('/') {
            section.problem("path", format_args!("is {path:?}; it must begin with '/'"));
        }
        let origins = section.texts("origins").unwrap_or(default.origins);
        let TcpServerSettings { addr, connections_max, heartbeat, login_max } =
            common(&mut section);
        section.finish();
        Self { addr, path, origins, connections_max, heartbeat, login_max }
    }
}

/// What both listeners have.
fn common(section: &mut Section<'_>) -> TcpServerSettings {
    let default = TcpServerSettings::default();
    let addr = section.text("addr").map(str::to_owned);
    let connections_max = connections_max(section).unwrap_or(default.connections_max);
    let interval = section.duration("heartbeatInterval").unwrap_or(default.heartbeat.interval);
    let mechanism = mechanism(section).unwrap_or(default.heartbeat.mechanism);
    let heartbeat = Heartbeat { interval, mechanism, ..default.heartbeat };
    let login_max = section.duration("authorizeTimeout").unwrap_or(default.login_max);
    for key in ["writeTimeout", "writeQueueSize"] {
        section.unused(key, "what waits for a client is bounded in bytes, and in time without one");
    }
    section.unused("handshakeTimeout", "due does not read it either");
    for key in ["certFile", "keyFile"] {
        section.not_yet(key, "put a TLS proxy before the gate and remove the key");
    }
    TcpServerSettings { addr, connections_max, heartbeat, login_max }
}

fn connections_max(section: &mut Section<'_>) -> Option<usize> {
    let count = section.number("maxConnNum")?;
    if count < 1 {
        section.note("maxConnNum", format_args!("{count} counts as not given, as it does for due"));
        return None;
    }
    Some(usize::try_from(count).unwrap_or(usize::MAX))
}

fn mechanism(section: &mut Section<'_>) -> Option<Mechanism> {
    match section.text("heartbeatMechanism")? {
        "tick" => Some(Mechanism::Tick),
        "resp" => Some(Mechanism::Resp),
        other => {
            let what = format_args!("{other:?} counts as \"resp\", as it does for due");
            section.note("heartbeatMechanism", what);
            Some(Mechanism::Resp)
        }
    }
}
