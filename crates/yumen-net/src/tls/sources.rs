//! Files of certificates and keys: read as a whole, compared, and read again.
//!
//! It never parses them. What is used was seen twice in a row with the same content, so files that are
//! replaced one after the other, or are half written, are not met in between.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError, RwLock},
};

/// A file, and the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The setting, as in `network.tcp.server.certFile`; errors begin with it.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
}

impl File {
    /// The file at `path`, as the setting `key` names it.
    pub fn new(key: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { key: key.into(), path: path.into() }
    }

    /// How errors name it.
    pub(super) fn name(&self) -> String {
        format!("{} {:?}", self.key, self.path)
    }
}

/// A certificate with its chain, and its private key; both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate, first, and those between it and the one that is trusted.
    pub cert: File,
    /// The private key of the first certificate: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: File,
}

/// What came of looking at the files again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing is new, or it may still be in the middle of a change.
    Same,
    /// New handshakes use the new files. What is worth knowing about them.
    Swapped(Vec<String>),
    /// The new files cannot be used, for these reasons: the old certificates stay.
    Kept(Vec<String>),
}

/// What is in a file, or why it cannot be read.
pub(super) type Content = Result<Vec<u8>, String>;

/// Reads every file.
pub(super) fn read(files: &[File]) -> Vec<Content> {
    let text = |error: std::io::Error| error.to_string();
    files.iter().map(|file| std::fs::read(&file.path).map_err(text)).collect()
}

/// Something made from files, and made again when they change.
#[derive(Debug)]
pub(super) struct Made<T> {
    files: Vec<File>,
    value: RwLock<T>,
    /// What it was made of, and what was last seen.
    seen: Mutex<(Vec<Content>, Vec<Content>)>,
}

/// What was made of files with what is worth knowing about it, or what is wrong with them.
pub(super) type Outcome<T> = Result<(T, Vec<String>), Vec<String>>;

impl<T: Clone> Made<T> {
    pub(super) fn new(
        files: Vec<File>,
        make: impl FnOnce(&[Content]) -> Outcome<T>,
    ) -> Outcome<Self> {
        let content = read(&files);
        let (value, notes) = make(&content)?;
        let seen = Mutex::new((content.clone(), content));
        Ok((Self { files, value: RwLock::new(value), seen }, notes))
    }

    /// As it is now.
    pub(super) fn current(&self) -> T {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files again.
    pub(super) fn refresh(&self, make: impl FnOnce(&[Content]) -> Outcome<T>) -> Refreshed {
        let now = read(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, last) = &mut *seen;
        if now == *used || now != *last {
            *last = now;
            return Refreshed::Same;
        }
        let made = make(&now);
        *used = now; // also what is broken, so that it is said once
        match made {
            Ok((value, notes)) => {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
                Refreshed::Swapped(notes)
            }
            Err(problems) => Refreshed::Kept(problems),
        }
    }
}
