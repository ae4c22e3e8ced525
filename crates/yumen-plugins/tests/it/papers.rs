//! Certificates of a test, as files in PEM.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::path::PathBuf;

/// Two authorities, `ca.crt` and `foreign.crt`, and certificates for 127.0.0.1, each a `.crt` and a `.key`:
/// `us` by the first, `them` by the second, and `old` by the first, which has expired.
pub(crate) struct Papers(tempfile::TempDir);

impl Papers {
    pub(crate) fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let (ours, foreign) = (this.authority("ca.crt"), this.authority("foreign.crt"));
        this.certificate("us", &ours, |_| ());
        this.certificate("them", &foreign, |_| ());
        this.certificate("old", &ours, |old| {
            (old.not_before, old.not_after) =
                (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        });
        this
    }

    fn authority(&self, name: &str) -> Issuer<'static, KeyPair> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(self.path(name), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    }

    fn certificate(
        &self,
        name: &str,
        issuer: &Issuer<'_, KeyPair>,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, issuer).unwrap().pem();
        std::fs::write(self.path(&format!("{name}.crt")), certificate).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path as a word of a command line or a setting.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// A file gets what another one holds.
    pub(crate) fn replace(&self, name: &str, by: &str) {
        std::fs::copy(self.path(by), self.path(name)).unwrap();
    }
}
