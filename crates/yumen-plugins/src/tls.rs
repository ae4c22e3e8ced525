//! Whom the client of a registry trusts, and what it shows of itself: files in PEM.
//!
//! Speaks no protocol and dials nobody. The one thing to know: the files are read again at every handshake, so
//! a certificate that was renewed on disk is used from the next connection on; while they hold nothing that can
//! be used, what they held before stays in use, and the log says so.

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The files, each named by its key; an empty path is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// `caFile`: whom to trust; the system's certificates if none is named.
    pub(crate) ca: PathBuf,
    /// `certFile`: what is shown to the server, with whatever leads from it to its authority.
    pub(crate) cert: PathBuf,
    /// `keyFile`: the key of that.
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn new(ca: &str, cert: &str, key: &str) -> Self {
        Self { ca: ca.into(), cert: cert.into(), key: key.into() }
    }

    /// Encryption towards servers that are named like `addr`, if it `is_encrypted`.
    ///
    /// # Errors
    /// Each key with what is wrong there; also files that would never be used.
    pub(crate) fn config(
        &self,
        (addr, is_encrypted): (&str, bool),
    ) -> Result<Option<Arc<ClientConfig>>, Vec<(&'static str, String)>> {
        let named = [("caFile", &self.ca), ("certFile", &self.cert), ("keyFile", &self.key)];
        let named = named.into_iter().filter(|(_, file)| !is_none(file));
        if !is_encrypted {
            let what = format!("is named, but {addr} is not encrypted; write https://");
            let problems: Vec<_> = named.map(|(key, _)| (key, what.clone())).collect();
            return if problems.is_empty() { Ok(None) } else { Err(problems) };
        }
        let provider = Arc::new(ring::default_provider());
        let (trust, identity) = (self.trust(&provider), self.identity(&provider));
        let (trust, identity) = match (trust, identity) {
            (Ok(trust), Ok(identity)) => (trust, identity),
            (trust, identity) => {
                return Err(trust.err().into_iter().chain(identity.err()).collect());
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| vec![("caFile", error.to_string())])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust));
        let mut config = match identity {
            Some(identity) => config.with_client_cert_resolver(Arc::new(identity)),
            None => config.with_no_client_auth(),
        };
        // A session that goes on would be judged by what the files held when it began.
        config.resumption = Resumption::disabled();
        Ok(Some(Arc::new(config)))
    }

    fn trust(&self, provider: &Arc<CryptoProvider>) -> Result<Trust, (&'static str, String)> {
        let provider = Arc::clone(provider);
        let kept = if is_none(&self.ca) {
            Kept::fixed(systems().and_then(|roots| verifier(roots, &provider)))
        } else {
            Kept::read(vec![self.ca.clone()], move |pem| {
                verifier(roots(pem.first().map_or(&[], |pem| pem))?, &provider)
            })
        };
        kept.map(Trust).map_err(|what| ("caFile", what))
    }

    fn identity(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Identity>, (&'static str, String)> {
        match (is_none(&self.cert), is_none(&self.key)) {
            (true, true) => return Ok(None),
            (false, true) => return Err(("keyFile", "is missing beside certFile".to_owned())),
            (true, false) => return Err(("certFile", "is missing beside keyFile".to_owned())),
            (false, false) => {}
        }
        let (provider, key_file) = (Arc::clone(provider), self.key.clone());
        let kept = Kept::read(vec![self.cert.clone(), self.key.clone()], move |pem| match pem {
            [cert, key] => certified(cert, (key, &key_file), &provider),
            _ => Err("a certificate and its key are two files".to_owned()),
        });
        kept.map(|kept| Some(Identity(kept))).map_err(|what| ("certFile", what))
    }
}

fn is_none(file: &Path) -> bool {
    file.as_os_str().is_empty()
}

fn systems() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs().certs;
    if roots.add_parsable_certificates(found).0 == 0 {
        return Err(
            "this system has no certificates to trust, so a file has to be named".to_owned()
        );
    }
    Ok(roots)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(roots) }
}

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())
}

fn certified(
    cert: &[u8],
    (key, key_file): (&[u8], &Path),
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("its key in {}: {error}", key_file.display()))?;
    let certified = CertifiedKey::from_der(chain, key, provider);
    certified.map(Arc::new).map_err(|error| {
        if matches!(error, Error::InconsistentKeys(_)) {
            return format!("the key in {} is not the one of this certificate", key_file.display());
        }
        error.to_string()
    })
}

/// What comes of the contents of some files.
type Make<T> = dyn Fn(&[Vec<u8>]) -> Result<Arc<T>, String> + Send + Sync;

/// What some files hold, as of the last time when that made sense.
struct Kept<T> {
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    last: Mutex<(Vec<Vec<u8>>, Arc<T>)>,
}

impl<T> Kept<T> {
    /// What no file can change.
    fn fixed(value: Result<Arc<T>, String>) -> Result<Self, String> {
        let make = Box::new(|_: &[Vec<u8>]| Err("there is no file".to_owned()));
        Ok(Self { files: Vec::new(), make, last: Mutex::new((Vec::new(), value?)) })
    }

    fn read(
        files: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<Arc<T>, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let bytes = contents(&files)?;
        let value = make(&bytes).map_err(|what| about(&files, &what))?;
        Ok(Self { files, make: Box::new(make), last: Mutex::new((bytes, value)) })
    }

    fn now(&self) -> Arc<T> {
        // Every write below is whole.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = contents(&self.files).and_then(|bytes| {
            if bytes == last.0 {
                return Ok(None);
            }
            let value = (self.make)(&bytes).map_err(|what| about(&self.files, &what))?;
            Ok(Some((bytes, value)))
        });
        match fresh {
            Ok(None) => {}
            Ok(Some(fresh)) => *last = fresh,
            Err(what) => tracing::warn!("{what}; what was read before stays in use"),
        }
        Arc::clone(&last.1)
    }
}

fn contents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let read = |file: &PathBuf| {
        fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
    };
    files.iter().map(read).collect()
}

fn about(files: &[PathBuf], what: &str) -> String {
    format!("{}: {what}", files.first().map_or_else(String::new, |file| file.display().to_string()))
}

/// The server's certificate is judged by what the file holds now.
struct Trust(Kept<WebPkiServerVerifier>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.0.files).finish()
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let trusted = self.0.now();
        trusted.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.now().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.now().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.now().supported_verify_schemes()
    }
}

/// What is shown to the server, as the files hold it now.
struct Identity(Kept<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.0.files).finish()
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
