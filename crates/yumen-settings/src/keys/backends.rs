//! Registries, configuration centres and transports: `registry.*`, `config.*`, `transport.*`.
//!
//! Consul, etcd and nacos as registries are used, the others are not yet. Files for TLS are refused, since a
//! connection without it would carry passwords in
//! the clear.

use crate::{
    form::Secret,
    key::{
        Standing::{NoEffect, NotYet, Refused, Start},
        section,
    },
};
use std::time::Duration;

const CLOUD: &str =
    "servers are named by urls, and asked with username and password; remove the key";
const SDK: &str = "it is about the SDK that due uses; copies are kept in `yumen.registry.cacheDir`";
const FOR_EVER: &str = "a registration that failed is tried again for ever (W-20)";
const CONFIG: &str = "settings come from files, environment, flags and code only";
const RPC: &str = "there are no calls between services";
const NO_TLS: &str = "there are no calls between services, with TLS or without; remove the key";

/// What may be done with the files of a configuration centre.
const MODES: &[&str] = &["read-only", "write-only", "read-write"];

/// A section for nacos: what both have, and what one has beside that.
macro_rules! nacos {
    (
        $(#[doc = $about:literal])+
        $name:ident $path:literal $cache:literal $log:literal $used:expr, $cloud:expr, $sdk:expr
        => { $($row:tt)* }
    ) => {
        section! {
            $(#[doc = $about])+
            $name $path {
                /// Where the servers are.
                urls "urls": Vec<String> = ["http://127.0.0.1:8848/nacos"], $used;
                /// Name of the cluster.
                cluster_name "clusterName": String = "DEFAULT", $used;
                /// Name of the group.
                group_name "groupName": String = "DEFAULT_GROUP", $used;
                /// Id of the namespace.
                namespace_id "namespaceId": String = "", $used;
                /// Longest wait for an answer.
                timeout "timeout": Duration = "3s", $used;
                /// Where to ask for the servers' addresses.
                endpoint "endpoint": String = "", $cloud;
                /// Id of the region, for the key management service.
                region_id "regionId": String = "", $sdk;
                /// Name of the access key.
                access_key "accessKey": Secret = "", $cloud;
                /// The access key.
                secret_key "secretKey": Secret = "", $cloud;
                /// Whether the key management service is used.
                open_kms "openKMS": bool = false, $sdk;
                /// User at the server.
                username "username": String = "", $used;
                /// Password of the user.
                password "password": Secret = "", $used;
                /// Where answers are kept for times without the server.
                cache_dir "cacheDir": String = $cache, $sdk;
                /// Where the library writes its log.
                log_dir "logDir": String = $log, $sdk;
                /// Least level of the library's log lines.
                log_level "logLevel": String = "info", $sdk;
                $($row)*
            }
        }
    };
}

section! {
    /// Registries: `registry.*`.
    RegistrySettings "etc.registry" {}
    tables {
        /// consul: `registry.consul.*`.
        consul: RegistryConsulSettings;
        /// etcd: `registry.etcd.*`.
        etcd: RegistryEtcdSettings;
        /// nacos: `registry.nacos.*`.
        nacos: RegistryNacosSettings;
    }
}

section! {
    /// consul as registry: `registry.consul.*`.
    RegistryConsulSettings "etc.registry.consul" {
        /// Where the agent is, as `host:port`; `https://host:port` for an encrypted connection.
        addr "addr": String = "127.0.0.1:8500", Start;
        /// Whether the server checks that instances can be reached.
        health_check "healthCheck": bool = true, Start;
        /// Seconds between two such checks.
        health_check_interval "healthCheckInterval": i64 = 10, Start;
        /// Seconds after which such a check has failed.
        health_check_timeout "healthCheckTimeout": i64 = 5, Start;
        /// Whether instances tell the server that they live.
        heartbeat_check "heartbeatCheck": bool = true, Start;
        /// Seconds between two such messages.
        heartbeat_check_interval "heartbeatCheckInterval": i64 = 10, Start;
        /// Seconds after which an instance that fails its checks is removed.
        deregister_critical_service_after "deregisterCriticalServiceAfter": i64 = 30, Start;
        /// ACL token, sent with every request. Empty: none. A key of Yumen.
        token "token": Secret = "", Start;
        /// File with the certificates that are trusted. Empty: the system's. A key of Yumen.
        ca_file "caFile": String = "", Start;
        /// File with the certificate that is shown to the server. Empty: none. A key of Yumen.
        cert_file "certFile": String = "", Start;
        /// File with the key of that certificate. A key of Yumen.
        key_file "keyFile": String = "", Start;
    }
}

section! {
    /// etcd as registry: `registry.etcd.*`.
    RegistryEtcdSettings "etc.registry.etcd" {
        /// Where the servers are, as `host:port`; `https://host:port` for an encrypted connection.
        addrs "addrs": Vec<String> = ["127.0.0.1:2379"], Start;
        /// Longest time for opening a connection.
        dial_timeout "dialTimeout": Duration = "5s", Start;
        /// What the names of all keys begin with.
        namespace "namespace": String = "services", Start;
        /// Longest wait for an answer.
        timeout "timeout": Duration = "3s", Start;
        /// How often a failed registration is tried again.
        retry_times "retryTimes": i64 = 3, NoEffect(FOR_EVER);
        /// Time between two attempts; an instance that is silent for a second more is removed.
        retry_interval "retryInterval": Duration = "10s", Start;
        /// User at the server.
        username "username": String = "", Start;
        /// Password of the user.
        password "password": Secret = "", Start;
        /// File with the certificates that are trusted. Empty: the system's. A key of Yumen.
        ca_file "caFile": String = "", Start;
        /// File with the certificate that is shown to the server. Empty: none. A key of Yumen.
        cert_file "certFile": String = "", Start;
        /// File with the key of that certificate. A key of Yumen.
        key_file "keyFile": String = "", Start;
    }
}

nacos! {
    /// nacos as registry: `registry.nacos.*`.
    RegistryNacosSettings "etc.registry.nacos" "./run/nacos/naming/cache" "./run/nacos/naming/log"
        Start, Refused(CLOUD), NoEffect(SDK) => {
            /// File with the certificates that are trusted. Empty: the system's. A key of Yumen.
            ca_file "caFile": String = "", Start;
            /// File with the certificate that is shown to the server. Empty: none. A key of Yumen.
            cert_file "certFile": String = "", Start;
            /// File with the key of that certificate. A key of Yumen.
            key_file "keyFile": String = "", Start;
        }
}

section! {
    /// Configuration centres: `config.*`.
    ConfigSettings "etc.config" {}
    tables {
        /// A directory: `config.file.*`.
        file: ConfigFileSettings;
        /// consul: `config.consul.*`.
        consul: ConfigConsulSettings;
        /// etcd: `config.etcd.*`.
        etcd: ConfigEtcdSettings;
        /// nacos: `config.nacos.*`.
        nacos: ConfigNacosSettings;
    }
}

section! {
    /// A directory as configuration centre: `config.file.*`.
    ConfigFileSettings "etc.config.file" {
        /// The directory, or one file.
        path "path": String = "./config", NotYet(CONFIG);
        /// What may be done with the files.
        mode "mode": String = "read-only", NotYet(CONFIG) => words(MODES);
    }
}

section! {
    /// consul as configuration centre: `config.consul.*`.
    ConfigConsulSettings "etc.config.consul" {
        /// Where the server is, as `host:port`.
        addr "addr": String = "127.0.0.1:8500", NotYet(CONFIG);
        /// What the names of all keys begin with.
        path "path": String = "config", NotYet(CONFIG);
        /// What may be done with the files.
        mode "mode": String = "read-only", NotYet(CONFIG) => words(MODES);
    }
}

section! {
    /// etcd as configuration centre: `config.etcd.*`.
    ConfigEtcdSettings "etc.config.etcd" {
        /// Where the servers are, as `host:port`.
        addrs "addrs": Vec<String> = ["127.0.0.1:2379"], NotYet(CONFIG);
        /// Longest time for opening a connection.
        dial_timeout "dialTimeout": Duration = "5s", NotYet(CONFIG);
        /// What the names of all keys begin with.
        path "path": String = "/config", NotYet(CONFIG);
        /// What may be done with the files.
        mode "mode": String = "read-only", NotYet(CONFIG) => words(MODES);
        /// User at the server.
        username "username": String = "", NotYet(CONFIG);
        /// Password of the user.
        password "password": Secret = "", NotYet(CONFIG);
    }
}

nacos! {
    /// nacos as configuration centre: `config.nacos.*`.
    ConfigNacosSettings "etc.config.nacos" "./run/nacos/config/cache" "./run/nacos/config/log"
        NotYet(CONFIG), NotYet(CONFIG), NotYet(CONFIG) => {
        /// What may be done with the files.
        mode "mode": String = "read-only", NotYet(CONFIG) => words(MODES);
    }
}

section! {
    /// Calls between services: `transport.*`.
    TransportSettings "etc.transport" {}
    tables {
        /// grpc: `transport.grpc.*`.
        grpc: GrpcSettings;
        /// rpcx: `transport.rpcx.*`.
        rpcx: RpcxSettings;
    }
}

section! {
    /// grpc: `transport.grpc.*`.
    GrpcSettings "etc.transport.grpc" {}
    tables {
        /// The server: `transport.grpc.server.*`.
        server: GrpcServerSettings;
        /// The client: `transport.grpc.client.*`.
        client: GrpcClientSettings;
    }
}

section! {
    /// The grpc server: `transport.grpc.server.*`.
    GrpcServerSettings "etc.transport.grpc.server" {
        /// Where it listens, as `host:port`.
        addr "addr": String = ":0", NotYet(RPC);
        /// Whether the public address is announced.
        expose "expose": bool = false, NotYet(RPC) => due("due reads it and ignores it (W-21).");
        /// File with the certificate for TLS.
        cert_file "certFile": String = "", Refused(NO_TLS);
        /// File with the key of the certificate.
        key_file "keyFile": String = "", Refused(NO_TLS);
    }
}

section! {
    /// The grpc client: `transport.grpc.client.*`.
    GrpcClientSettings "etc.transport.grpc.client" {
        /// File with the certificates that are trusted.
        ca_file "caFile": String = "", Refused(NO_TLS);
        /// Name that the server's certificate must have.
        server_name "serverName": String = "", NotYet(RPC);
    }
}

section! {
    /// rpcx: `transport.rpcx.*`.
    RpcxSettings "etc.transport.rpcx" {}
    tables {
        /// The server: `transport.rpcx.server.*`.
        server: RpcxServerSettings;
        /// The client: `transport.rpcx.client.*`.
        client: RpcxClientSettings;
    }
}

section! {
    /// The rpcx server: `transport.rpcx.server.*`.
    RpcxServerSettings "etc.transport.rpcx.server" {
        /// Where it listens, as `host:port`.
        addr "addr": String = ":0", NotYet(RPC);
        /// Whether the public address is announced.
        expose "expose": bool = false, NotYet(RPC);
        /// File with the certificate for TLS.
        cert_file "certFile": String = "", Refused(NO_TLS);
        /// File with the key of the certificate.
        key_file "keyFile": String = "", Refused(NO_TLS);
    }
}

section! {
    /// The rpcx client: `transport.rpcx.client.*`.
    RpcxClientSettings "etc.transport.rpcx.client" {
        /// Connections to each server.
        pool_size "poolSize": i64 = 10, NotYet(RPC);
        /// File with the certificates that are trusted.
        ca_file "caFile": String = "", Refused(NO_TLS);
        /// Name that the server's certificate must have.
        server_name "serverName": String = "", NotYet(RPC);
    }
}
