//! TLS as listeners and links of this process use it; nothing, in a program without it.
//!
//! Certificates are files, looked at again every few seconds while an `App` runs: new connections get
//! what is there. Files that cannot be used change nothing but the log. Nothing here sees a byte of
//! what is encrypted.

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::{Duration, Instant};
use yumen_mesh::LinkGuard;
use yumen_net::socket::Socket;
#[cfg(feature = "tls")]
use yumen_net::{
    env::Clock,
    tls::{File, Listening, Mutual, PairFiles, Refreshed},
};
use yumen_settings::keys::yumen::YumenClusterSettings;

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

/// What links to other processes have of TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecureLinks {
    #[cfg(feature = "tls")]
    mutual: Option<Arc<Mutual>>,
    /// To be said at the start.
    pub(crate) notes: Vec<String>,
}

impl SecureLinks {
    /// Reads the files; none is no TLS. What is wrong is added to `problems`.
    pub(crate) fn load(settings: &YumenClusterSettings, problems: &mut Vec<String>) -> Self {
        let named = |key: &str, path: &str| PemFile::new(format!("yumen.cluster.{key}"), path);
        let (cert, key) =
            (named("certFile", &settings.cert_file), named("keyFile", &settings.key_file));
        let ca = named("caFile", &settings.ca_file);
        let Some(pair) = Pair::of(cert, key, problems) else {
            if !ca.path.is_empty() {
                problems.push(
                    "yumen.cluster.caFile is set and yumen.cluster.certFile is not: links show \
                     certificates on both sides"
                        .to_owned(),
                );
            }
            return Self::default();
        };
        if ca.path.is_empty() {
            problems.push(
                "yumen.cluster.certFile is set and yumen.cluster.caFile is not: it says who may issue \
                 the certificates of the others"
                    .to_owned(),
            );
            return Self::default();
        }
        if !cfg!(feature = "tls") {
            problems.push(not_built(&pair.cert.key));
        }
        let links = Self::default();
        #[cfg(feature = "tls")]
        let links = links.with((pair, ca), settings, problems);
        links
    }

    #[cfg(feature = "tls")]
    fn with(
        self,
        (pair, ca): (Pair, PemFile),
        settings: &YumenClusterSettings,
        problems: &mut Vec<String>,
    ) -> Self {
        let files = (PairFiles::from(pair), File::from(ca));
        match Mutual::load(files, &settings.peer_names, settings.allow_plain, unix()) {
            Ok((mutual, notes)) => Self { mutual: Some(Arc::new(mutual)), notes },
            Err(more) => {
                problems.extend(more);
                self
            }
        }
    }

    /// Whether links are under TLS.
    pub(crate) fn is_on(&self) -> bool {
        self.guard().is_on()
    }

    /// What the links are to use.
    pub(crate) fn guard(&self) -> LinkGuard {
        let guard = LinkGuard::default();
        #[cfg(feature = "tls")]
        let guard = self.mutual.clone().map_or(guard, LinkGuard::mutual);
        guard
    }
}

#[cfg(feature = "tls")]
fn unix() -> Duration {
    Duration::from_nanos(u64::try_from(Clock::real().now().unix_ns).unwrap_or(0))
}

/// Looks at the files of all of these, for ever.
pub(crate) async fn follow(listeners: Vec<Secure>, links: Vec<SecureLinks>) {
    if !listeners.iter().any(Secure::is_on) && !links.iter().any(SecureLinks::is_on) {
        return;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        #[cfg(feature = "tls")]
        for listening in listeners.iter().filter_map(|secure| secure.listening.clone()) {
            look(move || (listening.refresh(unix()), listening.first().cloned())).await;
        }
        #[cfg(feature = "tls")]
        for mutual in links.iter().filter_map(|secure| secure.mutual.clone()) {
            look(move || (mutual.refresh(unix()), Some(mutual.pair().clone()))).await;
        }
    }
}

/// Reads files on a thread for that, and tells what came of it.
#[cfg(feature = "tls")]
async fn look(read: impl FnOnce() -> (Refreshed, Option<PairFiles>) + Send + 'static) {
    if let Ok((refreshed, pair)) = tokio::task::spawn_blocking(read).await {
        let certificate = pair.map(|pair| pair.cert.path.display().to_string());
        tell(&refreshed, &certificate.unwrap_or_default());
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
