//! One level-triggered epoll set, and waiting in general.
//!
//! Safe calls of rustix only. An error or a hang-up of a descriptor is reported as readable: the
//! next read tells which it was.
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// At most this many events are taken per wait.
const EVENTS_MAX: usize = 512;

/// What a registered descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes to read.
    Read,
    /// Bytes to read, and room to write again.
    ReadWrite,
    /// Room to write only: the reader is held back.
    Write,
    /// Nothing but the end of the connection.
    End,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::ReadWrite => EventFlags::IN | EventFlags::OUT,
            Self::Write => EventFlags::OUT,
            Self::End => EventFlags::empty(),
        }
    }
}

/// One descriptor that can go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// The number it was registered under.
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl From<&Event> for Ready {
    fn from(event: &Event) -> Self {
        let flags = event.flags;
        Self {
            token: event.data.u64(),
            readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
            writable: flags.contains(EventFlags::OUT),
        }
    }
}

/// The set of descriptors of one loop.
#[derive(Debug)]
pub(crate) struct Poll {
    set: OwnedFd,
}

/// Events of one wait; kept by the loop so that it is allocated once.
pub(crate) struct Events(Vec<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(Vec::with_capacity(EVENTS_MAX))
    }
}

impl Events {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ready> + '_ {
        self.0.iter().map(Ready::from)
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { set: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.set, fd, EventData::new_u64(token), interest.flags())?)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.set, fd, EventData::new_u64(token), interest.flags())?)
    }

    pub(crate) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.set, fd)?)
    }

    /// Waits until something is ready, or for `timeout` (`None`: without end).
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.0.clear();
        let timeout = timeout.map(timespec);
        let room = rustix::buffer::spare_capacity(&mut events.0);
        match epoll::wait(&self.set, room, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits until `fd` can be read (or has ended), or for `timeout`. Returns whether it can.
pub(crate) fn readable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    one(&fd, PollFlags::IN, timeout)
}

/// Waits until `fd` can be read or written, or for `timeout`.
pub(crate) fn movable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    one(&fd, PollFlags::IN | PollFlags::OUT, timeout)
}

fn one(fd: &impl AsFd, flags: PollFlags, timeout: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd, flags)];
    match rustix::event::poll(&mut fds, Some(&timespec(timeout))) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Lets `duration` pass. For measurements that must let a server settle, not for waiting on events.
pub(crate) fn pass(duration: Duration) -> io::Result<()> {
    match rustix::event::poll(&mut [], Some(&timespec(duration))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
