//! A gate or a node that stands among due's, configured by due's own keys alone.
//!
//! `due-peer gate|node --etc DIR`: the registry is etcd, users are found through Redis, and every client
//! packet is due's. It takes the place of one process of a due cluster, or of all of them.

fn main() {}
