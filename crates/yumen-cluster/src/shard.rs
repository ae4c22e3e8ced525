//! Which node owns a user, without asking anybody: rendezvous hashing over the nodes that serve a route.
//!
//! Every gate and node that sees the same nodes names the same owner, and when one of N nodes goes or
//! comes only about one user in N changes its owner (highest random weight: Thaler and Ravishankar,
//! 1998). Pure: no snapshot is kept and nothing is sent here. Weights do not count: a weight that is
//! changed for the sake of other routes must not move users.
//!
//! Which routes are sharded stands in a node's registry record as metadata, since due's records have no
//! flag for it.

use yumen_core::cluster::{Instance, State};
use yumen_proto::id::{InstanceId, RouteId, UserId};

/// The metadata that lists the sharded routes, as `1,5,9`.
pub(crate) const KEY: &str = "yumen.shard";

/// The metadata of these routes; `None` if there are none.
pub(crate) fn write(routes: impl Iterator<Item = RouteId>) -> Option<String> {
    let routes: Vec<String> = routes.map(|route| route.to_string()).collect();
    (!routes.is_empty()).then(|| routes.join(","))
}

/// The sharded routes of a node. What is no number is skipped.
pub(crate) fn routes(node: &Instance) -> impl Iterator<Item = RouteId> + '_ {
    let text = node.metadata.get(KEY).map_or("", String::as_str);
    text.split(',').filter_map(|route| route.trim().parse().ok()).map(RouteId)
}

/// What stands for a node in the choice of an owner: the same in every process and every build.
pub(crate) fn mark(node: &InstanceId) -> u64 {
    // FNV-1a with 64 bits.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    node.as_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The index of the node that owns the user, of those with these marks; `None` if there are none.
#[inline]
pub(crate) fn owner(user: UserId, marks: &[u64]) -> Option<usize> {
    let user = mix(user.0.cast_unsigned());
    let scores = marks.iter().map(|mark| mix(mark ^ user)).enumerate();
    scores.max_by_key(|(_, score)| *score).map(|(index, _)| index)
}

/// The node of `group` that owns the user on a route: of those that declare it and work, or else of
/// those that are busy.
pub(crate) fn owner_among<'a>(
    nodes: &'a [Instance],
    (group, route): (&str, RouteId),
    user: UserId,
) -> Option<&'a Instance> {
    [State::Work, State::Busy].into_iter().find_map(|state| {
        let open = |node: &&Instance| {
            node.state == state && node.alias == group && node.route(route).is_some()
        };
        let open: Vec<&Instance> = nodes.iter().filter(open).collect();
        let marks: Vec<u64> = open.iter().map(|node| mark(&node.id)).collect();
        open.get(owner(user, &marks)?).copied()
    })
}

/// Spreads every bit over all others: the finishing steps of splitmix64 (Steele, Lea and Flood, 2014).
#[inline]
const fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::cluster::{Kind, RouteInfo};

    fn marks(count: usize) -> Vec<u64> {
        (0..count).map(|n| mark(&format!("lobby.{n}").as_str().into())).collect()
    }

    fn owners(marks: &[u64]) -> Vec<usize> {
        (1..=20_000).map(|user| owner(UserId(user), marks).unwrap()).collect()
    }

    #[test]
    fn the_owner_is_the_same_in_every_build() {
        let owners: Vec<_> = (1..=12).map(|u| owner(UserId(u), &marks(4)).unwrap()).collect();
        assert_eq!(owners, [2, 0, 0, 3, 1, 2, 2, 0, 2, 2, 2, 1], "a change moves everybody");
        assert_eq!(owner(UserId(1), &[]), None);
    }

    #[test]
    fn users_are_spread_evenly_also_when_ids_differ_in_one_digit() {
        for count in [2, 3, 7, 16] {
            let owners = owners(&marks(count));
            let fair = owners.len() / count;
            for node in 0..count {
                let has = owners.iter().filter(|owner| **owner == node).count();
                assert!(
                    (fair * 9 / 10..=fair * 11 / 10).contains(&has),
                    "{node} of {count}: {has}"
                );
            }
        }
    }

    #[test]
    fn one_more_of_n_nodes_moves_one_user_in_n_and_only_to_itself() {
        for count in [2, 5, 10] {
            let (before, after) = (owners(&marks(count)), owners(&marks(count + 1)));
            let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
            assert!(moved.iter().all(|(_, to)| **to == count), "only to the new one");
            let fair = before.len() / (count + 1);
            assert!((fair * 9 / 10..=fair * 11 / 10).contains(&moved.len()), "{}", moved.len());
        }
    }

    #[test]
    fn nodes_that_hang_own_nobody_and_busy_ones_only_if_none_works() {
        let node = |id: &str, state| {
            let mut node = Instance::new(id.into(), Kind::Node, "");
            (node.alias, node.state) = ("lobby".to_owned(), state);
            node.routes = vec![RouteInfo::new(1.into())];
            node
        };
        let owner = |nodes: &[Instance], route: i32| {
            let own = owner_among(nodes, ("lobby", route.into()), UserId(7));
            own.map(|node| node.id.to_string())
        };
        let mut nodes = [node("a", State::Hang), node("b", State::Busy), node("c", State::Work)];
        assert_eq!(owner(&nodes, 1).as_deref(), Some("c"));
        nodes[2].alias = "other".to_owned();
        assert_eq!(owner(&nodes, 1).as_deref(), Some("b"));
        assert_eq!(owner(&nodes, 2), None, "nobody declares it");
    }

    #[test]
    fn what_is_written_into_a_record_is_read_from_it() {
        let mut node = Instance::new("a".into(), Kind::Node, "");
        assert_eq!((write([].into_iter()), routes(&node).count()), (None, 0));
        let list = [RouteId(-3), RouteId(9)];
        node.metadata.extend(write(list.into_iter()).map(|text| (KEY.to_owned(), text)));
        assert_eq!(routes(&node).collect::<Vec<_>>(), list);
        node.metadata.insert(KEY.to_owned(), "4, x,,5".to_owned());
        assert_eq!(routes(&node).collect::<Vec<_>>(), [RouteId(4), RouteId(5)]);
    }
}
