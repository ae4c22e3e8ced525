//! A real Redis for one test, and all that is written to it.

use crate::launch::Launched;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use yumen_plugins::redis::RedisLocator;

/// A server on a free port, gone with the test.
pub(crate) struct Redis(Launched);

impl Redis {
    pub(crate) fn start() -> Self {
        Self(Launched::start())
    }

    pub(crate) fn addr(&self) -> String {
        self.0.addr()
    }

    /// With the keys of the recording.
    pub(crate) fn locator(&self) -> RedisLocator {
        RedisLocator::builder().addr(self.addr()).prefix("due").build().unwrap()
    }

    pub(crate) fn connect(&self) -> Raw {
        let socket = TcpStream::connect(self.addr()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Raw { me: socket.local_addr().unwrap(), socket: BufReader::new(socket) }
    }

    /// Writes down what is done from now on.
    pub(crate) fn monitor(&self) -> Monitor {
        let mut raw = self.connect();
        assert_eq!(raw.run(&["MONITOR"]), "OK");
        Monitor(raw)
    }
}

/// A connection of a due process, which writes what it always wrote.
pub(crate) struct Raw {
    pub(crate) me: SocketAddr,
    socket: BufReader<TcpStream>,
}

impl Raw {
    /// Runs a command; the first line of its answer.
    pub(crate) fn run(&mut self, words: &[&str]) -> String {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.socket.get_mut().write_all(text.as_bytes()).unwrap();
        let mut line = self.line();
        if let Some(len) = line.strip_prefix('$').and_then(|len| len.parse::<usize>().ok()) {
            let mut bulk = vec![0; len + 2];
            self.socket.read_exact(&mut bulk).unwrap();
            line = String::from_utf8_lossy(&bulk[..len]).into_owned();
        }
        line.trim_start_matches(['+', ':']).to_owned()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.socket.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// As due's gate binds a user.
    pub(crate) fn bind_gate(&mut self, user: i64) {
        self.run(&["SET", &format!("due:locate:user:{user}:gate"), "gate-1", "KEEPTTL"]);
        self.tell("gate", user, 1, "");
    }

    pub(crate) fn unbind_gate(&mut self, user: i64) {
        self.run(&["DEL", &format!("due:locate:user:{user}:gate")]);
        self.tell("gate", user, 3, "");
    }

    pub(crate) fn bind_node(&mut self, user: i64) {
        self.run(&["HSET", &format!("due:locate:user:{user}:node"), "node", "node-1"]);
        self.tell("node", user, 2, "node");
    }

    pub(crate) fn unbind_node(&mut self, user: i64) {
        self.run(&["HDEL", &format!("due:locate:user:{user}:node"), "node"]);
        self.tell("node", user, 4, "node");
    }

    fn tell(&mut self, kind: &str, user: i64, what: u8, name: &str) {
        let event = format!(
            r#"{{"uid":{user},"type":{what},"insID":"{kind}-1","insKind":"{kind}","insName":"{name}"}}"#
        );
        self.run(&["PUBLISH", &format!("due:locate:cluster:{kind}:event"), &event]);
    }
}

/// Everything that was done.
pub(crate) struct Monitor(Raw);

impl Monitor {
    /// What others than `except` have written to due's keys and channels, in order: the lower-case word,
    /// key or channel, and value.
    pub(crate) fn written(mut self, except: &[SocketAddr], last: &mut Raw) -> Vec<Vec<String>> {
        last.run(&["ECHO", "that is all"]);
        let mut all = Vec::new();
        loop {
            let line = self.0.line();
            if line.contains("\"that is all\"") {
                return all;
            }
            let (who, rest) = line.split_once("] ").unwrap();
            if except.iter().any(|addr| who.ends_with(&addr.to_string())) {
                continue;
            }
            let word = rest.split('"').nth(1).unwrap_or_default().to_lowercase();
            if !["set", "del", "hset", "hdel", "publish"].contains(&word.as_str()) {
                continue;
            }
            let mut words = words(rest);
            words[0] = word;
            if words[1].starts_with("due:locate:") {
                all.push(words);
            }
        }
    }
}

/// The words of a line of the monitor, each in quotes.
fn words(line: &str) -> Vec<String> {
    let json = line.replace("\\x", "\\\\x").replace("\" \"", "\",\"");
    serde_json::from_str::<Vec<String>>(&format!("[{json}]"))
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}
