//! The end of a node instance: its users go first, then its state is saved, then its handlers finish.
//!
//! A user who is bound here and idle would lose this node without a word, so it stays as long as such a
//! user is connected somewhere. Users who are not connected keep nobody: many games never unbind them.

use super::run::{Front, Plan};
use crate::instance::{InstanceError, Left, Progress, Stop};
use std::{cell::Cell, time::Duration};
use yumen_core::watch::Watch;
use yumen_mesh::Receive;

/// How often an instance that hangs writes down what it has left.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// A node that hangs waits for so long without a message before it goes, if its gates are elsewhere: they
/// have heard by then that it hangs, and send elsewhere.
const QUIET: Duration = Duration::from_millis(500);

impl<S: 'static> Front<S> {
    /// From the moment it hangs, writes down what is left.
    pub(super) async fn report(&self, mut stop: Watch<Stop>, progress: &Progress, apart: bool) {
        while stop.current() == Stop::No && stop.changed().await {}
        if stop.current() == Stop::No {
            return; // nobody will ever tell it to stop
        }
        self.hub.standing.stop();
        loop {
            progress.set(self.left(apart));
            self.hub.env.clock.sleep(REPORT_INTERVAL).await;
        }
    }

    fn left(&self, apart: bool) -> Left {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let users = if apart { count(self.hub.locations.bound.len()) } else { 0 };
        Left { handlers: count(self.dispatch.waiting()), users, ..Left::default() }
    }

    /// Waits for the users, runs the stop hooks and lets the handlers finish, as long as there is time.
    pub(super) async fn drain(
        &self,
        plan: &Plan<S>,
        stop: &mut Watch<Stop>,
        progress: &Progress,
        apart: bool,
    ) -> Result<(), InstanceError> {
        self.hub.standing.stop();
        let (clock, max) = (&self.hub.env.clock, stop.current().drain_max(plan.drain_max));
        // The rest is for the stop hooks, which save what the users have done.
        let users_max = max.saturating_mul(3).checked_div(4).unwrap_or(max);
        let saved = Cell::new(false);
        let done = tokio::select! {
            biased;
            () = async {
                tokio::select! {
                    biased;
                    () = self.users_leave(apart) => {}
                    () = clock.sleep(users_max) => self.say_who_stays(),
                }
                self.hooks(&plan.on_stop).await;
                saved.set(true);
                self.users_offered().await;
                self.dispatch.idle().await;
            } => true,
            () = clock.sleep(max) => false,
            () = async { while stop.current() != Stop::Now && stop.changed().await {} } => false,
        };
        self.on_batch_end();
        let mut left = self.left(apart);
        let hooks =
            [saved.get(), self.offered.watch().current()].iter().filter(|over| !**over).count();
        left.handlers = left.handlers.saturating_add(u64::try_from(hooks).unwrap_or(u64::MAX));
        progress.set(left);
        if done { Ok(()) } else { Err(InstanceError::Undrained(left)) }
    }

    /// Resolves when the game was offered its users and, over processes, none of them is connected any
    /// more and no message has come for a while.
    async fn users_leave(&self, apart: bool) {
        self.users_offered().await;
        if !apart {
            return;
        }
        loop {
            let before = self.hub.stats.messages.total();
            self.hub.env.clock.sleep(QUIET).await;
            let is_quiet = self.hub.stats.messages.total() == before;
            if is_quiet && !self.hub.users_gone().await {
                return;
            }
        }
    }

    async fn users_offered(&self) {
        let mut offered = self.offered.watch();
        while !offered.current() && offered.changed().await {}
    }

    fn say_who_stays(&self) {
        let (node, users) = (&self.hub.id, self.hub.locations.bound.len());
        tracing::warn!(%node, users, "the time of the users who are bound here is over");
    }
}
