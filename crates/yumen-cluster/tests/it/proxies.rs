//! Clients behind load balancers and proxies: whose address a gate, its nodes and its limits see.

#[cfg(feature = "ws")]
mod servers;

use crate::{
    game::{self, World, text},
    rig::{self, Got, Peer, Server, Threads, everywhere},
};
use std::net::SocketAddr;
use yumen_cluster::{
    gate::{Gate, Listen, Tcp},
    node::{Raw, Router, Session, on},
};
use yumen_core::status::Status;
use yumen_settings::Settings;

const WHERE: i32 = 24;

async fn place(session: Session) -> Result<Raw, Status> {
    Ok(text(session.address().await?.to_string()))
}

fn routes() -> Router<World> {
    game::routes().route(WHERE, on(place))
}

/// A gate with these listeners, and a node that answers where a client is.
fn server(threads: Threads, listeners: Vec<Listen>) -> Server {
    let (gates, nodes) = threads.clusters();
    let gate = Gate::builder(&gates).link_addr("127.0.0.1:0");
    let gate = listeners.into_iter().fold(gate, |gate, listener| gate.listen(listener));
    let node = rig::node(&nodes, "node", routes(), World::default).build().unwrap();
    Server::start(threads, gate.build().unwrap(), node)
}

/// Waits until the gate holds exactly this many sessions; where their clients are.
fn peers(server: &Server, count: usize) -> Vec<SocketAddr> {
    rig::until("the sessions", || {
        let all = rig::block_on(server.gate.sessions(100));
        (all.len() == count).then(|| all.into_iter().map(|session| session.peer).collect())
    })
}

/// Where the node says that a client is.
fn asked(client: &mut Peer) -> String {
    client.call(WHERE, "").text()
}

fn the_node_the_log_and_the_limits_see_the_client_behind_a_load_balancer(threads: Threads) {
    let listener = Tcp::on("127.0.0.1:0").proxy_protocol(["127.0.0.0/8"]).per_address_max(1);
    let server = server(threads, vec![listener.into()]);
    let mut clients = Vec::new();
    for client in ["192.0.2.7", "2001:db8::7"] {
        let family = if client.contains(':') { "TCP6" } else { "TCP4" };
        let mut peer = Peer::due(server.addr);
        peer.write(format!("PROXY {family} {client} {client} 5000 3553\r\n").as_bytes());
        let expected = SocketAddr::new(client.parse().unwrap(), 5000).to_string();
        assert_eq!(asked(&mut peer), expected);
        clients.push(peer);
    }
    let mut seen = peers(&server, 2);
    seen.sort();
    assert_eq!(seen, ["192.0.2.7:5000", "[2001:db8::7]:5000"].map(|text| text.parse().unwrap()));
    // A second one of an address that may have one.
    let mut second = Peer::due(server.addr);
    second.write(b"PROXY TCP4 192.0.2.7 192.0.2.7 5001 3553\r\n");
    assert_eq!(second.read(), Got::End);
    // And one that says nothing sound.
    let mut plain = Peer::due(server.addr);
    plain.write(b"\0\0\0\x01\x80");
    assert_eq!(plain.read(), Got::End);
    let stats = server.until("both refused", |stats| stats.refused == 2);
    assert_eq!((stats.refused_address, stats.refused_header), (1, 1));
}

everywhere! {
    the_node_the_log_and_the_limits_see_the_client_behind_a_load_balancer,
    the_node_knows_the_address_of_a_client_with_ipv6,
}

/// What due's gates answer as 0.0.0.0.
fn the_node_knows_the_address_of_a_client_with_ipv6(threads: Threads) {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        assert!(std::env::var_os("CI").is_none(), "this machine has no ::1; CI demands it");
        return println!("this machine has no ::1: nothing was tested");
    }
    let server = server(threads, vec![Tcp::on("[::]:0").into()]);
    for (host, expected) in [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")] {
        let mut client = Peer::due(SocketAddr::new(host.parse().unwrap(), server.addr.port()));
        let port = client.socket.local_addr().unwrap().port();
        assert_eq!(asked(&mut client), format!("{expected}:{port}"));
    }
}

#[test]
fn without_a_list_a_header_is_nonsense() {
    let server = server(Threads::Two, vec![Tcp::on("127.0.0.1:0").into()]);
    let mut client = Peer::due(server.addr);
    client.write(b"PROXY TCP4 192.0.2.7 192.0.2.7 5000 3553\r\n");
    assert_eq!(client.read(), Got::End);
    let stats = server.until("it is closed", |stats| stats.closed == 1);
    assert_eq!((stats.refused, stats.closed_oversize), (0, 1));
}

#[test]
fn the_settings_name_them_and_what_is_no_address_ends_the_start() {
    let settings = |text: &str| Settings::parse(text, "etc.toml".as_ref()).unwrap();
    let cluster = yumen_cluster::cluster::Cluster::in_process();
    let gate = |text: &str| {
        let gate = Gate::builder(&cluster).settings(&settings(text));
        gate.listen(Tcp::on("127.0.0.1:0")).build()
    };
    let error = gate("yumen.gate.tcp.proxyProtocol = [\"lb.example\"]").unwrap_err().to_string();
    assert!(error.contains("yumen.gate.tcp.proxyProtocol: `lb.example` is no address"), "{error}");
    let gate = gate("yumen.gate.tcp.proxyProtocol = [\"127.0.0.1\"]").unwrap();
    let node = rig::node(&cluster, "node", routes(), World::default).build().unwrap();
    let server = Server::start(Threads::Two, gate, node);
    let mut client = Peer::due(server.addr);
    client.write(b"PROXY TCP4 192.0.2.7 192.0.2.7 5000 3553\r\n");
    assert_eq!(asked(&mut client), "192.0.2.7:5000");
}

#[cfg(feature = "ws")]
mod ws {
    use super::*;
    use std::io::{Read, Write};
    use yumen_cluster::gate::Ws;

    /// A client that has upgraded with these further header lines.
    fn upgraded(server: &Server, lines: &str) -> Peer {
        let mut client = Peer::due(server.addr);
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        client.socket.write_all(request.as_bytes()).unwrap();
        until_upgraded(&mut client);
        client
    }

    /// Until then the gate has the connection under the address it came from.
    fn until_upgraded(client: &mut Peer) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.socket.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    }

    #[test]
    fn a_trusted_proxy_names_the_client_and_its_limit_holds_at_that_address() {
        let listener = Ws::on("127.0.0.1:0").forwarded_for(["127.0.0.0/8"]).per_address_max(1);
        let server = server(Threads::Two, vec![listener.into()]);
        let _first = upgraded(&server, "X-Forwarded-For: 127.0.0.9, 192.0.2.7\r\n");
        let _other = upgraded(&server, "x-forwarded-for: 192.0.2.7, 2001:db8::7\r\n");
        let mut seen = peers(&server, 2);
        seen.sort();
        assert_eq!(seen, ["192.0.2.7:0", "[2001:db8::7]:0"].map(|text| text.parse().unwrap()));
        let mut second = upgraded(&server, "X-Forwarded-For: 192.0.2.7\r\n");
        let mut rest = Vec::new();
        let _reset_will_do = second.socket.read_to_end(&mut rest);
        let stats = server.until("it is closed", |stats| stats.closed == 1);
        assert_eq!((stats.closed_limit, stats.refused, stats.connections), (1, 0, 2));
    }

    #[test]
    fn nobody_else_is_believed_and_a_proxy_that_names_nobody_is_itself() {
        let listener = Ws::on("127.0.0.1:0").forwarded_for(["192.0.2.0/24"]);
        let server = server(Threads::Two, vec![listener.into()]);
        let client = upgraded(&server, "X-Forwarded-For: 203.0.113.9\r\n");
        assert_eq!(peers(&server, 1), [client.socket.local_addr().unwrap()]);
        drop((client, server));
        let listener = Ws::on("127.0.0.1:0").forwarded_for(["127.0.0.1"]);
        let server = super::server(Threads::Two, vec![listener.into()]);
        let client = upgraded(&server, "");
        assert_eq!(peers(&server, 1), [client.socket.local_addr().unwrap()]);
    }

    #[test]
    fn both_together_a_load_balancer_names_the_proxy_and_the_proxy_names_the_client() {
        let listener =
            Ws::on("127.0.0.1:0").proxy_protocol(["127.0.0.1"]).forwarded_for(["10.0.0.0/8"]);
        let server = server(Threads::Two, vec![listener.into()]);
        let mut client = Peer::due(server.addr);
        client.write(b"PROXY TCP4 10.0.0.5 10.0.0.6 1 2\r\n");
        client.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              X-Forwarded-For: 198.51.100.1:77, 10.0.0.4\r\n\r\n",
        );
        until_upgraded(&mut client);
        assert_eq!(peers(&server, 1), ["198.51.100.1:77".parse().unwrap()]);
    }
}
