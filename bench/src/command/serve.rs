//! The server under test: gate and node in one process on one thread, with an echo route.
//!
//! As a child it follows the protocol of [`crate::process`]: the address is the first line of
//! standard output, and the end of standard input is the end of the server.
use super::LayoutArgs;
use crate::generator::BodyCodec;
use clap::Args;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;

/// What the server is started with.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    layout: LayoutArgs,
    /// How bodies are encoded.
    #[arg(long, value_enum, default_value_t = BodyCodec::Json)]
    codec: BodyCodec,
}

/// Serves until standard input ends.
pub(super) fn run(args: &ServeArgs) -> io::Result<ExitCode> {
    let ServeArgs { listen, layout, codec } = args;
    let text = format!("no server for {listen}, route {}, {codec:?} in this build", layout.route);
    Err(io::Error::new(ErrorKind::Unsupported, text))
}
