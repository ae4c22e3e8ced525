//! What the clients of a run saw, in the order in which each saw it: all that the checker trusts.

use super::words::Mark;
use crate::trace::{Trace, note};
use std::{cell::RefCell, rc::Rc};

/// One thing that a client did or saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A connection to this process of a gate.
    Opened { gate: String, boot: u64 },
    /// A request was given to the connection.
    Sent { route: i32, n: u64 },
    /// It was answered.
    Answered { route: i32, mark: Mark },
    /// It was refused, or nobody answered in time.
    Failed { route: i32, n: u64, code: u16 },
    /// A push.
    Pushed { route: i32, mark: Mark },
    /// Something that no node of the game has said.
    Garbled { route: i32 },
    /// The connection has ended.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: u64,
    pub(crate) user: u64,
    pub(crate) session: u64,
    pub(crate) what: What,
}

/// The histories of all clients. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct History {
    trace: Trace,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl History {
    pub(crate) fn new(trace: &Trace) -> Self {
        Self { trace: trace.clone(), seen: Rc::default() }
    }

    pub(crate) fn add(&self, user: u64, session: u64, what: What) {
        note!(self.trace, "user {user} session {session}: {what:?}");
        self.seen.borrow_mut().push(Seen { at: self.trace.millis(), user, session, what });
    }

    pub(crate) fn take(&self) -> Vec<Seen> {
        self.seen.take()
    }
}
