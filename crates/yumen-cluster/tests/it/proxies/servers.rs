//! The same behind a real HAProxy, which writes the headers itself.

use super::{asked, server};
use crate::rig::{self, PATIENCE, Peer, Threads};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Instant,
};
use yumen_cluster::{
    client::Clients,
    gate::{Tcp, Ws},
};

/// A HAProxy with three ways in: by PROXY protocol version 1, version 2, and HTTP.
struct Balancer {
    process: Child,
    ways: [SocketAddr; 3],
    _dir: tempfile::TempDir,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _it_may_have_ended = self.process.kill();
        let _whatever_it_says = self.process.wait();
    }
}

impl Balancer {
    /// In front of these three listeners. Ports may be taken meanwhile by others: then again.
    fn before(gates: [SocketAddr; 3]) -> Self {
        let host = if TcpListener::bind("[::1]:0").is_ok() { "[::1]:0" } else { "127.0.0.1:0" };
        for _ in 0..5 {
            let held: Vec<_> = (0..3).map(|_| TcpListener::bind(host).unwrap()).collect();
            let ways: Vec<_> = held.iter().map(|held| held.local_addr().unwrap()).collect();
            drop(held);
            if let Some(balancer) = Self::start(ways.try_into().unwrap(), gates) {
                return balancer;
            }
        }
        panic!("HAProxy took none of the ports that were offered five times");
    }

    fn start(ways: [SocketAddr; 3], [v1, v2, http]: [SocketAddr; 3]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        let [a, b, c] = ways;
        let text = format!(
            "defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             \x20 timeout tunnel 60s\n\
             listen one\n  mode tcp\n  bind {a}\n  server gate {v1} send-proxy check inter 100ms\n\
             listen two\n  mode tcp\n  bind {b}\n  server gate {v2} send-proxy-v2 check inter 100ms\n\
             listen web\n  mode http\n  bind {c}\n  option forwardfor\n  server gate {http}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file).stdout(Stdio::null());
        let process = command.spawn().expect(
            "haproxy is not on the PATH: `apt-get install -y --no-install-recommends haproxy`",
        );
        let mut balancer = Self { process, ways, _dir: dir };
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if balancer.process.try_wait().unwrap().is_some() {
                return None;
            }
            if ways.iter().all(|way| TcpStream::connect(way).is_ok()) {
                return Some(balancer);
            }
            std::thread::yield_now();
        }
        panic!("HAProxy does not listen");
    }
}

#[test]
fn haproxy_names_the_client_in_either_version_and_to_a_web_socket() {
    let believed = ["127.0.0.1"];
    let listeners = vec![
        Tcp::on("127.0.0.1:0").proxy_protocol(believed).into(),
        Tcp::on("127.0.0.1:0").proxy_protocol(believed).into(),
        Ws::on("127.0.0.1:0").forwarded_for(believed).into(),
    ];
    let server = server(Threads::Two, listeners);
    let gates: [SocketAddr; 3] = server.gate.addresses().to_vec().try_into().unwrap();
    let balancer = Balancer::before(gates);
    for way in &balancer.ways[..2] {
        let mut client = Peer::due(*way);
        assert_eq!(asked(&mut client), client.socket.local_addr().unwrap().to_string());
    }
    let url = format!("ws://{}", balancer.ways[2]);
    let (gate, host) = (&server, balancer.ways[2].ip());
    Clients::run(async move |clients| {
        let client = clients.connect(&url).await.unwrap();
        assert!(client.is_open());
        // Those of version 1 and 2, and HAProxy's own health checks, come and go.
        let found = rig::until("the web socket", || {
            let runtime = std::thread::scope(|scope| {
                scope.spawn(|| rig::block_on(gate.gate.sessions(100))).join().unwrap()
            });
            runtime.into_iter().find(|session| session.listener == 2)
        });
        assert_eq!((found.peer.ip(), found.peer.port()), (host, 0));
    })
    .unwrap();
    // Its health checks of version 1 and 2 are sound, and so were all others.
    assert_eq!(server.stats().refused, 0);
}
