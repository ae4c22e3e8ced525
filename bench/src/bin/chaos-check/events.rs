//! What was done to the fleet: faults with their beginning and end, and sizes of processes.
//!
//! Lines are `MICROSECONDS WORD WHO …`; a word that is not known is a problem, never passed over.
use std::collections::BTreeMap;

/// Microseconds of the clock that all processes of a machine share.
pub(crate) type Micros = u64;

/// What was done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Killed.
    Kill,
    /// Stopped by a signal.
    Stop,
    /// Told to stop and replaced, as an update does.
    Roll,
    /// The lines to it were cut.
    Cut,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) who: String,
    pub(crate) how: How,
    pub(crate) down: Micros,
    /// When it was started again, went on, or was mended.
    pub(crate) up: Micros,
    /// When the next fault began, or everything ended.
    pub(crate) next: Micros,
}

/// The size of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) pid: u32,
    /// Bytes that belong to it alone, not to a file.
    pub(crate) memory: u64,
    pub(crate) descriptors: u64,
}

/// Everything that was done and seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) faults: Vec<Fault>,
    /// When all clients had entered.
    pub(crate) ready: Micros,
    /// How many clients should play.
    pub(crate) clients: usize,
    pub(crate) end: Micros,
    /// By process name, in time.
    pub(crate) usage: BTreeMap<String, Vec<Usage>>,
    /// How many keys the locator held, each time when all clients were at home.
    pub(crate) keys: Vec<u64>,
    /// What must not have happened: processes that died or did not stop, lines that say nothing.
    pub(crate) problems: Vec<String>,
    down: Option<(String, How, Micros)>,
}

impl Events {
    /// Whether processes were replaced and nothing else was done.
    pub(crate) fn is_roll(&self) -> bool {
        !self.faults.is_empty() && self.faults.iter().all(|fault| fault.how == How::Roll)
    }

    /// Takes one line.
    pub(crate) fn line(&mut self, line: &str) {
        if self.take(line).is_none() {
            self.problems.push(line.to_owned());
        }
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let at: Micros = words.next()?.parse().ok()?;
        let (what, who) = (words.next()?, words.next()?);
        match what {
            "ready" => {
                self.ready = at;
                self.clients = who.parse().ok()?;
            }
            "kill" | "stop" | "roll" | "cut" => {
                self.close(at);
                let how = match what {
                    "kill" => How::Kill,
                    "stop" => How::Stop,
                    "cut" => How::Cut,
                    _ => How::Roll,
                };
                self.down = Some((who.to_owned(), how, at));
            }
            // The first start of each is no end of a fault.
            "start" if matches!(self.down, Some((_, How::Roll, _))) => {}
            "start" | "cont" | "ready-again" | "mend" => {
                if self.down.as_ref().is_some_and(|(down, ..)| down == who) {
                    let (who, how, down) = self.down.take()?;
                    self.faults.push(Fault { who, how, down, up: at, next: at });
                }
            }
            "home" => {}
            "keys" => self.keys.push(who.parse().ok()?),
            "end" => {
                self.end = at;
                self.close(at);
            }
            "usage" => {
                let pid = words.next()?.parse().ok()?;
                let memory = words.next()?.parse().ok()?;
                let descriptors = words.next()?.parse().ok()?;
                self.usage.entry(who.to_owned()).or_default().push(Usage {
                    pid,
                    memory,
                    descriptors,
                });
            }
            // `died` and `stuck` are told as they stand.
            _ => return None,
        }
        Some(())
    }

    /// The fault before this moment has its whole time.
    fn close(&mut self, at: Micros) {
        if let Some((who, ..)) = self.down.take() {
            self.problems.push(format!("the fault of {who} was never undone"));
        }
        if let Some(last) = self.faults.last_mut() {
            last.next = at;
        }
    }
}
