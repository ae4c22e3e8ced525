//! Proof that a peer belongs to the cluster: it knows the secret, and says so about this very
//! connection.
//!
//! HMAC-SHA-256 (RFC 2104) over a transcript in which every part has its length in front, so that no
//! two different handshakes read alike. Nothing here is ever printed, and proofs are compared without
//! telling where they differ.

use super::announce::{LinkFeatures, NONCE_LEN, PROOF_LEN};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// Shortest secret that is accepted, in bytes.
pub const SECRET_MIN: usize = 16;

/// A cluster's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The secret of these bytes; `None` below [`SECRET_MIN`] of them.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() >= SECRET_MIN).then(|| Self(bytes.into_boxed_slice()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Server,
}

/// What both sides have said, as both have to see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transcript<'a> {
    pub(super) version: u8,
    pub(super) cluster: &'a str,
    pub(super) dialler: &'a str,
    pub(super) server: &'a str,
    pub(super) offered: LinkFeatures,
    pub(super) agreed: LinkFeatures,
    pub(super) dialler_nonce: &'a [u8; NONCE_LEN],
    pub(super) server_nonce: &'a [u8; NONCE_LEN],
}

impl Transcript<'_> {
    fn mac(&self, side: Side, secret: &Secret) -> Option<Hmac<Sha256>> {
        let label = match side {
            Side::Dialler => "yumen-client",
            Side::Server => "yumen-server",
        };
        // A key of any length will do for this construction.
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).ok()?;
        let parts: [&[u8]; 9] = [
            label.as_bytes(),
            &[self.version],
            self.cluster.as_bytes(),
            self.dialler.as_bytes(),
            self.server.as_bytes(),
            &self.offered.bits().to_be_bytes(),
            &self.agreed.bits().to_be_bytes(),
            self.dialler_nonce,
            self.server_nonce,
        ];
        for part in parts {
            mac.update(&u16::try_from(part.len()).ok()?.to_be_bytes());
            mac.update(part);
        }
        Some(mac)
    }

    /// That `side` knows `secret`.
    pub(super) fn prove(&self, side: Side, secret: &Secret) -> Option<[u8; PROOF_LEN]> {
        Some(self.mac(side, secret)?.finalize().into_bytes().into())
    }

    /// The one of `secrets` that `side` has proved to know.
    pub(super) fn verify<'s>(
        &self,
        side: Side,
        proof: &[u8; PROOF_LEN],
        secrets: &'s [Secret],
    ) -> Option<&'s Secret> {
        secrets.iter().find(|secret| {
            self.mac(side, secret).is_some_and(|mac| mac.verify_slice(proof).is_ok())
        })
    }
}
