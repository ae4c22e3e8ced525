//! What instances are and how they reach each other: `cluster.*`.
//!
//! Instances of one process reach each other without sockets; what is said here of connections is for
//! gates and nodes in separate processes.

use super::addr;
use crate::key::{
    Standing::{Live, NoEffect, NotYet, Start},
    section,
};
use std::{collections::BTreeMap, time::Duration};

const CODEC: &str =
    "the codec is part of the program: `Msg<T>` is JSON, and others are named in code";
const CODEC_DUE: &str = "The code's default, `proto`, holds; due's documents differ.";
const CLIENTS: &str = "clients are set up in code";
const MESH: &str = "there are no mesh instances";
const EXPOSE: &str = "no address is looked up outside (W-27); write what others are to dial into \
                      yumen.gate.advertise or yumen.node.advertise";
const QUEUE: &str = "what waits for another instance is bounded in bytes, not in messages";
const FAULT: &str = "due measures it in the wrong unit, so it has none there either (W-07)";

/// Refuses an id that no instance may have; an empty one is a random one.
fn id(text: &str) -> Result<(), String> {
    if text.len() > 200 {
        return Err("it must have at most 200 bytes".to_owned());
    }
    let slash = text.contains('/');
    if slash {
        Err("it must not have '/', which separates keys in registries".to_owned())
    } else {
        Ok(())
    }
}

/// Refuses a name that is none.
fn name(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(()) }
}

section! {
    /// What instances are and how they reach each other: `cluster.*`.
    ClusterSettings "etc.cluster" {}
    tables {
        /// Gates: `cluster.gate.*`.
        gate: ClusterGateSettings;
        /// Nodes: `cluster.node.*`.
        node: ClusterNodeSettings;
        /// Mesh instances: `cluster.mesh.*`.
        mesh: ClusterMeshSettings;
        /// Clients: `cluster.client.*`.
        client: ClusterClientSettings;
    }
}

section! {
    /// Gates: `cluster.gate.*`.
    ClusterGateSettings "etc.cluster.gate" {
        /// Id in the cluster, unique among all instances. Empty: a random one.
        id "id": String = "", Start => check(id);
        /// Name, which several gates may share.
        name "name": String = "gate", Start => check(name);
        /// How messages are spread over the nodes that serve a route: `random`, `rr` (one after the
        /// other) or `wrr` (as often as their weights say).
        dispatch "dispatch": String = "random", Start => words(&["random", "rr", "wrr"]);
        /// What the registry's record carries for others to read.
        metadata "metadata": BTreeMap<String, String> = {}, Start;
        /// Where it listens for other instances, as `host:port`; `:0` is any free port of every
        /// interface. Further instances of the process take the ports behind a fixed one.
        addr "addr": String = ":0", Start => check(addr);
        /// Whether the public address is announced to other instances.
        expose "expose": bool = false, NoEffect(EXPOSE);
        /// Connections to each instance of due's; instances of our own need one and a second for control.
        conn_num "connNum": i64 = 5, Start => range(1, 256) below_is_default();
        /// Longest wait for the answer of another instance.
        call_timeout "callTimeout": Duration = "3s", Start
            => least(1_000_000) below_is_default();
        /// Longest wait for a connection to another instance.
        dial_timeout "dialTimeout": Duration = "3s", Start
            => least(1_000_000) below_is_default();
        /// How often opening a connection is tried again.
        dial_retry_times "dialRetryTimes": i64 = 3, Start => range(0, 1_000) below_is_default();
        /// Longest time in which another instance takes none of the bytes for it; 0 is 10 s.
        write_timeout "writeTimeout": Duration = "0s", Start;
        /// Most messages that wait for another instance.
        write_queue_size "writeQueueSize": i64 = 2048, NoEffect(QUEUE);
        /// How long an instance that failed is not dialled.
        fault_recovery_time "faultRecoveryTime": Duration = "5s", NoEffect(FAULT);
    }
    dead { "timeout" }
}

section! {
    /// Nodes: `cluster.node.*`.
    ClusterNodeSettings "etc.cluster.node" {
        /// Id in the cluster, unique among all instances. Empty: a random one.
        id "id": String = "", Start => check(id);
        /// Name; nodes of one name share their sticky users.
        name "name": String = "node", Start => check(name);
        /// Share of the messages where gates dispatch by `wrr`.
        weight "weight": u32 = 1, Live => range(1, 1_000);
        /// How messages are encoded.
        codec "codec": String = "proto", NoEffect(CODEC) => due(CODEC_DUE);
        /// What the registry's record carries for others to read.
        metadata "metadata": BTreeMap<String, String> = {}, Start;
        /// Where it listens for other instances, as `host:port`; `:0` is any free port of every
        /// interface. Further instances of the process take the ports behind a fixed one.
        addr "addr": String = ":0", Start => check(addr);
        /// Whether the public address is announced to other instances.
        expose "expose": bool = false, NoEffect(EXPOSE);
        /// Connections to each instance of due's; instances of our own need one and a second for control.
        conn_num "connNum": i64 = 5, Start => range(1, 256) below_is_default();
        /// Longest wait for the answer of another instance.
        call_timeout "callTimeout": Duration = "3s", Start
            => least(1_000_000) below_is_default();
        /// Longest wait for a connection to another instance.
        dial_timeout "dialTimeout": Duration = "3s", Start
            => least(1_000_000) below_is_default();
        /// How often opening a connection is tried again.
        dial_retry_times "dialRetryTimes": i64 = 3, Start => range(0, 1_000) below_is_default();
        /// Longest time in which another instance takes none of the bytes for it; 0 is 10 s.
        write_timeout "writeTimeout": Duration = "0s", Start;
        /// Most messages that wait for another instance.
        write_queue_size "writeQueueSize": i64 = 2048, NoEffect(QUEUE);
        /// How long an instance that failed is not dialled.
        fault_recovery_time "faultRecoveryTime": Duration = "5s", NoEffect(FAULT);
    }
    dead { "timeout" }
}

section! {
    /// Mesh instances: `cluster.mesh.*`.
    ClusterMeshSettings "etc.cluster.mesh" {
        /// Id in the cluster. Empty: a random one.
        id "id": String = "", NotYet(MESH);
        /// Name, which several may share.
        name "name": String = "mesh", NotYet(MESH);
        /// How messages are encoded.
        codec "codec": String = "proto", NotYet(MESH) => due(CODEC_DUE);
        /// What the registry's record carries for others to read.
        metadata "metadata": BTreeMap<String, String> = {}, NotYet(MESH);
        /// Connections to each other instance.
        conn_num "connNum": i64 = 5, NotYet(MESH);
        /// Longest wait for the answer of another instance.
        call_timeout "callTimeout": Duration = "3s", NotYet(MESH);
        /// Longest wait for a connection to another instance.
        dial_timeout "dialTimeout": Duration = "3s", NotYet(MESH);
        /// How often opening a connection is tried again.
        dial_retry_times "dialRetryTimes": i64 = 3, NotYet(MESH);
        /// Longest time for writing to another instance; 0 is no limit.
        write_timeout "writeTimeout": Duration = "0s", NotYet(MESH);
        /// Most messages that wait for another instance.
        write_queue_size "writeQueueSize": i64 = 2048, NotYet(MESH);
        /// How long an instance that failed is not dialled.
        fault_recovery_time "faultRecoveryTime": Duration = "5s", NoEffect(FAULT);
    }
    dead { "timeout" "expose" }
}

section! {
    /// Clients: `cluster.client.*`.
    ClusterClientSettings "etc.cluster.client" {
        /// Id of the client. Empty: a random one.
        id "id": String = "", NotYet(CLIENTS);
        /// Name, which several may share.
        name "name": String = "client", NotYet(CLIENTS);
        /// How messages are encoded.
        codec "codec": String = "proto", NoEffect(CODEC) => due(CODEC_DUE);
    }
    dead { "timeout" }
}
