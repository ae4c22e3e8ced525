//! The latest value of something that changes, followed without missing the end state.
//!
//! Level, not edge: a slow watcher skips intermediate values and always ends at the newest one,
//! so a missed wake-up heals itself and nothing queues up. When the sender goes away the watcher
//! keeps the last value. Never blocks, and never hands out a reference into the shared value.

use tokio::sync::watch;

/// Follows a value. Clones follow independently; each sees every later change.
///
/// ```
/// use yumen_core::watch::WatchSender;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let sender = WatchSender::new(1);
/// let mut watch = sender.watch();
/// assert_eq!(watch.current(), 1);
/// sender.send(2);
/// assert!(watch.changed().await);
/// assert_eq!(watch.current(), 2);
/// drop(sender);
/// assert!(!watch.changed().await);
/// assert_eq!(watch.current(), 2);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Watch<T> {
    receiver: watch::Receiver<T>,
}

impl<T: Clone> Watch<T> {
    /// A watch of a value that never changes. [`Watch::changed`] gives `false` at once.
    pub fn fixed(value: T) -> Self {
        WatchSender::new(value).watch()
    }

    /// The newest value, which from now on counts as seen. Keep `T` cheap to clone: an `Arc`.
    pub fn current(&mut self) -> T {
        self.receiver.borrow_and_update().clone()
    }

    /// Whether there is a value that [`Watch::current`] has not returned yet.
    pub fn is_behind(&self) -> bool {
        self.receiver.has_changed().unwrap_or(false)
    }

    /// Waits for a value that has not been seen and counts it as seen; read it with
    /// [`Watch::current`]. Gives `false` when the sender is gone: nothing will ever change
    /// again, and the last value stays.
    ///
    /// Safe to drop while it waits: no change is lost.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }
}

/// The writing end of a [`Watch`].
#[derive(Debug)]
pub struct WatchSender<T> {
    sender: watch::Sender<T>,
}

impl<T> WatchSender<T> {
    /// Starts with `value`, which every new watch counts as seen.
    pub fn new(value: T) -> Self {
        Self { sender: watch::Sender::new(value) }
    }

    /// Replaces the value and wakes every watch, also those that are made later.
    pub fn send(&self, value: T) {
        self.sender.send_replace(value);
    }

    /// A new follower; it starts with the value of now.
    pub fn watch(&self) -> Watch<T> {
        Watch { receiver: self.sender.subscribe() }
    }

    /// Whether anybody follows.
    pub fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }
}

impl<T: PartialEq> WatchSender<T> {
    /// Replaces the value if it differs, so that nobody wakes for nothing. Gives whether it did.
    pub fn send_if_new(&self, value: T) -> bool {
        self.sender.send_if_modified(|held| {
            let differs = *held != value;
            if differs {
                *held = value;
            }
            differs
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Watch, WatchSender};

    #[tokio::test]
    async fn a_slow_watcher_ends_at_the_newest_value() {
        let sender = WatchSender::new(0);
        let mut watch = sender.watch();
        (1..=100).for_each(|n| sender.send(n));
        assert!(watch.is_behind());
        assert!(watch.changed().await);
        assert_eq!(watch.current(), 100);
        assert!(!watch.is_behind());
    }

    #[tokio::test]
    async fn the_last_change_is_seen_even_if_the_sender_is_gone() {
        let sender = WatchSender::new(0);
        let mut watch = sender.watch();
        sender.send(1);
        drop(sender);
        assert!(watch.changed().await);
        assert_eq!(watch.current(), 1);
        assert!(!watch.changed().await);
        assert_eq!(watch.current(), 1);
    }

    #[tokio::test]
    async fn a_fixed_value_never_changes() {
        let mut watch = Watch::fixed("here");
        assert!(!watch.changed().await);
        assert_eq!(watch.current(), "here");
    }

    #[test]
    fn an_equal_value_wakes_nobody() {
        let sender = WatchSender::new(1);
        let watch = sender.watch();
        assert!(!sender.send_if_new(1));
        assert!(!watch.is_behind());
        assert!(sender.send_if_new(2));
        assert!(watch.is_behind());
    }
}
