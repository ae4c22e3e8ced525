//! A peer that vanishes: its network goes away, and neither a FIN nor a RST is ever sent.
//!
//! The test starts itself once more inside a network namespace of its own; the peer lives in another one, at the
//! far end of a virtual cable that is unplugged.

use crate::{not_here, run};
use std::{
    future::poll_fn,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use yumen_net::{
    alive::Alive,
    socket::Socket,
    tcp::{Bound, bind_with},
};

/// What tells the test that it is inside.
const INSIDE: &str = "YUMEN_TEST_INSIDE";
/// Far more than any bound here, for slow machines; far less than the system's own quarter of an hour.
const PATIENCE: Duration = Duration::from_secs(25);

/// The far end: takes its end of the cable, connects, greets, and unplugs the cable when told.
const PEER: &str = "echo ready; read name port; ip addr add 10.77.0.2/24 dev $name; ip link set $name up; \
                    exec 3<>/dev/tcp/10.77.0.1/$port; printf hello >&3; read word; \
                    ip link set $name down; echo down; read word";

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status();
    assert!(done.expect("`apt-get install -y iproute2`").success(), "ip {words}");
}

struct Peer {
    process: Child,
    says: Box<dyn BufRead>,
}

impl Peer {
    /// A peer behind a cable whose near end is `near`, and that port of ours.
    fn plugged(near: &str, far: &str, port: u16) -> Self {
        let mut command = Command::new("unshare");
        command.args(["-n", "bash", "-c", PEER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let says = Box::new(BufReader::new(process.stdout.take().unwrap()));
        let mut peer = Self { process, says };
        peer.hear("ready");
        ip(&format!("link set {far} netns {}", peer.process.id()));
        ip(&format!("addr add 10.77.0.1/24 dev {near}"));
        ip(&format!("link set {near} up"));
        peer.tell(&format!("{far} {port}"));
        peer
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _it_may_have_ended = self.process.kill();
        let _whatever_it_says = self.process.wait();
    }
}

async fn read(socket: &mut Socket) -> std::io::Result<usize> {
    let mut space = [0; 64];
    poll_fn(|cx| socket.poll_read(cx, &mut space)).await
}

#[test]
fn a_peer_that_vanishes_without_a_word_is_given_up_within_the_bound_idle_or_not() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let may = Command::new("unshare").args(["-rn", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|may| may.success()) {
        return not_here("the right to make a network namespace");
    }
    let own = std::env::current_exe().unwrap();
    let name = "a_peer_that_vanishes_without_a_word_is_given_up_within_the_bound_idle_or_not";
    let mut command = Command::new("unshare");
    command.arg("-rn").arg(own).arg(name).arg("--nocapture").env(INSIDE, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("gave up"), "{said}\n{errors}");
}

fn inside() {
    ip("link set lo up");
    let second = Duration::from_secs(1);
    // Idle: only questions find out. Under way: only bytes that are not acknowledged do.
    let idle = Alive { ask_after: second, silent_max: second * 3 };
    let busy = Alive { ask_after: Duration::ZERO, silent_max: second * 3 };
    for (alive, near, far) in [(idle, "near1", "far1"), (busy, "near2", "far2")] {
        ip(&format!("link add {near} type veth peer name {far}"));
        run(async move {
            let listener = bind_with("0.0.0.0:0", alive).unwrap();
            let port = listener.local_addr().unwrap().port();
            let bound = Bound::new(listener).unwrap();
            let mut peer = Peer::plugged(near, far, port);
            let (loose, _) = bound.accept_loose().await.unwrap();
            let mut socket = loose.settle().unwrap();
            assert_eq!(read(&mut socket).await.unwrap(), 5);
            peer.tell("down");
            peer.hear("down");
            let began = Instant::now();
            if alive.ask_after.is_zero() {
                assert_eq!(socket.try_write(b"is anybody there?").unwrap(), 17);
            }
            let result = tokio::time::timeout(PATIENCE, read(&mut socket)).await;
            let error = result.expect("it is noticed").unwrap_err();
            println!("gave up after {:?}: {error}", began.elapsed());
            assert!(began.elapsed() >= second, "not before it was silent for a while");
        });
        ip(&format!("link del {near}"));
    }
}
