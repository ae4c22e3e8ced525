//! Connections of load balancers, until their PROXY header is there.
//!
//! Each is read by a task of its own, so a header that does not come keeps nobody waiting. Bounded in
//! number, in bytes and in time. It reads the header and not a byte more: what follows belongs to whoever
//! serves the connection.

use crate::tcp::Loose;
use std::{net::SocketAddr, time::Duration};
use tokio::{task::JoinSet, time::timeout};
use yumen_proto::proxy;

/// Most connections of a listener that wait for their header; more are refused.
const WAITING_MAX: usize = 1024;
/// Longest time for a header to arrive.
const HEADER_MAX: Duration = Duration::from_secs(3);
/// Bytes looked at in one go: more than a header of either version has without extensions.
const LOOK_LEN: usize = 256;

/// A connection and its client; nothing if it was closed without a byte, as health checks do.
pub(super) type Read = Result<Option<(Loose, SocketAddr)>, Unsound>;

/// The header did not come in time, or is none: the connection is refused.
pub(super) struct Unsound;

/// Connections that wait for their header.
#[derive(Default)]
pub(super) struct Fronted(JoinSet<Read>);

impl Fronted {
    /// Waits for the header of one more; false if too many wait already.
    pub(super) fn wait_for(&mut self, socket: Loose, balancer: SocketAddr) -> bool {
        if self.0.len() >= WAITING_MAX {
            return false;
        }
        self.0.spawn(async move {
            let read = timeout(HEADER_MAX, read(socket, balancer)).await;
            read.unwrap_or(Err(Unsound))
        });
        true
    }

    /// The next that is done; `None` if none waits. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Option<Read> {
        // One that panicked is refused as well.
        self.0.join_next().await.map(|read| read.unwrap_or(Err(Unsound)))
    }
}

async fn read(socket: Loose, balancer: SocketAddr) -> Read {
    let peeked = socket.peeked().map_err(|_| Unsound)?;
    let mut header = Vec::new();
    loop {
        let had = header.len();
        header.resize(had.saturating_add(LOOK_LEN), 0);
        let space = header.get_mut(had..).unwrap_or_default();
        let n = peeked.peek(space).await.map_err(|_| Unsound)?;
        if n == 0 {
            return if had == 0 { Ok(None) } else { Err(Unsound) };
        }
        header.truncate(had.saturating_add(n));
        match proxy::parse(&header) {
            // All of it belongs to the header, so it can be taken: what comes next is news then.
            Ok(None) => peeked.take(n).map_err(|_| Unsound)?,
            Ok(Some(whole)) => {
                peeked.take(whole.len.saturating_sub(had)).map_err(|_| Unsound)?;
                let peer = whole.source.address().unwrap_or(balancer);
                return Ok(Some((peeked.loose().map_err(|_| Unsound)?, peer)));
            }
            Err(error) => {
                tracing::debug!(%balancer, %error, "a connection of a load balancer was refused");
                return Err(Unsound);
            }
        }
    }
}
