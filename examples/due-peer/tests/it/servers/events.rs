//! What due's processes tell each other about users, heard as one of them hears it.

use super::child::Backends;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::mpsc::{self, Receiver},
    time::Duration,
};

fn write(socket: &mut TcpStream, words: &[&str]) {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    socket.write_all(text.as_bytes()).unwrap();
}

/// An answer: the texts in it, in their order.
fn read(from: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let (kind, rest) = line.trim_end().split_at(1);
    Some(match kind {
        "*" => {
            let count: usize = rest.parse().ok()?;
            let mut all = Vec::new();
            for _ in 0..count {
                all.extend(read(from)?);
            }
            all
        }
        "$" if rest.starts_with('-') => vec![String::new()],
        "$" => {
            let mut text = vec![0; rest.parse::<usize>().ok()? + 2];
            from.read_exact(&mut text).ok()?;
            text.truncate(text.len() - 2);
            vec![String::from_utf8(text).ok()?]
        }
        "-" => panic!("redis: {rest}"),
        _ => vec![rest.to_owned()],
    })
}

/// Somebody who hears what due's processes tell each other about users.
pub(super) struct Subscriber(Receiver<(String, Value)>);

impl Subscriber {
    pub(super) fn open(backends: &Backends) -> Self {
        let mut socket = TcpStream::connect(&backends.redis).unwrap();
        write(&mut socket, &["PSUBSCRIBE", "due:locate:cluster:*:event"]);
        let mut from = BufReader::new(socket);
        read(&mut from).unwrap();
        let (tx, events) = mpsc::channel();
        std::thread::spawn(move || {
            while let Some(words) = read(&mut from) {
                let [_, _, channel, payload] = words.try_into().unwrap();
                let event = serde_json::from_str(&payload).unwrap();
                let _nobody_listens = tx.send((channel, event));
            }
        });
        Self(events)
    }

    /// So much of what was said, or less if nothing more comes.
    pub(super) fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        let more = || self.0.recv_timeout(Duration::from_secs(2)).ok();
        std::iter::from_fn(more).take(count).collect()
    }
}
