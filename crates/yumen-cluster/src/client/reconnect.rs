//! When a client whose connection broke tries again, and when it stays away.
//!
//! Pauses double from try to try, and each is cut by the dice to between half and all of it, so that
//! the clients of a gate that died do not come back in one moment. What the gate asked for in its
//! close notice is waited for first. The one task of a client, and it lives only in between.

use super::{address::Target, bot::Bot, error::Closed, hub::Hub};
use std::{
    rc::{Rc, Weak},
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;
use yumen_net::env::Dice;
use yumen_proto::{conn::CloseReason, extension::NoticeReason};

/// How a client comes back after its connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Pause before the first try; the dice make it a half of that or more. Default: 500 ms.
    pub first: Duration,
    /// Longest pause; they double until then. Default: 30 s.
    pub max: Duration,
    /// Most tries in a row, until the client counts as closed; `u32::MAX` is for ever. A connection
    /// that lasted as long as `max` ends the row. Default: 10.
    pub tries: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), max: Duration::from_secs(30), tries: 10 }
    }
}

impl Backoff {
    /// The pause before a try, from 0, before the dice are rolled.
    fn pause(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// What a client that comes back keeps for that. Small, because each of them has one.
#[derive(Debug)]
pub(super) struct Retry {
    target: Rc<Target>,
    /// Tries in a row so far.
    attempts: u32,
    /// When the connection was opened.
    since: Instant,
    /// Why the last connection ended, for the case that there will be no other.
    last: Option<Box<Closed>>,
    /// Waits and dials.
    task: Option<AbortHandle>,
}

impl Retry {
    pub(super) fn new(target: &Rc<Target>, now: Instant) -> Self {
        Self { target: Rc::clone(target), attempts: 0, since: now, last: None, task: None }
    }

    /// The connection is open. Says whether it is another one than the first.
    pub(super) fn opened(&mut self, now: Instant) -> bool {
        self.since = now;
        self.attempts > 0
    }

    /// The connection broke. How long to wait, or `None` to stay away.
    pub(super) fn broke(
        &mut self,
        closed: Closed,
        now: Instant,
        (backoff, dice): (&Backoff, &Dice),
    ) -> Option<Duration> {
        let returns = returns(&closed);
        let asked = closed.notice.as_ref().and_then(|notice| notice.retry_after);
        self.last = Some(Box::new(closed));
        if !returns {
            return None;
        }
        if now.saturating_duration_since(self.since) >= backoff.max {
            self.attempts = 0;
        }
        let pause = self.again(backoff, dice)?;
        Some(asked.unwrap_or_default().saturating_add(pause))
    }

    /// A try failed. How long to wait, or `None` to stay away.
    pub(super) fn again(&mut self, backoff: &Backoff, dice: &Dice) -> Option<Duration> {
        if self.attempts >= backoff.tries {
            return None;
        }
        let pause = backoff.pause(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        Some(dice.jitter(pause))
    }

    /// Why the last connection ended.
    pub(super) fn last(&mut self) -> Option<Box<Closed>> {
        self.last.take()
    }

    /// Starts the task that waits for `pause` and dials.
    pub(super) fn begin(&mut self, hub: &Rc<Hub>, bot: Weak<Bot>, pause: Duration) {
        let task = come_back(Rc::clone(hub), bot, Rc::clone(&self.target), pause);
        self.task = Some(hub.env.spawn.local(task));
    }

    /// Ends that task.
    pub(super) fn stop(&mut self) {
        self.task.take().iter().for_each(AbortHandle::abort);
    }
}

/// Whether there is a point in coming back.
fn returns(closed: &Closed) -> bool {
    let here = !matches!(
        closed.reason,
        CloseReason::Done | CloseReason::ByGame | CloseReason::Malformed(_)
    );
    // Whoever was kicked and comes back kicks who is there now.
    let there = !matches!(
        closed.notice.as_ref().map(|notice| notice.reason),
        Some(NoticeReason::Kicked | NoticeReason::ByGame | NoticeReason::Malformed)
    );
    here && there
}

async fn come_back(hub: Rc<Hub>, bot: Weak<Bot>, target: Rc<Target>, pause: Duration) {
    let mut pause = pause;
    loop {
        hub.env.clock.sleep(pause).await;
        if hub.open(&bot, &target).await.is_ok() {
            return;
        }
        let Some(bot) = bot.upgrade() else { return };
        match bot.try_again() {
            Some(next) => pause = next,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Closed, Dice, Retry, Target};
    use crate::client::Notice;
    use std::{
        rc::Rc,
        time::{Duration, Instant},
    };
    use yumen_proto::{conn::CloseReason, extension::NoticeReason};

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(500), ..Backoff::default() };
        let pauses: Vec<_> = (0..8).map(|attempt| backoff.pause(attempt).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.pause(u32::MAX), backoff.max);
    }

    fn gone(reason: Option<NoticeReason>, retry_after_ms: u64) -> Closed {
        let retry_after = (retry_after_ms > 0).then(|| Duration::from_millis(retry_after_ms));
        let notice = reason.map(|reason| Notice { reason, retry_after, text: String::new() });
        Closed { reason: CloseReason::Gone, notice }
    }

    fn retry(start: Instant) -> Retry {
        Retry::new(&Rc::new(Target::parse("gate:1").unwrap()), start)
    }

    #[test]
    fn what_the_gate_asks_for_is_waited_for_first_and_the_dice_add_to_it() {
        use NoticeReason::{ByGame, Idle, Kicked, Malformed, Shutdown};
        // The notice, what it asks for in ms; the least and the most that is waited, in ms.
        let rows = [
            (None, 0, Some((250, 500))),
            (Some(Idle), 0, Some((250, 500))),
            (Some(Shutdown), 0, Some((250, 500))),
            (Some(Shutdown), 1, Some((251, 501))),
            (Some(Shutdown), 7_000, Some((7_250, 7_500))),
            (Some(Shutdown), 90_000, Some((90_250, 90_500))),
            (Some(Kicked), 7_000, None),
            (Some(ByGame), 0, None),
            (Some(Malformed), 0, None),
        ];
        let (start, dice, backoff) = (Instant::now(), Dice::seeded(1), Backoff::default());
        for (reason, asked, expected) in rows {
            let mut pauses = Vec::new();
            for _ in 0..50 {
                let closed = gone(reason, asked);
                pauses.push(retry(start).broke(closed, start, (&backoff, &dice)));
            }
            let Some((least, most)) = expected else {
                assert!(pauses.iter().all(Option::is_none), "{reason:?}");
                continue;
            };
            let within = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(pauses.iter().flatten().all(|pause| within.contains(pause)), "{pauses:?}");
            pauses.dedup();
            assert!(pauses.len() > 25, "{reason:?}: they do not come back in one moment");
        }
    }

    #[test]
    fn a_row_of_tries_ends_with_a_connection_that_lasted() {
        let (start, dice) = (Instant::now(), Dice::seeded(1));
        let backoff = Backoff { tries: 2, ..Backoff::default() };
        let later = |seconds| start + Duration::from_secs(seconds);
        // When it broke after it was opened, in seconds; whether there is another try.
        for (lasted, again) in [(0, false), (29, false), (30, true), (90, true)] {
            let mut retry = retry(start);
            for _ in 0..backoff.tries {
                assert!(retry.again(&backoff, &dice).is_some());
            }
            let paused = retry.broke(gone(None, 0), later(lasted), (&backoff, &dice));
            assert_eq!(paused.is_some(), again, "{lasted}");
        }
    }
}
