//! Replaces every node and then every gate of a running cluster, one at a time.
//!
//! Each is told to stop through its admin, and the next one follows only when the process in its place says
//! that it is ready and every other process sees it. At the first that does not become ready it stops: the
//! others still run what ran before.
use super::control::{Request, Word};
use super::crew::{Crew, GATES, LOOK_EVERY, Member, NODES, Told};
use super::member::Doors;
use crate::admin::http;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use yumen::net::env::Clock;

/// Longest stop of a process: its drain has limits of its own, shorter ones.
const END_MAX: Duration = Duration::from_secs(60);
/// Longest wait for an answer of an admin.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why it does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// Somebody wants the whole cluster to stop.
    Signal,
    /// The roll stops.
    Stopped {
        why: String,
        help: String,
    },
    Io(io::Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One roll.
pub(super) struct Roll<'a> {
    pub(super) crew: &'a mut Crew,
    pub(super) told: &'a Receiver<Told>,
    pub(super) request: Request,
    /// Shows a line of a process.
    pub(super) show: &'a mut dyn FnMut(&str, &str),
    pub(super) say: &'a mut dyn FnMut(&Word),
}

impl Roll<'_> {
    /// Does it. False if somebody wants the whole cluster to stop.
    ///
    /// # Errors
    /// Those of the system. That a process does not become ready is said.
    pub(super) fn run(mut self) -> io::Result<bool> {
        let order: Vec<&'static str> = NODES.into_iter().chain(GATES).collect();
        if self.request.dry_run {
            let order = order.iter().map(ToString::to_string).collect();
            (self.say)(&Word::Plan { order });
            return Ok(true);
        }
        let began = now();
        for (number, who) in (1..).zip(&order) {
            match self.replace(who, (number, order.len())) {
                Ok(()) => {}
                Err(Halt::Signal) => return Ok(false),
                Err(Halt::Io(error)) => return Err(error),
                Err(Halt::Stopped { why, help }) => {
                    (self.say)(&Word::Stopped { who: (*who).to_owned(), why, help });
                    return Ok(true);
                }
            }
        }
        (self.say)(&Word::Done { seconds: since(began) });
        Ok(true)
    }

    fn replace(&mut self, who: &'static str, (number, of): (usize, usize)) -> Result<(), Halt> {
        self.all_are_well(who)?;
        let Some(mut member) = self.crew.members.remove(who) else { return Err(absent(who)) };
        let (doors, pid) = (member.doors.unwrap_or_default(), member.child.id());
        let asked = doors.admin.ok_or_else(|| absent(who))?;
        (self.say)(&Word::Draining { who: who.to_owned(), pid, number, of });
        let began = now();
        let ended = self.end(&mut member, asked);
        if ended.is_err() {
            // It still runs: whoever stops the cluster stops it too.
            self.crew.members.insert(who, member);
        }
        let clean = ended?;
        (self.say)(&Word::Ended { who: who.to_owned(), seconds: since(began), clean });
        let began = now();
        let pid = self.crew.spawn(who, doors)?;
        (self.say)(&Word::Started { who: who.to_owned(), pid });
        self.until_ready(who)?;
        (self.say)(&Word::Ready { who: who.to_owned(), seconds: since(began) });
        Ok(())
    }

    /// Nobody is taken away while somebody else is missing or not ready.
    fn all_are_well(&mut self, who: &str) -> Result<(), Halt> {
        for name in NODES.into_iter().chain(GATES) {
            let admin = self.crew.members.get(name).and_then(|member| member.doors?.admin);
            let why = match admin.map(readiness) {
                Some(Ok(())) => continue,
                Some(Err(why)) => format!("{name} is not ready: {why}"),
                None => format!("{name} does not run"),
            };
            let help =
                format!("{who} was not touched. Roll again once all four processes are ready");
            return Err(Halt::Stopped { why, help });
        }
        Ok(())
    }

    /// Tells a process to stop, and waits until it has ended. Whether nothing was left.
    fn end(&mut self, member: &mut Member, admin: SocketAddr) -> Result<bool, Halt> {
        let request = http::Request::new("POST", "/drain");
        http::ask(&admin.to_string(), None, &request, ANSWER_MAX)?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = member.child.try_wait()? {
                return Ok(status.success());
            }
            if waited >= END_MAX {
                let why = format!("it has not ended {END_MAX:?} after it was told to stop");
                let help = "its log says what it waits for; no process was started in its place";
                return Err(Halt::Stopped { why, help: help.to_owned() });
            }
            waited = waited.saturating_add(self.listen()?);
        }
    }

    fn until_ready(&mut self, who: &'static str) -> Result<(), Halt> {
        let max = Duration::from_secs(self.request.ready_max);
        let began = now();
        loop {
            let Err(why) = self.is_ready(who)? else { return Ok(()) };
            if now().saturating_duration_since(began) >= max {
                let why = format!("it is not ready after {} s: {why}", max.as_secs());
                let help = format!(
                    "those behind {who} run on as before. Its lines in the terminal of `cluster up` say \
                     more; put right what is wrong, and roll again"
                );
                return Err(Halt::Stopped { why, help });
            }
            self.listen()?;
        }
    }

    /// Whether the process serves, and all others see it; or else what is missing.
    fn is_ready(&mut self, who: &'static str) -> Result<Result<(), String>, Halt> {
        if let Some(death) = self.crew.deaths()?.first() {
            let help = format!("those behind {who} run on as before");
            return Err(Halt::Stopped { why: death.text(), help });
        }
        let Some(own) = self.crew.members.get(who).and_then(|member| member.doors?.admin) else {
            return Ok(Err("it has not said where it is".to_owned()));
        };
        if let Err(why) = readiness(own) {
            return Ok(Err(why));
        }
        let Some(place) = seen(own, who) else {
            return Ok(Err("it does not see itself in the registry".to_owned()));
        };
        for (name, other) in &self.crew.members {
            let admin = other.doors.and_then(|doors| doors.admin);
            if admin.and_then(|admin| seen(admin, who)).as_ref() != Some(&place) {
                return Ok(Err(format!("{name} does not see it yet")));
            }
        }
        Ok(Ok(()))
    }

    /// Passes a moment with what is told; gives how long it was.
    fn listen(&mut self) -> Result<Duration, Halt> {
        match self.told.recv_timeout(LOOK_EVERY) {
            Ok(Told::Line { name, text }) => (self.show)(&name, &text),
            Ok(Told::Ready { name, place }) => self.crew.placed(&name, place),
            Ok(Told::Signal) => return Err(Halt::Signal),
            Ok(Told::Asked(mut asker)) => asker.tell(&Word::Stopped {
                who: "the beginning".to_owned(),
                why: "another roll is under way".to_owned(),
                help: "wait until it is over".to_owned(),
            }),
            Err(RecvTimeoutError::Timeout) => return Ok(LOOK_EVERY),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(super::failed("nobody reads").into());
            }
        }
        Ok(Duration::ZERO)
    }
}

fn absent(who: &str) -> Halt {
    let help = "start it, or the whole cluster, and roll again".to_owned();
    Halt::Stopped { why: format!("{who} does not run"), help }
}

/// Whether the process at that admin serves, or else what it says.
fn readiness(admin: SocketAddr) -> Result<(), String> {
    match get(admin, "/readyz") {
        Ok(reply) if reply.status == 200 => Ok(()),
        Ok(reply) => Err(format!("/readyz says {}: {}", reply.status, reply.body.trim())),
        Err(error) => Err(format!("its admin does not answer: {error}")),
    }
}

/// Where the process at that admin sees an instance that works.
fn seen(admin: SocketAddr, who: &str) -> Option<String> {
    let reply = get(admin, "/instances").ok()?;
    let body: Value = serde_json::from_str(&reply.body).ok()?;
    let all = body.get("instances")?.as_array()?;
    let word = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let row = all.iter().find(|row| word(row, "id").as_deref() == Some(who))?;
    let works = word(row, "state").as_deref() == Some("work");
    word(row, "endpoint").filter(|endpoint| works && !endpoint.is_empty())
}

fn get(admin: SocketAddr, path: &str) -> io::Result<http::Reply> {
    http::ask(&admin.to_string(), None, &http::Request::get(path), ANSWER_MAX)
}

fn now() -> Instant {
    Clock::real().now().mono
}

fn since(began: Instant) -> f64 {
    now().saturating_duration_since(began).as_secs_f64()
}

/// Where a process that takes the place of another listens for clients: where that did.
pub(super) fn same_doors(doors: Doors) -> impl Iterator<Item = String> {
    let flag = |name: &str, at: Option<SocketAddr>| at.map(|at| format!("--{name}={at}"));
    [flag("tcp", doors.tcp), flag("ws", doors.ws)].into_iter().flatten()
}
