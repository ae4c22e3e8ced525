//! The end of a gate: its clients go one after the other, each told when to come back.
//!
//! Whoever has another gate to go to is let go in its turn and served until then, so that the others
//! see no wave of logins. Where the turns do not fit into half of the time, clients are closed faster
//! and stay away until their turn. Without another gate everybody goes at once, and comes back in turns.

use super::{hall::Hall, run::DRAIN_TICK, sessions::Wait};
use crate::instance::{InstanceError, Left, Progress, Stop};
use std::time::Duration;
use yumen_core::{
    cluster::{Snapshot, State},
    watch::Watch,
};
use yumen_proto::{
    conn::{CloseReason, LastWords},
    id::ConnId,
};

/// Ticks in which a goodbye is written when there is no time left.
const GOODBYE_TICKS: u32 = 5;
/// What every client is told.
const TEXT: &str = "the gate is stopping";

/// Who is closed when, and may come back when: a plain calculation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turns {
    sessions: u32,
    /// Most that may come back in a second; at least 1.
    rate: u32,
    /// Longest time in which all are closed.
    window: Duration,
}

impl Turns {
    pub(super) fn new(sessions: usize, rate: u32, window: Duration) -> Self {
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        Self { sessions, rate: rate.max(1), window }
    }

    /// When the turn of a session is to come back, from the beginning of the stop.
    fn back_at(&self, index: u32) -> Duration {
        let nanos = u64::from(index).saturating_mul(1_000_000_000);
        Duration::from_nanos(nanos.checked_div(u64::from(self.rate)).unwrap_or(0))
    }

    /// When a session is closed, from the beginning of the stop, and how long it should stay away then.
    pub(super) fn of(&self, index: u32) -> (Duration, Duration) {
        let (back_at, all) = (self.back_at(index), self.back_at(self.sessions));
        if all <= self.window {
            return (back_at, Duration::ZERO);
        }
        let part = self.window.saturating_mul(index).checked_div(self.sessions);
        let close_at = part.unwrap_or(self.window).min(back_at);
        (close_at, back_at.saturating_sub(close_at))
    }
}

impl Hall {
    /// Lets clients go while it serves the others, waits for what is in flight, says goodbye to the
    /// rest. A client that does not leave is dropped when the time is over.
    pub(super) async fn drain(
        &self,
        stop: &mut Watch<Stop>,
        progress: &Progress,
        gates: &Snapshot,
    ) -> Result<(), InstanceError> {
        self.set_state(State::Hang);
        self.stopping.set(true);
        let max = stop.current().drain_max(self.plan.drain_max);
        let ticks = max.as_millis().checked_div(DRAIN_TICK.as_millis());
        let mut ticks = u32::try_from(ticks.unwrap_or(0)).unwrap_or(u32::MAX);
        if self.others_serve(gates) {
            self.let_go(stop, progress, (max, &mut ticks)).await;
        }
        self.refusing.set(true);
        while self.in_flight.get() > 0 && ticks > 0 && stop.current() != Stop::Now {
            self.tick(&mut ticks, progress).await;
        }
        // Read before the goodbye: a session that leaves takes what it had in flight with it.
        let in_flight = self.in_flight.get();
        self.say_goodbye();
        ticks = ticks.max(GOODBYE_TICKS);
        while !self.driver.is_empty() && ticks > 0 {
            if stop.current() == Stop::Now {
                ticks = ticks.min(GOODBYE_TICKS);
            }
            self.tick(&mut ticks, progress).await;
        }
        let left = Left { in_flight, ..self.left_over() };
        for conn in self.driver.ids() {
            self.driver.close_now(conn, CloseReason::Shutdown);
        }
        // The hub reports what ended, and nodes hear of it, in its next turn.
        self.env.clock.sleep(DRAIN_TICK).await;
        progress.set(Left::default());
        if left.is_nothing() { Ok(()) } else { Err(InstanceError::Undrained(left)) }
    }

    /// Whether clients find another gate that takes them.
    fn others_serve(&self, gates: &Snapshot) -> bool {
        gates
            .iter()
            .any(|gate| gate.id != *self.id() && matches!(gate.state, State::Work | State::Busy))
    }

    /// Closes sessions in their turns, in half of the time at most. One that has something in flight
    /// sends nothing new and goes as soon as that is done.
    async fn let_go(
        &self,
        stop: &mut Watch<Stop>,
        progress: &Progress,
        (max, ticks): (Duration, &mut u32),
    ) {
        let window = max.checked_div(2).unwrap_or_default();
        let sessions = self.driver.ids();
        let turns = Turns::new(sessions.len(), self.plan.closes_per_second_max, window);
        let mut waiting = (0_u32..).zip(sessions).peekable();
        let mut going: Vec<(ConnId, Duration)> = Vec::new();
        let began = self.env.clock.now().mono;
        loop {
            let passed = self.env.clock.now().mono.saturating_duration_since(began);
            while let Some((index, conn)) =
                waiting.next_if(|(index, _)| turns.of(*index).0 <= passed)
            {
                self.driver.with(conn, |_, _, session| session.leaving = true);
                going.push((conn, turns.of(index).1));
            }
            going.retain(|(conn, retry_after)| !self.let_one_go(*conn, *retry_after));
            let over = waiting.peek().is_none() && going.is_empty();
            if over || passed > window || *ticks == 0 || stop.current() == Stop::Now {
                return;
            }
            self.tick(ticks, progress).await;
        }
    }

    /// Closes a session unless something of it is under way. Whether it goes.
    fn let_one_go(&self, conn: ConnId, retry_after: Duration) -> bool {
        let busy = self.driver.with(conn, |_, _, session| {
            session.in_flight > 0 || matches!(session.wait, Wait::Again | Wait::Answer)
        });
        if busy == Some(true) {
            return false;
        }
        let words = LastWords { text: TEXT, retry_after };
        self.driver.close(conn, CloseReason::Shutdown, words);
        true
    }

    /// Closes whoever is left, each with a turn to come back.
    fn say_goodbye(&self) {
        let sessions = self.driver.ids();
        let turns = Turns::new(sessions.len(), self.plan.closes_per_second_max, Duration::ZERO);
        for (index, conn) in (0_u32..).zip(sessions) {
            let (_, retry_after) = turns.of(index);
            let words = LastWords { text: TEXT, retry_after };
            self.driver.close(conn, CloseReason::Shutdown, words);
        }
    }

    async fn tick(&self, ticks: &mut u32, progress: &Progress) {
        progress.set(self.left_over());
        *ticks = ticks.saturating_sub(1);
        self.env.clock.sleep(DRAIN_TICK).await;
    }

    fn left_over(&self) -> Left {
        let sessions = u64::try_from(self.driver.len()).unwrap_or(u64::MAX);
        Left { sessions, in_flight: self.in_flight.get(), ..Left::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use std::time::Duration;

    /// Sessions, rate, window in ms, which one; when it is closed and how long it stays away, in ms.
    type Row = ((usize, u32, u64, u32), (u64, u64));

    const ROWS: [Row; 9] = [
        ((1, 1_000, 5_000, 0), (0, 0)),
        ((1_000, 200, 5_000, 0), (0, 0)),
        ((1_000, 200, 5_000, 1), (5, 0)),
        ((1_000, 200, 5_000, 999), (4_995, 0)),
        // They do not fit: closed four times as fast, and back at the rate all the same.
        ((4_000, 200, 5_000, 0), (0, 0)),
        ((4_000, 200, 5_000, 2_000), (2_500, 7_500)),
        ((4_000, 200, 5_000, 3_999), (4_998, 14_996)),
        // At once.
        ((10, 2, 0, 9), (0, 4_500)),
        ((10, 0, 0, 3), (0, 3_000)),
    ];

    #[test]
    fn each_session_has_its_turn_to_be_closed_and_to_come_back() {
        for ((sessions, rate, window, index), expected) in ROWS {
            let turns = Turns::new(sessions, rate, Duration::from_millis(window));
            let (close_at, retry_after) = turns.of(index);
            let found = (close_at.as_millis(), retry_after.as_millis());
            assert_eq!(found, (expected.0.into(), expected.1.into()), "{sessions} {rate} {index}");
        }
    }

    #[test]
    fn no_second_has_more_that_come_back_than_the_rate_and_none_is_closed_late() {
        for (sessions, rate, window) in [(5_000, 300, 5), (5_000, 3_000, 5), (70_000, 1_000, 5)] {
            let window = Duration::from_secs(window);
            let turns = Turns::new(sessions, rate, window);
            let mut seconds = std::collections::BTreeMap::<u64, u32>::new();
            for index in 0..u32::try_from(sessions).unwrap() {
                let (close_at, retry_after) = turns.of(index);
                assert!(close_at <= window, "{index}: {close_at:?}");
                *seconds.entry((close_at + retry_after).as_secs()).or_default() += 1;
            }
            let peak = seconds.values().max().copied().unwrap();
            assert!(peak <= rate, "{sessions} at {rate}: {peak}");
        }
    }
}
