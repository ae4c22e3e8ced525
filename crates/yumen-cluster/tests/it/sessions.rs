//! Finding sessions of a gate: which, how many, in which order, and from whom nothing is heard.

use crate::{
    game::{self, LOGIN, World},
    rig::{self, Rig},
};
use std::time::Duration;
use yumen_cluster::{
    app::App,
    cluster::Cluster,
    gate::{GateHandle, SessionPage, SessionQuery},
};
use yumen_proto::{ConnId, UserId};

/// More than an instance describes at once.
const SESSIONS: usize = 210;

fn find(gate: &GateHandle, query: &SessionQuery) -> SessionPage {
    rig::block_on(gate.find(query))
}

fn conns(page: &SessionPage) -> Vec<i64> {
    page.sessions.iter().map(|session| session.conn.0).collect()
}

#[test]
fn sessions_are_found_in_order_and_counted_whether_shown_or_not() {
    let cluster = Cluster::in_process();
    let gate = rig::gate(&cluster).id("one").build().unwrap();
    let (addr, handle) = (gate.addresses()[0], gate.handle());
    let node = rig::node(&cluster, "node", game::routes(), World::default).build().unwrap();
    let _rig = Rig::start(App::default().with(gate).with(node));
    let mut clients: Vec<_> = (0..SESSIONS).map(|_| rig::Peer::announced(addr)).collect();
    assert_eq!(clients[7].call(LOGIN, "77").text(), "welcome");
    let all = SessionQuery { max: 1000, ..SessionQuery::default() };
    let page = find(&handle, &all);
    assert_eq!((page.sessions.len(), page.total), (SESSIONS, SESSIONS as u64));
    assert!(conns(&page).is_sorted(), "{:?}", conns(&page));
    let some = find(&handle, &SessionQuery { max: 3, ..all.clone() });
    assert_eq!((conns(&some), some.total), (conns(&page)[..3].to_vec(), SESSIONS as u64));
    let user = SessionQuery { user: UserId::new(77), ..all.clone() };
    let found = find(&handle, &user);
    assert_eq!((found.sessions.len(), found.total), (1, 1));
    assert_eq!(found.sessions[0].user, UserId::new(77));
    let conn = found.sessions[0].conn;
    let both = |conn| SessionQuery { conn: Some(conn), ..user.clone() };
    assert_eq!(find(&handle, &both(conn)).total, 1);
    assert_eq!(find(&handle, &both(ConnId(conn.0 + 1))).total, 0, "another one's connection");
    let conn = SessionQuery { conn: Some(ConnId(conn.0 + 1)), ..all.clone() };
    assert_eq!(find(&handle, &conn).sessions[0].user, None);
    let elsewhere = SessionQuery { gate: Some("two".into()), ..all.clone() };
    let nothing = find(&handle, &elsewhere);
    assert_eq!((nothing.total, nothing.silent.len()), (0, 0));
}

#[test]
fn instances_that_do_not_answer_are_named_and_not_waited_for() {
    let cluster = Cluster::in_process();
    // It was built and never run: nobody takes the questions.
    let gate = rig::gate(&cluster).id("mute").instances(2).build().unwrap();
    let query = SessionQuery { wait_max: Duration::from_millis(50), ..SessionQuery::default() };
    let page = find(&gate.handle(), &query);
    let silent: Vec<_> = page.silent.iter().map(|id| id.as_str()).collect();
    assert_eq!((page.total, silent), (0, vec!["mute", "mute.1"]));
    let handle = gate.handle();
    drop(gate);
    assert_eq!(find(&handle, &query).silent.len(), 2, "ended");
}
