//! The attackers: one process, one thread, thousands of connections that mean no good.
//!
//! All are opened first, at a pace that the listener's backlog can take and from many addresses;
//! then all begin at once. It ends when the server has ended every connection that it has to end,
//! or when the time is up, and prints an [`Outcome`] as its last line.
use super::deed::{Deed, Dice, requests};
use crate::clock::Clock;
use crate::poll::{Events, Interest, Poll};
use clap::Args;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Connections opened per turn, and how long a turn takes: 3,200 a second.
const BURST: usize = 32;
const TURN: Duration = Duration::from_millis(10);
/// Connections from one address; there are 28,000 ports for each.
const PER_ADDRESS: usize = 100;
/// Longest wait for a connection to be opened.
const OPENING_MAX: Duration = Duration::from_secs(20);
/// What a client that does not read has room for, in bytes.
const DEAF_ROOM: usize = 4096;
/// Requests that it sends each turn.
const EACH_TURN: usize = 8;

/// Options of the hidden `hostile-attack`.
#[derive(Debug, Clone, Args)]
pub struct AttackArgs {
    /// The gate's tcp listener.
    #[arg(long)]
    tcp: SocketAddrV4,
    /// The gate's WebSocket listener.
    #[arg(long)]
    web: SocketAddrV4,
    /// Connections held at once.
    #[arg(long)]
    connections: usize,
    /// Connections of the storms beside them.
    #[arg(long)]
    storm: usize,
    /// Longest time from the first deed to the end, in seconds.
    #[arg(long)]
    seconds: u64,
    /// The same seed gives the same attack.
    #[arg(long)]
    seed: u64,
}

/// What became of the connections of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fate {
    /// Those that were opened.
    pub(super) opened: u64,
    /// Those of them that the server ended.
    pub(super) ended: u64,
    /// Those that the attacker ended.
    pub(super) left: u64,
}

/// What came of the attack.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// By kind.
    pub(super) fates: BTreeMap<Deed, Fate>,
    /// Connections that could not be opened.
    pub(super) unopened: u64,
    /// The most connections that were open at once.
    pub(super) at_once: u64,
    /// Time to open those that are held, in seconds.
    pub(super) opening_s: f64,
    /// From the first deed to the end, in seconds.
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    /// Its first bytes were sent.
    Acting,
    /// Its upgrade was answered.
    Upgraded,
}

struct Foe {
    socket: TcpStream,
    deed: Deed,
    state: State,
    /// Whole packets that the socket has not taken, of one that sends without end.
    unsent: Vec<u8>,
}

struct Attack {
    args: AttackArgs,
    poll: Poll,
    dice: Dice,
    /// By token; empty once it has ended.
    foes: Vec<Option<Foe>>,
    /// Tokens of those that never read.
    deaf: Vec<usize>,
    open: u64,
    /// Connections that are not open yet, and those that the server still has to end.
    opening: usize,
    owed: usize,
    outcome: Outcome,
}

/// Attacks, prints what came of it, and ends.
pub(in crate::command) fn run(args: &AttackArgs) -> io::Result<ExitCode> {
    // Nobody reads what comes of it once whoever started it is gone.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (poll, dice, outcome) = (Poll::new()?, Dice::new(args.seed), Outcome::default());
    let args = args.clone();
    let (foes, deaf, open, opening, owed) = (Vec::new(), Vec::new(), 0, 0, 0);
    let mut attack = Attack { args, poll, dice, foes, deaf, open, opening, owed, outcome };
    attack.open_all()?;
    attack.act()?;
    println_json(&attack.outcome)?;
    Ok(ExitCode::SUCCESS)
}

fn println_json(outcome: &Outcome) -> io::Result<()> {
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, outcome)?;
    writeln!(output)
}

impl Attack {
    /// Opens those that are held, and waits until all are open.
    fn open_all(&mut self) -> io::Result<()> {
        let mut mix = Deed::mix(self.args.connections, &mut self.dice).into_iter();
        let clock = Clock::start();
        loop {
            let burst: Vec<_> = mix.by_ref().take(BURST).collect();
            let late = Duration::from_nanos(clock.ns()) > OPENING_MAX;
            if burst.is_empty() && (self.opening == 0 || late) {
                break;
            }
            burst.into_iter().try_for_each(|deed| self.dial(deed))?;
            self.turn()?;
        }
        self.outcome.opening_s = Duration::from_nanos(clock.ns()).as_secs_f64();
        Ok(())
    }

    /// Has all begin, goes on second by second with a storm beside them, and ends what is left.
    fn act(&mut self) -> io::Result<()> {
        let clock = Clock::start();
        let time_max = Duration::from_secs(self.args.seconds);
        for token in 0..self.foes.len() {
            self.begin(token);
        }
        let (mut second, mut stormed) = (0, 0);
        loop {
            let passed = Duration::from_nanos(clock.ns());
            let storming = stormed < self.args.storm;
            if passed > time_max || (!storming && self.opening == 0 && self.owed == 0) {
                break;
            }
            // Not in the first seconds, which the others need for themselves.
            if storming && passed > Duration::from_secs(3) {
                stormed = stormed.saturating_add(BURST);
                for n in 0..BURST {
                    let deed = if n % 2 == 0 { Deed::ResetStorm } else { Deed::CloseStorm };
                    self.dial(deed)?;
                }
            }
            if passed.as_secs() > second {
                second = passed.as_secs();
                let second = usize::try_from(second).unwrap_or(usize::MAX);
                (0..self.foes.len()).for_each(|token| self.each_second(token, second));
            }
            (0..self.deaf.len()).for_each(|at| self.insist(at));
            self.turn()?;
        }
        for token in 0..self.foes.len() {
            self.end(token, false);
        }
        self.outcome.seconds = Duration::from_nanos(clock.ns()).as_secs_f64();
        Ok(())
    }

    /// Waits for a turn, and takes what happened.
    fn turn(&mut self) -> io::Result<()> {
        let (clock, mut events) = (Clock::start(), Events::default());
        loop {
            let left = TURN.saturating_sub(Duration::from_nanos(clock.ns()));
            self.poll.wait(&mut events, Some(left))?;
            for ready in events.iter() {
                let token = usize::try_from(ready.token).unwrap_or(usize::MAX);
                self.happened(token, ready.readable)?;
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn dial(&mut self, deed: Deed) -> io::Result<()> {
        let token = self.foes.len();
        let to = if deed.is_web() { self.args.web } else { self.args.tcp };
        let socket = match dial(source(token), to, deed.is_deaf()) {
            Ok(socket) => socket,
            Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
                return Err(error);
            }
            Err(_) => {
                self.outcome.unopened = self.outcome.unopened.saturating_add(1);
                return Ok(());
            }
        };
        self.poll.add(&socket, crate::number::count(token), Interest::ReadWrite)?;
        self.deaf.extend(deed.is_deaf().then_some(token));
        self.opening = self.opening.saturating_add(1);
        self.foes.push(Some(Foe { socket, deed, state: State::Opening, unsent: Vec::new() }));
        Ok(())
    }

    fn happened(&mut self, token: usize, readable: bool) -> io::Result<()> {
        let Some(Some(foe)) = self.foes.get_mut(token) else { return Ok(()) };
        if foe.state == State::Opening {
            self.opening = self.opening.saturating_sub(1);
            return self.opened(token);
        }
        if !readable {
            return Ok(());
        }
        let mut space = [0; 4096];
        let Ok(read) = foe.socket.read(&mut space) else {
            self.end(token, true);
            return Ok(());
        };
        // One that never reads is only told of errors.
        if read == 0 || foe.deed.is_deaf() {
            self.end(token, true);
        } else if foe.state == State::Acting
            && let Some(bytes) = foe.deed.after_upgrade(&mut self.dice)
        {
            foe.state = State::Upgraded;
            // If the server has ended it meanwhile the next event says so.
            let _ended = foe.socket.write(&bytes);
        }
        Ok(())
    }

    /// A connection was opened, or could not be.
    fn opened(&mut self, token: usize) -> io::Result<()> {
        let Some(Some(foe)) = self.foes.get_mut(token) else { return Ok(()) };
        if foe.socket.take_error()?.is_some() {
            self.outcome.unopened = self.outcome.unopened.saturating_add(1);
            self.foes.get_mut(token).into_iter().for_each(|foe| drop(foe.take()));
            return Ok(());
        }
        foe.state = State::Open;
        let deed = foe.deed;
        let interest = if deed.is_deaf() { Interest::End } else { Interest::Read };
        self.poll.modify(&foe.socket, crate::number::count(token), interest)?;
        let fate = self.outcome.fates.entry(deed).or_default();
        fate.opened = fate.opened.saturating_add(1);
        self.owed = self.owed.saturating_add(usize::from(deed.must_end()));
        self.open = self.open.saturating_add(1);
        self.outcome.at_once = self.outcome.at_once.max(self.open);
        if matches!(deed, Deed::ResetStorm | Deed::CloseStorm) {
            self.begin(token);
            self.end(token, false);
        }
        Ok(())
    }

    /// The first bytes.
    fn begin(&mut self, token: usize) {
        let Some(Some(foe)) = self.foes.get_mut(token) else { return };
        if foe.state == State::Open {
            foe.state = State::Acting;
            let bytes = foe.deed.first(&mut self.dice);
            // What it does not take is not needed, and its end is told by an event.
            let _ended = foe.socket.write(&bytes);
        }
    }

    fn each_second(&mut self, token: usize, second: usize) {
        let Some(Some(foe)) = self.foes.get_mut(token) else { return };
        let bytes = foe.deed.each_second(second, &mut self.dice);
        if foe.state != State::Opening && !bytes.is_empty() {
            let _ended = foe.socket.write(&bytes);
        }
    }

    /// One that never reads sends what its socket takes.
    fn insist(&mut self, at: usize) {
        let token = self.deaf.get(at).copied().unwrap_or(usize::MAX);
        let Some(Some(foe)) = self.foes.get_mut(token) else { return };
        if foe.unsent.is_empty() {
            foe.unsent = requests(EACH_TURN);
        }
        // An end is told by an event.
        let written = foe.socket.write(&foe.unsent).unwrap_or(0);
        foe.unsent.drain(..written);
    }

    /// A connection has ended: the server ended it, or we do.
    fn end(&mut self, token: usize, by_server: bool) {
        let Some(foe) = self.foes.get_mut(token).and_then(Option::take) else { return };
        if foe.state == State::Opening {
            self.outcome.unopened = self.outcome.unopened.saturating_add(1);
            return;
        }
        if foe.deed == Deed::ResetStorm {
            // Without it the connection is closed in order, which is no less an end.
            let _linger = sockopt::set_socket_linger(&foe.socket, Some(Duration::ZERO));
        }
        self.owed = self.owed.saturating_sub(usize::from(foe.deed.must_end()));
        self.open = self.open.saturating_sub(1);
        let fate = self.outcome.fates.entry(foe.deed).or_default();
        let counter = if by_server { &mut fate.ended } else { &mut fate.left };
        *counter = counter.saturating_add(1);
    }
}

/// Where the connection with this number comes from.
fn source(token: usize) -> Ipv4Addr {
    let number = u16::try_from(token / PER_ADDRESS).unwrap_or(u16::MAX).saturating_add(1);
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// Begins to open a connection.
fn dial(from: Ipv4Addr, to: SocketAddrV4, deaf: bool) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    if deaf {
        sockopt::set_socket_recv_buffer_size(&socket, DEAF_ROOM)?;
    }
    net::bind(&socket, &SocketAddr::from((from, 0)))?;
    match net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}
