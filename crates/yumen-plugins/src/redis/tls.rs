//! Whether connections to Redis are encrypted, whom they trust, and what they show.
//!
//! It reads files and speaks no protocol. The one thing to know: a file is named in due's keys without
//! any address saying so, and then every connection is TLS; nothing falls back to plain TCP.

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fs, path::PathBuf};
use yumen_settings::keys::stores::LocateRedisSettings;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    wanted: bool,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Tls {
    pub(super) fn from_settings(settings: &LocateRedisSettings) -> Self {
        let file = |name: &str| (!name.is_empty()).then(|| PathBuf::from(name));
        let (ca, cert) = (file(&settings.ca_file), file(&settings.cert_file));
        let key = file(&settings.key_file);
        Self { wanted: ca.is_some() || cert.is_some() || key.is_some(), ca, cert, key }
    }

    pub(super) fn ask(&mut self, ca: Option<PathBuf>) {
        self.wanted = true;
        self.ca = ca;
    }

    pub(super) fn show(&mut self, cert: PathBuf, key: PathBuf) {
        self.wanted = true;
        (self.cert, self.key) = (Some(cert), Some(key));
    }

    /// What the files hold; `None` without TLS.
    pub(super) fn read(&self) -> Result<Option<TlsCertificates>, Vec<String>> {
        if !self.wanted {
            return Ok(None);
        }
        let mut problems = Vec::new();
        let mut file = |name: &str, path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            let read = fs::read(path);
            read.map_err(|error| problems.push(format!("{name}: {}: {error}", path.display()))).ok()
        };
        let root_cert = file("caFile", &self.ca);
        let (client_cert, client_key) = (file("certFile", &self.cert), file("keyFile", &self.key));
        match (&self.cert, &self.key) {
            (Some(_), None) => {
                problems.push("keyFile: a certificate without its key; add it".into())
            }
            (None, Some(_)) => {
                problems.push("certFile: a key without its certificate; add it".into())
            }
            _ => {}
        }
        let certificates = |pem: &[u8]| {
            CertificateDer::pem_slice_iter(pem).all(|one| one.is_ok())
                && CertificateDer::pem_slice_iter(pem).next().is_some()
        };
        for (name, pem) in [("caFile", &root_cert), ("certFile", &client_cert)] {
            if pem.as_ref().is_some_and(|pem| !certificates(pem)) {
                problems.push(format!("{name}: it holds no certificates in PEM, or broken ones"));
            }
        }
        if client_key.as_ref().is_some_and(|pem| PrivateKeyDer::from_pem_slice(pem).is_err()) {
            problems.push("keyFile: it holds no private key in PEM".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let client_tls = client_cert
            .zip(client_key)
            .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Ok(Some(TlsCertificates { client_tls, root_cert }))
    }
}
