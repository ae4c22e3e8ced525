//! The stream of changes of place: bounded, and honest about what it lost.
//!
//! Each follower has its own position in one ring of events that the sender owns. Nobody waits
//! for a slow follower: what it did not read in time is overwritten, and it is told so once.

use super::{Incarnation, Place};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use yumen_proto::{Epoch, InstanceId, UserId};

/// One change of place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moved {
    /// The user is at this place now, whatever was before.
    Claimed {
        /// Who.
        user: UserId,
        /// Where now.
        place: Place,
        /// By which claim.
        epoch: Epoch,
    },
    /// The user has no place in this role any more.
    Released {
        /// Who.
        user: UserId,
        /// Where it was.
        place: Place,
        /// Which claim was taken back; a newer one stands.
        epoch: Epoch,
    },
    /// A life of an instance is over, and all its places with it. One event for all of them, so
    /// that the end of a full gate does not flood anybody.
    Closed {
        /// Which instance.
        instance: InstanceId,
        /// Its life that is over, and every earlier one.
        incarnation: Incarnation,
    },
    /// Events were lost: by this follower being slow, or by the backend. Nothing remembered from
    /// before holds. Later events follow.
    Lost,
}

/// Follows the changes of place.
///
/// ```
/// use yumen_core::locator::{Moved, MovesSender};
/// use yumen_proto::UserId;
///
/// let sender = MovesSender::bounded(2);
/// let mut moves = sender.watch();
/// sender.send(Moved::Lost);
/// assert_eq!(moves.try_next(), Some(Moved::Lost));
/// assert_eq!(moves.try_next(), None);
/// ```
#[derive(Debug)]
pub struct Moves {
    receiver: broadcast::Receiver<Moved>,
}

impl Moves {
    /// The next change, waited for. `None` when the locator itself is gone: nothing will ever
    /// come again.
    ///
    /// Safe to drop while it waits: no event is lost.
    pub async fn next(&mut self) -> Option<Moved> {
        match self.receiver.recv().await {
            Ok(moved) => Some(moved),
            Err(RecvError::Lagged(_)) => Some(Moved::Lost),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next change if there is one now.
    pub fn try_next(&mut self) -> Option<Moved> {
        match self.receiver.try_recv() {
            Ok(moved) => Some(moved),
            Err(TryRecvError::Lagged(_)) => Some(Moved::Lost),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

/// The writing end of [`Moves`], for implementations of a locator.
#[derive(Clone, Debug)]
pub struct MovesSender {
    sender: broadcast::Sender<Moved>,
}

impl MovesSender {
    /// A ring of at least so many events, rounded up to a power of two; 1 to 1,048,576, and
    /// brought into that range.
    ///
    /// A follower that is further behind gets [`Moved::Lost`] in place of what it missed. The
    /// memory is taken at once: about 80 bytes an event.
    pub fn bounded(events_max: usize) -> Self {
        Self { sender: broadcast::Sender::new(events_max.clamp(1, 1 << 20)) }
    }

    /// Tells every follower; nobody is waited for.
    pub fn send(&self, moved: Moved) {
        // The only error is that nobody follows.
        let _followers = self.sender.send(moved);
    }

    /// A new follower: it sees what is sent from now on.
    pub fn watch(&self) -> Moves {
        Moves { receiver: self.sender.subscribe() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Moved, MovesSender};
    use yumen_proto::{Epoch, UserId};

    fn claimed(n: u64) -> Moved {
        let place = super::Place::gate("g");
        Moved::Claimed { user: UserId(1), place, epoch: Epoch(n) }
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_once_and_then_gets_the_newest_events() {
        let sender = MovesSender::bounded(4);
        let mut slow = sender.watch();
        (1..=100).for_each(|n| sender.send(claimed(n)));
        assert_eq!(slow.next().await, Some(Moved::Lost));
        for n in 97..=100 {
            assert_eq!(slow.next().await, Some(claimed(n)));
        }
        assert_eq!(slow.try_next(), None);
        sender.send(claimed(101));
        assert_eq!(slow.next().await, Some(claimed(101)));
    }

    #[tokio::test]
    async fn a_stream_ends_only_with_its_locator_and_after_its_last_event() {
        let sender = MovesSender::bounded(4);
        let mut moves = sender.watch();
        sender.send(Moved::Lost);
        drop(sender);
        assert_eq!(moves.next().await, Some(Moved::Lost));
        assert_eq!(moves.next().await, None);
    }
}
