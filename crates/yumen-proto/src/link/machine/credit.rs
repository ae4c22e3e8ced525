//! How much may be under way on a data lane, in both directions, in bytes of whole frames.
//!
//! The sender may send while it has room, so it overshoots by one frame at most. The receiver gives
//! room back once its owner is done with what arrived, in portions, so that credits cost next to
//! nothing.

/// Room is given back in portions of this part of the window.
const PORTIONS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Credit {
    /// What we may still send; below zero after an overshoot. `None` without credits.
    room: Option<i64>,
    /// What the peer may have under way here, and the largest frame it may overshoot by.
    window: u32,
    slack: u64,
    /// What has arrived and was not given back.
    owed: u64,
    /// What the owner is done with and was not given back.
    done: u32,
}

impl Credit {
    /// Both sides have said how much they take.
    pub(super) fn open(&mut self, theirs: u32, ours: u32, frame_max: usize) {
        self.room = Some(theirs.into());
        self.window = ours;
        self.slack = u64::try_from(frame_max).unwrap_or(u64::MAX).saturating_add(4);
    }

    /// What may be sent now; below zero after an overshoot. `None` without credits.
    pub(super) fn room(&self) -> Option<i64> {
        self.room
    }

    /// Whether a frame may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.room.is_none_or(|room| room > 0)
    }

    /// A frame was queued.
    pub(super) fn spend(&mut self, len: usize) {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        self.room = self.room.map(|room| room.saturating_sub(len));
    }

    /// The peer gives room back. True if there was none before and is now.
    pub(super) fn earn(&mut self, bytes: u32) -> bool {
        let before = self.has_room();
        self.room = self.room.map(|room| room.saturating_add(bytes.into()));
        !before && self.has_room()
    }

    /// A frame arrived. False if the peer had no room for it.
    pub(super) fn arrived(&mut self, len: usize) -> bool {
        if self.room.is_none() {
            return true;
        }
        self.owed = self.owed.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        self.owed <= u64::from(self.window).saturating_add(self.slack)
    }

    /// A frame that arrived is put back, and will arrive again.
    pub(super) fn not_arrived(&mut self, len: usize) {
        self.owed = self.owed.saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
    }

    /// The owner is done with that much. What is to be given back now, if it is worth a frame.
    pub(super) fn consumed(&mut self, len: usize) -> Option<u32> {
        self.room?;
        self.done = self.done.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        let portion = self.window.checked_div(PORTIONS).unwrap_or(0).max(1);
        (self.done >= portion).then(|| {
            self.owed = self.owed.saturating_sub(self.done.into());
            std::mem::take(&mut self.done)
        })
    }
}
