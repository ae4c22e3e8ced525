//! What one of due's has asked and was not told yet.
//!
//! Its sequence numbers mean something on one connection only, so the instance sees others: they
//! count up, and so the oldest question has the smallest.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use yumen_proto::id::ConnId;

/// A question that is older is not answered. Due waits 3 s, and an answer after that harms it.
const ANSWER_MAX: Duration = Duration::from_millis(2500);
/// Most questions of one peer that wait; the oldest goes first, and is never answered.
const ASKED_MAX: usize = 65_536;

#[derive(Debug)]
struct Question {
    conn: ConnId,
    seq: u64,
    at: Instant,
}

/// Questions that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Asked {
    questions: BTreeMap<u64, Question>,
    last: u64,
}

impl Asked {
    /// A question came on `conn`, under `seq`. Its number from now on, never 0.
    pub(super) fn put(&mut self, (conn, seq): (ConnId, u64), at: Instant) -> u64 {
        self.last = self.last.saturating_add(1);
        self.questions.insert(self.last, Question { conn, seq, at });
        if self.questions.len() > ASKED_MAX {
            self.questions.pop_first();
        }
        self.last
    }

    /// Where to answer, and under which number; `None` if it is too late, or was never asked.
    pub(super) fn take(&mut self, number: u64, now: Instant) -> Option<(ConnId, u64)> {
        let Question { conn, seq, at } = self.questions.remove(&number)?;
        (now.saturating_duration_since(at) <= ANSWER_MAX).then_some((conn, seq))
    }

    /// The connection has ended.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.questions.retain(|_, question| question.conn != conn);
    }

    /// Forgets what it is too late to answer.
    pub(super) fn sweep(&mut self, now: Instant) {
        while let Some(oldest) = self.questions.first_entry()
            && now.saturating_duration_since(oldest.get().at) > ANSWER_MAX
        {
            oldest.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a starting point")]
    fn a_question_is_answered_once_and_in_time_on_its_own_connection() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        let (one, two) = (ConnId(1), ConnId(2));
        let a = asked.put((one, 7), start);
        let b = asked.put((two, 7), start);
        let c = asked.put((two, 0), start);
        assert_eq!(asked.take(b, start + ANSWER_MAX), Some((two, 7)));
        assert_eq!(asked.take(b, start), None, "it was answered");
        assert_eq!(asked.take(c, start + ANSWER_MAX + Duration::from_nanos(1)), None, "too late");
        asked.forget(one);
        assert_eq!(asked.take(a, start), None, "whoever asked is gone");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a starting point")]
    fn old_questions_are_forgotten_and_there_is_a_most() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        let old = asked.put((ConnId(1), 1), start);
        let later = start + Duration::from_secs(2);
        let new = asked.put((ConnId(1), 2), later);
        asked.sweep(start + Duration::from_millis(2501));
        assert_eq!(asked.questions.keys().copied().collect::<Vec<_>>(), [new]);
        assert_eq!(asked.take(old, start), None);
        let first = asked.put((ConnId(1), 3), later);
        for seq in 0..u64::try_from(ASKED_MAX).unwrap() {
            asked.put((ConnId(1), seq), later);
        }
        assert_eq!((asked.questions.len(), asked.take(first, later)), (ASKED_MAX, None));
    }
}
