//! Yumen's own keys, which due does not have: `yumen.*`.

use super::addr_or_none;
use crate::{
    form::{Bytes, Secret},
    key::{
        Standing::{Live, Start},
        section,
    },
};
use std::{collections::BTreeMap, time::Duration};

section! {
    /// Yumen's own settings: `yumen.*`.
    YumenSettings "etc.yumen" {}
    tables {
        /// The HTTP interface for operators: `yumen.admin.*`.
        admin: YumenAdminSettings;
        /// The program as a whole: `yumen.app.*`.
        app: YumenAppSettings;
        /// All gates and nodes together: `yumen.cluster.*`.
        cluster: YumenClusterSettings;
        /// Gates: `yumen.gate.*`.
        gate: YumenGateSettings;
        /// Nodes: `yumen.node.*`.
        node: YumenNodeSettings;
        /// The registry, whichever it is: `yumen.registry.*`.
        registry: YumenRegistrySettings;
        /// The locator, where it is a server: `yumen.locator.*`.
        locator: YumenLocatorSettings;
        /// Log lines: `yumen.log.*`.
        log: YumenLogSettings;
    }
}

/// Fewest bytes of a secret of the cluster.
const SECRET_MIN: usize = 16;

/// Refuses a secret that could be guessed; an empty one is none.
fn secret(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() >= SECRET_MIN {
        Ok(())
    } else {
        Err(format!("it must have at least {SECRET_MIN} bytes; `openssl rand -hex 32` makes one"))
    }
}

/// Refuses a name of a cluster that does not fit into a handshake.
fn cluster_name(text: &str) -> Result<(), String> {
    if text.len() > 200 { Err("it must have at most 200 bytes".to_owned()) } else { Ok(()) }
}

/// Refuses what other instances could not dial.
fn advertised(text: &str) -> Result<(), String> {
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if !text.is_empty() && host.is_empty() {
        return Err("it must be \"host:port\", as others dial it; port 0 is the one it listens on"
            .to_owned());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified()) {
        return Err(
            "it is every address of a machine, which nobody can dial; write the one that other \
                    machines know it by"
                .to_owned(),
        );
    }
    addr_or_none(text)
}

section! {
    /// All gates and nodes together: `yumen.cluster.*`.
    YumenClusterSettings "etc.yumen.cluster" {
        /// Name of the cluster. Gates and nodes of different names refuse each other.
        name "name": String = "", Start => check(cluster_name);
        /// What every gate and node of the cluster knows and proves to the others; at least 16 bytes.
        /// Empty: nothing is proved, and only an address of this machine is listened on.
        secret "secret": Secret = "", Start => check(secret);
        /// Further secrets that are accepted and not proved. To change the secret: add the new one here
        /// everywhere, then swap the two everywhere, then remove the old one.
        secrets_old "secretsOld": Vec<Secret> = [], Start;
        /// Whether peers are served that prove nothing: due's, which cannot. Listening for other machines
        /// without a secret needs it too.
        insecure "insecure": bool = false, Start;
        /// File with this process's certificate for links to other processes, in PEM. With it links are
        /// under TLS, and each side checks the other's certificate. The files are looked at every 5 s.
        cert_file "certFile": String = "", Start;
        /// File with the private key of the certificate.
        key_file "keyFile": String = "", Start;
        /// File with the certificates of those who may issue the certificates of this cluster.
        ca_file "caFile": String = "", Start;
        /// DNS names of which a peer's certificate must have one. Empty: it must have the peer's id, without
        /// the number of an instance behind the last dot.
        peer_names "peerNames": Vec<String> = [], Start;
        /// Whether peers without TLS are linked as well: due's, which cannot, and one's own while TLS is
        /// being introduced. They prove what they prove without it.
        allow_plain "allowPlain": bool = false, Start;
        /// Addresses that may connect without a proof, as `10.0.0.7` or `10.0.0.0/8`. Empty: all.
        allow "allow": Vec<String> = [], Start;
    }
}

section! {
    /// The registry, whichever it is: `yumen.registry.*`.
    YumenRegistrySettings "etc.yumen.registry" {
        /// Which servers are the registry: `consul`, `etcd`, or several, as for a move from one to the other.
        /// Of several, each instance is registered in all and read from all. Used by programs that leave the
        /// choice to the settings.
        backends "backends": Vec<String> = ["etcd"], Start;
        /// Directory where the last set of instances is kept, so that a process can start while the
        /// registry is away. Empty: nothing is kept.
        cache_dir "cacheDir": String = "", Start;
    }
}

/// Bounds of a wait, in nanoseconds: 10 ms and 60 s.
const MOMENT: i64 = 10_000_000;
const MINUTE: i64 = 60_000_000_000;

section! {
    /// The locator, where it is a server: `yumen.locator.*`.
    YumenLocatorSettings "etc.yumen.locator" {
        /// Longest wait for an answer.
        timeout "timeout": Duration = "3s", Start => range(MOMENT, MINUTE);
        /// Longest wait for a connection.
        dial_timeout "dialTimeout": Duration = "3s", Start => range(MOMENT, MINUTE);
        /// After so long without a message a connection is asked whether it lives.
        ping_interval "pingInterval": Duration = "3s", Start => range(MOMENT, MINUTE);
        /// Most commands under way at once; more wait for their turn.
        commands_max "commandsMax": u32 = 1024, Start => range(1, 65_536);
    }
}

section! {
    /// The HTTP interface for operators: `yumen.admin.*`.
    YumenAdminSettings "etc.yumen.admin" {
        /// Where it listens, as `127.0.0.1:3900`. Empty: it is off. Without a token only an address of
        /// this machine is accepted.
        addr "addr": String = "", Start => check(addr_or_none);
        /// What every request has to carry as `Authorization: Bearer …`. Empty: nothing.
        token "token": Secret = "", Start;
        /// Labels that are added to every metric.
        labels "labels": BTreeMap<String, String> = {}, Start;
    }
}

section! {
    /// The program as a whole: `yumen.app.*`.
    YumenAppSettings "etc.yumen.app" {
        /// An instance that does not answer for so long is warned about.
        stall_warn "stallWarn": Duration = "1s", Start => least(1_000_000);
        /// An instance that does not answer for so long fails the health check.
        stall_max "stallMax": Duration = "10s", Start => least(1_000_000);
    }
}

section! {
    /// Gates: `yumen.gate.*`.
    YumenGateSettings "etc.yumen.gate" {
        /// How many gates this process runs, each on a thread of its own.
        instances "instances": u16 = 1, Start => range(1, 256);
        /// Where other instances reach it, as `host:port`; port 0 is the one it listens on, and further
        /// instances of the process take the ports behind a fixed one. Empty: the address it listens on, or
        /// else the first private one of this machine.
        advertise "advertise": String = "", Start => check(advertised);
        /// Files with further certificates, for clients of listeners with TLS that ask for another name.
        cert_files "certFiles": Vec<String> = [], Start;
        /// Files with their private keys, in the same order.
        key_files "keyFiles": Vec<String> = [], Start;
        /// What happens when a user logs in a second time: the older connection is closed (`kick`), or
        /// stays open without a user (`displace`, as with due), or the newer login is refused
        /// (`refuse`).
        duplicate_login "duplicateLogin": String = "kick", Start
            => words(&["kick", "displace", "refuse"]);
        /// Most bytes of one session's messages on their way to nodes; then it is not read.
        in_flight_max "inFlightMax": Bytes = "256K", Start => range(1, 0xffff_ffff);
        /// Most messages of one session each second; 0 is no limit.
        messages_per_second_max "messagesPerSecondMax": u32 = 0, Live => range(0, 0xffff_ffff);
        /// Most connections of one address; 0 is no limit.
        per_address_max "perAddressMax": usize = 0, Live => least(0);
        /// Most bytes that wait for one client; then it is closed.
        backlog_max "backlogMax": Bytes = "1M", Start => least(1);
        /// Most bytes that all connections of one gate instance hold together: queued for clients, and
        /// of packets that have not come whole. Beyond it those that hold more than 16 KiB are closed.
        buffers_max "buffersMax": Bytes = "16M", Start => least(1);
        /// Longest time in which a client takes none of its bytes; then it is closed.
        write_stall_max "writeStallMax": Duration = "10s", Start => least(1_000_000);
        /// After so long without a word the system asks a client whether it is there; 0 asks never. Less than
        /// `userTimeout`.
        keep_alive "keepAlive": Duration = "15s", Start;
        /// A client that acknowledged nothing for so long, neither bytes nor questions, is given up; 0 leaves it
        /// to the system, which takes a quarter of an hour.
        user_timeout "userTimeout": Duration = "30s", Start;
        /// Longest time for draining at the end, before what is left is closed.
        drain_max "drainMax": Duration = "10s", Start;
        /// Most clients a second that a gate which stops sends to the others: it closes them one after
        /// the other, within half of `drainMax`, and asks those for whom that is too short to stay
        /// away so long.
        closes_per_second_max "closesPerSecondMax": u32 = 1000, Start => range(1, 0xffff_ffff);
    }
    tables {
        /// The tcp listener: `yumen.gate.tcp.*`.
        tcp: YumenGateTcpSettings;
        /// The ws listener: `yumen.gate.ws.*`.
        ws: YumenGateWsSettings;
    }
}

section! {
    /// The tcp listener of a gate: `yumen.gate.tcp.*`.
    YumenGateTcpSettings "etc.yumen.gate.tcp" {
        /// Load balancers, as `10.0.0.7` or `10.0.0.0/8`: each of their connections has to begin with a PROXY
        /// header (version 1 or 2), which names the client. Empty: nobody's does.
        proxy_protocol "proxyProtocol": Vec<String> = [], Start;
    }
}

section! {
    /// The ws listener of a gate: `yumen.gate.ws.*`.
    YumenGateWsSettings "etc.yumen.gate.ws" {
        /// Load balancers, as `10.0.0.7` or `10.0.0.0/8`: each of their connections has to begin with a PROXY
        /// header (version 1 or 2), which names the client. Empty: nobody's does.
        proxy_protocol "proxyProtocol": Vec<String> = [], Start;
        /// Proxies, written likewise, that are believed when they say in `X-Forwarded-For` who the client is.
        /// Empty: nobody is.
        forwarded_for "forwardedFor": Vec<String> = [], Start;
    }
}

section! {
    /// Nodes: `yumen.node.*`.
    YumenNodeSettings "etc.yumen.node" {
        /// How many nodes this process runs, each on a thread of its own.
        instances "instances": u16 = 1, Start => range(1, 256);
        /// Where other instances reach it, as `host:port`; port 0 is the one it listens on, and further
        /// instances of the process take the ports behind a fixed one. Empty: the address it listens on, or
        /// else the first private one of this machine.
        advertise "advertise": String = "", Start => check(advertised);
        /// Most bytes of messages that wait behind a handler of the same connection; then the answer is
        /// that the node is busy.
        held_max "heldMax": Bytes = "1M", Start => least(1);
        /// Most handlers that wait at once; then the answer is that the node is busy.
        waiting_max "waitingMax": usize = 65536, Start => least(1);
        /// A handler that holds its thread for so long is counted as slow; 0 counts none.
        slow_min "slowMin": Duration = "10ms", Start;
        /// Most bytes of calls from other threads that wait.
        inbox_max "inboxMax": Bytes = "1M", Start => least(4096);
        /// Longest time for draining at the end, before what is left is given up.
        drain_max "drainMax": Duration = "30s", Start;
    }
}

section! {
    /// Log lines: `yumen.log.*`.
    YumenLogSettings "etc.yumen.log" {
        /// Most bytes of lines that wait to be written; more are dropped, and counted.
        queue_bytes "queueBytes": Bytes = "4M", Start => least(4096);
    }
}
