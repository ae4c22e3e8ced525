//! Sessions that wait for the same thing, in the order they came; each stands in line once.
//!
//! Read again in the order of their ids, the oldest connections would take the room every time, and the
//! youngest would wait for as long as the others had something to say.

use std::collections::BTreeSet;
use yumen_proto::id::ConnId;

/// A line of sessions.
#[derive(Debug, Default)]
pub(super) struct Line {
    order: Vec<ConnId>,
    known: BTreeSet<ConnId>,
}

impl Line {
    /// Puts a session at the end, unless it stands in line already.
    pub(super) fn join(&mut self, conn: ConnId) {
        if self.known.insert(conn) {
            self.order.push(conn);
        }
    }

    /// All of them, who came first in front.
    pub(super) fn into_order(self) -> Vec<ConnId> {
        self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_stands_in_front_and_nobody_stands_there_twice() {
        let mut line = Line::default();
        [7, 3, 9, 3, 7, 1, 9].into_iter().for_each(|id| line.join(ConnId(id)));
        assert_eq!(line.into_order(), [7, 3, 9, 1].map(ConnId));
    }
}
