//! Messages that came to the wrong node: handed on to the one that owns the user.
//!
//! Our gates work out the owner themselves. Due's know nothing of owners and spread such messages over
//! all nodes, so whoever gets one hands it on, with the name of the gate, and the owner answers as if it
//! had come from there. A message is handed on once: views of the cluster that differ for a moment must
//! not send it in circles.

use crate::{
    node::{extract::Head, hub::Hub, run::Front},
    shard,
};
use yumen_core::{Code, Status, cluster::Kind};
use yumen_mesh::LinkId;
use yumen_proto::{
    id::{ConnId, InstanceId, RouteId, UserId},
    link::Command,
};

impl<S: 'static> Front<S> {
    /// The owner of the user on a sharded route, if that is not this node.
    pub(super) fn owner_elsewhere(
        &self,
        route: RouteId,
        user: Option<UserId>,
    ) -> Option<InstanceId> {
        let user = user.filter(|_| self.sharded.contains(&route))?;
        let nodes = self.hub.nodes();
        let owner = shard::owner_among(&nodes, (&self.hub.group, route), user)?;
        (owner.id != self.hub.id).then(|| owner.id.clone())
    }

    /// Gives a message from `link` to its owner. Gives whether it is on its way.
    pub(super) fn hand_on(
        &self,
        owner: &InstanceId,
        (link, conn, user): (LinkId, ConnId, Option<UserId>),
        packet: &[u8],
    ) -> bool {
        let sent = self.send_on(owner, (link, conn, user), packet);
        match &sent {
            Ok(()) => self.hub.stats.handed_on.bump(),
            Err(status) => {
                self.hub.stats.unserved.bump();
                tracing::debug!(%owner, %status, "a message could not be handed on to its owner");
            }
        }
        sent.is_ok()
    }

    fn send_on(
        &self,
        owner: &InstanceId,
        (link, conn, user): (LinkId, ConnId, Option<UserId>),
        packet: &[u8],
    ) -> Result<(), Status> {
        let origin = self.hub.outbox.uplink().peer(link);
        let origin = origin.ok_or_else(|| Status::unavailable("its sender is gone"))?;
        let to = self.hub.link(owner)?;
        let origin = origin.id.as_str();
        self.hub.send(to, Command::Relay { conn, user, origin, packet })
    }

    /// A message that another node has handed on.
    pub(super) fn relayed(
        &self,
        link: LinkId,
        (conn, user): (ConnId, Option<UserId>),
        origin: &str,
        packet: &[u8],
    ) -> bool {
        if !matches!(self.hub.peer(link), Some((Kind::Node, _))) {
            self.hub.stats.unserved.bump();
            return false;
        }
        match self.hub.link(&origin.into()) {
            Ok(from) => self.take(from, (conn, user), packet, true),
            Err(_) => {
                self.hub.stats.unserved.bump();
                false
            }
        }
    }
}

impl Hub {
    /// Gets a message of a user who is bound to another node there: through its gate, which keeps the
    /// order, or else straight on, once. True if its gate has it back.
    pub(super) fn pass_on(
        &self,
        node: &InstanceId,
        head: &Head,
        body: &[u8],
    ) -> Result<bool, Status> {
        let mut packet = Vec::new();
        let encoded = self.layout.encode_data(head.route, head.seq, body, &mut packet);
        encoded.map_err(|error| Status::internal(error.to_string()))?;
        let origin = self.outbox.uplink().peer(head.link);
        let origin = origin.ok_or_else(|| Status::unavailable("its sender is gone"))?;
        let (conn, user) = (head.conn, head.user);
        if origin.kind == Kind::Gate && origin.ours {
            self.send(head.link, Command::HandBack { conn, packet: &packet })?;
            return Ok(true);
        }
        let to = self.link(node)?;
        if head.relayed || !self.peer(to).is_some_and(|(_, ours)| ours) {
            return Err(Status::new(Code::NOT_BOUND, "the user is bound to another node"));
        }
        let origin = origin.id.as_str();
        self.send(to, Command::Relay { conn, user, origin, packet: &packet })?;
        Ok(false)
    }
}

#[cfg(test)]
#[cfg(feature = "json")]
mod tests {
    use super::*;
    use crate::node::{
        Raw, Router, on,
        testing::{Bench, DUE_GATE, GATE, NODE},
    };
    use yumen_core::cluster::{Instance, RouteInfo};
    use yumen_core::locator::{Locator, Place};
    use yumen_mesh::Receive;
    use yumen_proto::link::Frame;

    const OWN: i32 = 5;

    async fn echo(Raw(body): Raw) -> Raw {
        Raw(body)
    }

    fn run(test: impl AsyncFnOnce(Bench<()>)) {
        let nodes = ["node-1", "node-2"].map(|id| {
            let mut node = Instance::new(id.into(), Kind::Node, "");
            node.alias = "lobby".to_owned();
            node.routes = vec![RouteInfo::new(OWN.into())];
            node
        });
        let router = Router::new().route(OWN, on(echo).shard_by_user()).route(6, on(echo));
        Bench::run_among(nodes.into(), router, || (), |_| {}, test);
    }

    /// A user of the first node, and one of the second.
    fn users(bench: &Bench<()>) -> (i64, i64) {
        let nodes = bench.front.hub.nodes();
        let of = |id: &str| {
            let owner = |user: i64| shard::owner_among(&nodes, ("lobby", OWN.into()), UserId(user));
            (1..).find(|user| owner(*user).is_some_and(|node| node.id.as_str() == id)).unwrap()
        };
        (of("node-1"), of("node-2"))
    }

    #[test]
    fn a_due_gate_s_message_is_handed_on_to_the_owner_and_ours_is_trusted() {
        run(async |bench| {
            let (mine, other) = users(&bench);
            bench.send_as(DUE_GATE, OWN, 3, Some(mine), "a");
            assert_eq!(bench.log(), ["[4] push 3 5/1 a"]);
            bench.send_as(DUE_GATE, OWN, 3, Some(other), "b");
            assert_eq!(bench.log(), [format!("[3] relay {other} of due 3 5/1 b")]);
            bench.send_as(DUE_GATE, 6, 3, Some(other), "c");
            assert_eq!(bench.log(), ["[4] push 3 6/1 c"], "other routes stay");
            bench.send_as(GATE, OWN, 3, Some(other), "d");
            assert_eq!(bench.log(), ["push 3 5/1 d"], "our gates know the owner");
            assert_eq!(bench.count("handed_on"), 1);
        });
    }

    #[test]
    fn a_relayed_message_is_answered_to_its_gate_and_not_handed_on_again() {
        run(async |bench| {
            let (_, other) = users(&bench);
            let mut packet = Vec::new();
            bench.front.hub.layout.encode_data(OWN.into(), 9, b"hi", &mut packet).unwrap();
            let relay = |link, origin| {
                let (conn, user) = (ConnId(3), Some(UserId(other)));
                let command = Command::Relay { conn, user, origin, packet: &packet };
                bench.front.on_frame(link, Frame::Request { seq: 0, command });
            };
            relay(NODE, "due");
            assert_eq!(bench.log(), ["[4] push 3 5/9 hi"]);
            relay(GATE, "due");
            relay(NODE, "nobody");
            assert!(bench.log().is_empty(), "only nodes hand on, and only for those who are there");
            assert_eq!(bench.count("unserved"), 2);
        });
    }

    const STICKY: i32 = 9;

    /// The answer waits for nothing but the locator.
    fn run_sticky(test: impl AsyncFnOnce(Bench<()>)) {
        let router = Router::new().route(STICKY, on(echo).sticky()).route(6, on(echo));
        Bench::run(
            router,
            || (),
            |_| {},
            async |bench| {
                bench.locator.open(&"node-2".into()).await.unwrap();
                test(bench).await;
            },
        );
    }

    #[test]
    fn w04_a_sticky_message_of_a_user_who_is_bound_nowhere_is_answered_not_bound() {
        run_sticky(async |bench| {
            bench.send(STICKY, 3, "a");
            bench.idle().await;
            let told = format!(
                "status 3 9/1 {} the user is bound to no node of this name",
                Code::NOT_BOUND.0
            );
            assert_eq!((bench.log(), bench.count("forbidden")), (vec![told], 1));
        });
    }

    #[test]
    fn w05_a_sticky_message_at_the_wrong_node_goes_back_to_our_gate_and_on_for_others() {
        run_sticky(async |bench| {
            let other = Place::node("lobby", "node-2");
            bench.locator.claim(UserId(7), &other, None).await.unwrap();
            bench.send(STICKY, 3, "a");
            bench.send(STICKY, 3, "b");
            bench.send(6, 3, "c");
            bench.idle().await;
            assert_eq!(bench.log(), ["hand back 3 9/1 a", "hand back 3 9/1 b", "push 3 6/1 c"]);
            bench.send_as(DUE_GATE, STICKY, 3, Some(7), "d");
            bench.idle().await;
            assert_eq!(bench.log(), ["[3] relay 7 of due 3 9/1 d"]);
            assert_eq!(bench.count("handed_on"), 3);
        });
    }

    #[test]
    fn a_user_whom_another_has_bound_here_is_served_in_order_once_the_locator_says_so() {
        run_sticky(async |bench| {
            let here = Place::node("lobby", "node-1");
            bench.locator.claim(UserId(7), &here, None).await.unwrap();
            bench.send(STICKY, 3, "a");
            bench.send(6, 3, "b");
            assert!(bench.log().is_empty(), "both wait for the locator");
            bench.idle().await;
            assert_eq!(bench.log(), ["push 3 9/1 a", "push 3 6/1 b"]);
            bench.send(STICKY, 3, "c");
            assert_eq!(bench.log(), ["push 3 9/1 c"], "known from then on");
        });
    }
}
