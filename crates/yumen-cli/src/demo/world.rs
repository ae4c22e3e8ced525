//! The servers and the bots of the demo.
//!
//! The place where gate, node and clients are built once their types exist; until then starting
//! it says so.
use super::DemoArgs;
use super::table::Sample;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// A running gate, node and bots.
#[derive(Debug)]
pub(super) struct World {
    tcp: SocketAddr,
    ws: SocketAddr,
}

impl World {
    /// Starts gate and node, then the bots; returns when the listeners are bound.
    #[expect(clippy::unused_async, reason = "binding waits")]
    pub(super) async fn start(args: &DemoArgs) -> io::Result<Self> {
        let _ = Self { tcp: args.tcp, ws: args.ws };
        Err(io::Error::new(ErrorKind::Unsupported, "this build has no gate and no node yet"))
    }

    /// Where the gate listens for tcp.
    pub(super) fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where the gate listens for WebSocket.
    pub(super) fn ws(&self) -> SocketAddr {
        self.ws
    }

    /// What has been counted so far.
    pub(super) fn sample(&mut self) -> Sample {
        Sample::default()
    }

    /// Stops the bots once their last request is answered, then node and gate.
    #[expect(clippy::unused_async, reason = "draining waits")]
    pub(super) async fn stop(self) -> io::Result<Sample> {
        Ok(Sample::default())
    }
}
