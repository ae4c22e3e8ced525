//! Whether the system lets the process have as many descriptors as its settings promise.
//!
//! A connection needs one. Without a look at the start, a server with room for 5000 clients would
//! accept about a thousand on many systems and then refuse the rest, on its busiest evening.

use std::fmt;

/// Descriptors of one instance's thread: its poller, its waker and what ties it to signals.
const PER_THREAD: u64 = 5;
/// For files, logs, admin, backends and what the game opens.
const RESERVE: u64 = 64;

/// What the process needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) threads: u64,
    pub(super) listeners: u64,
    /// Connections to gates and nodes of other processes.
    pub(super) links: u64,
    /// Most connections of all listeners that have a limit.
    pub(super) connections: u64,
    /// Whether a listener has no limit.
    pub(super) unlimited: bool,
}

impl Needs {
    /// Without any client.
    fn base(self) -> u64 {
        let threads = self.threads.saturating_mul(PER_THREAD);
        threads.saturating_add(self.listeners).saturating_add(self.links).saturating_add(RESERVE)
    }

    fn all(self) -> u64 {
        self.base().saturating_add(self.connections)
    }
}

/// What the limits of the system mean for that. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Enough,
    /// The soft limit can be raised so far, and that is enough.
    Raise(u64),
    /// The soft limit can be raised so far, and that is too little.
    TooFew(u64),
    /// It cannot even start.
    Impossible(u64),
}

fn judge(needs: Needs, soft: Option<u64>, hard: Option<u64>) -> Verdict {
    let Some(soft) = soft else { return Verdict::Enough };
    let all = needs.all();
    if soft >= all && !needs.unlimited {
        return Verdict::Enough;
    }
    match hard {
        // Who names no limit gets all there is; a system without one is asked for plenty.
        None => Verdict::Raise(soft.max(all.saturating_mul(2)).max(UNLIMITED)),
        Some(hard) if hard < needs.base() => Verdict::Impossible(hard),
        Some(hard) if hard < all => Verdict::TooFew(hard),
        Some(hard) if hard == soft => Verdict::Enough,
        Some(hard) => Verdict::Raise(hard),
    }
}

/// What is asked for where neither the settings nor the system name a limit.
const UNLIMITED: u64 = 1_048_576;

/// The system allows too few descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewDescriptors {
    allowed: u64,
    needs: Needs,
}

impl std::error::Error for TooFewDescriptors {}

impl fmt::Display for TooFewDescriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, needs } = self;
        let (all, connections) = (needs.all(), needs.connections);
        let others = needs.base();
        write!(
            f,
            "the system allows this process {allowed} open descriptors and {all} are needed: \
             {connections} for connections (maxConnNum) and {others} for threads, listeners, links, \
             files and logs; raise the hard limit (systemd: LimitNOFILE={all}; shell: ulimit -n {all}; \
             docker: --ulimit nofile={all}:{all}) or lower maxConnNum"
        )
    }
}

/// Raises the limit of the process where it has to be raised; warns if that is not enough.
///
/// # Errors
/// There are too few descriptors to start at all.
#[cfg(unix)]
pub(super) fn provide(needs: Needs) -> Result<(), TooFewDescriptors> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current: soft, maximum: hard } = getrlimit(Resource::Nofile);
    let raise = |to: u64| {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum: hard });
        let from = soft.unwrap_or(u64::MAX);
        match raised {
            Ok(()) if to > from => {
                tracing::info!("open descriptors: limit raised from {from} to {to}");
            }
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the limit of descriptors stays at {from}"),
        }
        raised.is_ok()
    };
    match judge(needs, soft, hard) {
        Verdict::Enough => {}
        Verdict::Raise(to) => {
            if !raise(to) && soft.is_some_and(|soft| soft < needs.all()) {
                let allowed = soft.unwrap_or(u64::MAX);
                tracing::warn!("{}", TooFewDescriptors { allowed, needs });
            }
        }
        Verdict::TooFew(allowed) => {
            raise(allowed);
            tracing::warn!("{}", TooFewDescriptors { allowed, needs });
        }
        Verdict::Impossible(allowed) => return Err(TooFewDescriptors { allowed, needs }),
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn provide(needs: Needs) -> Result<(), TooFewDescriptors> {
    let _no_limit_that_could_be_asked_for = (needs, judge);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs =
        Needs { threads: 2, listeners: 2, links: 0, connections: 5000, unlimited: false };

    #[test]
    fn the_limit_is_raised_only_where_it_must_and_can_be() {
        let all = NEEDS.all();
        assert_eq!(all, 5000 + 2 * PER_THREAD + 2 + RESERVE);
        assert_eq!(judge(NEEDS, Some(all), Some(1 << 20)), Verdict::Enough);
        assert_eq!(judge(NEEDS, None, None), Verdict::Enough);
        assert_eq!(judge(NEEDS, Some(1024), Some(all)), Verdict::Raise(all));
        assert_eq!(judge(NEEDS, Some(1024), Some(1 << 20)), Verdict::Raise(1 << 20));
        assert_eq!(judge(NEEDS, Some(1024), Some(all - 1)), Verdict::TooFew(all - 1));
        assert_eq!(judge(NEEDS, Some(256), Some(64)), Verdict::Impossible(64));
        assert_eq!(judge(NEEDS, Some(1024), None), Verdict::Raise(UNLIMITED));
        let linked = Needs { links: 7, ..NEEDS };
        assert_eq!(judge(linked, Some(all), Some(1 << 20)), Verdict::Raise(1 << 20));
        let unlimited = Needs { unlimited: true, ..NEEDS };
        assert_eq!(judge(unlimited, Some(1 << 19), Some(1 << 20)), Verdict::Raise(1 << 20));
        assert_eq!(judge(unlimited, Some(1 << 20), Some(1 << 20)), Verdict::Enough);
    }

    #[test]
    fn the_warning_says_what_is_allowed_what_is_needed_and_how_to_raise_it() {
        let text = TooFewDescriptors { allowed: 1024, needs: NEEDS }.to_string();
        for part in ["1024", "5076", "5000", "LimitNOFILE=5076", "ulimit -n", "--ulimit nofile="] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
