//! Follows the instances of one kind: reads them all, then asks again and again for what is newer.
//!
//! Never ends by itself and never spins. Each question waits at the server until there is something new, but
//! never longer than a fifth of a heartbeat's time. The one thing to know is why: a server that sleeps lets
//! everybody's heartbeats run out, and wakes up with an empty set. A question that was not answered in time
//! tells that before the empty set can arrive, and then whoever is missing stays until it had time to come back.

use super::{
    client::{Answer, CallError, Client},
    record::{Service, read, word},
};
use crate::http::escaped;
use crate::{
    followed::{Followed, Follower},
    kept::Kept,
    known::{Found, Known},
};
use serde::Deserialize;
use serde_json::Value;
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};
use yumen_core::cluster::Kind;

/// Between two reads of sets that change without end.
const GATHER: Duration = Duration::from_millis(20);

/// What to follow.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) kind: Kind,
    /// How long a question waits for something new.
    pub(super) wait: Duration,
    /// How long an instance may take to be seen again after an outage.
    pub(super) grace: Duration,
    pub(super) kept: Option<Kept>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Entry {
    node: Host,
    service: Service,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Host {
    node: String,
}

/// Starts to follow, on `runtime`.
pub(super) fn start(runtime: &Handle, client: Arc<Client>, range: Range) -> Follower {
    let (what, kept) = (word(range.kind).to_owned(), range.kept.clone());
    Follower::start(runtime, "Consul", what, kept, |followed| {
        Work { client, range, followed, index: 0, doubt: None }.run()
    })
}

/// The task.
struct Work {
    client: Arc<Client>,
    range: Range,
    followed: Arc<Followed>,
    /// Of the last answer; 0 asks for what is there now.
    index: u64,
    /// Until whoever is missing had its time; `None` if nobody is, or the server is still away.
    doubt: Option<Pin<Box<Sleep>>>,
}

impl Work {
    async fn run(mut self) {
        let mut known = Known::new("Consul", self.range.kind);
        let mut answer = self.followed.first(self.client.timeout(), self.ask()).await;
        loop {
            match answer {
                Ok(answer) => {
                    self.followed.good();
                    self.take(&mut known, answer);
                    // Without an index the next question is answered at once.
                    sleep(if self.index == 0 { self.range.wait } else { GATHER }).await;
                }
                Err(error) => {
                    // What it counted may be lost, too.
                    (self.index, self.doubt) = (0, None);
                    let pause = self.followed.failed(error, &mut known).await;
                    sleep(pause).await;
                }
            }
            answer = self.next(&mut known).await;
        }
    }

    fn take(&mut self, known: &mut Known, answer: Answer<Vec<Value>>) {
        if answer.index < self.index {
            // The server has lost its memory: it counts anew, and others have to register again.
            known.doubt();
        }
        if self.index == 0 || answer.index != self.index {
            known.replace(answer.value.into_iter().map(found).collect());
            self.followed.publish(known);
        }
        self.index = if answer.index < self.index { 0 } else { answer.index };
        if !known.is_certain() && self.doubt.is_none() {
            self.doubt = Some(Box::pin(sleep(self.range.grace)));
        }
    }

    /// The next answer. Meanwhile the doubt ends when its time is over.
    async fn next(&mut self, known: &mut Known) -> Result<Answer<Vec<Value>>, CallError> {
        let Some(mut doubt) = self.doubt.take() else { return self.ask().await };
        let answer = {
            let mut ask = pin!(self.ask());
            tokio::select! {
                answer = &mut ask => answer,
                () = doubt.as_mut() => {
                    known.trust();
                    self.followed.publish(known);
                    return ask.await;
                }
            }
        };
        self.doubt = Some(doubt);
        answer
    }

    /// Everything that passes its checks, once it is newer than what was seen.
    async fn ask(&self) -> Result<Answer<Vec<Value>>, CallError> {
        let mut path = format!("/v1/health/service/{}?passing=1", escaped(word(self.range.kind)));
        let mut wait = Duration::ZERO;
        if self.index > 0 {
            wait = self.range.wait;
            path = format!("{path}&index={}&wait={}ms", self.index, wait.as_millis());
        }
        // The server adds up to a sixteenth, so that not all ask at the same moment.
        let wait = wait.mul_f64(17.0 / 16.0);
        let answer: Option<Answer<Option<Vec<Value>>>> = self.client.get(&path, wait).await?;
        Ok(answer.map_or(Answer { index: 0, value: Vec::new() }, |answer| Answer {
            index: answer.index,
            value: answer.value.unwrap_or_default(),
        }))
    }
}

/// One entry of an answer. Of two with one id, at two agents, the one that was registered later counts.
fn found(entry: Value) -> Found {
    let text = entry.to_string();
    match serde_json::from_value::<Entry>(entry) {
        Ok(Entry { node, service }) => Found {
            key: format!("{}/{}", node.node, service.id),
            version: service.modify_index,
            rank: service.create_index,
            record: read(&service),
        },
        Err(error) => Found {
            key: text.chars().take(100).collect(),
            version: 0,
            rank: 0,
            record: Err(error.to_string()),
        },
    }
}
