//! What a gate keeps with each connection, and who is where: users and channels.
//!
//! No bytes and no sockets: the driver has those. Users and channels point to connections by id, so
//! a connection that is gone is never reached by mistake.

use super::again::Back;
use rustc_hash::{FxHashMap, FxHashSet};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use yumen_net::limit::Permit;
use yumen_proto::{
    id::{ConnId, Epoch, InstanceId, UserId},
    link::{Target, TargetKind},
};

/// What a gate keeps with a connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: SocketAddr,
    pub(crate) listener: u16,
    /// Packets may flow, and the nodes know it.
    pub(crate) open: bool,
    /// A message of it has gone to a node.
    pub(crate) routed: bool,
    /// Its gate stops and its turn to go has come: nothing new of it goes to a node.
    pub(crate) leaving: bool,
    /// How many of its messages were looked at for what they might be.
    pub(crate) puzzles: u8,
    /// It is not read: why, and since when.
    pub(crate) wait: Wait,
    /// Bytes given to nodes that they have not finished.
    pub(crate) in_flight: u32,
    pub(crate) since: Instant,
    pub(crate) login: Option<Box<Login>>,
    /// Most connections have none of these.
    pub(crate) more: Option<Box<More>>,
    /// Gives the place in the limits back when the session is dropped.
    pub(crate) permit: Option<Permit>,
}

/// Who a connection belongs to.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: UserId,
    pub(crate) epoch: Epoch,
    pub(crate) since: Instant,
    /// The nodes the user is known to be bound to, by group.
    pub(crate) nodes: Vec<(Arc<str>, Bound)>,
    /// The node that the last message for each group went to.
    pub(crate) sent: Vec<(Arc<str>, InstanceId)>,
    /// Moves of the user between nodes seen: an answer that one has overtaken is asked for again.
    pub(crate) moves: u32,
}

/// What is known of a user's binding to a group of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Nobody has asked.
    Unknown,
    /// To this node.
    To(InstanceId),
    /// To none, when asked just now; holds for one message.
    Nowhere,
    /// The question was asked and could not be answered; holds for one message.
    Failed,
}

#[derive(Debug, Default)]
pub(crate) struct More {
    pub(crate) channels: Vec<Arc<str>>,
    pub(crate) rate: Option<Bucket>,
    /// Messages that have come back, in their order.
    pub(super) back: VecDeque<Back>,
    /// Nodes that messages went to before later ones went to another node of the group.
    pub(super) left: VecDeque<InstanceId>,
}

/// Most nodes that are remembered to have been left; the one that was left first is forgotten.
const LEFT_MAX: usize = 8;

/// Why a session is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It is read.
    #[default]
    No,
    /// It has too much in flight, or its lane is full.
    Room(Instant),
    /// The locator is asked where its user is bound.
    Answer,
    /// Messages of it have come back and go first.
    Again,
    /// It waited too long: it is read, and what is too much is refused.
    Shedding,
}

/// A token bucket: so many messages at once, and so many a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: u32, now: Instant) -> Self {
        Self { tokens: f64::from(rate), at: now }
    }

    /// Takes one token, if there is one. `rate` is tokens per second and at once.
    pub(crate) fn take(&mut self, rate: u32, now: Instant) -> bool {
        let refill = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(rate);
        self.tokens = (self.tokens + refill).min(f64::from(rate));
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Gives a token back: the message did not go on after all.
    pub(crate) fn give_back(&mut self) {
        self.tokens += 1.0;
    }
}

impl Session {
    pub(crate) fn new(
        peer: SocketAddr,
        listener: u16,
        permit: Option<Permit>,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            listener,
            open: false,
            routed: false,
            leaving: false,
            puzzles: 0,
            wait: Wait::No,
            in_flight: 0,
            since: now,
            login: None,
            more: None,
            permit,
        }
    }

    pub(crate) fn user(&self) -> Option<UserId> {
        self.login.as_ref().map(|login| login.user)
    }

    /// What is known of the user's binding to `group`. What holds for one message is forgotten.
    pub(crate) fn bound(&mut self, group: &str) -> Bound {
        let Some(login) = &mut self.login else { return Bound::Nowhere };
        let Some(at) = login.nodes.iter().position(|(known, _)| **known == *group) else {
            return Bound::Unknown;
        };
        match login.nodes.get(at).map(|(_, bound)| bound.clone()) {
            Some(Bound::To(id)) => Bound::To(id),
            Some(other) => {
                login.nodes.swap_remove(at);
                other
            }
            None => Bound::Unknown,
        }
    }

    pub(crate) fn set_bound(&mut self, group: &Arc<str>, bound: Bound) {
        let Some(login) = &mut self.login else { return };
        match login.nodes.iter_mut().find(|(known, _)| known == group) {
            Some((_, known)) => *known = bound,
            None => login.nodes.push((Arc::clone(group), bound)),
        }
    }

    /// A message for `group` goes to `node`: what went to another one before is behind it now, and must
    /// not be sent again.
    pub(crate) fn goes_to(&mut self, group: &Arc<str>, node: &InstanceId) {
        let Some(login) = &mut self.login else { return };
        match login.sent.iter_mut().find(|(known, _)| known == group) {
            Some((_, last)) if last == node => {}
            Some((_, last)) => {
                let left = std::mem::replace(last, node.clone());
                let more = self.more.get_or_insert_default();
                more.left.retain(|known| known != node && *known != left);
                if more.left.len() >= LEFT_MAX {
                    more.left.pop_front();
                }
                more.left.push_back(left);
            }
            None => {
                login.sent.reserve_exact(1);
                login.sent.push((Arc::clone(group), node.clone()));
            }
        }
    }

    /// Whether messages have gone to another node since some went to `node`.
    pub(crate) fn has_left(&self, node: &InstanceId) -> bool {
        self.more.as_ref().is_some_and(|more| more.left.contains(node))
    }

    /// How long the session has waited for room.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        match self.wait {
            Wait::Room(since) => now.saturating_duration_since(since),
            Wait::No | Wait::Answer | Wait::Again | Wait::Shedding => Duration::ZERO,
        }
    }
}

/// Who is where.
#[derive(Debug, Default)]
pub(crate) struct Index {
    users: FxHashMap<UserId, ConnId>,
    channels: FxHashMap<Arc<str>, FxHashSet<ConnId>>,
}

impl Index {
    pub(crate) fn of_user(&self, user: UserId) -> Option<ConnId> {
        self.users.get(&user).copied()
    }

    /// The connection a target names.
    pub(crate) fn conn(&self, target: Target) -> Option<ConnId> {
        match target {
            Target::Conn(conn) => Some(conn),
            Target::User(user) => self.of_user(user),
        }
    }

    /// The connection a number in a list of targets names.
    pub(crate) fn target(&self, kind: TargetKind, number: i64) -> Option<ConnId> {
        match kind {
            TargetKind::Conn => Some(ConnId(number)),
            TargetKind::User => self.of_user(UserId(number)),
        }
    }

    pub(crate) fn set_user(&mut self, user: UserId, conn: ConnId) {
        self.users.insert(user, conn);
    }

    /// Forgets the user, if it still is at that connection.
    pub(crate) fn clear_user(&mut self, user: UserId, conn: ConnId) {
        if self.users.get(&user) == Some(&conn) {
            self.users.remove(&user);
        }
    }

    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    /// The connections of all users, in the order of their ids.
    pub(crate) fn user_conns(&self) -> Vec<ConnId> {
        let mut conns: Vec<_> = self.users.values().copied().collect();
        conns.sort_unstable();
        conns
    }

    /// The channel's name as every subscriber shares it; made if it is new. False if the connection
    /// was subscribed already.
    pub(crate) fn subscribe(&mut self, channel: &str, conn: ConnId) -> (Arc<str>, bool) {
        let known = self.channels.get_key_value(channel).map(|(name, _)| Arc::clone(name));
        let name = known.unwrap_or_else(|| Arc::from(channel));
        let fresh = self.channels.entry(Arc::clone(&name)).or_default().insert(conn);
        (name, fresh)
    }

    pub(crate) fn unsubscribe(&mut self, channel: &str, conn: ConnId) {
        if let Some(subscribers) = self.channels.get_mut(channel) {
            subscribers.remove(&conn);
            if subscribers.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    /// The channel's connections, in the order of their ids.
    pub(crate) fn subscribers(&self, channel: &str) -> Vec<ConnId> {
        let mut conns: Vec<_> = self.channels.get(channel).into_iter().flatten().copied().collect();
        conns.sort_unstable();
        conns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w38_channels_have_a_store_of_their_own_and_empty_ones_vanish() {
        let mut index = Index::default();
        let (name, fresh) = index.subscribe("room:1", ConnId(1));
        assert!(fresh);
        let (again, fresh) = index.subscribe("room:1", ConnId(1));
        assert!(!fresh && Arc::ptr_eq(&name, &again));
        index.subscribe("room:1", ConnId(3));
        index.subscribe("room:1", ConnId(2));
        assert_eq!(index.subscribers("room:1"), [ConnId(1), ConnId(2), ConnId(3)]);
        for conn in [1, 2, 3] {
            index.unsubscribe("room:1", ConnId(conn));
        }
        index.unsubscribe("never", ConnId(1));
        assert!(index.channels.is_empty());
    }

    #[test]
    fn w44_negative_and_unknown_users_are_nobody() {
        let index = Index::default();
        for user in [-1, 0, i64::MIN, i64::MAX] {
            assert_eq!(index.conn(Target::User(UserId(user))), None);
            assert_eq!(index.target(TargetKind::User, user), None);
        }
    }

    #[test]
    fn a_bucket_lets_its_rate_through_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::full(10, start);
        let taken = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(10, at)).count();
        assert_eq!(taken(&mut bucket, start), 10);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), 10);
    }

    #[test]
    fn what_holds_for_one_message_is_forgotten_after_it() {
        let start = Instant::now();
        let mut session = Session::new(([127, 0, 0, 1], 1).into(), 0, None, start);
        assert_eq!(session.bound("g"), Bound::Nowhere, "nobody is logged in");
        let (user, epoch, nodes) = (UserId(1), Epoch(1), Vec::new());
        let login = Login { user, epoch, since: start, nodes, sent: Vec::new(), moves: 0 };
        session.login = Some(Box::new(login));
        let group: Arc<str> = "g".into();
        assert_eq!(session.bound("g"), Bound::Unknown);
        session.set_bound(&group, Bound::Nowhere);
        assert_eq!((session.bound("g"), session.bound("g")), (Bound::Nowhere, Bound::Unknown));
        session.set_bound(&group, Bound::To("n".into()));
        session.set_bound(&group, Bound::To("m".into()));
        assert_eq!(session.bound("g"), Bound::To("m".into()));
        assert_eq!(session.bound("g"), Bound::To("m".into()));
    }
}
