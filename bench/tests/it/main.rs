//! The relay under the generator, each loop on a thread of its own; and the commands as they are.
#![expect(clippy::expect_used, reason = "tests")]
mod commands;

use std::io::{self, PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use yumen::proto::{Layout, RouteId, Width};
use yumen_bench::generator::{BodyCodec, Expect, Generator, Load, Measured, Request, Target};
use yumen_bench::relay;

/// One loop on a thread, which ends when its pipe does.
struct Loop {
    stop: PipeWriter,
    thread: JoinHandle<io::Result<()>>,
}

impl Loop {
    fn start(run: impl FnOnce(PipeReader) -> io::Result<()> + Send + 'static) -> Self {
        let (stopped, stop) = io::pipe().expect("pipe");
        Self { stop, thread: thread::spawn(move || run(stopped)) }
    }

    /// Ends it, and the test if it had failed.
    fn stop(self) {
        drop(self.stop);
        self.thread.join().expect("no panic").expect("no error");
    }
}

struct Relay {
    address: SocketAddr,
    gate: Loop,
    node: Loop,
}

impl Relay {
    fn start() -> Self {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let node = relay::listen(any).expect("node listens");
        let gate = relay::listen(any).expect("gate listens");
        let to_node = node.local_addr().expect("bound");
        let address = gate.local_addr().expect("bound");
        Self {
            address,
            node: Loop::start(move |stop| relay::run_node(node, stop.as_fd())),
            gate: Loop::start(move |stop| relay::run_gate(gate, to_node, stop.as_fd())),
        }
    }

    /// The gate ends first: to lose its node would be an error of the gate's.
    fn stop(self) {
        self.gate.stop();
        self.node.stop();
    }
}

fn request(letters: usize) -> Request {
    let layout = Layout {
        route: Width::Four,
        seq: Some(Width::Four),
        body_max: 200_000,
        receive_max: 200_000,
        ..Layout::default()
    };
    Request {
        layout,
        route: RouteId(1),
        body: BodyCodec::Json.echo(letters),
        expect: Expect::Echo,
        announce: true,
    }
}

fn measure(relay: &Relay, connections: usize, letters: usize, load: Load) -> Measured {
    let target = Target::tcp(relay.address);
    let mut generator =
        Generator::connect(&target, connections, request(letters)).expect("connects");
    generator.run(load, &mut |_| ()).expect("runs")
}

fn all_answered(measured: &Measured, messages: u64) {
    let counts = (measured.sent, measured.received, measured.errors(), measured.closed);
    assert_eq!(counts, (messages, messages, 0, 0));
}

#[test]
fn the_relay_answers_every_message_of_a_closed_loop() {
    let relay = Relay::start();
    let load = Load::Closed { depth: 8, messages: 10_000 };
    all_answered(&measure(&relay, 20, 1024, load), 10_000);
    relay.stop();
}

#[test]
fn the_relay_forwards_packets_longer_than_a_read() {
    let relay = Relay::start();
    let load = Load::Closed { depth: 16, messages: 500 };
    all_answered(&measure(&relay, 4, 150_000, load), 500);
    relay.stop();
}

#[test]
fn the_relay_serves_others_after_a_client_has_left() {
    let relay = Relay::start();
    let load = Load::Closed { depth: 2, messages: 100 };
    all_answered(&measure(&relay, 5, 64, load), 100);
    all_answered(&measure(&relay, 5, 64, load), 100);
    relay.stop();
}
