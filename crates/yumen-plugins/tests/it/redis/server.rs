//! A locator on a real server, and what looks at the server past it.

use super::launch::{Launched, Make};
use redis::aio::MultiplexedConnection;
use std::{
    future::Future,
    ops::{Deref, DerefMut},
    time::Duration,
};
use yumen_plugins::redis::{RedisLocator, RedisLocatorBuilder};

/// A server; see the module.
pub(crate) struct Server(Launched);

impl Server {
    pub(crate) fn start() -> Self {
        Self(Launched::start())
    }

    pub(crate) fn of(make: Make) -> Self {
        Self(Launched::start_with(make, |_, _| Vec::new()))
    }

    /// As due's recording was made.
    pub(crate) fn builder(&self) -> RedisLocatorBuilder {
        RedisLocator::builder().addr(self.addr()).prefix("due")
    }

    pub(crate) fn locator(&self) -> RedisLocator {
        self.builder().build().unwrap()
    }

    /// A connection that plays a process of due's, or looks at what is there.
    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{}", self.addr())).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }
}

impl Deref for Server {
    type Target = Launched;

    fn deref(&self) -> &Launched {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Launched {
        &mut self.0
    }
}

/// Fails a test that would hang.
pub(crate) async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(seconds);
    let Ok(done) = tokio::time::timeout(limit, what).await else {
        panic!("not done within {seconds} s");
    };
    done
}

/// Runs a command and gives its answer.
pub(crate) async fn raw<T: redis::FromRedisValue>(
    conn: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(conn).await.unwrap()
}

/// All keys, sorted.
pub(crate) async fn keys(conn: &mut MultiplexedConnection) -> Vec<String> {
    let mut keys: Vec<String> = raw(conn, &["KEYS", "*"]).await;
    keys.sort();
    keys
}
