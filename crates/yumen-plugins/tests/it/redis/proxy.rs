//! A line to the server on which everything takes its time, both ways, and that can swallow all.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
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
    /// Lines with a smaller number swallow what they get.
    swallowed: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
    _lines: JoinSet<()>,
}

impl Proxy {
    /// Everything takes `delay` in each direction, however much is under way.
    pub(crate) async fn start(server: String, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (swallowed, opened) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (limit, count) = (Arc::clone(&swallowed), Arc::clone(&opened));
        let mut lines = JoinSet::new();
        lines.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let number = count.fetch_add(1, Ordering::Relaxed);
                let line = || Line { delay, number, limit: Arc::clone(&limit) };
                open.spawn(line().pass(from_client, to_server));
                open.spawn(line().pass(from_server, to_client));
            }
        });
        Self { addr, swallowed, opened, _lines: lines }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// From now on nothing arrives on the lines that are open, and nobody is told; new ones work.
    pub(crate) fn swallow(&self) {
        self.swallowed.store(self.opened.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

struct Line {
    delay: Duration,
    number: u64,
    limit: Arc<AtomicU64>,
}

impl Line {
    async fn pass(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(65_536);
        let read = async move {
            let mut bytes = vec![0; 65_536];
            while let Ok(length @ 1..) = from.read(&mut bytes).await {
                let there = Instant::now() + self.delay;
                if self.number < self.limit.load(Ordering::Relaxed) {
                    continue;
                }
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
}
