//! What clients and nodes of the test game say to each other: short lines of numbers.

use std::{fmt, str::FromStr};

/// Log in: the body is the user's number. Answered by an [`Mark`].
pub(crate) const LOGIN: i32 = 1;
/// Make the node that gets this the user's own. Answered by a [`Mark`].
pub(crate) const JOIN: i32 = 2;
/// A step of the user's, for its own node; answered by a push [`STEPPED`], so that answers keep the
/// order of the stream.
pub(crate) const STEP: i32 = 3;
/// Anything, for any node. Answered by a [`Mark`].
pub(crate) const ECHO: i32 = 4;
/// Push: a step was taken.
pub(crate) const STEPPED: i32 = 10;
/// Push: the user's own node says that it is there.
pub(crate) const TICK: i32 = 11;

/// Who did something, as which life, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The node.
    pub(crate) node: String,
    /// The life that it believed in.
    pub(crate) life: u64,
    /// Since which claim the user is its own; 0 if that does not matter.
    pub(crate) epoch: u64,
    /// The session that asked; 0 for a tick.
    pub(crate) session: u64,
    /// The number that was asked with, or the number of the tick.
    pub(crate) n: u64,
    /// How many steps of the user the node has taken in this epoch.
    pub(crate) count: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, life, epoch, session, n, count } = self;
        write!(f, "{node} {life} {epoch} {session} {n} {count}")
    }
}

/// A line that is no mark: bytes were changed on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Garbled;

impl FromStr for Mark {
    type Err = Garbled;

    fn from_str(line: &str) -> Result<Self, Garbled> {
        let mut words = line.split(' ');
        let node = words.next().ok_or(Garbled)?.to_owned();
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(Garbled);
        let (life, epoch, session) = (number()?, number()?, number()?);
        Ok(Self { node, life, epoch, session, n: number()?, count: number()? })
    }
}

/// The numbers of a request.
pub(crate) fn numbers(body: &[u8]) -> Option<(u64, u64)> {
    let (session, n) = std::str::from_utf8(body).ok()?.split_once(' ')?;
    Some((session.parse().ok()?, n.parse().ok()?))
}
