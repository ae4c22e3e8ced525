//! Hands accepted connections to instances: one listener per address, the instance with the fewest
//! connections gets the next.
//!
//! It runs beside the instances, so a busy instance delays nobody's handshake with the system. An
//! error of `accept`, being out of descriptors included, is counted and waited out: the listener
//! never ends by itself. Connections of load balancers begin with a header, for which each waits by
//! itself (`acceptor/fronted.rs`); limits then count the client's address.

mod fronted;

use crate::{
    block::NetBlock,
    env::Listener,
    limit::{Limiter, Permit, Refused},
    socket::Socket,
    tcp::{Bound, Loose},
};
use fronted::{Fronted, Read, Unsound};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::Sleep,
};

/// Connections that may wait for an instance; more wait in the system's backlog.
const DOOR_LEN: usize = 1024;
/// Pauses after an error of `accept`: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Errors of `accept` are written down at most once in this time.
const QUIET: Duration = Duration::from_secs(10);

/// A connection for an instance.
#[derive(Debug)]
pub struct Arrival {
    socket: Loose,
    /// Where the client is, as a load balancer said where there is one. IPv4 in its IPv6 form is IPv4.
    pub peer: SocketAddr,
    /// Which of the component's listeners accepted it, from 0.
    pub listener: u16,
    /// Its place in the limits; drop it when the connection ends.
    pub permit: Permit,
}

impl Arrival {
    /// Ties the socket to this thread's runtime.
    ///
    /// # Errors
    /// The runtime is out of descriptors, or the peer has left.
    pub fn settle(self) -> io::Result<(Socket, Permit)> {
        Ok((self.socket.settle()?, self.permit))
    }

    /// As [`Arrival::settle`], as a plain stream: for protocols that are no game's, such as HTTP.
    ///
    /// # Errors
    /// As [`Arrival::settle`].
    pub fn stream(
        self,
    ) -> io::Result<(impl AsyncRead + AsyncWrite + Send + Unpin + 'static, Permit)> {
        Ok((self.socket.stream()?, self.permit))
    }
}

/// Where an instance takes its connections from.
#[derive(Debug)]
pub struct Door {
    arrivals: mpsc::Receiver<Arrival>,
    load: Arc<AtomicUsize>,
}

impl Door {
    /// The next connections, at most `max`, appended to `into`; false once no acceptor is left.
    /// Safe to drop while it waits.
    pub async fn next(&mut self, into: &mut Vec<Arrival>, max: usize) -> bool {
        self.arrivals.recv_many(into, max).await > 0
    }

    /// Tells how many connections the instance has taken and still has; those that wait at the door
    /// are added here, so that a burst does not all go to whoever counts last.
    pub fn set_load(&self, connections: usize) {
        let load = connections.saturating_add(self.arrivals.len());
        self.load.store(load, Ordering::Relaxed);
    }
}

/// The acceptor's end of an instance's [`Door`].
#[derive(Clone, Debug)]
pub struct Entrance {
    arrivals: mpsc::Sender<Arrival>,
    load: Arc<AtomicUsize>,
}

/// A new pair of door and entrance.
pub fn door() -> (Entrance, Door) {
    let (tx, rx) = mpsc::channel(DOOR_LEN);
    let load = Arc::new(AtomicUsize::new(0));
    (Entrance { arrivals: tx, load: Arc::clone(&load) }, Door { arrivals: rx, load })
}

/// Counters of one component's listeners.
#[derive(Debug)]
pub struct Counts(Box<[ListenerCounts]>);

impl Counts {
    /// Counters of so many listeners.
    pub fn new(listeners: usize) -> Self {
        Self((0..listeners).map(|_| ListenerCounts::default()).collect())
    }

    /// Those of each listener, in their order.
    pub fn listeners(&self) -> &[ListenerCounts] {
        &self.0
    }

    fn of(&self, index: u16) -> Option<&ListenerCounts> {
        self.0.get(usize::from(index))
    }
}

/// Counters of one listener.
#[derive(Debug, Default)]
pub struct ListenerCounts {
    /// Connections accepted and handed on.
    pub accepted: AtomicU64,
    /// Connections refused because the listener had as many as it may have.
    pub refused_total: AtomicU64,
    /// Connections refused because their address had as many as it may have.
    pub refused_address: AtomicU64,
    /// Connections of load balancers refused because they did not begin with a whole and sound PROXY
    /// header in time.
    pub refused_header: AtomicU64,
    /// Errors of `accept`: out of descriptors, mostly.
    pub errors: AtomicU64,
}

/// Who may connect, and who is believed to speak for others.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Bounds on connections.
    pub limiter: Limiter,
    /// Load balancers: each of their connections has to begin with a PROXY header, of version 1 or 2. From
    /// elsewhere such a header is a client's bytes like any other.
    pub balancers: Arc<[NetBlock]>,
    /// Proxies that say only later who the client is: their connections count in total, and at no address.
    pub forwarders: Arc<[NetBlock]>,
}

impl From<Limiter> for Rules {
    fn from(limiter: Limiter) -> Self {
        Self { limiter, balancers: Arc::default(), forwarders: Arc::default() }
    }
}

impl Rules {
    fn admit(&self, peer: SocketAddr) -> Result<Permit, Refused> {
        if has(&self.forwarders, peer) {
            return self.limiter.admit_unknown();
        }
        self.limiter.admit(peer.ip())
    }
}

fn has(blocks: &[NetBlock], peer: SocketAddr) -> bool {
    blocks.iter().any(|block| block.has(peer.ip()))
}

fn add(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Entrance {
    /// The best instance is the least: one that has room at its door, then the one with the fewest
    /// connections. So an instance that is stuck does not hold up the others once its door is full.
    fn rank(&self) -> (bool, usize) {
        (self.arrivals.capacity() == 0, self.load.load(Ordering::Relaxed))
    }
}

/// Resolves once no instance is left.
async fn deserted(entrances: &[Entrance]) {
    for entrance in entrances {
        entrance.arrivals.closed().await;
    }
}

/// Writes down that a listener cannot accept: at once, and then no more often than every so often.
struct Complaint {
    listener: Option<SocketAddr>,
    errors: u64,
    quiet: Option<Pin<Box<Sleep>>>,
}

impl Complaint {
    fn about(listener: &Bound) -> Self {
        Self { listener: listener.addr().ok(), errors: 0, quiet: None }
    }

    /// Resolves when the next error may be told; never if it may be anyway.
    async fn calm(&mut self) {
        match &mut self.quiet {
            Some(quiet) => quiet.await,
            None => std::future::pending().await,
        }
    }

    fn add(&mut self, error: &io::Error) {
        self.errors = self.errors.saturating_add(1);
        if self.quiet.is_none() {
            self.quiet = Some(Box::pin(tokio::time::sleep(QUIET)));
            self.tell(error);
        }
    }

    #[cold]
    fn tell(&self, error: &io::Error) {
        let (listener, errors) = (self.listener.map(tracing::field::display), self.errors);
        tracing::warn!(
            listener, %error, errors,
            "clients could not be accepted: most likely this process is out of descriptors. They wait, \
             and it is tried again; allow more (`ulimit -n`, or LimitNOFILE= of a systemd unit), or \
             fewer connections (network.*.server.maxConnNum)"
        );
    }
}

/// Whether the next connection may be accepted right away: only this one was lost.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Accepts on one listener until every instance is gone.
///
/// # Errors
/// The listener cannot be used on this runtime.
pub async fn accept(
    listener: std::net::TcpListener,
    index: u16,
    rules: impl Into<Rules>,
    entrances: Vec<Entrance>,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let listener = Bound::new(listener)?;
    let porter = Porter { index, rules: rules.into(), entrances, counts };
    let mut pause = PAUSE_MIN;
    let mut complaint = Complaint::about(&listener);
    let mut fronted = Fronted::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = complaint.calm() => {
                complaint.quiet = None;
                continue;
            },
            Some(read) = fronted.next() => {
                if !porter.receive(read).await {
                    return Ok(());
                }
                continue;
            },
            accepted = listener.accept_loose() => accepted,
            () = deserted(&porter.entrances) => return Ok(()),
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = PAUSE_MIN;
                if !porter.meet(socket, peer, &mut fronted).await {
                    return Ok(());
                }
            }
            Err(error) => {
                add(porter.counts().map(|counts| &counts.errors));
                if !is_passing(&error) {
                    complaint.add(&error);
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// Decides about connections whose client is known.
struct Porter {
    index: u16,
    rules: Rules,
    entrances: Vec<Entrance>,
    counts: Arc<Counts>,
}

impl Porter {
    fn counts(&self) -> Option<&ListenerCounts> {
        self.counts.of(self.index)
    }

    /// Takes over a connection just accepted. False once no instance is left.
    async fn meet(&self, socket: Loose, peer: SocketAddr, fronted: &mut Fronted) -> bool {
        if !has(&self.rules.balancers, peer) {
            return self.let_in(socket, peer).await;
        }
        if !fronted.wait_for(socket, peer) {
            self.refuse_header();
        }
        true
    }

    fn refuse_header(&self) {
        add(self.counts().map(|counts| &counts.refused_header));
    }

    /// Takes over a connection whose header was waited for. False once no instance is left.
    async fn receive(&self, read: Read) -> bool {
        match read {
            Ok(Some((socket, peer))) => return self.let_in(socket, peer).await,
            Ok(None) => {}
            Err(Unsound) => self.refuse_header(),
        }
        true
    }

    /// Hands a connection to an instance, or refuses it. False once no instance is left.
    async fn let_in(&self, socket: Loose, peer: SocketAddr) -> bool {
        let permit = match self.rules.admit(peer) {
            Ok(permit) => permit,
            // Dropping the socket tells the peer.
            Err(refused) => {
                add(self.counts().map(|counts| match refused {
                    Refused::Total => &counts.refused_total,
                    Refused::Address => &counts.refused_address,
                }));
                return true;
            }
        };
        let least = self
            .entrances
            .iter()
            .filter(|entrance| !entrance.arrivals.is_closed())
            .min_by_key(|entrance| entrance.rank());
        let Some(entrance) = least else { return false };
        entrance.load.fetch_add(1, Ordering::Relaxed);
        let arrival = Arrival { socket, peer, listener: self.index, permit };
        if entrance.arrivals.send(arrival).await.is_ok() {
            add(self.counts().map(|counts| &counts.accepted));
        }
        true
    }
}
