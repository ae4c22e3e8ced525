//! Keys for encrypting and signing messages: `crypto.*`.
//!
//! Naming a key here does not turn anything on, with due neither: the program has to ask for it.

use crate::{
    form::Secret,
    key::{Standing::NotYet, section},
};

const CRYPTO: &str = "messages are neither encrypted nor signed";

/// What due reads for both kinds of keys.
const BOTH: &str = "due's ECC signer reads it too, in place of `crypto.ecc.signer` (W-24).";

section! {
    /// Keys for encrypting and signing messages: `crypto.*`.
    CryptoSettings "etc.crypto" {}
    tables {
        /// RSA: `crypto.rsa.*`.
        rsa: RsaSettings;
        /// Elliptic curves: `crypto.ecc.*`.
        ecc: EccSettings;
    }
}

section! {
    /// RSA: `crypto.rsa.*`.
    RsaSettings "etc.crypto.rsa" {}
    tables {
        /// Encrypting: `crypto.rsa.encryptor.*`.
        encryptor: RsaEncryptorSettings;
        /// Signing: `crypto.rsa.signer.*`.
        signer: RsaSignerSettings;
    }
    dead { "decryptor" "verifier" }
}

section! {
    /// Encrypting with RSA: `crypto.rsa.encryptor.*`.
    RsaEncryptorSettings "etc.crypto.rsa.encryptor" {
        /// How hashes are made.
        hash "hash": String = "sha256", NotYet(CRYPTO);
        /// How blocks are filled: `NORMAL` or `OAEP`.
        padding "padding": String = "NORMAL", NotYet(CRYPTO);
        /// Label of OAEP.
        label "label": String = "", NotYet(CRYPTO);
        /// Bytes of one block; 0 is as many as fit.
        block_size "blockSize": i64 = 0, NotYet(CRYPTO);
        /// The public key, or the path of its file.
        public_key "publicKey": String = "", NotYet(CRYPTO);
        /// The private key, or the path of its file.
        private_key "privateKey": Secret = "", NotYet(CRYPTO);
    }
}

section! {
    /// Signing with RSA: `crypto.rsa.signer.*`.
    RsaSignerSettings "etc.crypto.rsa.signer" {
        /// How hashes are made.
        hash "hash": String = "sha256", NotYet(CRYPTO) => due(BOTH);
        /// How blocks are filled: `PKCS` or `PSS`.
        padding "padding": String = "PKCS", NotYet(CRYPTO);
        /// What stands between the parts of a signature.
        delimiter "delimiter": String = " ", NotYet(CRYPTO) => due("Read by due's ECC signer only (W-24).");
        /// The public key, or the path of its file.
        public_key "publicKey": String = "", NotYet(CRYPTO) => due(BOTH);
        /// The private key, or the path of its file.
        private_key "privateKey": Secret = "", NotYet(CRYPTO) => due(BOTH);
    }
}

section! {
    /// Elliptic curves: `crypto.ecc.*`.
    EccSettings "etc.crypto.ecc" {}
    tables {
        /// Encrypting: `crypto.ecc.encryptor.*`.
        encryptor: EccEncryptorSettings;
    }
    dead { "decryptor" "signer" "verifier" }
}

section! {
    /// Encrypting with elliptic curves: `crypto.ecc.encryptor.*`.
    EccEncryptorSettings "etc.crypto.ecc.encryptor" {
        /// Bytes that go into the key derivation.
        s1 "s1": Secret = "", NotYet(CRYPTO);
        /// Bytes that go into the authentication code.
        s2 "s2": Secret = "", NotYet(CRYPTO);
        /// The public key, or the path of its file.
        public_key "publicKey": String = "", NotYet(CRYPTO);
        /// The private key, or the path of its file.
        private_key "privateKey": Secret = "", NotYet(CRYPTO);
    }
}
