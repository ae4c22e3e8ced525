//! Who serves what: the gate's view of the nodes, rebuilt whole from each registry snapshot.
//!
//! Which instance gets a message is decided here, from the snapshot, the strategy and a roll of the
//! dice; nothing is sent and nothing is waited for.

use super::{
    balance::{Dispatch, Turns},
    traffic::{Routes, Traffic},
};
use crate::shard;
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use yumen_core::cluster::{Event, RouteInfo, Snapshot, State};
use yumen_mesh::LinkId;
use yumen_proto::id::{InstanceId, RouteId, UserId};

/// A node of the snapshot.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: InstanceId,
    pub(crate) events: Vec<Event>,
    /// The link to it, once dialled.
    pub(crate) link: Cell<Option<LinkId>>,
    /// Whether what is sent to it is likely to arrive soon, as of the last look.
    pub(crate) up: Cell<bool>,
}

/// A route that some node serves.
#[derive(Debug)]
pub(crate) struct Route {
    /// Whether clients may send it, and who of them.
    pub(crate) rules: RouteInfo,
    /// The group whose binding a stateful route follows.
    pub(crate) group: Arc<str>,
    /// Every member that declares it, in any state.
    pub(super) all: Vec<u32>,
    /// Those that new messages go to: all in work, or else all that are busy.
    pub(super) open: Vec<u32>,
    weights: Vec<u32>,
    /// A user's messages go to the node that owns it; then what stands for those in `open`.
    sharded: bool,
    marks: Vec<u64>,
    turns: RefCell<Turns>,
    /// Where its messages are counted.
    pub(crate) traffic: Rc<Traffic>,
}

/// Who serves what.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(super) routes: FxHashMap<RouteId, Route>,
    members: Vec<Member>,
    /// Routes that several groups declare; the first group in the order of ids serves them.
    pub(crate) conflicts: usize,
}

impl Table {
    /// The table of a snapshot, whose messages are counted in `traffic`.
    pub(crate) fn new(nodes: &Snapshot, traffic: &Routes) -> Self {
        let mut table = Self::default();
        let mut state_of = Vec::new();
        for node in nodes.iter() {
            let index = u32::try_from(table.members.len()).unwrap_or(u32::MAX);
            let group: Arc<str> = Arc::from(node.alias.as_str());
            for info in &node.routes {
                table.declare(info, (&group, index), traffic);
            }
            state_of.push((node.state, node.weight.max(1)));
            let (id, events) = (node.id.clone(), node.events.clone());
            table.members.push(Member { id, events, link: Cell::new(None), up: Cell::new(true) });
        }
        for (id, node) in
            nodes.iter().flat_map(|node| shard::routes(node).map(move |id| (id, node)))
        {
            if let Some(route) =
                table.routes.get_mut(&id).filter(|route| *route.group == *node.alias)
            {
                route.sharded = true;
            }
        }
        for route in table.routes.values_mut() {
            route.open_to(&state_of);
            route.marks =
                route.open.iter().filter_map(|index| mark(&table.members, *index)).collect();
        }
        table
    }

    fn declare(&mut self, info: &RouteInfo, (group, index): (&Arc<str>, u32), traffic: &Routes) {
        let route = self.routes.entry(info.id).or_insert_with(|| Route {
            rules: *info,
            group: Arc::clone(group),
            all: Vec::new(),
            open: Vec::new(),
            weights: Vec::new(),
            sharded: false,
            marks: Vec::new(),
            turns: RefCell::default(),
            traffic: traffic.registered(info.id),
        });
        // While versions that disagree run side by side, the stricter rule is the safe one.
        route.rules.internal |= info.internal;
        route.rules.stateful |= info.stateful;
        route.rules.authorized |= info.authorized;
        if route.group == *group {
            route.all.push(index);
        } else {
            self.conflicts = self.conflicts.saturating_add(1);
        }
    }

    #[inline]
    pub(crate) fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(&id)
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    #[inline]
    pub(crate) fn member(&self, index: u32) -> Option<&Member> {
        self.members.get(usize::try_from(index).ok()?)
    }

    /// The member a stateless message goes to.
    #[inline]
    pub(crate) fn pick(&self, route: &Route, how: Dispatch, roll: u64) -> Option<&Member> {
        let pick = route.turns.borrow_mut().pick(how, &route.weights, roll)?;
        let member = self.member(*route.open.get(pick)?)?;
        if member.up.get() { Some(member) } else { self.another(route, roll).or(Some(member)) }
    }

    /// A member that is up instead of one that is not, any of them with equal chances.
    #[cold]
    fn another(&self, route: &Route, roll: u64) -> Option<&Member> {
        let up = || {
            let all = route.open.iter().filter_map(|index| self.member(*index));
            all.filter(|member| member.up.get())
        };
        // The low bits have chosen the first one.
        let count = u64::try_from(up().count()).unwrap_or(u64::MAX);
        let at = (roll >> 32).checked_rem(count)?;
        up().nth(usize::try_from(at).ok()?)
    }

    /// The member that a message of this user goes to on a route that any may serve.
    #[inline]
    pub(crate) fn pick_for(
        &self,
        route: &Route,
        user: Option<UserId>,
        (how, roll): (Dispatch, u64),
    ) -> Option<&Member> {
        match user.filter(|_| route.sharded) {
            Some(user) => self.member(*route.open.get(shard::owner(user, &route.marks)?)?),
            None => self.pick(route, how, roll),
        }
    }

    /// Those that might serve a message instead of `gone`; none if only one may.
    pub(crate) fn others<'a>(
        &'a self,
        route: &'a Route,
        gone: &'a Member,
    ) -> impl Iterator<Item = &'a Member> {
        let free = !route.rules.stateful && !route.sharded;
        let open = route.open.iter().filter(move |_| free).filter_map(|index| self.member(*index));
        open.filter(|member| member.id != gone.id)
    }

    /// The member a bound user's message goes to, in whatever state it is.
    pub(crate) fn bound(&self, route: &Route, instance: &InstanceId) -> Option<&Member> {
        let mut all = route.all.iter().filter_map(|index| self.member(*index));
        all.find(|member| member.id == *instance)
    }
}

/// What stands for a member in the choice of an owner.
fn mark(members: &[Member], index: u32) -> Option<u64> {
    let member = members.get(usize::try_from(index).ok()?)?;
    Some(shard::mark(&member.id))
}

impl Route {
    fn open_to(&mut self, states: &[(State, u32)]) {
        let of = |index: &u32| usize::try_from(*index).ok().and_then(|i| states.get(i)).copied();
        for state in [State::Work, State::Busy] {
            let is = |index: &&u32| of(index).is_some_and(|(s, _)| s == state);
            self.open = self.all.iter().filter(is).copied().collect();
            if !self.open.is_empty() {
                break;
            }
        }
        let weight = |index: &u32| of(index).map_or(1, |(_, weight)| weight);
        self.weights = self.open.iter().map(weight).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::cluster::{Instance, Kind};

    fn node(id: &str, alias: &str, state: State, routes: &[RouteInfo]) -> Instance {
        let mut node = Instance::new(id.into(), Kind::Node, "");
        node.alias = alias.to_owned();
        node.state = state;
        node.routes = routes.to_vec();
        node
    }

    fn plain(id: i32) -> RouteInfo {
        RouteInfo::new(id.into())
    }

    fn picked(table: &Table, id: i32) -> Vec<String> {
        let route = table.route(id.into()).unwrap();
        let mut ids: Vec<_> = (0..30)
            .filter_map(|_| table.pick(route, Dispatch::RoundRobin, 0))
            .map(|m| m.id.to_string())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    #[test]
    fn work_comes_before_busy_and_hang_and_shut_get_nothing() {
        let all = [
            node("a", "g", State::Busy, &[plain(1), plain(2), plain(3)]),
            node("b", "g", State::Work, &[plain(1)]),
            node("c", "g", State::Hang, &[plain(1), plain(2), plain(4)]),
            node("d", "g", State::Work, &[plain(1)]),
            node("e", "g", State::Shut, &[plain(1), plain(3)]),
        ];
        let table = Table::new(&Snapshot::from(all), &Routes::default());
        assert_eq!(picked(&table, 1), ["b", "d"]);
        assert_eq!(picked(&table, 2), ["a"]);
        assert_eq!(picked(&table, 3), ["a"]);
        assert!(picked(&table, 4).is_empty());
        assert!(table.route(5.into()).is_none());
    }

    #[test]
    fn a_node_that_does_not_answer_gets_nothing_while_another_does() {
        let all = ["a", "b", "c"].map(|id| node(id, "g", State::Work, &[plain(1)]));
        let table = Table::new(&Snapshot::from(all), &Routes::default());
        table.members()[1].up.set(false);
        assert_eq!(picked(&table, 1), ["a", "c"]);
        let route = table.route(1.into()).unwrap();
        let rolls = (0..64).map(|roll| roll << 32 | roll);
        let mut seen: Vec<_> = rolls
            .filter_map(|roll| table.pick(route, Dispatch::Random, roll))
            .map(|member| member.id.to_string())
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a", "c"]);
        table.members().iter().for_each(|member| member.up.set(false));
        assert_eq!(picked(&table, 1), ["a", "b", "c"], "whoever may come back is all there is");
    }

    #[test]
    fn a_bound_user_is_served_in_any_state_but_only_where_the_route_is() {
        let all =
            [node("a", "g", State::Hang, &[plain(1)]), node("b", "g", State::Work, &[plain(2)])];
        let table = Table::new(&Snapshot::from(all), &Routes::default());
        let route = table.route(1.into()).unwrap();
        assert!(table.bound(route, &"a".into()).is_some());
        assert!(table.bound(route, &"b".into()).is_none());
        assert!(table.bound(route, &"x".into()).is_none());
    }

    #[test]
    fn the_stricter_rule_wins_and_a_second_group_is_a_conflict() {
        let strict = RouteInfo { authorized: true, ..plain(1) };
        let all = [
            node("a", "g", State::Work, &[plain(1)]),
            node("b", "g", State::Work, &[strict]),
            node("c", "other", State::Work, &[plain(1)]),
        ];
        let table = Table::new(&Snapshot::from(all), &Routes::default());
        assert!(table.route(1.into()).unwrap().rules.authorized);
        assert_eq!((picked(&table, 1), table.conflicts), (vec!["a".into(), "b".into()], 1));
    }
}
