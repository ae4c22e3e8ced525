//! One run of the program under test, and a client of it.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What makes this binary the program under test, and the beginning of its settings' names.
pub(crate) const ROLE: &str = "LIFE_OF_A_PROGRAM";
/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A setting of the program under test.
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(format!("{ROLE}_{name}")).ok()
}

/// A run of the program.
pub(crate) struct Run {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    /// Everything it has said so far, errors included.
    pub(crate) said: Vec<String>,
    /// Where it runs.
    pub(crate) dir: TempDir,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: Vec<String>,
}

impl Run {
    /// Starts the program with these settings.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_after(":", settings, &[])
    }

    /// Starts it with these arguments, behind a shell that runs `before` and puts errors and output
    /// in one line, so that their order can be seen.
    pub(crate) fn start_after(before: &str, settings: &[(&str, &str)], args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} && exec \"$0\" \"$@\" 2>&1")]);
        command.arg(std::env::current_exe().unwrap()).args(args).current_dir(dir.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("YUMEN_") {
                command.env_remove(name);
            }
        }
        command.env(ROLE, "1").env("TZ", "UTC");
        for name in ["RUST_BACKTRACE", "DUE_ETC", "DUE_MODE"] {
            command.env_remove(name);
        }
        for (name, value) in settings {
            command.env(format!("{ROLE}_{name}"), value);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tx, lines) = sync_channel(10_000);
        let reader = Some(read_lines(child.stdout.take().unwrap(), tx));
        let stdin = child.stdin.take();
        Self { child, stdin, lines, reader, said: Vec::new(), dir }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains `part`, and gives it.
    pub(crate) fn until(&mut self, part: &str) -> String {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{part:?} was never said:\n{}", self.said.join("\n"));
            };
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits until clients are let in; gives where.
    pub(crate) fn serving(&mut self) -> SocketAddr {
        let line = self.until("Gate Server: [tcp] ");
        let address = line.rsplit(' ').next().unwrap().parse().unwrap();
        self.until("Gate Instances: ");
        address
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.said.join("\n"));
            self.said.extend(self.lines.recv_timeout(Duration::from_millis(20)));
        };
        self.reader.take().into_iter().for_each(|reader| reader.join().unwrap());
        self.said.extend(self.lines.try_iter());
        Ended { code: status.code(), said: std::mem::take(&mut self.said) }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, to: SyncSender<String>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _nobody_reads = to.send(line);
        }
    })
}

impl Ended {
    /// Which line is the first to contain `part`.
    pub(crate) fn at(&self, part: &str) -> usize {
        let at = self.said.iter().position(|line| line.contains(part));
        at.unwrap_or_else(|| panic!("{part:?} was never said:\n{}", self.said.join("\n")))
    }

    /// Checks that these were said in this order.
    pub(crate) fn in_order(&self, parts: &[&str]) {
        let places: Vec<_> = parts.iter().map(|part| self.at(part)).collect();
        assert!(places.is_sorted(), "{parts:?} at {places:?}:\n{}", self.said.join("\n"));
    }

    pub(crate) fn code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "\n{}", self.said.join("\n"));
    }
}

/// A client as due has them: one socket.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub(crate) fn send(&mut self, route: i32, body: &str) {
        self.0.write_all(&packet(route, body)).unwrap();
    }

    /// Sends, and waits for the same to come back.
    pub(crate) fn call(&mut self, route: i32, body: &str) {
        self.send(route, body);
        self.expect(route, body);
    }

    pub(crate) fn expect(&mut self, route: i32, body: &str) {
        let expected = packet(route, body);
        let mut read = vec![0; expected.len()];
        self.0.read_exact(&mut read).unwrap();
        assert_eq!(read, expected);
    }

    /// Everything until the end of the connection, which must be an end and no reset.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

fn packet(route: i32, body: &str) -> Vec<u8> {
    let route = u16::try_from(route).unwrap().to_be_bytes();
    let rest = [&[0][..], &route, &[0, 7], body.as_bytes()].concat();
    [&u32::try_from(rest.len()).unwrap().to_be_bytes()[..], &rest].concat()
}
