//! Servers beside the game: locator, event bus, cache and lock, `locate.*`, `eventbus.*`, `cache.*`,
//! `lock.*`.
//!
//! The locator is used, the others are not yet. There files for TLS are refused, since a connection without
//! it would carry passwords in the clear.

use crate::{
    form::Secret,
    key::{
        Standing::{NotYet, Refused, Start},
        section,
    },
};
use std::time::Duration;

const EVENTBUS: &str = "there is no event bus";
const CACHE: &str = "there is no cache";
const LOCK: &str = "there is no lock";
const NO_TLS: &str = "connections to redis are without TLS; remove the key";

/// A section for redis: what all of them have, and what one has beside that.
macro_rules! redis {
    ($(#[doc = $about:literal])+ $name:ident $path:literal $prefix:literal $standing:expr, $tls:expr
        => { $($row:tt)* }) => {
        section! {
            $(#[doc = $about])+
            $name $path {
                /// Where the servers are, as `host:port`; two or more mean Redis Cluster.
                addrs "addrs": Vec<String> = ["127.0.0.1:6379"], $standing;
                /// Number of the database.
                db "db": i64 = 0, $standing;
                /// User at the server.
                username "username": String = "", $standing;
                /// Password of the user.
                password "password": Secret = "", $standing;
                /// How often a failed command is tried again.
                max_retries "maxRetries": i64 = 3, $standing;
                /// What the names of all keys begin with.
                prefix "prefix": String = $prefix, $standing;
                /// File with the certificate that is shown to the server, for TLS.
                cert_file "certFile": String = "", $tls;
                /// File with the key of the certificate.
                key_file "keyFile": String = "", $tls;
                /// File with the certificates that are trusted; with TLS and without it, the system's are.
                ca_file "caFile": String = "", $tls;
                $($row)*
            }
        }
    };
}

section! {
    /// Where users are: `locate.*`.
    LocateSettings "etc.locate" {}
    tables {
        /// In redis: `locate.redis.*`.
        redis: LocateRedisSettings;
    }
}

redis! {
    /// Where users are, in redis: `locate.redis.*`.
    LocateRedisSettings "etc.locate.redis" "due:locate" Start, Start => {}
}

section! {
    /// The event bus: `eventbus.*`.
    EventbusSettings "etc.eventbus" {}
    tables {
        /// Over redis: `eventbus.redis.*`.
        redis: EventbusRedisSettings;
        /// Over nats: `eventbus.nats.*`.
        nats: EventbusNatsSettings;
        /// Over kafka: `eventbus.kafka.*`.
        kafka: EventbusKafkaSettings;
    }
}

redis! {
    /// The event bus over redis: `eventbus.redis.*`.
    EventbusRedisSettings "etc.eventbus.redis" "due:eventbus" NotYet(EVENTBUS), Refused(NO_TLS) => {}
}

section! {
    /// The event bus over nats: `eventbus.nats.*`.
    EventbusNatsSettings "etc.eventbus.nats" {
        /// Where the server is.
        url "url": String = "nats://127.0.0.1:4222", NotYet(EVENTBUS);
        /// Longest time for opening a connection.
        timeout "timeout": Duration = "2s", NotYet(EVENTBUS);
        /// What the names of all subjects begin with.
        prefix "prefix": String = "due:eventbus", NotYet(EVENTBUS);
    }
}

section! {
    /// The event bus over kafka: `eventbus.kafka.*`.
    EventbusKafkaSettings "etc.eventbus.kafka" {
        /// Where the servers are, as `host:port`.
        addrs "addrs": Vec<String> = ["127.0.0.1:9092"], NotYet(EVENTBUS);
        /// Version of the protocol. Empty leaves it to the library.
        version "version": String = "", NotYet(EVENTBUS);
        /// Whether a topic that is missing is made, with one partition and one replica.
        auto_create_topic "autoCreateTopic": bool = false, NotYet(EVENTBUS);
        /// What the names of all topics begin with.
        prefix "prefix": String = "due:eventbus", NotYet(EVENTBUS);
    }
}

section! {
    /// The cache: `cache.*`.
    CacheSettings "etc.cache" {}
    tables {
        /// In redis: `cache.redis.*`.
        redis: CacheRedisSettings;
        /// In memcache: `cache.memcache.*`.
        memcache: CacheMemcacheSettings;
    }
}

redis! {
    /// The cache in redis: `cache.redis.*`.
    CacheRedisSettings "etc.cache.redis" "due:cache" NotYet(CACHE), Refused(NO_TLS) => {
        /// What stands for a value that does not exist.
        nil_value "nilValue": String = "cache@nil", NotYet(CACHE);
        /// How long it is remembered that a value does not exist.
        nil_expiration "nilExpiration": Duration = "10s", NotYet(CACHE);
        /// Least time for which a value is kept; the time is drawn between this and the most.
        min_expiration "minExpiration": Duration = "1h", NotYet(CACHE);
        /// Most time for which a value is kept.
        max_expiration "maxExpiration": Duration = "24h", NotYet(CACHE);
    }
}

section! {
    /// The cache in memcache: `cache.memcache.*`.
    CacheMemcacheSettings "etc.cache.memcache" {
        /// Where the servers are, as `host:port`.
        addrs "addrs": Vec<String> = ["127.0.0.1:11211"], NotYet(CACHE);
        /// What the names of all keys begin with.
        prefix "prefix": String = "due:cache", NotYet(CACHE);
        /// What stands for a value that does not exist.
        nil_value "nilValue": String = "cache@nil", NotYet(CACHE);
        /// How long it is remembered that a value does not exist.
        nil_expiration "nilExpiration": Duration = "10s", NotYet(CACHE);
        /// Least time for which a value is kept; the time is drawn between this and the most.
        min_expiration "minExpiration": Duration = "1h", NotYet(CACHE);
        /// Most time for which a value is kept.
        max_expiration "maxExpiration": Duration = "24h", NotYet(CACHE);
    }
}

section! {
    /// Locks that several processes share: `lock.*`.
    LockSettings "etc.lock" {}
    tables {
        /// In redis: `lock.redis.*`.
        redis: LockRedisSettings;
        /// In memcache: `lock.memcache.*`.
        memcache: LockMemcacheSettings;
    }
}

redis! {
    /// Locks in redis: `lock.redis.*`.
    LockRedisSettings "etc.lock.redis" "due:lock" NotYet(LOCK), Refused(NO_TLS) => {
        /// How long a lock holds that is not renewed.
        expiration "expiration": Duration = "3s", NotYet(LOCK);
        /// Time between two attempts to get a lock.
        acquire_interval "acquireInterval": Duration = "20ms", NotYet(LOCK);
        /// Most attempts to get a lock; 0 is no limit.
        acquire_max_retries "acquireMaxRetries": i64 = 0, NotYet(LOCK);
    }
}

section! {
    /// Locks in memcache: `lock.memcache.*`.
    LockMemcacheSettings "etc.lock.memcache" {
        /// Where the servers are, as `host:port`.
        addrs "addrs": Vec<String> = ["127.0.0.1:11211"], NotYet(LOCK);
        /// What the names of all keys begin with.
        prefix "prefix": String = "due:lock", NotYet(LOCK);
        /// How long a lock holds that is not renewed.
        expiration "expiration": Duration = "3s", NotYet(LOCK);
        /// Time between two attempts to get a lock.
        acquire_interval "acquireInterval": Duration = "20ms", NotYet(LOCK);
        /// Most attempts to get a lock; 0 is no limit.
        acquire_max_retries "acquireMaxRetries": i64 = 0, NotYet(LOCK);
    }
}
