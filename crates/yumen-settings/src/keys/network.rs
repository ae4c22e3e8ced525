//! Sockets for clients, and of clients: `network.*`.
//!
//! Yumen bounds what waits for a client in bytes and in time, so due's two settings for a queue counted
//! in messages have no effect.

use super::addr;
use crate::{
    form::{Bytes, Form, Read, quoted},
    key::{
        Standing::{Live, NoEffect, NotYet, Start},
        section,
    },
    tree::Value,
};
use std::time::Duration;
use yumen_proto::conn::{Heartbeat, Mechanism};

impl Form for Mechanism {
    const NAME: &'static str = "text";
    const WANTED: &'static str = "\"resp\" or \"tick\"";

    fn read(value: &Value) -> Option<Read<Self>> {
        let text = String::read(value)?.value;
        Some(match text.trim() {
            "tick" => Read::new(Self::Tick),
            "resp" => Read::new(Self::Resp),
            other => {
                let what = format!("{} counts as \"resp\", as it does for due", quoted(other));
                Read::noted(Self::Resp, what)
            }
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Resp => "\"resp\"".to_owned(),
            Self::Tick => "\"tick\"".to_owned(),
        }
    }
}

/// Refuses a path that is none.
fn path(text: &str) -> Result<(), String> {
    if text.starts_with('/') { Ok(()) } else { Err("it must begin with '/'".to_owned()) }
}

const BOUNDED: &str = "what waits for a client is bounded in bytes, and in time without one";
const CODE: &str = "clients are set up in code";
const KCP: &str = "there is no kcp";

section! {
    /// Sockets: `network.*`.
    NetworkSettings "etc.network" {}
    tables {
        /// tcp: `network.tcp.*`.
        tcp: TcpSettings;
        /// ws: `network.ws.*`.
        ws: WsSettings;
        /// kcp: `network.kcp.*`.
        kcp: KcpSettings;
    }
}

section! {
    /// tcp: `network.tcp.*`.
    TcpSettings "etc.network.tcp" {}
    tables {
        /// The listener: `network.tcp.server.*`.
        server: TcpServerSettings;
        /// Connections of clients: `network.tcp.client.*`.
        client: TcpClientSettings;
    }
}

section! {
    /// ws: `network.ws.*`.
    WsSettings "etc.network.ws" {}
    tables {
        /// The listener: `network.ws.server.*`.
        server: WsServerSettings;
        /// Connections of clients: `network.ws.client.*`.
        client: WsClientSettings;
    }
}

section! {
    /// kcp: `network.kcp.*`.
    KcpSettings "etc.network.kcp" {}
    tables {
        /// The listener: `network.kcp.server.*`.
        server: KcpServerSettings;
        /// Connections of clients: `network.kcp.client.*`.
        client: KcpClientSettings;
    }
}

section! {
    /// The tcp listener: `network.tcp.server.*`.
    TcpServerSettings "etc.network.tcp.server" {
        /// Where it listens, as `host:port`; an empty host is every interface, port 0 any free port.
        addr "addr": String = ":3553", Start => check(addr);
        /// Most connections. Below 1 counts as not given.
        max_conn_num "maxConnNum": usize = 5000, Live => least(1) below_is_default();
        /// How often a heartbeat is expected; after two silent intervals the connection is closed. 0:
        /// none, and silence is no fault.
        heartbeat_interval "heartbeatInterval": Duration = "10s", Start;
        /// `resp` answers heartbeats, `tick` sends them; any other text is `resp`.
        heartbeat_mechanism "heartbeatMechanism": Mechanism = "resp", Start;
        /// Longest time without a user; 0 is no limit.
        authorize_timeout "authorizeTimeout": Duration = "0s", Start;
        /// Longest time for writing one message.
        write_timeout "writeTimeout": Duration = "0s", NoEffect(BOUNDED);
        /// Most messages that wait for one client.
        write_queue_size "writeQueueSize": i64 = 512, NoEffect(BOUNDED)
            => due("due's documents say 1024, its code 512; the code's default holds.");
        /// File with the certificate for TLS and those between it and the authority, in PEM. Empty: no
        /// TLS. The file is looked at again every 5 s, and new connections get what is there.
        cert_file "certFile": String = "", Start;
        /// File with the private key of the certificate, in PEM and without a password.
        key_file "keyFile": String = "", Start;
    }
    dead { "handshakeTimeout" }
}

section! {
    /// The ws listener: `network.ws.server.*`.
    WsServerSettings "etc.network.ws.server" {
        /// Where it listens, as `host:port`; an empty host is every interface, port 0 any free port.
        addr "addr": String = ":3553", Start => check(addr)
            due("The same port as tcp's default: a program with both has to name one of them.");
        /// Where clients connect: `/` is every path, `/x` exactly that, `/x/` everything below it.
        path "path": String = "/", Start => check(path);
        /// Accepted `Origin` headers, letter by letter; `*` accepts any and none, an empty list refuses
        /// all.
        origins "origins": Vec<String> = ["*"], Start;
        /// Most connections. Below 1 counts as not given.
        max_conn_num "maxConnNum": usize = 5000, Live => least(1) below_is_default();
        /// How often a heartbeat is expected; after two silent intervals the connection is closed. 0:
        /// none, and silence is no fault.
        heartbeat_interval "heartbeatInterval": Duration = "10s", Start;
        /// `resp` answers heartbeats, `tick` sends them; any other text is `resp`.
        heartbeat_mechanism "heartbeatMechanism": Mechanism = "resp", Start;
        /// Longest time without a user; 0 is no limit.
        authorize_timeout "authorizeTimeout": Duration = "0s", Start;
        /// Longest time for writing one message.
        write_timeout "writeTimeout": Duration = "0s", NoEffect(BOUNDED);
        /// Most messages that wait for one client.
        write_queue_size "writeQueueSize": i64 = 1024, NoEffect(BOUNDED);
        /// File with the certificate for TLS and those between it and the authority, in PEM. Empty: no
        /// TLS. The file is looked at again every 5 s, and new connections get what is there.
        cert_file "certFile": String = "", Start;
        /// File with the private key of the certificate, in PEM and without a password.
        key_file "keyFile": String = "", Start;
    }
    dead { "handshakeTimeout" }
}

section! {
    /// The kcp listener: `network.kcp.server.*`.
    KcpServerSettings "etc.network.kcp.server" {
        /// Where it listens, as `host:port`.
        addr "addr": String = ":3553", NotYet(KCP);
        /// Most connections.
        max_conn_num "maxConnNum": i64 = 5000, NotYet(KCP);
        /// How often a heartbeat is expected.
        heartbeat_interval "heartbeatInterval": Duration = "10s", NotYet(KCP);
        /// `resp` answers heartbeats, `tick` sends them.
        heartbeat_mechanism "heartbeatMechanism": Mechanism = "resp", NotYet(KCP);
        /// Longest time without a user; 0 is no limit.
        authorize_timeout "authorizeTimeout": Duration = "0s", NotYet(KCP);
        /// Largest datagram; 0 leaves it to the library.
        mtu "mtu": i64 = 0, NotYet(KCP);
        /// Four numbers: no delay, interval, fast resend, no congestion control. Empty leaves them to
        /// the library.
        no_delay "noDelay": Vec<i64> = [], NotYet(KCP);
        /// Whether acknowledgements are sent at once.
        ack_no_delay "ackNoDelay": bool = false, NotYet(KCP);
        /// Whether writes wait for the next tick.
        write_delay "writeDelay": bool = false, NotYet(KCP);
        /// Two numbers: windows for sending and receiving. Empty leaves them to the library.
        window_size "windowSize": Vec<i64> = [], NotYet(KCP);
        /// Bytes of the socket's receive buffer; 0 leaves it to the library.
        read_buffer "readBuffer": Bytes = 0, NotYet(KCP);
        /// Bytes of the socket's send buffer; 0 leaves it to the library.
        write_buffer "writeBuffer": Bytes = 0, NotYet(KCP);
    }
    dead { "handshakeTimeout" }
}

section! {
    /// tcp connections of clients: `network.tcp.client.*`.
    TcpClientSettings "etc.network.tcp.client" {
        /// Where the gate is, as `host:port`.
        addr "addr": String = "127.0.0.1:3553", NotYet(CODE);
        /// Longest time for opening a connection.
        dial_timeout "dialTimeout": Duration = "3s", NotYet(CODE);
        /// How often a heartbeat is sent.
        heartbeat_interval "heartbeatInterval": Duration = "10s", NotYet(CODE);
        /// Longest time for writing one message.
        write_timeout "writeTimeout": Duration = "0s", NoEffect(BOUNDED);
        /// Most messages that wait to be sent.
        write_queue_size "writeQueueSize": i64 = 1024, NoEffect(BOUNDED);
        /// File with the certificates that are trusted.
        ca_file "caFile": String = "", NotYet(CODE);
        /// Name that the gate's certificate must have.
        server_name "serverName": String = "", NotYet(CODE);
    }
    dead { "timeout" "handshakeTimeout" }
}

section! {
    /// ws connections of clients: `network.ws.client.*`.
    WsClientSettings "etc.network.ws.client" {
        /// Where the gate is.
        url "url": String = "ws://127.0.0.1:3553", NotYet(CODE);
        /// Longest time for opening a connection.
        dial_timeout "dialTimeout": Duration = "3s", NotYet(CODE);
        /// How often a heartbeat is sent.
        heartbeat_interval "heartbeatInterval": Duration = "10s", NotYet(CODE);
        /// Longest time for writing one message.
        write_timeout "writeTimeout": Duration = "0s", NoEffect(BOUNDED);
        /// Most messages that wait to be sent.
        write_queue_size "writeQueueSize": i64 = 1024, NoEffect(BOUNDED);
    }
    dead { "handshakeTimeout" }
}

section! {
    /// kcp connections of clients: `network.kcp.client.*`.
    KcpClientSettings "etc.network.kcp.client" {
        /// Where the gate is, as `host:port`.
        addr "addr": String = "127.0.0.1:3553", NotYet(KCP);
        /// Longest time for opening a connection.
        timeout "timeout": Duration = "5s", NoEffect("due reads it and does not use it");
        /// How often a heartbeat is sent.
        heartbeat_interval "heartbeatInterval": Duration = "10s", NotYet(KCP);
        /// Largest datagram; 0 leaves it to the library.
        mtu "mtu": i64 = 0, NotYet(KCP);
        /// Four numbers: no delay, interval, fast resend, no congestion control. Empty leaves them to
        /// the library.
        no_delay "noDelay": Vec<i64> = [], NotYet(KCP);
        /// Whether acknowledgements are sent at once.
        ack_no_delay "ackNoDelay": bool = false, NotYet(KCP);
        /// Whether writes wait for the next tick.
        write_delay "writeDelay": bool = false, NotYet(KCP);
        /// Two numbers: windows for sending and receiving. Empty leaves them to the library.
        window_size "windowSize": Vec<i64> = [], NotYet(KCP);
        /// Bytes of the socket's receive buffer; 0 leaves it to the library.
        read_buffer "readBuffer": Bytes = 0, NotYet(KCP);
        /// Bytes of the socket's send buffer; 0 leaves it to the library.
        write_buffer "writeBuffer": Bytes = 0, NotYet(KCP);
    }
    dead { "handshakeTimeout" }
}

impl TcpServerSettings {
    /// Heartbeats and the idle limit: after two silent intervals a connection is closed.
    pub fn heartbeat(&self) -> Heartbeat {
        heartbeat(self.heartbeat_interval, self.heartbeat_mechanism)
    }
}

impl WsServerSettings {
    /// Heartbeats and the idle limit: after two silent intervals a connection is closed.
    pub fn heartbeat(&self) -> Heartbeat {
        heartbeat(self.heartbeat_interval, self.heartbeat_mechanism)
    }
}

fn heartbeat(interval: Duration, mechanism: Mechanism) -> Heartbeat {
    Heartbeat { interval, mechanism, ..Heartbeat::default() }
}
