//! What the links of an instance hold, and what has happened on them.

use super::{Carrier, Links};
use crate::far::stats::FarCounts;

/// What the links of an instance hold. Each lane may hold [`LANE_MAX`](super::LANE_MAX) bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Peers that are linked.
    pub links: usize,
    /// Those of them that live in another process.
    pub far: usize,
    /// Connections to other processes, those that have not introduced themselves included.
    pub conns: usize,
    /// Calls that wait for an answer.
    pub calls: usize,
    /// Bytes sent and not yet handled, over all lanes; to other processes, not yet written.
    pub queued: usize,
    /// Of the lane that is nearest to its bound. To one of ours in another process, data that was handed
    /// to the connection does not count: credits bound it.
    pub queued_most: usize,
    /// Answers that came when nobody waited for them any more, since the start.
    pub late: u64,
    /// Frames that did not parse, since the start.
    pub malformed: u64,
    /// What happened on the links to other processes.
    pub counts: FarCounts,
}

impl Links {
    /// What the links of this instance hold now.
    pub fn load(&self) -> Load {
        let far = self.far();
        let peers = self.peers.borrow();
        let mut load = Load {
            links: peers.len(),
            conns: far.as_ref().map_or(0, |far| far.conns()),
            calls: self.calls.borrow().len(),
            late: self.late.get(),
            malformed: far
                .as_ref()
                .map_or(0, |far| far.skipped())
                .wrapping_add(self.malformed.get()),
            counts: far.map(|far| far.counts()).unwrap_or_default(),
            ..Load::default()
        };
        for peer in peers.values() {
            let (queued, most) = match peer.carrier.as_ref() {
                Carrier::Here(lane) => (lane.queued(), lane.queued()),
                Carrier::Near(lane) => (lane.queued(), lane.queued()),
                Carrier::Far(pair) => {
                    load.far = load.far.saturating_add(1);
                    (pair.queued(), pair.fullest())
                }
                Carrier::Due(due) => {
                    load.far = load.far.saturating_add(1);
                    (due.queued(), due.queued())
                }
            };
            load.queued = load.queued.saturating_add(queued);
            load.queued_most = load.queued_most.max(most);
        }
        load
    }
}
