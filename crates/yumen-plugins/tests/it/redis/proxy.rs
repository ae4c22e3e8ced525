//! A line to the server on which everything takes its time, both ways, and that can be cut.

use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// See the module; ends when it is dropped.
pub(crate) struct Proxy {
    addr: SocketAddr,
    _lines: JoinSet<()>,
}

impl Proxy {
    /// Everything takes `delay` in each direction, however much is under way.
    pub(crate) async fn start(server: String, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut lines = JoinSet::new();
        lines.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                open.spawn(pass(from_client, to_server, delay));
                open.spawn(pass(from_server, to_client, delay));
            }
        });
        Self { addr, _lines: lines }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(65_536);
    let read = async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            let there = Instant::now() + delay;
            if sender.send((there, bytes[..length].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((there, bytes)) = on_the_way.recv().await {
            sleep_until(there).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}
