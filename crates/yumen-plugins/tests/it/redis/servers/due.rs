//! Side by side with processes of due's, played by the commands that a running due v2.5.8 sent.

use super::*;
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

const GATES: &str = "due:locate:cluster:gate:event";
const NODES: &str = "due:locate:cluster:node:event";

/// Due's script to take a gate away.
const UNBIND_GATE: &str = "local v = redis.call('get', KEYS[1]) \
    if not v or v == '' or v ~= ARGV[1] then return {'NO'} end \
    redis.call('del', KEYS[1]) return {'OK'}";

/// What due sends and what it tells for one change.
async fn due(conn: &mut redis::aio::MultiplexedConnection, commands: &[&[&str]]) {
    for command in commands {
        let _: redis::Value = raw(conn, command).await;
    }
}

fn bind_gate(uid: i64, gate: &str) -> [Vec<String>; 2] {
    let key = format!("due:locate:user:{uid}:gate");
    let set = ["set", &key, gate, "keepttl"].map(str::to_owned).to_vec();
    let event =
        format!(r#"{{"uid":{uid},"type":1,"insID":"{gate}","insKind":"gate","insName":""}}"#);
    [set, ["publish", GATES, &event].map(str::to_owned).to_vec()]
}

pub(super) async fn due_unbinds(
    conn: &mut redis::aio::MultiplexedConnection,
    uid: i64,
    gate: &str,
) {
    let key = format!("due:locate:user:{uid}:gate");
    let answer: Vec<String> = raw(conn, &["eval", UNBIND_GATE, "1", &key, gate]).await;
    if answer == ["OK"] {
        let event =
            format!(r#"{{"uid":{uid},"type":3,"insID":"{gate}","insKind":"gate","insName":""}}"#);
        due(conn, &[&["publish", GATES, &event]]).await;
    }
}

pub(super) async fn due_binds(conn: &mut redis::aio::MultiplexedConnection, uid: i64, gate: &str) {
    for command in bind_gate(uid, gate) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        due(conn, &[&words]).await;
    }
}

#[tokio::test]
async fn what_due_writes_is_found_and_told_with_epochs_that_grow() {
    let server = Server::start();
    let (one, other) = (server.locator(), server.locator());
    for process in [&one, &other] {
        process.find(UserId(1), &Role::Gate).await.unwrap();
    }
    let mut moves = [one.watch(), other.watch()];
    let mut peer = server.raw().await;
    let (user, gate) = (UserId(1001), Place::gate("gate-1"));
    let room = Place::node("node", "node-1");

    due_binds(&mut peer, 1001, "gate-1").await;
    let found = one.find(user, &Role::Gate).await.unwrap().unwrap();
    assert_eq!(found.place, gate);
    let first = found.epoch;
    due(
        &mut peer,
        &[
            &["hset", "due:locate:user:1001:node", "node", "node-1"],
            &[
                "publish",
                NODES,
                r#"{"uid":1001,"type":2,"insID":"node-1","insKind":"node","insName":"node"}"#,
            ],
        ],
    )
    .await;
    for moves in &mut moves {
        let told = within(10, moves.next()).await.unwrap();
        assert_eq!(told, Moved::Claimed { user, place: gate.clone(), epoch: first });
        let told = within(10, moves.next()).await.unwrap();
        assert!(matches!(told, Moved::Claimed { place, .. } if place == room));
    }
    due_binds(&mut peer, 1001, "gate-2").await;
    let mut second = Epoch(0);
    for moves in &mut moves {
        let told = within(10, moves.next()).await.unwrap();
        let Moved::Claimed { place, epoch, .. } = told else { panic!("{told:?}") };
        assert_eq!(place, Place::gate("gate-2"));
        assert!(epoch > first, "epochs only grow");
        second = epoch;
    }
    let answer: Vec<String> =
        raw(&mut peer, &["eval", UNBIND_GATE, "1", "due:locate:user:1001:gate", "gate-2"]).await;
    assert_eq!(answer, ["OK"]);
    let event = r#"{"uid":1001,"type":3,"insID":"gate-2","insKind":"gate","insName":""}"#;
    due(&mut peer, &[&["publish", GATES, event]]).await;
    for moves in &mut moves {
        let told = within(10, moves.next()).await.unwrap();
        let place = Place::gate("gate-2");
        assert_eq!(told, Moved::Released { user, place, epoch: second });
    }
    assert_eq!(one.find(user, &Role::Gate).await.unwrap(), None);
    assert!(other.find(user, &room.role).await.unwrap().is_some(), "the node keeps its user");
    assert!(moves.iter_mut().all(|moves| moves.try_next().is_none()), "each change told once");
}

#[tokio::test]
async fn a_place_that_due_wrote_before_anybody_listened_is_found_and_displaced() {
    let server = Server::start();
    let mut peer = server.raw().await;
    let _: () = raw(&mut peer, &["set", "due:locate:user:7:gate", "gate-of-due"]).await;
    let locator = server.locator();
    let gate = Place::gate("gate-1");
    let life = locator.open(&gate.instance).await.unwrap();
    let claim = locator.claim(UserId(7), &gate, Some(life)).await.unwrap();
    let lost = claim.previous.unwrap();
    assert_eq!(lost.place, Place::gate("gate-of-due"), "due's gate lost the user");
    assert!(lost.epoch < claim.epoch);
    // due writes over it, and its event is lost: still found, still newer.
    let _: () = raw(&mut peer, &["set", "due:locate:user:7:gate", "gate-of-due", "keepttl"]).await;
    let found = locator.find(UserId(7), &Role::Gate).await.unwrap().unwrap();
    assert_eq!(found.place.instance.as_str(), "gate-of-due");
    assert!(found.epoch > claim.epoch);
    assert!(!locator.release(UserId(7), &gate, claim.epoch).await.unwrap(), "and not released");
    locator.close(&gate.instance, life).await.unwrap();
    let value: String = raw(&mut peer, &["get", "due:locate:user:7:gate"]).await;
    assert_eq!(value, "gate-of-due", "nor does the end of the loser touch it");
    // due's own compare-and-delete, its event lost too.
    let _: i64 = raw(&mut peer, &["del", "due:locate:user:7:gate"]).await;
    assert_eq!(locator.find(UserId(7), &Role::Gate).await.unwrap(), None);
}

#[tokio::test]
async fn more_than_can_be_followed_up_is_told_as_a_loss() {
    const LOGINS: i64 = 20_000;
    let server = Server::start();
    let locator = server.locator();
    locator.find(UserId(1), &Role::Gate).await.unwrap();
    let mut moves = locator.watch();
    let mut peer = server.raw().await;
    let mut flood = redis::pipe();
    for uid in 1..=LOGINS {
        for words in bind_gate(uid, "gate-of-due") {
            let (name, rest) = words.split_first().unwrap();
            flood.cmd(name).arg(rest).ignore();
        }
    }
    let _: () = flood.query_async(&mut peer).await.unwrap();
    let claimed = |moved: &Moved| matches!(moved, Moved::Claimed { .. });
    assert_eq!(next_but(&mut moves, claimed).await, Moved::Lost);
    // And later ones are followed up, once there is room again.
    let another = |moved: &Moved| match moved {
        Moved::Claimed { place, .. } => place.instance.as_str().starts_with("another-"),
        _ => false,
    };
    let mut followed = false;
    for round in 0..200 {
        due_binds(&mut peer, 1, &format!("another-{round}")).await;
        while let Ok(moved) = tokio::time::timeout(Duration::from_millis(100), moves.next()).await {
            followed |= another(&moved.unwrap());
        }
        if followed {
            break;
        }
    }
    assert!(followed);
    assert_eq!(
        locator.find(UserId(LOGINS), &Role::Gate).await.unwrap().unwrap().place,
        Place::gate("gate-of-due")
    );
}

/// A studio that goes back to due starts due's gate under the id of ours.
#[tokio::test]
async fn a_gate_of_dues_under_the_id_of_a_dead_one_of_ours_keeps_its_users() {
    let server = Server::start();
    let (killed, locator) = (server.locator(), server.locator());
    let gate = Place::gate("gate-1");
    let life = killed.open(&gate.instance).await.unwrap();
    for user in [UserId(1), UserId(2)] {
        killed.claim(user, &gate, Some(life)).await.unwrap();
    }
    locator.find(UserId(1), &Role::Gate).await.unwrap();
    let mut moves = locator.watch();
    drop(killed);
    // Its life is over, and whoever ended it has died before it could take the places away.
    let mut peer = server.raw().await;
    let _: i64 = raw(&mut peer, &["hdel", "due:yumen:lives", "gate-1"]).await;
    let life = life.to_string();
    let _: i64 = raw(&mut peer, &["hset", "due:yumen:ended", "gate-1", &life]).await;
    due_binds(&mut peer, 1, "gate-1").await;
    let told = within(10, moves.next()).await.unwrap();
    assert!(matches!(told, Moved::Claimed { user: UserId(1), .. }), "{told:?}");
    // Somebody who looks takes away the rest, once all is well for long enough.
    locator.open(&"gate-2".into()).await.unwrap();
    within(30, async {
        while keys(&mut peer).await.contains(&"due:locate:user:2:gate".to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while keys(&mut peer).await.contains(&"due:yumen:ended".to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let found = locator.find(UserId(1), &Role::Gate).await.unwrap();
    assert_eq!(found.map(|found| found.place), Some(gate), "due's user stays");
    let value: String = raw(&mut peer, &["get", "due:locate:user:1:gate"]).await;
    assert_eq!(value, "gate-1");
}

/// Commands that reach due's keys and channels, in order, as the server executed them.
struct Monitor(BufReader<TcpStream>);

impl Monitor {
    fn start(server: &Server) -> Self {
        let mut conn = TcpStream::connect(server.addr()).unwrap();
        conn.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        conn.write_all(b"MONITOR\r\n").unwrap();
        let mut this = Self(BufReader::new(conn));
        assert_eq!(this.line(), "+OK");
        this
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Everything until `ECHO over`, without what reads.
    fn until_over(mut self) -> Vec<Vec<String>> {
        let mut seen = Vec::new();
        loop {
            let words = words(&self.line());
            match words.first().map(|word| word.to_lowercase()).as_deref() {
                Some("echo") => return seen,
                Some("set" | "hset" | "del" | "hdel" | "publish")
                    if words[1].starts_with("due:locate:") =>
                {
                    seen.push(words);
                }
                _ => {}
            }
        }
    }
}

/// The quoted words of a line of MONITOR.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = line.chars();
    while letters.by_ref().any(|letter| letter == '"') {
        let mut word = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '"' => break,
                '\\' => word.extend(letters.next()),
                other => word.push(other),
            }
        }
        words.push(word);
    }
    words
}

/// The same keys, values, words and bytes as in a recording of due v2.5.8: two users log in, one from a
/// second connection too, then unbind and leave.
#[tokio::test]
async fn what_reaches_redis_is_what_due_sent() {
    let recorded: &[&[&str]] = &[
        &["set", "due:locate:user:1001:gate", "gate-1", "keepttl"],
        &[
            "publish",
            GATES,
            r#"{"uid":1001,"type":1,"insID":"gate-1","insKind":"gate","insName":""}"#,
        ],
        &["hset", "due:locate:user:1001:node", "node", "node-1"],
        &[
            "publish",
            NODES,
            r#"{"uid":1001,"type":2,"insID":"node-1","insKind":"node","insName":"node"}"#,
        ],
        &["set", "due:locate:user:1002:gate", "gate-1", "keepttl"],
        &[
            "publish",
            GATES,
            r#"{"uid":1002,"type":1,"insID":"gate-1","insKind":"gate","insName":""}"#,
        ],
        &["set", "due:locate:user:1001:gate", "gate-1", "keepttl"],
        &[
            "publish",
            GATES,
            r#"{"uid":1001,"type":1,"insID":"gate-1","insKind":"gate","insName":""}"#,
        ],
        // In the recording by due's scripts, which are named by their hash.
        &["hdel", "due:locate:user:1001:node", "node"],
        &[
            "publish",
            NODES,
            r#"{"uid":1001,"type":4,"insID":"node-1","insKind":"node","insName":"node"}"#,
        ],
        &["del", "due:locate:user:1001:gate"],
        &[
            "publish",
            GATES,
            r#"{"uid":1001,"type":3,"insID":"gate-1","insKind":"gate","insName":""}"#,
        ],
        &["del", "due:locate:user:1002:gate"],
        &[
            "publish",
            GATES,
            r#"{"uid":1002,"type":3,"insID":"gate-1","insKind":"gate","insName":""}"#,
        ],
    ];
    let server = Server::start();
    let locator = server.locator();
    let (gate, node) = (Place::gate("gate-1"), Place::node("node", "node-1"));
    let life = locator.open(&gate.instance).await.unwrap();
    let node_life = locator.open(&node.instance).await.unwrap();
    let monitor = Monitor::start(&server);
    let (a, b) = (UserId(1001), UserId(1002));
    locator.find(UserId(777), &Role::Gate).await.unwrap();
    locator.claim(a, &gate, Some(life)).await.unwrap();
    let bound = locator.claim(a, &node, Some(node_life)).await.unwrap();
    locator.claim(b, &gate, Some(life)).await.unwrap();
    let again = locator.claim(a, &gate, Some(life)).await.unwrap();
    assert!(locator.release(a, &node, bound.epoch).await.unwrap());
    assert!(locator.release(a, &gate, again.epoch).await.unwrap());
    // The other one is taken away by the end of its gate: due's processes are told that too.
    assert!(locator.close(&gate.instance, life).await.unwrap());
    let mut admin = server.raw().await;
    let _: String = raw(&mut admin, &["ECHO", "over"]).await;
    let seen = monitor.until_over();
    assert_eq!(seen, recorded);
}
