//! The handle of a log, for whoever changes levels, shows counts, or ends the process.

use crate::{
    filter::{Filter, FilterError},
    layer::Shared,
    options::{LogError, Options},
};
use std::{
    fmt,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

/// A running log. Clones are the same log.
///
/// Nobody waits for lines still in the queue when the process ends: call [`Logs::flush`] last.
#[derive(Clone)]
pub struct Logs {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("level", &self.level().to_string()).finish_non_exhaustive()
    }
}

impl Logs {
    /// From which level on lines are made at present.
    pub fn level(&self) -> Filter {
        self.shared.filter.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes from which level on lines are made, as `warn` or `info,yumen_net=debug`, until it is
    /// changed again or the settings name another level.
    ///
    /// # Errors
    /// [`FilterError`] if `text` is no filter; nothing changes then.
    pub fn set_level(&self, text: &str) -> Result<(), FilterError> {
        self.filter(text.parse()?);
        Ok(())
    }

    /// Takes over what may change while a log runs: the level, if `options` name another one than
    /// they did before (so a level from [`Logs::set_level`] outlives a change of other settings), and
    /// the levels of terminals that the log began with. All else needs a new start. Takes what
    /// [`crate::init`] takes.
    ///
    /// # Errors
    /// [`LogError::Level`] if a level is none; nothing changes then.
    pub fn reload<O>(&self, options: O) -> Result<(), LogError>
    where
        O: TryInto<Options>,
        LogError: From<O::Error>,
    {
        let options = options.try_into()?;
        self.shared.takes.store(options.takes(), Ordering::Relaxed);
        let mut settled = self.shared.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if *settled == options.level {
            drop(settled);
            tracing::callsite::rebuild_interest_cache();
        } else {
            settled.clone_from(&options.level);
            drop(settled);
            self.filter(options.level);
        }
        Ok(())
    }

    fn filter(&self, filter: Filter) {
        *self.shared.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
        // `tracing` remembers for each place in the code whether it is wanted.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Events that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.shared.queue.dropped()
    }

    /// Lines written, one for each terminal that an event was for.
    pub fn written(&self) -> u64 {
        self.shared.counts.written.load(Ordering::Relaxed)
    }

    /// Lines that a terminal did not take (a full disk, a closed pipe), counted like those written.
    pub fn lost(&self) -> u64 {
        self.shared.counts.lost.load(Ordering::Relaxed)
    }

    /// Bytes in the queue, those being written included.
    pub fn queue_bytes(&self) -> usize {
        self.shared.queue.bytes()
    }

    /// Waits until everything logged so far is written, or lost, but no longer than `patience`. Says
    /// whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        self.shared.queue.flush(patience)
    }
}
