//! Programs that are one of several: they find each other by a list, and meet over TCP.

use crate::{
    child::{Client, Run},
    program::ECHO,
    stores::BACK,
};
use rustix::process::Signal;

/// Where others reach the instance of that kind, as the banner says.
fn link(run: &mut Run, kind: &str) -> String {
    let line = run.until(&format!("{kind} Link: drpc://"));
    line.rsplit(' ').next().unwrap().to_owned()
}

pub(crate) fn a_gate_and_a_node_in_processes_of_their_own_serve_a_client() {
    let mut node = Run::start(&[("PARTS", "node"), ("OTHERS", "")]);
    let others = format!("node lobby {}", link(&mut node, "Node"));
    let mut gate = Run::start(&[("PARTS", "gate"), ("OTHERS", &others)]);
    let mut client = Client::connect(gate.serving());
    for text in ["hello", "again"] {
        client.call(ECHO, text);
    }
    gate.signal(Signal::TERM);
    assert!(client.rest().is_empty());
    gate.end().code(0);
    node.signal(Signal::TERM);
    node.end().code(0);
}

pub(crate) fn who_listens_for_others_without_a_secret_is_refused_with_what_to_do() {
    let open = [("OTHERS", ""), ("LINKS", ":0")];
    let ended = Run::start(&open).end();
    ended.code(2);
    let said = &ended.said[ended.at("cannot start")];
    for part in
        ["no cluster secret", "yumen.cluster.secret", "127.0.0.1:0", "yumen.cluster.insecure"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (set, warned) in [
        ("yumen.cluster.secret=sixteen bytes or more", false),
        ("yumen.cluster.insecure=true", true),
    ] {
        let mut run = Run::start_after(":", &open, &["--set", set]);
        run.serving();
        run.signal(Signal::TERM);
        let ended = run.end();
        ended.code(0);
        let said = ended.said.iter().any(|line| line.contains("without any proof"));
        assert_eq!(said, warned, "{set}: {:#?}", ended.said);
    }
}

pub(crate) fn a_second_process_of_one_id_is_refused_with_the_first_ones_address() {
    let mut first = Run::start(&[("PARTS", "gate"), ("OTHERS", "")]);
    let address = link(&mut first, "Gate");
    let record = format!("gate gate-1 {address}");
    let second = [("PARTS", "gate"), ("OTHERS", record.as_str())];
    let ended = Run::start(&second).end();
    ended.code(2);
    let said = &ended.said[ended.at("the id is taken")];
    let host = address.trim_start_matches("drpc://");
    assert!(said.contains("gate gate-1") && said.contains(host), "{said}");
    // A node of that id is none of the gate either.
    let node = [("PARTS", "node"), ("NAME", "gate-1"), ("OTHERS", record.as_str())];
    let ended = Run::start(&node).end();
    ended.code(2);
    ended.at("node gate-1: the id is taken by a gate");
    first.signal(Signal::KILL);
    drop(first);
    let mut second = Run::start(&second);
    second.serving();
    second.signal(Signal::TERM);
    let ended = second.end();
    ended.code(0);
    ended.at("that counts for nothing");
}

pub(crate) fn w20_a_start_without_the_registry_serves_and_joins_when_it_is_back() {
    let away = [("OTHERS", ""), ("AWAY", "1")];
    let mut run = Run::start_after(":", &away, &["--set", "yumen.admin.addr=127.0.0.1:0"]);
    run.until("the registry does not say who is there");
    let admin = run.until("Url: http://");
    let admin = admin.rsplit("//").next().unwrap().to_owned();
    let ready = |run: &Run| {
        let mut answer = String::new();
        let mut socket = std::net::TcpStream::connect(&admin).unwrap();
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut socket, request.as_bytes()).unwrap();
        std::io::Read::read_to_string(&mut socket, &mut answer).unwrap();
        assert!(!run.said.is_empty());
        answer
    };
    let answer = ready(&run);
    assert!(answer.contains("503") && answer.contains("not registered"), "{answer}");
    std::fs::write(run.dir.path().join(BACK), "").unwrap();
    run.until("the registry says who is there");
    let began = std::time::Instant::now();
    while !ready(&run).contains("200 OK") {
        assert!(began.elapsed() < crate::child::PATIENCE, "{}", ready(&run));
    }
    run.signal(Signal::TERM);
    run.end().code(0);
}

pub(crate) fn a_signal_ends_a_start_that_waits_for_the_registry() {
    let mut run = Run::start(&[("OTHERS", ""), ("AWAY", "1")]);
    run.until("building");
    run.signal(Signal::TERM);
    let ended = run.end();
    ended.code(0);
    assert!(!ended.said.iter().any(|line| line.contains("gate-1 started")), "{:#?}", ended.said);
}
