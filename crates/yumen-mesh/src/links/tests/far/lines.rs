//! A network whose lines a test can cut, half cut, block and slow down.

use super::*;
use std::{
    io,
    task::{Context, Poll, Waker},
};
use yumen_net::{
    env::{Listener, LocalFuture, Net},
    socket::{Socket, Stream},
};

/// The lines that one instance has dialled.
pub(super) struct Lines {
    net: Rc<dyn Net>,
    lines: RefCell<Vec<Rc<Line>>>,
    pub(super) dials: Cell<u32>,
    /// Dials that never come through.
    pub(super) black_hole: Cell<bool>,
    /// Dials that are refused.
    pub(super) refuses: Cell<bool>,
    /// Somebody else listens where the peer did.
    pub(super) instead: RefCell<Option<String>>,
    /// Sockets whose other end does not know that they are gone.
    graves: Rc<RefCell<Vec<Socket>>>,
}

#[derive(Debug, Default)]
struct Line {
    cut: Cell<bool>,
    blocked: Cell<bool>,
    /// What the other end says waits.
    deaf: Cell<bool>,
    /// The other end does not hear of the end.
    silent: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl Line {
    fn wake(&self) {
        self.wakers.take().into_iter().for_each(Waker::wake);
    }
}

impl Lines {
    /// The environment, with a network that can be harmed.
    pub(super) fn of(env: Env) -> (Env, Rc<Self>) {
        let lines = Rc::new(Self {
            net: env.net,
            lines: RefCell::default(),
            dials: Cell::new(0),
            black_hole: Cell::new(false),
            refuses: Cell::new(false),
            instead: RefCell::default(),
            graves: Rc::default(),
        });
        let net: Rc<dyn Net> = Rc::new(Shared(Rc::clone(&lines)));
        (Env { net, ..env }, lines)
    }

    /// Cuts every line; both ends notice.
    pub(super) fn cut(&self) {
        self.lines.take().iter().for_each(|line| {
            line.cut.set(true);
            line.wake();
        });
    }

    /// Cuts every line; only this end notices.
    pub(super) fn cut_here(&self) {
        self.lines.borrow().iter().for_each(|line| line.silent.set(true));
        self.cut();
    }

    /// Nothing passes any more, and nobody is told.
    pub(super) fn block(&self, blocked: bool) {
        for line in self.lines.borrow().iter() {
            line.blocked.set(blocked);
            line.wake();
        }
    }
}

impl Lines {
    /// What the other ends say waits, and what this end says passes.
    pub(super) fn deafen(&self, deaf: bool) {
        for line in self.lines.borrow().iter() {
            line.deaf.set(deaf);
            line.wake();
        }
    }
}

struct Shared(Rc<Lines>);

impl Net for Shared {
    fn listen<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Box<dyn Listener>>> {
        self.0.net.listen(addr)
    }

    fn dial<'a>(&'a self, addr: &'a str) -> LocalFuture<'a, io::Result<Socket>> {
        Box::pin(async move {
            let lines = &self.0;
            lines.dials.set(lines.dials.get() + 1);
            if lines.refuses.get() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if lines.black_hole.get() {
                std::future::pending::<()>().await;
            }
            let addr = lines.instead.borrow().clone().unwrap_or_else(|| addr.to_owned());
            let socket = lines.net.dial(&addr).await?;
            let line = Rc::new(Line::default());
            lines.lines.borrow_mut().push(Rc::clone(&line));
            let graves = Rc::clone(&lines.graves);
            Ok(Socket::Virtual(Box::new(Harmed { socket: Some(socket), line, graves })))
        })
    }
}

/// A dialled socket on such a line.
#[derive(Debug)]
struct Harmed {
    socket: Option<Socket>,
    line: Rc<Line>,
    graves: Rc<RefCell<Vec<Socket>>>,
}

impl Harmed {
    fn socket(&mut self, cx: Option<&mut Context<'_>>) -> io::Result<Option<&mut Socket>> {
        if self.line.cut.get() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.line.blocked.get() {
            let waker = cx.map(|cx| cx.waker().clone());
            self.line.wakers.borrow_mut().extend(waker);
            return Ok(None);
        }
        self.line.wakers.borrow_mut().extend(cx.map(|cx| cx.waker().clone()));
        Ok(self.socket.as_mut())
    }
}

impl Stream for Harmed {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        self.line.wakers.borrow_mut().clear();
        let deaf = self.line.deaf.get();
        match self.socket(Some(cx))? {
            Some(socket) if !deaf => socket.poll_read(cx, space),
            _ => Poll::Pending,
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let socket = self.socket(None)?.ok_or(io::ErrorKind::WouldBlock)?;
        socket.try_write(bytes)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket(Some(cx))? {
            Some(socket) => socket.poll_writable(cx),
            None => Poll::Pending,
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.socket(None)?.map_or(Ok(()), Socket::finish)
    }
}

impl Drop for Harmed {
    /// The other end of a line that was blocked or cut in silence is told nothing.
    fn drop(&mut self) {
        if self.line.blocked.get() || self.line.silent.get() {
            self.graves.borrow_mut().extend(self.socket.take());
        }
    }
}
