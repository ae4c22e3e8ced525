//! Out of descriptors: a real limit, in a process of its own.

use crate::run;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};
use yumen_net::{
    acceptor::{Counts, accept, door},
    limit::Limiter,
    tcp::bind,
};

const DESCRIPTORS: u64 = 64;
const CLIENTS: usize = 100;

#[test]
fn being_out_of_descriptors_is_waited_out() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "exhausted::child", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.find_map(|line| line.unwrap().split_once("port ").map(|(_, p)| p.to_owned()));
    let port: u16 = port.unwrap().parse().unwrap();
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert!(child.wait().unwrap().success());
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

/// Counts the warnings of this process.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicU64>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target() == "yumen_net::acceptor"
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Takes connections until `accept` fails, lets go of them, and takes the rest.
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn child() {
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let warnings = Warnings::default();
    let _until_the_end = tracing::subscriber::set_default(warnings.clone());
    run(async {
        let listener = bind("127.0.0.1:0").unwrap();
        println!("port {}", listener.local_addr().unwrap().port());
        let (entrance, mut door) = door();
        let counts = Arc::new(Counts::new(1));
        let task = accept(listener, 0, Limiter::new(0, 0), vec![entrance], Arc::clone(&counts));
        let task = tokio::task::spawn_local(task);
        let (mut held, mut tick) = (Vec::new(), tokio::time::interval(Duration::from_millis(1)));
        let (mut taken, mut errors) = (0, 0);
        while taken < CLIENTS {
            tokio::select! {
                more = door.next(&mut held, 10) => assert!(more),
                _ = tick.tick() => {}
            }
            let now = counts.listeners()[0].errors.load(Ordering::Relaxed);
            if now > errors + 2 || taken + held.len() == CLIENTS {
                errors = now;
                taken += held.len();
                held.clear();
            }
        }
        assert!(errors > 0 && !task.is_finished(), "{errors} errors");
        let told = warnings.0.load(Ordering::Relaxed);
        assert_eq!(told, 1, "an operator has to know, and not once for each of {errors} errors");
    });
}
