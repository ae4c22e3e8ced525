//! Certificates and keys out of PEM text, checked before anybody meets them.
//!
//! What can never work is refused: no certificate, no key, a key of another certificate. One that has
//! expired is used and said: refusing it would turn a warning into a gate that does not start, and
//! whoever connects decides anyway.

use super::sources::{Content, File, PairFiles};
use rustls::{
    CertificateError, Error, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use std::{sync::Arc, time::Duration};

/// A certificate that ends within this time is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
const DAY: u64 = 24 * 3600;

/// The implementation of everything: ring's.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Text of a file.
fn text<'a>(file: &File, content: &'a Content) -> Result<&'a [u8], String> {
    let unreadable = |why: &String| format!("{} cannot be read: {why}", file.name());
    content.as_deref().map_err(unreadable)
}

/// Every certificate of a file.
fn certificates(file: &File, content: &Content) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text(file, content)?).collect();
    let found = found.map_err(|error| format!("{} is not PEM: {error}", file.name()))?;
    if found.is_empty() {
        return Err(format!(
            "{} has no certificate in it: a line BEGIN CERTIFICATE is expected",
            file.name()
        ));
    }
    Ok(found)
}

fn private_key(file: &File, content: &Content) -> Result<PrivateKeyDer<'static>, String> {
    let text = text(file, content)?;
    PrivateKeyDer::from_pem_slice(text).map_err(|_| {
        let locked = text.windows(9).any(|part| part == b"ENCRYPTED");
        let why = if locked {
            "its private key is encrypted: store it without a password (`openssl pkey`), readable by \
             this program alone"
        } else {
            "has no private key in it: a line BEGIN PRIVATE KEY is expected"
        };
        format!("{} {why}", file.name())
    })
}

/// A certificate with its key, and what is worth knowing about it.
pub(super) fn pair(
    files: &PairFiles,
    (cert, key): (&Content, &Content),
    now: Duration,
) -> Result<(CertifiedKey, Option<String>), Vec<String>> {
    let (chain, secret) = match (certificates(&files.cert, cert), private_key(&files.key, key)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let whole = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| {
        let (cert, key) = (files.cert.name(), files.key.name());
        vec![if let Error::InconsistentKeys(_) = error {
            format!("the key in {key} does not belong to the first certificate in {cert}")
        } else {
            format!("{cert} and {key} cannot be used: {error}")
        }]
    })?;
    let note = whole.end_entity_cert().ok().and_then(|leaf| age(&files.cert, leaf, now));
    Ok((whole, note))
}

/// Says of a certificate that it is over, will soon be, or is not valid yet.
fn age(file: &File, leaf: &CertificateDer<'_>, now: Duration) -> Option<String> {
    let days = |from: Duration, to: UnixTime| {
        to.as_secs().abs_diff(from.as_secs()).checked_div(DAY).unwrap_or(0)
    };
    let name = file.name();
    let refused = "whoever checks it refuses the connection";
    Some(match (validity(leaf, now), validity(leaf, now.saturating_add(SOON))) {
        (Err(Bound::Until(end)), _) => {
            format!("{name} expired {} days ago: {refused}; renew it", days(now, end))
        }
        (Err(Bound::From(start)), _) => format!(
            "{name} is not valid yet, but in {} days: {refused}; is this machine's clock right?",
            days(now, start)
        ),
        (Ok(()), Err(Bound::Until(end))) => {
            format!("{name} expires in {} days: renew it", days(now, end))
        }
        (Ok(()), _) => return None,
    })
}

enum Bound {
    From(UnixTime),
    Until(UnixTime),
}

/// Whether a certificate is valid at a time, whoever has issued it: that is looked at first.
fn validity(leaf: &CertificateDer<'_>, at: Duration) -> Result<(), Bound> {
    use CertificateError::{ExpiredContext, NotValidYetContext};
    let Ok(parsed) = ParsedCertificate::try_from(leaf) else { return Ok(()) };
    let (nobody, at) = (RootCertStore::empty(), UnixTime::since_unix_epoch(at));
    let algorithms = provider().signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], at, algorithms) {
        Err(Error::InvalidCertificate(ExpiredContext { not_after, .. })) => {
            Err(Bound::Until(not_after))
        }
        Err(Error::InvalidCertificate(NotValidYetContext { not_before, .. })) => {
            Err(Bound::From(not_before))
        }
        _ => Ok(()),
    }
}

/// The certificates of a file as those that are trusted.
pub(super) fn roots(file: &File, content: &Content) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, content)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{} cannot be trusted: {error}", file.name()))?;
    }
    Ok(roots)
}
