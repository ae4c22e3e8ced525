//! The requests of one connection that have no reply yet.
//!
//! Sequence numbers are given in order from 1 and start again after the largest of the layout, so
//! a reply finds its request by subtraction. A layout without sequence numbers matches in order.
use std::collections::VecDeque;
use yumen::proto::Width;

/// A request that was answered while an earlier one was not.
const ANSWERED: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Flight {
    /// Send times from the oldest unanswered request on, in nanoseconds.
    sent: VecDeque<u64>,
    /// How many of `sent` are unanswered.
    open: usize,
    /// Sequence number of the front of `sent`, from 1.
    first: u32,
    /// Sequence numbers run from 1 to this; `None` where the layout has none.
    last: Option<u32>,
}

impl Flight {
    pub(crate) fn new(width: Option<Width>) -> Self {
        let last = width.map(|width| match width {
            Width::One => u32::from(i8::MAX.unsigned_abs()),
            Width::Two => u32::from(i16::MAX.unsigned_abs()),
            Width::Four => i32::MAX.unsigned_abs(),
        });
        Self { sent: VecDeque::new(), open: 0, first: 1, last }
    }

    /// Requests without a reply.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// The number the next request would get; `None` while every number is taken.
    pub(crate) fn next(&self) -> Option<i32> {
        let Some(last) = self.last else { return Some(0) };
        let ahead = u32::try_from(self.sent.len()).ok().filter(|ahead| *ahead < last)?;
        i32::try_from(wrap(self.first, ahead, last)).ok()
    }

    /// Notes that the request with the number of [`Flight::next`] was sent at `now`.
    pub(crate) fn push(&mut self, now: u64) {
        self.sent.push_back(now.min(ANSWERED.saturating_sub(1)));
        self.open = self.open.saturating_add(1);
    }

    /// The send time of the request that `seq` answers; `None` where none waits for it.
    pub(crate) fn answer(&mut self, seq: i32) -> Option<u64> {
        let at = match self.last {
            None => 0,
            Some(last) => {
                let seq = u32::try_from(seq).ok().filter(|seq| (1..=last).contains(seq))?;
                let distance = match seq.checked_sub(self.first) {
                    Some(distance) => distance,
                    None => seq.checked_add(last)?.checked_sub(self.first)?,
                };
                usize::try_from(distance).ok()?
            }
        };
        let slot = self.sent.get_mut(at).filter(|sent| **sent != ANSWERED)?;
        let sent = std::mem::replace(slot, ANSWERED);
        self.open = self.open.saturating_sub(1);
        while self.sent.front() == Some(&ANSWERED) {
            self.sent.pop_front();
            self.advance(1);
        }
        Some(sent)
    }

    /// Gives up on every open request; returns how many there were. A late reply finds none.
    pub(crate) fn forget(&mut self) -> usize {
        let passed = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        self.sent.clear();
        self.advance(passed);
        std::mem::take(&mut self.open)
    }

    fn advance(&mut self, by: u32) {
        if let Some(last) = self.last {
            self.first = wrap(self.first, by, last);
        }
    }
}

/// The number `ahead` places behind `first` in the ring `1..=last`; `ahead` is at most `last`.
fn wrap(first: u32, ahead: u32, last: u32) -> u32 {
    let sum = first.saturating_add(ahead);
    if sum > last { sum.saturating_sub(last) } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(flight: &mut Flight, now: u64) -> i32 {
        let seq = flight.next().unwrap();
        flight.push(now);
        seq
    }

    #[test]
    fn replies_find_their_requests_in_any_order_and_once() {
        let mut flight = Flight::new(Some(Width::Two));
        let seqs: Vec<_> = (10..14).map(|now| send(&mut flight, now)).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
        assert_eq!(flight.answer(3), Some(12));
        assert_eq!(flight.answer(3), None);
        assert_eq!(flight.answer(1), Some(10));
        assert_eq!(flight.answer(1), None, "gone from the front");
        assert_eq!((flight.open(), flight.answer(9), flight.answer(0)), (2, None, None));
        assert_eq!((flight.answer(2), flight.answer(4)), (Some(11), Some(13)));
        assert_eq!(flight.open(), 0);
    }

    #[test]
    fn numbers_start_again_and_a_full_ring_sends_nothing() {
        let mut flight = Flight::new(Some(Width::One));
        for now in 0..127 {
            send(&mut flight, now);
        }
        assert_eq!(flight.next(), None);
        assert_eq!(flight.answer(1), Some(0));
        assert_eq!(send(&mut flight, 500), 1, "the number that became free");
        assert_eq!(flight.next(), None);
        assert_eq!(flight.answer(1), Some(500));
        for seq in 2..=127 {
            assert_eq!(flight.answer(seq), Some(u64::try_from(seq).unwrap() - 1));
        }
        assert_eq!((flight.open(), flight.next()), (0, Some(2)));
    }

    #[test]
    fn a_forgotten_request_is_not_answered_later() {
        let mut flight = Flight::new(Some(Width::Four));
        let seq = send(&mut flight, 1);
        assert_eq!(flight.forget(), 1);
        assert_eq!(flight.answer(seq), None);
        assert_eq!(flight.next(), Some(2));
    }

    #[test]
    fn without_numbers_replies_match_in_order() {
        let mut flight = Flight::new(None);
        flight.push(5);
        flight.push(6);
        assert_eq!(
            (flight.next(), flight.answer(0), flight.answer(0)),
            (Some(0), Some(5), Some(6))
        );
        assert_eq!(flight.answer(0), None);
    }
}
