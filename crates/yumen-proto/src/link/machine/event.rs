//! What a link tells its owner, and what its owner tells it at the start.
//!
//! Plain values; the machine decides nothing here.

use crate::link::{Farewell, Frame, Kind, Lane, LinkFeatures, LinkMark};

/// What a link has to tell its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent<'a> {
    /// Commands may flow. [`LinkConn::peer`](super::LinkConn::peer) says to whom. A dialler to one of ours waits for
    /// [`LinkEvent::Welcome`] all the same before it sends one.
    Up,
    /// The server, one of ours, keeps this connection: of two that cross one is told a farewell
    /// instead.
    Welcome,
    /// The peer goes on in another life; [`LinkPeer::mark`] has it.
    Life(u64),
    /// A request, or a reply.
    Frame {
        /// It.
        frame: Frame<'a>,
        /// Its length on the wire, for [`LinkConn::consumed`](super::LinkConn::consumed).
        len: usize,
    },
    /// There is room again.
    Room,
    /// The peer leaves: it carries out nothing that is sent from now on.
    Farewell(Farewell),
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkPeer {
    /// Its instance id. Not proved by a peer of due's.
    pub id: Box<str>,
    /// What it is; as far as a dialler knows, what it was told.
    pub kind: Kind,
    /// Whether it is one of ours.
    pub ours: bool,
    /// What was agreed; nothing with one of due's.
    pub features: LinkFeatures,
    /// Largest frame it accepts, as the value of the size field.
    pub frame_max: usize,
    /// Which life, process and dial it is; nothing of one of due's.
    pub mark: LinkMark,
}

/// Whom to dial.
#[derive(Clone, Debug)]
pub struct LinkTarget {
    /// The instance that is meant.
    pub id: Box<str>,
    /// What it is.
    pub kind: Kind,
    /// Whether it is one of ours, as its registry record says.
    pub ours: bool,
    /// What the connection is for; of no consequence to one of due's.
    pub lane: Lane,
    /// What the dialler says of its life, its process and this dial; not to one of due's.
    pub mark: LinkMark,
}
