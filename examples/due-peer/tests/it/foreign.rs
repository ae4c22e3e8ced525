//! A process of due's, played from the recording: listens, dials, and says what it said. Bytes only, so
//! that nothing of ours judges itself.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

/// Longest wait for a frame.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the parts of a frame stand.
const HEADER: usize = 4;
const ROUTE: usize = 5;
const SEQ: std::ops::Range<usize> = 6..14;
const PAYLOAD: usize = 14;
const HANDSHAKE: u8 = 1;

/// A frame, and the connection it came on.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) conn: usize,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn is_heartbeat(frame: &[u8]) -> bool {
    frame[HEADER] & 0x80 != 0
}

pub(crate) fn is_handshake(frame: &[u8]) -> bool {
    !is_heartbeat(frame) && frame[ROUTE] == HANDSHAKE
}

pub(crate) fn route(frame: &[u8]) -> u8 {
    frame[ROUTE]
}

pub(crate) fn seq(frame: &[u8]) -> u64 {
    u64::from_be_bytes(frame[SEQ].try_into().unwrap())
}

pub(crate) fn with_seq(frame: &[u8], seq: u64) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[SEQ].copy_from_slice(&seq.to_be_bytes());
    frame
}

pub(crate) fn payload(frame: &[u8]) -> &[u8] {
    &frame[PAYLOAD..]
}

/// The next frame of a stream; `None` at its end.
fn frame(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    socket.read_exact(&mut frame).ok()?;
    let size = u32::from_be_bytes(frame[..4].try_into().unwrap());
    frame.resize(4 + usize::try_from(size).unwrap(), 0);
    socket.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

/// What due's process has at its listener.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    accepted: Arc<Mutex<Vec<TcpStream>>>,
    heard: mpsc::Receiver<Heard>,
    /// Handshakes, in the order they came.
    pub(crate) introductions: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (tell, heard) = mpsc::channel();
        let this = Self {
            addr: listener.local_addr().unwrap(),
            accepted: Arc::default(),
            heard,
            introductions: Arc::default(),
        };
        let (accepted, introductions) =
            (Arc::clone(&this.accepted), Arc::clone(&this.introductions));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let mut all = accepted.lock().unwrap();
                let conn = all.len();
                all.push(socket.try_clone().unwrap());
                let (tell, introductions) = (tell.clone(), Arc::clone(&introductions));
                std::thread::spawn(move || listen_to(socket, conn, &tell, &introductions));
            }
        });
        this
    }

    /// What comes next, heartbeats and handshakes aside; the latter are answered.
    pub(crate) fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("nothing comes")
    }

    /// Nothing more has come.
    pub(crate) fn is_quiet(&self) -> bool {
        self.heard.recv_timeout(Duration::from_millis(200)).is_err()
    }

    pub(crate) fn answer(&self, conn: usize, frame: &[u8]) {
        self.accepted.lock().unwrap()[conn].write_all(frame).unwrap();
    }
}

fn listen_to(
    mut socket: TcpStream,
    conn: usize,
    tell: &mpsc::Sender<Heard>,
    introductions: &Mutex<Vec<Vec<u8>>>,
) {
    while let Some(bytes) = frame(&mut socket) {
        if is_handshake(&bytes) {
            let mut answer = vec![0, 0, 0, 12, 0, HANDSHAKE];
            answer.extend_from_slice(&bytes[SEQ]);
            answer.extend_from_slice(&[0, 0]);
            introductions.lock().unwrap().push(bytes);
            socket.write_all(&answer).unwrap();
        } else if !is_heartbeat(&bytes) && tell.send(Heard { conn, bytes }).is_err() {
            return;
        }
    }
}

/// The connections that due's process has dialled.
pub(crate) struct Client {
    sockets: Vec<TcpStream>,
    heard: mpsc::Receiver<Heard>,
    over: Arc<AtomicBool>,
}

impl Client {
    /// Says `words` on each of five connections, as due does, and hears the answer to its handshake.
    pub(crate) fn dial(addr: SocketAddr, words: &[u8]) -> Self {
        let (tell, heard) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let open = |conn: usize| {
            let mut socket = TcpStream::connect(addr).unwrap();
            socket.set_nodelay(true).unwrap();
            socket.write_all(words).unwrap();
            let answer = frame(&mut socket).expect("the handshake is answered");
            assert_eq!(answer, [0, 0, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
            let (mut reader, tell) = (socket.try_clone().unwrap(), tell.clone());
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while let Some(bytes) = frame(&mut reader) {
                    let _nobody_looks = tell.send(Heard { conn, bytes });
                }
                assert!(over.load(Ordering::SeqCst), "connection {conn} was closed");
            });
            socket
        };
        Self { sockets: (0..5).map(open).collect(), heard, over: Arc::clone(&over) }
    }

    pub(crate) fn say(&self, conn: usize, frame: &[u8]) {
        (&self.sockets[conn]).write_all(frame).unwrap();
    }

    /// The next answer.
    pub(crate) fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("no answer")
    }

    /// Nothing was said that nobody asked for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.heard.recv_timeout(Duration::from_millis(200)).is_err()
    }

    pub(crate) fn leave(self) {
        self.over.store(true, Ordering::SeqCst);
        for socket in &self.sockets {
            let _gone = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}
