//! Who is not answered: strangers, web pages, and clients that take too much or too long.

use super::{Answer, Operated, answer, connect, exchange, path};
use crate::rig::{self, Rig};
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
};
use yumen_cluster::{
    admin::{Admin, ENDPOINTS},
    app::App,
    cluster::Cluster,
};

const TOKEN: &str = "0123456789abcdef";

#[test]
fn with_a_token_only_health_is_told_to_those_who_do_not_know_it() {
    let operated = Operated::start(TOKEN);
    operated.until("/readyz", 200);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (method, target, _) in ENDPOINTS {
        let open = ["/healthz", "/readyz"].contains(&target);
        for lines in [String::new(), bearer("0123456789abcdeF"), bearer(""), bearer(&TOKEN[1..])] {
            let answer = operated.ask(method, path(target), &lines, "");
            assert_eq!(answer.status == 401, !open, "{method} {target}: {answer:?}");
            assert_eq!(answer.head.contains("www-authenticate: bearer"), !open, "{answer:?}");
            assert!(!answer.body.contains(TOKEN), "{answer:?}");
        }
        if method == "GET" {
            let answer = operated.ask(method, path(target), &bearer(TOKEN), "");
            assert_ne!(answer.status, 401, "{target}: {answer:?}");
        }
    }
    let unknown = operated.get("/nothing");
    assert_eq!(unknown.refusal().0, 401, "a path tells a stranger nothing");
    assert_eq!(operated.get("/readyz").status, 200, "nobody has drained it");
}

#[test]
fn a_page_that_points_its_name_at_this_machine_is_refused() {
    let operated = Operated::start("");
    operated.until("/readyz", 200);
    let status = |host: &str, more: &str| {
        let request = format!("GET /instances HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
        exchange(operated.admin, &request)
    };
    let port = operated.admin.port();
    for host in ["localhost", "127.0.0.1", &format!("localhost:{port}"), &format!("[::1]:{port}")] {
        assert_eq!(status(host, "").status, 200, "{host}");
    }
    for (host, more) in [
        ("evil.example", ""),
        ("127.0.0.1.evil.example", ""),
        ("localhost", "Host: evil.example\r\n"),
        ("localhost", "Origin: http://evil.example\r\n"),
        ("localhost", "Origin: null\r\n"),
        ("localhost", "Sec-Fetch-Site: cross-site\r\n"),
    ] {
        let answer = status(host, more);
        assert!([400, 403].contains(&answer.status), "{host} {more}: {answer:?}");
        assert!(!answer.head.contains("access-control"), "no CORS: {answer:?}");
    }
    let answer = operated.ask("POST", "/drain", "Origin: http://localhost\r\n", "");
    assert_eq!(answer.refusal().0, 403);
    assert_eq!(operated.get("/readyz").status, 200, "nothing was drained");
    let old = exchange(operated.admin, "GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 200, "an old probe names no host, and a browser always does");
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let operated = Operated::start("");
    let long = format!("X-Long: {}\r\n", "x".repeat(9 * 1024));
    let answer = operated.ask("GET", "/healthz", &long, "");
    assert_eq!(answer.status, 431, "{answer:?}");
    assert_eq!(operated.get("/healthz").status, 200);
}

#[test]
fn one_connection_is_one_request() {
    let operated = Operated::start("");
    let twice = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    let answer = exchange(operated.admin, &twice);
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    assert!(answer.head.contains("connection: close"), "{answer:?}");
}

/// Sends the beginning of a request, and no more.
fn half(operated: &Operated) -> TcpStream {
    let mut stream = connect(operated.admin);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").unwrap();
    stream
}

#[test]
fn slow_clients_are_closed_and_hold_nobody_up() {
    let operated = Operated::start("");
    let slow: Vec<_> = (0..40).map(|_| half(&operated)).collect();
    assert_eq!(operated.get("/healthz").status, 200, "beside them");
    for stream in slow {
        // Its time-out is longer than the limit; without a limit this fails.
        let end: Option<Answer> = answer(stream);
        assert!(end.is_none_or(|answer| answer.status == 408), "closed, with or without a word");
    }
}

#[test]
fn connections_are_bounded_and_those_that_end_make_room() {
    let operated = Operated::start("");
    operated.until("/readyz", 200);
    let mut open: Vec<_> = (0..64).map(|_| half(&operated)).collect();
    // Accepted in order: by now all 64 are there, and this one is one too many.
    assert!(answer(half(&operated)).is_none(), "closed at once");
    drop(open.split_off(32));
    rig::until("there is room again", || {
        let mut stream = connect(operated.admin);
        let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        sent.ok().and_then(|()| answer(stream)).filter(|answer| answer.status == 200)
    });
}

#[test]
fn an_admin_for_other_machines_bounds_what_one_of_them_takes() {
    let cluster = Cluster::in_process();
    let gate = rig::gate(&cluster).build().unwrap();
    let admin = Admin::bind("0.0.0.0:0", TOKEN).unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], admin.addr().port()));
    let rig = Rig::start(App::default().with(gate).admin(admin));
    let named = "GET /instances HTTP/1.1\r\nHost: game.example\r\n";
    let answer_to = |more: &str| exchange(addr, &format!("{named}{more}\r\n")).status;
    assert_eq!(answer_to(&format!("Authorization: Bearer {TOKEN}\r\n")), 200, "it has a name");
    assert_eq!(answer_to(""), 401);
    assert_eq!(answer_to("Origin: http://game.example\r\n"), 403);
    let begin = || {
        let mut stream = connect(addr);
        stream.write_all(named.as_bytes()).unwrap();
        stream
    };
    let _open: Vec<_> = (0..16).map(|_| begin()).collect();
    assert!(answer(begin()).is_none(), "the 17th is closed at once");
    rig.stop().unwrap();
}
