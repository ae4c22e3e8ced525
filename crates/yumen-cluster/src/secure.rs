//! TLS as listeners and links of this process use it; nothing, in a program without it.
//!
//! Certificates are files, looked at again every few seconds while an `App` runs: new connections get
//! what is there. Files that cannot be used change nothing but the log. Nothing here sees a byte of
//! what is encrypted.

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::{Duration, Instant};
use yumen_net::socket::Socket;
#[cfg(feature = "tls")]
use yumen_net::{
    env::Clock,
    tls::{File, Listening, PairFiles, Refreshed},
};

/// How often files are looked at. What has changed is used at the second look.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A path, and the setting that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PemFile {
    pub(crate) key: String,
    pub(crate) path: String,
}

impl PemFile {
    pub(crate) fn new(key: impl Into<String>, path: impl Into<String>) -> Self {
        Self { key: key.into(), path: path.into() }
    }
}

#[cfg(feature = "tls")]
impl From<PemFile> for File {
    fn from(named: PemFile) -> Self {
        Self::new(named.key, named.path)
    }
}

/// Files of a certificate and of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) cert: PemFile,
    pub(crate) key: PemFile,
}

impl Pair {
    /// What two settings say: nothing, or both files. Adds to `problems` where one is missing.
    pub(crate) fn of(cert: PemFile, key: PemFile, problems: &mut Vec<String>) -> Option<Self> {
        match (cert.path.is_empty(), key.path.is_empty()) {
            (true, true) => None,
            (false, false) => Some(Self { cert, key }),
            (no_cert, _) => {
                let (there, missing) = if no_cert { (key, cert) } else { (cert, key) };
                let (there, missing) = (there.key, missing.key);
                problems.push(format!("{there} is set and {missing} is not: TLS needs both files"));
                None
            }
        }
    }
}

#[cfg(feature = "tls")]
impl From<Pair> for PairFiles {
    fn from(pair: Pair) -> Self {
        Self { cert: pair.cert.into(), key: pair.key.into() }
    }
}

/// What is said where files are named and the program has no TLS.
fn not_built(key: &str) -> String {
    format!("{key} is set, but this program was built without TLS: build it with the feature `tls`")
}

/// What a listener for clients shows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secure {
    #[cfg(feature = "tls")]
    listening: Option<Arc<Listening>>,
    /// To be said at the start.
    pub(crate) notes: Vec<String>,
}

impl Secure {
    /// Reads the files; none is no TLS. What is wrong is added to `problems`.
    pub(crate) fn load(pairs: Vec<Pair>, problems: &mut Vec<String>) -> Self {
        if let (false, Some(pair)) = (cfg!(feature = "tls"), pairs.first()) {
            problems.push(not_built(&pair.cert.key));
        }
        let secure = Self::default();
        #[cfg(feature = "tls")]
        let secure = secure.with(pairs, problems);
        secure
    }

    #[cfg(feature = "tls")]
    fn with(self, pairs: Vec<Pair>, problems: &mut Vec<String>) -> Self {
        if pairs.is_empty() {
            return self;
        }
        match Listening::load(pairs.into_iter().map(PairFiles::from).collect(), unix()) {
            Ok((listening, notes)) => Self { listening: Some(Arc::new(listening)), notes },
            Err(more) => {
                problems.extend(more);
                self
            }
        }
    }

    /// Whether clients have to speak TLS.
    pub(crate) fn is_on(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.listening.is_some() {
            return true;
        }
        false
    }

    /// A connection that was accepted, as the driver is to use it.
    pub(crate) fn accept(&self, socket: Socket, now: Instant) -> Socket {
        let _only_tls_has_a_time_limit = now;
        #[cfg(feature = "tls")]
        if let Some(listening) = &self.listening {
            return listening.accept(socket, now);
        }
        socket
    }
}

#[cfg(feature = "tls")]
fn unix() -> Duration {
    Duration::from_nanos(u64::try_from(Clock::real().now().unix_ns).unwrap_or(0))
}

/// Looks at the files of all of these, for ever.
pub(crate) async fn follow(listeners: Vec<Secure>) {
    let watched: Vec<_> = listeners.into_iter().filter(Secure::is_on).collect();
    if watched.is_empty() {
        return;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        #[cfg(feature = "tls")]
        for secure in &watched {
            let Some(listening) = secure.listening.clone() else { continue };
            let first = listening.first().map(|pair| pair.cert.path.clone()).unwrap_or_default();
            let look = tokio::task::spawn_blocking(move || listening.refresh(unix()));
            if let Ok(refreshed) = look.await {
                tell(&refreshed, &first.display().to_string());
            }
        }
    }
}

#[cfg(feature = "tls")]
fn tell(refreshed: &Refreshed, certificate: &str) {
    match refreshed {
        Refreshed::Same => {}
        Refreshed::Swapped(notes) => {
            tracing::info!(
                certificate,
                "certificates were replaced; new connections get the new ones"
            );
            notes.iter().for_each(|note| tracing::warn!("{note}"));
        }
        Refreshed::Kept(problems) => tracing::error!(
            certificate,
            "certificates were replaced by some that cannot be used, so the last good ones stay:\n{}",
            problems.join("\n")
        ),
    }
}
