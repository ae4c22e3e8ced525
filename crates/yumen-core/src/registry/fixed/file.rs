//! The list of a [`StaticRegistry`] in a file: a JSON list of registry records.
//!
//! Reads, never writes or follows the file. The form is the one that instances publish in a registry;
//! since people write it by hand, a record may be as short as an id, a kind and an endpoint.

use super::{StaticError, StaticRegistry};
use crate::cluster::{Instance, State};
use serde_json::Value;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Most bytes of a file: far more than its instances need.
const FILE_MAX: u64 = 16 * 1024 * 1024;

impl StaticRegistry {
    /// The instances of a file, which is a JSON list of records:
    ///
    /// ```json
    /// [
    ///   {"id": "gate-1", "kind": "gate", "endpoint": "drpc://10.0.0.1:4000?is_secure=false"},
    ///   {"id": "node-1", "kind": "node", "alias": "room", "routes": [{"i": 1}, {"i": 2, "s": true}],
    ///    "endpoint": "drpc://10.0.0.2:4000?is_secure=false", "weight": 1}
    /// ]
    /// ```
    ///
    /// A record without a state is in work, and one without a name or alias has that of its kind. Members
    /// that nobody knows are skipped. The file is read once, and again with [`StaticRegistry::reread`].
    ///
    /// # Errors
    /// [`StaticError`]: with the file, and with line and column where it is malformed.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, StaticError> {
        let path = path.into();
        let registry = Self::new(read(&path)?)?;
        Ok(Self { file: Some(path), ..registry })
    }

    /// Reads the file again and puts its list in the place of the one before. Does nothing to a list that
    /// stands in the code.
    ///
    /// # Errors
    /// As [`StaticRegistry::from_file`]; the old list then stays.
    pub fn reread(&self) -> Result<(), StaticError> {
        match &self.file {
            Some(path) => self.replace(read(path)?),
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Instance>, StaticError> {
    let file = || path.display().to_string();
    let unread = |source| StaticError::Read { file: file(), source };
    let mut text = Vec::new();
    let opened = File::open(path).map_err(unread)?;
    opened.take(FILE_MAX.saturating_add(1)).read_to_end(&mut text).map_err(unread)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_MAX {
        return Err(StaticError::TooLarge { file: file(), max: FILE_MAX });
    }
    parse(&text)
        .map_err(|error| StaticError::Malformed { file: file(), problem: error.to_string() })
}

/// Twice over the text: first for the records and their errors with line and column, then for the members
/// that are missing, which a record cannot tell from those that say the default.
fn parse(text: &[u8]) -> Result<Vec<Instance>, serde_json::Error> {
    let mut instances: Vec<Instance> = serde_json::from_slice(text)?;
    let written: Vec<Value> = serde_json::from_slice(text)?;
    for (instance, written) in instances.iter_mut().zip(&written) {
        let whole = Instance::new(instance.id.clone(), instance.kind, "");
        if written.get("state").is_none() {
            instance.state = State::Work;
        }
        if instance.name.is_empty() {
            instance.name = whole.name;
        }
        if instance.alias.is_empty() {
            instance.alias = whole.alias;
        }
    }
    Ok(instances)
}
