//! What the tests of the examples share: a server that runs beside the test, and a client that knows
//! nothing but bytes and sockets.
//!
//! It uses no code of Yumen's for what is on the wire, so a mistake cannot hide on both sides.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;
use tungstenite::{Message, WebSocket, handshake::client::Response};
use yumen::{app::AppError, prelude::*};

/// Longest wait for bytes that should come. Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gate and a node on a thread of their own.
pub(crate) struct Server {
    pub(crate) tcp: SocketAddr,
    pub(crate) ws: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), AppError>>,
}

impl Server {
    /// Runs what was built; its listeners are bound, so a client may connect at once.
    pub(crate) fn start((gate, node): (Gate, Node)) -> Self {
        let [tcp, ws] = *gate.addresses() else { panic!("two listeners") };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let stop = async {
                let _ = stopped.await;
            };
            runtime.unwrap().block_on(App::default().pairs(gate, node).run_until(stop))
        });
        Self { tcp, ws, stop, running }
    }

    /// Stops it as Ctrl-C does.
    pub(crate) fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.join().unwrap().unwrap();
    }
}

/// Settings that let the system choose the ports.
pub(crate) fn free_ports() -> Settings {
    let text = "[network]\ntcp.server.addr = '127.0.0.1:0'\nws.server.addr = '127.0.0.1:0'";
    Settings::parse(text, Path::new("etc.toml")).unwrap()
}

/// A data packet in big-endian, with the widths of route and sequence number in bytes.
pub(crate) fn packet(widths: (usize, usize), route: i32, seq: i32, body: &str) -> Vec<u8> {
    let low =
        |value: i32, width: usize| value.to_be_bytes()[4_usize.saturating_sub(width)..].to_vec();
    let rest = [&[0], &low(route, widths.0)[..], &low(seq, widths.1), body.as_bytes()].concat();
    [&u32::try_from(rest.len()).unwrap().to_be_bytes()[..], &rest].concat()
}

/// A tcp connection.
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `request` and expects exactly `replies`.
pub(crate) fn over_tcp(stream: &mut TcpStream, request: &[u8], replies: &[Vec<u8>]) {
    stream.write_all(request).unwrap();
    for reply in replies {
        let mut read = vec![0; reply.len()];
        stream.read_exact(&mut read).unwrap();
        assert_eq!(&read, reply, "{}", String::from_utf8_lossy(&read));
    }
}

/// A WebSocket connection to `path`, or what the server answered instead.
pub(crate) fn connect_ws(
    addr: SocketAddr,
    path: &str,
) -> Result<(WebSocket<TcpStream>, Response), String> {
    let url = format!("ws://{addr}{path}");
    tungstenite::client(url.as_str(), connect(addr)).map_err(|error| error.to_string())
}

/// Sends `request` as one binary message and expects exactly `replies`, one message each.
pub(crate) fn over_ws(socket: &mut WebSocket<TcpStream>, request: &[u8], replies: &[Vec<u8>]) {
    socket.send(Message::binary(request.to_vec())).unwrap();
    for reply in replies {
        let message = socket.read().unwrap();
        assert_eq!(message, Message::binary(reply.clone()));
    }
}
