//! What an instance needs to be reached from other processes, and who may reach it.
//!
//! Plain values: nothing here opens a socket or looks up a name.

use crate::guard::LinkGuard;
use std::{fmt, net::IpAddr, time::Duration};
use yumen_core::{locator::Incarnation, watch::Watch};
pub use yumen_net::block::{NetBlock, NotAnAddress};
use yumen_net::env::Listener;
use yumen_proto::{
    id::InstanceId,
    link::{Kind, LinkSettings},
};

/// The instance at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: InstanceId,
    /// What it is.
    pub kind: Kind,
    /// Whether it knows the commands from 64 on; one of due's does not.
    pub ours: bool,
}

/// How an instance meets those of other processes; for [`Links::go_outside`](crate::Links::go_outside).
pub struct Outside {
    /// What it says of itself, and what it demands of others. Kind and id are those of the links.
    pub settings: LinkSettings,
    /// Its life, as the locator counts them; it is told to every peer. 0 while it is not known.
    pub life: Watch<Incarnation>,
    /// Where others reach it; `None` if it only dials.
    pub listener: Option<Box<dyn Listener>>,
    /// Who may connect without a proof. Whoever proves the cluster's secret may always.
    pub allow: AllowList,
    /// Bounds and times.
    pub tuning: Tuning,
    /// TLS, or none.
    pub guard: LinkGuard,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listens = self.listener.is_some();
        let mut all = f.debug_struct("Outside");
        all.field("settings", &self.settings).field("listens", &listens);
        all.field("allow", &self.allow).field("tuning", &self.tuning).finish_non_exhaustive()
    }
}

/// Bounds and times of links to other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Connections to each of due's instances, as due's `connNum`. Between two of ours there are
    /// always two. Default: 5.
    pub conns: usize,
    /// Longest wait for the answer to a call, as due's `callTimeout`; 0 waits as long as the link lives.
    /// Default: 3 s.
    pub call_max: Duration,
    /// Longest time for opening one connection, as due's `dialTimeout`; 0 is the default. The handshake
    /// has its own in [`LinkSettings`]. Default: 3 s.
    pub dial_max: Duration,
    /// Attempts in a row before a dial has failed, as due's `dialRetryTimes`; 0 is 1. Default: 3.
    pub dial_tries: u32,
    /// A link that carried nothing for so long is closed, and dialled again at its next use.
    /// Default: 5 min.
    pub idle_max: Duration,
    /// Most connections that others may have to this instance. Default: 16,384.
    pub accepted_max: usize,
    /// Most of them that have not said, or proved, who they are; the oldest goes first. Default: 256.
    pub half_open_max: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            conns: 5,
            call_max: Duration::from_secs(3),
            dial_max: Duration::from_secs(3),
            dial_tries: 3,
            idle_max: Duration::from_mins(5),
            accepted_max: 16_384,
            half_open_max: 256,
        }
    }
}

/// Which addresses may connect without a proof. An empty list admits anybody.
///
/// ```
/// use yumen_mesh::{AllowList, NetBlock};
///
/// let list: AllowList =
///     ["10.0.0.0/8", "::1"].iter().map(|text| text.parse::<NetBlock>()).collect::<Result<_, _>>()?;
/// assert!(list.admits("10.2.3.4".parse()?));
/// assert!(!list.admits("192.168.0.1".parse()?));
/// assert!(AllowList::default().admits("192.168.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<NetBlock>);

impl AllowList {
    /// Whether that address may connect. An IPv4 address in its IPv6 form counts as IPv4.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|block| block.has(address))
    }
}

impl FromIterator<NetBlock> for AllowList {
    fn from_iter<T: IntoIterator<Item = NetBlock>>(blocks: T) -> Self {
        Self(blocks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(blocks: &[&str]) -> AllowList {
        blocks.iter().map(|block| block.parse::<NetBlock>().unwrap()).collect()
    }

    #[test]
    fn blocks_and_single_addresses_are_told_apart() {
        let list = list(&["10.0.0.0/8", " 192.168.1.7 ", "fd00::/8"]);
        for inside in ["10.255.1.2", "192.168.1.7", "fd12::1", "::ffff:10.1.1.1"] {
            assert!(list.admits(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.168.1.8", "fe80::1", "::1", "::a00:1"] {
            assert!(!list.admits(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_block_of_everything_is_of_one_family() {
        let list = list(&["0.0.0.0/0"]);
        assert!(list.admits("1.2.3.4".parse().unwrap()));
        assert!(!list.admits("::1".parse().unwrap()));
        assert!(
            AllowList::default().admits("::1".parse().unwrap()),
            "an empty list admits anybody"
        );
    }
}
