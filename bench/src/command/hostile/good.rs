//! The clients that behave: they log in and call, each call with a deadline, whatever goes on.
//!
//! Some stay for the whole time, some come and go. They are clients of `yumen::client`, on one
//! thread of the process that judges: neither the server's nor the attackers'.
use super::server::{ECHO, LOGIN};
use crate::clock::Clock;
use crate::stats::{Latencies, Percentiles};
use serde::Serialize;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use yumen::client::{Client, Clients};

/// Longest wait for a connection and for each reply.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time between the calls of one client.
const PAUSE: Duration = Duration::from_millis(20);
/// Calls of a visit, by those who come and go.
const VISIT: u32 = 25;
/// Failures that are kept in full.
const KEPT_MAX: usize = 5;

/// How they fared.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Good {
    pub(super) clients: u32,
    /// Connections that they opened.
    pub(super) opened: u64,
    /// Calls, logins included.
    pub(super) calls: u64,
    /// Connections, logins and calls that failed or came too late, and connections lost.
    pub(super) failures: u64,
    /// The first of them.
    pub(super) first_failures: Vec<String>,
    /// From the call to its reply.
    pub(super) latency: Percentiles,
}

struct Crew {
    clients: Clients,
    tcp: String,
    web: String,
    stop: Arc<AtomicBool>,
    good: RefCell<Good>,
    latencies: RefCell<Latencies>,
}

/// Has six of them play until `stop`: on each transport two that stay and one that comes and goes.
pub(super) fn play(tcp: SocketAddr, web: SocketAddr, stop: Arc<AtomicBool>) -> io::Result<Good> {
    let builder = Clients::builder().dial_max(DEADLINE).call_max(DEADLINE);
    let (tcp, web) = (format!("tcp://{tcp}"), format!("ws://{web}{}", super::deed::PATH));
    let played = builder.run(async |clients| {
        let (good, latencies) = (RefCell::default(), RefCell::default());
        let crew = Crew { clients, tcp, web, stop, good, latencies };
        let (tcp, web) = (crew.tcp.as_str(), crew.web.as_str());
        tokio::join!(
            crew.one(tcp, 1, None),
            crew.one(tcp, 2, None),
            crew.one(tcp, 3, Some(VISIT)),
            crew.one(web, 4, None),
            crew.one(web, 5, None),
            crew.one(web, 6, Some(VISIT)),
        );
        let latency = crew.latencies.borrow().summary();
        Good { clients: 6, latency, ..crew.good.take() }
    });
    played.map_err(io::Error::other)
}

impl Crew {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// One client, from visit to visit. A visit that went wrong is over.
    async fn one(&self, address: &str, user: u32, calls_max: Option<u32>) {
        while self.goes_on() {
            if let Err(failure) = self.visit(address, user, calls_max).await {
                self.fail(format!("{address}, user {user}: {failure}"));
                tokio::time::sleep(DEADLINE).await;
            }
        }
    }

    async fn visit(&self, address: &str, user: u32, calls_max: Option<u32>) -> Result<(), String> {
        let client = self.clients.connect(address).await.map_err(|error| error.to_string())?;
        self.change(|good| good.opened = good.opened.saturating_add(1));
        self.call(&client, LOGIN, user.to_string().as_bytes()).await?;
        let mut left = calls_max;
        while self.goes_on() && left != Some(0) {
            self.call(&client, ECHO, b"as it was sent").await?;
            left = left.map(|left| left.saturating_sub(1));
            tokio::time::sleep(PAUSE).await;
        }
        client.close();
        client.closed().await;
        Ok(())
    }

    async fn call(&self, client: &Client, route: u16, body: &[u8]) -> Result<(), String> {
        let clock = Clock::start();
        self.change(|good| good.calls = good.calls.saturating_add(1));
        let reply = client.call_raw(i32::from(route), body).await;
        let reply = reply.map_err(|status| {
            let closed = client.close_reason().map(|closed| format!(" ({closed})"));
            format!("{status}{}", closed.unwrap_or_default())
        })?;
        self.latencies.borrow_mut().record(clock.ns());
        if reply == body { Ok(()) } else { Err("a reply was not the request".to_owned()) }
    }

    fn fail(&self, failure: String) {
        self.change(|good| {
            good.failures = good.failures.saturating_add(1);
            if good.first_failures.len() < KEPT_MAX {
                good.first_failures.push(failure);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Good)) {
        change(&mut self.good.borrow_mut());
    }
}
