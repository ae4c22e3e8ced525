//! One connection of the generator: encodes requests, matches and checks replies.
//!
//! Never waits. A request counts as sent once it is in the outbox; time spent there because the
//! server does not read belongs to its latency.
use super::flight::Flight;
use super::target::{Target, Web};
use super::{Expect, Measured, Request, ws};
use crate::clock::Clock;
use crate::number::count;
use crate::poll::{Interest, Poll};
use crate::stream::{Outbox, Tail};
use rustix::net::sockopt;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;
use yumen::proto::extension::{Announce, STATUS_FLAG, kind};
use yumen::proto::{CloseNotice, Data, Features, Packet, WireError};

const DIAL_MAX: Duration = Duration::from_secs(5);
/// More unsent bytes than this, and the connection takes no further request.
const BACKLOG_MAX: usize = 1024 * 1024;
/// One in so many replies is compared byte by byte.
const COMPARE_EVERY: u64 = 64;

#[derive(Debug)]
pub(super) struct Conn {
    socket: TcpStream,
    tail: Tail,
    out: Outbox,
    flight: Flight,
    /// Whether packets travel as WebSocket messages.
    web: bool,
    /// Whether the socket has reported that it is full.
    waiting: bool,
    alive: bool,
    /// Nothing is read any more.
    deaf: bool,
    /// Nothing has been sent since somebody last asked.
    quiet: bool,
}

/// What a connection needs of its generator while it works.
pub(super) struct Work<'a> {
    pub(super) clock: Clock,
    pub(super) poll: &'a Poll,
    /// What reads go through.
    pub(super) scratch: &'a mut Vec<u8>,
    /// A packet before it is framed as a WebSocket message.
    pub(super) packet: Vec<u8>,
    pub(super) tally: Tally<'a>,
}

/// What is expected, and what has come.
pub(super) struct Tally<'a> {
    pub(super) request: &'a Request,
    pub(super) measured: &'a mut Measured,
    /// Gets the body of every message that nobody asked for.
    pub(super) pushed: &'a mut dyn FnMut(&[u8]),
    /// When a message was last received; heartbeats do not count.
    pub(super) heard: u64,
}

impl Conn {
    /// Connects, shakes hands and announces; blocks for at most a few times five seconds.
    pub(super) fn dial(target: &Target, request: &Request) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&target.address(), DIAL_MAX)?;
        socket.set_nodelay(true)?;
        if let Some(web) = target.handshake() {
            open_web(&socket, web)?;
        }
        socket.set_nonblocking(true)?;
        let mut conn = Self {
            socket,
            tail: Tail::default(),
            out: Outbox::default(),
            flight: Flight::new(request.layout.seq),
            web: target.handshake().is_some(),
            waiting: false,
            alive: true,
            deaf: false,
            quiet: false,
        };
        if request.announce {
            conn.announce(request);
        }
        Ok(conn)
    }

    fn announce(&mut self, request: &Request) {
        let features = Features::STATUS.and(Features::CLOSE);
        let mut tail = Vec::new();
        Announce { features, ..Announce::default() }.encode(&mut tail);
        let mut packet = Vec::new();
        request.layout.encode_control(kind::ANNOUNCE, &tail, &mut packet);
        self.append(&packet);
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Reads no more, and has the system accept as little as it may.
    pub(super) fn stop_reading(&mut self, poll: &Poll, token: u64) -> io::Result<()> {
        self.deaf = true;
        // The system has a lower bound of its own, a few KiB.
        sockopt::set_socket_recv_buffer_size(&self.socket, 1)?;
        if self.alive { poll.modify(&self.socket, token, self.interest()) } else { Ok(()) }
    }

    /// What it waits for now.
    fn interest(&self) -> Interest {
        match (self.deaf, self.waiting) {
            (false, false) => Interest::Read,
            (false, true) => Interest::ReadWrite,
            (true, false) => Interest::End,
            (true, true) => Interest::Write,
        }
    }

    /// Sends a heartbeat if nothing has been sent since the last call.
    pub(super) fn beat(&mut self, token: u64, work: &mut Work<'_>) {
        if self.alive && self.quiet {
            let mut packet = Vec::new();
            work.tally.request.layout.encode_heartbeat(0, &mut packet);
            self.append(&packet);
            self.flush(token, work);
        }
        self.quiet = true;
    }

    pub(super) fn alive(&self) -> bool {
        self.alive
    }

    /// Requests without a reply.
    pub(super) fn open(&self) -> usize {
        self.flight.open()
    }

    /// Gives up on the requests without a reply; returns how many there were.
    pub(super) fn forget(&mut self) -> usize {
        self.flight.forget()
    }

    fn append(&mut self, packet: &[u8]) {
        if self.web {
            ws::message(packet, self.out.buffer());
        } else {
            self.out.buffer().extend_from_slice(packet);
        }
    }

    /// Puts one more request, counted from `now`, into the outbox. Returns whether there was room.
    pub(super) fn send(&mut self, now: u64, work: &mut Work<'_>) -> Result<bool, WireError> {
        let Some(seq) = self.flight.next() else { return Ok(false) };
        if !self.alive || self.out.len() > BACKLOG_MAX {
            return Ok(false);
        }
        let Request { layout, route, body, .. } = work.tally.request;
        if self.web {
            work.packet.clear();
            layout.encode_data(*route, seq, body, &mut work.packet)?;
            ws::message(&work.packet, self.out.buffer());
        } else {
            layout.encode_data(*route, seq, body, self.out.buffer())?;
        }
        self.flight.push(now);
        self.quiet = false;
        let sent = &mut work.tally.measured.sent;
        *sent = sent.saturating_add(1);
        Ok(true)
    }

    /// Writes what there is, once.
    pub(super) fn flush(&mut self, token: u64, work: &mut Work<'_>) {
        if !self.alive || (self.out.len() == 0 && !self.waiting) {
            return;
        }
        let flushed = self.out.flush(&self.socket).and_then(|done| {
            if self.waiting != done {
                return Ok(());
            }
            self.waiting = !done;
            work.poll.modify(&self.socket, token, self.interest())
        });
        if flushed.is_err() {
            self.end(work);
        }
    }

    /// Reads once, and matches and checks every whole packet of it.
    pub(super) fn receive(&mut self, work: &mut Work<'_>) {
        // One that does not read only hears of its end.
        if self.alive && (self.deaf || self.read(work).is_err()) {
            self.end(work);
        }
    }

    fn read(&mut self, work: &mut Work<'_>) -> io::Result<()> {
        let Work { scratch, tally, .. } = work;
        let Some(mut bytes) = self.tail.read(&self.socket, scratch)? else { return Ok(()) };
        let (now, layout) = (work.clock.ns(), &tally.request.layout);
        if self.web {
            while let Some(frame) = ws::take(&mut bytes)? {
                match frame {
                    ws::Frame::Message(message) => {
                        let packet = layout.decode_message(message).map(Some);
                        self.take(packet, now, tally)?;
                    }
                    ws::Frame::Ping(payload) => ws::pong(payload, self.out.buffer()),
                    ws::Frame::Close => return Err(ErrorKind::UnexpectedEof.into()),
                    ws::Frame::Other => {}
                }
            }
        } else {
            while self.take(layout.decode(&mut bytes), now, tally)? {}
        }
        self.tail.keep(bytes);
        Ok(())
    }

    /// Counts one packet. Returns whether there may be another.
    fn take(
        &mut self,
        packet: Result<Option<Packet<'_>>, WireError>,
        now: u64,
        tally: &mut Tally<'_>,
    ) -> io::Result<bool> {
        let measured = &mut *tally.measured;
        match packet {
            Ok(Some(Packet::Data(data))) => {
                tally.heard = now;
                self.reply(&data, now, tally);
            }
            Ok(Some(Packet::Control { kind: kind::CLOSE, tail })) => {
                if let (Ok(notice), None) = (CloseNotice::parse(tail), &measured.close_reason) {
                    measured.close_reason = Some(format!("{:?} {}", notice.reason, notice.text));
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            Err(WireError::TooLarge { .. }) => return Err(ErrorKind::InvalidData.into()),
            Err(_) => measured.wrong = measured.wrong.saturating_add(1),
        }
        Ok(true)
    }

    fn reply(&mut self, data: &Data<'_>, now: u64, tally: &mut Tally<'_>) {
        let Tally { request, measured, pushed, .. } = tally;
        if data.seq == 0 && request.layout.seq.is_some() {
            measured.pushed = measured.pushed.saturating_add(1);
            return pushed(data.body);
        }
        let Some(sent) = self.flight.answer(data.seq) else {
            measured.duplicated = measured.duplicated.saturating_add(1);
            return;
        };
        if request.announce && data.flags & STATUS_FLAG != 0 {
            measured.refused = measured.refused.saturating_add(1);
            return;
        }
        measured.received = measured.received.saturating_add(1);
        measured.latencies.record(now.saturating_sub(sent));
        let right = data.route == request.route
            && match request.expect {
                Expect::Any => true,
                Expect::Echo if measured.received.is_multiple_of(COMPARE_EVERY) => {
                    data.body == request.body
                }
                Expect::Echo => data.body.len() == request.body.len(),
            };
        if !right {
            measured.wrong = measured.wrong.saturating_add(1);
        }
        if measured.first_reply.is_none() {
            measured.first_reply = Some(data.body.to_vec());
        }
    }

    /// The connection is gone, and with it every reply it owed.
    fn end(&mut self, work: &mut Work<'_>) {
        self.alive = false;
        let lost = count(self.flight.forget());
        let measured = &mut *work.tally.measured;
        measured.lost = measured.lost.saturating_add(lost);
        measured.closed = measured.closed.saturating_add(1);
        // A socket that cannot be removed is not in the set any more, which is what is wanted.
        work.poll.remove(&self.socket).unwrap_or_default();
    }
}

fn open_web(socket: &TcpStream, web: &Web) -> io::Result<()> {
    socket.set_read_timeout(Some(DIAL_MAX))?;
    ws::handshake(socket, web)
}
