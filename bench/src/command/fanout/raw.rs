//! The limit of a fan-out: one thread that writes a packet to every socket it has, and nothing else.
//!
//! A process of its own that follows the protocol of [`crate::process`]: each line of its input is one
//! message to everybody who has connected until then.
use super::told;
use crate::clock::shared_ns;
use crate::command::serve::crowd::Ordered;
use crate::process::{announce, answer_until_input_ends};
use crate::relay::listen;
use clap::Args;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What the raw writer is started with.
#[derive(Debug, Clone, Args)]
pub struct RawArgs {
    /// Bytes of a message's body.
    #[arg(long)]
    size: usize,
}

/// Serves until its input ends.
pub(in crate::command) fn run(args: &RawArgs) -> io::Result<ExitCode> {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into())?;
    listener.set_nonblocking(false)?;
    let packet = told(args.size)?;
    let sockets = Arc::new(Mutex::new(Vec::new()));
    let (address, accepted) = (listener.local_addr()?, Arc::clone(&sockets));
    thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let ready = socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true));
            if ready.is_ok() {
                accepted.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
            }
        }
    });
    announce(address)?;
    answer_until_input_ends(|_| {
        let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let at_ns = shared_ns();
        write_all(&sockets, &packet)?;
        Ok(serde_json::to_string(&Ordered { at_ns })?)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One write for each socket.
fn write_all(sockets: &[TcpStream], packet: &[u8]) -> io::Result<()> {
    for mut socket in sockets {
        if socket.write(packet)? < packet.len() {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}
