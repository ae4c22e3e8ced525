//! A virtual network for tests: byte pipes in memory, paused time, dice from a seed. Same code.
//!
//! One tokio `LocalRuntime` with paused time runs everything on the calling thread; when nothing is
//! ready, time jumps to the next timer. Reads are cut at places the dice choose.

use crate::{
    env::{Clock, Dice, Env, Listener, LocalFuture, Net},
    socket::{Socket, Stream},
    spawn::Spawn,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};
use tokio::sync::mpsc;

/// One virtual network with its clock and dice.
#[derive(Clone)]
pub struct Sim {
    dice: Dice,
    net: Rc<SimNet>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sim")
    }
}

impl Sim {
    /// Runs `test` in virtual time and prints the seed if it fails.
    ///
    /// # Panics
    /// As `test` does, or if no runtime can be made.
    #[expect(clippy::expect_used, reason = "for tests")]
    pub fn run<T>(seed: u64, test: impl AsyncFnOnce(Self) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .expect("a runtime for the test");
        let sim = Self::seeded(seed);
        let done = std::panic::AssertUnwindSafe(|| runtime.block_on(test(sim)));
        std::panic::catch_unwind(done).unwrap_or_else(|why| {
            tell_seed(seed);
            std::panic::resume_unwind(why)
        })
    }

    /// A network for a runtime of the caller's: a `LocalRuntime` whose time is paused.
    pub fn seeded(seed: u64) -> Self {
        Self::new(seed, true)
    }

    /// As [`Sim::seeded`], but no read is cut: for measurements.
    pub fn smooth(seed: u64) -> Self {
        Self::new(seed, false)
    }

    fn new(seed: u64, cuts: bool) -> Self {
        let dice = Dice::seeded(seed);
        let listeners = RefCell::default();
        let net = Rc::new(SimNet { dice: dice.clone(), listeners, room: 64 * 1024, cuts });
        Self { dice, net }
    }

    /// An environment for one instance: shared network and time, own tasks, own dice.
    pub fn env(&self) -> Env {
        let net: Rc<dyn Net> = self.net.clone();
        Env {
            clock: Clock::paused(),
            net,
            dice: Dice::seeded(self.dice.roll()),
            spawn: Spawn::default(),
        }
    }

    /// The dice of the network itself.
    pub fn dice(&self) -> &Dice {
        &self.dice
    }
}

#[expect(clippy::print_stderr, reason = "whoever repeats the failure needs the seed")]
fn tell_seed(seed: u64) {
    eprintln!("seed: {seed}");
}

struct SimNet {
    dice: Dice,
    listeners: RefCell<BTreeMap<String, mpsc::Sender<Socket>>>,
    room: usize,
    cuts: bool,
}

impl Net for SimNet {
    fn listen<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Box<dyn Listener>>> {
        let (tx, waiting) = mpsc::channel(1024);
        self.listeners.borrow_mut().insert(addr.to_owned(), tx);
        let port = u16::try_from(self.listeners.borrow().len()).unwrap_or(u16::MAX);
        let listener: Box<dyn Listener> = Box::new(SimListener { port, waiting });
        Box::pin(async { Ok(listener) })
    }

    fn dial<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Socket>> {
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let tx = self.listeners.borrow().get(addr).cloned().ok_or_else(refused)?;
            let (near, far) = cut_pair(self.room, &self.dice, self.cuts);
            tx.send(far).await.map_err(|_| refused())?;
            Ok(near)
        })
    }
}

struct SimListener {
    port: u16,
    waiting: mpsc::Receiver<Socket>,
}

impl Listener for SimListener {
    fn addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, self.port).into())
    }

    fn accept(&mut self) -> LocalFuture<'_, io::Result<(Socket, SocketAddr)>> {
        Box::pin(async {
            let socket = self.waiting.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok((socket, (Ipv4Addr::LOCALHOST, 1).into()))
        })
    }
}

/// Two connected sockets, each direction holding up to `room` bytes.
pub fn pair(room: usize, dice: &Dice) -> (Socket, Socket) {
    cut_pair(room, dice, true)
}

fn cut_pair(room: usize, dice: &Dice, cuts: bool) -> (Socket, Socket) {
    let pipe = || Rc::new(RefCell::new(Pipe { room, ..Pipe::default() }));
    let (up, down) = (pipe(), pipe());
    let end = |read: &Rc<RefCell<Pipe>>, write: &Rc<RefCell<Pipe>>| {
        let (read, write) = (Rc::clone(read), Rc::clone(write));
        let end = End { read, write, dice: dice.clone(), cuts };
        Socket::Virtual(Box::new(end))
    };
    (end(&down, &up), end(&up, &down))
}

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn close(&mut self) {
        self.closed = true;
        self.reader.take().into_iter().for_each(Waker::wake);
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct End {
    read: Rc<RefCell<Pipe>>,
    write: Rc<RefCell<Pipe>>,
    dice: Dice,
    cuts: bool,
}

impl Stream for End {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.read.borrow_mut();
        if pipe.bytes.is_empty() {
            if pipe.closed {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let ready = pipe.bytes.len().min(space.len());
        let cut = self.cuts && self.dice.below(4) == 0; // now and then only a part arrives
        let some = u64::try_from(ready).unwrap_or(u64::MAX);
        let part = usize::try_from(self.dice.below(some)).unwrap_or(0).saturating_add(1);
        let n = if cut { part } else { ready };
        for (byte, to) in pipe.bytes.drain(..n).zip(space.iter_mut()) {
            *to = byte;
        }
        pipe.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(n))
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.write.borrow_mut();
        if pipe.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(pipe.room.saturating_sub(pipe.bytes.len()));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.bytes.extend(bytes.get(..n).unwrap_or_default());
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Ok(n)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.write.borrow_mut();
        if pipe.closed || pipe.bytes.len() < pipe.room {
            return Poll::Ready(Ok(()));
        }
        pipe.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write.borrow_mut().close();
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.read.borrow_mut().close();
        self.write.borrow_mut().close();
    }
}

/// A plain client for tests, over any socket: whole reads, no machine.
#[derive(Debug)]
pub struct Peer {
    socket: Socket,
    /// Bytes received and not taken.
    pub seen: Vec<u8>,
}

impl Peer {
    /// Speaks on `socket`.
    pub fn new(socket: Socket) -> Self {
        Self { socket, seen: Vec::new() }
    }

    /// Writes all of `bytes`, waiting for room.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.try_write(bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| self.socket.poll_writable(cx)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends what arrives next to [`Peer::seen`]; false at the end of the stream.
    pub async fn more(&mut self) -> bool {
        let Self { socket, seen } = self;
        let mut space = vec![0; 16 * 1024];
        let read = poll_fn(|cx| {
            let n = ready!(socket.poll_read(cx, &mut space))?;
            Poll::Ready(Ok::<_, io::Error>(n))
        });
        let n = read.await.unwrap_or(0);
        seen.extend_from_slice(space.get(..n).unwrap_or_default());
        n > 0
    }

    /// Waits until the stream ends; what arrives is kept.
    pub async fn end(&mut self) {
        while self.more().await {}
    }
}
