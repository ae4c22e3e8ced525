//! The requests of one client that wait for an answer.
//!
//! An answer belongs to the request with its route and sequence number. A number is not used again
//! while an answer may still come: one that nobody waits for any longer is remembered for
//! [`LATE_MAX`], so that a late answer is neither taken for another's nor shown as a push.
//! Pure: bytes, time and wakers come in as arguments, and nothing is woken here.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::{
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use yumen_core::status::Status;
use yumen_proto::id::RouteId;

/// How long the number of a request that was given up is kept from being used again.
pub(super) const LATE_MAX: Duration = Duration::from_secs(60);

/// The body of a reply, or why there is none.
pub(super) type Answer = Result<Bytes, Status>;

/// Which request it is.
pub(super) type Key = (RouteId, i32);

#[derive(Debug)]
enum Call {
    Waiting(Option<Waker>),
    Answered(Answer),
    /// Nobody waits since then.
    GivenUp(Instant),
}

/// What a message turned out to be.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The awaited answer; whoever waits is to be woken.
    Taken(Option<Waker>),
    /// The answer to a request that was given up.
    Late,
    /// Nobody asked.
    Unasked,
}

/// Requests by route and sequence number.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: FxHashMap<Key, Call>,
    last: i32,
}

impl Calls {
    /// Number of requests that somebody waits for, or that may still be answered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether a request on this route may still be answered.
    pub(super) fn waits_for(&self, route: RouteId) -> bool {
        self.open.keys().any(|(asked, _)| *asked == route)
    }

    /// A number for a request on `route`, from 1 to `seq_max`. `None` if none is free.
    pub(super) fn begin(&mut self, route: RouteId, seq_max: i32, now: Instant) -> Option<Key> {
        // Only so many numbers can be taken, so one more must find a free one.
        for _ in 0..=self.open.len().min(usize::try_from(seq_max).unwrap_or(0)) {
            self.last = if self.last >= seq_max { 1 } else { self.last.saturating_add(1) };
            let key = (route, self.last);
            let free = match self.open.get(&key) {
                None => true,
                Some(Call::GivenUp(since)) => now.saturating_duration_since(*since) >= LATE_MAX,
                Some(Call::Waiting(_) | Call::Answered(_)) => false,
            };
            if free {
                self.open.insert(key, Call::Waiting(None));
                return Some(key);
            }
        }
        None
    }

    /// The request was never sent.
    pub(super) fn forget(&mut self, key: Key) {
        self.open.remove(&key);
        self.tidy();
    }

    /// Takes the answer, or leaves a waker for it. For a request that is unknown: pending.
    pub(super) fn poll(&mut self, key: Key, cx: &Context<'_>) -> Poll<Answer> {
        match self.open.get_mut(&key) {
            Some(Call::Waiting(waker)) => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(Call::Answered(_)) => {}
            Some(Call::GivenUp(_)) | None => return Poll::Pending,
        }
        match self.open.remove(&key) {
            Some(Call::Answered(answer)) => {
                self.tidy();
                Poll::Ready(answer)
            }
            Some(Call::Waiting(_) | Call::GivenUp(_)) | None => Poll::Pending,
        }
    }

    /// Something with that route and number arrived; `answer` makes an answer of it.
    pub(super) fn arrived(&mut self, key: Key, answer: impl FnOnce() -> Answer) -> Verdict {
        match self.open.get_mut(&key) {
            Some(call @ Call::Waiting(_)) => {
                let was = std::mem::replace(call, Call::Answered(answer()));
                match was {
                    Call::Waiting(waker) => Verdict::Taken(waker),
                    Call::Answered(_) | Call::GivenUp(_) => Verdict::Taken(None),
                }
            }
            Some(Call::GivenUp(_)) => {
                self.open.remove(&key);
                self.tidy();
                Verdict::Late
            }
            Some(Call::Answered(_)) | None => Verdict::Unasked,
        }
    }

    /// Nobody waits for that answer any longer.
    pub(super) fn give_up(&mut self, key: Key, now: Instant) {
        match self.open.get_mut(&key) {
            Some(call @ Call::Waiting(_)) => *call = Call::GivenUp(now),
            Some(Call::Answered(_)) => {
                self.open.remove(&key);
                self.tidy();
            }
            Some(Call::GivenUp(_)) | None => {}
        }
    }

    /// The connection ended: everything that waits is answered with `status`. Returns who is to be
    /// woken.
    pub(super) fn end_all(&mut self, status: impl Fn() -> Status) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.open.retain(|_, call| {
            if let Call::Waiting(waker) = call {
                wakers.extend(waker.take());
                *call = Call::Answered(Err(status()));
            }
            matches!(call, Call::Answered(_))
        });
        self.tidy();
        wakers
    }

    /// An idle client holds no table: there may be thousands, and its timer costs a call more.
    fn tidy(&mut self) {
        if self.open.is_empty() {
            self.open = FxHashMap::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, Key, LATE_MAX, Verdict};
    use bytes::Bytes;
    use std::{
        task::{Context, Poll, Waker},
        time::{Duration, Instant},
    };
    use yumen_core::status::{Outcome, Status};
    use yumen_proto::id::RouteId;

    const ROUTE: RouteId = RouteId(7);

    fn answer(calls: &mut Calls, key: Key, body: &'static [u8]) -> Verdict {
        calls.arrived(key, || Ok(Bytes::from_static(body)))
    }

    fn poll(calls: &mut Calls, key: Key) -> Poll<Result<Bytes, Status>> {
        calls.poll(key, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn numbers_count_from_one_and_zero_is_never_used() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        for round in 0..1_000 {
            let key = calls.begin(ROUTE, 127, now).unwrap();
            assert_eq!(key.1, round % 127 + 1);
            assert!(matches!(answer(&mut calls, key, b""), Verdict::Taken(_)));
            assert!(poll(&mut calls, key).is_ready());
        }
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn when_every_number_waits_there_is_none_left() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let keys: Vec<_> = (0..127).map(|_| calls.begin(ROUTE, 127, now).unwrap()).collect();
        assert_eq!(calls.begin(ROUTE, 127, now), None);
        assert!(calls.begin(RouteId(8), 127, now).is_some(), "another route has its own");
        assert!(matches!(answer(&mut calls, keys[50], b""), Verdict::Taken(_)));
        assert_eq!(calls.begin(ROUTE, 127, now), None, "the answer has not been taken yet");
        assert!(poll(&mut calls, keys[50]).is_ready());
        assert_eq!(calls.begin(ROUTE, 127, now), Some(keys[50]));
    }

    #[test]
    fn a_late_answer_is_known_as_such_and_its_number_rests_until_then() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let (first, second) =
            (calls.begin(ROUTE, 2, now).unwrap(), calls.begin(ROUTE, 2, now).unwrap());
        calls.give_up(first, now);
        calls.give_up(second, now);
        assert_eq!(calls.begin(ROUTE, 2, now), None);
        assert!(matches!(answer(&mut calls, second, b""), Verdict::Late));
        assert_eq!(calls.begin(ROUTE, 2, now), Some(second));
        let almost = now + LATE_MAX - Duration::from_nanos(1);
        assert_eq!(calls.begin(ROUTE, 2, almost), None);
        assert_eq!(calls.begin(ROUTE, 2, now + LATE_MAX), Some(first));
    }

    #[test]
    fn a_second_answer_and_one_to_nothing_are_not_answers() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let key = calls.begin(ROUTE, 127, now).unwrap();
        assert!(matches!(answer(&mut calls, (RouteId(8), key.1), b"x"), Verdict::Unasked));
        assert!(matches!(answer(&mut calls, key, b"first"), Verdict::Taken(_)));
        assert!(matches!(answer(&mut calls, key, b"second"), Verdict::Unasked));
        assert!(matches!(poll(&mut calls, key), Poll::Ready(Ok(body)) if body == b"first"[..]));
    }

    #[test]
    fn a_break_answers_who_waits_and_forgets_who_does_not() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let (waits, gone, done) = (
            calls.begin(ROUTE, 127, now).unwrap(),
            calls.begin(ROUTE, 127, now).unwrap(),
            calls.begin(ROUTE, 127, now).unwrap(),
        );
        assert!(poll(&mut calls, waits).is_pending());
        calls.give_up(gone, now);
        assert!(matches!(answer(&mut calls, done, b"ok"), Verdict::Taken(None)));
        let broken = || Status::unavailable("").ended(Outcome::Unknown);
        assert_eq!(calls.end_all(broken).len(), 1);
        assert!(matches!(poll(&mut calls, waits), Poll::Ready(Err(_))));
        assert!(matches!(poll(&mut calls, done), Poll::Ready(Ok(_))));
        assert_eq!((calls.len(), calls.open.capacity()), (0, 0));
    }
}
