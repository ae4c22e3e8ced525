//! TLS from a client to a running gate: our own clients, and OpenSSL's.

use crate::{
    apart::Stores,
    game::{self, ECHO, World},
    rig::{self, Got, Peer, Rig, Server, until_nodes, until_stats},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use yumen_cluster::{
    app::App,
    client::{Clients, Plain},
    cluster::Cluster,
    gate::{Gate, GateHandle, Tcp, Ws},
    node::Node,
};
use yumen_core::status::Code;
use yumen_settings::Settings;

/// Files are looked at every 5 s and taken when they stayed as they are; far longer, for slow machines.
const RENEWED_MAX: Duration = Duration::from_secs(90);

/// A gate that speaks TLS over tcp and ws, as its settings say.
struct Secured {
    dir: TempDir,
    gate: GateHandle,
    rig: Rig,
}

/// Writes an authority and a certificate for `localhost` by it.
fn certify(dir: &Path) {
    certify_as(dir, &[("gate", "localhost")]);
}

/// Writes an authority and certificates by it: files of a name, for a name.
fn certify_as(dir: &Path, certificates: &[(&str, &str)]) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the authority of this test");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.join("ca.pem"), issuer.pem()).unwrap();
    for (file, name) in certificates {
        let params = CertificateParams::new(vec![(*name).to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        fs::write(dir.join(file).with_extension("pem"), cert.pem()).unwrap();
        fs::write(dir.join(file).with_extension("key"), key.serialize_pem()).unwrap();
    }
}

fn settings(dir: &Path) -> Settings {
    let (cert, key) = (dir.join("gate.pem"), dir.join("gate.key"));
    let mut text = String::new();
    for server in ["tcp", "ws"] {
        text += &format!("[network.{server}.server]\naddr = '127.0.0.1:0'\n");
        text += &format!("certFile = {cert:?}\nkeyFile = {key:?}\n");
    }
    Settings::parse(&text, Path::new("etc.toml")).unwrap()
}

impl Secured {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        certify(dir.path());
        let cluster = Cluster::in_process();
        let node = Node::builder(&cluster, "node", |_| World::default()).routes(game::routes());
        let gate = Gate::builder(&cluster)
            .settings(&settings(dir.path()))
            .listen(Tcp::default_on("127.0.0.1:0"))
            .listen(Ws::default_on("127.0.0.1:0"))
            .build()
            .unwrap();
        let handle = gate.handle();
        let rig = Rig::serving(App::default().with(gate).with(node.build().unwrap()));
        Self { dir, gate: handle, rig }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn at(&self, listener: usize) -> String {
        format!("localhost:{}", self.gate.addresses()[listener].port())
    }

    /// How a handshake of OpenSSL with the tcp listener goes.
    fn openssl(&self, options: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-brief", "-verify_return_error", "-verify_hostname"]);
        command.args(["localhost", "-servername", "localhost", "-connect", &self.at(0)]);
        command.arg("-CAfile").arg(self.ca()).args(options);
        command.stdin(Stdio::null()).output().expect("openssl is installed")
    }

    fn closed(&self, reason: &str, count: u64) {
        until_stats(&self.gate, reason, |stats| {
            stats.closed_by_reason().iter().any(|(name, n)| *name == reason && *n == count)
        });
    }
}

#[test]
fn our_clients_talk_over_tls_and_wss_and_refuse_a_gate_they_do_not_trust() {
    let server = Secured::start();
    let ca = server.ca().display().to_string();
    let secure = Clients::builder().trust_ca(ca.clone()).codec(Plain);
    let (tls, wss) = (format!("tls://{}", server.at(0)), format!("wss://{}/play", server.at(1)));
    secure
        .run(async |clients| {
            for address in [&tls, &wss] {
                let client = clients.connect(address).await.unwrap();
                for len in [0, 1, 60_000] {
                    let body = vec![b'x'; len];
                    assert_eq!(client.call_raw(ECHO, &body).await.unwrap(), body);
                }
                client.close();
            }
        })
        .unwrap();
    let wrong = Clients::builder().trust_ca(ca).server_name("other.test");
    let why = wrong.run(async |clients| clients.connect(&tls).await.map(drop)).unwrap();
    let why = why.unwrap_err().to_string();
    assert!(why.contains("another name"), "{why}");
    server.closed("handshake_tls", 1);
    server.rig.stop().unwrap();
}

#[test]
fn openssl_agrees_on_1_2_and_1_3_and_on_nothing_older() {
    let server = Secured::start();
    for version in ["-tls1_2", "-tls1_3"] {
        let done = server.openssl(&[version]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() && said.contains("Verification: OK"), "{version}: {said}");
    }
    let old = server.openssl(&["-tls1_1", "-cipher", "ALL@SECLEVEL=0"]);
    let said = String::from_utf8_lossy(&old.stderr).into_owned();
    assert!(!old.status.success() && said.contains("alert"), "{said}");
    server.closed("handshake_tls", 1);
    server.rig.stop().unwrap();
}

impl Secured {
    /// OpenSSL's client, which waits for what is typed.
    fn typed(&self, options: &[&str]) -> Child {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &self.at(0), "-CAfile"]).arg(self.ca()).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("openssl is installed")
    }
}

#[test]
fn a_client_that_wants_to_negotiate_anew_is_refused_and_harms_nobody() {
    let server = Secured::start();
    let mut client = server.typed(&["-tls1_2"]);
    let mut input = client.stdin.take().unwrap();
    // A line with this letter is a command, if it comes alone: until it was read as one.
    let began = Instant::now();
    while client.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < rig::PATIENCE, "it is let do so");
        let _it_may_have_ended = input.write_all(b"R\n");
        thread::sleep(Duration::from_millis(50));
    }
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    assert!(server.openssl(&[]).status.success());
    server.rig.stop().unwrap();
}

#[test]
fn whoever_comes_back_goes_on_with_its_session() {
    let server = Secured::start();
    for version in ["-tls1_2", "-tls1_3"] {
        let file = server.dir.path().join(format!("session{version}"));
        let file = file.to_str().unwrap();
        let mut first = server.typed(&[version, "-sess_out", file]);
        // In 1.3 a session comes behind the handshake.
        let began = Instant::now();
        while fs::metadata(file).map_or(0, |file| file.len()) == 0 {
            assert!(began.elapsed() < rig::PATIENCE, "{version}: it is given no session");
            thread::sleep(Duration::from_millis(20));
        }
        first.kill().unwrap();
        first.wait().unwrap();
        let mut second = server.typed(&[version, "-sess_in", file]);
        drop(second.stdin.take());
        let output = second.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Reused, TLSv1"), "{version}: {said}");
    }
    server.rig.stop().unwrap();
}

#[test]
fn plain_bytes_at_a_listener_for_tls_close_it_under_a_name_of_their_own() {
    let server = Secured::start();
    let mut client = Peer::due(server.gate.addresses()[0]);
    client.send(ECHO, 1, "x");
    assert_eq!(client.read(), Got::End);
    server.closed("handshake_not_tls", 1);
    server.rig.stop().unwrap();
}

#[test]
fn a_gate_with_bad_certificates_is_not_built_and_names_setting_and_file() {
    let dir = TempDir::new().unwrap();
    let build = || {
        let cluster = Cluster::in_process();
        let gate = Gate::builder(&cluster).settings(&settings(dir.path())).build();
        gate.map(drop).unwrap_err().to_string()
    };
    let why = build();
    for part in
        ["network.tcp.server.certFile", "gate.pem", "network.tcp.server.keyFile", "gate.key"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
    certify(dir.path());
    let other = KeyPair::generate().unwrap();
    fs::write(dir.path().join("gate.key"), other.serialize_pem()).unwrap();
    assert!(build().contains("does not belong"));
    let half = Settings::parse("network.tcp.server.certFile = 'a'", Path::new("etc.toml")).unwrap();
    let gate = Gate::builder(&Cluster::in_process()).settings(&half).build();
    let why = gate.map(drop).unwrap_err().to_string();
    assert!(why.contains("certFile is set and network.tcp.server.keyFile is not"), "{why}");
}

/// A process whose links show that certificate, and trust the authority beside it.
fn process(stores: &Stores, dir: &Path, file: &str, more: &str) -> Cluster {
    let path = |name: &str| dir.join(name);
    let (cert, key, ca) =
        (path(&format!("{file}.pem")), path(&format!("{file}.key")), path("ca.pem"));
    let text =
        format!("[yumen.cluster]\ncertFile = {cert:?}\nkeyFile = {key:?}\ncaFile = {ca:?}\n{more}");
    stores.process().settings(&Settings::parse(&text, Path::new("etc.toml")).unwrap())
}

fn start_node(cluster: &Cluster) -> Rig {
    let node = rig::node(cluster, "room", game::routes(), World::default).id("room-1");
    let rig = Rig::serving(App::default().with(node.build().unwrap()));
    until_nodes(cluster, 1);
    rig
}

fn start_gate(cluster: &Cluster, id: &str) -> Server {
    let gate = rig::gate(cluster).id(id).build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    Server { addr, gate: handle, rig: Rig::serving(App::default().with(gate)) }
}

#[test]
fn processes_meet_under_tls_and_who_has_another_certificate_or_none_is_refused() {
    let (ours, foreign) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    certify_as(ours.path(), &[("gate", "gate-1"), ("room", "room-1")]);
    certify_as(foreign.path(), &[("gate", "gate-3")]);
    let stores = Stores::default();
    let _node = start_node(&process(&stores, ours.path(), "room", ""));
    let good = start_gate(&process(&stores, ours.path(), "gate", ""), "gate-1");
    assert_eq!(good.client().call(ECHO, "hello").text(), "hello");
    for (what, cluster, id) in [
        ("the certificate of another", process(&stores, ours.path(), "gate", ""), "gate-2"),
        ("another authority", process(&stores, foreign.path(), "gate", ""), "gate-3"),
        ("no certificate", stores.process(), "gate-4"),
    ] {
        let bad = start_gate(&cluster, id);
        assert_eq!(bad.client().call(ECHO, "hello").code(), Code::UNAVAILABLE, "{what}");
    }
    assert_eq!(good.client().call(ECHO, "still").text(), "still");
}

#[test]
fn a_running_fleet_takes_a_new_authority_and_goes_on_serving() {
    let (dir, before) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let all = [("gate", "gate-1"), ("room", "room-1"), ("second", "gate-2"), ("third", "gate-3")];
    certify_as(dir.path(), &all);
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), before.path().join(file.file_name())).unwrap();
    }
    let stores = Stores::default();
    let node = start_node(&process(&stores, dir.path(), "room", ""));
    let first = start_gate(&process(&stores, dir.path(), "gate", ""), "gate-1");
    let mut client = first.client();
    assert_eq!(client.call(ECHO, "hello").text(), "hello");
    // Everything is issued anew by another authority, while both run.
    certify_as(dir.path(), &all);
    let second = start_gate(&process(&stores, dir.path(), "second", ""), "gate-2");
    let began = Instant::now();
    while !matches!(second.client().call(ECHO, "new"), Got::Message { .. }) {
        assert!(began.elapsed() < RENEWED_MAX, "the node does not take its new certificate");
        assert_eq!(client.call(ECHO, "meanwhile").text(), "meanwhile");
    }
    // It would trust the node: only what it shows is of the authority before.
    fs::copy(dir.path().join("ca.pem"), before.path().join("ca.pem")).unwrap();
    let third = start_gate(&process(&stores, before.path(), "third", ""), "gate-3");
    assert_eq!(third.client().call(ECHO, "old").code(), Code::UNAVAILABLE, "of the old authority");
    assert_eq!(client.call(ECHO, "still").text(), "still", "the same connection");
    node.stop().unwrap();
}

#[test]
fn a_running_gate_shows_a_renewed_certificate_and_keeps_its_clients() {
    let server = Secured::start();
    let secure = Clients::builder().trust_ca(server.ca().display().to_string()).codec(Plain);
    let at = format!("tls://{}", server.at(0));
    secure
        .run(async |clients| {
            let client = clients.connect(&at).await.unwrap();
            assert_eq!(client.call_raw(ECHO, b"before").await.unwrap(), &b"before"[..]);
            assert!(server.openssl(&[]).status.success());
            certify(server.dir.path());
            // The authority that OpenSSL is told of is the new one already.
            let began = Instant::now();
            while !server.openssl(&[]).status.success() {
                assert!(
                    began.elapsed() < RENEWED_MAX,
                    "the gate does not take its new certificate"
                );
                assert_eq!(client.call_raw(ECHO, b"meanwhile").await.unwrap(), &b"meanwhile"[..]);
            }
            assert_eq!(client.call_raw(ECHO, b"after").await.unwrap(), &b"after"[..]);
        })
        .unwrap();
    server.rig.stop().unwrap();
}

#[test]
fn while_tls_is_introduced_both_kinds_of_processes_are_linked() {
    let dir = TempDir::new().unwrap();
    certify_as(dir.path(), &[("gate", "gates.test"), ("room", "rooms.test")]);
    let stores = Stores::default();
    let more = "allowPlain = true\npeerNames = ['gates.test', 'rooms.test']";
    let _node = start_node(&process(&stores, dir.path(), "room", more));
    let new = start_gate(&process(&stores, dir.path(), "gate", more), "gate-new");
    assert_eq!(new.client().call(ECHO, "new").text(), "new");
    let old = start_gate(&stores.process(), "gate-old");
    assert_eq!(old.client().call(ECHO, "old").text(), "old");
}

#[test]
fn links_without_an_authority_or_with_one_alone_are_not_built() {
    let dir = TempDir::new().unwrap();
    certify_as(dir.path(), &[("room", "room-1")]);
    for (line, part) in [
        ("caFile = 'ca.pem'", "certFile is not"),
        ("certFile = 'a'\nkeyFile = 'b'", "caFile is not"),
        ("keyFile = 'b'", "yumen.cluster.keyFile is set"),
        (
            "certFile = 'a'\nkeyFile = 'b'\ncaFile = 'c'",
            "yumen.cluster.caFile \"c\" cannot be read",
        ),
    ] {
        let text = format!("[yumen.cluster]\n{line}");
        let settings = Settings::parse(&text, Path::new("etc.toml")).unwrap();
        let cluster = Stores::default().process().settings(&settings);
        let why = rig::gate(&cluster).build().map(drop).unwrap_err().to_string();
        assert!(why.contains(part), "{part}: {why}");
    }
}
