//! What a node needs of the links to other instances.
//!
//! A seam, so that everything in `node/` runs without a socket: `yumen_mesh::Links` implements it in
//! the product, a recording one in the tests. Nothing here runs user code, and nothing waits but
//! [`Uplink::room`] and [`Uplink::call`].

use std::rc::Rc;
use yumen_core::{cluster::Kind, locator::Incarnation};
pub(crate) use yumen_mesh::Peer;
use yumen_mesh::{CallError, LinkId, Links, Load, Unsent};
use yumen_net::env::LocalFuture;
use yumen_proto::{
    id::InstanceId,
    link::{Command, Frame, Reply},
};

/// The links of one instance, as its node uses them.
pub(crate) trait Uplink {
    /// The link to `peer`; dialled at its first use.
    ///
    /// # Errors
    /// No such peer.
    fn link(&self, peer: &InstanceId) -> Result<LinkId, Unsent>;

    /// Who is at the other end, while the link lives.
    fn peer(&self, link: LinkId) -> Option<Peer>;

    /// The links to gates that are up, whether or not the registry has told of those gates yet.
    fn gates_up(&self) -> Vec<LinkId>;

    /// Queues a frame behind all earlier ones of this link. It may wait until [`Uplink::flush`].
    ///
    /// # Errors
    /// `Full`: too many bytes are on their way, see [`Uplink::room`]. `Closed`: the peer is gone.
    fn send(&self, link: LinkId, frame: Frame<'_>) -> Result<(), Unsent>;

    /// What was sent is on its way.
    fn flush(&self);

    /// Resolves when a frame that found the link full may be sent again, or the link has closed.
    /// Safe to drop.
    fn room(&self, link: LinkId) -> LocalFuture<'_, ()>;

    /// Asks the peer and waits for its answer.
    fn call<'a>(
        &'a self,
        link: LinkId,
        command: Command<'a>,
    ) -> LocalFuture<'a, Result<(u16, Reply), CallError>>;

    /// That life of an instance is over, and every earlier one: nothing of it is heard any more.
    fn fence(&self, _instance: &InstanceId, _life: Incarnation) {}

    /// What the links hold now.
    fn load(&self) -> Load {
        Load::default()
    }
}

impl Uplink for Rc<Links> {
    fn link(&self, peer: &InstanceId) -> Result<LinkId, Unsent> {
        Links::link(self, peer)
    }

    fn peer(&self, link: LinkId) -> Option<Peer> {
        Links::peer(self, link)
    }

    fn gates_up(&self) -> Vec<LinkId> {
        Links::up(self, Kind::Gate)
    }

    fn send(&self, link: LinkId, frame: Frame<'_>) -> Result<(), Unsent> {
        Links::send(self, link, frame)
    }

    fn flush(&self) {
        Links::flush(self);
    }

    fn room(&self, link: LinkId) -> LocalFuture<'_, ()> {
        Box::pin(Links::room(self, link))
    }

    fn call<'a>(
        &'a self,
        link: LinkId,
        command: Command<'a>,
    ) -> LocalFuture<'a, Result<(u16, Reply), CallError>> {
        Box::pin(Links::call(self, link, command))
    }

    fn fence(&self, instance: &InstanceId, life: Incarnation) {
        Links::fence(self, instance, life);
    }

    fn load(&self) -> Load {
        Links::load(self)
    }
}
